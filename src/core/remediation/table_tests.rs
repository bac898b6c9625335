//! The machine case by case: what happens in which state, and what comes of it.

use jiff::Timestamp;

use super::tests::{boot_id, record, run, seen, store, view};
use super::*;

const STEPS: [(Work, State); 7] = [
    (Work::Collect, State::Collecting),
    (Work::Drain, State::Draining),
    (Work::Admit, State::Draining),
    (Work::Issue, State::RebootIntent),
    (Work::AwaitBoot, State::WaitBoot),
    (Work::Verify, State::Verifying),
    (Work::CleanUp, State::Uncordoning),
];

fn with(method: Method, options: Options, work: Work) -> (Machine, Seen) {
    let (mut machine, mut seen) = (Machine::start(Record { method, ..record() }, options), seen());
    assert_eq!(run(&mut machine, &mut seen, Some(work)).1, None);
    seen.work = WorkSeen::Underway(work);
    (machine, seen)
}

/// In the midst of this work.
fn at(work: Work) -> (Machine, Seen) {
    with(Method::Pod, Options::default(), work)
}

fn end(machine: &mut Machine, seen: &mut Seen) -> End {
    run(machine, seen, None).1.unwrap_or_else(|| unreachable!())
}

fn fail(seen: &mut Seen, work: Work, kind: FailureKind) {
    seen.work = WorkSeen::Failed(work, Failure { kind, why: "it fails".to_owned() });
}

/// What is done once all is stored that is to be stored.
fn step(machine: &mut Machine, seen: &mut Seen, seconds: i64) -> Action {
    let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds);
    for _ in 0..10 {
        match machine.next(seen, now) {
            Action::Write(write) => store(seen, *write),
            action => return action,
        }
    }
    unreachable!("writes without end: {:?}", machine.record())
}

fn resumed(machine: &Machine, seen: &mut Seen, resume: Resume) -> Machine {
    let resume = Resume { holder: "b@h#2".to_owned(), ..resume };
    Machine::resume(machine.record().clone(), view(seen), resume)
        .unwrap_or_else(|refusal| unreachable!("{refusal}"))
}

#[test]
fn a_lease_that_is_unsure_begins_nothing_and_one_that_is_lost_ends_it() {
    for (work, _) in STEPS {
        let (mut machine, mut seen) = at(work);
        seen.lease = LeaseSeen::Unsure;
        assert_eq!(step(&mut machine, &mut seen, 0), Action::Work(work), "goes on");
        seen.work = WorkSeen::Idle;
        assert_eq!(step(&mut machine, &mut seen, 0), Action::Wait, "{work:?} is not begun");
        seen.lease = LeaseSeen::Lost("b@h#2".to_owned());
        assert_eq!(end(&mut machine, &mut seen), End::Lost { holder: "b@h#2".to_owned() });
    }
}

#[test]
fn nothing_is_done_to_another_node() {
    for (work, _) in STEPS {
        let (mut machine, mut seen) = at(work);
        view(&mut seen).uid = "another".to_owned();
        assert_eq!(machine.next(&seen, Timestamp::UNIX_EPOCH), Action::End(End::Replaced));
        let (mut machine, mut seen) = at(work);
        seen.node = NodeSeen::Gone;
        assert_eq!(machine.next(&seen, Timestamp::UNIX_EPOCH), Action::End(End::Replaced));
        let (mut machine, mut seen) = at(work);
        view(&mut seen).record = RecordSeen::None;
        assert!(matches!(end(&mut machine, &mut seen), End::Aborted { cordon_stays: Some(_), .. }));
    }
}

#[test]
fn a_signal_keeps_the_state_and_an_order_in_hand_is_awaited() {
    for (work, state) in STEPS {
        let (mut machine, mut seen) = at(work);
        seen.interrupted = true;
        if work == Work::Issue {
            assert_eq!(step(&mut machine, &mut seen, 0), Action::Work(work));
            seen.work = WorkSeen::Done(work, Product::Issued);
            let end = end(&mut machine, &mut seen);
            assert_eq!(end, End::Interrupted { during: Some(State::WaitBoot) });
            assert_eq!(machine.record().attempts[0].outcome, Some(AttemptOutcome::Issued));
        } else {
            assert_eq!(end(&mut machine, &mut seen), End::Interrupted { during: Some(state) });
        }
    }
}

