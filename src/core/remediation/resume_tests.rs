//! What is resumed from which record, and what is not: any kubelet can write its own.

use jiff::Timestamp;

use super::tests::{boot_id, record, run, seen, view};
use super::*;

fn attempt(n: u32, method: Method, outcome: Option<AttemptOutcome>) -> Attempt {
    Attempt { n, method, intent_at: Timestamp::UNIX_EPOCH, not_after_uptime: Some(u64::MAX), outcome }
}

/// In this state, with one attempt that nobody knows the outcome of.
fn in_state(state: State, method: Method) -> Record {
    let attempts = if state >= State::RebootIntent { vec![attempt(1, method, None)] } else { vec![] };
    Record { state, method, attempts, ..record() }
}

fn resumed(record: Record, resume: Resume) -> Result<(Machine, Seen), Refusal> {
    let mut seen = seen();
    view(&mut seen).unschedulable = true;
    view(&mut seen).record = RecordSeen::Readable(Box::new(record.clone()));
    Ok((Machine::resume(record, view(&mut seen), resume)?, seen))
}

/// All that it does, if nothing goes wrong.
fn works(record: Record, resume: Resume) -> Vec<Work> {
    let (mut machine, mut seen) = resumed(record, resume).unwrap_or_else(|why| unreachable!("{why}"));
    run(&mut machine, &mut seen, None).0
}

const METHODS: [Method; 5] = [Method::Pod, Method::Signal, Method::Ssh, Method::Command, Method::Manual];

#[test]
fn f9_b2_nothing_is_sent_before_this_process_has_asked() {
    for method in METHODS {
        for state in [State::Cordoning, State::Collecting, State::Draining, State::RebootIntent] {
            let works = works(in_state(state, method), Resume::default());
            let place = |work| works.iter().position(|other| *other == work);
            if state == State::RebootIntent && !method.is_guarded() {
                assert_eq!(works, [Work::AwaitBoot, Work::Verify, Work::CleanUp], "{method:?}");
            } else {
                assert!(place(Work::Drain) < place(Work::Admit), "{state:?} {method:?} {works:?}");
                assert!(place(Work::Admit) < place(Work::Issue), "{state:?} {method:?} {works:?}");
            }
        }
        for state in [State::WaitBoot, State::Verifying, State::Uncordoning, State::Aborted] {
            let works = works(in_state(state, method), Resume::default());
            assert!(!works.contains(&Work::Issue), "{state:?} {method:?} {works:?}");
        }
    }
}

/// Whatever step the other run was in.
#[test]
fn a_step_that_is_skipped_is_skipped_from_wherever_it_goes_on() {
    for state in [State::Cordoning, State::Collecting, State::Draining] {
        let skips = |skip_collect, skip_drain| {
            let options = Options { skip_collect, skip_drain, ..Options::default() };
            works(in_state(state, Method::Pod), Resume { options, ..Resume::default() })
        };
        assert!(!skips(true, false).contains(&Work::Collect), "{state:?}");
        assert!(!skips(false, true).contains(&Work::Drain), "{state:?}");
    }
}

/// The limit of uptime in a record is anybody's.
#[test]
fn f9_b2_a_request_has_a_limit_of_its_own() {
    let open = in_state(State::RebootIntent, Method::Ssh);
    let (mut machine, mut seen) =
        resumed(open, Resume::default()).unwrap_or_else(|why| unreachable!("{why}"));
    run(&mut machine, &mut seen, Some(Work::Issue));
    assert_eq!(
        machine.record().attempts,
        [attempt(1, Method::Ssh, None)].map(|mut attempt| {
            attempt.not_after_uptime = Some(7 + GUARD_SECONDS);
            attempt
        })
    );
}

