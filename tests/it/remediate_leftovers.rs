//! Helper pods that runs left behind which were killed.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Fleet, World, scenarios};

scenarios![what_earlier_runs_left_goes, a_run_goes_on_where_nothing_can_be_swept];

const JSON: &str = "application/json";

/// Puts a helper of this remediation on the fleet's second machine, two hours old where time can be told to a server.
fn helper(fleet: &Fleet<'_>, namespace: &str, id: &str, is_old: bool) -> String {
    let name = format!("sciuro-probe-{}", &id[..8]);
    let labels = json!({"app.kubernetes.io/managed-by": "kubectl-sciuro", "sciuro.dev/remediation": id});
    let pod = json!({"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": fleet.second,
        "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
    fleet.world.create(&format!("/api/v1/namespaces/{namespace}/pods"), &pod);
    if is_old && fleet.world.doubles.is_some() {
        let long_ago = crate::support::seconds_ago(jiff::SignedDuration::from_hours(2));
        fleet.world.api().store().update("pods", namespace, &name, |pod| {
            pod["metadata"]["creationTimestamp"] = long_ago.into();
        });
    }
    name
}

fn is_there(world: &World, namespace: &str, name: &str) -> bool {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    world
        .try_api("GET", &path, JSON, &Value::Null)
        .is_ok_and(|pod| pod["metadata"]["deletionTimestamp"].is_null())
}

/// The real API server says itself when a pod was created: there nothing is old.
fn what_earlier_runs_left_goes(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = world.namespace("helpers");
    let ids = [(); 3].map(|()| Uuid::new_v4().to_string());
    let stale = helper(&fleet, &namespace, &ids[0], true);
    let live = helper(&fleet, &namespace, &ids[1], true);
    let young = helper(&fleet, &namespace, &ids[2], false);
    let record = json!({"v": 99, "id": ids[1]}).to_string();
    fleet.patch(&fleet.third, &json!({"metadata": {"annotations": {"sciuro.dev/remediation": record}}}));

    let run = fleet.remediate(&["--helper-namespace", &namespace]).exits(0);
    let goes = world.doubles.is_some();
    assert_eq!(is_there(world, &namespace, &stale), !goes);
    let line = format!("removed {stale}, which an earlier run left behind");
    assert_eq!(run.stderr.contains(&line), goes, "{}", run.stderr);
    assert!(is_there(world, &namespace, &live), "a record names it");
    assert!(is_there(world, &namespace, &young));
}

fn a_run_goes_on_where_nothing_can_be_swept(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = world.namespace("helpers");
    let stale = helper(&fleet, &namespace, &Uuid::new_v4().to_string(), true);
    if world.doubles.is_some() {
        let pod = format!("/api/v1/namespaces/{namespace}/pods/{stale}");
        world.api().faults().on("DELETE", &pod).status(500);
    }
    fleet.remediate(&["--helper-namespace", &namespace]).exits(0);
    assert!(is_there(world, &namespace, &stale));
}
