//! Two nodes with pods, for a drain of ours and then, anew, for kubectl's.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sciuro::remedy::drain::{DrainFailure, DrainOptions, DrainPlan, Drained, drain, rehearse};
use sciuro::remedy::{News, Tell};
use serde_json::{Value, json};

use crate::support::World;

pub const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: &str = "application/json";

/// What is told during a drain.
#[derive(Default)]
pub struct Told(Mutex<Vec<String>>);

impl Tell for Told {
    fn tell(&self, news: News<'_>) {
        let line = match news {
            News::Line(line) => line.to_owned(),
            News::Hint(line) => format!("hint: {line}"),
            News::PodGone { namespace, name, how } => format!("pod {namespace}/{name} {how}"),
            News::Warning(line) => format!("Warning: {line}"),
            News::Drain { .. } | News::Wait { .. } => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Told {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn says(&self, part: &str) -> &Self {
        let lines = self.lines();
        assert!(lines.iter().any(|line| line.contains(part)), "no {part:?} in {lines:#?}");
        self
    }
}

/// The node that is drained, one beside it, and pods in the namespace `default`.
pub struct Scene<'w> {
    pub world: &'w World,
    tag: String,
    pub node: String,
    pub spare: String,
}

impl<'w> Scene<'w> {
    pub fn new(world: &'w World, tag: &str) -> Self {
        let nodes = world.nodes(&[&format!("{tag}-target"), &format!("{tag}-spare")]);
        let this = Self { world, tag: tag.to_owned(), node: nodes[0].clone(), spare: nodes[1].clone() };
        this.cordon(&this.spare, true);
        this
    }

    /// With a node whose kubelet has been given up.
    pub fn unreachable(world: &'w World, tag: &str) -> Self {
        let node = world.bare_node(&format!("{tag}-target"));
        let ready = json!({"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"});
        let patch = json!({"status": {"conditions": [ready]}});
        world.patch_status(&node, "application/strategic-merge-patch+json", &patch);
        Self { world, tag: tag.to_owned(), spare: node.clone(), node }
    }

    /// This scene's name for something.
    pub fn name(&self, short: &str) -> String {
        self.world.name(&format!("{}-{short}", self.tag))
    }

    pub fn cordon(&self, node: &str, on: bool) {
        let patch = json!({"spec": {"unschedulable": on}});
        self.world.request("PATCH", &format!("/api/v1/nodes/{node}"), "application/merge-patch+json", &patch);
    }

    fn template(&self, app: &str, more: &Value) -> Value {
        let mut pod = json!({
            "metadata": {"labels": {"app": app, "scene": self.name("pods")}},
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{"name": "c", "image": "registry.example/c:1"}],
            },
        });
        merge(&mut pod, more);
        pod
    }

    /// A pod without a controller on the node, Ready.
    pub fn pod(&self, app: &str, more: &Value) {
        self.put_pod(app, more);
        self.until_running(app, 1);
    }

    /// The same, without waiting for it to run.
    pub fn put_pod(&self, app: &str, more: &Value) {
        let mut pod = self.template(app, &json!({"apiVersion": "v1", "kind": "Pod"}));
        merge(&mut pod, &json!({"metadata": {"name": self.name(app)}, "spec": {"nodeName": self.node}}));
        merge(&mut pod, more);
        self.world.create(PODS, &pod);
    }

