//! Rows of `spec/sync.md` §7 that take what the sources are worth, or several rounds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::SignedDuration;

use super::SourceState::{Down, Full, Partial};
use super::*;
use crate::core::alert::Alert;
use crate::core::clusters::{Learning, Ours, Scope, ours};
use crate::core::condition::apply;
use crate::core::matcher::Matcher;
use crate::core::node::Condition;
use crate::core::selection::SelectionPolicy;
use crate::core::source::{Answer, Failure, FailureReason, Gathered, Group, Member, Warming, gather};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn start() -> Timestamp {
    "2020-03-18T13:17:58Z".parse().unwrap()
}

pub(super) fn alert(name: &str, node: &str) -> Alert {
    Alert { labels: [("alertname", name), ("node", node)].into(), ..Alert::default() }
}

fn condition(name: &str, status: &str, time: Timestamp) -> Condition {
    let (reason, message) =
        if status == "True" { ("AlertIsFiring", "[P9]") } else { ("AlertIsNotFiring", "") };
    Condition {
        type_: format!("AlertManager_{name}"),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        last_heartbeat: Some(time),
        last_transition: Some(time),
    }
}

pub(super) fn failed() -> Result<Answer, Failure> {
    Err(Failure { reason: FailureReason::Http, is_misconfigured: false, what: "away".into(), hints: vec![] })
}

/// Nodes, what the Lease remembers, and a clock.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) memory: Memory,
    pub(super) now: Timestamp,
    pub(super) policy: RoundPolicy,
    pub(super) selection: SelectionPolicy,
    pub(super) filters: Vec<Matcher>,
    /// Further members are not asked.
    pub(super) has_unasked_members: bool,
}

/// `count` nodes w0, w1 …, each with a condition X of this status and age.
fn world(count: usize, status: &str, age: SignedDuration) -> World {
    let nodes = (0..count).map(|number| Node {
        name: format!("w{number}"),
        uid: format!("u{number}"),
        conditions: vec![condition("X", status, start() - age)],
        ..Node::default()
    });
    World {
        nodes: nodes.collect(),
        memory: Memory::default(),
        now: start(),
        policy: RoundPolicy::default(),
        selection: SelectionPolicy::default(),
        filters: Vec::new(),
        has_unasked_members: false,
    }
}

impl World {
    /// A round that is not written.
    pub(super) fn plan(&self, answers: Vec<Result<Answer, Failure>>) -> Round {
        let members = answers
            .into_iter()
            .map(|answer| Member { name: "m".into(), took: std::time::Duration::ZERO, answer })
            .collect();
        let group = Group { members, has_unasked_members: self.has_unasked_members };
        let seen = self.memory.canary.is_some();
        let Gathered { alerts, watchdogs, trust } = gather(vec![group], &self.policy.canary, seen, None);
        let scope = Scope {
            policy: &self.selection,
            cluster_label: "cluster",
            filters: &self.filters,
            known: &self.memory.clusters,
        };
        let learning = if trust.state == Full { Learning::Allowed } else { Learning::Incomplete };
        let Ours { selection, clusters, doubt } = ours(&alerts, &watchdogs, &self.nodes, &scope, learning);
        let situation = Situation {
            nodes: &self.nodes,
            selection: &selection,
            mixes_clusters: doubt.is_some_and(|doubt| doubt.matters()),
            clusters: &clusters,
            trust: &trust,
            memory: &self.memory,
            now: self.now,
        };
        round(&situation, &self.policy)
    }

    /// A round that is written, with its memory; planning it again gives nothing.
    pub(super) fn round(&mut self, answers: Vec<Result<Answer, Failure>>) -> Round {
        let again = answers.clone();
        let round = self.plan(answers);
        for (node, changes) in self.nodes.iter_mut().zip(&round.changes) {
            node.conditions = apply(changes, &node.conditions);
        }
        assert!(self.plan(again).changes.iter().all(Vec::is_empty), "planning again gives nothing");
        self.memory = Memory::read(&round.memory(true).annotations());
        round
    }

