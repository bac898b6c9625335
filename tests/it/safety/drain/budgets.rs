//! Disruption budgets that never allow an eviction, whoever made them.

use serde_json::{Value, json};

use super::{drains, merge_patch, replicas, within};
use crate::drain::scene::Told;
use crate::remediate::scene::Scene;
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios![
    f9_d7_a_budget_that_needs_all_of_its_pods_is_refused_and_can_be_overridden,
    f9_d7_nobody_is_told_to_edit_an_operators_budget,
    f9_d8_a_budget_whose_pods_cannot_be_counted_says_why,
];

const NEVER: &str = "budget-misconfigured";

fn budget(scene: &Scene<'_>, name: &str) -> String {
    format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets/{name}", scene.namespace)
}

fn f9_d7_a_budget_that_needs_all_of_its_pods_is_refused_and_can_be_overridden(world: &World) {
    let scene = Scene::new(world);
    replicas(&scene, "web", 2);
    scene.budget("web", &json!({"minAvailable": 2}));
    let before = scene.facts();
    let namespace = &scene.namespace;
    let why = format!(
        "disruption budget {namespace}/web never allows an eviction: it needs all 2 of its pods to be healthy (2 pods here)"
    );
    let run =
        scene.remediate(&["--yes", "--skip=collect"]).exits(3).says(&format!("refused: {NEVER}: {why}"));
    run.says(&format!("add --override {NEVER}"));
    assert_eq!((scene.record(), scene.is_cordoned()), (None, false));

    // It is waited for as any budget is.
    let overridden = format!("--override={NEVER}");
    let flags = ["--yes", "--skip=collect", &overridden, "--drain-timeout=3s"];
    scene.remediate(&flags).exits(5).says(&format!("overridden: {NEVER}: {why}"));
    let record = scene.record().unwrap();
    assert_eq!(record["overrides"], json!([NEVER]));
    merge_patch(&scene, &budget(&scene, "web"), &json!({"spec": {"minAvailable": 0}}));
    scene.remediate(&["--yes", "--resume"]).exits(0);
    scene.is_remediated(&before);
}

/// As Rook's, while another host is down.
fn f9_d7_nobody_is_told_to_edit_an_operators_budget(world: &World) {
    let scene = Scene::new(world);
    replicas(&scene, "osd", 1);
    scene.budget("osd", &json!({"maxUnavailable": 0}));
    let own = scene.remediate(&["--dry-run=server"]).exits(3);
    let namespace = &scene.namespace;
    assert!(own.stdout.contains(&format!("hint: kubectl edit poddisruptionbudget osd -n {namespace}")));

    let owner =
        json!([{"apiVersion": "ceph.rook.io/v1", "kind": "CephCluster", "name": "rook-ceph", "uid": "u"}]);
    merge_patch(&scene, &budget(&scene, "osd"), &json!({"metadata": {"ownerReferences": owner}}));
    let run = scene.remediate(&["--dry-run=server"]).exits(3);
    let refused = format!(
        "refused: {NEVER}: disruption budget {namespace}/osd never allows an eviction: maxUnavailable is 0 (1 pod here); it is managed by CephCluster/rook-ceph"
    );
    assert!(run.stdout.contains(&refused), "{}", run.stdout);
    assert!(run.stdout.contains(&format!("hint: kubectl describe poddisruptionbudget osd -n {namespace}")));
    assert!(!run.stdout.contains("kubectl edit"), "{}", run.stdout);
}

/// Pods of something that has no scale, and a share of them.
fn f9_d8_a_budget_whose_pods_cannot_be_counted_says_why(world: &World) {
    let scene = Scene::new(world);
    let owner =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "set", "uid": "", "controller": true}]);
    let maps = format!("/api/v1/namespaces/{}/configmaps", scene.namespace);
    world.create(&maps, &json!({"metadata": {"name": "set"}}));
    let set = world.request("GET", &format!("{maps}/set"), "application/json", &Value::Null);
    let mut owner = owner;
    owner[0]["uid"] = set["metadata"]["uid"].clone();
    let pod = json!({"metadata": {"name": "set-0", "labels": {"app": "set"}, "ownerReferences": owner}, "spec": {
        "nodeName": scene.node, "automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
    world.create(&format!("/api/v1/namespaces/{}/pods", scene.namespace), &pod);
    scene.until_running(1);
    let selector = json!({"matchLabels": {"app": "set"}});
    let object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "set"},
        "spec": {"selector": selector, "maxUnavailable": 1}});
    let budgets = budget(&scene, "");
    world.create(budgets.trim_end_matches('/'), &object);
    let condition = || {
        let budget = world.request("GET", &budget(&scene, "set"), "application/json", &Value::Null);
        budget["status"]["conditions"][0].clone()
    };
    eventually("a controller that has failed", || condition()["reason"] == "SyncFailed");
    let why = condition()["message"].as_str().unwrap().to_owned();
    let run = scene.remediate(&["--dry-run=server"]).exits(3);
    let namespace = &scene.namespace;
    let refused = format!(
        "refused: {NEVER}: disruption budget {namespace}/set never allows an eviction: its controller cannot count its pods: {why} (1 pod here)"
    );
    assert!(run.stdout.contains(&refused), "{}", run.stdout);
    assert!(!run.stdout.contains("0 of 0"), "{}", run.stdout);
    let told = Told::default();
    let failure = drains(&scene, &within(2), &told).unwrap_err();
    assert!(failure.left[0].reason.contains(&why), "{failure:?}");
    let overridden = format!("--override={NEVER}");
    scene.remediate(&["--dry-run=server", &overridden]).exits(0);
}
