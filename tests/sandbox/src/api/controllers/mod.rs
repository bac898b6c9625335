//! What of the control plane acts on pods, as small as it can be: after every change it has done all that there was to do,
//! where real controllers come to it a moment later.

mod disruption;
mod namespaces;
mod scheduler;
mod workloads;

use serde_json::Value;

use super::store::Store;

/// A change of these may give something to do.
pub(super) const CONCERNED: [&str; 8] = [
    "daemonsets",
    "deployments",
    "namespaces",
    "nodes",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "statefulsets",
];

pub(super) fn settle(store: &mut Store) {
    workloads::settle(store);
    scheduler::settle(store);
    disruption::settle(store);
    namespaces::settle(store);
}

/// Changes the object, but not to what it is already.
fn change(store: &mut Store, resource: &str, object: &Value, change: impl FnOnce(&mut Value)) {
    let mut new = object.clone();
    change(&mut new);
    if new != *object {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        store.update(resource, text("namespace"), text("name"), |live| *live = new);
    }
}

/// The one owner that controls it.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

fn is_ending(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn is_over(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
}

/// Whether its condition `Ready` is True, of a pod or a node.
pub(super) fn is_ready(object: &Value) -> bool {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}
