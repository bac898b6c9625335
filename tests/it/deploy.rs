//! deploy/ on the real control plane: what is applied is accepted, suffices, and allows no more than it says.
//!
//! Each test applies a copy in which everything has a name of the test's own, so that tests do not meet. There is no
//! kubelet that starts containers: pods are admitted and stay Pending. What their containers would do is seen by running the
//! binary with the arguments and variables of the manifest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::sources::real::free_port;
use crate::support::{Run, Running, World, command, run};
use crate::watch::eventually;

const STRATEGIC: &str = "application/strategic-merge-patch+json";

mod account;
mod discovery;
mod grants;
mod placement;
mod policy;

macro_rules! on_the_control_plane {
    ($($name:ident),+ $(,)?) => {
        mod control_plane {
            $(#[test] fn $name() { super::$name(&crate::support::World::control_plane()); })+
        }
    };
}

use on_the_control_plane;

on_the_control_plane![
    each_way_to_run_it_is_accepted,
    restricted_pod_security_admits_the_pods,
    the_account_may_do_what_sync_needs_and_no_more,
    the_cronjobs_arguments_and_variables_drive_the_binary,
    the_deployments_arguments_and_variables_drive_the_binary,
    upstreams_config_map_drives_the_deployment,
    t15_g_the_namespace_keeps_its_labels_whatever_is_applied_in_which_order,
];

/// A copy of deploy/ with `sciuro` and the prefix replaced, gone from the cluster when the test ends. Our annotations are what
/// they are.
struct Copy<'w> {
    world: &'w World,
    id: String,
    directory: TempDir,
}

impl<'w> Copy<'w> {
    fn new(world: &'w World) -> Self {
        let id = world.prefix().trim_end_matches('_').to_owned();
        let directory = tempfile::tempdir().unwrap();
        let rename = |text: &str| {
            text.replace("AlertManager_", &world.prefix())
                .replace("namespace: monitoring", &format!("namespace: {id}-monitoring"))
                .replace("sciuro", &id)
                .replace(&format!("{id}.dev/"), "sciuro.dev/")
        };
        copy(Path::new("deploy"), &directory.path().join("deploy"), &rename);
        Self { world, id, directory }
    }

    /// The copy of deploy/ with the base applied, and effective for its account.
    fn applied(world: &'w World) -> (Self, kube::Client) {
        let copy = Self::new(world);
        copy.apply("deploy/base", &[]);
        let account = world.client_of(&copy.kubeconfig());
        let node = world.bare_node("probe");
        // The rules and the policy are read from watches: they hold once an attack is denied by the policy.
        let attack = json!({"metadata": {"labels": {"effective": "no"}}});
        let path = format!("/api/v1/nodes/{node}/status?dryRun=All");
        let mut last = String::new();
        for _ in 0..300 {
            last = format!("{:?}", world.try_as(&account, "PATCH", &path, STRATEGIC, &attack));
            if last.contains("ValidatingAdmissionPolicy") {
                return (copy, account);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the policy does not take effect: {last}");
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// A kustomization of the user's own, beside deploy/.
    fn overlay(&self, text: &str) -> &'static str {
        std::fs::create_dir_all(self.path("overlay")).unwrap();
        std::fs::write(self.path("overlay/kustomization.yaml"), text).unwrap();
        "overlay"
    }

    fn kubectl(&self, arguments: &[&str]) -> Run {
        let mut kubectl = Command::new("kubectl");
        run(kubectl
            .args(arguments)
            .env("KUBECONFIG", self.world.kubeconfig())
            .current_dir(self.directory.path()))
    }

    #[track_caller]
    fn apply(&self, kustomization: &str, more: &[&str]) -> String {
        let arguments = [&["apply", "-k", kustomization], more].concat();
        self.kubectl(&arguments).exits(0).never_says("Warning").stdout
    }

    #[track_caller]
    fn manifests(&self, kustomization: &str) -> Vec<Value> {
        let rendered = self.kubectl(&["kustomize", kustomization]).exits(0).stdout;
        rendered.split("\n---\n").map(|manifest| serde_saphyr::from_str(manifest).unwrap()).collect()
    }

    /// What `deploy/kubeconfig` gives for the account.
    fn kubeconfig(&self) -> PathBuf {
        let mut script = Command::new("bash");
        let printed =
            run(script.arg(self.path("deploy/kubeconfig")).env("KUBECONFIG", self.world.kubeconfig()));
        self.world.file("account", &printed.exits(0).stdout)
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        std::fs::write(
            self.path("deploy/kustomization.yaml"),
            "resources: [deployment, cronjob/cronjob.yaml]\n",
        )
        .unwrap();
        let ignore = ["--ignore-not-found", "--wait=false"];
        for manifests in
            [["-k", "deploy"], ["-f", "deploy/remediate-rbac.yaml"], ["-f", "deploy/status-rbac.yaml"]]
        {
            self.kubectl(&[&["delete"], &manifests[..], &ignore[..]].concat());
        }
        self.kubectl(&[&["delete", "namespace", &format!("{}-monitoring", self.id)], &ignore[..]].concat());
        // No kubelet confirms that they have ended.
        self.kubectl(&["delete", "pods", "--all", "--namespace", &self.id, "--force", "--grace-period=0"]);
    }
}

fn copy(from: &Path, to: &Path, edit: &impl Fn(&str) -> String) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target, edit);
        } else {
            std::fs::write(target, edit(&std::fs::read_to_string(entry.path()).unwrap())).unwrap();
        }
    }
}