#[test]
fn f9_b2_what_cannot_be_sent_now_is_waited_for() {
    let not_ready = Resume { not_ready: true, ..Resume::default() };
    for (method, first) in
        [(Method::Pod, Work::AwaitBoot), (Method::Signal, Work::AwaitBoot), (Method::Ssh, Work::Drain)]
    {
        assert_eq!(works(in_state(State::RebootIntent, method), not_ready.clone())[0], first, "{method:?}");
    }
    assert_eq!(works(in_state(State::Draining, Method::Pod), not_ready)[0], Work::Drain);
}

#[test]
fn f9_b2_no_run_of_ours_writes_these() {
    use AttemptOutcome::{Issued, Rebooted, Spent};
    use Method::{Command, Pod, Ssh};
    let attempts = |state, method, attempts: &[Attempt]| Record {
        attempts: attempts.to_vec(),
        ..in_state(state, method)
    };
    let proves = |boot: String| Record { proven_boot_id: Some(boot), ..in_state(State::Verifying, Pod) };
    let failed = |failed_state, record| Record { state: State::NeedsHuman, failed_state, ..record };
    for (wrong, why) in [
        (Record { v: 2, ..record() }, "another version"),
        (Record { pre_boot_id: String::new(), ..record() }, "boot ID from before"),
        (Record { pre_boot_id: "b".to_owned(), ..record() }, "boot ID from before"),
        (Record { pre_boot_id: uuid::Uuid::nil().to_string(), ..record() }, "boot ID from before"),
        (proves(boot_id(0)), "the boot that it proves"),
        (proves("b".to_owned()), "the boot that it proves"),
        (failed(None, record()), "nothing had failed"),
        (failed(Some(State::NeedsHuman), record()), "nothing had failed"),
        (attempts(State::RebootIntent, Command, &[attempt(1, Ssh, None)]), "another method"),
        (attempts(State::WaitBoot, Pod, &[attempt(1, Command, Some(Issued))]), "another method"),
        (attempts(State::WaitBoot, Pod, &[attempt(2, Pod, None)]), "numbered"),
        (attempts(State::WaitBoot, Pod, &[attempt(1, Pod, None), attempt(1, Pod, None)]), "numbered"),
        (attempts(State::Draining, Command, &[attempt(1, Command, None)]), "another one comes next"),
        (attempts(State::Draining, Pod, &[attempt(1, Pod, Some(Issued))]), "another one comes next"),
        (attempts(State::Cordoning, Ssh, &[attempt(1, Ssh, Some(Rebooted))]), "another one comes next"),
        (
            failed(Some(State::Draining), attempts(State::Draining, Command, &[attempt(1, Command, None)])),
            "another one comes next",
        ),
    ] {
        for retry_reboot in [false, true] {
            let resume = Resume { retry_reboot, confirmed_spent: true, ..Resume::default() };
            let refused = resumed(wrong.clone(), resume).map(|_| ()).map_err(|refusal| refusal.to_string());
            let refused = refused.err().unwrap_or_default();
            assert!(refused.contains("not one of ours") && refused.contains(why), "{why}: {refused}");
        }
    }
    let spent = [attempt(1, Ssh, Some(Spent))];
    for right in [
        attempts(State::Draining, Command, &spent),
        attempts(State::RebootIntent, Command, &spent),
        attempts(State::Draining, Ssh, &[attempt(1, Ssh, None)]),
        proves(boot_id(1)),
        failed(Some(State::RebootIntent), record()),
    ] {
        assert_eq!(right.fault(), None, "{right:?}");
    }
}

/// What happened while nobody acted comes before anything that is asked.
#[test]
fn f9_b1_a_boot_that_is_over_asks_for_no_request() {
    for method in METHODS {
        for state in [State::Cordoning, State::Draining, State::RebootIntent] {
            let record = Record { pre_boot_id: boot_id(9), ..in_state(state, method) };
            let (machine, _) = resumed(record, Resume::default()).unwrap_or_else(|why| unreachable!("{why}"));
            assert!(!machine.may_request(), "{state:?} {method:?}");
            assert_eq!(machine.goes_on_from(), State::WaitBoot);
        }
    }
}