    pub(super) fn lists(&mut self, alerts: &[Alert]) -> Round {
        self.round(vec![Ok(Answer { alerts: alerts.to_vec(), ..Answer::default() })])
    }

    fn is_down(&mut self) -> Round {
        self.round(vec![failed()])
    }

    /// A round of which a part is missing.
    fn is_partial(&mut self, alerts: &[Alert]) -> Round {
        let warnings = vec!["a part is away".to_owned()];
        self.round(vec![Ok(Answer { alerts: alerts.to_vec(), warnings, ..Answer::default() })])
    }

    pub(super) fn after(&mut self, time: SignedDuration) -> &mut Self {
        self.now += time;
        self
    }

    /// How many conditions X have this status.
    fn count(&self, status: &str) -> usize {
        let conditions = self.nodes.iter().flat_map(|node| &node.conditions);
        conditions.filter(|c| c.status == status && c.type_ == "AlertManager_X").count()
    }

    fn x(&self) -> &Condition {
        &self.nodes[0].conditions[0]
    }
}

fn unknown_since(now: Timestamp) -> Condition {
    let (status, reason, message) = ("Unknown".into(), "AlertsUnavailable".into(), String::new());
    Condition { status, reason, message, ..condition("X", "True", now) }
}

#[test]
fn s10_unavailable_becomes_unknown() {
    // Upstream's behaviour: at once.
    let mut upstream = world(1, "True", 44 * MINUTE);
    upstream.policy.conditions.unavailable_grace = Some(SignedDuration::ZERO);
    upstream.memory.last_full = Some(start() - MINUTE);
    upstream.is_down();
    assert_eq!(*upstream.x(), unknown_since(start()));
    // By default: when all was last well too long ago.
    let mut ours = world(1, "True", 44 * MINUTE);
    ours.memory.last_full = Some(start() - 10 * MINUTE);
    ours.is_down();
    assert_eq!(ours.count("True"), 1, "exactly the grace is not more than it");
    ours.memory.last_full = Some(start() - 10 * MINUTE - SignedDuration::from_secs(1));
    ours.is_down();
    assert_eq!(*ours.x(), unknown_since(start()));
}

#[test]
fn the_grace_covers_two_intervals() {
    let mut world = world(1, "True", 44 * MINUTE);
    world.memory.last_full = Some(start() - 25 * MINUTE);
    world.policy.conditions.interval = 15 * MINUTE;
    world.is_down();
    assert_eq!(world.count("True"), 1);
    world.after(6 * MINUTE).is_down();
    assert_eq!(world.count("Unknown"), 1);
}

#[test]
fn row_26_unknown_outlives_an_outage_of_a_year() {
    let mut world = world(1, "True", HOUR);
    world.is_down();
    let unknown = world.nodes.clone();
    world.after(24 * 365 * HOUR).is_down();
    assert_eq!(world.nodes, unknown);
}

#[test]
fn row_31_what_was_confirmed_a_moment_ago_is_not_stale() {
    let mut world = world(1, "True", 2 * MINUTE);
    world.policy.conditions.unavailable_grace = Some(SignedDuration::ZERO);
    let round = world.is_partial(&[]);
    assert_eq!((round.state, world.count("True")), (Partial, 1));
}

#[test]
fn row_32_partial_adds_what_fires() {
    let mut world = world(1, "False", MINUTE);
    world.is_partial(&[alert("X", "w0"), alert("Y", "w0")]);
    assert_eq!((world.count("True"), world.nodes[0].conditions.len()), (1, 2));
}

#[test]
fn row_33_partial_for_too_long_becomes_unknown() {
    let mut world = world(2, "True", MINUTE);
    for _ in 0..11 {
        assert_eq!(world.count("Unknown"), 0);
        world.is_partial(&[alert("X", "w1")]);
        world.after(MINUTE);
    }
    world.is_partial(&[alert("X", "w1")]);
    assert_eq!((world.count("Unknown"), world.count("True")), (1, 1), "the one that is confirmed stays");
    // The rest of the source comes back and knows better.
    world.lists(&[alert("X", "w0"), alert("X", "w1")]);
    assert_eq!(world.count("True"), 2);
}

