//! Rows of `spec/sync.md` §7, each from alerts to stored conditions: select, plan, apply, plan again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use proptest::sample::select as any_of;

use super::SourceState::{Down, Full, Partial};
use super::*;
use crate::core::alert::Alert;
use crate::core::selection::{Selection, SelectionPolicy, select};

const TYPE: &str = "AlertManager_NodeOnFire";
const SUMMARY: &str = "Node has erupted into fire at 500C";

fn now() -> Timestamp {
    "2020-03-18T13:17:58Z".parse().unwrap()
}

fn old() -> Timestamp {
    "2020-03-18T12:33:45Z".parse().unwrap()
}

fn older() -> Timestamp {
    "2020-03-17T12:33:45Z".parse().unwrap()
}

const fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

const fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

const HOUR: SignedDuration = minutes(60);
const DAY: SignedDuration = minutes(24 * 60);
const YEAR: SignedDuration = minutes(365 * 24 * 60);

/// A condition whose times are `old` until [`Condition::since`] and [`Condition::seen`] say otherwise.
fn entry(condition_type: &str, status: &str, reason: &str, message: &str) -> Condition {
    let (last_heartbeat, last_transition) = (Some(old()), Some(old()));
    let [type_, status, reason, message] = [condition_type, status, reason, message].map(String::from);
    Condition { type_, status, reason, message, last_heartbeat, last_transition }
}

/// True `[P<priority>] s`.
fn firing(priority: u16) -> Condition {
    entry(TYPE, "True", "AlertIsFiring", &format!("[P{priority}] {SUMMARY}"))
}

fn cleared() -> Condition {
    entry(TYPE, "False", "AlertIsNotFiring", "")
}

fn unknown() -> Condition {
    entry(TYPE, "Unknown", "AlertsUnavailable", "")
}

fn ready() -> Condition {
    entry("Ready", "True", "KubeletReady", "kubelet is posting ready status")
}

fn disk_pressure() -> Condition {
    entry("DiskPressure", "False", "KubeletHasNoDiskPressure", "")
}

impl Condition {
    /// lastTransitionTime
    fn since(mut self, time: Timestamp) -> Self {
        self.last_transition = Some(time);
        self
    }

    /// lastHeartbeatTime
    fn seen(mut self, time: Timestamp) -> Self {
        self.last_heartbeat = Some(time);
        self
    }
}

fn alert() -> Alert {
    let labels = [("alertname", "NodeOnFire"), ("node", "w1")];
    Alert { labels: labels.into(), annotations: [("summary", SUMMARY)].into(), ..Alert::default() }
}

impl Alert {
    fn with(mut self, label: &str, value: &str) -> Self {
        self.labels.insert(label, value);
        self
    }
}

/// One round of a FULL source at `now` for the node w1, which has Ready, then ours, then `DiskPressure`.
struct Round {
    conditions: Vec<Condition>,
    alerts: Vec<Alert>,
    state: SourceState,
    now: Timestamp,
    selection: SelectionPolicy,
    policy: ConditionPolicy,
}

fn given(ours: impl IntoIterator<Item = Condition>) -> Round {
    stored([ready()].into_iter().chain(ours).chain([disk_pressure()]))
}

/// As [`given`], with all of the node's conditions in the order given.
fn stored(conditions: impl IntoIterator<Item = Condition>) -> Round {
    Round {
        conditions: conditions.into_iter().collect(),
        alerts: Vec::new(),
        state: Full,
        now: now(),
        selection: SelectionPolicy::default(),
        policy: ConditionPolicy { linger: DAY, unavailable_grace: None, ..ConditionPolicy::default() },
    }
}

struct Outcome {
    changes: Vec<Change>,
    selection: Selection,
}

impl Round {
    fn alerts(mut self, alerts: impl IntoIterator<Item = Alert>) -> Self {
        self.alerts.extend(alerts);
        self
    }

