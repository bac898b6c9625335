//! Rows 58 to 62 of `spec/sync.md` §7, and the index against a reference that tries every node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

#[path = "matching_domains_tests.rs"]
mod domains;

fn node(name: &str) -> Node {
    Node { name: name.into(), ..Node::default() }
}

impl Node {
    fn hostname(mut self, hostname: &str) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.into());
        self
    }

    fn provider_id(mut self, provider_id: &str) -> Self {
        self.provider_id = Some(provider_id.into());
        self
    }
}

/// Spec §3.3: these, each after its own `exported_` form.
const PLAIN: [&str; 7] = ["node", "nodename", "kubernetes_node", "node_name", "hostname", "Hostname", "host"];

fn explicit() -> Vec<String> {
    PLAIN.iter().flat_map(|label| [format!("exported_{label}"), (*label).to_owned()]).collect()
}

fn alert(labels: &[(&str, &str)]) -> Alert {
    Alert { labels: labels.iter().copied().collect(), ..Alert::default() }
}

fn node_labels() -> Vec<String> {
    NODE_LABELS.map(String::from).to_vec()
}

/// The name of the node that the labels speak of, `unmatched` or `ambiguous`.
fn found<'n>(nodes: &'n [Node], labels: &[(&str, &str)]) -> &'n str {
    match NodeIndex::new(nodes, &node_labels()).find(&alert(labels)) {
        Match::Node(place) => &nodes[place].name,
        Match::Unmatched => "unmatched",
        Match::Ambiguous(_) => "ambiguous",
    }
}

#[track_caller]
fn check(nodes: &[Node], rows: &[(&[(&str, &str)], &str)]) {
    for (labels, expected) in rows {
        assert_eq!(found(nodes, labels), *expected, "{labels:?}");
    }
}

#[test]
fn row_58_an_unknown_node_is_unmatched() {
    let nodes = [node("worker-01"), node("worker-02")];
    check(&nodes, &[(&[("node", "worker-99")], "unmatched"), (&[("alertname", "worker-01")], "unmatched")]);
}

#[test]
fn row_59_a_short_name_of_two_nodes_is_ambiguous() {
    let nodes = [node("worker-02.a.example"), node("worker-02.b.example"), node("worker-03.a.example")];
    check(
        &nodes,
        &[
            (&[("node", "worker-02")], "ambiguous"),
            (&[("node", "worker-02.b.example")], "worker-02.b.example"),
            (&[("node", "worker-02.c.example")], "unmatched"),
            (&[("node", "worker-03")], "worker-03.a.example"),
        ],
    );
}

#[test]
fn row_60_an_explicit_label_never_falls_through_to_instance() {
    let nodes = [node("w1").address("10.0.1.23"), node("w2")];
    check(
        &nodes,
        &[
            (&[("node", "deleted"), ("instance", "10.0.1.23:8080")], "unmatched"),
            (&[("host", " "), ("exported_instance", "w1")], "unmatched"),
            (&[("instance", "10.0.1.23:8080")], "w1"),
            // As in Prometheus, an empty label is an absent one.
            (&[("node", ""), ("instance", "10.0.1.23:8080")], "w1"),
        ],
    );
}

#[test]
fn row_61_exported_node_comes_before_node() {
    let nodes = [node("w1"), node("w2")];
    let explicit = explicit();
    for (place, earlier) in explicit.iter().enumerate() {
        for later in &explicit[place + 1..] {
            check(&nodes, &[(&[(earlier, "w1"), (later, "w2")], "w1")]);
        }
    }
    check(
        &nodes,
        &[
            (&[("exported_instance", "w1:1"), ("instance", "w2:1")], "w1"),
            (&[("node", "w1"), ("exported_instance", "w2"), ("instance", "w2")], "w1"),
            // "None resolves": one that does not leaves it to the next of its kind.
            (&[("node", "gone"), ("host", "w2")], "w2"),
            // But where the exporter runs is not where the trouble is.
            (&[("exported_node", "gone"), ("node", "w2")], "unmatched"),
            (&[("exported_node", "gone"), ("node", "w2"), ("host", "w1")], "w1"),
            (&[("exported_instance", "gone:1"), ("instance", "w2:1")], "unmatched"),
            (&[("exported_node", ""), ("node", "w2")], "w2"),
        ],
    );
}