#[test]
fn row_34_five_minutes_of_outage_change_nothing() {
    for status in ["True", "False"] {
        let mut seen = world(1, status, 20 * MINUTE);
        seen.memory.last_full = Some(start() - 5 * MINUTE);
        let before = seen.nodes.clone();
        seen.is_down();
        assert_eq!(seen.nodes, before, "{status}");
    }
    let mut without_heartbeats = world(1, "True", 24 * HOUR);
    without_heartbeats.policy.conditions.heartbeat_interval = SignedDuration::ZERO;
    without_heartbeats.memory.last_full = Some(start() - MINUTE);
    without_heartbeats.is_down();
    assert_eq!(without_heartbeats.count("True"), 1);
    // PARTIAL has no measure then, nor has DOWN without a memory.
    without_heartbeats.memory = Memory::default();
    without_heartbeats.is_partial(&[]);
    without_heartbeats.is_down();
    assert_eq!(without_heartbeats.count("True"), 1);
}

#[test]
fn row_35_hold_is_for_ever() {
    let mut world = world(1, "True", 72 * HOUR);
    world.policy.conditions.unavailable_grace = None;
    let before = world.nodes.clone();
    world.is_down();
    world.is_partial(&[]);
    assert_eq!(world.nodes, before);
}

#[test]
fn rows_39_and_40_a_source_that_just_started_clears_nothing() {
    let warming = || {
        let warming = Some(Warming { up_for: MINUTE, until: start() + 4 * MINUTE });
        vec![Ok(Answer { warming, ..Answer::default() })]
    };
    let mut world = world(1, "True", MINUTE);
    assert_eq!(world.round(warming()).state, Partial);
    assert_eq!(world.count("True"), 1);
    assert_eq!(world.memory.last_full, None);
}

#[test]
fn row_42_the_canary_is_remembered() {
    let says = |canary| vec![Ok(Answer { canary: Some(canary), ..Answer::default() })];
    let mut world = world(1, "False", MINUTE);
    assert_eq!(world.round(says(false)).state, Full);
    assert_eq!(world.round(says(true)).state, Full);
    assert_eq!(world.memory.canary.as_deref(), Some("Watchdog"));
    world.lists(&[alert("X", "w0")]); // a member that does not say fails, too
    assert_eq!(world.round(says(false)).state, Down);
    assert_eq!(world.round(says(true)).state, Full);
    // Whoever switches it off once need not do so again.
    world.policy.canary = Canary::None;
    assert_eq!(world.round(says(false)).state, Full);
    world.policy.canary = Canary::Auto;
    assert_eq!(world.round(says(false)).state, Full);
}

#[test]
fn row_45_when_all_would_clear_it_is_held_and_believed_later() {
    let mut world = world(200, "True", MINUTE);
    let round = world.lists(&[]);
    let until = start() + 3 * MINUTE;
    assert_eq!(round.notices, [Notice::ClearsHeld { count: 200, total: 200, until, rounds_left: 2 }]);
    assert!(round.is_braked());
    assert_eq!((round.state, round.held.len(), world.count("True")), (Full, 200, 200));
    assert_eq!(world.memory.last_full, Some(start()));
    // Two further rounds, but not three minutes.
    world.after(MINUTE).lists(&[]);
    world.after(MINUTE).lists(&[]);
    assert_eq!(world.count("True"), 200);
    let round = world.after(MINUTE).lists(&[]);
    assert_eq!((round.notices, world.count("False")), (vec![], 200));
    assert_eq!(world.memory.held, None);
}

#[test]
fn row_45_three_minutes_alone_are_not_enough() {
    let mut world = world(200, "True", MINUTE);
    world.lists(&[]);
    world.after(HOUR).lists(&[]);
    assert_eq!(world.count("True"), 200);
    // Rounds that are not full neither count nor forget, and what is held does not age by the time it was held.
    world.after(MINUTE).is_partial(&[]);
    world.is_down();
    assert_eq!(world.count("True"), 200);
    world.after(MINUTE).lists(&[]);
    assert_eq!(world.count("False"), 200);
}

