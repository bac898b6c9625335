//! Expressions: what they say, what they may use, and that an index changes nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::core::alert::Alert;
use crate::core::node::Node;

/// README of upstream, and its `ConfigMap`.
const GUARDED: &str = r#""node" in labels && (labels["node"] == FullName || labels["node"] == ShortName)"#;

fn nodes(names: &[&str]) -> Vec<Node> {
    names.iter().map(|name| Node { name: (*name).to_owned(), ..Node::default() }).collect()
}

fn alert(labels: &[(&str, &str)]) -> Alert {
    Alert { labels: labels.iter().copied().collect(), ..Alert::default() }
}

/// The verdict on nodes `w1`, `w2.example` and `w3.example`.
fn verdict(expression: &str, labels: &[(&str, &str)]) -> Verdict {
    let expression: Expression = expression.parse().unwrap();
    let nodes = nodes(&["w1", "w2.example", "w3.example"]);
    let mut alert = alert(labels);
    alert.annotations.insert("summary", "w1 burns");
    Matching::new(&expression, &nodes).find(&alert)
}

#[test]
fn an_expression_decides_which_nodes_an_alert_speaks_of() {
    let node = |place| Verdict::Nodes(vec![place]);
    for (expression, labels, expected) in [
        (GUARDED, &[("node", "w1")][..], node(0)),
        (GUARDED, &[("node", "w2")], node(1)),
        (GUARDED, &[("node", "w2.example")], node(1)),
        (GUARDED, &[("node", "W1")], Verdict::Unmatched), // nothing is normalised
        (GUARDED, &[("node", "w9")], Verdict::Unmatched),
        (GUARDED, &[("instance", "w1")], Verdict::Excluded),
        ("has(labels.node) && labels.node == ShortName", &[("node", "w2")], node(1)),
        ("has(labels.node) && labels.node == ShortName", &[("node", "w2.example")], Verdict::Unmatched),
        ("has(labels.node) && labels.node == ShortName", &[], Verdict::Excluded),
        ("FullName == labels.node", &[("node", "w1")], node(0)),
        ("FullName == labels.node", &[], Verdict::Failed),
        // An error beside what decides already is none.
        ("labels.node == FullName || labels.host == FullName", &[("node", "w1")], node(0)),
        ("labels.host == FullName || labels.node == FullName", &[("node", "w1")], node(0)),
        ("labels.host == FullName || labels.node == FullName", &[("node", "w9")], Verdict::Failed),
        ("labels.host == FullName && labels.node == FullName", &[("node", "w1")], Verdict::Failed),
        ("labels.host == \"x\" && labels.node == FullName", &[("node", "w9")], Verdict::Excluded),
        ("labels.a == \"b\" && labels.node == FullName", &[("a", "b"), ("node", "w1")], node(0)),
        ("labels.a == \"b\" && labels.node == FullName", &[("a", "c"), ("node", "w1")], Verdict::Excluded),
        ("labels.instance == FullName + \":9100\"", &[("instance", "w3.example:9100")], node(2)),
        ("labels.instance.startsWith(FullName + \":\")", &[("instance", "w3.example:1")], node(2)),
        (
            "labels.instance.startsWith(FullName + \":\")",
            &[("instance", "w3.examples:1")],
            Verdict::Unmatched,
        ),
        ("labels.instance.startsWith(ShortName)", &[("instance", "w2")], node(1)),
        ("labels.node in [FullName, ShortName]", &[("node", "w2")], node(1)),
        ("labels.node != FullName", &[("node", "w2.example")], Verdict::Nodes(vec![0, 2])),
        ("!(labels.node == FullName)", &[("node", "w9")], Verdict::Nodes(vec![0, 1, 2])),
        ("true", &[], Verdict::Nodes(vec![0, 1, 2])),
        ("false", &[("node", "w1")], Verdict::Excluded),
        ("\"true\"", &[("node", "w1")], Verdict::Failed),
        ("annotations.summary.startsWith(FullName)", &[], node(0)),
        (
            "labels.instance.matches(\"^w[0-9]+:\") && labels.instance.contains(FullName)",
            &[("instance", "w1:1")],
            node(0),
        ),
        ("labels.instance.matches(\"^\" + FullName + \"(:[0-9]+)?$\")", &[("instance", "w1:1")], node(0)),
        ("labels.exists(name, labels[name] == FullName)", &[("a", "b"), ("host", "w1")], node(0)),
        (
            "int(labels.priority) <= 3 && labels.node == FullName",
            &[("priority", "2"), ("node", "w1")],
            node(0),
        ),
        (
            "int(labels.priority) <= 3 && labels.node == FullName",
            &[("priority", "x"), ("node", "w1")],
            Verdict::Failed,
        ),
        ("{\"r1\": \"w1\"}[labels.rack] == FullName", &[("rack", "r1")], node(0)),
        ("(labels.a == \"b\" ? labels.x : labels.y) == FullName", &[("a", "b"), ("x", "w1")], node(0)),
    ] {
        assert_eq!(verdict(expression, labels), expected, "{expression} {labels:?}");
    }
}

