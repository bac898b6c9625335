//! A node that is remediated, a node beside it that takes what has to go, and what runs on them: whatever the machines are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Run, World, run};
use crate::watch::eventually;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// The annotations of a remediation under way, and of the last one.
const RECORD: &str = "sciuro.dev/remediation";
const LAST: &str = "sciuro.dev/last-remediation";

pub struct Ground<'w> {
    pub world: &'w World,
    /// Where the pods are, and the Leases unless told otherwise: scenarios on one control plane do not wait for each other.
    pub namespace: String,
    /// The namespace of the Leases.
    pub leases: String,
    pub node: String,
    pub spare: String,
}

impl<'w> Ground<'w> {
    pub fn new(world: &'w World, node: String, spare: String) -> Self {
        let namespace = world.namespace("shop");
        Self { world, leases: namespace.clone(), namespace, node, spare }
    }

    /// Pods of this world go to this node, too, and to none that it was not said of.
    pub fn opens(&self, node: &str) {
        self.patch(node, &json!({"metadata": {"labels": {self.world.id(): "here"}}}));
    }

    pub fn patch(&self, node: &str, patch: &Value) {
        self.world.request("PATCH", &format!("/api/v1/nodes/{node}"), MERGE_PATCH, patch);
    }

    /// As somebody else does it.
    pub fn cordon(&self, node: &str, on: bool) {
        self.patch(node, &json!({"spec": {"unschedulable": on}}));
    }

    fn pod(&self, app: &str, more: &Value) -> Value {
        let mut spec = json!({"automountServiceAccountToken": false, "nodeSelector": {self.world.id(): "here"},
            "containers": [{"name": "c", "image": "registry.example/c:1"}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"labels": {"app": app}}, "spec": spec})
    }

