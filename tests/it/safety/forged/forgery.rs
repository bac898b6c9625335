//! Everything that a kubelet can say of itself, at random. `{own-…}`, `{peer-…}`, `{third-…}` and `{host-…}` stand for what
//! the node itself, two other nodes and the operator's machine have of it.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::kubelet::{JSON, Kubelet, MERGE, STRATEGIC};
use super::places::{Names, text};

const PODS: &str = "/api/v1/namespaces/kube-system/pods";

/// What is written; what is empty is left as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Forgery {
    /// Type and address, in place of those that it has.
    pub(super) addresses: Vec<(&'static str, &'static str)>,
    pub(super) boot_id: Option<&'static str>,
    pub(super) provider_id: Option<&'static str>,
    pub(super) record: Option<Value>,
    pub(super) annotations: Vec<(&'static str, &'static str)>,
    pub(super) labels: Vec<(&'static str, &'static str)>,
    /// Type and status.
    pub(super) conditions: Vec<(&'static str, &'static str)>,
    /// Name, id in its label and termination message of pods that it makes on itself.
    pub(super) pods: Vec<(&'static str, &'static str, &'static str)>,
    /// Who an Event of its is about.
    pub(super) events: Vec<&'static str>,
    /// `renewTime` of its Lease.
    pub(super) renewed: Option<&'static str>,
    /// Where its kubelet is said to listen.
    pub(super) port: Option<u16>,
    /// Capacity and allocatable.
    pub(super) memory: Option<&'static str>,
}

const OWN: &str = "{own-ip}";
/// Where another machine is, or nobody's own.
const ELSEWHERE: [&str; 30] = [
    "{peer-ip}",
    "{peer-external-ip}",
    "::ffff:{peer-ip}",
    "64:ff9b::{peer-ip}",
    "::{peer-ip}",
    "{peer-decimal}",
    "{peer-hex}",
    "{peer-name}",
    "{peer-name}.",
    "{peer-name}.example.com",
    "{peer-upper}",
    "{peer-full}",
    "{third-ip}",
    "{third-name}",
    "{host-ip}",
    "{host-name}",
    "localhost",
    "LOCALHOST",
    "a.localhost",
    "127.0.0.1",
    "127.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "0.0.0.0",
    "db1.corp.example",
    "{rack}",
];
/// Nobody's that is known, or no address at all.
const STRAY: [&str; 6] =
    ["198.51.100.9", "2001:db8::9", "{own-name}", "-oProxyCommand=x", "a b", "{own-name}.example.com"];
const TYPES: [&str; 5] = ["InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"];

/// What a forgery lies about: of all else the kubelet says the truth, or most runs would end long before they could reach
/// anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Place,
    Boot,
    ProviderId,
    Record,
    Rest,
}

fn lies(method: &str) -> impl Strategy<Value = Vec<About>> + use<> {
    use About::{Boot, Place, ProviderId, Record, Rest};
    prop_oneof![
        1 => Just(vec![]),
        4 => Just(vec![Place]),
        if method == "command" { 4 } else { 1 } => Just(vec![ProviderId]),
        3 => Just(vec![Boot]),
        1 => Just(vec![Record]),
        1 => Just(vec![Rest]),
        2 => subsequence(vec![Place, Boot, ProviderId, Record, Rest], 2..=5),
    ]
}

/// One in `of` times one of these, else the usual.
fn rarely<T: Clone + std::fmt::Debug + 'static>(of: u32, usual: T, rare: &[T]) -> BoxedStrategy<T> {
    prop_oneof![of - 1 => Just(usual), 1 => select(rare.to_vec())].boxed()
}

/// Where it is of the type that a run takes, and more.
fn addresses(kind: &'static str) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let one = prop_oneof![5 => select(&ELSEWHERE[..]), 1 => select(&STRAY[..])];
    let more = vec((select(&TYPES[..]), prop_oneof![Just(OWN), one.clone()]), 0..3);
    let first = prop_oneof![3 => one, 1 => Just(OWN)];
    (first, more).prop_map(move |(first, more)| [vec![(kind, first)], more].concat())
}

fn boot_ids() -> impl Strategy<Value = &'static str> {
    let lies = [
        "{peer-boot}",
        "{peer-boot-upper}",
        "{peer-boot-plain}",
        "{third-boot}",
        "{host-boot}",
        "{host-boot-plain}",
        "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11",
        "00000000-0000-0000-0000-000000000000",
        "",
        "x",
    ];
    select(lies.to_vec())
}

