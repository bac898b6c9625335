#![allow(clippy::unwrap_used)]

use super::*;
use crate::core::clusters::Clusters;
use crate::core::matcher::Matcher;
use crate::core::selection::SelectionPolicy;

fn node(name: &str, address: &str) -> Node {
    Node { name: name.to_owned(), addresses: vec![address.to_owned()], ..Node::default() }
}

fn nodes() -> Vec<Node> {
    vec![node("w1", "10.0.0.1"), node("w2", "10.0.0.2")]
}

fn alert(labels: &[(&str, &str)]) -> Alert {
    Alert { labels: labels.iter().copied().collect(), ..Alert::default() }
}

/// For `w1`, as text.
fn chosen(alerts: &[Alert], filters: &[&str], expression: Option<&str>) -> Result<String, String> {
    let policy = SelectionPolicy {
        expression: expression.map(|text| text.parse().unwrap()),
        ..SelectionPolicy::default()
    };
    let filters: Vec<Matcher> = filters.iter().map(|text| text.parse().unwrap()).collect();
    let scope =
        Scope { policy: &policy, cluster_label: "cluster", filters: &filters, known: &Clusters::default() };
    let all = matchers(alerts, &nodes(), 0, scope)?;
    Ok(all.matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

#[test]
fn the_label_is_the_one_that_its_alerts_carry() {
    for (labels, expected) in [
        (&[][..], r#"node="w1" exported_node="""#),
        (&[("node", "w1")], r#"node="w1" exported_node="""#),
        (&[("exported_node", "w1"), ("node", "w2")], r#"exported_node="w1""#),
        (&[("nodename", "W1.")], r#"nodename="W1." exported_node="" node="" exported_nodename="""#),
        // Another node's, and one of nobody: as if there was none.
        (&[("node", "w2")], r#"node="w1" exported_node="""#),
        (&[("node", "w9")], r#"node="w1" exported_node="""#),
    ] {
        assert_eq!(chosen(&[alert(labels)], &[], None).unwrap(), expected, "{labels:?}");
    }
    // The exporter's own name is a node's only if no label names one.
    let text = chosen(&[alert(&[("instance", "w1:9100")])], &[], None).unwrap();
    assert!(
        text.starts_with(r#"instance="w1:9100" exported_node="" node="" exported_nodename="""#),
        "{text}"
    );
    assert!(text.ends_with(r#"host="" exported_instance="""#), "{text}");
    // A label that names it on purpose comes before what most carry.
    let many = [("instance", "w1:9100"), ("instance", "w1:9100"), ("node", "w1")];
    let many: Vec<Alert> = many.iter().map(|label| alert(&[*label])).collect();
    assert_eq!(chosen(&many, &[], None).unwrap(), r#"node="w1" exported_node="""#);
}

#[test]
fn t15_d1_alerts_of_another_cluster_are_not_this_nodes() {
    let of = |cluster: &str, node: &str| alert(&[("node", node), ("cluster", cluster)]);
    let known = Clusters::own("cluster", "a");
    let scope =
        Scope { policy: &SelectionPolicy::default(), cluster_label: "cluster", filters: &[], known: &known };
    let with_a = r#"node="w1" cluster="a" exported_node="""#;
    for (alerts, expected) in [
        (vec![of("b", "w1")], with_a),
        (vec![of("a", "w1"), of("b", "w1")], with_a),
        (vec![], r#"node="w1" exported_node="""#),
    ] {
        let all = matchers(&alerts, &nodes(), 0, scope).unwrap();
        let all: Vec<String> = all.matchers.iter().map(ToString::to_string).collect();
        assert_eq!(all.join(" "), expected, "{alerts:?}");
    }
}

#[test]
fn it_is_never_wider_than_one_cluster() {
    let of = |cluster: &str, node: &str| alert(&[("node", node), ("cluster", cluster)]);
    let with_a = r#"node="w1" cluster="a" exported_node="""#;
    assert_eq!(chosen(&[of("a", "w1")], &[], None).unwrap(), with_a);
    assert_eq!(chosen(&[of("a", "w2")], &[], None).unwrap(), with_a, "that of another node here");
    assert_eq!(chosen(&[], &["cluster=\"a\""], None).unwrap(), with_a);
    assert_eq!(chosen(&[of("a", "w1")], &["cluster=~\"a|b\""], None).unwrap(), with_a);
    for (alerts, filters) in [
        (&[of("a", "w1"), of("b", "w1")][..], &[][..]),
        (&[of("a", "w1"), of("b", "w2")], &[]),
        (&[of("b", "elsewhere")], &[]),
        (&[of("b", "elsewhere")], &["cluster=~\"a|b\""]),
    ] {
        assert!(chosen(alerts, filters, None).unwrap_err().contains("--filter 'cluster="), "{alerts:?}");
    }
}

#[test]
fn an_expression_decides_which_alerts_are_its() {
    let expression = Some(r#"labels["machine"] == FullName"#);
    let both = alert(&[("machine", "w1"), ("node", "w1")]);
    assert_eq!(chosen(&[both], &[], expression).unwrap(), r#"node="w1" exported_node="""#);
    // No label that we know to name nodes: what else it is on cannot be told.
    for alerts in [vec![alert(&[("machine", "w1")])], Vec::new()] {
        assert!(chosen(&alerts, &[], expression).unwrap_err().contains("with its name"));
    }
}

#[test]
fn a_name_of_two_nodes_is_no_name() {
    let nodes = [node("w1.a", "10.0.0.1"), node("w1.b", "10.0.0.2")];
    let policy = SelectionPolicy::default();
    let scope =
        Scope { policy: &policy, cluster_label: "cluster", filters: &[], known: &Clusters::default() };
    let all = matchers(&[alert(&[("node", "w1")])], &nodes, 0, scope).unwrap();
    assert_eq!(all.matchers[0].to_string(), r#"node="w1.a""#);
}

/// A kubelet adds addresses to its node, and silences nobody else by them.
#[test]
fn f9_b6_only_the_nodes_own_name_is_silenced() {
    let mut nodes = nodes();
    nodes[0].addresses.extend(["db1.corp.example", "rack-7", "w2"].map(String::from));
    nodes[0].hostname = Some("db1".to_owned());
    nodes[0].provider_id = Some("metal3://ns/db1".to_owned());
    let policy = SelectionPolicy::default();
    let scope =
        Scope { policy: &policy, cluster_label: "cluster", filters: &[], known: &Clusters::default() };
    let claimed = ["db1.corp.example:9100", "10.0.0.1:9100", "db1", "rack-7", "metal3://ns/db1"];
    let mut alerts: Vec<Alert> = claimed.iter().map(|claimed| alert(&[("instance", claimed)])).collect();
    let silenced = matchers(&alerts, &nodes, 0, scope).unwrap();
    assert_eq!(silenced.matchers[0].to_string(), r#"node="w1""#);
    assert_eq!((silenced.missed, silenced.alerts), (5, 5));
    // In full its name is its own, if its kubelet does not say that it has another one.
    alerts.push(alert(&[("node", "W1")]));
    let silenced = matchers(&alerts, &nodes, 0, scope).unwrap();
    assert_eq!((&*silenced.matchers[0].to_string(), silenced.missed), (r#"node="W1""#, 5));
    let honest = self::nodes();
    let silenced = matchers(&[alert(&[("node", "w1.corp.example")])], &honest, 0, scope).unwrap();
    assert_eq!((&*silenced.matchers[0].to_string(), silenced.missed), (r#"node="w1.corp.example""#, 0));
    // Nor is a silence of its name, or its address, taken for ours.
    let labels = policy.node_labels.clone();
    for (value, is_ours) in [("w1", true), ("w1.corp.example", true), ("w2", false), ("10.0.0.1", false)] {
        let matchers = vec![SilenceMatcher::equal("node", value)];
        let silence = Silence::new("w1", "id", "me@here", matchers, Timestamp::UNIX_EPOCH);
        assert_eq!(silence.is_of(&honest[0], "id", &labels), is_ours, "{value}");
    }
}

#[test]
fn only_what_we_made_for_this_run_is_ours() {
    let now = Timestamp::UNIX_EPOCH;
    let labels = SelectionPolicy::default().node_labels;
    let ours = Silence::new("w1", "id", "me@here", vec![SilenceMatcher::equal("node", "w1")], now);
    let w1 = &nodes()[0];
    assert!(ours.is_of(w1, "id", &labels));
    assert!(!ours.is_of(w1, "another", &labels));
    assert!(!ours.is_of(&nodes()[1], "id", &labels));
    let by_hand = Silence { created_by: "jane".to_owned(), ..ours.clone() };
    let imitated = Silence { created_by: "kubectl-sciuro-fan".to_owned(), ..ours.clone() };
    let said = Silence { comment: "disk is being replaced, id".to_owned(), ..ours.clone() };
    let of = |matcher: SilenceMatcher| Silence { matchers: vec![matcher], ..ours.clone() };
    let all = of(SilenceMatcher { is_regex: true, ..SilenceMatcher::equal("node", ".*") });
    let others = of(SilenceMatcher { is_equal: false, ..SilenceMatcher::equal("node", "w1") });
    for silence in [by_hand, imitated, said, all, others, of(SilenceMatcher::equal("alertname", "w1"))] {
        assert!(!silence.is_of(w1, "id", &labels), "{silence:?}");
    }
}

#[test]
fn it_ends_by_itself_a_quarter_of_an_hour_after_it_was_last_extended() {
    let now = Timestamp::UNIX_EPOCH;
    let later = now + SignedDuration::from_mins(10);
    let silence = Silence::new("w1", "id", "me@here", Vec::new(), now);
    assert_eq!(silence.ends_at.duration_since(now), SignedDuration::from_mins(15));
    let silence = silence.extended(later);
    assert_eq!(
        (silence.starts_at, silence.ends_at.duration_since(later)),
        (now, SignedDuration::from_mins(15))
    );
}