#[test]
fn row_62_values_are_normalised() {
    let nodes = [
        node("v6").address("2001:db8::12"),
        node("v4").address("10.0.1.23"),
        node("win-01"),
        node("w1").hostname("Rack-7.example."),
    ];
    for (value, expected) in [
        ("[2001:db8:0:0::12]:9100", "v6"),
        ("2001:DB8::0:12", "v6"),
        ("https://[2001:db8::12]:10250/metrics", "v6"),
        ("[2001:db8::12]", "v6"),
        ("2001:db8::12:9100", "unmatched"), // another address, not this one with a port
        ("https://10.0.1.23:10250/x", "v4"),
        ("10.0.1.23/x", "v4"),
        ("::ffff:10.0.1.23", "v4"),
        ("WIN-01:9182", "win-01"),
        (" win-01 ", "win-01"),
        ("w1.", "w1"),
        ("w1.:9100", "w1"),
        ("rack-7.EXAMPLE", "w1"),
        (":9100", "unmatched"),
        ("https:///x", "unmatched"),
    ] {
        check(&nodes, &[(&[("instance", value)], expected), (&[("node", value)], expected)]);
    }
}

#[test]
fn provider_ids_match_in_full_and_by_their_last_segment() {
    let nodes = [
        node("w1").provider_id("aws:///eu-1a/I-0AB"),
        node("w2").provider_id("kind://w1/c/k-2"),
        node("w3").provider_id("hcloud://31"),
        node("w4").provider_id("azure:///vmss/x/virtualMachines/0"),
    ];
    for (value, expected) in [
        ("i-0ab", "w1"),
        ("aws:///eu-1a/i-0ab", "w1"),
        ("AWS:///eu-1a/I-0AB ", "w1"),
        ("kind://w1/c/k-2", "ambiguous"), // w1 is the host of that URL, and w2 a kubelet's word
        ("k-2", "w2"),
        ("hcloud://31", "w3"),
        ("31", "unmatched"),
        ("0", "unmatched"),
        ("azure:///vmss/x/virtualmachines/0", "w4"),
    ] {
        check(&nodes, &[(&[("node", value)], expected)]);
    }
}

#[test]
fn a_full_name_matches_a_node_that_has_only_the_short_one() {
    let nodes = [node("w1"), node("w2").address("w2.a.example"), node("w3").address("10.0.0.3")];
    check(
        &nodes,
        &[
            (&[("node", "w1.b.example")], "w1"),
            (&[("node", "w2.a.example")], "w2"),
            (&[("node", "w2.b.example")], "unmatched"), // another machine: ours is known to be w2.a.example
            (&[("node", "w3.b.example")], "w3"),        // an address is no full name
        ],
    );
    for label in ["node", "exported_node", "nodename", "hostname", "exported_instance", "instance"] {
        check(&nodes, &[(&[(label, "w1.b.example")], "w1")]);
    }
    check(&[node("10")], &[(&[("node", "10.0.0.9")], "unmatched"), (&[("node", "10.a.example")], "10")]);
    check(&[node("10.0.0.9")], &[(&[("node", "10")], "unmatched")]);
}

#[test]
fn t15_d3_what_may_be_any_machine_is_no_node_by_its_first_part() {
    let nodes = [node("web"), node("w2")];
    for labels in [
        &[("host", "web.example.com")][..],
        &[("Hostname", "web.example.com")],
        &[("exported_host", "web.example.com")],
        &[("instance", "https://web.customer.org/x")],
        &[("instance", "web.customer.org/x")],
        &[("node", "https://web.customer.org")],
    ] {
        check(&nodes, &[(labels, "unmatched")]);
    }
    check(&nodes, &[(&[("host", "web")], "web"), (&[("instance", "https://web:9100/metrics")], "web")]);
}

