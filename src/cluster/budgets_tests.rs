//! A budget as it comes from a server.

#![allow(clippy::expect_used)]

use serde_json::json;

use super::*;

fn read(parts: &Value) -> Budget {
    let budget = json!({"metadata": {"name": "b", "namespace": "ns"}, "spec": parts,
        "status": {"disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 4}});
    serde_json::from_value::<WireBudget>(budget).expect("a budget").into_object()
}

#[test]
fn numbers_and_percentages_are_told_apart() {
    for (demand, expected) in [
        (json!({"maxUnavailable": 0}), Allowance::MaxUnavailable(Amount::Count(0))),
        (json!({"maxUnavailable": "0%"}), Allowance::MaxUnavailable(Amount::Percent(0))),
        (json!({"minAvailable": "100%"}), Allowance::MinAvailable(Amount::Percent(100))),
        (json!({"minAvailable": 2}), Allowance::MinAvailable(Amount::Count(2))),
        (json!({"minAvailable": "many"}), Allowance::Unset),
        (json!({}), Allowance::Unset),
    ] {
        assert_eq!(read(&demand).allowance, expected, "{demand}");
    }
    let budget = read(&json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}));
    assert!(budget.frees_unhealthy && budget.selector.is_none());
    assert_eq!((budget.allowed, budget.healthy, budget.desired, budget.expected), (1, 3, 2, 4));
}

#[test]
fn a_selector_of_both_kinds() {
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
        {"key": "tier", "operator": "NotIn", "values": ["test"]}, {"key": "x", "operator": "Exists"}]});
    let selector = read(&json!({"selector": selector})).selector.expect("a selector");
    let labels = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert!(selector.matches(&labels(&[("app", "web"), ("x", "")])));
    assert!(!selector.matches(&labels(&[("app", "web"), ("x", ""), ("tier", "test")])));
    assert_eq!(read(&json!({"selector": {}})).selector, Some(Selector(Vec::new())), "all pods");
}

#[test]
fn f9_d7_d8_who_manages_it_and_whether_its_pods_are_counted() {
    let read = |metadata: Value, status: Value| {
        let mut budget = json!({"metadata": {"name": "b", "namespace": "ns"}, "status": status});
        budget["metadata"]
            .as_object_mut()
            .expect("metadata")
            .extend(metadata.as_object().expect("more").clone());
        serde_json::from_value::<WireBudget>(budget).expect("a budget").into_object()
    };
    let owner =
        json!([{"apiVersion": "ceph.rook.io/v1", "kind": "CephCluster", "name": "rook-ceph", "uid": "u"}]);
    let label = json!({"app.kubernetes.io/managed-by": "Helm"});
    let manager = |metadata| read(metadata, json!({})).manager;
    assert_eq!(manager(json!({})), None);
    assert_eq!(manager(json!({"labels": label})).as_deref(), Some("Helm"));
    let both = json!({"labels": label, "ownerReferences": owner});
    assert_eq!(manager(both).as_deref(), Some("CephCluster/rook-ceph"));

    let counted = |seen: i64| read(json!({"generation": 2}), json!({"observedGeneration": seen})).counted;
    assert!(counted(2) && !counted(1));

    let condition = |reason: &str| json!({"conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": "m"}]});
    assert_eq!(read(json!({}), condition("SyncFailed")).sync_failed.as_deref(), Some("m"));
    assert_eq!(read(json!({}), condition("InsufficientPods")).sync_failed, None);
}
