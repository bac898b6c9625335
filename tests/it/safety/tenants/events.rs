//! Events that tenants write about a node.

use serde_json::{Value, json};

use crate::remediate::scene::Scene;
use crate::support::{World, scenarios};

scenarios![c6_events_of_tenants_are_not_among_a_nodes_diagnostics];

/// Kubelets have given the node's name for its UID, or none; the node controller gives the UID.
fn c6_events_of_tenants_are_not_among_a_nodes_diagnostics(world: &World) {
    let scene = Scene::new(world);
    let node = scene.node.as_str();
    let uid = world.get_node(node)["metadata"]["uid"].as_str().unwrap().to_owned();
    let event = |namespace: &str, message: &str, about: Value| {
        let mut about = about;
        about["kind"] = "Node".into();
        about["name"] = node.into();
        let name = world.name(&message.replace(' ', "-"));
        world.create(
            &format!("/api/v1/namespaces/{namespace}/events"),
            &json!({
            "metadata": {"name": name}, "type": "Warning", "reason": "Test", "count": 1, "message": message,
            "involvedObject": about}),
        );
    };
    event(&scene.namespace, "forged elsewhere", json!({"uid": uid, "namespace": scene.namespace}));
    event(&scene.namespace, "forged elsewhere by name", json!({"uid": node, "namespace": scene.namespace}));
    event("default", "of a former node", json!({"uid": "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11"}));
    event("default", "by uid", json!({"uid": uid}));
    event("default", "by name", json!({"uid": node}));
    event("default", "without uid", json!({}));

    scene.remediate(&["--yes", "--until=collect", "--max-unavailable=100%"]).exits(0);
    let bundle = scene.bundle();
    for file in ["events.json", "events.txt", "summary.md"] {
        let text = &bundle[file];
        for forged in ["forged elsewhere", "of a former node"] {
            assert!(!text.contains(forged), "{forged} in {file}: {text}");
        }
    }
    for real in ["by uid", "by name", "without uid"] {
        assert!(bundle["events.txt"].contains(real), "{real} in {}", bundle["events.txt"]);
    }
}