#[test]
fn t15_d4_what_an_exporter_said_comes_before_where_it_runs() {
    let nodes = [node("w1"), node("w2")];
    for label in
        ["node", "nodename", "kubernetes_node", "node_name", "hostname", "Hostname", "host", "instance"]
    {
        let exported = format!("exported_{label}");
        check(
            &nodes,
            &[
                (&[(&exported, "w1"), (label, "w2")], "w1"),
                (&[(&exported, "gone"), (label, "w2")], "unmatched"),
            ],
        );
    }
}

#[test]
fn own_names_come_before_claimed_ones_and_two_nodes_are_ambiguous() {
    let nodes = [node("w1.a"), node("x").hostname("w1"), node("y").address("vip"), node("z").address("vip")];
    check(
        &nodes,
        &[
            (&[("node", "w1")], "w1.a"),
            (&[("node", "vip")], "ambiguous"),
            // Ambiguous is an answer: a later label does not overrule it.
            (&[("exported_node", "vip"), ("node", "x")], "ambiguous"),
        ],
    );
}

#[test]
fn node_labels_can_be_replaced() {
    let (nodes, labels) = ([node("w1"), node("w2")], ["machine".to_owned()]);
    let index = NodeIndex::new(&nodes, &labels);
    assert_eq!(index.find(&alert(&[("machine", "w2"), ("node", "w1")])), Match::Node(1));
    assert_eq!(index.find(&alert(&[("node", "w1"), ("instance", "w2")])), Match::Node(1));
}

#[path = "matching_reference.rs"]
mod reference;

/// Few names, so that they collide: short ones, full ones, addresses.
const NAMES: [&str; 10] =
    ["w1", "w2", "w1.a", "w1.b", "W2.a", "10", "10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:DB8:0:0::1"];
const PROVIDER_IDS: [&str; 8] = [
    "aws:///z/i-1",
    "aws:///y/I-1",
    "kind://w1/c/w2",
    "kind://w2/c/k",
    "hcloud://7",
    "m://10.0.0.1",
    "x:///",
    "w1",
];

fn any_nodes() -> impl Strategy<Value = Vec<Node>> {
    let node = (
        select(&NAMES[..]),
        prop::option::of(select(&NAMES[..])),
        subsequence(&NAMES[..], 0..3),
        prop::option::of(select(&PROVIDER_IDS[..])),
    )
        .prop_map(|(name, hostname, addresses, provider_id)| Node {
            hostname: hostname.map(String::from),
            addresses: addresses.into_iter().map(String::from).collect(),
            provider_id: provider_id.map(String::from),
            ..node(name)
        });
    prop::collection::vec(node, 0..5)
}

fn any_value() -> impl Strategy<Value = String> {
    let bare = prop_oneof![select(&NAMES[..]), Just("w3"), Just("w2.c"), Just("7"), Just("i-1"), Just("k")];
    let dressed = (bare, 0..9u8).prop_map(|(name, dress)| {
        let host = if name.matches(':').count() > 1 { format!("[{name}]") } else { name.to_owned() };
        match dress {
            0 => format!("{host}:9100"),
            1 => format!("https://{host}:10250/metrics/cadvisor"),
            2 => format!("http://{host}/"),
            3 => format!(" {} ", name.to_uppercase()),
            4 => format!("{name}."),
            5 => format!("{host}.:9100"),
            _ => name.to_owned(),
        }
    });
    prop_oneof![
        8 => dressed,
        1 => select(&PROVIDER_IDS[..]).prop_map(String::from),
        1 => select(&["", " ", ":1", "x:///y", "."][..]).prop_map(String::from),
    ]
}

