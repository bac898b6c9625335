//! The status of a pod, as a kubelet writes it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{NEVER_READY, Pod};
use crate::fnv;
use crate::kubelet::names::internal_ip;
use crate::time;

/// How a container has ended.
pub(super) struct Ended<'e> {
    pub(super) code: i64,
    pub(super) reason: &'e str,
    pub(super) message: &'e str,
}

impl Ended<'_> {
    pub(super) fn of_code(code: i64) -> Self {
        Self { code, reason: if code == 0 { "Completed" } else { "Error" }, message: "" }
    }

    pub(super) fn state(&self, container: &str) -> Value {
        let now = time::now();
        let mut state = json!({"exitCode": self.code, "reason": self.reason, "startedAt": now, "finishedAt": now,
            "containerID": container});
        if !self.message.is_empty() {
            state["message"] = self.message.into();
        }
        json!({"terminated": state})
    }
}

/// All containers run, once more than the pod says if they are `restarted`.
pub(super) fn running(pod: &Pod, restarted: Option<&Ended>) -> Value {
    let ready = pod.annotation(NEVER_READY).is_none();
    let now = time::now();
    let containers = containers(pod, |name, old| {
        let mut status = json!({"ready": ready, "started": true, "state": {"running": {"startedAt": now}},
            "restartCount": old["restartCount"].as_i64().unwrap_or(0) + i64::from(restarted.is_some())});
        if let Some(ended) = restarted {
            status["lastState"] = ended.state(&container_id(pod, name, &status));
        }
        status
    });
    status(pod, "Running", ready, "ContainersNotReady", &containers)
}

/// All containers wait, for this reason.
pub(super) fn waiting(pod: &Pod, reason: &str, message: &str) -> Value {
    let containers = containers(pod, |_, old| {
        json!({"ready": false, "started": false, "restartCount": old["restartCount"].as_i64().unwrap_or(0),
            "state": {"waiting": {"reason": reason, "message": message}}})
    });
    status(pod, "Pending", false, "ContainersNotReady", &containers)
}

/// All containers have ended.
pub(super) fn ended(pod: &Pod, phase: &str, ended: &Ended) -> Value {
    let containers = containers(pod, |name, old| {
        let status = json!({"ready": false, "started": false,
            "restartCount": old["restartCount"].as_i64().unwrap_or(0)});
        let id = container_id(pod, name, &status);
        json!({"ready": false, "started": false, "restartCount": status["restartCount"], "state": ended.state(&id)})
    });
    let reason = match phase {
        "Succeeded" => "PodCompleted",
        "Failed" => "PodFailed",
        _ => "ContainersNotReady",
    };
    status(pod, phase, false, reason, &containers)
}

/// Its first container is in this state, and the others wait for its end.
pub(super) fn initializing(pod: &Pod, phase: &str, state: &Value) -> Value {
    let others = containers(pod, |_, _| {
        json!({"ready": false, "started": false, "restartCount": 0,
            "state": {"waiting": {"reason": "PodInitializing"}}})
    });
    let init = &pod.0["spec"]["initContainers"][0];
    let mut patch = status(pod, phase, false, NOT_INITIALIZED, &others);
    patch["status"]["initContainerStatuses"] = json!([{
        "name": init["name"], "image": init["image"], "imageID": "", "restartCount": 0,
        "ready": state["terminated"]["exitCode"] == 0, "started": state["running"].is_object(), "state": state}]);
    patch
}

/// Why the containers of a pod are not Ready while its first one has not ended.
const NOT_INITIALIZED: &str = "ContainersNotInitialized";

/// Of each container what `make` says of its name and its status so far, and what is always the same.
fn containers(pod: &Pod, make: impl Fn(&str, &Value) -> Value) -> Vec<Value> {
    let old = pod.0["status"]["containerStatuses"].as_array();
    let all = pod.containers().map(|container| {
        let name = container["name"].as_str().unwrap_or_default();
        let old = old.into_iter().flatten().find(|old| old["name"] == name).unwrap_or(&Value::Null);
        let mut status = make(name, old);
        status["name"] = name.into();
        status["image"] = container["image"].clone();
        status["imageID"] = "".into();
        if status["started"] == true {
            status["containerID"] = container_id(pod, name, &status).into();
        }
        status
    });
    all.collect()
}

/// Another one after each restart.
fn container_id(pod: &Pod, name: &str, status: &Value) -> String {
    let hash = fnv::hash(format!("{}{name}{}", pod.uid(), status["restartCount"]).bytes());
    format!("containerd://{hash:016x}{hash:016x}{hash:016x}{hash:016x}")
}

/// The patch of a status.
fn status(pod: &Pod, phase: &str, ready: bool, reason: &str, containers: &[Value]) -> Value {
    let since = |kind: &str, status: bool| {
        let old = pod.0["status"]["conditions"].as_array().into_iter().flatten();
        let status = if status { "True" } else { "False" };
        let mut old = old.filter(|old| old["type"] == kind && old["status"] == status);
        old.find_map(|old| old["lastTransitionTime"].as_str()).map_or_else(time::now, str::to_owned)
    };
    let conditions: Vec<Value> = [
        ("PodReadyToStartContainers", phase == "Running" || phase == "Pending"),
        ("Initialized", reason != NOT_INITIALIZED),
        ("Ready", ready),
        ("ContainersReady", ready),
        ("PodScheduled", true),
    ]
    .into_iter()
    .map(|(kind, is)| {
        let mut condition = json!({"type": kind, "status": if is { "True" } else { "False" }, "lastProbeTime": null,
            "lastTransitionTime": since(kind, is), "reason": null, "message": null});
        if kind.ends_with("Ready") && !is {
            condition["reason"] = reason.into();
        }
        condition
    })
    .collect();
    let host = internal_ip(pod.node()).to_string();
    let [high, low] = u16::try_from(fnv::hash(pod.uid().bytes()) & 0xffff).unwrap_or(0).to_be_bytes();
    let ip = if pod.0["spec"]["hostNetwork"] == true { host.clone() } else { format!("10.244.{high}.{low}") };
    let started = match pod.text("/status/startTime") {
        "" => time::seconds(Timestamp::now()),
        started => started.to_owned(),
    };
    json!({"metadata": {"uid": pod.uid()}, "status": {
        "phase": phase, "conditions": conditions, "containerStatuses": containers, "startTime": started,
        "hostIP": host, "hostIPs": [{"ip": host}], "podIP": ip, "podIPs": [{"ip": ip}],
    }})
}