#[test]
fn row_45_what_came_back_ends_it() {
    let all: Vec<Alert> = (0..200).map(|number| alert("X", &format!("w{number}"))).collect();
    let mut world = world(200, "True", MINUTE);
    world.lists(&[]);
    world.after(10 * MINUTE).lists(&all);
    assert_eq!(world.memory.held, None);
    world.after(MINUTE).lists(&[]);
    assert_eq!(world.count("True"), 200, "it starts anew");
    // A part of it is a part.
    world.after(MINUTE).lists(&all[..120]);
    assert_eq!((world.count("True"), world.count("False")), (120, 80));
}

#[test]
fn row_45_evidence_releases_the_brake() {
    let all = |change: &dyn Fn(&mut Alert)| -> Vec<Alert> {
        let alerts = (0..200).map(|number| alert("X", &format!("w{number}")));
        alerts
            .map(|mut alert| {
                change(&mut alert);
                alert
            })
            .collect()
    };
    let world = world(200, "True", MINUTE);
    let mut silenced = world.clone();
    silenced.lists(&all(&|alert| alert.silenced = true));
    assert_eq!(silenced.count("False"), 200);
    let mut inhibited = world.clone();
    inhibited.selection.inhibited = false;
    inhibited.lists(&all(&|alert| alert.inhibited = true));
    assert_eq!(inhibited.count("False"), 200);
    let mut pending = world.clone();
    pending.selection.hold_pending = false;
    pending.lists(&all(&|alert| alert.pending = true));
    assert_eq!(pending.count("False"), 200);
    let mut another = world;
    let others: Vec<Alert> = (0..200).map(|number| alert("Y", &format!("w{number}"))).collect();
    another.lists(&others);
    assert_eq!(another.count("False"), 200);
}

#[test]
fn the_brake_needs_ten_and_more_than_the_share() {
    let cleared = |count: usize, stay: usize, max: u8| {
        let mut world = world(count, "True", MINUTE);
        world.policy.max_clear = max;
        let alerts: Vec<Alert> = (0..stay).map(|number| alert("X", &format!("w{number}"))).collect();
        world.lists(&alerts);
        world.count("False")
    };
    assert_eq!(cleared(9, 0, 50), 9, "few");
    assert_eq!(cleared(10, 0, 50), 0);
    assert_eq!(cleared(20, 10, 50), 10, "exactly half");
    assert_eq!(cleared(21, 10, 50), 0);
    assert_eq!(cleared(200, 0, 100), 200, "switched off");
    assert_eq!(cleared(100, 90, 0), 0);
}

#[test]
fn force_clear_releases_the_brake() {
    let mut world = world(200, "True", MINUTE);
    world.lists(&[]);
    world.policy.force_clear = true;
    assert_eq!((world.lists(&[]).notices, world.count("False")), (vec![], 200));
}

#[test]
fn without_a_lease_the_brake_holds_for_ever() {
    let mut world = world(200, "True", MINUTE);
    for _ in 0..20 {
        world.memory = Memory::default();
        assert!(world.after(MINUTE).lists(&[]).is_braked());
    }
    assert_eq!(world.count("True"), 200);
}

#[test]
fn believed_clears_that_could_not_be_written_need_not_wait_again() {
    let mut world = world(200, "True", MINUTE);
    world.lists(&[]);
    world.after(3 * MINUTE).lists(&[]);
    world.after(MINUTE);
    let round = world.plan(vec![Ok(Answer::default())]);
    assert!(!round.is_braked());
    world.memory = round.memory(false);
    assert!(world.memory.last_full < Some(world.now));
    assert!(!world.lists(&[]).is_braked());
    assert_eq!(world.count("False"), 200);
}

