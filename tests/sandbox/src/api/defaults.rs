//! What the server adds to an object when it is created.

use serde_json::{Value, json};

pub(super) fn fill(object: &mut Value) {
    match object["kind"].as_str().unwrap_or_default() {
        "Namespace" => object["status"] = json!({"phase": "Active"}),
        "Pod" => pod(object),
        "PodDisruptionBudget" => {
            object["metadata"]["generation"] = 1.into();
            if let Some(object) = object.as_object_mut() {
                object.remove("status");
            }
        }
        _ => {}
    }
}

fn pod(pod: &mut Value) {
    let spec = &mut pod["spec"];
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
        ("enableServiceLinks", json!(true)),
    ] {
        if spec[field].is_null() {
            spec[field] = value;
        }
    }
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        for (field, value) in [
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
            ("imagePullPolicy", json!("IfNotPresent")),
            ("resources", json!({})),
        ] {
            if container[field].is_null() {
                container[field] = value;
            }
        }
    }
    // Whatever status came with it is dropped.
    pod["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"});
}
