//! Rows of `spec/sync.md` §7 on which alerts count and which one speaks; for stored conditions: `condition_tests.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use proptest::sample::select as any_of;

use super::*;
use crate::core::condition::{Change, ConditionPolicy, Knowledge, SourceState, plan};
use crate::core::node::Condition;

const TYPE: &str = "AlertManager_NodeOnFire";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    time("2020-03-18T13:17:58Z")
}

fn node(name: &str) -> Node {
    Node { name: name.into(), ..Node::default() }
}

fn shown(condition_type: &str, status: &str) -> Condition {
    Condition { type_: condition_type.into(), status: status.into(), ..Condition::default() }
}

/// An alert `NodeOnFire` on w1; further labels add to these or replace them.
fn alert(labels: &[(&str, &str)]) -> Alert {
    let labels = [("alertname", "NodeOnFire"), ("node", "w1")].iter().chain(labels);
    Alert { labels: labels.copied().collect(), ..Alert::default() }
}

impl Alert {
    fn summary(mut self, text: &str) -> Self {
        self.annotations.insert("summary", text);
        self
    }

    fn since(mut self, text: &str) -> Self {
        self.starts_at = Some(time(text));
        self
    }
}

fn select_with(alerts: &[Alert], nodes: &[Node], change: impl FnOnce(&mut SelectionPolicy)) -> Selection {
    let mut policy = SelectionPolicy::default();
    change(&mut policy);
    select(alerts, nodes, &policy, "cluster", &BTreeSet::new())
}

fn selected(alerts: &[Alert], nodes: &[Node]) -> Selection {
    select_with(alerts, nodes, |_| {})
}

/// The message of w1's condition `NodeOnFire`.
fn message_of(alerts: &[Alert]) -> String {
    selected(alerts, &[node("w1")]).firing[0].get(TYPE).expect("the condition fires").clone()
}

fn types(selection: &Selection) -> Vec<&str> {
    selection.firing[0].keys().map(String::as_str).collect()
}

#[test]
fn row_52_severity_gives_the_priority_of_alerts_without_one() {
    let graded: BTreeMap<String, Priority> = [("critical", "1"), ("info", "8")]
        .map(|(severity, priority)| (severity.into(), Priority::parse(priority).unwrap()))
        .into();
    for (labels, expected) in [
        (&[("severity", "critical")][..], "[P1]"),
        (&[("severity", "critical"), ("priority", "6")], "[P6]"),
        (&[("severity", "critical"), ("priority", " ")], "[P1]"),
        (&[("severity", "critical"), ("priority", "blah")], "[P1]"),
        (&[("severity", "info")], "[P8]"),
        (&[("severity", "warning")], "[P9]"),
        (&[], "[P9]"),
    ] {
        let selection = select_with(&[alert(labels)], &[node("w1")], |policy| {
            policy.severity_priority.clone_from(&graded);
        });
        assert_eq!(selection.firing[0][TYPE], expected, "{labels:?}");
        let malformed = usize::from(labels.contains(&("priority", "blah")));
        assert_eq!(selection.counts.malformed_priority, malformed, "{labels:?}");
    }
    assert_eq!(message_of(&[alert(&[("severity", "critical")])]), "[P9]", "without the map");
}

#[test]
fn the_label_of_the_priority_can_be_replaced() {
    let alerts = [alert(&[("priority", "2"), ("urgency", "4")])];
    let selection = select_with(&alerts, &[node("w1")], |policy| policy.priority_label = "urgency".into());
    assert_eq!(selection.firing[0][TYPE], "[P4]");
}

/// Spec §6.2.7: each rule decides although all rules after it say the contrary.
#[test]
fn the_winner_is_the_most_urgent_then_gravest_then_oldest() {
    let (early, late) = ("2020-03-18T10:00:00Z", "2020-03-18T11:00:00Z");
    let grade = |priority, severity| alert(&[("priority", priority), ("severity", severity)]);
    let [one, other] = ["/", "/boot"].map(|mountpoint| alert(&[("mountpoint", mountpoint)]));
    let (first, second) = if one.fingerprint() < other.fingerprint() { (one, other) } else { (other, one) };
    for (winner, loser) in [
        (grade("1", "info").since(late), grade("2", "critical").since(early)),
        (grade("9", ""), grade("10", "")), // as numbers, not as text
        (grade("5", "critical").since(late), grade("5", "warning").since(early)),
        (grade("5", "warning").since(late), grade("5", "info").since(early)),
        (grade("5", "info").since(late), grade("5", "none").since(early)),
        (second.clone().since(early), first.clone().since(late)),
        (second.clone().since(late), first.clone()), // when it began is unknown: last
        (first, second),
    ] {
        let (winner, loser) = (winner.summary("winner"), loser.summary("loser"));
        for alerts in [[winner.clone(), loser.clone()], [loser.clone(), winner.clone()]] {
            assert!(message_of(&alerts).ends_with("winner"), "{alerts:?}");
        }
    }
}

