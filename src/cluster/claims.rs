//! Who else claims a node: other tools that cordon, drain or reboot leave their names, and their nodes are left to them.

use std::collections::{BTreeMap, BTreeSet};

use http::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::api::Cluster;
use super::error::ApiError;
use super::leases::LeaseKey;

/// Annotations on a node, and whose they are.
const ANNOTATIONS: [(&str, &str); 2] =
    [("draino.planet.com/conditions", "draino has cordoned it"), ("cke.cybozu.com/reboot", "CKE reboots it")];

/// NVIDIA's maintenance operator and GPU operator keep several annotations with this prefix.
const NVIDIA: &str = "maintenance.nvidia.com/";

/// Taints on a node, and whose they are.
const TAINTS: [(&str, &str); 3] = [
    ("karpenter.sh/disrupted", "karpenter disrupts it"),
    ("karpenter.sh/disruption", "karpenter disrupts it"), // before 1.0
    ("ToBeDeletedByClusterAutoscaler", "the cluster autoscaler deletes it"),
];

/// The lock of kured: an annotation on its own `DaemonSet`.
const KURED: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/kured";
const KURED_LOCK: &str = "weave.works/kured-node-lock";

const NODE_MAINTENANCES: &str = "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances";

/// What the groups of medik8s' custom resources end with, such as `self-node-remediation.medik8s.io`.
const MEDIK8S: &str = ".medik8s.io";

/// Whether it is one of medik8s' groups of resources.
pub fn is_of_medik8s(group: &str) -> bool {
    group.ends_with(MEDIK8S)
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Taint {
    pub key: String,
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    pub effect: String,
}

/// Claims that are not written on the Node itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClaimsElsewhere {
    /// In words.
    pub claims: Vec<String>,
    /// What could not be read, and why: no claim, but worth a line.
    pub unread: Vec<String>,
}

/// The claims that a Node carries itself.
pub(super) fn on_node(
    annotations: &BTreeMap<String, String>,
    taints: &[Taint],
    is_being_deleted: bool,
) -> Vec<String> {
    let annotated = ANNOTATIONS
        .iter()
        .filter(|(name, _)| annotations.contains_key(*name))
        .map(|(name, what)| format!("{what} (annotation {name})"));
    let nvidia = annotations
        .keys()
        .find(|name| name.starts_with(NVIDIA))
        .map(|name| format!("NVIDIA's maintenance operator has it (annotation {name})"));
    let tainted = TAINTS
        .iter()
        .filter(|(key, _)| taints.iter().any(|taint| taint.key == *key))
        .map(|(key, what)| format!("{what} (taint {key})"));
    let deleted = is_being_deleted.then(|| "it is being deleted (deletionTimestamp)".to_owned());
    annotated.chain(nvidia).chain(tainted).chain(deleted).collect()
}

impl Cluster {
    /// Asks for the claims that are not on the Node. What is not installed claims nothing.
    pub async fn claims_elsewhere(&self, node: &str) -> ClaimsElsewhere {
        let of_medik8s = async {
            let is_there = self.has_medik8s().await;
            // Rules are asked before anything else: without them the answer would be that it may not be read.
            if matches!(is_there, Ok(false)) {
                return (Ok(None), Ok(None));
            }
            let holder = async { if is_there? { self.medik8s_holder(node).await } else { Ok(None) } };
            futures::join!(self.read_if_there::<NodeMaintenances>(NODE_MAINTENANCES), holder)
        };
        let (kured, (maintenances, medik8s)) =
            futures::join!(self.read_if_there::<KuredDaemonSet>(KURED), of_medik8s);
        let mut found = ClaimsElsewhere::default();
        match kured.map(|daemon_set| daemon_set.map_or(Ok(Vec::new()), KuredDaemonSet::owners)) {
            Ok(Ok(owners)) if owners.iter().any(|owner| owner == node) => {
                found.claims.push("kured's lock names it: kured reboots it".to_owned());
            }
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                let why = format!("kured's lock: the annotation {KURED_LOCK} is not as kured writes it");
                found.unread.push(why);
            }
            Err(error) => found.unread.push(format!("kured's lock: {error}")),
        }
        match maintenances {
            Ok(list) => found.claims.extend(list.unwrap_or_default().naming(node)),
            Err(error) => found.unread.push(format!("NodeMaintenances: {error}")),
        }
        let LeaseKey { namespace, name } = LeaseKey::of_medik8s(node);
        match medik8s {
            Ok(holder) => found.claims.extend(
                holder.map(|holder| format!("medik8s has it: {holder} holds the Lease {namespace}/{name}")),
            ),
            Err(error) => found.unread.push(format!("the Lease {namespace}/{name} of medik8s: {error}")),
        }
        found
    }

    /// Whether one of medik8s' operators is installed. Its namespace does not tell: a tenant may be allowed to make any.
    pub async fn has_medik8s(&self) -> Result<bool, ApiError> {
        Ok(self.api_groups().await?.iter().any(|group| is_of_medik8s(group)))
    }

    /// The names of the groups of resources that the API server has.
    pub async fn api_groups(&self) -> Result<BTreeSet<String>, ApiError> {
        let groups: Groups = self.call(get("/apis")?).await?;
        Ok(groups.groups.into_iter().map(|group| group.name).collect())
    }

    /// `None` if there is no such thing.
    pub(super) async fn read_if_there<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.call(get(path)?).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn get(path: &str) -> Result<Request<Vec<u8>>, ApiError> {
    Request::get(path).body(Vec::new()).map_err(|error| ApiError::Unexpected(error.to_string()))
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
}

