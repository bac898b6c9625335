//! Nodes, their kubelets and their conditions.

use jiff::SignedDuration;
use sandbox::{Kubelet, KubeletOptions};
use serde_json::{Value, json};

use super::{World, seconds_ago};

impl World {
    /// Registers nodes as kubelets do, which keep them Ready until the world ends.
    pub fn nodes(&self, shorts: &[&str]) -> Vec<String> {
        let names: Vec<String> = shorts.iter().map(|short| self.name(short)).collect();
        let options = KubeletOptions::names(names.clone());
        let kubelet = self.block_on(Kubelet::start(self.config(), options)).expect("kubelets");
        self.keep(kubelet);
        names
    }

    pub fn node(&self, short: &str) -> String {
        self.nodes(&[short]).remove(0)
    }

    /// Lets kubelets run until the world ends, and takes their nodes away then.
    pub fn keep(&self, kubelet: Kubelet) {
        let paths = kubelet.names().map(|name| format!("/api/v1/nodes/{name}"));
        self.leavings.lock().expect("a lock").extend(paths);
        self.kubelets.lock().expect("a lock").push(kubelet);
    }

    /// A node whose kubelet registered it and then said no more.
    pub fn bare_node(&self, short: &str) -> String {
        let name = self.name(short);
        self.create("/api/v1/nodes", &sandbox::node(&name));
        name
    }

    /// A bare node with exactly this name.
    pub fn node_named(&self, name: &str) {
        self.create("/api/v1/nodes", &sandbox::node(name));
    }

    pub fn get_node(&self, node: &str) -> Value {
        self.request("GET", &format!("/api/v1/nodes/{node}"), "application/json", &Value::Null)
    }

    pub fn delete_node(&self, node: &str) {
        self.request("DELETE", &format!("/api/v1/nodes/{node}"), "application/json", &Value::Null);
    }

    pub fn patch_status(&self, node: &str, content_type: &str, patch: &Value) -> Value {
        self.request("PATCH", &format!("/api/v1/nodes/{node}/status"), content_type, patch)
    }

    /// Conditions with this world's prefix, in the order in which the node has them.
    pub fn owned(&self, node: &str) -> Vec<Value> {
        self.conditions(node, true)
    }

    /// All other conditions.
    pub fn foreign(&self, node: &str) -> Vec<Value> {
        self.conditions(node, false)
    }

    fn conditions(&self, node: &str, ours: bool) -> Vec<Value> {
        let prefix = self.prefix();
        let node = self.get_node(node);
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions
            .into_iter()
            .filter(|condition| condition["type"].as_str().unwrap_or_default().starts_with(&prefix) == ours)
            .collect()
    }

    /// The owned condition of an alert's name.
    pub fn condition(&self, node: &str, alertname: &str) -> Option<Value> {
        let condition_type = self.condition_type(alertname);
        self.owned(node).into_iter().find(|condition| condition["type"] == condition_type.as_str())
    }

    /// Writes an owned condition whose heartbeat and transition are this old.
    pub fn seed(&self, node: &str, alertname: &str, status: &str, message: &str, age: SignedDuration) {
        self.seed_both(node, alertname, status, message, [age, age]);
    }

    /// The same, as a sync that runs keeps it: confirmed 12 minutes ago.
    pub fn seed_confirmed(
        &self,
        node: &str,
        alertname: &str,
        status: &str,
        message: &str,
        age: SignedDuration,
    ) {
        let confirmed = age.min(SignedDuration::from_mins(12));
        self.seed_both(node, alertname, status, message, [age, confirmed]);
    }

    fn seed_both(&self, node: &str, alertname: &str, status: &str, message: &str, ages: [SignedDuration; 2]) {
        let reason = if status == "True" { "AlertIsFiring" } else { "AlertIsNotFiring" };
        let [transition, heartbeat] = ages.map(seconds_ago);
        self.patch_status(node, "application/strategic-merge-patch+json", &json!({"status": {"conditions": [{
            "type": self.condition_type(alertname), "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": heartbeat, "lastTransitionTime": transition,
        }]}}));
    }
}
