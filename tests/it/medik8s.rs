//! A node belongs to one operator at a time, medik8s' among them.

use serde_json::{Value, json};

use crate::support::{Run, World};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/medik8s-leases/leases";

fn cordon(world: &World, node: &str) -> Run {
    let flags = ["--until", "cordon", "--reboot-method", "manual", "--max-unavailable", "100%", "--yes"];
    world.run(&[&["remediate", node][..], &flags].concat())
}

fn lease(world: &World, node: &str) -> Value {
    world.request("GET", &format!("{LEASES}/node-{node}"), "application/json", &Value::Null)["spec"].clone()
}

fn is_cordoned(world: &World, node: &str) -> bool {
    world.get_node(node)["spec"]["unschedulable"] == true
}

#[test]
fn sandbox_a_node_that_medik8s_has_is_left_alone() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    let put = |node: &str, renewed: jiff::Timestamp| {
        let renewed = renewed.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": format!("node-{node}"), "namespace": "medik8s-leases"},
            "spec": {"holderIdentity": "self-node-remediation", "leaseDurationSeconds": 3600,
            "leaseTransitions": 4, "renewTime": renewed}});
        world.create(LEASES, &lease);
    };
    cordon(&world, &nodes[2]).exits(0).never_says("medik8s");
    world.create("/api/v1/namespaces", &json!({"metadata": {"name": "medik8s-leases"}}));

    put(&nodes[0], jiff::Timestamp::now());
    cordon(&world, &nodes[0])
        .exits(9)
        .says("the Lease medik8s-leases/node-w1 is held by self-node-remediation");
    assert!(!is_cordoned(&world, &nodes[0]));
    assert_eq!(lease(&world, &nodes[0])["holderIdentity"], "self-node-remediation");
    let ours = format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/sciuro-node-{}", nodes[0]);
    let ours = world.request("GET", &ours, "application/json", &Value::Null);
    assert_eq!(ours["spec"]["holderIdentity"], "", "given back");

    // One that nobody renews is free; ours for the run, and nobody's after it.
    put(&nodes[1], jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2));
    cordon(&world, &nodes[1]).exits(0);
    assert!(is_cordoned(&world, &nodes[1]));
    let after = lease(&world, &nodes[1]);
    assert_eq!((&after["holderIdentity"], &after["leaseTransitions"]), (&json!(""), &json!(5)));
}
