//! Three machines, of which the first is to be remediated.

use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::Machines;
use serde_json::{Value, json};

use super::{Run, Running, World, run};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

pub struct Fleet<'w> {
    pub world: &'w World,
    pub machines: Machines,
    /// The one that is remediated, and the other two.
    pub node: String,
    pub second: String,
    pub third: String,
}

impl<'w> Fleet<'w> {
    pub fn new(world: &'w World) -> Self {
        let machines = world.machines(&["w1", "w2", "w3"]);
        Self::of(world, machines)
    }

    /// Of machines `w1`, `w2` and `w3`.
    pub fn of(world: &'w World, machines: Machines) -> Self {
        let [node, second, third] = ["w1", "w2", "w3"].map(|short| world.name(short));
        Self { world, machines, node, second, third }
    }

    /// `remediate` as a script runs it, on nodes of this world and quickly; `more` may override each of these flags.
    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = self.world.command(&["remediate", "--yes", "--prefix", &self.world.prefix()]);
        let flags = [
            ("--max-unavailable", "100%"),
            ("--skip", "collect"),
            ("--lease-duration", "3s"),
            ("--stable-for", "1s"),
        ];
        for (flag, value) in flags {
            if !more.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command.args(more);
        command
    }

    /// The same on the first node, until it ends.
    pub fn remediate(&self, more: &[&str]) -> Run {
        run(&mut self.command(&[&[self.node.as_str()], more].concat()))
    }

    /// The same, not yet ended.
    pub fn begin(&self, more: &[&str]) -> Running {
        self.begin_as("tester", more)
    }

    /// By this person.
    pub fn begin_as(&self, user: &str, more: &[&str]) -> Running {
        let mut command = self.command(&[&[self.node.as_str()], more].concat());
        Running::start(command.env("USER", user), str::to_owned)
    }

    /// What there is of a remediation on the first node, `null` if nothing.
    pub fn record(&self) -> Value {
        let node = self.world.get_node(&self.node);
        let record = node["metadata"]["annotations"]["sciuro.dev/remediation"].as_str();
        record.map_or(Value::Null, |record| serde_json::from_str(record).expect("a record"))
    }

    #[track_caller]
    pub fn until_in(&self, state: &str) {
        self.until(state, || self.record()["state"] == state);
    }

    #[track_caller]
    pub fn until(&self, what: &str, so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(40);
        while !so() {
            assert!(
                Instant::now() < deadline,
                "not in 40 s: {what}; {:#}",
                self.world.get_node(&self.node)["metadata"]["annotations"]
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_cordoned(&self) -> bool {
        self.world.get_node(&self.node)["spec"]["unschedulable"] == true
    }

    pub fn patch(&self, node: &str, patch: &Value) {
        self.world.request("PATCH", &format!("/api/v1/nodes/{node}"), MERGE, patch);
    }

    pub fn uncordon(&self) {
        self.patch(&self.node, &json!({"spec": {"unschedulable": null}}));
    }

    /// What a remediation changes of the first node. Taints come and go with its conditions.
    pub fn face(&self) -> Value {
        let node = self.world.get_node(&self.node);
        json!([node["spec"]["unschedulable"], node["metadata"]["annotations"], node["metadata"]["labels"]])
    }

    /// How often the first machine was told to reboot, and how often it did.
    pub fn orders(&self) -> (u32, u32) {
        let facts = self.machines.facts(&self.node).expect("a machine");
        (facts.orders, facts.reboots)
    }

    pub fn boot_id(&self) -> String {
        self.machines.facts(&self.node).expect("a machine").boot_id
    }

    /// Nobody has been told to reboot, and no pod is left that could.
    #[track_caller]
    pub fn never_rebooted(&self) {
        for node in [&self.node, &self.second, &self.third] {
            let facts = self.machines.facts(node).expect("a machine");
            assert_eq!((facts.orders, facts.reboots), (0, 0), "{node}");
        }
        self.nothing_is_left();
    }

    /// Of our helper pods; and nobody holds the node's Lease.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        assert_eq!(self.helpers(), Vec::<String>::new());
        let path =
            format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/sciuro-node-{}", self.node);
        if let Ok(lease) = self.world.try_api("GET", &path, JSON, &Value::Null) {
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            assert_eq!(holder, "", "{lease:#}");
        }
    }

    /// The names of our helper pods on the first machine.
    pub fn helpers(&self) -> Vec<String> {
        self.helper_pods()
            .iter()
            .map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned())
            .collect()
    }

    /// The UIDs of those whose names begin so.
    pub fn helper_uids(&self, name: &str) -> Vec<String> {
        let is_meant = |pod: &&Value| pod["metadata"]["name"].as_str().is_some_and(|it| it.starts_with(name));
        self.helper_pods().iter().filter(is_meant).map(|pod| pod["metadata"]["uid"].to_string()).collect()
    }

    fn helper_pods(&self) -> Vec<Value> {
        let path = format!(
            "/api/v1/pods?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dkubectl-sciuro&fieldSelector=spec.nodeName%3D{}",
            self.node
        );
        let pods = self.world.request("GET", &path, JSON, &Value::Null);
        pods["items"].as_array().cloned().unwrap_or_default()
    }

    /// A pod on the first node under a budget that allows no eviction; returns the namespace. It needs `--force`.
    pub fn stubborn_pod(&self) -> String {
        let namespace = self.world.namespace("app");
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let pod = |name: &str, place: Value| {
            let mut pod = json!({"metadata": {"name": name, "labels": {"app": "stubborn"}}, "spec": {
                "automountServiceAccountToken": false, "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
            pod["spec"].as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
            pod
        };
        self.world.create(&pods, &pod("stubborn", json!({"nodeName": self.node})));
        // One more that starts nowhere: with it the budget is exhausted, and not one that never allows anything.
        self.world.create(&pods, &pod("waits", json!({"nodeSelector": {"no-such-label": "here"}})));
        let budgets = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets");
        self.world.create(
            &budgets,
            &json!({"metadata": {"name": "stubborn"}, "spec": {"minAvailable": 1,
                "selector": {"matchLabels": {"app": "stubborn"}}}}),
        );
        let budget = format!("{budgets}/stubborn");
        self.until("a budget that has counted its pods", || {
            let status = &self.world.request("GET", &budget, JSON, &Value::Null)["status"];
            status["currentHealthy"] == 1 && status["expectedPods"] == 2
        });
        namespace
    }

    /// Lets the pod go.
    pub fn free(&self, namespace: &str) {
        let budget = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/stubborn");
        self.world.request("DELETE", &budget, JSON, &Value::Null);
    }
}