#[test]
fn row_46_a_pending_alert_keeps_its_condition() {
    let pending = || [Alert { pending: true, ..alert("X", "w0") }];
    let mut holds = world(1, "True", HOUR);
    let before = holds.nodes.clone();
    holds.lists(&pending());
    assert_eq!(holds.nodes, before);
    holds.is_partial(&pending());
    assert_eq!(holds.nodes, before, "it is listed, so nothing is stale");
    let mut clears = world(1, "True", HOUR);
    clears.selection.hold_pending = false;
    clears.lists(&pending());
    assert_eq!(clears.count("False"), 1);
}

#[test]
fn row_47_a_pending_alert_adds_nothing() {
    let mut world = world(1, "False", MINUTE);
    world.lists(&[Alert { pending: true, ..alert("Y", "w0") }, Alert { pending: true, ..alert("X", "w0") }]);
    assert_eq!((world.count("False"), world.nodes[0].conditions.len()), (1, 1));
}

#[test]
fn row_81_alerts_of_several_clusters_add_nothing_and_clear_nothing() {
    let of = |name, node, cluster| {
        let mut alert = alert(name, node);
        alert.labels.insert("cluster", cluster);
        alert
    };
    let mut world = world(3, "True", MINUTE);
    let round = world.lists(&[of("X", "w0", "a"), of("Y", "w0", "b"), of("Y", "w2", "a")]);
    assert_eq!((round.state, round.notices), (Partial, vec![Notice::MixedClusters]));
    assert!(world.nodes.iter().all(|node| node.conditions.len() == 1));
    assert_eq!(world.count("True"), 3);
}

#[test]
fn row_82_alerts_that_match_nothing_clear_nothing_of_their_names() {
    let mut world = world(1, "True", MINUTE);
    let round = world.lists(&[alert("X", "elsewhere")]);
    assert_eq!((round.state, round.notices), (Partial, vec![Notice::NothingMatches { held: 1 }]));
    assert_eq!(world.count("True"), 1);
}

/// What holds back clears must not look at what the same round takes away.
#[test]
fn row_86_a_duplicate_that_does_not_count_is_nothing_to_clear() {
    let mut world = world(1, "False", MINUTE);
    world.nodes[0].conditions.push(condition("X", "Unknown", start()));
    let round = world.lists(&[alert("Y", "elsewhere")]);
    assert_eq!((round.state, round.notices), (Full, vec![]));
    assert_eq!((world.count("False"), world.nodes[0].conditions.len()), (1, 1));
}

#[test]
fn row_84_what_one_of_several_members_does_not_list_needs_a_second_round() {
    let mut given = world(1, "True", MINUTE);
    given.has_unasked_members = true;
    let mut twice = given.clone();
    let round = twice.lists(&[]);
    assert_eq!(round.notices, [Notice::ClearsUnconfirmed { count: 1 }]);
    assert_eq!((round.state, twice.count("True")), (Full, 1));
    assert_eq!((twice.after(MINUTE).lists(&[]).notices, twice.count("False")), (vec![], 1));
    // Not consecutive, or not the same condition.
    let mut back = given.clone();
    back.lists(&[]);
    back.after(MINUTE).lists(&[alert("X", "w0")]);
    back.after(MINUTE).lists(&[]);
    assert_eq!(back.count("True"), 1);
    back.after(MINUTE).is_partial(&[]);
    back.after(MINUTE).lists(&[]);
    assert_eq!(back.count("True"), 1);
    // A silence is known to this member.
    let mut silenced = given.clone();
    silenced.lists(&[Alert { silenced: true, ..alert("X", "w0") }]);
    assert_eq!(silenced.count("False"), 1);
    let mut forced = given;
    forced.policy.force_clear = true;
    assert_eq!((forced.lists(&[]).notices, forced.count("False")), (vec![], 1));
}

#[path = "clusters_properties.rs"]
mod clusters;
#[path = "round_properties.rs"]
mod properties;
#[path = "round_rules_tests.rs"]
mod rules;
#[path = "round_unmatched_tests.rs"]
mod unmatched;