    fn alert(self, alert: Alert) -> Self {
        self.alerts([alert])
    }

    fn source(mut self, state: SourceState) -> Self {
        self.state = state;
        self
    }

    fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    fn policy(mut self, change: impl FnOnce(&mut ConditionPolicy)) -> Self {
        change(&mut self.policy);
        self
    }

    fn selection(mut self, change: impl FnOnce(&mut SelectionPolicy)) -> Self {
        change(&mut self.selection);
        self
    }

    fn run(&self) -> Outcome {
        let node = |conditions| Node { name: "w1".into(), conditions, ..Node::default() };
        let before = node(self.conditions.clone());
        let selection =
            select(&self.alerts, std::slice::from_ref(&before), &self.selection, "cluster", &BTreeSet::new());
        let known = Knowledge::new(self.state, self.now);
        let plan = |node| plan(node, &selection.firing[0], &selection.pending[0], &known, &self.policy);
        let changes = plan(&before);
        let after = node(apply(&changes, &before.conditions));
        assert_eq!(plan(&after), [], "planning again gives nothing");
        Outcome { changes, selection }
    }

    #[track_caller]
    fn unchanged(self) -> Selection {
        let outcome = self.run();
        assert_eq!(outcome.changes, []);
        outcome.selection
    }

    /// Something is patched, our conditions are these afterwards, and all others are as they were.
    #[track_caller]
    fn becomes(self, ours: impl IntoIterator<Item = Condition>) -> Outcome {
        let outcome = self.run();
        assert_ne!(outcome.changes, [], "something is patched");
        let (owned, others): (Vec<_>, Vec<_>) =
            apply(&outcome.changes, &self.conditions).into_iter().partition(|c| c.type_.starts_with("Alert"));
        assert_eq!(owned, ours.into_iter().collect::<Vec<_>>());
        let mut others_before = self.conditions;
        others_before.retain(|condition| !condition.type_.starts_with("Alert"));
        assert_eq!(others, others_before, "the conditions of others");
        outcome
    }
}

impl Outcome {
    #[track_caller]
    fn by(self, kinds: &[ChangeKind]) -> Selection {
        assert_eq!(self.changes.iter().map(|change| change.kind).collect::<Vec<_>>(), kinds);
        self.selection
    }
}

#[test]
fn s1_an_alert_adds_a_true_condition() {
    given([]).alert(alert()).becomes([firing(9).since(now()).seen(now())]).by(&[ChangeKind::Add]);
}

#[test]
fn s2_the_same_again_patches_nothing() {
    given([firing(3)]).at(old()).alert(alert().with("priority", "3")).unchanged();
}

#[test]
fn s3_the_priority_leads_the_message() {
    given([]).alert(alert().with("priority", "5")).becomes([firing(5).since(now()).seen(now())]);
}

#[test]
fn s4_and_s5_the_most_urgent_alert_speaks_in_either_order() {
    let [p5, p6] = ["5", "6"].map(|priority| alert().with("priority", priority));
    for alerts in [[p5.clone(), p6.clone()], [p6, p5]] {
        given([]).alerts(alerts).becomes([firing(5).since(now()).seen(now())]);
    }
}

#[test]
fn s6_a_malformed_priority_counts_as_none() {
    let blah = || given([]).alert(alert().with("priority", "blah"));
    let selection = blah().becomes([firing(9).since(now()).seen(now())]).selection;
    assert_eq!((selection.counts.malformed_priority, selection.counts.strict), (1, 0));
    let selection = blah().selection(|policy| policy.strict = true).unchanged();
    assert_eq!((selection.counts.malformed_priority, selection.counts.strict), (1, 1));
}

#[test]
fn s7_an_alert_without_alertname_is_skipped_alone() {
    let mut nameless = alert().with("", "x");
    nameless.labels.remove("alertname");
    let alerts = [nameless, alert().with("alertname", "").with("priority", "1"), alert()];
    let outcome = given([]).alerts(alerts).becomes([firing(9).since(now()).seen(now())]);
    assert_eq!((outcome.selection.counts.no_alertname, outcome.selection.counts.matched), (2, 1));
}