#[test]
fn until_stops_after_its_step_and_a_resume_does_the_rest() {
    let all: Vec<Work> = STEPS.map(|(work, _)| work).into();
    for (until, works) in [
        (State::Cordoning, 0),
        (State::Collecting, 1),
        (State::Draining, 2),
        (State::RebootIntent, 4),
        (State::WaitBoot, 5),
        (State::Verifying, 6),
    ] {
        let options = Options { until: Some(until), ..Options::default() };
        let (mut machine, mut seen) = (Machine::start(record(), options), seen());
        assert_eq!(
            run(&mut machine, &mut seen, None),
            (all[..works].to_vec(), Some(End::Stopped { after: until }))
        );
        assert!(view(&mut seen).unschedulable);
        seen.work = WorkSeen::Idle;
        let mut machine = resumed(&machine, &mut seen, Resume::default());
        let (again, end) = run(&mut machine, &mut seen, None);
        assert_eq!(end, Some(End::Remediated { uncordoned: true, why: None }), "{until:?}");
        assert_eq!(again.contains(&Work::Issue), works < 4, "{until:?}: {again:?}");
    }
}

/// One that comes while the last record is not stored yet.
#[test]
fn an_abort_is_obeyed_before_until_stops() {
    let until = Options { until: Some(State::Collecting), ..Options::default() };
    let (mut machine, mut seen) = with(Method::Pod, until, Work::Collect);
    seen.work = WorkSeen::Done(Work::Collect, Product::Bundle(Some("a.tar.gz".to_owned())));
    assert!(matches!(machine.next(&seen, Timestamp::UNIX_EPOCH), Action::Write(_)));
    view(&mut seen).abort = Some(record().id);
    assert!(matches!(end(&mut machine, &mut seen), End::Aborted { .. }));
    assert!(!view(&mut seen).unschedulable);
}

#[test]
fn every_step_has_its_time() {
    for (work, failed) in STEPS {
        let (mut machine, mut seen) = at(work);
        let timeout = i64::try_from(machine.record().timeout).unwrap_or(i64::MAX);
        assert_eq!(
            step(&mut machine, &mut seen, timeout + 4),
            Action::Work(work),
            "it says it better itself"
        );
        let action = step(&mut machine, &mut seen, timeout + 6);
        match work {
            Work::Collect => assert_eq!(action, Action::Work(Work::Drain)),
            Work::Admit => assert_eq!(action, Action::Work(Work::Admit), "a person may take their time"),
            _ => {
                let Action::End(End::NeedsHuman { failed: stated, .. }) = action else {
                    unreachable!("{work:?}: {action:?}")
                };
                assert_eq!((stated, machine.record().state), (failed, State::NeedsHuman));
                assert_eq!(machine.record().failed_state, Some(failed));
                assert!(view(&mut seen).unschedulable);
            }
        }
    }
}

/// What a resume of a run that failed there asks for first.
#[test]
fn a_failure_is_resumed_where_it_failed() {
    for (work, failed, first) in [
        (Work::Drain, State::Draining, Work::Drain),
        (Work::Admit, State::RebootIntent, Work::Drain),
        (Work::Issue, State::RebootIntent, Work::Drain),
        (Work::AwaitBoot, State::WaitBoot, Work::AwaitBoot),
        (Work::Verify, State::Verifying, Work::AwaitBoot),
        (Work::CleanUp, State::Uncordoning, Work::CleanUp),
    ] {
        let (mut machine, mut seen) = at(work);
        fail(&mut seen, work, FailureKind::Failed);
        let why = "it fails".to_owned();
        assert_eq!(end(&mut machine, &mut seen), End::NeedsHuman { failed, why }, "{work:?}");
        seen.work = WorkSeen::Idle;
        let mut machine = resumed(&machine, &mut seen, Resume::default());
        assert_eq!(step(&mut machine, &mut seen, 0), Action::Work(first), "{work:?}");
        assert_eq!(machine.record().failed_state, None);
    }
}