fn any_alert() -> impl Strategy<Value = Alert> {
    let labels = ["exported_node", "node", "host", "exported_instance", "instance", "nodes"];
    subsequence(labels.to_vec(), 0..4).prop_flat_map(|labels| {
        let values = prop::collection::vec(any_value(), labels.len());
        values.prop_map(move |values| Alert {
            labels: labels.iter().copied().zip(values).collect(),
            ..Alert::default()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_equals_the_reference(nodes in any_nodes(), alert in any_alert()) {
        let labels = node_labels();
        prop_assert_eq!(NodeIndex::new(&nodes, &labels).find(&alert), reference::find(&nodes, &alert));
    }
}

/// As they are in a cluster, and one more.
fn with_names_of_their_own(mut nodes: Vec<Node>) -> Vec<Node> {
    nodes.push(node("w9"));
    for node in &mut nodes {
        node.name = node.name.to_lowercase();
    }
    nodes.retain({
        let mut names = std::collections::BTreeSet::new();
        move |node| names.insert(normalise(&node.name))
    });
    nodes
}

/// What a kubelet can write of its own node.
fn any_claims() -> impl Strategy<Value = Node> {
    let name = || prop_oneof![4 => any_value(), 1 => any_name().prop_map(|name| format!("{name}.c"))];
    (prop::option::of(name()), prop::collection::vec(name(), 0..4), prop::option::of(any_value())).prop_map(
        |(hostname, addresses, provider_id)| Node { hostname, addresses, provider_id, ..Node::default() },
    )
}

fn any_name() -> impl Strategy<Value = &'static str> {
    select(&NAMES[..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a kubelet adds to its node, what was another node's alert is not its own, and is not nobody's.
    #[test]
    fn f9_b4_what_a_kubelet_claims_takes_no_alert_away(
        mut nodes in any_nodes().prop_map(with_names_of_their_own),
        liar in any::<prop::sample::Index>(),
        claims in any_claims(),
        alert in any_alert(),
    ) {
        let labels = node_labels();
        let candidates = |found: Match| match found {
            Match::Unmatched => vec![],
            Match::Node(place) => vec![place],
            Match::Ambiguous(places) => places,
        };
        let liar = liar.index(nodes.len());
        let before = NodeIndex::new(&nodes, &labels).find(&alert);
        nodes[liar].addresses.extend(claims.addresses);
        nodes[liar].hostname = claims.hostname.or(nodes[liar].hostname.take());
        // The API server lets a provider ID be set, and not be changed.
        nodes[liar].provider_id = nodes[liar].provider_id.take().or(claims.provider_id);
        let after = NodeIndex::new(&nodes, &labels).find(&alert);
        let (others, all) = (candidates(before), candidates(after.clone()));
        for other in others.iter().filter(|place| **place != liar) {
            prop_assert!(all.contains(other), "{} was {:?}", other, after);
        }
        // Nor is it anybody else's now.
        prop_assert!(all.iter().all(|place| *place == liar || others.contains(place)), "{:?} was {:?}", after, others);
    }
}

/// 10,000 alerts × 5,000 nodes: an alert costs as many look-ups as it has labels that may name a node, not one a node.
#[test]
fn row_79_look_ups_grow_with_the_alerts_not_with_the_nodes() {
    let nodes: Vec<Node> = (0..5_000)
        .map(|number| Node { name: format!("w{number}.rack.example"), ..Node::default() })
        .collect();
    let labels = NODE_LABELS.map(String::from);
    let index = NodeIndex::new(&nodes, &labels);
    let mut matched = 0;
    for number in 0..10_000 {
        let (node, instance) = (format!("w{number}"), format!("10.0.0.{number}:9100"));
        let alert = Alert { labels: [("node", &*node), ("instance", &*instance)].into(), ..Alert::default() };
        matched += usize::from(matches!(index.find(&alert), Match::Node(_)));
    }
    assert_eq!(matched, 5_000);
    assert!(index.resolved.get() <= 10_000 * 2, "{} look-ups", index.resolved.get());
}