#[test]
fn f9_d1_the_method_matters_as_long_as_a_request_may_be_sent() {
    let other = |retry_reboot| Resume { method: Some(Method::Manual), retry_reboot, ..Resume::default() };
    let verifies = Record { proven_boot_id: Some(boot_id(1)), ..in_state(State::Verifying, Method::Ssh) };
    let failed =
        Record { state: State::NeedsHuman, failed_state: Some(State::Verifying), ..verifies.clone() };
    for record in [verifies, failed, in_state(State::Uncordoning, Method::Ssh)] {
        let mut seen = seen();
        view(&mut seen).boot_id = boot_id(1);
        let machine = Machine::resume(record, view(&mut seen), other(false));
        assert_eq!(machine.map(|machine| machine.record().method), Ok(Method::Ssh));
    }
    for state in [State::Draining, State::RebootIntent, State::WaitBoot] {
        let refused = resumed(in_state(state, Method::Ssh), other(false)).map(|_| ());
        assert_eq!(refused, Err(Refusal::OtherMethod { recorded: Method::Ssh }), "{state:?}");
        let retried =
            resumed(in_state(state, Method::Ssh), other(true)).map(|(machine, _)| machine.may_request());
        assert_eq!(retried, Ok(true), "{state:?}");
    }
}

/// A request that may be on its way is recalled before another method is tried.
#[test]
fn f9_b2_another_method_waits_for_the_last_request() {
    let open =
        Record { attempts: vec![attempt(1, Method::Ssh, None)], ..in_state(State::Draining, Method::Ssh) };
    let retry = Resume { method: Some(Method::Command), retry_reboot: true, ..Resume::default() };
    let works = works(open, retry);
    assert_eq!(works[..4], [Work::Recall, Work::Drain, Work::Admit, Work::Issue]);
}

/// While this process asked, the machine went down by a request of the one before.
#[test]
fn f9_b2_a_boot_that_comes_at_the_questions_is_the_one() {
    for (attempts, by_itself) in [(vec![attempt(1, Method::Ssh, None)], false), (vec![], true)] {
        let record = Record { attempts, ..in_state(State::Draining, Method::Ssh) };
        let (mut machine, mut seen) =
            resumed(record, Resume::default()).unwrap_or_else(|why| unreachable!("{why}"));
        run(&mut machine, &mut seen, Some(Work::Admit));
        let why = "the machine says another boot".to_owned();
        seen.work = WorkSeen::Failed(Work::Admit, Failure { kind: FailureKind::OtherBoot, why });
        let (works, end) = run(&mut machine, &mut seen, None);
        assert_eq!(works, [Work::AwaitBoot, Work::Verify, Work::CleanUp]);
        assert!(matches!(end, Some(End::Remediated { .. })), "{end:?}");
        assert_eq!(machine.record().last_error.is_some(), by_itself);
        let outcomes: Vec<_> = machine.record().attempts.iter().map(|attempt| attempt.outcome).collect();
        assert_eq!(outcomes, if by_itself { vec![] } else { vec![Some(AttemptOutcome::Rebooted)] });
    }
}

#[test]
fn what_began_to_fire_since_is_a_reason_too() {
    let reason =
        |kind: &str| Reason { condition_type: kind.to_owned(), reason: String::new(), last_transition: None };
    let now = Resume { reasons: vec![reason("A"), reason("B")], ..Resume::default() };
    for (state, expected) in [(State::Draining, 2), (State::WaitBoot, 1)] {
        let record = Record { reason: vec![reason("A")], ..in_state(state, Method::Pod) };
        let (machine, _) = resumed(record, now.clone()).unwrap_or_else(|why| unreachable!("{why}"));
        assert_eq!(machine.record().reason.len(), expected, "{state:?}");
    }
}
