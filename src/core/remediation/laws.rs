//! What holds for every history of a remediation, whatever fails in whatever order.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select as any_of;

use super::world::{Ending, Fate, World};
use super::*;

#[derive(Debug, Clone)]
enum Event {
    /// So many turns of the one who has the Lease go well.
    Go(u8),
    Turn {
        who: usize,
        fresh: bool,
        fate: Fate,
    },
    WorkEnds {
        who: usize,
        ending: Ending,
    },
    OrderArrives(usize),
    WriteArrives(usize),
    GoesDown,
    RebootsByItself,
    Reports,
    Uncordoned,
    Cordoned,
    KeepCordoned,
    Claimed,
    AbortAsked,
    Replaced,
    Deleted,
    RecordTaken,
    /// The state; whether we are its holder; how its last attempt is forged.
    Forged(State, bool, Attempted),
    CannotRead(usize),
    LeaseUnsure(usize),
    LeaseExpires,
    Interrupted(usize),
    Crashes(usize),
    Another {
        abort: bool,
        resume: Box<Resume>,
    },
    /// The process is paused, and another goes on: both believe that they have the Lease.
    Overtaken {
        who: usize,
        abort: bool,
        resume: Box<Resume>,
    },
    Passes(u64),
}

#[derive(Debug, Clone, Copy)]
enum Attempted {
    Gone,
    /// By this method, as whoever wrote it says, and nothing of its outcome.
    By(Method),
    /// And the whole remediation.
    AllBy(Method),
}

const STATES: [State; 9] = [
    State::Cordoning,
    State::Collecting,
    State::Draining,
    State::RebootIntent,
    State::WaitBoot,
    State::Verifying,
    State::Uncordoning,
    State::NeedsHuman,
    State::Aborted,
];

fn any_method() -> impl Strategy<Value = Method> {
    any_of(&[Method::Pod, Method::Ssh, Method::Command, Method::Manual][..])
}

fn any_options() -> impl Strategy<Value = Options> {
    let timeout = || (1..60u64).prop_map(Duration::from_secs);
    let until = prop::option::weighted(0.1, any_of(&STATES[..7]));
    let timeouts = (timeout(), timeout(), timeout(), timeout(), timeout(), timeout());
    (until, prop::bits::u8::ANY, timeouts).prop_map(|(until, flags, timeouts)| Options {
        until,
        skip_collect: flags & 0b1 > 0,
        skip_drain: flags & 0b110 == 0b110,
        keep_cordon: flags & 0b1_1000 == 0b1_1000,
        on_failure_uncordon: flags & 0b10_0000 > 0,
        asks_to_uncordon: flags & 0b100_0000 > 0,
        collect_timeout: timeouts.0,
        drain_timeout: timeouts.1,
        issue_timeout: timeouts.2,
        reboot_timeout: timeouts.3,
        verify_timeout: timeouts.4,
        clean_up_timeout: timeouts.5,
    })
}

