//! Deployments, replica sets, stateful sets, daemon sets: what of their pods is missing is created.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{change, controller, is_ending, is_over, is_ready};
use crate::api::defaults;
use crate::api::store::Store;
use crate::random::uuid;

pub(super) fn settle(store: &mut Store) {
    for deployment in store.select("deployments", None) {
        let owned = store.select("replicasets", deployment["metadata"]["namespace"].as_str());
        if has_template(&deployment) && !owned.iter().any(|set| is_owned(set, &deployment)) {
            let hash = uuid()[..8].to_owned();
            let mut spec = deployment["spec"].clone();
            for labels in ["/selector/matchLabels", "/template/metadata/labels"] {
                if let Some(labels) = spec.pointer_mut(labels) {
                    labels["pod-template-hash"] = hash.clone().into();
                }
            }
            let metadata = metadata(&deployment, &format!("{}-{hash}", name(&deployment)));
            store.put(
                json!({"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": metadata, "spec": spec}),
            );
        }
    }
    for resource in ["replicasets", "statefulsets"] {
        for set in store.select(resource, None) {
            replicate(store, resource, &set);
        }
    }
    for set in store.select("daemonsets", None) {
        one_for_each_node(store, &set);
    }
}

fn replicate(store: &mut Store, resource: &str, set: &Value) {
    if !has_template(set) || is_ending(set) {
        return;
    }
    let wanted = set["spec"]["replicas"].as_u64().unwrap_or(1);
    let pods = pods_of(store, set);
    let mut live = pods.iter().filter(|pod| !is_ending(pod) && !is_over(pod)).count() as u64;
    if resource == "statefulsets" {
        // The same names again, once those who had them are gone.
        for ordinal in 0..wanted {
            let own = format!("{}-{ordinal}", name(set));
            if !pods.iter().any(|pod| pod["metadata"]["name"] == own.as_str()) {
                create(store, set, &own, None);
            }
        }
    } else {
        while live < wanted {
            create(store, set, &format!("{}-{}", name(set), &uuid()[..5]), None);
            live += 1;
        }
    }
    let ready = pods_of(store, set).iter().filter(|pod| !is_ending(pod) && is_ready(pod)).count();
    change(store, resource, set, |set| {
        set["status"]["replicas"] = wanted.into();
        set["status"]["readyReplicas"] = ready.into();
    });
}

fn one_for_each_node(store: &mut Store, set: &Value) {
    if !has_template(set) || is_ending(set) {
        return;
    }
    let mut nodes = store.select("nodes", None);
    let wanted = set["spec"]["template"]["spec"]["nodeSelector"].as_object().cloned().unwrap_or_default();
    nodes.retain(|node| wanted.iter().all(|(key, value)| node["metadata"]["labels"][key] == *value));
    let pods = pods_of(store, set);
    for node in &nodes {
        let there = pods.iter().find(|pod| pod["spec"]["nodeName"] == node["metadata"]["name"]);
        if let Some(over) = there.filter(|pod| is_over(pod) && !is_ending(pod)) {
            store.remove("pods", namespace(set), name(over));
        } else if there.is_some() {
            continue;
        }
        create(store, set, &format!("{}-{}", name(set), &uuid()[..5]), Some(name(node)));
    }
    let ready = pods_of(store, set).iter().filter(|pod| !is_ending(pod) && is_ready(pod)).count();
    change(store, "daemonsets", set, |set| {
        set["status"]["desiredNumberScheduled"] = nodes.len().into();
        set["status"]["currentNumberScheduled"] = nodes.len().into();
        set["status"]["numberReady"] = ready.into();
    });
}

fn create(store: &mut Store, set: &Value, name: &str, node: Option<&str>) {
    let template = &set["spec"]["template"];
    let mut metadata = metadata(set, name);
    for field in ["labels", "annotations"] {
        metadata[field] = template["metadata"][field].clone();
    }
    let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": template["spec"]});
    if let Some(node) = node {
        pod["spec"]["nodeName"] = node.into();
        let tolerations = &mut pod["spec"]["tolerations"];
        if tolerations.is_null() {
            *tolerations = json!([]);
        }
        for (key, effect) in
            [("unschedulable", "NoSchedule"), ("not-ready", "NoExecute"), ("unreachable", "NoExecute")]
        {
            let key = format!("node.kubernetes.io/{key}");
            if let Some(all) = tolerations.as_array_mut() {
                all.push(json!({"key": key, "operator": "Exists", "effect": effect}));
            }
        }
    }
    defaults::fill(&mut pod);
    store.put(pod);
}

fn metadata(owner: &Value, name: &str) -> Value {
    json!({
        "name": name, "namespace": namespace(owner),
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": owner["kind"], "name": self::name(owner),
            "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true}],
    })
}

fn pods_of(store: &Store, set: &Value) -> Vec<Arc<Value>> {
    let mut pods = store.select("pods", Some(namespace(set)));
    pods.retain(|pod| is_owned(pod, set));
    pods
}

fn is_owned(object: &Value, owner: &Value) -> bool {
    controller(object).is_some_and(|one| one["uid"] == owner["metadata"]["uid"])
}

fn has_template(set: &Value) -> bool {
    set["spec"]["template"]["spec"]["containers"].is_array()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}
