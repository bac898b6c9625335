//! A pod as it comes from a server, and what is kept of it.

#![allow(clippy::expect_used)]

use serde_json::json;

use super::*;

fn read(pod: serde_json::Value) -> Pod {
    serde_json::from_value::<WirePod>(pod).expect("a pod").into_object()
}

#[test]
fn a_drain_reads_this_much_of_a_pod() {
    let pod = read(json!({
        "metadata": {"name": "web-0", "namespace": "ns", "uid": "u", "resourceVersion": "7", "managedFields": [],
            "labels": {"app": "web"}, "annotations": {"kubernetes.io/config.mirror": "x"}, "finalizers": ["f"],
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "n"},
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "o", "controller": true}]},
        "spec": {"terminationGracePeriodSeconds": 30, "volumes": [{"name": "scratch", "emptyDir": {"medium": "Memory"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}, {"name": "tmp", "ephemeral": {}},
            {"name": "host", "hostPath": {"path": "/"}}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }));
    assert_eq!(pod.owner.map(|owner| owner.kind), Some("StatefulSet".to_owned()));
    assert_eq!((pod.phase, pod.ready, pod.is_mirror), (Phase::Running, true, true));
    assert_eq!(pod.empty_dirs, ["scratch"], "not host paths");
    assert_eq!(pod.claims, ["data-web-0", "web-0-tmp"]);
    assert_eq!((pod.grace_seconds, pod.finalizers), (Some(30), vec!["f".to_owned()]));
    assert_eq!(pod.deletion.map(|time| time.to_string()), Some("2026-01-01T00:00:00Z".to_owned()));
}

#[test]
fn little_is_enough_and_null_is_nothing() {
    let meta = json!({"name": "p", "namespace": "ns", "uid": "u"});
    let bare = read(json!({"metadata": meta}));
    let nulls = read(
        json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": null, "finalizers": null,
        "deletionTimestamp": null}, "spec": {"volumes": null, "tolerations": null}, "status": {"conditions": null}}),
    );
    assert_eq!(bare, nulls);
    assert_eq!((bare.phase, bare.owner), (Phase::Unknown, None));
}

#[test]
fn tolerations_of_a_cordon() {
    let taint = "node.kubernetes.io/unschedulable";
    for (toleration, tolerates) in [
        (json!({"operator": "Exists"}), true),
        (json!({"operator": "Exists", "effect": "NoSchedule"}), true),
        (json!({"operator": "Exists", "effect": "NoExecute"}), false),
        (json!({"key": taint, "operator": "Exists"}), true),
        (json!({"key": taint}), true),
        (json!({"key": taint, "value": "x"}), false),
        (json!({"key": taint, "operator": "Exists", "effect": "NoExecute"}), false),
        (json!({"key": "other", "operator": "Exists"}), false),
        (json!({}), false),
    ] {
        let meta = json!({"name": "p", "namespace": "ns", "uid": "u"});
        let pod = read(json!({"metadata": meta, "spec": {"tolerations": [toleration]}}));
        assert_eq!(pod.tolerates_cordon, tolerates, "{toleration}");
    }
}
