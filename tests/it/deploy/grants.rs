//! What deploy/remediate-rbac.yaml grants, what `check` lists, and what the program asks the API server for: the same.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::permissions::control_plane::{kubeconfig_of_the_account, kubectl};
use crate::remediate::scene::Scene;
use crate::support::{Cluster, Running, World, run};
use crate::watch::eventually;

const ACCOUNT: &str = "system:serviceaccount:sciuro:sciuro-remediate";

/// A request, as the rules of RBAC and `check` tell requests apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    /// With its group and subresource: `leases.coordination.k8s.io`, `pods/log`.
    resource: String,
    /// Where; as a right, none: everywhere.
    namespace: Option<String>,
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {:?}", self.verb, self.resource, self.namespace)
    }
}

impl Right {
    fn new(verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> Self {
        let (plain, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let mut name = plain.to_owned();
        for (sign, part) in [(".", group), ("/", subresource)] {
            if !part.is_empty() {
                name = format!("{name}{sign}{part}");
            }
        }
        Self { verb: verb.to_owned(), resource: name, namespace: namespace.map(str::to_owned) }
    }

    /// Whether who has this may do that.
    fn covers(&self, other: &Self) -> bool {
        self.verb == other.verb
            && self.resource == other.resource
            && (self.namespace.is_none() || self.namespace == other.namespace)
    }
}

/// Those of the first that none of the others have to do with.
fn without<'r>(
    rights: &'r BTreeSet<Right>,
    others: &BTreeSet<Right>,
    concerns: impl Fn(&Right, &Right) -> bool,
) -> Vec<&'r Right> {
    rights.iter().filter(|right| !others.iter().any(|other| concerns(right, other))).collect()
}

fn manifest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// What the roles of this manifest allow.
fn granted(manifest: &Path) -> BTreeSet<Right> {
    let text = std::fs::read_to_string(manifest).unwrap();
    let mut rights = BTreeSet::new();
    for object in text.split("\n---\n").map(|object| serde_saphyr::from_str::<Value>(object).unwrap()) {
        let namespace = object["metadata"]["namespace"].as_str();
        for rule in object["rules"].as_array().into_iter().flatten() {
            let texts = |field: &str| {
                let texts = rule[field].as_array().into_iter().flatten();
                texts.map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            assert!(rule["resourceNames"].is_null(), "not told apart here: {rule}");
            for group in texts("apiGroups") {
                for resource in texts("resources") {
                    rights.extend(
                        texts("verbs").iter().map(|verb| Right::new(verb, &group, &resource, namespace)),
                    );
                }
            }
        }
    }
    rights
}

/// What `check` says that `remediate` needs.
fn listed(said: &str) -> BTreeSet<Right> {
    let lines = said.lines().filter_map(|line| {
        let (permission, by) = line.split_once(" may ")?.1.split_once(": ")?;
        by.contains("remediate").then_some(permission)
    });
    let right = |line: &str| {
        let (permission, namespace) = line
            .split_once(" in ")
            .map_or((line, None), |(permission, namespace)| (permission, Some(namespace)));
        let (verb, resource) = permission.split_once(' ').unwrap();
        Right {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
        }
    };
    lines.map(right).collect()
}

/// What the program asked for as this account, and what of it was refused.
fn asked_for(log: &[Value]) -> (BTreeSet<Right>, Vec<String>) {
    let ours = |event: &&Value| {
        let agent = event["userAgent"].as_str().unwrap_or_default();
        event["user"]["username"] == ACCOUNT && agent.starts_with("kubectl-sciuro")
    };
    let (mut rights, mut refused) = (BTreeSet::new(), Vec::new());
    for event in log.iter().filter(ours) {
        if event["responseStatus"]["code"] == 403 {
            refused.push(event["responseStatus"]["message"].to_string());
        }
        let object = &event["objectRef"];
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let Some(resource) = object["resource"].as_str() else { continue };
        let (sign, subresource) =
            if text("subresource").is_empty() { ("", "") } else { ("/", text("subresource")) };
        let namespace = object["namespace"].as_str().filter(|namespace| !namespace.is_empty());
        let verb = event["verb"].as_str().unwrap();
        rights.insert(Right::new(
            verb,
            text("apiGroup"),
            &format!("{resource}{sign}{subresource}"),
            namespace,
        ));
    }
    (rights, refused)
}

/// Everything is installed that the manifest speaks of.
fn install(world: &World) {
    crate::medik8s::install(world);
    for group in ["machine.openshift.io", "cluster.x-k8s.io"] {
        crate::medik8s::install_machines(world, group);
    }
}

/// The rules of medik8s' namespace, which docs/interplay.md tells how to make.
fn grant_medik8s(world: &World) -> BTreeSet<Right> {
    kubectl(world, &["create", "namespace", "medik8s-leases"]);
    let page = std::fs::read_to_string(manifest("../docs/interplay.md")).unwrap();
    let in_ticks = page.split('`').filter(|text| text.starts_with("kubectl create role"));
    let commands: Vec<String> = in_ticks
        .map(|text| text.replace("--group oncall", "--serviceaccount sciuro:sciuro-remediate"))
        .collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        kubectl(
            world,
            &shlex::split(&command).unwrap().iter().skip(1).map(String::as_str).collect::<Vec<_>>(),
        );
    }
    let lease = |verb: &str| Right::new(verb, "coordination.k8s.io", "leases", Some("medik8s-leases"));
    ["get", "create", "update"].map(lease).into()
}