#[test]
fn row_53_equal_alerts_in_any_order_give_the_same_message() {
    let mounts = ["/", "/var", "/home"].map(|mount| alert(&[("mountpoint", mount)]).summary(mount));
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let messages: BTreeSet<_> =
        orders.iter().map(|order| message_of(&order.map(|place| mounts[place].clone()))).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    // Replicas of a rule that were evaluated at different moments: the same labels, another text.
    let [a, b] = ["97 % full", "98 % full"].map(|summary| alert(&[]).summary(summary));
    assert_eq!(message_of(&[a.clone(), b.clone()]), message_of(&[b, a]));
}

#[test]
fn row_54_alertnames_become_types() {
    for (alertname, expected) in [
        ("Платформа перегрев", "AlertManager_Платформа_перегрев"),
        ("a-b.c:d/e_F9", "AlertManager_a-b.c:d/e_F9"),
        ("a b\n(c)", "AlertManager_a_b__c_"),
    ] {
        let alerts = [alert(&[("alertname", alertname)]), alert(&[("alertname", alertname), ("x", "y")])];
        assert_eq!(types(&selected(&alerts, &[node("w1")])), [expected], "{alertname}");
    }
    let long = |last| alert(&[("alertname", &("x".repeat(303) + last))]);
    let selection = selected(&[long("a"), long("b")], &[node("w1")]);
    assert_eq!(types(&selection), [format!("AlertManager_{}", "x".repeat(303))]);
}

#[test]
fn row_55_alertnames_of_one_type_compete_for_it() {
    let spaced = alert(&[("alertname", "A B"), ("priority", "4")]);
    let joined = alert(&[("alertname", "A_B"), ("priority", "3")]);
    for alerts in [[spaced.clone(), joined.clone()], [joined, spaced]] {
        let expected = [("AlertManager_A_B".to_owned(), "[P3]".to_owned())];
        assert_eq!(selected(&alerts, &[node("w1")]).firing, [expected.into()]);
    }
}

#[test]
fn row_56_the_message_is_one_line_of_at_most_1024_characters() {
    let summary = |text: &str| message_of(&[alert(&[]).summary(text)]);
    assert_eq!(summary(" a\nb\tc\r\u{85}\u{1b}d\u{2028}e\u{2029}f "), "[P9] a b c   d e f");
    assert_eq!(summary(" \n\t "), "[P9]");
    let cut = summary(&format!("ä\n\t{}", "ö".repeat(5000)));
    assert_eq!(cut, format!("[P9] ä  {}…", "ö".repeat(1015)));
    assert_eq!(cut.chars().count(), 1024);
    let fits = "ö".repeat(1024 - "[P9] ".len());
    assert_eq!(summary(&fits), format!("[P9] {fits}"));
}

#[test]
fn row_57_a_node_has_at_most_64_conditions_of_us_and_the_set_is_stable() {
    // The higher its number, the more urgent it is.
    let alerts = |urgency: &dyn Fn(usize) -> usize| -> Vec<Alert> {
        let labels = (0..200).map(|number| (format!("A{number:03}"), urgency(number).to_string()));
        labels.map(|(name, priority)| alert(&[("alertname", &name), ("priority", &priority)])).collect()
    };
    let mut w1 = node("w1");
    let first = selected(&alerts(&|number| 300 - number), std::slice::from_ref(&w1));
    let most_urgent: Vec<_> = (136..200).map(|number| format!("AlertManager_A{number:03}")).collect();
    assert_eq!((types(&first), first.counts.dropped), (most_urgent.iter().map(|t| &**t).collect(), 136));

    // Now the others are more urgent. Unknown, as after an outage, is no reason to give a place away.
    for status in ["True", "Unknown", "Maybe"] {
        w1.conditions = most_urgent.iter().map(|condition_type| shown(condition_type, status)).collect();
        let next = selected(&alerts(&|number| number), std::slice::from_ref(&w1));
        assert_eq!((types(&next), next.counts.dropped), (types(&first), 136), "{status}");
    }
    // A False one has no place to keep.
    w1.conditions = most_urgent.iter().map(|condition_type| shown(condition_type, "False")).collect();
    let next = selected(&alerts(&|number| number), &[w1]);
    assert_eq!((types(&next)[0], types(&next)[63]), ("AlertManager_A000", "AlertManager_A063"));
}

