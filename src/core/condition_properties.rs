//! What holds for every plan, whatever a node's conditions look like.

use super::*;

const OURS: [&str; 3] = ["AlertManager_A", "AlertManager_B", "AlertManager_C"];
/// The last is the prefix alone.
const FOREIGN: [&str; 4] = ["Ready", "Old_A", "alertmanager_A", "AlertManager_"];

#[derive(Debug)]
struct Situation {
    node: Node,
    firing: BTreeMap<String, String>,
    held: BTreeSet<String>,
    state: SourceState,
    known: Knowledge,
    policy: ConditionPolicy,
}

impl Situation {
    fn plan(&self) -> Vec<Change> {
        plan(
            &self.node,
            &self.firing,
            &self.held,
            &Knowledge { state: self.state, ..self.known },
            &self.policy,
        )
    }

    fn after(&self) -> Vec<Condition> {
        apply(&self.plan(), &self.node.conditions)
    }

    /// Held, and so kept as it is.
    fn is_held(&self, condition_type: &str) -> bool {
        self.held.contains(condition_type)
            && !self.firing.contains_key(condition_type)
            && self.current(condition_type).is_some_and(|current| current.status != FALSE)
    }

    /// The entry that speaks for a type: the first True, else the first.
    fn current(&self, condition_type: &str) -> Option<&Condition> {
        let mut entries: Vec<_> = entries(&self.node.conditions, condition_type);
        entries.sort_by_key(|entry| entry.status != "True");
        entries.first().copied()
    }
}

fn entries<'c>(conditions: &'c [Condition], condition_type: &str) -> Vec<&'c Condition> {
    conditions.iter().filter(|entry| entry.type_ == condition_type).collect()
}

fn any_time() -> impl Strategy<Value = Option<Timestamp>> {
    let about =
        any_of(vec![minutes(0), minutes(2), minutes(5), minutes(30), DAY, YEAR, -minutes(5), -HOUR, -YEAR]);
    prop::option::weighted(0.9, (about, -1..=1i64).prop_map(|(age, off)| now() - age + seconds(off)))
}

fn any_condition() -> impl Strategy<Value = Condition> {
    (
        prop_oneof![4 => any_of(&OURS[..]), 1 => any_of(&FOREIGN[..])],
        any_of(&["True", "True", "False", "False", "Unknown", "", "Maybe", "true"][..]),
        any_of(&["AlertIsFiring", "AlertIsNotFiring", ""][..]),
        any_of(&["", "[P9]", "[P1] s"][..]),
        any_time(),
        any_time(),
    )
        .prop_map(|(condition_type, status, reason, message, last_heartbeat, last_transition)| {
            Condition { last_heartbeat, last_transition, ..entry(condition_type, status, reason, message) }
        })
}