/// The only manifest of this kind.
fn only<'m>(manifests: &'m [Value], kind: &str) -> &'m Value {
    let mut found = manifests.iter().filter(|manifest| manifest["kind"] == kind);
    let (Some(manifest), None) = (found.next(), found.next()) else { panic!("not exactly one {kind}") };
    manifest
}

fn pod_template<'m>(manifests: &'m [Value], kind: &str) -> &'m Value {
    let spec = &only(manifests, kind)["spec"];
    if kind == "CronJob" { &spec["jobTemplate"]["spec"]["template"] } else { &spec["template"] }
}

/// What the container would be started with.
fn invocation(manifests: &[Value], kind: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let container = &pod_template(manifests, kind)["spec"]["containers"][0];
    assert_eq!(container["command"], Value::Null, "the image's entrypoint is the binary");
    let arguments = serde_json::from_value(container["args"].clone()).unwrap();
    let mut variables = BTreeMap::new();
    for source in container["envFrom"].as_array().unwrap() {
        let map = only(manifests, "ConfigMap");
        assert_eq!(source["configMapRef"]["name"], map["metadata"]["name"], "kustomize renames both");
        let data: BTreeMap<String, String> = serde_json::from_value(map["data"].clone()).unwrap();
        variables.extend(data);
    }
    for variable in container["env"].as_array().unwrap() {
        let text = |key: &str| variable[key].as_str().unwrap().to_owned();
        variables.insert(text("name"), text("value"));
    }
    (arguments, variables)
}

