//! What the admission policy of deploy/base lets our account do, and what not.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Copy, STRATEGIC, on_the_control_plane};
use crate::support::World;

const JSON_PATCH: &str = "application/json-patch+json";

on_the_control_plane![
    the_policy_admits_sync_and_denies_everything_else,
    the_policy_can_afford_large_nodes,
    another_prefix_is_set_in_two_places,
];

/// What the policy says to each of these, or that it said nothing.
fn patch(world: &World, account: &kube::Client, node: &str, content_type: &str, body: &Value) -> String {
    let path = format!("/api/v1/nodes/{node}/status?fieldManager=kubectl-sciuro");
    world
        .try_as(account, "PATCH", &path, content_type, body)
        .map_or_else(|error| error.to_string(), |_| String::new())
}

fn the_policy_admits_sync_and_denies_everything_else(world: &World) {
    let (copy, account) = Copy::applied(world);
    let node = world.node("w1");
    let prefix = world.prefix();
    let ours =
        |status: &str| json!({"type": format!("{prefix}X"), "status": status, "reason": "R", "message": "m"});
    let conditions = |conditions: Value| json!({"status": {"conditions": conditions}});
    let denied = |what: &str, content_type: &str, body: &Value, why: &str| {
        let said = patch(world, &account, &node, content_type, body);
        let policy = format!("ValidatingAdmissionPolicy '{}-conditions'", copy.id);
        let message = format!("{} may change conditions of type {prefix}* only, {why}", copy.id);
        assert!(said.contains(&policy) && said.contains(&message), "{what}: {said:?}");
    };

    // What sync sends: add, change, both at once, remove.
    for body in [
        conditions(json!([ours("True")])),
        conditions(json!([ours("False"), {"type": format!("{prefix}Y"), "status": "True"}])),
        conditions(json!([{"type": format!("{prefix}Y"), "$patch": "delete"}])),
    ] {
        assert_eq!(patch(world, &account, &node, STRATEGIC, &body), "", "{body}");
    }
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "False");

    let others = "and neither add, change, remove nor move others";
    for (what, condition) in [
        ("another type", json!({"type": "Other", "status": "True"})),
        ("the prefix alone", json!({"type": prefix, "status": "True"})),
        ("a type in other letters", json!({"type": format!("{}X", prefix.to_uppercase()), "status": "True"})),
        ("an empty type", json!({"type": "", "status": "True"})),
        ("Ready changed", json!({"type": "Ready", "status": "Unknown"})),
        ("Ready with another message", json!({"type": "Ready", "message": "all is well, believe me"})),
        ("Ready removed", json!({"type": "Ready", "$patch": "delete"})),
    ] {
        denied(what, STRATEGIC, &conditions(json!([condition, ours("True")])), others);
    }
    // Each with a test that the entry is where it was: the server refuses a patch whose test fails in other words.
    let all = world.get_node(&node)["status"]["conditions"].as_array().unwrap().clone();
    let at = |condition_type: &str| {
        let index = all.iter().position(|condition| condition["type"] == condition_type).unwrap();
        format!("/status/conditions/{index}")
    };
    let (ready, disk, x) = (at("Ready"), at("DiskPressure"), at(&format!("{prefix}X")));
    let is_there = json!({"op": "test", "path": format!("{ready}/type"), "value": "Ready"});
    let second = json!({"type": "Ready", "status": "True"});
    for (what, attack) in [
        ("a second Ready", json!({"op": "add", "path": "/status/conditions/-", "value": second})),
        ("a second Ready before it", json!({"op": "add", "path": "/status/conditions/0", "value": second})),
        ("Ready once more", json!({"op": "copy", "from": ready, "path": "/status/conditions/-"})),
        ("Ready moved", json!({"op": "move", "from": ready, "path": disk})),
        (
            "Ready becomes ours",
            json!({"op": "replace", "path": format!("{ready}/type"), "value": ours("")["type"]}),
        ),
        ("ours becomes Ready", json!({"op": "replace", "path": format!("{x}/type"), "value": "Ready"})),
        ("no conditions", json!({"op": "remove", "path": "/status/conditions"})),
    ] {
        denied(what, JSON_PATCH, &json!([is_there, attack]), others);
    }

    // Each field by itself; with a condition of ours beside it, it is no better.
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y"}]);
    for (field, body) in [
        ("metadata.labels", json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}})),
        ("metadata.labels", json!({"metadata": {"labels": null}})),
        ("metadata.annotations", json!({"metadata": {"annotations": {"a": "b"}}})),
        ("metadata.finalizers", json!({"metadata": {"finalizers": ["example.com/stays"]}})),
        ("metadata.ownerReferences", json!({"metadata": {"ownerReferences": owner}})),
        ("status.capacity", json!({"status": {"capacity": {"example.com/gpu": "8"}}})),
        ("status.allocatable", json!({"status": {"allocatable": {"cpu": "1m"}}})),
        (
            "status.addresses",
            json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.6.6.6"}]}}),
        ),
        ("status.nodeInfo", json!({"status": {"nodeInfo": {"bootID": "another"}}})),
        ("status.images", json!({"status": {"images": [{"names": ["evil:latest"], "sizeBytes": 1}]}})),
        ("status.volumesInUse", json!({"status": {"volumesInUse": ["x"]}})),
        (
            "status.volumesAttached",
            json!({"status": {"volumesAttached": [{"name": "x", "devicePath": "y"}]}}),
        ),
        (
            "status.daemonEndpoints",
            json!({"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 666}}}}),
        ),
        ("status.phase", json!({"status": {"phase": "Terminated"}})),
        ("status.runtimeHandlers", json!({"status": {"runtimeHandlers": [{"name": "x"}]}})),
        ("status.features", json!({"status": {"features": {"supplementalGroupsPolicy": true}}})),
    ] {
        denied(field, STRATEGIC, &body, &format!("not {field}"));
        let mut beside = body;
        beside["status"]["conditions"] = json!([ours("True")]);
        denied(field, STRATEGIC, &beside, &format!("not {field}"));
    }

    // The server itself drops what is not status; nothing is denied, and nothing happens.
    let spec = world.get_node(&node)["spec"].clone();
    patch(world, &account, &node, STRATEGIC, &json!({"spec": {"unschedulable": true}}));
    assert_eq!(world.get_node(&node)["spec"]["unschedulable"], Value::Null);
    assert_eq!(world.get_node(&node)["spec"]["taints"], spec["taints"]);

    // Nobody else is concerned.
    world.patch_status(&node, STRATEGIC, &conditions(json!([{"type": "Other", "status": "True"}])));
}