fn any_situation() -> impl Strategy<Value = Situation> {
    let firing_type = prop_oneof![8 => any_of(&OURS[..]), 1 => any_of(&FOREIGN[..])].prop_map(String::from);
    let message = any_of(&["[P9]", "[P1] s"][..]).prop_map(String::from);
    (
        "w[0-9]",
        prop::collection::vec(any_condition(), 0..7),
        prop::collection::btree_map(firing_type, message, 0..3),
        any_of(vec![Full, Partial, Down]),
        (
            any_of(vec![SignedDuration::ZERO, DAY]),
            any_of(vec![SignedDuration::ZERO, minutes(5)]),
            any_of(vec![None, Some(SignedDuration::ZERO), Some(minutes(10))]),
        ),
        (
            prop::collection::btree_set(any_of(&OURS[..]).prop_map(String::from), 0..2),
            any_time(),
            any::<bool>(),
        ),
    )
        .prop_map(|(name, conditions, firing, state, policy, (held, last_full, is_holding))| Situation {
            node: Node { name, conditions, ..Node::default() },
            firing,
            held,
            state,
            known: Knowledge { state, now: now(), last_full, is_holding },
            policy: ConditionPolicy {
                linger: policy.0,
                heartbeat_interval: policy.1,
                unavailable_grace: policy.2,
                ..ConditionPolicy::default()
            },
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn planning_again_gives_nothing(mut situation in any_situation()) {
        situation.node.conditions = situation.after();
        prop_assert_eq!(situation.plan(), []);
    }

    #[test]
    fn without_a_full_round_nothing_is_cleared_or_deleted(mut situation in any_situation(), down: bool) {
        situation.state = if down { Down } else { Partial };
        let after = situation.after();
        for condition in &situation.node.conditions {
            let kept = entries(&after, &condition.type_);
            prop_assert!(!kept.is_empty());
            let may_be_unknown = situation.policy.unavailable_grace.is_some() && OURS.contains(&&*condition.type_);
            let is_kept = |entry: &&Condition| {
                entry.is_true() || may_be_unknown && (&*entry.status, &*entry.reason) == (UNKNOWN, UNAVAILABLE)
            };
            prop_assert!(!condition.is_true() || kept.iter().any(is_kept));
        }
        for entry in after.iter().filter(|entry| entry.status == FALSE && OURS.contains(&&*entry.type_)) {
            prop_assert!(situation.current(&entry.type_).is_some_and(|before| before.status == FALSE));
        }
        prop_assert!(situation.plan().iter().all(|change| change.kind != ChangeKind::Delete));
    }

    #[test]
    fn conditions_of_others_are_never_touched(situation in any_situation()) {
        let foreign = |conditions: &[Condition]| -> Vec<Condition> {
            conditions.iter().filter(|entry| !OURS.contains(&&*entry.type_)).cloned().collect()
        };
        prop_assert!(situation.plan().iter().all(|change| OURS.contains(&&*change.condition.type_)));
        prop_assert_eq!(foreign(&situation.after()), foreign(&situation.node.conditions));
    }

    #[test]
    fn a_type_has_at_most_one_change_and_one_entry(situation in any_situation()) {
        let (changes, after) = (situation.plan(), situation.after());
        for condition_type in OURS {
            prop_assert!(changes.iter().filter(|change| change.condition.type_ == condition_type).count() <= 1);
            prop_assert!(entries(&after, condition_type).len() <= 1);
        }
    }

    #[test]
    fn what_fires_is_true_and_after_a_full_round_nothing_else(situation in any_situation()) {
        let after = situation.after();
        for condition_type in OURS.into_iter().filter(|_| situation.state != Down) {
            let fires = situation.firing.get(condition_type);
            let shown = entries(&after, condition_type).first().filter(|entry| entry.is_true()).copied();
            if let Some(message) = fires {
                prop_assert_eq!(shown.map(|entry| (&*entry.reason, &entry.message)), Some((FIRING, message)));
            } else if situation.is_held(condition_type) {
                prop_assert_eq!(entries(&after, condition_type).first().copied(), situation.current(condition_type));
            } else if situation.state == Full {
                prop_assert_eq!(shown, None);
            }
        }
    }

    #[test]
    fn transition_times_change_only_with_the_status(situation in any_situation()) {
        for entry in situation.after().iter().filter(|entry| OURS.contains(&&*entry.type_)) {
            let before = situation.current(&entry.type_);
            let expected = match before.and_then(|before| before.last_transition) {
                Some(last) if before.is_some_and(|before| before.status == entry.status) => Some(last),
                Some(last) if last > now() + minutes(5) => Some(now()),
                Some(last) => Some(last.max(now())),
                // Never set: whoever writes the entry sets it, so that it can age.
                None if entry.last_transition.is_none() => None,
                None => Some(now()),
            };
            prop_assert_eq!(entry.last_transition, expected);
        }
    }

    #[test]
    fn heartbeats_move_to_now_where_the_source_confirms_and_nowhere_else(situation in any_situation()) {
        for change in situation.plan() {
            let entry = &change.condition;
            let before = situation.current(&entry.type_);
            let confirmed = situation.state == Full && !situation.is_held(&entry.type_)
                || situation.state == Partial && situation.firing.contains_key(&entry.type_)
                || entry.reason == UNAVAILABLE && change.kind == ChangeKind::Transition;
            if confirmed && change.kind != ChangeKind::Delete {
                prop_assert_eq!(entry.last_heartbeat, Some(now()));
            } else {
                prop_assert_eq!(Some(entry), before);
            }
            if change.kind == ChangeKind::Heartbeat {
                let mut expected = before.unwrap().clone();
                expected.last_heartbeat = Some(now());
                expected.last_transition = expected.last_transition.or(Some(now()));
                prop_assert_eq!(entry, &expected);
                prop_assert_ne!(before.unwrap().last_heartbeat, Some(now()));
            }
        }
    }

    #[test]
    fn a_change_says_what_it_does(situation in any_situation()) {
        for change in situation.plan() {
            let before = situation.current(&change.condition.type_);
            prop_assert_eq!(&change.was, &before.map(|before| before.status.clone()));
            let copies = entries(&situation.node.conditions, &change.condition.type_).len();
            prop_assert_eq!(change.duplicated, copies > 1);
            let same_status = before.is_some_and(|before| before.status == change.condition.status);
            let honest = match change.kind {
                ChangeKind::Add => copies == 0,
                ChangeKind::Transition => copies > 0 && !same_status,
                ChangeKind::Update => same_status,
                ChangeKind::Heartbeat => same_status && copies == 1,
                ChangeKind::Delete => change.condition.status == FALSE,
            };
            prop_assert!(honest);
        }
    }
}