#[test]
fn on_failure_uncordon_holds_before_the_intent_only() {
    let options = Options { on_failure_uncordon: true, ..Options::default() };
    for (work, undone) in
        [(Work::Drain, true), (Work::Admit, true), (Work::Issue, false), (Work::AwaitBoot, false)]
    {
        let (mut machine, mut seen) = with(Method::Pod, options.clone(), work);
        fail(&mut seen, work, FailureKind::Failed);
        let end = end(&mut machine, &mut seen);
        assert_eq!(matches!(end, End::Undone { cordon_stays: None, .. }), undone, "{work:?}: {end:?}");
        assert_eq!(matches!(end, End::NeedsHuman { .. }), !undone, "{work:?}: {end:?}");
        assert_eq!(!view(&mut seen).unschedulable, undone, "{work:?}");
    }
}

#[test]
fn a_person_may_uncordon_a_node_that_did_not_verify() {
    let options = Options { asks_to_uncordon: true, ..Options::default() };
    for yes in [true, false] {
        let (mut machine, mut seen) = with(Method::Pod, options.clone(), Work::Verify);
        fail(&mut seen, Work::Verify, FailureKind::Failed);
        assert_eq!(step(&mut machine, &mut seen, 0), Action::Work(Work::Accept));
        assert_eq!(machine.record().state, State::NeedsHuman, "stored before anybody is asked");
        seen.work = WorkSeen::Done(Work::Accept, Product::Done);
        if !yes {
            fail(&mut seen, Work::Accept, FailureKind::Declined);
        }
        let (failed, why) = (State::Verifying, "it fails".to_owned());
        let expected = if yes {
            End::Undone { failed, why, cordon_stays: None }
        } else {
            End::NeedsHuman { failed, why }
        };
        assert_eq!((end(&mut machine, &mut seen), !view(&mut seen).unschedulable), (expected, yes));
    }
    let (mut machine, mut seen) = with(Method::Pod, options, Work::AwaitBoot);
    fail(&mut seen, Work::AwaitBoot, FailureKind::Failed);
    assert!(matches!(end(&mut machine, &mut seen), End::NeedsHuman { failed: State::WaitBoot, .. }));
}

#[test]
fn declined_keeps_the_state() {
    let (mut machine, mut seen) = at(Work::Admit);
    fail(&mut seen, Work::Admit, FailureKind::Declined);
    assert_eq!(end(&mut machine, &mut seen), End::Declined);
    assert_eq!(machine.record().state, State::Draining);
}

#[test]
fn somebody_uncordons() {
    for (work, state) in STEPS {
        let (mut machine, mut seen) = at(work);
        (view(&mut seen).unschedulable, view(&mut seen).cordon_is_ours) = (false, false);
        let end = end(&mut machine, &mut seen);
        if state < State::RebootIntent {
            assert!(matches!(end, End::Aborted { .. }), "{work:?}: {end:?}");
        } else {
            assert!(matches!(end, End::Remediated { uncordoned: false, .. }), "{work:?}: {end:?}");
        }
        assert!(!view(&mut seen).unschedulable, "never cordoned again");
    }
}

#[test]
fn a_node_that_reboots_by_itself_is_not_rebooted() {
    for work in [Work::Collect, Work::Drain, Work::Admit] {
        let (mut machine, mut seen) = at(work);
        view(&mut seen).boot_id = boot_id(7);
        let (works, end) = run(&mut machine, &mut seen, None);
        assert_eq!(works, [Work::AwaitBoot, Work::Verify, Work::CleanUp], "{work:?}");
        assert_eq!(end, Some(End::Remediated { uncordoned: true, why: None }));
        assert_eq!(machine.record().attempts, []);
        assert!(machine.record().last_error.as_ref().is_some_and(|why| why.contains("by itself")));
    }
}