/// An expression that costs too much denies everything (the budget is spent while it runs).
fn the_policy_can_afford_large_nodes(world: &World) {
    let (_copy, account) = Copy::applied(world);
    let node = world.bare_node("large");
    let of_type =
        |name: String| json!({"type": name, "status": "False", "reason": "R", "message": "m".repeat(200)});
    let mut conditions = world.get_node(&node)["status"]["conditions"].as_array().unwrap().clone();
    conditions.extend((0..1000).map(|number| of_type(format!("Foreign{number}"))));
    conditions.extend((0..1000).map(|number| of_type(world.condition_type(&format!("X{number}")))));
    let image = |number: usize| json!({"names": [format!("registry.example.com/{number}/{}", "x".repeat(200))], "sizeBytes": 1});
    let images: Vec<Value> = (0..1000).map(image).collect();
    let status = json!({"status": {"conditions": conditions, "images": images}});
    world.patch_status(&node, "application/merge-patch+json", &status);

    let patch = |condition: Value| {
        patch(world, &account, &node, STRATEGIC, &json!({"status": {"conditions": [condition]}}))
    };
    assert_eq!(patch(of_type(world.condition_type("Y"))), "");
    let said = patch(of_type("Foreign7".to_owned()));
    assert_eq!(said, "", "the same as before is no change");
    let said = patch(json!({"type": "Foreign7", "status": "True"}));
    assert!(said.contains("neither add, change, remove nor move others"), "{said}");
}

/// As deploy/README.md tells. With one of the two forgotten, nothing is written.
fn another_prefix_is_set_in_two_places(world: &World) {
    let (copy, account) = Copy::applied(world);
    let node = world.bare_node("w1");
    let set = |prefix: &str| {
        let overlay = copy.overlay(&format!(
            "resources: [../deploy/base]\npatches:\n- target: {{kind: ValidatingAdmissionPolicy}}\n  patch: |\n    \
             - {{op: replace, path: /spec/variables/0/expression, value: \"'{prefix}'\"}}\n",
        ));
        copy.apply(overlay, &[]);
    };
    let wait_until_said = |condition: &str, part: &str| {
        let mut said = String::new();
        for attempt in 0..300 {
            // Always another message: a patch that changes nothing harms nobody, and is admitted.
            let message = format!("{part}{attempt}");
            let condition = json!({"type": condition, "status": "False", "message": message});
            let body = json!({"status": {"conditions": [condition]}});
            said = patch(world, &account, &node, STRATEGIC, &body);
            if said.contains(part) && said.is_empty() == part.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{said:?}, not {part:?}");
    };
    set("Mine_");
    wait_until_said(&world.condition_type("X"), "may change conditions of type Mine_* only");
    wait_until_said("Mine_X", "");
    // A prefix that covers the kubelet's own conditions, or everything, is none.
    for bad in ["Rea", "", "Disk", ".*"] {
        set(bad);
        wait_until_said("Mine_X", "has no usable prefix");
    }
}