    /// Pods of a `ReplicaSet`, which may run on both nodes; all are on the target, and Ready.
    pub fn replicas(&self, app: &str, replicas: usize, more: &Value) {
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [self.node, self.spare]}]}]}}});
        let mut template = self.template(app, &json!({"spec": {"affinity": affinity}}));
        merge(&mut template, more);
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": self.name(app)}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": template["metadata"]["labels"]}, "template": template}});
        self.world.create("/apis/apps/v1/namespaces/default/replicasets", &set);
        self.until_running(app, replicas);
    }

    pub fn daemon_set(&self, app: &str, more: &Value) {
        let mut template =
            self.template(app, &json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": self.node}}}));
        merge(&mut template, more);
        let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": self.name(app)}, "spec": {
            "selector": {"matchLabels": template["metadata"]["labels"]}, "template": template}});
        self.world.create("/apis/apps/v1/namespaces/default/daemonsets", &set);
        self.until_running(app, 1);
    }

    /// A disruption budget over an app's pods, once its controller has counted them.
    pub fn budget(&self, name: &str, app: &str, demand: &Value) {
        let mut budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": self.name(name)},
            "spec": {"selector": {"matchLabels": {"app": app, "scene": self.name("pods")}}}});
        merge(&mut budget["spec"], demand);
        let collection = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
        self.world.create(collection, &budget);
        let path = format!("{collection}/{}", self.name(name));
        let pods = self.pods(app).len();
        until("counted pods", || {
            let status = &self.world.request("GET", &path, JSON, &Value::Null)["status"];
            status["currentHealthy"] == pods
        });
    }

    /// What stands before a test begins: busy controllers once took more than 30 s for it.
    fn until_running(&self, app: &str, count: usize) {
        within(120, &format!("{count} pods of {app} on the node"), || {
            let running = |pod: &&Value| {
                pod["status"]["phase"] != "Pending" && pod["spec"]["nodeName"] == self.node.as_str()
            };
            self.pods(app).iter().filter(running).count() == count
        });
    }

    /// The pods of an app, wherever they are.
    pub fn pods(&self, app: &str) -> Vec<Value> {
        let pods = "/api/v1/pods?labelSelector=scene%3D";
        let listed = self.world.request(
            "GET",
            &format!("{pods}{},app%3D{app}", self.name("pods")),
            JSON,
            &Value::Null,
        );
        listed["items"].as_array().cloned().unwrap_or_default()
    }

    /// The pods on the node: uid to app.
    fn here(&self) -> BTreeMap<String, String> {
        let fields = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", self.node);
        let listed = self.world.request("GET", &fields, JSON, &Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = listed["items"].as_array().cloned().unwrap_or_default();
        pods.iter()
            .map(|pod| (text(&pod["metadata"]["uid"]), text(&pod["metadata"]["labels"]["app"])))
            .collect()
    }

    pub fn rehearse(&self, options: &DrainOptions) -> DrainPlan {
        self.world.block_on(rehearse(&self.world.cluster(None), &self.node, options)).expect("a plan")
    }

    /// Cordons and drains as we do.
    pub fn drain(&self, options: &DrainOptions, told: &Told) -> Result<Drained, DrainFailure> {
        self.cordon(&self.node, true);
        self.world.block_on(drain(self.world.cluster(None), &self.node, options, told))
    }

    pub fn kubectl(&self, flags: &[&str]) -> (bool, String) {
        let output = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(self.world.kubeconfig())
            .args(["drain", &self.node, "--ignore-daemonsets"])
            .args(flags)
            .output()
            .expect("kubectl");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// Whether a drain succeeded, and which of the pods that were there at its start are there still, by their app.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub done: bool,
    pub left: Vec<String>,
}

impl Outcome {
    pub fn done(left: &[&str]) -> Self {
        Self { done: true, left: left.iter().map(|app| (*app).to_owned()).collect() }
    }

    pub fn failed(left: &[&str]) -> Self {
        Self { done: false, ..Self::done(left) }
    }

    fn of(done: bool, before: BTreeMap<String, String>, scene: &Scene<'_>) -> Self {
        let after: BTreeSet<String> = scene.here().into_keys().collect();
        let mut left: Vec<_> =
            before.into_iter().filter(|(uid, _)| after.contains(uid)).map(|(_, app)| app).collect();
        left.sort();
        Self { done, left }
    }
}

/// Drains two scenes that are built alike, one as we do and, on the real control plane, one by kubectl: both end in
/// `expected`. Returns what ours said.
#[track_caller]
pub fn drains_alike(
    world: &World,
    build: impl Fn(&Scene<'_>),
    options: &DrainOptions,
    flags: &[&str],
    expected: &Outcome,
) -> (Result<Drained, DrainFailure>, Told) {
    let scene = Scene::new(world, "ours");
    build(&scene);
    let (before, told) = (scene.here(), Told::default());
    let ours = scene.drain(options, &told);
    let outcome = Outcome::of(ours.is_ok(), before, &scene);
    assert_eq!(&outcome, expected, "ours: {ours:#?}, {:#?}", told.lines());
    if world.doubles.is_none() {
        let theirs = Scene::new(world, "theirs");
        build(&theirs);
        let before = theirs.here();
        let (done, said) = theirs.kubectl(flags);
        assert_eq!(&Outcome::of(done, before, &theirs), expected, "kubectl's: {said}");
        if let Err(failure) = &ours {
            // The refusals are kubectl's, word by word.
            let (ours, theirs) = (scene.name(""), theirs.name(""));
            for part in failure.why.split("; ") {
                // From `cannot delete` to the pod's name; what follows of it is random.
                let Some(begin) = part.find("cannot delete ") else { continue };
                let reason = &part[begin..];
                let end = reason.find(&ours).map_or(reason.len(), |at| at + ours.len());
                let reason = reason[..end].replace(&ours, &theirs);
                assert!(said.contains(&reason), "no {reason:?} in kubectl's: {said}");
            }
        }
    }
    (ours, told)
}

pub fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            more.iter().for_each(|(key, value)| merge(into.entry(key.clone()).or_insert(Value::Null), value));
        }
        (into, more) => *into = more.clone(),
    }
}

#[track_caller]
pub fn until(what: &str, so: impl Fn() -> bool) {
    within(30, what, so);
}

#[track_caller]
fn within(seconds: u64, what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !so() {
        assert!(Instant::now() < deadline, "not in {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