    pub fn workload(&self, resource: &str, kind: &str, app: &str, replicas: u32, more: &Value) {
        let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": app}, "spec": {
            "selector": {"matchLabels": {"app": app}}, "template": self.pod(app, more)}});
        if kind != "DaemonSet" {
            object["spec"]["replicas"] = replicas.into();
        }
        if kind == "StatefulSet" {
            object["spec"]["serviceName"] = app.into();
        }
        self.world.create(&format!("/apis/apps/v1/namespaces/{}/{resource}", self.namespace), &object);
    }

    /// Which nobody makes anew.
    pub fn bare_pod(&self, app: &str) {
        let mut pod = self.pod(app, &json!({"nodeName": self.node}));
        pod["metadata"]["name"] = app.into();
        self.world.create(&format!("/api/v1/namespaces/{}/pods", self.namespace), &pod);
    }

    /// Over an app's pods, once they are counted.
    pub fn budget(&self, app: &str, demand: &Value) {
        let mut budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app},
            "spec": {"selector": {"matchLabels": {"app": app}}}});
        budget["spec"].as_object_mut().unwrap().extend(demand.as_object().unwrap().clone());
        self.world.create(&self.budgets(), &budget);
        eventually("a budget that has counted", || {
            let budget = self.world.request("GET", &format!("{}/{app}", self.budgets()), JSON, &Value::Null);
            budget["status"]["currentHealthy"].as_u64().is_some_and(|healthy| healthy > 0)
        });
    }

    /// Over the one pod of an app, with one more that starts nowhere: it is exhausted, and not one that never allows anything.
    pub fn exhausted_budget(&self, app: &str) {
        let mut pod = self.pod(app, &json!({"nodeSelector": {"no-such-label": "here"}}));
        pod["metadata"]["name"] = format!("{app}-waits").into();
        self.world.create(&format!("/api/v1/namespaces/{}/pods", self.namespace), &pod);
        self.budget(app, &json!({"minAvailable": 1}));
        eventually("a budget that has counted both", || {
            let budget = self.world.request("GET", &format!("{}/{app}", self.budgets()), JSON, &Value::Null);
            budget["status"]["expectedPods"] == 2
        });
    }

    /// Over the same pods as that of an app, which no server allows.
    pub fn second_budget(&self, app: &str) {
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": format!("{app}-too")},
            "spec": {"selector": {"matchLabels": {"app": app}}, "minAvailable": 0}});
        self.world.create(&self.budgets(), &budget);
    }

    fn budgets(&self) -> String {
        format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", self.namespace)
    }

    pub fn remove_budget(&self, app: &str) {
        self.world.request("DELETE", &format!("{}/{app}", self.budgets()), JSON, &Value::Null);
    }

    pub fn until_running(&self, count: usize) {
        eventually(&format!("{count} pods that run"), || {
            self.pods(&self.node).iter().filter(|pod| pod["status"]["phase"] == "Running").count() == count
        });
    }

    /// The pods on a node, in this scene's namespace.
    pub fn pods(&self, node: &str) -> Vec<Value> {
        let path = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let mut pods = self.items(&path);
        pods.retain(|pod| pod["spec"]["nodeName"] == node);
        pods
    }

    /// The apps of the pods on a node that stay, sorted.
    pub fn apps(&self, node: &str) -> Vec<String> {
        let mut pods = self.pods(node);
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let mut apps: Vec<_> = pods
            .iter()
            .map(|pod| pod["metadata"]["labels"]["app"].as_str().unwrap_or("static").to_owned())
            .collect();
        apps.sort();
        apps
    }

    fn items(&self, path: &str) -> Vec<Value> {
        self.world.request("GET", path, JSON, &Value::Null)["items"].as_array().cloned().unwrap_or_default()
    }

    /// Where this scene's bundles go.
    pub fn directory(&self) -> PathBuf {
        let home = self.world.file("home", "");
        home.parent().expect("a directory").join("bundles")
    }

    /// The flags of a run on this scene's node, which does not mind other tests' nodes and takes no longer than it must.
    pub fn flags(&self) -> Vec<String> {
        vec![
            self.node.clone(),
            format!("--lease-namespace={}", self.leases),
            "--max-unavailable=100%".into(),
            "--stable-for=1s".into(),
            format!("--output-dir={}", self.directory().display()),
        ]
    }

    pub fn command(&self, more: &[&str]) -> Command {
        let mut flags = self.flags();
        let name = |flag: &str| flag.split('=').next().map(str::to_owned);
        flags.retain(|flag| !more.iter().any(|other| name(other) == name(flag)));
        let mut arguments = vec!["remediate"];
        arguments.extend(flags.iter().map(String::as_str));
        arguments.extend(more);
        self.world.command(&arguments)
    }

    pub fn remediate(&self, more: &[&str]) -> Run {
        run(&mut self.command(more))
    }

    /// An annotation of the node that is JSON.
    fn annotation(&self, key: &str) -> Option<Value> {
        let node = self.world.get_node(&self.node);
        let text = node["metadata"]["annotations"][key].as_str()?;
        Some(serde_json::from_str(text).expect("JSON"))
    }

    pub fn record(&self) -> Option<Value> {
        self.annotation(RECORD)
    }

    pub fn until_state(&self, state: &str) {
        eventually(state, || self.record().is_some_and(|record| record["state"] == state));
    }

    pub fn is_cordoned(&self) -> bool {
        self.world.get_node(&self.node)["spec"]["unschedulable"] == true
    }

    /// Cordoned, with a record that says so, and its Lease free.
    #[track_caller]
    pub fn is_stopped_in(&self, state: &str) {
        assert_eq!(self.record().expect("a record")["state"], state);
        assert_eq!(self.lease_holder(), None);
        assert!(self.is_cordoned());
    }

    /// Who holds the node's Lease.
    pub fn lease_holder(&self) -> Option<String> {
        let leases = "/apis/coordination.k8s.io/v1/namespaces";
        let path = format!("{leases}/{}/leases/sciuro-node-{}", self.leases, self.node);
        let lease = self.world.try_api("GET", &path, JSON, &Value::Null).ok()?;
        lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(str::to_owned)
    }

    /// The pods by which the node is asked or rebooted.
    pub fn helpers(&self) -> Vec<String> {
        let mut pods =
            self.items("/api/v1/namespaces/kube-system/pods?labelSelector=sciuro.dev%2Fremediation");
        pods.retain(|pod| pod["spec"]["nodeName"] == self.node.as_str());
        pods.iter().map(|pod| pod["metadata"]["name"].to_string()).collect()
    }

    /// What Events say of the node, by their reason.
    pub fn events(&self) -> BTreeSet<String> {
        let events = self.items("/api/v1/namespaces/default/events");
        let ours = events.iter().filter(|event| event["involvedObject"]["name"] == self.node.as_str());
        ours.map(|event| event["reason"].as_str().unwrap_or_default().to_owned())
            .filter(|reason| reason.starts_with("Sciuro"))
            .collect()
    }

    /// Nothing of a remediation is left but what tells of it.
    #[track_caller]
    pub fn is_over(&self, outcome: &str) {
        assert_eq!(self.record(), None);
        assert_eq!(self.annotation(LAST).expect("a trace")["outcome"], outcome);
        assert_eq!(self.helpers(), [""; 0]);
        assert_eq!(self.lease_holder(), None);
        assert!(self.condition().is_none(), "{:?}", self.condition());
    }

    /// Remediated by this boot, uncordoned, and nothing is left.
    #[track_caller]
    pub fn is_remediated_by(&self, boot_id: &str) {
        self.is_over("remediated");
        assert!(!self.is_cordoned());
        assert_eq!(self.world.get_node(&self.node)["status"]["nodeInfo"]["bootID"], boot_id);
        assert_eq!(self.annotation(LAST).expect("a trace")["bootID"], boot_id);
    }

    /// The condition that says what is under way.
    pub fn condition(&self) -> Option<Value> {
        let conditions = self.world.foreign(&self.node);
        conditions.into_iter().find(|condition| condition["type"] == "SciuroRemediation")
    }

    /// The only bundle: its members and their content. What is in it is nobody else's business.
    pub fn bundle(&self) -> BTreeMap<String, String> {
        let text = |content: Vec<u8>| String::from_utf8(content).expect("text");
        self.members().into_iter().map(|(name, content)| (name, text(content))).collect()
    }

    pub fn members(&self) -> BTreeMap<String, Vec<u8>> {
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        let directory = self.directory();
        assert_eq!(mode(&directory), 0o700);
        let files: Vec<_> = std::fs::read_dir(&directory).expect("bundles").collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let path = files.into_iter().next().expect("a file").expect("a file").path();
        assert_eq!(mode(&path), 0o600);
        let file = std::fs::File::open(path).expect("a file");
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(file));
        let mut members = BTreeMap::new();
        for member in archive.entries().expect("an archive") {
            let mut member = member.expect("a member");
            assert_eq!(member.header().mode().expect("a mode"), 0o600);
            let name = member.path().expect("a name").display().to_string();
            let mut content = Vec::new();
            member.read_to_end(&mut content).expect("content");
            members.insert(name, content);
        }
        members
    }
}