#[test]
fn what_is_shown_and_fires_stays_beyond_the_limit() {
    let mut w1 = node("w1");
    w1.conditions = ["A", "B"].map(|name| shown(&format!("AlertManager_{name}"), "True")).into();
    let alerts = ["A", "B", "C"].map(|name| alert(&[("alertname", name)]));
    let selection = select_with(&alerts, &[w1], |policy| policy.max_conditions = 1);
    assert_eq!(types(&selection), ["AlertManager_A", "AlertManager_B"]);
    assert_eq!(selection.counts.dropped, 1);
}

#[test]
fn rows_58_to_60_are_counted() {
    let nodes = [Node { addresses: vec!["10.0.1.23".into()], ..node("w1.a") }, node("w1.b")];
    let alerts =
        [alert(&[]), alert(&[("node", "w2")]), alert(&[("node", "deleted"), ("instance", "10.0.1.23:8080")])];
    let selection = selected(&alerts, &nodes);
    assert_eq!(selection.counts, Counts { alerts: 3, unmatched: 2, ambiguous: 1, ..Counts::default() });
    assert_eq!(selection.firing, [BTreeMap::new(), BTreeMap::new()]);
}

#[test]
fn row_63_alerts_on_our_own_conditions_are_dropped() {
    let alerts = ["AlertManager_X", "AlertManager_", "Ready", "Old_X"].map(|of| alert(&[("condition", of)]));
    let selection = selected(&alerts, &[node("w1")]);
    assert_eq!((selection.counts.feedback, selection.counts.matched), (2, 2));
    let selection = select_with(&alerts, &[node("w1")], |policy| policy.prefix = "Old_".parse().unwrap());
    assert_eq!((selection.counts.feedback, types(&selection)), (1, vec!["Old_NodeOnFire"]));
}

