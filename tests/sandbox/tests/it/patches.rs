//! What patches make of a Node's conditions.

use http::Method;
use serde_json::{Value, json};

use crate::{Cluster, MERGE, STRATEGIC, condition, conditions};

/// Conditions before, the kind of patch, the patch's conditions, conditions after.
fn table() -> Vec<(&'static str, Value, &'static str, Value, &'static str)> {
    let c = condition;
    let delete = |kind: &str| json!({"type": kind, "$patch": "delete"});
    let ab = json!([c("TA", "True"), c("TB", "True")]);
    let twice = json!([c("TA", "1"), c("TB", "True"), c("TA", "2")]);
    vec![
        (
            "a new one goes to the front",
            ab.clone(),
            STRATEGIC,
            json!([c("TN", "True")]),
            "TN=True TA=True TB=True",
        ),
        (
            "an old one is changed in its place",
            ab.clone(),
            STRATEGIC,
            json!([c("TB", "False")]),
            "TA=True TB=False",
        ),
        (
            "the patch's order is kept and the others stay where they were",
            json!([c("TA", "1"), c("TB", "1"), c("TC", "1"), c("TD", "1")]),
            STRATEGIC,
            json!([c("TN", "2"), c("TC", "2"), c("TM", "2")]),
            "TN=2 TA=1 TB=1 TC=2 TM=2 TD=1",
        ),
        ("one is deleted", ab.clone(), STRATEGIC, json!([delete("TA")]), "TB=True"),
        ("what is not there can be deleted", ab.clone(), STRATEGIC, json!([delete("TX")]), "TA=True TB=True"),
        (
            "new and deleted in one",
            ab.clone(),
            STRATEGIC,
            json!([delete("TA"), c("TN", "1")]),
            "TN=1 TB=True",
        ),
        (
            "deleted and set at once is set",
            ab.clone(),
            STRATEGIC,
            json!([delete("TA"), c("TA", "2")]),
            "TA=2 TB=True",
        ),
        (
            "a list may be replaced",
            ab.clone(),
            STRATEGIC,
            json!([{"$patch": "replace"}, c("TN", "1")]),
            "TN=1",
        ),
        ("null deletes all", ab.clone(), STRATEGIC, Value::Null, ""),
        (
            "directives in a new list are not stored",
            json!([]),
            STRATEGIC,
            json!([delete("TA"), c("TN", "1")]),
            "TN=1",
        ),
        (
            "twice in a patch: the last wins",
            ab.clone(),
            STRATEGIC,
            json!([c("TN", "1"), c("TN", "2")]),
            "TN=2 TA=True TB=True",
        ),
        (
            "twice in a new list: both are stored",
            json!([]),
            STRATEGIC,
            json!([c("TN", "1"), c("TN", "2")]),
            "TN=1 TN=2",
        ),
        (
            "twice on the node: the first is changed",
            twice.clone(),
            STRATEGIC,
            json!([c("TA", "3")]),
            "TA=3 TA=2 TB=True",
        ),
        ("twice on the node: all are deleted", twice, STRATEGIC, json!([delete("TA")]), "TB=True"),
        (
            "some fields of one that is not there",
            ab.clone(),
            STRATEGIC,
            json!([{"type": "TN", "lastHeartbeatTime": "2020-03-18T13:17:58Z"}]),
            "TN= TA=True TB=True",
        ),
        (
            "nothing is checked",
            json!([]),
            STRATEGIC,
            json!([c("T sp\u{fc}\n", "Maybe")]),
            "T sp\u{fc}\n=Maybe",
        ),
        (
            "a merge patch replaces the list",
            ab.clone(),
            MERGE,
            json!([c("TN", "1"), c("TN", "2")]),
            "TN=1 TN=2",
        ),
    ]
}

#[tokio::test]
async fn conditions_are_merged_by_type() {
    for cluster in Cluster::all("merge").await {
        for (index, (what, before, kind, patch, after)) in table().into_iter().enumerate() {
            let node = cluster.node(&index.to_string(), &json!({"conditions": before})).await;
            let patch = json!({"status": {"conditions": patch}}).to_string();
            let (code, answer) = cluster.call(Method::PATCH, &format!("{node}/status"), kind, patch).await;
            assert_eq!(
                (code, conditions(&answer)),
                (200, after.to_owned()),
                "{}: {what}: {answer}",
                cluster.name
            );
            assert_eq!(conditions(&cluster.get(&node).await), after, "{}: {what}, read again", cluster.name);
            assert_eq!(cluster.delete(&node).await, 200);
        }
    }
}