fn provider_ids() -> impl Strategy<Value = &'static str> {
    let lies = [
        "{peer-provider}",
        "metal3://racks/{peer-name}",
        "metal3://racks/{peer-name}/",
        "other://{peer-name}",
        "{peer-upper}",
        "ipmi://{peer-ip}",
        "ipmi://{peer-ip}:623",
        "ipmi://{peer-decimal}",
        "ipmi://localhost:623",
        "ipmi://LOCALHOST",
        "ipmi://127.1",
        "ipmi://{host-ip}",
        "{third-ip}",
        "cloud://123456789",
        "--help",
        "a b",
    ];
    select(lies.to_vec())
}

const METHODS: [&str; 5] = ["pod", "signal", "ssh", "command", "manual"];
const STATES: [&str; 9] = [
    "Cordoning",
    "Collecting",
    "Draining",
    "RebootIntent",
    "WaitBoot",
    "Verifying",
    "Uncordoning",
    "NeedsHuman",
    "Aborted",
];
const LONG_AGO: &str = "2026-01-01T00:00:00Z";
/// As a run of ours would have written it, but for this.
pub(super) fn record(changes: &Value) -> Value {
    let mut record = json!({
        "v": 1, "id": "{forged-id}", "state": "Draining", "since": LONG_AGO, "timeout": 900, "actor": "alice@ops",
        "holder": "alice@ops#1", "method": "pod", "nodeUID": "{own-uid}", "preBootID": "{claimed-boot}",
        "wasUnschedulable": false, "marks": [{"type": "cordon"}], "attempts": [],
    });
    for (field, value) in changes.as_object().expect("fields") {
        record[field] = value.clone();
    }
    record
}

fn attempts(method: &'static str) -> impl Strategy<Value = Value> {
    let method = rarely(8, method, &METHODS);
    let outcome =
        select(vec![json!(null), json!("issued"), json!("notIssued"), json!("rebooted"), json!("spent")]);
    let time = rarely(4, LONG_AGO, &["2999-01-01T00:00:00Z"]);
    let limit = select(vec![json!(u64::MAX), json!(0), json!(null)]);
    vec((method, outcome, time, limit), 0..3).prop_map(|all| {
        let attempts = (1..).zip(all).map(|(n, (method, outcome, time, limit))| {
            json!({"n": n, "method": method, "outcome": outcome, "intentAt": time, "notAfterUptime": limit})
        });
        attempts.collect()
    })
}

/// What a record says of a run by this method, and what it says falsely if it lies.
fn records(method: &'static str) -> impl Strategy<Value = (Value, Value)> {
    let marks = vec![
        json!({"type": "cordon"}),
        json!({"type": "silence", "id": "{third-silence}"}),
        json!({"type": "helper", "namespace": "kube-system", "name": "sciuro-probe-{third-id8}"}),
    ];
    let what = (
        prop_oneof![2 => select(&STATES[..3]), 1 => select(&STATES[..])],
        option::weighted(0.2, select(&STATES[..])),
        prop_oneof![2 => Just(json!([])), 1 => attempts(method)],
    );
    let whose = (
        rarely(2, "{forged-id}", &["{third-id}", "{third-id}", "../../nodes/{peer-name}"]),
        rarely(6, "{own-uid}", &["{peer-uid}"]),
        rarely(3, "{claimed-boot}", &["{peer-boot}", "{third-boot}", "{host-boot}", "{own-boot}"]),
        option::weighted(0.2, select(&["{claimed-boot}", "{own-boot}", "{peer-boot}"][..])),
    );
    let how = (subsequence(marks, 0..=3), rarely(4, method, &METHODS));
    let text = (
        rarely(3, "alice@ops#1", &["sciuro@{peer-name}#2", "\u{1b}[2Jroot@{host-name}#3"]),
        option::weighted(0.3, select(&["/etc/passwd", "sciuro-{peer-name}-20260101T000000Z.tar.gz"][..])),
        subsequence(vec!["self", "shared-boot-id", "address", "excluded", "max-unavailable"], 0..=5),
    );
    (what, whose, how, text).prop_map(
        move |((state, failed, attempts), (id, uid, before, proven), (marks, other), (holder, bundle, overrides))| {
            let truth = json!({"method": method, "state": state, "failedState": failed, "attempts": attempts});
            let lies = json!({
                "id": id, "nodeUID": uid, "preBootID": before, "provenBootID": proven, "marks": marks, "method": other,
                "holder": holder, "bundle": bundle, "overrides": overrides,
            });
            (truth, lies)
        },
    )
}

