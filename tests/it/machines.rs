//! The machines that scenarios reboot.

use std::time::{Duration, Instant};

use http::Request;
use serde_json::{Value, json};

use crate::support::{World, scenarios};

scenarios!(a_deployment_moves_away_and_a_static_pod_restarts);

#[track_caller]
fn until(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < deadline, "not in 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn a_deployment_moves_away_and_a_static_pod_restarts(world: &World) {
    let machines = world.machines(&["a", "b"]);
    let (a, b) = (world.name("a"), world.name("b"));
    let namespace = world.namespace("web");
    for node in [&a, &b] {
        let label = json!({"metadata": {"labels": {"world": world.id()}}});
        world.request("PATCH", &format!("/api/v1/nodes/{node}"), "application/merge-patch+json", &label);
    }
    let labels = json!({"app": "web"});
    world.request(
        "POST",
        &format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
        "application/json",
        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"nodeSelector": {"world": world.id()}, "containers": [{"name": "c", "image": "example/c:1"}]}}}}),
    );
    world.block_on(machines.run_static(&a, &namespace, "agent")).expect("a static pod");
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let ready = |node: &str| {
        let list = world.request("GET", &pods, "application/json", &Value::Null);
        let mut ready = list["items"].as_array().cloned().unwrap_or_default();
        ready.retain(|pod| {
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            pod["spec"]["nodeName"] == node
                && conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
        });
        ready
    };
    until("both have a pod, and one its static pod", || ready(&a).len() == 2 && ready(&b).len() == 1);

    let cordon = json!({"spec": {"unschedulable": true}});
    world.request("PATCH", &format!("/api/v1/nodes/{a}"), "application/merge-patch+json", &cordon);
    let moving = ready(&a).into_iter().find(|pod| pod["metadata"]["labels"]["app"] == "web").expect("a pod");
    let name = moving["metadata"]["name"].as_str().expect("a name");
    world.request(
        "POST",
        &format!("{pods}/{name}/eviction"),
        "application/json",
        &json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}),
    );
    until("it has moved", || ready(&a).len() == 1 && ready(&b).len() == 2);

    let before = machines.facts(&a).expect("a machine");
    machines.reboot(&a).expect("a machine");
    until("its pod has restarted", || {
        ready(&a).iter().any(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    });
    let after = machines.facts(&a).expect("a machine");
    assert_eq!((before.reboots, after.reboots), (0, 1));
    for (query, expected) in [("", "log"), ("?previous=true", "previous log")] {
        let log = Request::get(format!("{pods}/agent-{a}/log{query}")).body(Vec::new()).expect("a request");
        let log = world.block_on(world.client().request_text(log)).expect("a log");
        assert_eq!(log, format!("{expected} of static in {namespace}/agent-{a}\n"));
    }
    assert_eq!(world.get_node(&a)["status"]["nodeInfo"]["bootID"], after.boot_id.as_str());
}
