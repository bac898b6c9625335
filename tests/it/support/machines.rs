//! Nodes whose machines reboot, are switched off and come back, and namespaces for what runs on them.

use std::time::{Duration, Instant};

use sandbox::{Kubelet, KubeletOptions, Machines};
use serde_json::{Value, json};

use super::World;

impl World {
    /// Registers nodes, and gives a hold of their machines until the world ends. Their Leases are renewed each second, so
    /// that a proof which wants to see that needs no ten; and their pods have logs.
    pub fn machines(&self, shorts: &[&str]) -> Machines {
        let options = KubeletOptions {
            lease_period: Some(Duration::from_secs(1)),
            ..KubeletOptions::names(shorts.iter().map(|short| self.name(short)))
        };
        let kubelet = self.block_on(Kubelet::start(self.config(), options)).expect("kubelets");
        let machines = kubelet.machines();
        if self.doubles.is_none() {
            machines.names().for_each(|name| self.kubelet_servers.serve_logs(name, &machines));
        }
        self.keep(kubelet);
        machines
    }

    /// A namespace of this world's own, in which pods may be created.
    pub fn namespace(&self, short: &str) -> String {
        let name = self.name(short);
        let namespaces = "/api/v1/namespaces";
        self.create(
            namespaces,
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        );
        // Nobody is there any more to end the pods when the world has ended.
        self.leave(format!("{namespaces}/{name}/pods?gracePeriodSeconds=0"));
        if self.doubles.is_none() {
            // The admission of pods wants it; its controller may not have come to it yet.
            let account = format!("{namespaces}/{name}/serviceaccounts/default");
            let deadline = Instant::now() + Duration::from_secs(20);
            while self.try_api("GET", &account, "application/json", &Value::Null).is_err() {
                assert!(Instant::now() < deadline, "namespace {name} has no service account");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        name
    }
}