#[tokio::test]
async fn a_kubelets_heartbeat_changes_only_times() {
    for cluster in Cluster::all("heartbeat").await {
        let live = json!([condition("TA", "True"), condition("TOther", "True"), condition("TB", "False")]);
        let node = cluster.node("a", &json!({"conditions": live})).await;
        let beat = |kind: &str| json!({"type": kind, "lastHeartbeatTime": "2021-01-01T01:02:03.9+01:00"});
        let patch = json!({"status": {
            "$setElementOrder/conditions": [{"type": "TA"}, {"type": "TB"}],
            "conditions": [beat("TA"), beat("TB")],
        }});
        let (code, answer) = cluster.patch(&format!("{node}/status"), &patch).await;
        assert_eq!((code, conditions(&answer).as_str()), (200, "TA=True TOther=True TB=False"), "{answer}");
        let after = &answer["status"]["conditions"];
        assert_eq!(after[0]["lastHeartbeatTime"], "2021-01-01T00:02:03Z", "cut to seconds and in UTC");
        assert_eq!(after[0]["lastTransitionTime"], live[0]["lastTransitionTime"]);
        assert_eq!(after[1], live[1], "{}", cluster.name);

        let order = json!({"status": {
            "$setElementOrder/conditions": [{"type": "TA"}], "conditions": [beat("TB")],
        }});
        let (code, answer) = cluster.patch(&format!("{node}/status"), &order).await;
        assert_eq!(code, 500, "{}: {answer}", cluster.name);
        cluster.delete(&node).await;
    }
}