#[derive(Deserialize)]
struct KuredDaemonSet {
    metadata: KuredMeta,
}

#[derive(Deserialize)]
struct KuredMeta {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// One owner, or with `--concurrency` several (`kured/pkg/daemonsetlock`).
#[derive(Deserialize)]
#[serde(untagged)]
enum KuredLock {
    Several { locks: Vec<KuredOwner> },
    One(KuredOwner),
}

#[derive(Deserialize)]
struct KuredOwner {
    #[serde(rename = "nodeID")]
    node: String,
}

impl KuredDaemonSet {
    /// The nodes that hold the lock.
    fn owners(self) -> Result<Vec<String>, serde_json::Error> {
        let lock = self.metadata.annotations.get(KURED_LOCK).filter(|lock| !lock.is_empty());
        let Some(lock) = lock else { return Ok(Vec::new()) };
        serde_json::from_str(lock).map(|lock| match lock {
            KuredLock::Several { locks } => locks.into_iter().map(|owner| owner.node).collect(),
            KuredLock::One(owner) => vec![owner.node],
        })
    }
}

#[derive(Default, Deserialize)]
struct NodeMaintenances {
    items: Vec<NodeMaintenance>,
}

#[derive(Deserialize)]
struct NodeMaintenance {
    metadata: Named,
    #[serde(default)]
    spec: NodeMaintenanceSpec,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeMaintenanceSpec {
    node_name: String,
    reason: String,
}

impl NodeMaintenances {
    fn naming(self, node: &str) -> impl Iterator<Item = String> {
        self.items.into_iter().filter(move |item| item.spec.node_name == node).map(|item| {
            let reason = if item.spec.reason.is_empty() { "no reason given" } else { &item.spec.reason };
            format!("the NodeMaintenance {} has it: {reason}", item.metadata.name)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn each_owner_is_named() {
        let annotation = |name: &str| BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        let taint =
            |key: &str| [Taint { key: key.into(), value: String::new(), effect: "NoSchedule".into() }];
        for (claims, owner) in [
            (on_node(&annotation("draino.planet.com/conditions"), &[], false), "draino"),
            (on_node(&annotation("cke.cybozu.com/reboot"), &[], false), "CKE"),
            (
                on_node(&annotation("maintenance.nvidia.com/node-initial-state.unschedulable"), &[], false),
                "NVIDIA",
            ),
            (on_node(&BTreeMap::new(), &taint("karpenter.sh/disrupted"), false), "karpenter"),
            (on_node(&BTreeMap::new(), &taint("karpenter.sh/disruption"), false), "karpenter"),
            (on_node(&BTreeMap::new(), &taint("ToBeDeletedByClusterAutoscaler"), false), "autoscaler"),
            (on_node(&BTreeMap::new(), &[], true), "deleted"),
        ] {
            assert!(claims.len() == 1 && claims[0].contains(owner), "{owner}: {claims:?}");
        }
        let ours = annotation("sciuro.dev/remediation");
        assert_eq!(on_node(&ours, &taint("node.kubernetes.io/unschedulable"), false), Vec::<String>::new());
    }

    #[test]
    fn the_lock_of_kured_is_read_in_both_forms() {
        let owners = |lock: &str| {
            let object = json!({"metadata": {"annotations": {KURED_LOCK: lock}}});
            serde_json::from_value::<KuredDaemonSet>(object).unwrap().owners()
        };
        assert_eq!(owners("").unwrap(), Vec::<String>::new());
        assert_eq!(owners(r#"{"nodeID":"w1","TTL":0}"#).unwrap(), ["w1"]);
        let several = r#"{"maxOwners":2,"locks":[{"nodeID":"w1"},{"nodeID":"w2"}]}"#;
        assert_eq!(owners(several).unwrap(), ["w1", "w2"]);
        assert!(owners("w1").is_err());
    }
}
