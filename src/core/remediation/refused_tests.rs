//! What the API server refuses for good ends a run, wherever it stands.

use jiff::Timestamp;

use super::tests::{record, run, seen, store};
use super::*;

const WHY: &str = "nodes \"w1\" is forbidden: not before Monday";

/// Each write that a run asks for, in order, with what the Node is then; until the run has come to its end.
fn writes() -> Vec<(Machine, Seen, Write)> {
    let (mut machine, mut seen, mut writes) = (Machine::start(record(), Options::default()), seen(), vec![]);
    loop {
        match machine.next(&seen, Timestamp::UNIX_EPOCH) {
            Action::Write(write) => {
                writes.push((machine.clone(), seen.clone(), (*write).clone()));
                store(&mut seen, *write);
            }
            Action::End(_) => return writes,
            // As long as there is work, it is done.
            _ => assert!(run_once(&mut machine, &mut seen)),
        }
    }
}

fn run_once(machine: &mut Machine, seen: &mut Seen) -> bool {
    let Action::Work(work) = machine.next(seen, Timestamp::UNIX_EPOCH) else { return false };
    let product = match work {
        Work::Admit => Product::Admitted { uptime: Some(7) },
        Work::Issue => Product::Issued,
        Work::AwaitBoot => Product::Proven { boot_id: super::tests::boot_id(1) },
        Work::Collect => Product::Bundle(None),
        _ => Product::Done,
    };
    if work == Work::AwaitBoot {
        super::tests::view(seen).boot_id = super::tests::boot_id(1);
    }
    seen.work = WorkSeen::Done(work, product);
    true
}

#[test]
fn f9_d0_a_record_that_is_refused_ends_the_run_where_it_stands() {
    let mut before = None;
    for (mut machine, seen, write) in writes() {
        let RecordWrite::Put(record) = &write.record else { continue };
        machine.refused(&write, WHY, Timestamp::UNIX_EPOCH);
        let what = if before.is_none() { "the cordon" } else { "the next record" };
        let why = format!("the API server refused {what}: {WHY}");
        let end = Action::End(End::Refused { during: before, why });
        for _ in 0..2 {
            assert_eq!(machine.next(&seen, Timestamp::UNIX_EPOCH), end, "and nothing is begun any more");
        }
        before = Some(record.state);
    }
    assert_eq!(before, Some(State::Uncordoning));
}

#[test]
fn f9_d0_an_uncordon_that_is_refused_is_noted_and_tried_again_by_a_resume() {
    let (mut machine, mut seen, write) = writes().pop().unwrap_or_else(|| unreachable!());
    assert!(matches!(write, Write { record: RecordWrite::Finish(_), unschedulable: Some(false) }));
    machine.refused(&write, WHY, Timestamp::UNIX_EPOCH);
    let why = format!("the node could not be uncordoned: {WHY}");
    let needs_human = End::NeedsHuman { failed: State::Uncordoning, why };
    assert_eq!(run(&mut machine, &mut seen, None), (vec![], Some(needs_human.clone())));
    let stored = machine.record().clone();
    assert_eq!((stored.state, stored.failed_state), (State::NeedsHuman, Some(State::Uncordoning)));

    let resume = Resume { holder: "b@h#2".to_owned(), ..Resume::default() };
    let NodeSeen::Here(view) = &seen.node else { unreachable!() };
    let mut machine =
        Machine::resume(stored, view, resume).unwrap_or_else(|refusal| unreachable!("{refusal}"));
    seen.work = WorkSeen::Idle;
    let (works, end) = run(&mut machine, &mut seen, None);
    assert_eq!(works, [Work::CleanUp]);
    assert_eq!(end, Some(End::Remediated { uncordoned: true, why: None }));
}

/// A person is told of both.
#[test]
fn f9_d0_a_failure_that_cannot_be_recorded_is_told_nevertheless() {
    let (mut machine, mut seen) = (Machine::start(record(), Options::default()), seen());
    assert_eq!(run(&mut machine, &mut seen, Some(Work::Drain)).1, None);
    let kind = FailureKind::Failed;
    seen.work = WorkSeen::Failed(Work::Drain, Failure { kind, why: "a budget".to_owned() });
    let Action::Write(write) = machine.next(&seen, Timestamp::UNIX_EPOCH) else { unreachable!() };
    machine.refused(&write, WHY, Timestamp::UNIX_EPOCH);
    let why = format!("a budget; this could not be recorded: {WHY}");
    let end = End::NeedsHuman { failed: State::Draining, why };
    assert_eq!(machine.next(&seen, Timestamp::UNIX_EPOCH), Action::End(end));
}

#[test]
fn f9_d0_a_denied_lease_or_node_ends_the_run_once_an_order_in_hand_is_answered() {
    for work in [Work::Collect, Work::Drain, Work::Issue, Work::AwaitBoot, Work::Verify] {
        for is_lease in [true, false] {
            let (mut machine, mut seen) = (Machine::start(record(), Options::default()), seen());
            assert_eq!(run(&mut machine, &mut seen, Some(work)).1, None);
            if is_lease {
                seen.lease = LeaseSeen::Denied(WHY.to_owned());
            } else {
                seen.node = NodeSeen::Denied(WHY.to_owned());
            }
            if work == Work::Issue {
                seen.work = WorkSeen::Underway(work);
                assert_eq!(machine.next(&seen, Timestamp::UNIX_EPOCH), Action::Work(work));
                seen.work = WorkSeen::Done(work, Product::Issued);
            }
            let Action::End(End::Refused { during, why }) = machine.next(&seen, Timestamp::UNIX_EPOCH) else {
                unreachable!("{work:?} goes on")
            };
            assert_eq!(during, Some(machine.record().state));
            assert!(why.ends_with(WHY) && why.contains(if is_lease { "Lease" } else { "read" }), "{why}");
        }
    }
}

/// An answer that never came may have been a good one.
#[test]
fn f9_d0_a_first_record_in_doubt_is_one_to_be_resumed() {
    let mut machine = Machine::start(record(), Options::default());
    machine.give_up("no answer".to_owned());
    machine.may_be_recorded();
    let end = End::Refused { during: Some(State::Cordoning), why: "no answer".to_owned() };
    assert_eq!(machine.next(&seen(), Timestamp::UNIX_EPOCH), Action::End(end));
}