fn each_way_to_run_it_is_accepted(world: &World) {
    let copy = Copy::new(world);
    // A dry run of what is in a namespace needs the namespace.
    copy.kubectl(&["apply", "-f", "deploy/base/namespace.yaml"]).exits(0);
    copy.kubectl(&["create", "namespace", &format!("{}-monitoring", copy.id)]).exits(0);
    let stand_in = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": "PodMonitor", "plural": "podmonitors", "singular": "podmonitor"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    world.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &stand_in);
    copy.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/podmonitors.monitoring.coreos.com",
        "--timeout=60s",
    ])
    .exits(0);
    let with_components = copy.overlay(
        "resources: [../deploy]\ncomponents: [../deploy/components/podmonitor, ../deploy/components/discovery]\n",
    );
    for kustomization in ["deploy/base", "deploy/cronjob", "deploy/deployment", "deploy", with_components] {
        copy.apply(kustomization, &["--dry-run=server"]);
        copy.apply(kustomization, &[]);
        for line in copy.apply(kustomization, &[]).lines() {
            // kubectl sends a budget's selector each time: it is replaced, not merged.
            let same = line.ends_with(" unchanged") || line.starts_with("poddisruptionbudget.");
            assert!(same, "{kustomization}: {line}");
        }
        // Its pods are made: Pod Security admits them. Components come after it: they roll the pods.
        if kustomization == "deploy" {
            let replicas = "--for=jsonpath={.status.replicas}=2";
            let deployment = format!("deployment/{}", copy.id);
            copy.kubectl(&["wait", &deployment, "-n", &copy.id, replicas, "--timeout=60s"]).exits(0);
        }
    }
    let policy = format!("{}-conditions", copy.id);
    let checked = "--for=jsonpath={.status.observedGeneration}=1";
    copy.kubectl(&["wait", "validatingadmissionpolicy", &policy, checked, "--timeout=60s"]).exits(0);
    let policy = format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{policy}");
    let policy = world.request("GET", &policy, "application/json", &Value::Null);
    assert_eq!(policy["status"]["typeChecking"], json!({}), "warnings about its expressions");
}

/// `kubectl apply` takes away what a file with the same object no longer has.
fn t15_g_the_namespace_keeps_its_labels_whatever_is_applied_in_which_order(world: &World) {
    let copy = Copy::new(world);
    let rbac = ["apply", "-f", "deploy/base/namespace.yaml", "-f", "deploy/status-rbac.yaml"];
    let steps: [&[&str]; 4] =
        [&rbac, &["apply", "-k", "deploy"], &["apply", "-f", "deploy/remediate-rbac.yaml"], &rbac];
    let mut seen = Vec::new();
    for step in steps {
        copy.kubectl(step).exits(0).never_says("Warning");
        let path = format!("/api/v1/namespaces/{}", copy.id);
        let namespace = world.request("GET", &path, "application/json", &Value::Null);
        seen.push(namespace["metadata"]["labels"].clone());
    }
    assert_eq!(seen[0]["pod-security.kubernetes.io/enforce"], "restricted");
    assert!(seen.iter().all(|labels| labels == &seen[0]), "{seen:#?}");
}

