#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_584_537_478;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn minutes_ago(minutes: i64) -> Option<Timestamp> {
    Timestamp::from_second(NOW - minutes * 60).ok()
}

fn condition(type_: &str, status: &str, message: &str, minutes: i64) -> Condition {
    Condition {
        type_: type_.into(),
        status: status.into(),
        message: message.into(),
        last_heartbeat: minutes_ago(minutes),
        last_transition: minutes_ago(minutes),
        ..Condition::default()
    }
}

fn node(name: &str, conditions: Vec<Condition>) -> ShownNode {
    ShownNode { node: Node { name: name.into(), conditions, ..Node::default() }, ..ShownNode::default() }
}

fn filter() -> Filter {
    Filter { prefix: Prefix::default(), default_too: false, condition: None, all: false, priorities: None }
}

fn shown(nodes: &[ShownNode], filter: &Filter) -> Vec<String> {
    rows(nodes, filter, None, now())
        .iter()
        .map(|row| {
            format!(
                "{} {} {}",
                row.node.node.name,
                row.condition.type_.trim_start_matches("AlertManager_"),
                row.message
            )
        })
        .collect()
}

#[test]
fn rows_are_sorted_by_urgency_then_age_then_name() {
    let nodes = [
        node(
            "w1",
            vec![
                condition("AlertManager_A", "True", "[P5] five", 1),
                condition("AlertManager_B", "Unknown", "", 9),
            ],
        ),
        node(
            "w2",
            vec![
                condition("AlertManager_A", "True", "[P1] one", 1),
                condition("AlertManager_C", "True", "none", 50),
            ],
        ),
        node(
            "w3",
            vec![
                condition("AlertManager_A", "True", "[P5] five", 7),
                condition("AlertManager_D", "False", "", 1),
            ],
        ),
        node(
            "w0",
            vec![condition("AlertManager_A", "True", "[P5] five", 7), condition("Ready", "True", "", 1)],
        ),
    ];
    assert_eq!(
        shown(&nodes, &filter()),
        ["w2 A one", "w0 A five", "w3 A five", "w1 A five", "w2 C none", "w1 B "]
    );
    let urgent = Filter {
        priorities: Some(Priority::parse("0").unwrap()..=Priority::parse("3").unwrap()),
        ..filter()
    };
    assert_eq!(shown(&nodes, &urgent), ["w2 A one"]);
    let ready = Filter { condition: Some(Regex::new("^Ready$").unwrap()), ..filter() };
    assert_eq!(shown(&nodes, &ready), [""; 0], "t15_f: it is well");
    assert_eq!(shown(&nodes, &Filter { all: true, ..ready }), ["w0 Ready "]);
    assert_eq!(shown(&nodes, &Filter { all: true, ..filter() }).len(), 8);
}

#[test]
fn the_priority_is_read_from_the_message() {
    for (message, priority, rest) in [
        ("[P6] text", Some("6"), "text"),
        ("[P0]", Some("0"), ""),
        ("[P12]   spaced", Some("12"), "  spaced"),
        ("[P12]tight", Some("12"), "tight"),
        ("text [P6]", None, "text [P6]"),
        ("[6] text", None, "[6] text"),
        ("[Pn] text", None, "[Pn] text"),
        ("[P6 text", None, "[P6 text"),
        ("", None, ""),
    ] {
        let expected = priority.map(|text| Priority::parse(text).unwrap());
        assert_eq!(split_priority(message), (expected, rest), "{message:?}");
    }
}

#[test]
fn a_condition_is_stale_if_its_heartbeat_is_old() {
    // Of a full sync: how long ago, its interval and that of heartbeats, in minutes.
    let stale_after = |heartbeat: i64, full: Option<(i64, i64, i64)>, type_: &str, status: &str| {
        let last_full = full.map(|(minutes, interval, heartbeat)| LastFull {
            at: minutes_ago(minutes).unwrap(),
            interval: SignedDuration::from_mins(interval),
            heartbeat: SignedDuration::from_mins(heartbeat),
        });
        let nodes = [node("w", vec![condition(type_, status, "", heartbeat)])];
        let all = Filter { all: true, ..filter() };
        rows(&nodes, &all, last_full, now())[0].stale.map(|age| age.as_mins())
    };
    let alert = "AlertManager_X";
    assert_eq!(stale_after(15, None, alert, "True"), None);
    assert_eq!(stale_after(16, None, alert, "True"), Some(16));
    assert_eq!(stale_after(60, Some((14, 1, 0)), alert, "True"), None, "no heartbeats are written");
    assert_eq!(stale_after(60, Some((50, 1, 0)), alert, "True"), Some(50));
    assert_eq!(stale_after(60, Some((29, 10, 0)), alert, "True"), None, "three intervals");
    assert_eq!(stale_after(60, Some((50, 1, 0)), alert, "False"), None);
    assert_eq!(stale_after(60, Some((50, 1, 0)), "Ready", "True"), None, "not ours to judge");
    assert_eq!(stale_after(60, Some((0, 1, 5)), alert, "True"), Some(60), "c4: only the Lease says so");
    assert_eq!(stale_after(60, Some((0, 1, 30)), alert, "True"), None, "three heartbeats");
    assert_eq!(stale_after(60, Some((0, 30, 5)), alert, "True"), None, "rounds are rare");
    assert_eq!(
        stale_after(24 * 60 + 1, Some((0, i64::MAX / 60, 5)), alert, "True"),
        Some(24 * 60 + 1),
        "c4: a day"
    );
}

