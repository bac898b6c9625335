//! Binds pods to nodes: of those that may take one, to the one with the fewest.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{change, is_ending, is_over, is_ready};
use crate::api::store::Store;

pub(super) fn settle(store: &mut Store) {
    let pods = store.select("pods", None);
    let is_bound = |pod: &Value| pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let waits = |pod: &Value| {
        let has_containers = pod["spec"]["containers"].as_array().is_some_and(|all| !all.is_empty());
        has_containers && !is_bound(pod) && !is_ending(pod) && !is_over(pod)
    };
    if !pods.iter().any(|pod| waits(pod)) {
        return;
    }
    let nodes = store.select("nodes", None);
    let mut load: HashMap<String, usize> = HashMap::new();
    for pod in pods.iter().filter(|pod| is_bound(pod)) {
        *load.entry(pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    for pod in pods.iter().filter(|pod| waits(pod)) {
        let name = |node: &Value| node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let fitting = nodes.iter().filter(|node| fits(pod, node)).map(|node| name(node));
        let Some(node) = fitting.min_by_key(|node| load.get(node).copied().unwrap_or(0)) else { continue };
        *load.entry(node.clone()).or_default() += 1;
        change(store, "pods", pod, |pod| pod["spec"]["nodeName"] = json!(node));
    }
}

fn fits(pod: &Value, node: &Value) -> bool {
    let mut wanted = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    let cordoned = json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    let cordoned = (node["spec"]["unschedulable"] == true).then_some(&cordoned);
    let mut taints = node["spec"]["taints"].as_array().into_iter().flatten().chain(cordoned);
    is_ready(node)
        && !is_ending(node)
        && wanted.all(|(key, value)| node["metadata"]["labels"][key] == *value)
        && taints.all(|taint| taint["effect"] == "PreferNoSchedule" || tolerates(pod, taint))
}

fn tolerates(pod: &Value, taint: &Value) -> bool {
    let mut tolerations = pod["spec"]["tolerations"].as_array().into_iter().flatten();
    tolerations.any(|one| {
        let key = one["key"].is_null() || one["key"] == taint["key"];
        let effect = one["effect"].is_null() || one["effect"] == taint["effect"];
        let value = one["operator"] == "Exists" || one["value"] == taint["value"];
        key && effect && value
    })
}