fn restricted_pod_security_admits_the_pods(world: &World) {
    let copy = Copy::new(world);
    copy.apply("deploy/base", &[]);
    let pods = format!("/api/v1/namespaces/{}/pods?dryRun=All", copy.id);
    for (kustomization, kind) in [("deploy", "Deployment"), ("deploy/cronjob", "CronJob")] {
        let template = pod_template(&copy.manifests(kustomization), kind).clone();
        let mut pod = json!({"metadata": {"generateName": "pod-"}, "spec": template["spec"]});
        pod["metadata"]["labels"] = template["metadata"]["labels"].clone();
        let admitted = world.request("POST", &pods, "application/json", &pod);
        assert_eq!(admitted["spec"]["enableServiceLinks"], false);
        // The namespace does enforce it.
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
        let refused = world.try_api("POST", &pods, "application/json", &pod).unwrap_err().to_string();
        assert!(refused.contains(r#"violates PodSecurity "restricted:latest""#), "{refused}");
    }
}

fn the_account_may_do_what_sync_needs_and_no_more(world: &World) {
    let (copy, account) = Copy::applied(world);
    let lease = format!("{}-sync", copy.id);
    let leader = format!("{}-leader", copy.id);
    let may = |verb: &str, group: &str, resource: &str, name: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "subresource": subresource,
                "name": name, "namespace": if group.is_empty() { "" } else { "kube-system" }}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = world.try_as(&account, "POST", path, "application/json", &review).unwrap();
        answer["status"]["allowed"].as_bool().unwrap()
    };
    let coordination = "coordination.k8s.io";
    for (verb, group, resource, name) in [
        ("list", "", "nodes", ""),
        ("watch", "", "nodes", ""),
        ("patch", "", "nodes/status", ""),
        ("get", coordination, "leases", &lease[..]),
        ("update", coordination, "leases", &lease),
        ("get", coordination, "leases", &leader),
    ] {
        assert!(may(verb, group, resource, name), "{verb} {resource} {name}");
    }
    for (verb, group, resource, name) in [
        ("get", "", "nodes", "w1"),
        ("patch", "", "nodes", "w1"),
        ("update", "", "nodes/status", "w1"),
        ("delete", "", "nodes", "w1"),
        ("get", "", "nodes/proxy", "w1"),
        ("list", "", "pods", ""),
        ("list", "", "secrets", ""),
        ("create", "", "serviceaccounts/token", &copy.id[..]),
        ("create", coordination, "leases", ""),
        ("list", coordination, "leases", ""),
        ("watch", coordination, "leases", &lease),
        ("delete", coordination, "leases", &lease),
        ("update", coordination, "leases", &leader),
        ("update", coordination, "leases", "kube-scheduler"),
        ("update", "admissionregistration.k8s.io", "validatingadmissionpolicies", ""),
        ("list", "discovery.k8s.io", "endpointslices", ""),
    ] {
        assert!(!may(verb, group, resource, name), "{verb} {resource} {name}");
    }
}

/// Applies a way to run it with this control plane's settings, as deploy/README.md tells, and returns what its container
/// would be started with.
fn invocation_here(copy: &Copy, way: &str, kind: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let overlay = copy.overlay(&format!(
        "resources: [../deploy/{way}]\nconfigMapGenerator:\n- name: {id}\n  namespace: {id}\n  behavior: merge\n  literals:\n  \
         - SCIURO_ALERTMANAGER_URL={}\n  - SCIURO_FILTER=test=\"{id}\"\n  - SCIURO_WARMUP=0\n  - SCIURO_LEASE_NAME={id}-sync\n",
        copy.world.alertmanager_url(),
        id = copy.id,
    ));
    copy.apply(overlay, &[]);
    invocation(&copy.manifests(overlay), kind)
}

fn the_cronjobs_arguments_and_variables_drive_the_binary(world: &World) {
    let (copy, _) = Copy::applied(world);
    let node = world.node("w1");
    let alert = |fires| {
        world.alert(&[("alertname", "DiskFailing"), ("node", &node), ("priority", "1")], "sda", fires);
    };
    alert(true);
    let (arguments, variables) = invocation_here(&copy, "cronjob", "CronJob");
    assert_eq!(arguments, ["sync"]);
    assert_eq!(variables["SCIURO_NODE_CONDITION_PREFIX"], world.prefix());
    let account = copy.kubeconfig();
    let sync = || run(command(&arguments).envs(&variables).env("KUBECONFIG", &account));
    sync()
        .exits(0)
        .prints(&format!("node/{node} condition/{} True (added)", world.condition_type("DiskFailing")));
    assert_eq!(world.condition(&node, "DiskFailing").unwrap()["message"], "[P1] sda");
    assert!(world.lease().unwrap()["metadata"]["annotations"]["sciuro.dev/last-full"].is_string());
    sync().exits(0).prints("");
    alert(false);
    sync().exits(0);
    assert_eq!(world.condition(&node, "DiskFailing").unwrap()["status"], "False");
}