/// What a kubelet says of itself. `method`: that of most records; `kind`: the type of address that runs take.
pub(super) fn forgeries(method: &'static str, kind: &'static str) -> impl Strategy<Value = Forgery> {
    let annotations = vec![
        ("sciuro.dev/abort", "{own-id}"),
        ("sciuro.dev/keep-cordoned", ""),
        ("machine.openshift.io/machine", "default/../../../../api/v1/nodes/{peer-name}"),
        ("cluster.x-k8s.io/machine", "{peer-name}"),
        ("cluster.x-k8s.io/cluster-namespace", "kube-system"),
        ("sciuro.dev/last-remediation", "{\"v\":1}"),
    ];
    let labels = vec![
        ("kubernetes.io/hostname", "{peer-name}"),
        ("rack", "r7"),
        ("sciuro.dev/remediation", "{third-id}"),
    ];
    let condition = (
        select(
            &[
                "{prefix}ByName",
                "{prefix}Forged",
                "SciuroRemediation",
                "Ready",
                "DiskPressure",
                "NetworkUnavailable",
            ][..],
        ),
        select(&["True", "False", "Unknown"][..]),
    );
    let pod = (
        select(
            &[
                "sciuro-probe-{own-id8}",
                "sciuro-reboot-{own-id8}-1",
                "sciuro-collect-{own-id8}-before",
                "sciuro-probe-{third-id8}-0f",
            ][..],
        ),
        select(&["{own-id}", "{third-id}", ""][..]),
        select(&["issued\n", "boot_id={peer-boot}\nuptime=1\n", "boot_id={claimed-boot}\nuptime=1\n"][..]),
    );
    let place = (addresses(kind), boot_ids(), provider_ids(), option::weighted(0.4, records(method)));
    let marks = (subsequence(annotations, 0..=2), subsequence(labels, 0..=2), vec(condition, 0..2));
    let beside = (
        vec(pod, 0..3),
        vec(select(&["{own-name}", "{peer-name}"][..]), 0..2),
        option::weighted(0.3, select(&[LONG_AGO, "2999-01-01T00:00:00Z"][..])),
        option::weighted(0.2, select(vec![22, 6443, 10250])),
        option::weighted(0.2, select(&["1Ki", "9999Ti"][..])),
    );
    (lies(method), place, marks, beside).prop_map(
        |(
            lies,
            (addresses, boot_id, provider_id, recorded),
            (annotations, labels, conditions),
            (pods, events, renewed, port, memory),
        )| {
            let is_one = |about| lies.contains(&about);
            let rest = if is_one(About::Rest) {
                Forgery {
                    annotations,
                    labels,
                    conditions,
                    pods,
                    events,
                    renewed,
                    port,
                    memory,
                    ..Forgery::default()
                }
            } else {
                Forgery::default()
            };
            Forgery {
                addresses: if is_one(About::Place) { addresses } else { Vec::new() },
                boot_id: Some(boot_id).filter(|_| is_one(About::Boot)),
                provider_id: Some(if is_one(About::ProviderId) {
                    provider_id
                } else {
                    "metal3://racks/{own-name}"
                }),
                record: recorded.map(|(mut truth, lies)| {
                    if let (true, Some(truth), Some(lies)) =
                        (is_one(About::Record), truth.as_object_mut(), lies.as_object())
                    {
                        truth.extend(lies.clone());
                    }
                    record(&truth)
                }),
                ..rest
            }
        },
    )
}

/// The mirror of a static pod.
pub(super) fn mirror(name: &str, node: &str, uid: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": true}]},
        "spec": {"nodeName": node, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "registry.example/c:1"}]}})
}