#[test]
fn a_retry_waits_until_the_last_order_is_over() {
    let spent = Product::Recalled(Recall::Spent);
    let cannot = Product::Recalled(Recall::CannotBe);
    let rebooted = Product::Recalled(Recall::Rebooted);
    // Method, confirmed; what came of the recall, if one was asked for; what is next.
    for (method, confirmed_spent, recalled, next) in [
        (Method::Pod, false, Some(spent), Some(Work::Drain)),
        // A person's word is worth less than the window.
        (Method::Pod, true, Some(cannot.clone()), None),
        (Method::Pod, false, Some(rebooted.clone()), Some(Work::AwaitBoot)),
        (Method::Command, false, Some(cannot), None),
        (Method::Command, false, Some(rebooted), Some(Work::AwaitBoot)),
        (Method::Command, true, None, Some(Work::Drain)),
    ] {
        let (mut machine, mut seen) = with(method, Options::default(), Work::AwaitBoot);
        fail(&mut seen, Work::AwaitBoot, FailureKind::TimedOut);
        end(&mut machine, &mut seen);
        seen.work = WorkSeen::Idle;
        let resume = Resume { retry_reboot: true, confirmed_spent, ..Resume::default() };
        let mut machine = resumed(&machine, &mut seen, resume);
        if let Some(recalled) = recalled {
            assert_eq!(step(&mut machine, &mut seen, 0), Action::Work(Work::Recall));
            seen.work = WorkSeen::Done(Work::Recall, recalled);
        }
        let action = step(&mut machine, &mut seen, 0);
        let Some(next) = next else {
            assert!(matches!(action, Action::End(End::NeedsHuman { failed: State::RebootIntent, .. })));
            continue;
        };
        assert_eq!(action, Action::Work(next), "{method:?}");
        let ordered = run(&mut machine, &mut seen, None).0.contains(&Work::Issue);
        assert_eq!(machine.record().attempts.len(), if ordered { 2 } else { 1 });
        assert_eq!(ordered, next == Work::Drain);
    }
}

#[test]
fn a_retry_needs_no_attempt_before_it() {
    let (mut machine, mut seen) = at(Work::Drain);
    view(&mut seen).boot_id = boot_id(7);
    run(&mut machine, &mut seen, Some(Work::AwaitBoot));
    fail(&mut seen, Work::AwaitBoot, FailureKind::TimedOut);
    end(&mut machine, &mut seen);
    seen.work = WorkSeen::Idle;
    let mut machine = resumed(&machine, &mut seen, Resume { retry_reboot: true, ..Resume::default() });
    let (works, _) = run(&mut machine, &mut seen, Some(Work::Issue));
    assert_eq!(works, [Work::Drain, Work::Admit, Work::Issue]);
    assert_eq!(machine.record().pre_boot_id, boot_id(7));
}

#[test]
fn the_cordon_stays_if_it_is_not_ours_or_somebody_wants_it() {
    type Change = fn(&mut NodeView);
    let keep = Options { keep_cordon: true, ..Options::default() };
    let cases: [(&str, Options, Change); 4] = [
        ("--keep-cordon", keep, |_| ()),
        ("sciuro.dev/keep-cordoned", Options::default(), |view| view.keep_cordoned = true),
        ("kured", Options::default(), |view| view.claims = vec!["kured".to_owned()]),
        ("somebody else", Options::default(), |view| view.cordon_is_ours = false),
    ];
    for (reason, options, change) in cases {
        let (mut machine, mut seen) = with(Method::Pod, options, Work::CleanUp);
        change(view(&mut seen));
        let End::Remediated { uncordoned: false, why: Some(why) } = end(&mut machine, &mut seen) else {
            unreachable!("{reason}")
        };
        assert!(why.contains(reason), "{why}");
        assert!(view(&mut seen).unschedulable);
    }
    let (mut machine, mut seen) = (Machine::start(record(), Options::default()), seen());
    view(&mut seen).unschedulable = true;
    let why = Some("it had been cordoned before".to_owned());
    assert_eq!(end(&mut machine, &mut seen), End::Remediated { uncordoned: false, why });
    assert!(view(&mut seen).unschedulable);
}