/// A pod that stays, with a volume, and a volume of a pod that is gone; returns the latter's path.
fn volumes(scene: &Scene<'_>) -> String {
    let world = scene.world;
    let namespace = format!("/api/v1/namespaces/{}", scene.namespace);
    let claim = json!({"metadata": {"name": "stays"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none",
        "volumeName": "stays", "resources": {"requests": {"storage": "1Gi"}}}});
    world.create(&format!("{namespace}/persistentvolumeclaims"), &claim);
    let pod = json!({"metadata": {"name": "stays", "annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {
        "nodeName": scene.node, "automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": "registry.example/c:1"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "stays"}}]}});
    world.create(&format!("{namespace}/pods"), &pod);
    let attachments = "/apis/storage.k8s.io/v1/volumeattachments";
    for volume in ["stays", "goes"] {
        let spec = json!({"attacher": "csi.example.com", "nodeName": scene.node, "source": {"persistentVolumeName": volume}});
        world.create(attachments, &json!({"metadata": {"name": volume}, "spec": spec}));
    }
    format!("{attachments}/goes")
}

mod control_plane {
    use super::*;

    /// Nothing is granted that is not used, nothing used that is not granted, and `check` knows all of it.
    #[test]
    fn f9_d9_what_is_granted_is_what_is_listed_and_what_is_asked_for() {
        let cluster = Cluster::start();
        let world = World::on(&cluster.kubeconfig());
        install(&world);
        let mut granted = BTreeSet::new();
        for name in ["base/namespace.yaml", "remediate-rbac.yaml", "remediate-kubelet-rbac.yaml"] {
            let manifest = manifest(name);
            kubectl(&world, &["apply", "-f", manifest.to_str().unwrap()]);
            granted.extend(super::granted(&manifest));
        }
        granted.extend(grant_medik8s(&world));
        let kubeconfig = kubeconfig_of_the_account(&world, "sciuro", "sciuro-remediate");

        let scene = Scene::with_everything(&world);
        let before = scene.facts();
        scene.patch(
            &scene.node,
            &json!({"metadata": {"annotations": {"machine.openshift.io/machine": "default/m",
            "cluster.x-k8s.io/machine": "m", "cluster.x-k8s.io/cluster-namespace": "default"}}}),
        );
        let goes = volumes(&scene);
        let as_account = |mut command: Command| {
            command.env("KUBECONFIG", &kubeconfig);
            command
        };
        let command = |more: &[&str]| {
            let flags = ["--yes", "--force", "--delete-emptydir-data", "--lease-namespace=kube-system"];
            as_account(scene.command(&[&flags[..], more].concat()))
        };
        let all = ["--for=remediate", "--collect=kubelet,host"];
        let check = || run(&mut as_account(world.command(&[&["check"][..], &all].concat())));
        // The authorizer reads rules from a watch.
        eventually("what the manifests allow", || !check().stdout.contains("not granted"));
        let listed = super::listed(&check().stdout);
        let before_the_runs = cluster.audit_log().len();

        run(&mut command(&["--until=cordon", "--skip=collect"])).exits(0);
        run(&mut command(&["--abort"])).exits(0);
        // What broke off is asked for again: whether its pod has ended.
        let cut = world.log_fault(&scene.node, "kube-system", "sciuro-collect-*").truncate(3000);
        let mut running =
            Running::start(&mut command(&["--collect=kubelet,host", "--until=drain"]), str::to_owned);
        running.says("waiting for volumes to be detached");
        world.request("DELETE", &goes, "application/json", &Value::Null);
        running.ends(0);
        assert!(cut.hits() > 0);
        run(&mut command(&["--resume", "--collect=kubelet,host"])).exits(0);
        scene.is_remediated(&before);

        let (used, refused) = asked_for(&cluster.audit_log()[before_the_runs..]);
        assert_eq!(refused, Vec::<String>::new());
        let covered = |used: &Right, right: &Right| right.covers(used);
        let covers = |right: &Right, used: &Right| right.covers(used);
        // Whether one may ask what one may do is not asked.
        let mut askable = used.clone();
        askable.retain(|right| right.resource != "selfsubjectaccessreviews.authorization.k8s.io");
        let differences = [
            ("asked for, and not granted", without(&used, &granted, covered)),
            ("granted, and not asked for", without(&granted, &used, covers)),
            ("listed, and not granted", without(&listed, &granted, covered)),
            ("asked for, and not listed", without(&askable, &listed, covered)),
        ];
        assert!(differences.iter().all(|(_, rights)| rights.is_empty()), "{differences:#?}");
    }
}