#[test]
fn s8_without_a_text_the_message_is_the_priority() {
    let mut described = alert();
    described.annotations = [("runbook_url".to_owned(), SUMMARY.to_owned())].into();
    let expected = Condition { message: "[P9]".into(), ..firing(9).since(now()).seen(now()) };
    given([]).alert(described).becomes([expected]);
}

#[test]
fn s9_down_adds_nothing() {
    given([]).source(Down).alert(alert()).unchanged();
}

#[test]
fn s11_a_confirmed_condition_gets_a_heartbeat() {
    let round = given([firing(9).since(old()).seen(old())]).alert(alert());
    round.becomes([firing(9).since(old()).seen(now())]).by(&[ChangeKind::Heartbeat]);
}

#[test]
fn s12_another_message_keeps_the_transition_time() {
    let round = given([firing(8).since(old()).seen(old())]).alert(alert().with("priority", "7"));
    round.becomes([firing(7).since(old()).seen(now())]).by(&[ChangeKind::Update]);
}

#[test]
fn s13_true_without_its_alert_turns_false() {
    given([firing(9)]).becomes([cleared().since(now()).seen(now())]).by(&[ChangeKind::Transition]);
}

#[test]
fn s14_false_lingers() {
    given([cleared().since(old()).seen(old())]).becomes([cleared().since(old()).seen(now())]);
}

#[test]
fn s15_false_is_deleted_after_the_linger_time() {
    let round = stored([ready(), disk_pressure(), cleared().since(older())]);
    round.becomes([]).by(&[ChangeKind::Delete]);
}

#[test]
fn s16_deleting_the_first_keeps_the_order_of_the_others() {
    stored([cleared().since(older()), ready(), disk_pressure()]).becomes([]);
}

#[test]
fn s17_false_duplicates_are_deleted_together() {
    let round = stored([cleared().since(older()), disk_pressure(), cleared().since(older())]);
    round.becomes([]).by(&[ChangeKind::Delete]);
}

#[test]
fn row_22_the_linger_time_is_strict() {
    let stored = |age| given([cleared().since(now() - age).seen(now())]);
    stored(DAY).unchanged();
    stored(DAY + seconds(1)).becomes([]);
}

#[test]
fn a_false_without_times_lingers_from_now() {
    let timeless = Condition { last_heartbeat: None, last_transition: None, ..cleared() };
    given([timeless]).becomes([cleared().since(now()).seen(now())]).by(&[ChangeKind::Heartbeat]);
}

#[test]
fn row_23_linger_zero_keeps_for_ever() {
    let stored = || given([cleared().since(now() - YEAR).seen(now())]);
    stored().policy(|policy| policy.linger = SignedDuration::ZERO).unchanged();
    stored().becomes([]);
}

#[test]
fn row_24_unknown_with_an_alert_turns_true() {
    given([unknown()]).alert(alert()).becomes([firing(9).since(now()).seen(now())]);
}

#[test]
fn row_25_unknown_without_an_alert_turns_false_and_stays_this_round() {
    given([unknown().since(now() - YEAR)]).becomes([cleared().since(now()).seen(now())]);
}

#[test]
fn row_26_unknown_outlives_an_outage() {
    given([unknown().since(now() - YEAR).seen(now() - YEAR)]).source(Down).unchanged();
}

#[test]
fn rows_27_28_and_30_heartbeats_of_true() {
    let seen = |age| given([firing(9).seen(now() - age)]);
    seen(minutes(4)).alert(alert()).unchanged();
    let heartbeat = seen(minutes(6)).alert(alert()).becomes([firing(9).seen(now())]);
    heartbeat.by(&[ChangeKind::Heartbeat]);
    seen(minutes(4)).alert(alert().with("priority", "8")).becomes([firing(8).seen(now())]);
}