fn the_deployments_arguments_and_variables_drive_the_binary(world: &World) {
    let (copy, _) = Copy::applied(world);
    let node = world.node("w1");
    world.alert(&[("alertname", "DiskFailing"), ("node", &node)], "sda", true);
    let (arguments, mut variables) = invocation_here(&copy, "deployment", "Deployment");
    assert_eq!(arguments, ["sync", "--loop"]);
    // On this machine the port may be another's.
    assert_eq!(variables.insert("SCIURO_METRICS_ADDR".into(), "127.0.0.1:0".into()).unwrap(), ":8080");
    let mut sync = command(&arguments);
    sync.envs(&variables).env("KUBECONFIG", copy.kubeconfig());
    let _until_the_end = Running::start(&mut sync, str::to_owned);
    let deadline = Instant::now() + Duration::from_secs(40);
    while world.condition(&node, "DiskFailing").is_none() {
        assert!(Instant::now() < deadline, "no condition comes");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(world.condition(&node, "DiskFailing").unwrap()["status"], "True");
}

/// Upstream's `ConfigMap` instead of ours: its manifest's three keys, and those that it documents for what has a name of this
/// test's own. An Alertmanager that has just started would clear nothing, so this one is a double.
fn upstreams_config_map_drives_the_deployment(world: &World) {
    let source = sandbox::Alertmanager::start_blocking();
    let (copy, _) = Copy::applied(world);
    let overlay = copy.overlay(&format!(
        r#"resources: [../deploy]
configMapGenerator:
- name: {id}
  namespace: {id}
  behavior: replace
  literals:
  - SCIURO_ALERT_RECEIVER=node-condition-k8s
  - SCIURO_ALERTMANAGER_URL={url}
  - SCIURO_CEL_EXPRESSION="node" in labels && (labels["node"] == FullName || labels["node"] == ShortName)
  - SCIURO_ALERT_CACHE_TTL=1s
  - SCIURO_LEADER_NAMESPACE=kube-system
  - SCIURO_LEADER_ID={id}-sync
  - SCIURO_NODE_CONDITION_PREFIX={prefix}
"#,
        id = copy.id,
        url = source.url(),
        prefix = world.prefix(),
    ));
    copy.apply(overlay, &[]);
    let manifests = copy.manifests(overlay);
    let (arguments, mut variables) = invocation(&manifests, "Deployment");
    // On this machine the port may be another's.
    let address = format!("127.0.0.1:{}", free_port());
    assert_eq!(variables.insert("SCIURO_METRICS_ADDR".into(), address.clone()).unwrap(), ":8080");
    let container = &pod_template(&manifests, "Deployment")["spec"]["containers"][0];
    let probe = |name: &str| {
        let path = container[name]["httpGet"]["path"].as_str().unwrap();
        let url = format!("http://{address}{path}");
        world.block_on(async {
            reqwest::get(url).await.map(|answer| answer.status().as_u16()).unwrap_or_default()
        })
    };

    let node = world.bare_node("w1.rack1.k8s");
    let short = node.split('.').next().unwrap();
    let labels =
        [("alertname", "DiskFailing"), ("node", short), ("priority", "3"), ("notify", "node-condition-k8s")];
    source.fire(&labels, &[("summary", "sda")]);
    let mut sync = command(&arguments);
    sync.envs(&variables).env("KUBECONFIG", copy.kubeconfig());
    let mut running = Running::start(&mut sync, str::to_owned);
    let status = || Some(world.condition(&node, "DiskFailing")?["status"].as_str()?.to_owned());
    eventually("the condition", || status().as_deref() == Some("True"));
    assert_eq!(world.condition(&node, "DiskFailing").unwrap()["message"], "[P3] sda");
    assert_eq!((probe("livenessProbe"), probe("readinessProbe")), (200, 200));
    source.set_alerts(Vec::new());
    eventually("the end of the alert", || status().as_deref() == Some("False"));

    running.signal("TERM");
    let (_, stderr) = running.ends(143);
    let lease = world.lease().unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "", "the other pod need not wait");
    assert_eq!(lease["metadata"]["annotations"]["sciuro.dev/prefix"], world.prefix());
    for line in &stderr {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_ne!(line["level"], "ERROR", "{stderr:#?}");
    }
}