#[test]
fn the_usual_forms_are_decided_by_index() {
    for (expression, indexed) in [
        (GUARDED, true),
        (r#"labels["node"] == FullName"#, true),
        ("ShortName == labels.node", true),
        ("has(labels.node) && (labels.node == FullName || ShortName == labels.node)", true),
        (r#"labels["node"] == FullName && labels["notify"].contains("node-condition-k8s")"#, true),
        (r#"labels.cluster == "a" && labels.node == FullName"#, true),
        (r#"labels.instance == "https://" + FullName + ":9100""#, true),
        (r#"labels.instance.startsWith(FullName + ":")"#, true),
        ("labels.node in [FullName, ShortName]", true),
        ("FullName in [labels.node, labels.host]", true),
        ("has(labels.node) ? labels.node == FullName : labels.instance != ShortName", true),
        (r#"labels.exists(name, name.startsWith("x")) && labels.node == FullName"#, true),
        (r#"labels.severity == "critical""#, true),
        ("labels.exists(name, labels[name] == FullName)", false),
        ("labels.instance.contains(FullName)", false),
        ("labels.instance.matches(FullName)", false),
        ("FullName.startsWith(labels.node)", false),
        ("FullName == ShortName", false),
        ("FullName in labels", false),
        ("(labels.a == FullName) == (labels.b == FullName)", false),
    ] {
        assert_eq!(expression.parse::<Expression>().unwrap().is_indexed(), indexed, "{expression}");
    }
}

#[test]
fn an_expression_is_refused_with_the_place_and_the_reason() {
    let long = "x".repeat(MAX_LENGTH + 1);
    for (text, message) in [
        ("", "mismatched input '<EOF>' expecting expression, at its end"),
        ("labels.node = FullName", "mismatched input '=' expecting <EOF>, at column 13: = FullName"),
        ("labels.node == FullName &&", "mismatched input '<EOF>' expecting expression, at its end"),
        ("\"é\" == labels.x § 3", "unexpected character, at column 17: § 3"),
        ("true &&\n labels.x $", "unexpected character, at column 19: $"),
        ("labels[\"node\" == FullName", "expected ']', at its end"),
        ("'abc", "unterminated string literal, at column 1: 'abc"),
        (
            "labels.node == Fullname",
            "\"Fullname\" is unknown; there are labels, annotations, FullName and ShortName",
        ),
        ("labels == annotations", "labels is a map: take one of them, labels[\"node\"]"),
        ("labels.node.split(\".\")[0] == FullName", "split is not available"),
        ("int(labels.x) / 0 == 1", "/ is not available"),
        ("labels.node.contains()", "contains takes 2 arguments"),
        (
            "labels.map(x, x + x).size() == 1",
            "map and filter are not available; exists, all and exists_one are",
        ),
        ("labels.all(x, labels.all(y, x == y))", "exists, all and exists_one cannot be nested"),
        (
            "[labels.a].all(x, x == x)",
            "exists, all and exists_one go over labels, annotations or a list of constants",
        ),
        ("labels.all(FullName, true)", "a variable cannot have the name of another"),
        ("labels.node.matches(\"(\")", "\"(\" is no valid regular expression: unclosed group"),
        (
            "labels.node.matches(\"(\\\\pL{99}){99}\")",
            "\"(\\\\pL{99}){99}\" is no valid regular expression: it is too large",
        ),
        ("Foo{a: 1} == 1", "this is not available"),
        ("labels.?node == FullName", "unsupported syntax '.?', at column 7: .?node == FullName"),
        ("duration(\"1s\") < duration(\"2s\")", "duration is not available"),
        (long.as_str(), "it has 2049 bytes, more than 2048"),
    ] {
        assert_eq!(text.parse::<Expression>().unwrap_err(), message, "{text}");
    }
}

#[test]
fn a_computed_regular_expression_is_bounded_too() {
    let verdict =
        verdict("labels.node.matches(labels.pattern)", &[("node", "w1"), ("pattern", r"(\pL{99}){99}")]);
    assert_eq!(verdict, Verdict::Failed);
}

/// Every form of expression that an index decides, and parts that say the same of every node: true, false or an error.
fn boolean() -> impl Strategy<Value = String> {
    let value = select(
        &[
            "labels.a",
            "labels[\"b\"]",
            "labels.missing",
            "\"w1\"",
            "annotations.a",
            "(has(labels.a) ? labels.a : labels.b)",
            "1",
        ][..],
    );
    let name = select(
        &["FullName", "ShortName", "FullName + \":1\"", "\"x\" + ShortName", "\"x\" + FullName + \":1\""][..],
    );
    let leaf = (value, name, 0..8).prop_map(|(value, name, form)| match form {
        0 => format!("{value} == {name}"),
        1 => format!("{name} == {value}"),
        2 => format!("{value} != {name}"),
        3 => format!("{value} in [{name}, FullName]"),
        4 => format!("{name} in [{value}, \"w2\"]"),
        5 => format!("string({value}).startsWith({name})"),
        6 => format!("{value} == \"w1\""),
        _ => format!("labels.exists(l, labels[l] == {value})"),
    });
    let constant = select(&["true", "false", "\"a\" in labels", "has(labels.b)", "labels.missing", "3"][..])
        .prop_map(String::from);
    prop_oneof![4 => leaf, 1 => constant].prop_recursive(4, 24, 3, |part| {
        prop_oneof![
            3 => (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            3 => (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            1 => part.clone().prop_map(|a| format!("!({a})")),
            1 => (part.clone(), part.clone(), part).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Errors on either side of `&&` and `||` included: the index has no logic of its own to get them wrong.
    #[test]
    fn an_index_decides_as_the_interpreter_would_node_by_node(
        expression in boolean(),
        names in subsequence(&["w1", "w2", "w2.example", "w1.example", "w3.other", "x"][..], 0..=6),
        values in proptest::collection::btree_map(
            select(&["a", "b", "c"][..]),
            select(&["w1", "w2", "w2.example", "w1:1", "xw1.example:1", "xw2", "w9", ""][..]),
            0..=3,
        ),
    ) {
        let parsed: Expression = expression.parse().unwrap();
        prop_assert!(parsed.is_indexed(), "{expression}");
        let nodes = nodes(&names);
        let values: Vec<_> = values.into_iter().collect();
        let mut alert = alert(&values);
        alert.annotations = alert.labels.clone();
        let matching = Matching::new(&parsed, &nodes);
        let (index, one_by_one) = (matching.find(&alert), matching.find_one_by_one(&alert));
        prop_assert_eq!(index.nodes(), one_by_one.nodes(), "{} {:?}", expression, alert.labels);
    }

    #[test]
    fn no_text_panics(text in "[a-zA-Z0-9 ()\\[\\]{}.,:?!&|=<>+*/%\"'\\\\é-]{0,60}") {
        let _ = text.parse::<Expression>();
    }
}

/// 10,000 alerts × 5,000 nodes would be 50 million evaluations.
#[test]
fn an_index_asks_for_few_nodes() {
    let names: Vec<String> = (0..5_000).map(|number| format!("w{number}.example")).collect();
    let nodes = nodes(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let expression: Expression = GUARDED.parse().unwrap();
    let matching = Matching::new(&expression, &nodes);
    let alerts: Vec<Alert> =
        (0..10_000).map(|number| alert(&[("node", &format!("w{}", number % 6_000))])).collect();
    let found = alerts.iter().filter(|alert| matches!(matching.find(alert), Verdict::Nodes(_))).count();
    assert_eq!(found, 9_000);
    assert!(matching.evaluations() <= 3 * alerts.len(), "{} evaluations", matching.evaluations());
}

/// Every way to nest, read and evaluated in half of a thread's stack.
#[test]
fn nesting_takes_no_stack() {
    let parse = || {
        for (open, middle, close) in [
            ("(", "labels.a", ")"),
            ("!", "true", ""),
            ("-", "1", ""),
            ("- ", "1", ""),
            ("[", "", "]"),
            ("labels[", "\"a\"", "]"),
            ("size(", "\"a\"", ")"),
            ("{\"a\":", "1", "}"),
            ("true?true:", "true", ""),
            ("true?", "true", ":true"),
            ("1+", "1", ""),
            ("true||", "true", ""),
            ("true&&", "true", ""),
            ("1<", "1", ""),
            ("has(", "labels.a", ")"),
            ("a.a(", "1", ")"),
            ("", "labels", ".a"),
            ("", "labels", "[0]"),
            ("", "labels", ".a()"),
            ("", "labels", "[\"&\"]"),
            ("", "[1", ",1"),
            ("", "'", "\\'"),
            ("labels.exists(x,", "true", ")"),
            ("a{b:", "1", "}"),
            ("!(", "true", ")"),
            ("-(", "1", ")"),
            ("1-", "1", ""),
            ("1-(", "1", ")"),
            ("\"a\" in [", "1", "]"),
            ("true||true&&", "true", ""),
            ("a{", "", "}"),
            ("", "{1:2", ",1:2"),
            ("", "a", "{}"),
            ("\n", "", ""),
            ("//", "", ""),
        ] {
            let most = (MAX_LENGTH - middle.len()) / (open.len() + close.len());
            for count in [most, 100, usize::from(MAX_DEPTH) + 1, usize::from(MAX_DEPTH) - 2] {
                let text =
                    format!("{}{middle}{}", open.repeat(count.min(most)), close.repeat(count.min(most)));
                let Ok(expression) = text.parse::<Expression>() else { continue };
                let alert = alert(&[("a", "b")]);
                let _ = Matching::new(&expression, &nodes(&["w1"])).find(&alert);
            }
        }
    };
    std::thread::Builder::new().stack_size(1024 << 10).spawn(parse).unwrap().join().unwrap();
}
