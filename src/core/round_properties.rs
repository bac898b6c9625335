//! What holds for every sequence of rounds, whatever the sources say and the Lease remembers.

use proptest::prelude::*;
use proptest::sample::select as any_of;

use super::*;
use crate::core::matching::{Match, NodeIndex};
use crate::core::memory::Held;

#[derive(Debug, Clone)]
struct Step {
    answers: Vec<Result<Answer, Failure>>,
    /// Before it.
    passes: SignedDuration,
    /// The Lease is lost, and what it remembers with it.
    forgets: bool,
}

fn any_alert() -> impl Strategy<Value = Alert> {
    (any_of(&["X", "Y"][..]), 0..15u8, any_of(&["", "", "", "silenced", "inhibited", "pending"][..]))
        .prop_map(|(name, node, state)| Alert {
            silenced: state == "silenced",
            inhibited: state == "inhibited",
            pending: state == "pending",
            ..alert(name, &format!("w{node}"))
        })
}

fn any_answer() -> impl Strategy<Value = Result<Answer, Failure>> {
    let alerts = prop_oneof![Just(vec![]), prop::collection::vec(any_alert(), 0..25)];
    let kind = any_of(&["ok", "ok", "ok", "warned", "failed"][..]);
    let failed_rules = prop::collection::btree_map(any_of(&["X", "Y"][..]), Just("fails"), 0..2);
    let failed_rules = prop::option::weighted(0.3, failed_rules);
    let canary = prop::option::of(any::<bool>());
    (alerts, kind, canary, failed_rules).prop_map(|(alerts, kind, canary, rules)| match kind {
        "failed" => failed(),
        kind => Ok(Answer {
            alerts,
            canary,
            unevaluated: rules
                .map(|rules| rules.into_iter().map(|(name, why)| (name.into(), why.into())).collect()),
            warnings: if kind == "warned" { vec!["w".to_owned()] } else { vec![] },
            ..Answer::default()
        }),
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    (
        prop::collection::vec(any_answer(), 0..3),
        any_of(vec![SignedDuration::ZERO, MINUTE, 4 * MINUTE, HOUR, -HOUR]),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(answers, passes, forgets)| Step { answers, passes, forgets })
}

fn any_world() -> impl Strategy<Value = World> {
    let status = any_of(&["True", "True", "True", "False", "Unknown", "Maybe"][..]);
    let any_condition =
        (any_of(&["X", "Y"][..]), status, any_of(vec![MINUTE, 8 * MINUTE, 100 * HOUR, -HOUR]));
    let conditions = prop::collection::vec(any_condition, 0..4);
    let held = prop::option::of((any_of(vec![MINUTE, HOUR, -HOUR]), 0..4u32));
    (prop::collection::vec(conditions, 0..15), any::<[bool; 4]>(), held).prop_map(
        |(nodes, [unasked, grace, hold_pending, canary], held)| {
            let mut world = world(0, "True", MINUTE);
            world.nodes = nodes
                .into_iter()
                .enumerate()
                .map(|(number, conditions)| Node {
                    name: format!("w{number}"),
                    uid: format!("u{number}"),
                    conditions: conditions
                        .into_iter()
                        .map(|(name, status, age)| condition(name, status, start() - age))
                        .collect(),
                    ..Node::default()
                })
                .collect();
            world.has_unasked_members = unasked;
            world.policy.conditions.unavailable_grace = grace.then_some(SignedDuration::ZERO);
            world.selection.hold_pending = hold_pending;
            world.policy.canary = if canary { Canary::Auto } else { Canary::None };
            world.memory.held = held.map(|(age, rounds)| Held { since: start() - age, rounds });
            world
        },
    )
}

/// The alert about `w3`, by another of the names by which alerts speak of nodes.
fn named(alert: &Alert, form: u8) -> Alert {
    let mut named = alert.clone();
    let name = alert.label("node").unwrap_or_default().to_owned();
    let number = name.trim_start_matches('w');
    match form {
        0 => return named,
        1 => named.labels.insert("node", format!("{name}.c")),
        2 => {
            named.labels = [("alertname", alert.label("alertname").unwrap_or_default())].into();
            named.labels.insert("instance", format!("10.0.0.{number}:9100"));
        }
        3 => {
            named.labels.insert("node", format!("gone{number}"));
            named.labels.insert("host", name);
        }
        _ => named.labels.insert("node", format!("gone{number}")),
    }
    named
}

fn truths(world: &World) -> BTreeSet<(String, String)> {
    let of = |node: &Node| -> Vec<(String, String)> {
        let types = node.conditions.iter().filter(|condition| condition.is_true());
        types.map(|condition| (node.name.clone(), condition.type_.clone())).collect()
    };
    world.nodes.iter().flat_map(of).collect()
}

fn falses(world: &World) -> usize {
    world.nodes.iter().flat_map(|node| &node.conditions).filter(|c| c.status == "False").count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    /// `World::round` plans each round again after it is written, which gives nothing.
    #[test]
    fn whatever_the_sources_say(mut world in any_world(), steps in prop::collection::vec(any_step(), 1..6)) {
        for step in steps {
            world.after(step.passes);
            if step.forgets {
                world.memory = Memory::default();
            }
            let before = world.clone();
            let answers: Vec<Answer> = step.answers.iter().flatten().cloned().collect();
            let round = world.round(step.answers);
            let cleared: Vec<_> = round
                .changes
                .iter()
                .zip(&world.nodes)
                .flat_map(|(changes, node)| changes.iter().map(move |change| (node, change)))
                .filter(|(_, change)| change.condition.status == "False" && change.was.as_deref() == Some("True"))
                .map(|(node, change)| (node.name.clone(), change.condition.type_.clone()))
                .collect();
            // Whichever of them are believed.
            let failed = |clear: &(String, String)| !answers.is_empty() && answers.iter().all(|answer| {
                answer.unevaluated.iter().flatten().any(|(rule, _)| clear.1 == format!("AlertManager_{rule}"))
            });
            prop_assert!(!cleared.iter().any(failed), "t15_d5: cleared for want of a rule");
            if round.state == Full {
                prop_assert_eq!(world.memory.last_full, Some(world.now));
            } else {
                let known = before.memory.for_round(&world.policy.conditions.prefix, world.now);
                prop_assert_eq!(world.memory.last_full, known.last_full);
            }
            if round.is_complete {
                // Nothing is cleared by a round alone that nobody else confirms.
                let is_lost = |clear: &&(String, String)| !round.held.iter().any(|(place, condition_type)|
                    (&world.nodes[*place].name, condition_type) == (&clear.0, &clear.1));
                prop_assert!(cleared.iter().all(|clear| is_lost(&clear)), "held and cleared");
                let shown = truths(&world);
                let stays = |(place, condition_type): &(usize, String)|
                    shown.contains(&(world.nodes[*place].name.clone(), condition_type.clone()));
                prop_assert!(round.held.iter().all(stays), "what is held stays True");
            } else {
                prop_assert_eq!(cleared, vec![]);
                prop_assert!(falses(&world) <= falses(&before), "nothing becomes False");
                if world.policy.conditions.unavailable_grace.is_none() {
                    prop_assert!(truths(&world).is_superset(&truths(&before)), "nothing is lost");
                }
            }
        }
    }

    #[test]
    fn the_order_of_nodes_alerts_and_members_never_matters(
        world in any_world(),
        step in any_step(),
    ) {
        let mut turned = world.clone();
        turned.nodes.reverse();
        let mut answers = step.answers.clone();
        answers.reverse();
        for answer in answers.iter_mut().flatten() {
            answer.alerts.reverse();
        }
        let (one, mut other) = (world.plan(step.answers), turned.plan(answers));
        other.changes.reverse();
        prop_assert_eq!(one.changes, other.changes);
        prop_assert_eq!(one.notices, other.notices);
        prop_assert_eq!(one.memory, other.memory);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a kubelet says of its own node, no condition of another node ends by it.
    #[test]
    fn f9_b4_what_a_kubelet_claims_clears_nothing_elsewhere(
        mut honest in any_world(),
        mut alerts in prop::collection::vec((any_alert(), 0..5u8), 0..25),
        claims in prop::collection::vec((0..15u8, 0..4u8), 1..6),
        unlabelled: bool,
    ) {
        honest.nodes.push(Node { name: "liar".into(), ..Node::default() });
        for node in &mut honest.nodes {
            node.addresses = vec![node.name.replace('w', "10.0.0.")];
        }
        let alerts: Vec<Alert> = alerts.iter_mut().map(|(alert, form)| named(alert, *form)).collect();
        let mut lied_to = honest.clone();
        let liar = lied_to.nodes.last_mut().unwrap();
        liar.addresses.extend(claims.iter().map(|(number, form)| match form {
            0 => format!("w{number}"),
            1 => format!("w{number}.c"),
            2 => format!("10.0.0.{number}"),
            _ => format!("gone{number}"),
        }));
        liar.hostname = unlabelled.then(|| liar.addresses[1].clone());
        let before = honest.clone();
        let round = honest.lists(&alerts);
        // That guard asks whether the labels fit the nodes at all: one alert that is somebody's says so.
        prop_assume!(!round.notices.iter().any(|notice| matches!(notice, Notice::NothingMatches { .. })));
        // Nor is the brake about kubelets: it weighs what ends against all that is True, and a new condition of the liar's is.
        prop_assume!(!round.is_braked());
        lied_to.lists(&alerts);
        let falses = |world: &World| -> BTreeSet<(String, String)> {
            let others = world.nodes.iter().filter(|node| node.name != "liar");
            let of = |node: &Node| -> Vec<(String, String)> {
                let shown = observed(node, &world.policy.conditions.prefix);
                let falses = shown.into_iter().filter(|(_, entries)| entries.current.status == FALSE);
                falses.map(|(condition_type, _)| (node.name.clone(), condition_type.to_owned())).collect()
            };
            others.flat_map(of).collect()
        };
        let (ended, explained) = (falses(&lied_to), &falses(&before) | &falses(&honest));
        prop_assert!(ended.is_subset(&explained), "{:?}", &ended - &explained);
        // What is its own now was nobody's.
        let index = NodeIndex::new(&honest.nodes, &honest.selection.node_labels);
        for condition in lied_to.nodes.last().unwrap().conditions.iter().filter(|condition| condition.is_true()) {
            let of_nobody = |alert: &Alert| {
                alert.label("alertname").is_some_and(|name| condition.type_.ends_with(name))
                    && index.find(alert) == Match::Unmatched
            };
            prop_assert!(alerts.iter().any(of_nobody), "{}", condition.type_);
        }
    }
}
