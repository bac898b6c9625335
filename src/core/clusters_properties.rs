//! Two clusters whose nodes have the same names report to one source, and no filter tells them apart: whatever is listed in
//! whatever order, over ten rounds, what is written on a node of this one says only what this one's alerts say.

use proptest::prelude::*;
use proptest::sample::select as any_of;

use super::*;

/// Alerts of our cluster `a` and of the other, `b`; w4 is in neither.
fn any_alert() -> impl Strategy<Value = Alert> {
    let cluster = any_of(&["a", "b"][..]);
    (any_of(&["X", "Y"][..]), 0..5u8, cluster, any_of(&["", "", "silenced", "pending"][..])).prop_map(
        |(name, node, cluster, state)| {
            let mut alert = alert(name, &format!("w{node}"));
            alert.labels.insert("cluster", cluster);
            alert.annotations.insert("summary", format!("of {cluster}"));
            Alert { silenced: state == "silenced", pending: state == "pending", ..alert }
        },
    )
}

#[derive(Debug, Clone)]
struct Step {
    alerts: Vec<Alert>,
    kind: &'static str,
}

fn any_rounds() -> impl Strategy<Value = Vec<Step>> {
    let kind = any_of(&["ok", "ok", "ok", "warned", "failed"][..]);
    let step =
        (prop::collection::vec(any_alert(), 0..5), kind).prop_map(|(alerts, kind)| Step { alerts, kind });
    prop::collection::vec(step, 10)
}

/// How it is known which cluster this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// A run with a filter came before.
    Filtered,
    /// The first complete round in which anything fires lists its own alerts and no other.
    First,
    /// Each cluster has a watchdog.
    Watchdogs,
    /// Nothing does, and the first complete round lists both.
    Both,
}

fn of_cluster(cluster: &str) -> Alert {
    let mut alert = alert("X", "w0");
    alert.labels.insert("cluster", cluster);
    alert.annotations.insert("summary", format!("of {cluster}"));
    alert
}

fn answer(step: &Step, how: How) -> Result<Answer, Failure> {
    let clusters = match how {
        How::Watchdogs => ["a", "b"].map(str::to_owned).into(),
        _ => BTreeSet::new(),
    };
    match step.kind {
        "failed" => failed(),
        kind => Ok(Answer {
            alerts: step.alerts.clone(),
            clusters,
            warnings: if kind == "warned" { vec!["w".to_owned()] } else { vec![] },
            ..Answer::default()
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t15_d1_a_condition_is_only_ever_set_by_this_clusters_alerts(
        mut rounds in any_rounds(),
        how in any_of(vec![How::Filtered, How::First, How::Watchdogs, How::Both]),
        passes in any_of(vec![MINUTE, HOUR]),
    ) {
        let mut world = world(4, "False", MINUTE);
        match how {
            How::Filtered => {
                world.filters = vec!["cluster=\"a\"".parse().unwrap()];
                world.lists(&[]);
                world.filters.clear();
            }
            How::First => rounds.insert(0, Step { alerts: vec![of_cluster("a")], kind: "ok" }),
            How::Both => rounds.insert(0, Step { alerts: vec![of_cluster("a"), of_cluster("b")], kind: "ok" }),
            How::Watchdogs => {}
        }
        let mut listed: BTreeSet<(String, String)> = BTreeSet::new();
        for step in rounds {
            for alert in step.alerts.iter().filter(|alert| alert.label("cluster") == Some("a")) {
                let name = format!("AlertManager_{}", alert.label("alertname").unwrap_or_default());
                listed.insert((alert.label("node").unwrap_or_default().to_owned(), name));
            }
            world.after(passes);
            let round = world.round(vec![answer(&step, how)]);
            // The same alert twice is one; silenced once is silenced.
            let is_silenced = |alert: &Alert| {
                step.alerts.iter().any(|other| other.silenced && other.labels == alert.labels)
            };
            let shows_other = step.alerts.iter().any(|alert| {
                alert.label("cluster") == Some("b") && alert.label("node") != Some("w4")
                    && !alert.pending && !is_silenced(alert)
            });
            if shows_other && step.kind == "ok" {
                prop_assert!(round.notices.contains(&Notice::MixedClusters), "{round:?}");
                prop_assert_eq!(round.state, Partial);
            }
            for node in &world.nodes {
                for condition in node.conditions.iter().filter(|condition| condition.is_true()) {
                    prop_assert_eq!(&condition.message, "[P9] of a");
                    prop_assert!(listed.contains(&(node.name.clone(), condition.type_.clone())));
                    // Nothing is learnt where both were seen: not even its own.
                    prop_assert!(!matches!(how, How::Both | How::Watchdogs));
                }
            }
        }
    }

    /// The first value is believed; from the first sign of another on nothing is set any more until a filter says which.
    #[test]
    fn t15_d1_whatever_comes_first_a_second_cluster_sets_nothing(rounds in any_rounds()) {
        let mut world = world(4, "False", MINUTE);
        for step in rounds {
            let known = world.memory.clusters.own_value("cluster").map(str::to_owned);
            let before = world.nodes.clone();
            world.after(MINUTE).round(vec![answer(&step, How::First)]);
            let own = world.memory.clusters.own_value("cluster").map(str::to_owned);
            prop_assert!(known.is_none() || own == known, "the known cluster does not change");
            for (node, before) in world.nodes.iter().zip(&before) {
                for condition in node.conditions.iter().filter(|condition| condition.is_true()) {
                    let message = own.as_ref().map(|own| format!("[P9] of {own}"));
                    prop_assert!(before.conditions.contains(condition) || Some(&condition.message) == message.as_ref());
                }
            }
        }
    }
}