#[test]
fn row_82_alerts_of_which_none_matches_are_shown() {
    let number = |number: usize| alert(&[("alertname", "A"), ("node", &format!("x{number}"))]);
    let mut alerts: Vec<Alert> = (0..50).map(number).collect();
    let selection = selected(&alerts, &[node("w1")]);
    assert!(selection.matches_nothing());
    let known: Vec<_> = (0..50).map(|number| format!(r#"{{alertname="A", node="x{number}"}}"#)).collect();
    let examples: BTreeSet<_> = selection.unmatched_examples.iter().collect();
    assert!(examples.len() == 3 && examples.iter().all(|example| known.contains(example)), "{examples:?}");

    alerts.push(alert(&[]));
    assert!(!selected(&alerts, &[node("w1")]).matches_nothing());
    assert!(selected(&[alert(&[])], &[node("w1.a"), node("w1.b")]).matches_nothing(), "ambiguous");
    assert!(!selected(&[], &[node("w1")]).matches_nothing());
    assert!(!selected(&[Alert { silenced: true, ..number(1) }], &[node("w1")]).matches_nothing());
}

#[test]
fn examples_cannot_write_to_the_terminal() {
    let hostile = alert(&[("node", "\u{1b}[2J\n"), ("\u{1b}[31m\nok", "\u{202e}x")]);
    let examples = selected(&[hostile], &[node("w1")]).unmatched_examples;
    assert!(examples[0].bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{examples:?}");
}

fn any_nodes() -> impl Strategy<Value = Vec<Node>> {
    let conditions = prop::collection::vec(
        (
            any_of(&["AlertManager_A", "AlertManager_A_B", "AlertManager_C", "Ready"][..]),
            any_of(&["True", "False", "Unknown"][..]),
        )
            .prop_map(|(condition_type, status)| shown(condition_type, status)),
        0..4,
    );
    let named = |name| (Just(name), prop::option::of(any_of(&["w1", "w2", "x"][..])), conditions.clone());
    ["w1", "w2", "w1.a", "w2.b"]
        .map(named)
        .prop_map(|nodes| {
            nodes.map(|(name, hostname, conditions)| {
                let hostname = hostname.map(String::from);
                Node { hostname, conditions, ..node(name) }
            })
        })
        .prop_map(Vec::from)
}

fn any_alert() -> impl Strategy<Value = Alert> {
    let labels = [
        ("alertname", &["A", "A B", "A_B", "C", "D", ""][..]),
        ("node", &["w1", "w2", "w1.a", "gone", ""][..]),
        ("priority", &["1", "2", "blah", ""][..]),
        ("severity", &["critical", "info", ""][..]),
        ("cluster", &["a", "b", ""][..]),
        ("mountpoint", &["/", "/var"][..]),
        ("condition", &["", "", "", "AlertManager_A"][..]),
    ]
    .map(|(name, values)| any_of(values).prop_map(move |value| (name.to_owned(), value.to_owned())));
    (
        labels,
        "[a-z…\n\u{1}\u{2028}]{0,9}",
        prop::option::of(0..3i64),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(labels, summary, starts_at, silenced, inhibited)| Alert {
            labels: labels.into(),
            annotations: [("summary".to_owned(), summary)].into(),
            starts_at: starts_at.map(|second| Timestamp::from_second(second).unwrap()),
            silenced,
            inhibited,
            ..Alert::default()
        })
}

fn any_policy() -> impl Strategy<Value = SelectionPolicy> {
    (any::<[bool; 3]>(), 1..20usize, 0..4usize).prop_map(
        |([strict, silenced, inhibited], max_message, max)| SelectionPolicy {
            strict,
            silenced,
            inhibited,
            max_message,
            max_conditions: max,
            ..SelectionPolicy::default()
        },
    )
}

fn breaks_the_line(character: char) -> bool {
    character.is_control() || ['\u{2028}', '\u{2029}'].contains(&character)
}

/// Selects and plans, by node name.
fn plans(selection: &Selection, nodes: &[Node]) -> BTreeMap<String, Vec<Change>> {
    let plan = |node, firing| {
        plan(
            node,
            firing,
            &BTreeSet::new(),
            &Knowledge::new(SourceState::Full, now()),
            &ConditionPolicy::default(),
        )
    };
    let planned =
        nodes.iter().zip(&selection.firing).map(|(node, firing)| (node.name.clone(), plan(node, firing)));
    planned.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_alerts_and_nodes_never_matters(
        (alerts, nodes, other_alerts, other_nodes) in
            (prop::collection::vec(any_alert(), 0..30), any_nodes()).prop_flat_map(|(alerts, nodes)| {
                let shuffled = (Just(alerts.clone()).prop_shuffle(), Just(nodes.clone()).prop_shuffle());
                (Just(alerts), Just(nodes), shuffled.0, shuffled.1)
            }),
        policy in any_policy(),
    ) {
        let one = select(&alerts, &nodes, &policy, "cluster", &BTreeSet::new());
        let other = select(&other_alerts, &other_nodes, &policy, "cluster", &BTreeSet::new());
        prop_assert_eq!(plans(&one, &nodes), plans(&other, &other_nodes));
        prop_assert_eq!((one.counts, one.clusters), (other.counts, other.clusters));
        prop_assert_eq!(one.unmatched_examples, other.unmatched_examples);
    }

    #[test]
    fn messages_are_one_short_line(
        alerts in prop::collection::vec(any_alert(), 1..9),
        policy in any_policy(),
        summary: String,
    ) {
        let alerts: Vec<_> = alerts.into_iter().chain([alert(&[]).summary(&summary)]).collect();
        let selection = select(&alerts, &[node("w1")], &policy, "cluster", &BTreeSet::new());
        for message in selection.firing[0].values() {
            prop_assert!((1..=policy.max_message).contains(&message.chars().count()));
            prop_assert!(!message.contains(breaks_the_line), "{:?}", message);
        }
    }

    #[test]
    fn every_alert_is_counted_once(
        alerts in prop::collection::vec(any_alert(), 0..30),
        nodes in any_nodes(),
        policy in any_policy(),
    ) {
        let counts = select(&alerts, &nodes, &policy, "cluster", &BTreeSet::new()).counts;
        let left_out = [counts.no_alertname, counts.silenced, counts.inhibited, counts.feedback, counts.strict];
        let known = counts.matched + counts.unmatched + counts.ambiguous + left_out.iter().sum::<usize>();
        prop_assert_eq!((counts.alerts, known), (alerts.len(), alerts.len()));
    }

    /// A round that writes what was selected selects the same again.
    #[test]
    fn the_conditions_kept_are_stable(
        alerts in prop::collection::vec(any_alert(), 0..30),
        mut nodes in any_nodes(),
        policy in any_policy(),
    ) {
        let first = select(&alerts, &nodes, &policy, "cluster", &BTreeSet::new());
        for (node, firing) in nodes.iter_mut().zip(&first.firing) {
            let changes = plan(node, firing, &BTreeSet::new(), &Knowledge::new(SourceState::Full, now()), &ConditionPolicy::default());
            node.conditions = crate::core::condition::apply(&changes, &node.conditions);
        }
        prop_assert_eq!(select(&alerts, &nodes, &policy, "cluster", &BTreeSet::new()), first);
    }
}

/// Nodes `node1` and `node2`, and what an expression makes of these alerts.
fn by_expression(expression: &str, alerts: &[&[(&str, &str)]]) -> Selection {
    let alerts: Vec<Alert> = alerts
        .iter()
        .map(|labels| Alert { labels: labels.iter().copied().collect(), ..Alert::default() })
        .collect();
    select_with(&alerts, &[node("node1"), node("node2")], |policy| {
        policy.expression = Some(expression.parse().unwrap());
    })
}

#[test]
fn row_s19_an_expression_chooses_the_node() {
    let selection = by_expression(
        r#"labels["instance"]==FullName"#,
        &[&[("alertname", "NodeOnFire"), ("instance", "node1"), ("node", "node2")]],
    );
    assert_eq!(selection.firing, [[(TYPE.into(), "[P9]".into())].into(), BTreeMap::new()]);
    assert_eq!((selection.counts.matched, selection.counts.unmatched), (1, 0));
}

/// The same alerts, one of two sources down: the result is the same, and nothing is cleared.
#[test]
fn row_s20_an_expression_in_a_partial_round() {
    let selection = by_expression(
        r#"labels["instance"]==FullName"#,
        &[&[("alertname", "NodeOnFire"), ("instance", "node1")]],
    );
    let plan = |node, firing| {
        let knowledge = Knowledge::new(SourceState::Partial, now());
        plan(node, firing, &BTreeSet::new(), &knowledge, &ConditionPolicy::default())
    };
    let mut nodes = [node("node1"), node("node2")];
    let confirmed = Condition { last_heartbeat: Some(now()), ..shown("AlertManager_Other", "True") };
    nodes[1].conditions.push(confirmed);
    let added = plan(&nodes[0], &selection.firing[0]);
    assert_eq!(added.iter().map(|change| &*change.condition.type_).collect::<Vec<_>>(), [TYPE]);
    assert!(plan(&nodes[1], &selection.firing[1]).is_empty());
}

/// README of upstream, "Prometheus Configuration": an error on the Watchdog, which always fires, is upstream's error
/// on every node.
#[test]
fn an_alert_that_an_expression_cannot_judge_is_its_own_affair() {
    let selection = by_expression(
        r#"labels["node"] == FullName && labels["notify"].contains("node-condition-k8s")"#,
        &[
            &[("alertname", "Watchdog"), ("severity", "none")],
            &[("alertname", "NodeOnFire"), ("node", "node1"), ("notify", "page node-condition-k8s")],
            &[("alertname", "DiskFull"), ("node", "node2"), ("notify", "page")],
            &[("alertname", "DiskSlow"), ("node", "node9"), ("notify", "node-condition-k8s")],
            &[("alertname", "Quiet"), ("node", "node2")],
        ],
    );
    assert_eq!(selection.firing, [[(TYPE.into(), "[P9]".into())].into(), BTreeMap::new()]);
    let counts = &selection.counts;
    // Watchdog has neither label. Without `notify`, `Quiet` cannot be judged for the node that it names.
    assert_eq!((counts.alerts, counts.matched, counts.expression_errors), (5, 1, 2));
    // `DiskSlow` names a node that is not here, `DiskFull` is not meant for nodes.
    assert_eq!((counts.unmatched, counts.excluded), (1, 1));
    assert!(!selection.matches_nothing());
    assert_eq!(selection.unmatched_examples.len(), 1);
}

#[test]
fn an_expression_may_match_several_nodes() {
    let selection = by_expression(
        r#"labels.rack == "r1" && FullName.startsWith("node")"#,
        &[&[("alertname", "NodeOnFire"), ("rack", "r1")], &[("alertname", "NodeOnFire"), ("rack", "r2")]],
    );
    assert!(selection.firing.iter().all(|firing| firing.contains_key(TYPE)));
    assert_eq!((selection.counts.matched, selection.counts.unmatched), (1, 1));
}

#[path = "selection_text_tests.rs"]
mod text;
