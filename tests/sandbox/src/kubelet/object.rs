//! The JSON a kubelet writes: its Node, the patches of its status, its Lease.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::names::{internal_ip, number, served_ip};
use crate::time::{micros, seconds};

/// The version the machines report.
const VERSION: &str = "v1.36.3";

/// Where a kubelet serves, at the address of its machine.
pub(super) const PORT: u16 = 10250;

/// The conditions that a kubelet itself sets, in its order (`kubelet_node_status.go`, `defaultNodeStatusFuncs`).
const OWN: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

/// Why a kubelet that has just registered is not Ready (`pkg/volume/csi/csi_plugin.go`).
const NOT_YET: &str = "CSINode is not yet initialized";
pub(super) const NO_RUNTIME: &str = "container runtime is down";
/// On its way down (`pkg/kubelet/nodeshutdown`).
pub(super) const SHUTS_DOWN: &str = "node is shutting down";

/// What a Node's conditions say of a machine.
#[derive(Clone)]
pub(super) struct Health {
    pub(super) ready: bool,
    /// What Ready says if it is False.
    pub(super) why: &'static str,
    /// When `ready` became what it is.
    pub(super) since: Timestamp,
    /// When the machine joined: the other conditions never change.
    pub(super) joined: Timestamp,
}

impl Health {
    pub(super) fn new(ready: bool, now: Timestamp) -> Self {
        Self { ready, why: NOT_YET, since: now, joined: now }
    }

    /// The kubelet's own conditions in full.
    pub(super) fn conditions(&self, now: Timestamp) -> Vec<Value> {
        let condition = |kind: &str, status: &str, reason: &str, message: &str, since: Timestamp| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": seconds(now), "lastTransitionTime": seconds(since),
            })
        };
        let ready = if self.ready {
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", self.since)
        } else {
            condition("Ready", "False", "KubeletNotReady", self.why, self.since)
        };
        vec![
            condition(
                OWN[0],
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
                self.joined,
            ),
            condition(
                OWN[1],
                "False",
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure",
                self.joined,
            ),
            condition(
                OWN[2],
                "False",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
                self.joined,
            ),
            ready,
        ]
    }
}

/// A strategic merge patch of conditions, in the shape that a kubelet's two-way diff of the Node gives
/// (`component-helpers/node/util/status.go`, `PatchNodeStatus`).
pub(super) fn conditions_patch(conditions: &[Value]) -> Value {
    let order: Vec<Value> = OWN.iter().map(|kind| json!({"type": kind})).collect();
    json!({"status": {"$setElementOrder/conditions": order, "conditions": conditions}})
}

/// The heartbeat: of each condition only what changed.
pub(super) fn heartbeat_patch(now: Timestamp) -> Value {
    let beats: Vec<Value> =
        OWN.iter().map(|kind| json!({"type": kind, "lastHeartbeatTime": seconds(now)})).collect();
    conditions_patch(&beats)
}

/// The images and resources that a kubelet finds only after it has registered.
pub(super) fn discovery_patch(images: usize) -> Value {
    json!({"status": {
        "capacity": {"ephemeral-storage": "479148048Ki"},
        "allocatable": {"ephemeral-storage": "441582841"},
        "images": self::images(images),
    }})
}

/// Everything a machine is, as its kubelet POSTs it to register: **with** its status.
pub(super) fn node(name: &str, boot_id: &str, health: &Health, options: &super::KubeletOptions) -> Value {
    let now = health.joined;
    let mut conditions = health.conditions(now);
    // Calico's. On a real node its agent adds it; here it is there from the start, and no kubelet patch touches it.
    conditions.insert(
        0,
        json!({
            "type": "NetworkUnavailable", "status": "False", "reason": "CalicoIsUp",
            "message": "Calico is running on this node",
            "lastHeartbeatTime": seconds(now), "lastTransitionTime": seconds(now),
        }),
    );
    let mut node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "node-role.kubernetes.io/worker": "",
            },
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {},
        "status": {
            "capacity": {"cpu": "32", "ephemeral-storage": "479148044Ki", "hugepages-1Gi": "0", "hugepages-2Mi": "0",
                "memory": "263856904Ki", "pods": "110"},
            "allocatable": {"cpu": "31500m", "ephemeral-storage": "441582837", "hugepages-1Gi": "0",
                "hugepages-2Mi": "0", "memory": "262706056Ki", "pods": "110"},
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": internal_ip(name).to_string()},
                {"type": "ExternalIP", "address": served_ip(name).to_string()},
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
            "nodeInfo": {
                "architecture": "amd64", "bootID": boot_id, "containerRuntimeVersion": "containerd://2.1.4",
                "kernelVersion": "6.12.48-amd64", "kubeProxyVersion": "", "kubeletVersion": VERSION,
                "machineID": format!("{:032x}", number(name)), "operatingSystem": "linux",
                "osImage": "Debian GNU/Linux 13 (trixie)",
                "systemUUID": format!("4c4c4544-0000-4000-8000-{:012x}", number(name)),
            },
            // One less than it will know of when it has looked: see `discovery_patch`.
            "images": images(if options.owns_images { options.images.saturating_sub(1) } else { options.images }),
        },
    });
    if let Some(prefix) = &options.provider_id {
        node["spec"]["providerID"] = format!("{prefix}{name}").into();
    }
    node
}

/// Images as nodes carry them, by digest and by tag: 220 bytes each. They are most of a Node.
fn images(count: usize) -> Vec<Value> {
    (0..count)
        .map(|index| {
            let repository = format!("registry.example/platform/team-{:02}/workload-{index:03}", index % 12);
            // Not a digest of anything; as long as one and different in every image.
            let scatter = |part: u64| (index as u64 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let digest =
                format!("{:016x}{:016x}{:016x}{:016x}", scatter(1), scatter(2), scatter(3), scatter(4));
            json!({
                "names": [format!("{repository}@sha256:{digest}"), format!("{repository}:v1.{index}.0")],
                "sizeBytes": 900_000_000 - index * 17_000_000 % 890_000_000,
            })
        })
        .collect()
}

/// The Lease by which the control plane knows that the machine lives.
pub(super) fn lease(name: &str, uid: &str, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}],
        },
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micros(now)},
    })
}
