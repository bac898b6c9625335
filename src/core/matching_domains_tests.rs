//! Nodes that are known by their short names, and machines of other domains that have the same.

use super::*;

/// What the index makes of each alert of a round, in any order.
fn found_in_round(nodes: &[Node], alerts: &[Alert], known: &[&str]) -> Vec<Match> {
    let labels = node_labels();
    let mut index = NodeIndex::new(nodes, &labels);
    index.hear(alerts, &known.iter().map(|name| (*name).to_owned()).collect());
    alerts.iter().map(|alert| index.find(alert)).collect()
}

#[test]
fn t15_d3_names_of_two_domains_name_no_node() {
    let nodes = [node("worker1a"), node("worker2a"), node("worker3a").address("worker3a.dc1.example")];
    let of = |name: &str| alert(&[("node", name)]);
    let doubted = Match::Ambiguous(vec![0]);
    let found = |alerts: &[Alert], known: &[&str]| found_in_round(&nodes, alerts, known);
    let (one, two) = (of("worker1a.dc1.example"), of("WORKER1A.dc2.example.:9100"));
    assert_eq!(found(&[one.clone(), two.clone()], &[]), [doubted.clone(), doubted.clone()]);
    assert_eq!(found(&[two.clone(), of("worker2a.dc1.example"), one.clone()], &[])[1], Match::Node(1));
    // By whatever label it is said, and its own name says it for itself.
    let elsewhere = alert(&[("instance", "worker1a.dc2.example:9100")]);
    let own = of("worker1a");
    assert_eq!(
        found(&[one.clone(), elsewhere, own], &[]),
        [doubted.clone(), doubted.clone(), Match::Node(0)]
    );
    // A single domain goes on matching, however it is written; what is no name of a machine of ours says nothing.
    let same = of("Worker1a.DC1.example.");
    let no_machine = alert(&[("host", "worker1a.example.com")]);
    assert_eq!(
        found(&[one.clone(), same, no_machine], &[]),
        [Match::Node(0), Match::Node(0), Match::Unmatched]
    );
    // A node that is known by its full name is not mistaken.
    let full = [of("worker3a.dc1.example"), of("worker3a.dc2.example")];
    assert_eq!(found(&full, &[]), [Match::Node(2), Match::Unmatched]);
    // One of the two has fallen silent: that does not tell which is ours.
    assert_eq!(found(std::slice::from_ref(&two), &["worker1a"]), [doubted]);
    assert_eq!(found(&[two], &["worker2a", "gone"]), [Match::Node(0)]);
}

/// Most of them known by their short names alone.
fn short_nodes() -> impl Strategy<Value = Vec<Node>> {
    let claims =
        prop_oneof![4 => Just(vec![]), 1 => select(&NAMES[..]).prop_map(|name| vec![name.to_owned()])];
    let node = (select(&["w1", "w2", "w1.a", "w3"][..]), claims)
        .prop_map(|(name, addresses)| Node { addresses, ..node(name) });
    prop::collection::vec(node, 1..4)
}

fn alerts_of_domains() -> impl Strategy<Value = Vec<Alert>> {
    let labels = select(&["node", "nodename", "host", "instance"][..]);
    let values = select(
        &["w1.a", "w1.b", "W1.A.", "w1.b:9100", "http://w1.c/x", "w2.a", "w2.b", "w1", "10.0.0.1"][..],
    );
    let alert = prop::collection::vec((labels, values), 1..3).prop_map(|labels| alert(&labels));
    prop::collection::vec(alert, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Of a round's alerts, one is in doubt if and only if it, or another, leads to its node by another full name. What is not in doubt
    /// is what it would be alone, and the order does not matter.
    #[test]
    fn t15_d3_only_what_two_domains_share_is_in_doubt(
        nodes in prop_oneof![short_nodes(), any_nodes()],
        alerts in prop_oneof![alerts_of_domains(), prop::collection::vec(any_alert(), 0..6)],
    ) {
        let found = found_in_round(&nodes, &alerts, &[]);
        let reversed: Vec<Alert> = alerts.iter().rev().cloned().collect();
        let mut again = found_in_round(&nodes, &reversed, &[]);
        again.reverse();
        prop_assert_eq!(&found, &again);
        let led: Vec<_> = alerts.iter().map(|alert| reference::by_first_part(&nodes, alert)).collect();
        for ((alert, found), own) in alerts.iter().zip(found).zip(&led) {
            let alone = reference::find(&nodes, alert);
            let is_doubted = |(place, name): &(usize, String)| {
                led.iter().flatten().any(|(other, full)| other == place && full != name)
            };
            let expected = match alone {
                Match::Node(place) if own.iter().any(is_doubted) => Match::Ambiguous(vec![place]),
                alone => alone,
            };
            prop_assert_eq!(found, expected, "{:?}", alert);
        }
    }
}

/// As row 79: each alert is looked up once more, and not at all where every node has a full name.
#[test]
fn t15_d3_look_ups_grow_with_the_alerts() {
    let labels = node_labels();
    let alerts: Vec<Alert> = (0..10_000)
        .map(|number| {
            let (name, instance) = (format!("w{number}.dc1.example"), format!("w{number}.dc2.example:9100"));
            alert(&[("nodename", &name), ("hostname", &name), ("instance", &instance)])
        })
        .collect();
    for (suffix, passes) in [("", 2), (".dc1.example", 1)] {
        let nodes: Vec<Node> = (0..5_000).map(|number| node(&format!("w{number}{suffix}"))).collect();
        let mut index = NodeIndex::new(&nodes, &labels);
        index.hear(&alerts, &BTreeSet::new());
        let matched = alerts.iter().filter(|alert| matches!(index.find(alert), Match::Node(_))).count();
        assert_eq!(matched, 5_000);
        let resolved = index.resolved.get();
        assert!(resolved <= passes * 10_000 * 2, "{resolved} look-ups");
    }
}
