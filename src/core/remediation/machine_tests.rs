//! A run against a Node that takes every write at once and work that always ends well.

use jiff::Timestamp;

use super::*;

/// Of the machine's `n`th boot.
pub(super) fn boot_id(n: u64) -> String {
    format!("{n:08}-1111-4111-8111-111111111111")
}

pub(super) fn record() -> Record {
    Record {
        v: VERSION,
        id: "8c4b6a5e-0000-4000-8000-000000000001".to_owned(),
        state: State::Cordoning,
        failed_state: None,
        since: Timestamp::UNIX_EPOCH,
        timeout: 0,
        actor: "a@h".to_owned(),
        holder: "a@h#1".to_owned(),
        method: Method::Pod,
        reason: vec![],
        overrides: Vec::new(),
        node_uid: "u".to_owned(),
        pre_boot_id: boot_id(0),
        proven_boot_id: None,
        baseline: Baseline::default(),
        was_unschedulable: false,
        marks: vec![],
        attempts: vec![],
        bundle: None,
        last_error: None,
    }
}

pub(super) fn seen() -> Seen {
    let view = NodeView { uid: "u".to_owned(), boot_id: boot_id(0), ..NodeView::default() };
    Seen {
        node: NodeSeen::Here(Box::new(view)),
        lease: LeaseSeen::Held,
        work: WorkSeen::Idle,
        interrupted: false,
    }
}

pub(super) fn view(seen: &mut Seen) -> &mut NodeView {
    match &mut seen.node {
        NodeSeen::Here(view) => view,
        other => unreachable!("{other:?}"),
    }
}

pub(super) fn store(seen: &mut Seen, write: Write) {
    let view = view(seen);
    if let Some(unschedulable) = write.unschedulable {
        (view.unschedulable, view.cordon_is_ours) = (unschedulable, unschedulable);
    }
    view.record = match write.record {
        RecordWrite::Put(record) => RecordSeen::Readable(record),
        RecordWrite::Finish(_) => RecordSeen::None,
    };
}

/// Runs until the end, or until this work is asked for; the works that were asked for.
pub(super) fn run(machine: &mut Machine, seen: &mut Seen, until: Option<Work>) -> (Vec<Work>, Option<End>) {
    let mut works = vec![];
    for _ in 0..100 {
        match machine.next(seen, Timestamp::UNIX_EPOCH) {
            Action::Write(write) => store(seen, *write),
            Action::Work(work) => {
                works.push(work);
                if until == Some(work) {
                    return (works, None);
                }
                let product = match work {
                    Work::Admit => Product::Admitted { uptime: Some(7) },
                    Work::Issue => Product::Issued,
                    Work::AwaitBoot => {
                        view(seen).boot_id = boot_id(1);
                        Product::Proven { boot_id: boot_id(1) }
                    }
                    Work::Recall => Product::Recalled(Recall::Spent),
                    _ => Product::Done,
                };
                seen.work = WorkSeen::Done(work, product);
            }
            Action::End(end) => return (works, Some(end)),
            Action::Wait => unreachable!("waits in {:?}", machine.record()),
        }
    }
    unreachable!("does not end: {:?}", machine.record())
}

#[test]
fn six_steps() {
    let (mut machine, mut seen) = (Machine::start(record(), Options::default()), seen());
    let (works, end) = run(&mut machine, &mut seen, None);
    let all =
        [Work::Collect, Work::Drain, Work::Admit, Work::Issue, Work::AwaitBoot, Work::Verify, Work::CleanUp];
    assert_eq!(works, all);
    assert_eq!(end, Some(End::Remediated { uncordoned: true, why: None }));
    assert!(!view(&mut seen).unschedulable);
    assert_eq!(machine.record().attempts[0].not_after_uptime, Some(127));
}

/// Killed while the order is in hand: a guarded one is sent again, an unguarded one never.
#[test]
fn f9_b2_a_resume_sends_guarded_orders_only_and_asks_before() {
    for (method, again) in [(Method::Ssh, true), (Method::Command, false)] {
        let mut machine = Machine::start(Record { method, ..record() }, Options::default());
        let mut seen = seen();
        run(&mut machine, &mut seen, Some(Work::Issue));
        let stored = machine.record().clone();
        let resume = Resume { holder: "b@h#2".to_owned(), ..Resume::default() };
        let mut machine = Machine::resume(stored, view(&mut seen), resume)
            .unwrap_or_else(|refusal| unreachable!("{refusal}"));
        seen.work = WorkSeen::Idle;
        let (works, end) = run(&mut machine, &mut seen, None);
        let asked = [Work::Drain, Work::Admit, Work::Issue];
        assert_eq!(works.starts_with(&asked), again, "{works:?}");
        assert_eq!(works.contains(&Work::Issue), again);
        assert_eq!(end, Some(End::Remediated { uncordoned: true, why: None }));
        assert_eq!(machine.record().attempts.len(), 1);
    }
}

#[test]
fn an_abort_or_an_uncordon_during_the_drain_never_reboots() {
    for uncordoned in [false, true] {
        let (mut machine, mut seen) = (Machine::start(record(), Options::default()), seen());
        run(&mut machine, &mut seen, Some(Work::Drain));
        seen.work = WorkSeen::Underway(Work::Drain);
        if uncordoned {
            view(&mut seen).unschedulable = false;
        } else {
            view(&mut seen).abort = Some(record().id);
        }
        let (works, end) = run(&mut machine, &mut seen, None);
        assert_eq!(works, [Work::CleanUp]);
        assert!(matches!(end, Some(End::Aborted { .. })), "{end:?}");
        assert!(!view(&mut seen).unschedulable);
    }
}

/// Another may have brought it to its end while this process slept: the Lease says so, and the record that is gone does not.
#[test]
fn a_record_that_is_gone_waits_for_the_lease() {
    let (mut machine, mut seen) = (Machine::start(record(), Options::default()), seen());
    run(&mut machine, &mut seen, Some(Work::Drain));
    view(&mut seen).record = RecordSeen::None;
    seen.work = WorkSeen::Underway(Work::Drain);
    seen.lease = LeaseSeen::Unsure;
    assert_eq!(machine.next(&seen, Timestamp::UNIX_EPOCH), Action::Wait, "the drain does not go on");
    seen.lease = LeaseSeen::Lost("b@h#2".to_owned());
    let lost = Action::End(End::Lost { holder: "b@h#2".to_owned() });
    assert_eq!(machine.next(&seen, Timestamp::UNIX_EPOCH), lost);
}
