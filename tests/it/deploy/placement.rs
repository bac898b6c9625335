//! Where the real scheduler puts the Deployment's two pods.

use serde_json::{Value, json};

use super::{Copy, on_the_control_plane};
use crate::support::World;
use crate::watch::eventually;

on_the_control_plane![t15_g_two_pods_are_on_two_nodes_with_and_without_zones];

const MERGE: &str = "application/merge-patch+json";

/// One node has room for everything, and the others next to none: but for the other pod, both would go there.
fn t15_g_two_pods_are_on_two_nodes_with_and_without_zones(world: &World) {
    let copy = Copy::new(world);
    copy.apply("deploy/base", &[]);
    let id = &copy.id;
    for (case, zones, apart) in [
        ("no zones", &[None, None][..], None),
        ("one zone", &[Some("a"), Some("a")], None),
        ("two zones", &[Some("a"), Some("a"), Some("b")], Some("b")),
        ("a zone of some", &[Some("a"), None], None),
    ] {
        let shorts: Vec<String> =
            (0..zones.len()).map(|n| format!("n{n}-{}", case.replace(' ', "-"))).collect();
        let nodes = world.nodes(&shorts.iter().map(String::as_str).collect::<Vec<_>>());
        for (place, (node, zone)) in nodes.iter().zip(zones).enumerate() {
            let mut labels = json!({id: case.replace(' ', "-")});
            if let Some(zone) = zone {
                labels["topology.kubernetes.io/zone"] = (*zone).into();
            }
            world.request(
                "PATCH",
                &format!("/api/v1/nodes/{node}"),
                MERGE,
                &json!({"metadata": {"labels": labels}}),
            );
            if place > 0 {
                fill(world, id, node);
            }
        }
        let overlay = copy.overlay(&format!(
            "resources: [../deploy]\npatches:\n- target: {{kind: Deployment}}\n  patch: |\n    \
             - {{op: add, path: /spec/template/spec/nodeSelector, value: {{{id}: {}}}}}\n",
            case.replace(' ', "-")
        ));
        copy.apply(overlay, &[]);
        eventually(case, || placed(world, id, &nodes).len() == 2);
        let places = placed(world, id, &nodes);
        assert_ne!(places[0], places[1], "{case}");
        let zone_of = |node: &String| zones[nodes.iter().position(|other| other == node).unwrap()];
        assert!(apart.is_none() || places.iter().any(|node| zone_of(node) == apart), "{case}: {places:?}");
        copy.kubectl(&["delete", "deployment", id, "-n", id]).exits(0);
        copy.kubectl(&["delete", "pods", "--all", "-n", id, "--force", "--grace-period=0"]).exits(0);
    }
}

/// A pod of another kind that asks for nearly all that the node has.
fn fill(world: &World, namespace: &str, node: &str) {
    let container = json!({"name": "c", "image": "registry.example/c:1",
        "resources": {"requests": {"cpu": "30", "memory": "200Gi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    let spec = json!({"nodeName": node, "automountServiceAccountToken": false, "containers": [container],
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}});
    let name = format!("fills-{}", node.replace('.', "-"));
    world.create(
        &format!("/api/v1/namespaces/{namespace}/pods"),
        &json!({"metadata": {"name": name}, "spec": spec}),
    );
}

/// On which of these nodes the Deployment's pods are.
fn placed(world: &World, id: &str, nodes: &[String]) -> Vec<String> {
    let path = format!("/api/v1/namespaces/{id}/pods?labelSelector=app.kubernetes.io%2Fname%3D{id}");
    let pods = world.request("GET", &path, "application/json", &Value::Null);
    let pods = pods["items"].as_array().unwrap().iter();
    let mut places: Vec<String> = pods
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .filter_map(|pod| pod["spec"]["nodeName"].as_str().map(str::to_owned))
        .filter(|node| nodes.contains(node))
        .collect();
    places.sort();
    places
}