fn any_resume() -> impl Strategy<Value = Resume> {
    (prop::option::weighted(0.2, any_method()), any::<[bool; 3]>(), any_options()).prop_map(
        |(method, [retry_reboot, confirmed_spent, not_ready], options)| Resume {
            method,
            retry_reboot,
            confirmed_spent,
            not_ready,
            options,
            ..Resume::default()
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    use FailureKind::{Declined, Failed, OtherBoot, TimedOut};
    let who = || 0..2usize;
    let fate = any_of(&[Fate::Answered, Fate::Answered, Fate::Unanswered, Fate::Late, Fate::Refused][..]);
    let kind = any_of(&[Failed, Failed, Failed, TimedOut, OtherBoot, Declined][..]);
    let ending = prop_oneof![Just(Ending::True), kind.prop_map(Ending::Fails)];
    let state = any_of(&STATES[..]);
    let attempted = prop_oneof![
        Just(Attempted::Gone),
        any_method().prop_map(Attempted::By),
        any_method().prop_map(Attempted::AllBy),
    ];
    let outside = any_of(
        &[
            Event::GoesDown,
            Event::RebootsByItself,
            Event::Reports,
            Event::Reports,
            Event::Uncordoned,
            Event::Cordoned,
            Event::KeepCordoned,
            Event::Claimed,
            Event::AbortAsked,
            Event::Replaced,
            Event::Deleted,
            Event::RecordTaken,
        ][..],
    );
    prop_oneof![
        8 => (1..9u8).prop_map(Event::Go),
        6 => (who(), any::<bool>(), fate).prop_map(|(who, fresh, fate)| Event::Turn { who, fresh, fate }),
        3 => (who(), ending).prop_map(|(who, ending)| Event::WorkEnds { who, ending }),
        1 => (0..4usize).prop_map(Event::OrderArrives),
        1 => (0..4usize).prop_map(Event::WriteArrives),
        3 => outside,
        1 => (state, any::<bool>(), attempted)
            .prop_map(|(state, ours, attempted)| Event::Forged(state, ours, attempted)),
        1 => who().prop_map(Event::CannotRead),
        1 => who().prop_map(Event::LeaseUnsure),
        1 => Just(Event::LeaseExpires),
        1 => who().prop_map(Event::Interrupted),
        2 => who().prop_map(Event::Crashes),
        4 => (prop::bool::weighted(0.2), any_resume())
            .prop_map(|(abort, resume)| Event::Another { abort, resume: Box::new(resume) }),
        2 => (who(), prop::bool::weighted(0.2), any_resume())
            .prop_map(|(who, abort, resume)| Event::Overtaken { who, abort, resume: Box::new(resume) }),
        1 => (1..200u64).prop_map(Event::Passes),
    ]
}

/// `who` counts the living from the youngest.
fn happen(world: &mut World, event: Event, forgeries: bool) {
    let living = world.living();
    let process = |who: usize| living.iter().rev().nth(who).copied();
    match event {
        Event::Go(turns) => {
            for _ in 0..turns {
                if let Some(who) = process(0) {
                    world.good_turn(who, Some(Ending::True));
                }
            }
        }
        Event::Turn { who, fresh, fate } => {
            if let Some(who) = process(who) {
                world.turn(who, fresh, fate);
            }
        }
        Event::WorkEnds { who, ending } => {
            if let Some(who) = process(who) {
                world.end_work(who, ending);
            }
        }
        Event::OrderArrives(order) => world.arrive(order),
        Event::WriteArrives(write) => world.late_write_arrives(write),
        Event::GoesDown => world.go_down(),
        Event::RebootsByItself => world.reboot(),
        Event::Reports => world.report(),
        Event::Uncordoned => world.change(|node| (node.unschedulable, node.cordon_is_ours) = (false, false)),
        Event::Cordoned => {
            world.foreign_cordon = true;
            world.change(|node| (node.unschedulable, node.cordon_is_ours) = (true, false));
        }
        Event::KeepCordoned => world.change(|node| node.keep_cordoned = !node.keep_cordoned),
        Event::Claimed => world.change(|node| node.claims = vec!["kured".to_owned()]),
        Event::AbortAsked => world.change(|node| node.abort = Some(tests::record().id)),
        Event::Replaced => world.change(|node| {
            *node =
                NodeView { uid: "another".to_owned(), boot_id: tests::boot_id(99), ..NodeView::default() };
        }),
        Event::Deleted => world.node = None,
        Event::RecordTaken => world.change(|node| node.record = RecordSeen::None),
        Event::Forged(state, ours, attempted) if forgeries => {
            world.forged = true;
            world.change(|node| {
                if let RecordSeen::Readable(record) = &mut node.record {
                    (record.state, record.failed_state) = (state, Some(State::RebootIntent));
                    record.holder = if ours { record.holder.clone() } else { "x".to_owned() };
                    record.was_unschedulable = false;
                    record.marks = vec![Mark::Cordon];
                    let by = match attempted {
                        Attempted::Gone => {
                            record.attempts.pop();
                            return;
                        }
                        Attempted::By(method) => method,
                        Attempted::AllBy(method) => {
                            record.method = method;
                            method
                        }
                    };
                    if let Some(last) = record.attempts.last_mut() {
                        (last.method, last.outcome) = (by, None);
                    }
                }
            });
        }
        Event::Forged(..) => {}
        Event::CannotRead(who) => {
            if let Some(who) = process(who) {
                world.processes[who].blind ^= true;
            }
        }
        Event::LeaseUnsure(who) => {
            if let Some(who) = process(who) {
                world.processes[who].unsure ^= true;
            }
        }
        Event::LeaseExpires => world.expire_lease(),
        Event::Interrupted(who) => {
            if let Some(who) = process(who) {
                world.processes[who].interrupted = true;
            }
        }
        Event::Crashes(who) => {
            if let Some(who) = process(who) {
                world.crash(who);
            }
        }
        Event::Another { abort, resume } => world.another(abort, *resume),
        Event::Overtaken { who, abort, resume } => {
            if let Some(who) = process(who) {
                world.overtake(who, abort, *resume);
            }
        }
        Event::Passes(seconds) => world.pass(seconds),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// `World` judges each action.
    #[test]
    fn the_laws_hold_in_every_history(
        method in any_method(),
        cordoned in prop::bool::weighted(0.2),
        options in any_options(),
        events in prop::collection::vec(any_event(), 0..25),
        (forgeries, stuck) in (prop::bool::weighted(0.2), any::<bool>()),
        last in any_resume(),
    ) {
        let mut world = World::new(method, cordoned, options);
        for event in events {
            happen(&mut world, event, forgeries);
        }
        world.calm_down(stuck);
        world.another(false, last);
        world.calm_down(stuck);
    }
}

/// Up to the moment at which the order would be sent.
fn at_the_order(method: Method) -> World {
    let mut world = World::new(method, false, Options { skip_collect: true, ..Options::default() });
    let has_intent = |world: &World| {
        let process = &world.processes[0];
        process.machine.record().state == State::RebootIntent && process.is_stored()
    };
    for _ in 0..20 {
        if !has_intent(&world) {
            world.good_turn(0, Some(Ending::True));
        }
    }
    assert!(has_intent(&world), "{:#?}", world.processes[0]);
    world
}

/// An intent that only the machine knows of is none, nor is a state before it that is stored.
#[test]
fn the_law_of_the_intent_catches_each_issue_without_one() {
    let mut world = World::new(Method::Command, false, Options::default());
    let caught = |world: &mut World| {
        let view = world.node.clone().map(|node| NodeSeen::Here(Box::new(node)));
        let seen = Seen {
            node: view.unwrap_or(NodeSeen::Gone),
            lease: LeaseSeen::Held,
            work: WorkSeen::Idle,
            interrupted: false,
        };
        let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.judge(0, &seen, &Action::Work(Work::Issue));
        }));
        judged.err().and_then(|why| why.downcast_ref::<&str>().map(|why| (*why).to_owned()))
    };
    let law = Some("LAW no issue without a recorded intent".to_owned());
    assert_eq!(caught(&mut world), law, "nothing is stored");
    for _ in 0..3 {
        world.good_turn(0, None);
    }
    assert!(world.processes[0].is_stored());
    assert_eq!(caught(&mut world), law, "what is stored is no intent");
    assert_eq!(caught(&mut at_the_order(Method::Command)), None);
}

/// Two have the Lease to themselves: the order of the one that was paused leaves after the other has gone on.
#[test]
fn an_order_that_leaves_after_a_pause_is_the_only_one_of_its_attempt() {
    for method in [Method::Pod, Method::Ssh, Method::Command, Method::Manual] {
        let mut world = at_the_order(method);
        world.overtake(0, false, Resume::default());
        assert_eq!(world.processes.len(), 2, "another goes on");
        for _ in 0..3 {
            world.turn(1, true, Fate::Answered);
        }
        world.turn(0, false, Fate::Answered);
        assert!(world.has_sent(0), "{method:?}: by its own view it may");
        world.calm_down(false);
        assert_eq!(world.reboots, [(1, 1)].into(), "{method:?}");
    }
}