impl Forgery {
    /// Writes it all; what the API server did not let through.
    pub(super) async fn is_written(&self, kubelet: &Kubelet, names: &Names) -> Vec<String> {
        let mut names = names.clone();
        let path = format!("/api/v1/nodes/{}", kubelet.node);
        let mut refused = Vec::new();
        let mut said = |what: &str, answer: Result<Value, kube::Error>| {
            answer.map_err(|error| refused.push(format!("{what}: {error}"))).ok()
        };
        if let Some(boot_id) = self.boot_id {
            names.set("claimed-boot", names.fill(boot_id));
            let status = json!({"status": {"nodeInfo": {"bootID": names.fill(boot_id)}}});
            said("boot ID", kubelet.send("PATCH", &format!("{path}/status"), MERGE, &status).await);
        }
        if !self.addresses.is_empty() {
            let addresses = self.addresses.iter();
            let addresses: Vec<Value> = addresses
                .map(|(kind, address)| json!({"type": kind, "address": names.fill(address)}))
                .collect();
            let status = json!({"status": {"addresses": addresses}});
            said("addresses", kubelet.send("PATCH", &format!("{path}/status"), MERGE, &status).await);
        }
        if let Some(id) = self.provider_id {
            let spec = json!({"spec": {"providerID": names.fill(id)}});
            said("provider ID", kubelet.send("PATCH", &path, MERGE, &spec).await);
        }
        if let Some(record) = &self.record {
            let record = names.fill(&record.to_string());
            let written = json!({"metadata": {"annotations": {"sciuro.dev/remediation": record}},
                "spec": {"unschedulable": true}});
            let path = format!("{path}?fieldManager=kubectl-sciuro");
            said("record", kubelet.send("PATCH", &path, MERGE, &written).await);
        }
        // Of a run that is under way it knows the id.
        let node = kubelet.send("GET", &path, JSON, &Value::Null).await.unwrap_or_default();
        let record: Value =
            serde_json::from_str(text(&node, "/metadata/annotations/sciuro.dev~1remediation"))
                .unwrap_or_default();
        let id = record["id"].as_str().map_or_else(|| names.fill("{forged-id}"), str::to_owned);
        names.set("own-id8", id.get(..8).unwrap_or(&id));
        names.set("own-id", id);
        self.marks(kubelet, &names, &path, &mut said).await;
        self.pods(kubelet, &names, text(&node, "/metadata/uid"), &mut said).await;
        for about in &self.events {
            let about = names.fill(about);
            let event = json!({"metadata": {"generateName": "forged-"}, "reason": "Rebooted", "message": "forged", "type": "Warning",
                "involvedObject": {"kind": "Node", "name": about, "uid": about}, "source": {"component": "kubelet"}});
            said("Event", kubelet.send("POST", "/api/v1/namespaces/default/events", JSON, &event).await);
        }
        refused
    }

    async fn marks(
        &self,
        kubelet: &Kubelet,
        names: &Names,
        path: &str,
        said: &mut (impl FnMut(&str, Result<Value, kube::Error>) -> Option<Value> + Send),
    ) {
        let all = |pairs: &[(&str, &str)]| -> Value {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(names.fill(value)))).collect()
        };
        for (what, pairs) in [("annotations", &self.annotations), ("labels", &self.labels)] {
            if !pairs.is_empty() {
                let written = json!({"metadata": {what: all(pairs)}});
                said(what, kubelet.send("PATCH", path, MERGE, &written).await);
            }
        }
        let conditions = self.conditions.iter().map(|(kind, status)| {
            json!({"type": names.fill(kind), "status": status, "reason": "Forged", "message": "forged",
                "lastHeartbeatTime": LONG_AGO, "lastTransitionTime": LONG_AGO})
        });
        let mut status = json!({"conditions": conditions.collect::<Vec<_>>()});
        if let Some(port) = self.port {
            status["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": port}});
        }
        if let Some(memory) = self.memory {
            (status["capacity"], status["allocatable"]) =
                (json!({"memory": memory}), json!({"memory": memory}));
        }
        let status = json!({"status": status});
        said("status", kubelet.send("PATCH", &format!("{path}/status"), STRATEGIC, &status).await);
        if let Some(time) = self.renewed {
            let lease =
                format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}", kubelet.node);
            let renewed = json!({"spec": {"renewTime": time.replace('Z', ".000000Z")}});
            said("Lease", kubelet.send("PATCH", &lease, MERGE, &renewed).await);
        }
    }

    async fn pods(
        &self,
        kubelet: &Kubelet,
        names: &Names,
        uid: &str,
        said: &mut (impl FnMut(&str, Result<Value, kube::Error>) -> Option<Value> + Send),
    ) {
        for (name, id, says) in &self.pods {
            let name = names.fill(name);
            let labels = match names.fill(id) {
                id if id.is_empty() => json!({}),
                id => json!({"app.kubernetes.io/managed-by": "kubectl-sciuro", "sciuro.dev/remediation": id}),
            };
            let pod = mirror(&name, &kubelet.node, uid, &labels);
            if said("pod", kubelet.send("POST", PODS, JSON, &pod).await).is_none() {
                continue;
            }
            let state = json!({"terminated": {"exitCode": 0, "message": names.fill(says)}});
            let container = json!({"name": "c", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state});
            let status = json!({"status": {"phase": "Succeeded", "containerStatuses": [container]}});
            said(
                "its status",
                kubelet.send("PATCH", &format!("{PODS}/{name}/status"), STRATEGIC, &status).await,
            );
        }
    }
}
