//! `pods/NAME/eviction` (`pkg/registry/core/pod/storage/eviction.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::controllers::is_ready;
use super::deletion;
use super::route::Info;
use super::selector::selects;
use super::status::{Result, Status};
use super::store::Store;
use crate::http::{Reply, Request};
use crate::time;

pub(super) fn evict(store: &mut Store, info: &Info, request: &Request) -> Result<Reply> {
    let eviction = request.json();
    if eviction["kind"] != "Eviction" {
        return Err(Status::bad_request("the object provided is unrecognized (must be of type Eviction)"));
    }
    let namespace = info.namespace.as_deref().unwrap_or_default();
    if let Some(refusal) = terminating(store, info, namespace) {
        return Err(refusal);
    }
    if eviction["metadata"]["name"] != info.name.as_str() {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = &eviction["deleteOptions"];
    let dry_run =
        request.parameter("dryRun").as_deref() == Some("All") || options["dryRun"] == json!(["All"]);
    let pod = store.get("pods", namespace, &info.name).cloned();
    let pod = pod.ok_or_else(|| Status::not_found(info.resource, &info.name))?;

    let budget = if is_beyond_budgets(&pod) { None } else { budget_of(store, namespace, &pod)? };
    if let Some(budget) = budget
        && !is_free_of(&pod, &budget)
    {
        decrement(&budget)?;
        if !dry_run {
            // Before the pod is deleted: when that is refused, the budget is less all the same, for two minutes.
            let name = budget["metadata"]["name"].as_str().unwrap_or_default();
            store.update("poddisruptionbudgets", namespace, name, |budget| {
                budget["status"]["disruptedPods"][&info.name] = time::now().into();
            });
        }
    }
    for (field, title) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let (given, live) = (&options["preconditions"][field], &pod["metadata"][field]);
        if let Some(given) = given.as_str().filter(|given| live != *given) {
            let live = live.as_str().unwrap_or_default();
            return Err(Status::precondition(info.resource, &info.name, title, given, live));
        }
    }
    if !dry_run {
        let mut target = pod.clone();
        disrupt(&mut target);
        match deletion::begin(info.resource, &target, options) {
            Some(ending) => store.update("pods", namespace, &info.name, |pod| *pod = ending),
            None => drop(store.remove("pods", namespace, &info.name)),
        }
    }
    let done =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Reply::json(201, &done))
}

/// Nothing is created in a namespace that ends (the admission `NamespaceLifecycle`).
pub(super) fn terminating(store: &Store, info: &Info, namespace: &str) -> Option<Status> {
    let ends = store.get("namespaces", "", namespace)?["metadata"]["deletionTimestamp"].is_string();
    ends.then(|| Status::terminating(info.resource, &info.name, namespace))
}

/// What is no disruption any more.
fn is_beyond_budgets(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_string()
        || ["Succeeded", "Failed", "Pending"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
}

fn budget_of(store: &Store, namespace: &str, pod: &Value) -> Result<Option<Arc<Value>>> {
    let mut budgets = store.select("poddisruptionbudgets", Some(namespace));
    budgets.retain(|budget| selects(&budget["spec"]["selector"], &pod["metadata"]["labels"]));
    if budgets.len() > 1 {
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status::storage(why));
    }
    Ok(budgets.pop())
}

/// A pod that is not ready does not count, if its budget says so or is met.
fn is_free_of(pod: &Value, budget: &Value) -> bool {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let is_met = number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0;
    !is_ready(pod) && (budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" || is_met)
}

fn decrement(budget: &Value) -> Result<()> {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(Status::disruption_budget(&why, 10));
    }
    if number("disruptionsAllowed") > 0 {
        return Ok(());
    }
    let (desired, healthy) = (number("desiredHealthy"), number("currentHealthy"));
    let condition = &budget["status"]["conditions"][0];
    let message = condition["message"].as_str().unwrap_or_default();
    let why = if condition["reason"] == "SyncFailed" && !message.is_empty() {
        format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
        )
    } else if healthy <= desired {
        format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    } else {
        format!("The disruption budget {name} does not allow evicting pods currently")
    };
    Err(Status::disruption_budget(&why, 0))
}

/// Notes why the pod ends.
fn disrupt(pod: &mut Value) {
    let conditions = &mut pod["status"]["conditions"];
    if conditions.is_null() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    conditions.retain(|condition| condition["type"] != "DisruptionTarget");
    conditions.push(json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": time::now(),
    }));
}
