//! The status of disruption budgets (`pkg/controller/disruption/disruption.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{change, controller, is_ending, is_ready};
use crate::api::selector::selects;
use crate::api::store::Store;
use crate::time;

pub(super) fn settle(store: &mut Store) {
    for budget in store.select("poddisruptionbudgets", None) {
        let namespace = budget["metadata"]["namespace"].as_str().unwrap_or_default();
        let mut pods = store.select("pods", Some(namespace));
        pods.retain(|pod| selects(&budget["spec"]["selector"], &pod["metadata"]["labels"]));
        let counted = count(store, &budget, &pods);
        change(store, "poddisruptionbudgets", &budget, |budget| match counted {
            Ok(counted) => write(budget, &counted),
            Err(why) => {
                budget["status"]["disruptionsAllowed"] = 0.into();
                allowed(budget, "False", "SyncFailed", &why);
            }
        });
    }
}

/// How long a pod that was to be evicted counts as gone though it is still there.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

struct Count {
    /// Pods that were to be evicted and are still there.
    disrupted: Map<String, Value>,
    healthy: i64,
    desired: i64,
    expected: i64,
}

fn count(store: &Store, budget: &Value, pods: &[Arc<Value>]) -> Result<Count, String> {
    let spec = &budget["spec"];
    let (desired, expected) = if !spec["maxUnavailable"].is_null() {
        let expected = scale(store, pods)?;
        ((expected - scaled(&spec["maxUnavailable"], expected)).max(0), expected)
    } else if spec["minAvailable"].is_string() {
        let expected = scale(store, pods)?;
        (scaled(&spec["minAvailable"], expected), expected)
    } else {
        (spec["minAvailable"].as_i64().unwrap_or(1), i64::try_from(pods.len()).unwrap_or(0))
    };
    let is_recent = |time: &Value| {
        let time = time.as_str().and_then(|time| time.parse::<Timestamp>().ok());
        time.is_some_and(|time| time + DELETION_TIMEOUT > Timestamp::now())
    };
    let mut disrupted = budget["status"]["disruptedPods"].as_object().cloned().unwrap_or_default();
    disrupted.retain(|name, time| {
        is_recent(time) && pods.iter().any(|pod| pod["metadata"]["name"] == *name && !is_ending(pod))
    });
    let is_disrupted = |pod: &Value| disrupted.keys().any(|name| pod["metadata"]["name"] == *name);
    let healthy = pods.iter().filter(|pod| !is_ending(pod) && !is_disrupted(pod) && is_ready(pod)).count();
    Ok(Count { disrupted, healthy: i64::try_from(healthy).unwrap_or(0), desired, expected })
}

/// A number, or a percentage rounded up.
fn scaled(value: &Value, of: i64) -> i64 {
    let percentage =
        value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|text| text.parse::<i64>().ok());
    percentage.map_or_else(|| value.as_i64().unwrap_or(0), |percentage| (of * percentage + 99) / 100)
}

/// How many pods the controllers of these want. Pods without one do not count.
fn scale(store: &Store, pods: &[Arc<Value>]) -> Result<i64, String> {
    let mut scales = BTreeMap::new();
    for pod in pods {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
        let Some(owner) = controller(pod) else { continue };
        let resource = match owner["kind"].as_str().unwrap_or_default() {
            "ReplicaSet" => "replicasets",
            "StatefulSet" => "statefulsets",
            _ => "",
        };
        let name = owner["name"].as_str().unwrap_or_default();
        let found = store.get(resource, text("namespace"), name);
        let found = found.filter(|found| found["metadata"]["uid"] == owner["uid"]);
        let found = found.ok_or_else(|| format!("found no controllers for pod {:?}", text("name")))?;
        scales.insert(owner["uid"].to_string(), found["spec"]["replicas"].as_i64().unwrap_or(1));
    }
    Ok(scales.values().sum())
}

fn write(budget: &mut Value, count: &Count) {
    if count.disrupted.is_empty() {
        budget["status"].as_object_mut().map(|status| status.remove("disruptedPods"));
    } else {
        budget["status"]["disruptedPods"] = count.disrupted.clone().into();
    }
    let allowed_now = if count.expected <= 0 { 0 } else { (count.healthy - count.desired).max(0) };
    let status = &mut budget["status"];
    status["currentHealthy"] = count.healthy.into();
    status["desiredHealthy"] = count.desired.into();
    status["expectedPods"] = count.expected.into();
    status["disruptionsAllowed"] = allowed_now.into();
    budget["status"]["observedGeneration"] = budget["metadata"]["generation"].clone();
    match allowed_now {
        0 => allowed(budget, "False", "InsufficientPods", ""),
        _ => allowed(budget, "True", "SufficientPods", ""),
    }
}

fn allowed(budget: &mut Value, status: &str, reason: &str, message: &str) {
    let old = &budget["status"]["conditions"][0];
    let since = if old["status"] == status { old["lastTransitionTime"].clone() } else { time::now().into() };
    budget["status"]["conditions"] = json!([{
        "type": "DisruptionAllowed", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since, "observedGeneration": budget["metadata"]["generation"],
    }]);
}