#[test]
fn an_abort_takes_the_order_back_or_keeps_the_cordon() {
    for (recalled, lifted) in [(Recall::Spent, true), (Recall::Rebooted, true), (Recall::CannotBe, false)] {
        let (mut machine, mut seen) = at(Work::Issue);
        view(&mut seen).abort = Some(record().id);
        assert_eq!(step(&mut machine, &mut seen, 0), Action::Work(Work::Recall));
        seen.work = WorkSeen::Done(Work::Recall, Product::Recalled(recalled));
        assert!(matches!(end(&mut machine, &mut seen), End::Aborted { .. }));
        assert_eq!(!view(&mut seen).unschedulable, lifted);
    }
}

/// In the last moment before it was sent: there is nothing to take back, unless it was sent before.
#[test]
fn an_order_that_an_abort_withheld_is_not_waited_for() {
    let withheld = |machine: &mut Machine, seen: &mut Seen, is_seen: bool| {
        fail(seen, Work::Issue, FailureKind::Aborted);
        view(seen).abort = is_seen.then(|| record().id);
        step(machine, seen, 0)
    };
    for (method, is_seen) in
        [(Method::Pod, true), (Method::Pod, false), (Method::Command, true), (Method::Command, false)]
    {
        let (mut machine, mut seen) = with(method, Options::default(), Work::Issue);
        assert_eq!(withheld(&mut machine, &mut seen, is_seen), Action::Work(Work::CleanUp), "{method:?}");
        seen.work = WorkSeen::Idle;
        assert!(matches!(end(&mut machine, &mut seen), End::Aborted { cordon_stays: None, .. }));
        assert!(!view(&mut seen).unschedulable);
    }
    let (machine, mut seen) = at(Work::Issue);
    seen.work = WorkSeen::Idle;
    let mut machine = resumed(&machine, &mut seen, Resume::default());
    assert_eq!(run(&mut machine, &mut seen, Some(Work::Issue)).1, None);
    assert_eq!(withheld(&mut machine, &mut seen, true), Action::Work(Work::Recall), "it was sent before");
}

/// What is left to do is the same, but whoever asked is told the truth: it was aborted.
#[test]
fn an_abort_of_a_run_that_only_cleans_up() {
    let (mut machine, mut seen) = at(Work::CleanUp);
    view(&mut seen).abort = Some(record().id);
    assert!(matches!(end(&mut machine, &mut seen), End::Aborted { cordon_stays: None, .. }));
    assert_eq!(machine.record().attempts.len(), 1);
    assert!(!view(&mut seen).unschedulable);
}

/// Its request is still on the Node.
#[test]
fn an_abort_that_fails_is_not_tried_for_ever() {
    let (mut machine, mut seen) = at(Work::Drain);
    view(&mut seen).abort = Some(record().id);
    assert_eq!(step(&mut machine, &mut seen, 0), Action::Work(Work::CleanUp));
    fail(&mut seen, Work::CleanUp, FailureKind::Failed);
    let failed = State::Aborted;
    assert_eq!(end(&mut machine, &mut seen), End::NeedsHuman { failed, why: "it fails".to_owned() });
}

/// A kubelet that puts another record in place of our first one and lifts the cordon.
#[test]
fn the_node_is_cordoned_once() {
    let (mut machine, mut seen) = (Machine::start(record(), Options::default()), seen());
    let Action::Write(write) = machine.next(&seen, Timestamp::UNIX_EPOCH) else { unreachable!() };
    store(&mut seen, *write);
    if let RecordSeen::Readable(record) = &mut view(&mut seen).record {
        record.bundle = Some("forged".to_owned());
    }
    view(&mut seen).unschedulable = false;
    assert!(matches!(end(&mut machine, &mut seen), End::Aborted { .. }));
    assert!(!view(&mut seen).unschedulable);
}
