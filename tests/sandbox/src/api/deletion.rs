//! What a deletion does (`apiserver/pkg/registry/rest/delete.go`, `BeforeDelete`; `pod/strategy.go`,
//! `CheckGracefulDelete`): pods get their grace, finalizers hold an object back.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::resource::Resource;
use crate::time;

/// The object as it is from now on; `None`: it is gone.
pub(super) fn begin(resource: &Resource, old: &Value, options: &Value) -> Option<Value> {
    let mut new = old.clone();
    if resource.plural == "pods" && graceful(&mut new, options) {
        return Some(new);
    }
    if resource.plural == "namespaces" {
        new["status"]["phase"] = "Terminating".into();
        new["metadata"]["deletionTimestamp"] = time::now().into();
        return Some(new); // its controller ends it
    }
    if is_held(old) {
        mark(&mut new, 0);
        return Some(new);
    }
    None
}

/// Whether an update has removed the last finalizer of what was only waiting for that.
pub(super) fn is_due(object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["deletionTimestamp"].is_string()
        && object["kind"] != "Namespace"
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !is_held(object)
}

fn is_held(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// Whether the pod goes on for a while.
fn graceful(pod: &mut Value, options: &Value) -> bool {
    // Negative values count as 1 s.
    let wanted = options["gracePeriodSeconds"].as_i64().map(|wanted| if wanted < 0 { 1 } else { wanted });
    if let Some(pending) = pod["metadata"]["deletionGracePeriodSeconds"].as_i64() {
        // A grace may only be shortened.
        return match wanted {
            _ if pending == 0 => false,
            Some(wanted) if wanted < pending => {
                let began = pod["metadata"]["deletionTimestamp"].as_str().and_then(|text| text.parse().ok());
                let end = began.unwrap_or_else(Timestamp::now) - SignedDuration::from_secs(pending - wanted);
                if end < Timestamp::now() && wanted != 0 {
                    mark(pod, 1);
                } else if wanted != 0 {
                    mark(pod, wanted);
                    pod["metadata"]["deletionTimestamp"] = time::seconds(end).into();
                }
                wanted != 0
            }
            _ => true,
        };
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    let mut period = wanted.or(own).unwrap_or(0);
    let is_bound = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let is_over = ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default());
    if !is_bound || is_over {
        period = 0;
    }
    if period == 0 {
        return false;
    }
    mark(pod, period);
    true
}

fn mark(object: &mut Value, period: i64) {
    let metadata = &mut object["metadata"];
    if metadata["deletionTimestamp"].is_null() || period > 0 {
        metadata["deletionTimestamp"] =
            time::seconds(Timestamp::now() + SignedDuration::from_secs(period)).into();
    }
    metadata["deletionGracePeriodSeconds"] = json!(period);
}