#[test]
fn c4_a_prefix_that_nobody_typed_hides_no_condition_with_the_default_one() {
    let conditions = ["AlertManager_A", "Quiet_B", "Ready"].map(|type_| condition(type_, "True", "", 60));
    let nodes = [node("w", conditions.into())];
    let quiet = Filter { prefix: "Quiet_".parse().unwrap(), ..filter() };
    let types = |filter: &Filter| -> Vec<String> {
        rows(&nodes, filter, None, now()).iter().map(|row| row.condition.type_.clone()).collect()
    };
    assert_eq!(types(&quiet), ["Quiet_B"], "typed");
    let quiet = Filter { default_too: true, ..quiet };
    assert_eq!(types(&quiet), ["AlertManager_A", "Quiet_B"]);
    assert!(
        rows(&nodes, &quiet, None, now()).iter().all(|row| row.stale.is_some()),
        "both are ours to judge"
    );
}

/// The table of Kubernetes' own test (`duration_test.go`).
#[test]
fn durations_read_as_kubectls() {
    for (seconds, text) in [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (1, "1s"),
        (70, "70s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (16_020, "4h27m"),
        (28_799, "7h59m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_199, "7d23h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (66_096_000, "2y35d"),
        (252_287_999, "7y364d"),
        (252_288_000, "8y"),
    ] {
        assert_eq!(human_duration(SignedDuration::from_secs(seconds)), text, "{seconds}");
    }
}

#[test]
fn node_status_and_roles_are_kubectls() {
    let mut node = node("w", vec![condition("Ready", "True", "", 1)]);
    assert_eq!(node.status(), "Ready");
    node.unschedulable = true;
    assert_eq!(node.status(), "Ready,SchedulingDisabled");
    node.node.conditions[0].status = "Unknown".into();
    assert_eq!(node.status(), "NotReady,SchedulingDisabled");
    node.node.conditions.clear();
    assert_eq!(node.status(), "Unknown,SchedulingDisabled");
    for (label, value) in [
        ("node-role.kubernetes.io/worker", ""),
        ("node-role.kubernetes.io/", ""),
        ("kubernetes.io/role", "infra"),
    ] {
        node.labels.insert(label.into(), value.into());
    }
    assert_eq!(node.roles(), ["infra", "worker"]);
}

proptest! {
    #[test]
    fn the_order_of_nodes_never_matters(
        conditions in proptest::collection::vec(("[AB]", "True|False|Unknown", 0_i64..3, "(\\[P[0-2]\\] )?[xy]"), 1..12),
        seed in any::<u64>(),
    ) {
        let nodes: Vec<ShownNode> = conditions
            .iter()
            .enumerate()
            .map(|(index, (name, status, minutes, message))| {
                node(&format!("w{index}"), vec![condition(&format!("AlertManager_{name}"), status, message, *minutes)])
            })
            .collect();
        let mut turned = nodes.clone();
        turned.rotate_left(usize::try_from(seed % nodes.len() as u64).unwrap());
        turned.reverse();
        let all = Filter { all: true, ..filter() };
        prop_assert_eq!(shown(&nodes, &all), shown(&turned, &all));
    }
}

/// Whoever may write the Lease may write this there.
fn written(annotations: [(&str, &str); 2]) -> Option<LastFull> {
    let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    LastFull::of(&Memory::read(&annotations), now())
}

#[test]
fn an_interval_of_all_eternity_is_no_reason_to_fail() {
    let yesterday = minutes_ago(24 * 60).unwrap().to_string();
    let full = written([("sciuro.dev/last-full", &yesterday), ("sciuro.dev/interval", "2562047788015215h")])
        .unwrap();
    assert!(full.interval > SignedDuration::MAX / 2 && full.is_fresh(full.at));
    assert!(!full.is_fresh(now()), "c4: nor to believe it for good");
}

#[test]
fn c4_a_full_sync_to_come_is_none() {
    let full = |minutes: i64| {
        let time = minutes_ago(minutes).unwrap().to_string();
        written([("sciuro.dev/last-full", &time), ("sciuro.dev/interval", "60s")])
    };
    assert!(full(0).is_some() && full(-5).is_some(), "clocks differ");
    assert_eq!(full(-6), None);
}