#[tokio::test]
async fn a_status_patch_changes_labels_but_not_the_spec_and_the_other_way_round() {
    for cluster in Cluster::all("status").await {
        let node = cluster.node("a", &json!({"conditions": [condition("TA", "True")]})).await;
        let both = json!({
            "metadata": {"labels": {"new": "1", "suffix": null}, "annotations": {"new": "1"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [condition("TB", "True")], "addresses": [{"type": "Hostname", "address": "a"}]},
        });
        let (code, after) = cluster.patch(&format!("{node}/status"), &both).await;
        assert_eq!((code, conditions(&after).as_str()), (200, "TB=True TA=True"));
        assert_eq!(after["metadata"]["labels"], json!({"new": "1", "scenario": cluster.prefix}));
        assert_eq!(after["metadata"]["annotations"]["new"], "1");
        assert_eq!(after["spec"]["unschedulable"], Value::Null, "{}", cluster.name);

        let both =
            json!({"spec": {"unschedulable": true}, "status": {"conditions": null, "addresses": null}});
        let (code, after) = cluster.patch(&node, &both).await;
        assert_eq!((code, conditions(&after).as_str()), (200, "TB=True TA=True"));
        assert_eq!(after["spec"]["unschedulable"], true);
        assert_eq!(after["status"]["addresses"][0]["address"], "a");

        // Taints have no merge key: a patch replaces them.
        for key in ["one", "two"] {
            let taints = json!([{"key": key, "effect": "PreferNoSchedule"}]);
            let (_, after) = cluster.patch(&node, &json!({"spec": {"taints": taints}})).await;
            assert_eq!(after["spec"]["taints"], taints, "{}", cluster.name);
        }
        cluster.delete(&node).await;
    }
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    for cluster in Cluster::all("noop").await {
        let node = cluster.node("a", &json!({"conditions": [condition("TA", "True")]})).await;
        let status = format!("{node}/status");
        let version = |node: &Value| node["metadata"]["resourceVersion"].clone();
        // The first one may still change managedFields, and controllers may write in between.
        let same = json!({"status": {"conditions": [condition("TA", "True")]}});
        let mut written = true;
        for _ in 0..5 {
            let (_, first) = cluster.patch(&status, &same).await;
            let (code, second) = cluster.patch(&status, &same).await;
            assert_eq!(code, 200, "{}", cluster.name);
            written &= version(&second) != version(&first);
        }
        assert!(!written, "{}", cluster.name);

        let other = json!({"status": {"conditions": [condition("TA", "False")]}});
        let (code, dry) = cluster.patch(&format!("{status}?dryRun=All"), &other).await;
        assert_eq!((code, conditions(&dry).as_str()), (200, "TA=False"));
        assert_eq!(conditions(&cluster.get(&node).await), "TA=True", "{}", cluster.name);
        cluster.delete(&node).await;
    }
}

#[tokio::test]
async fn refused_patches() {
    for cluster in Cluster::all("refused").await {
        let node = cluster.node("a", &json!({"conditions": [condition("TA", "True")]})).await;
        let name = node.rsplit('/').next().unwrap();
        let status = format!("{node}/status");
        let new = json!({"conditions": [condition("TN", "True")]});
        let soon = json!({"type": "TN", "lastHeartbeatTime": "soon"}).to_string();
        let huge = "x".repeat(1_600_000);
        let cases = [
            (
                &status,
                STRATEGIC,
                json!({"metadata": {"uid": "other"}, "status": new}).to_string(),
                422,
                "Invalid",
                format!(
                    "Node \"{name}\" is invalid: metadata.uid: Invalid value: \"other\": field is immutable"
                ),
            ),
            (
                &status,
                STRATEGIC,
                json!({"metadata": {"resourceVersion": "1"}, "status": new}).to_string(),
                409,
                "Conflict",
                format!(
                    "Operation cannot be fulfilled on nodes \"{name}\": the object has been modified; please apply \
                    your changes to the latest version and try again"
                ),
            ),
            (
                &status,
                STRATEGIC,
                json!({"metadata": {"name": "other"}, "status": new}).to_string(),
                400,
                "BadRequest",
                format!("the name of the object (other) does not match the name on the URL ({name})"),
            ),
            (
                &status,
                STRATEGIC,
                format!("{{\"status\":{{\"conditions\":[{soon}]}}}}"),
                422,
                "Invalid",
                "parsing time \"soon\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"soon\" as \"2006\""
                    .into(),
            ),
            (
                &status,
                MERGE,
                format!("{{\"status\":{{\"conditions\":[{soon}]}}}}"),
                422,
                "Invalid",
                "parsing time \"soon\"".into(),
            ),
            (
                &status,
                STRATEGIC,
                "{\"status\":{\"conditions\":[{\"type\":\"TN\",\"status\":true}]}}".into(),
                422,
                "Invalid",
                String::new(),
            ),
            (
                &status,
                STRATEGIC,
                "{\"status\":{\"conditions\":[{\"status\":\"True\"}]}}".into(),
                500,
                "",
                "does not contain declared merge key: type".into(),
            ),
            (
                &status,
                STRATEGIC,
                "{\"status\":{\"conditions\":[{\"type\":\"TN\",\"$patch\":\"x\"}]}}".into(),
                500,
                "",
                "unknown patch type: x".into(),
            ),
            (&status, STRATEGIC, "{bad".into(), 400, "BadRequest", String::new()),
            (&status, STRATEGIC, "[]".into(), 400, "BadRequest", String::new()),
            (&status, "application/json", "{}".into(), 415, "UnsupportedMediaType", String::new()),
            (
                &status,
                STRATEGIC,
                json!({"status": {"conditions": [{"type": "TN", "message": huge}]}}).to_string(),
                500,
                "",
                "etcdserver: request is too large".into(),
            ),
        ];
        for (path, kind, body, code, reason, message) in cases {
            let (given, answer) = cluster.call(Method::PATCH, path, kind, body).await;
            let what = format!("{}: {message}: {answer}", cluster.name);
            assert_eq!(given, code, "{what}");
            assert_eq!(answer["reason"].as_str().unwrap_or_default(), reason, "{what}");
            assert!(answer["message"].as_str().unwrap().contains(&message), "{what}");
        }
        let (_, answer) = cluster.patch(&status, &json!({"metadata": {"uid": "other"}})).await;
        assert_eq!(answer["details"]["causes"][0]["field"], "metadata.uid");
        assert_eq!(answer["details"]["kind"], "Node");
        assert_eq!(conditions(&cluster.get(&node).await), "TA=True", "{}: nothing was written", cluster.name);

        cluster.delete(&node).await;
        let (code, answer) = cluster.patch(&status, &json!({"status": new})).await;
        assert_eq!(
            (code, answer["message"].as_str().unwrap()),
            (404, format!("nodes \"{name}\" not found").as_str())
        );
        assert_eq!(answer["details"], json!({"name": name, "kind": "nodes"}));
    }
}