#[test]
fn row_29_heartbeats_of_false() {
    let seen = |age| given([cleared().seen(now() - age)]);
    seen(minutes(20)).unchanged();
    seen(minutes(33) + seconds(1)).becomes([cleared().seen(now())]).by(&[ChangeKind::Heartbeat]);
}

#[test]
fn row_35_what_is_not_confirmed_is_held_for_ever_if_told_so() {
    for age in [minutes(2), DAY * 3] {
        given([firing(9).since(now() - age).seen(now() - age)]).source(Partial).unchanged();
        given([firing(9).since(now() - age).seen(now() - age)]).source(Down).unchanged();
    }
}

#[test]
fn row_32_partial_adds_what_fires() {
    given([]).source(Partial).alert(alert()).becomes([firing(9).since(now()).seen(now())]);
}

#[test]
fn row_34_without_a_full_round_false_gets_no_heartbeat_and_is_not_deleted() {
    for state in [Partial, Down] {
        given([cleared().seen(now() - minutes(20))]).source(state).unchanged();
        given([cleared().since(older()).seen(older())]).source(state).unchanged();
    }
}

#[test]
fn row_48_a_silence_wins() {
    let silenced = || given([firing(9)]).alert(Alert { silenced: true, ..alert() });
    silenced().becomes([cleared().since(now()).seen(now())]);
    silenced().selection(|policy| policy.silenced = true).becomes([firing(9).seen(now())]);
}

#[test]
fn row_49_inhibited_counts_unless_told_otherwise() {
    let inhibited = || given([]).alert(Alert { inhibited: true, ..alert() });
    inhibited().becomes([firing(9).since(now()).seen(now())]);
    inhibited().selection(|policy| policy.inhibited = false).unchanged();
}

#[test]
fn row_69_a_transition_time_from_a_broken_clock_is_replaced() {
    for (ahead, since) in [
        (HOUR, now()),
        (minutes(5) + seconds(1), now()),
        // A clock that is a little fast: time does not run backwards.
        (minutes(5), now() + minutes(5)),
        (-HOUR, now()),
    ] {
        given([firing(9).since(now() + ahead)]).becomes([cleared().since(since).seen(now())]);
    }
}

#[test]
fn row_70_odd_statuses_turn_false() {
    for status in ["", "Maybe", "true"] {
        given([entry(TYPE, status, "?", "?")]).becomes([cleared().since(now()).seen(now())]);
    }
}

#[test]
fn row_86_duplicates_become_one_in_the_same_round() {
    // The first True counts, else the first.
    let [a, b, c] = [firing(9).since(older()), firing(8), cleared()];
    for (entries, since) in [
        ([a.clone(), b.clone()], older()),
        ([b.clone(), a.clone()], old()),
        ([c.clone(), a.clone()], older()),
        ([c, unknown()], now()),
    ] {
        let duplicates = [entries[0].clone(), ready(), entries[1].clone()];
        let outcome = stored(duplicates).alert(alert()).becomes([firing(9).since(since).seen(now())]);
        assert!(outcome.changes[0].duplicated);
    }
}

/// Spec §6.4, cell by cell; `-` is absent.
#[test]
fn the_state_table() {
    let lingering = now() - HOUR;
    #[rustfmt::skip]
    let table = [ // FULL F, FULL, PARTIAL F, PARTIAL, DOWN F, DOWN
        (None,                              ["True", "-",     "True", "-",       "-",       "-"]),
        (Some(("True", older())),           ["True", "False", "True", "True",    "True",    "True"]),
        (Some(("False", lingering)),        ["True", "False", "True", "False",   "False",   "False"]),
        (Some(("False", older())),          ["True", "-",     "True", "False",   "False",   "False"]),
        (Some(("Unknown", older())),        ["True", "False", "True", "Unknown", "Unknown", "Unknown"]),
        (Some(("Maybe", older())),          ["True", "False", "True", "Maybe",   "Maybe",   "Maybe"]),
        (Some(("", older())),               ["True", "False", "True", "",        "",        ""]),
    ];
    let columns = [(Full, 1), (Full, 0), (Partial, 1), (Partial, 0), (Down, 1), (Down, 0)];
    for (current, cells) in table {
        for (copies, ((state, alerts), expected)) in [1, 2]
            .into_iter()
            .flat_map(|copies| columns.into_iter().zip(cells).map(move |cell| (copies, cell)))
        {
            let cell = format!("{current:?} ×{copies}, {state:?}, {alerts} alerts");
            let ours = current.map(|(status, since)| entry(TYPE, status, "?", "").since(since));
            let round = given(ours.iter().cycle().take(copies * ours.iter().len()).cloned());
            let round = round.source(state).alerts(vec![alert(); alerts]);
            let after = apply(&round.run().changes, &round.conditions);
            let after: Vec<_> = after.iter().filter(|condition| condition.type_ == TYPE).collect();
            let statuses: Vec<_> = after.iter().map(|condition| condition.status.as_str()).collect();
            assert_eq!(statuses, if expected == "-" { vec![] } else { vec![expected] }, "{cell}");
            for entry in after {
                let since = current.filter(|(status, _)| *status == expected).map_or(now(), |kept| kept.1);
                assert_eq!(entry.last_transition, Some(since), "{cell}");
            }
        }
    }
}

#[test]
fn heartbeats_spread_by_ten_per_cent() {
    let due = |condition: Condition, age| {
        let nodes = (0..2000).map(|number| Node {
            name: format!("w{number}"),
            conditions: vec![condition.clone().seen(now() - age)],
            ..Node::default()
        });
        let messages = [(TYPE.to_owned(), condition.message.clone())];
        let fires = if condition.is_true() { messages.into() } else { BTreeMap::new() };
        let policy = ConditionPolicy::default();
        let (held, known) = (BTreeSet::new(), Knowledge::new(Full, now()));
        nodes.filter(|node| !plan(node, &fires, &held, &known, &policy).is_empty()).count()
    };
    for (condition, interval) in [(firing(9), minutes(5)), (cleared(), minutes(30))] {
        // Of so many nodes some are due at exactly this age, and "older" is strict.
        assert_eq!(due(condition.clone(), interval * 9 / 10), 0);
        assert!((500..1500).contains(&due(condition.clone(), interval)));
        assert_eq!(due(condition.clone(), interval * 11 / 10 + seconds(1)), 2000);
        // A heartbeat from a broken clock's future says nothing; one from a slightly fast clock is fresh.
        assert_eq!((due(condition.clone(), -HOUR), due(condition, -minutes(5))), (2000, 0));
    }
}

#[test]
fn heartbeats_can_be_switched_off() {
    let off = |round: Round| round.policy(|policy| policy.heartbeat_interval = SignedDuration::ZERO);
    off(given([firing(9).seen(older())]).alert(alert())).unchanged();
    off(given([cleared().seen(older())])).unchanged();
}

#[test]
fn heartbeats_due_soon_go_along_with_another_change() {
    let other = |age| Condition { type_: "AlertManager_Other".into(), ..firing(9).seen(now() - age) };
    let round = |age, ours| given([other(age), ours]).alerts([alert(), alert().with("alertname", "Other")]);
    let (due, fresh) = (minutes(4), minutes(2));
    let stale = firing(9).seen(now() - minutes(6));
    round(due, firing(9).seen(now())).unchanged();
    round(due, stale.clone()).becomes([other(minutes(0)), firing(9).seen(now())]);
    round(fresh, stale).becomes([other(fresh), firing(9).seen(now())]);
}

#[path = "condition_properties.rs"]
mod properties;
