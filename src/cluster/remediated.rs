//! The node that is remediated: read with all that a remediation asks of it, and followed through outages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::GetParams;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::watch;

use super::api::Cluster;
use super::claims::{self, Taint};
use super::error::{ApiError, Refusals};
use super::nodes::{FIELD_MANAGER, NODES, Received, SlimForm, Versioned, null_is_default};
use super::record;
use super::watch::{NodeSelection, SeenNodes};
use crate::core::remediation::NodeView;
use crate::core::standing::UNDER_WAY;

const KEEP_CORDONED: &str = "sciuro.dev/keep-cordoned";
pub(super) const ABORT: &str = "sciuro.dev/abort";
/// What the rules of the server, or its certificate, do not allow now may be allowed again later.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// One node, as the API server has it.
#[derive(Debug, Clone, PartialEq)]
pub struct RemediatedNode {
    /// What the state machine decides on.
    pub view: NodeView,
    pub name: String,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// The field managers that own `spec.unschedulable`, such as `kubectl` after `kubectl cordon`, as far as they have names.
    pub cordoned_by: Vec<String>,
    pub info: NodeInfo,
    pub addresses: Vec<TypedAddress>,
    pub provider_id: Option<String>,
    pub conditions: Vec<SpeltCondition>,
    /// Quantities as spelt.
    pub allocatable: BTreeMap<String, String>,
    pub is_being_deleted: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    #[serde(rename = "bootID")]
    pub boot_id: String,
    pub os_image: String,
    pub kernel_version: String,
    pub kubelet_version: String,
    pub operating_system: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TypedAddress {
    /// `InternalIP`, `Hostname` …
    #[serde(rename = "type")]
    pub kind: String,
    pub address: String,
}

/// A condition, with its times as spelt: they are compared with each other, never with a clock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeltCondition {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub last_heartbeat_time: Option<String>,
    #[serde(default)]
    pub last_transition_time: Option<String>,
}

impl RemediatedNode {
    /// The annotation that carries the record, whatever is in it.
    pub fn record_json(&self) -> Option<&str> {
        self.annotations.get(record::ANNOTATION).map(String::as_str)
    }

    pub fn condition(&self, kind: &str) -> Option<&SpeltCondition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// It says that a remediation is under way.
    pub fn says_under_way(&self) -> bool {
        self.condition(UNDER_WAY).is_some()
    }

    pub fn ready(&self) -> Option<&SpeltCondition> {
        self.condition("Ready")
    }

    /// Whether this is older than what is known already: a watch lags behind our own writes. Versions are numbers that
    /// grow (since Kubernetes 1.35 as a promise); of others nothing is said.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let number = |node: &Self| node.resource_version.parse::<u64>().ok();
        self.view.uid == other.view.uid
            && matches!((number(self), number(other)), (Some(this), Some(other)) if this < other)
    }
}

/// A node, as a watch knows it.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchedNode {
    Here(Box<RemediatedNode>),
    /// There is no node of this name.
    Gone,
    /// Nobody answers, or did not yet.
    Unknown {
        since: Timestamp,
        why: String,
    },
    /// The API server refuses to show it, and stays with that.
    Denied {
        why: String,
    },
}

impl Cluster {
    /// `None` if there is no such node.
    pub async fn remediated_node(&self, name: &str) -> Result<Option<RemediatedNode>, ApiError> {
        // Of a path made of anything else it is not certain where it leads.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
            || name.starts_with('.')
        {
            return Ok(None);
        }
        let request = kube::core::Request::new(NODES).get(name, &GetParams::default())?;
        match self.call::<Received<RemediatedNode>>(request).await {
            Ok(received) => Ok(Some(received.node)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Follows one node until the receiver is dropped. Nothing ends it: not an outage, not a server that starts anew, not
    /// rules that forbid it, which is said once it stays so.
    pub fn watch_remediated_node(self: &Arc<Self>, name: &str) -> watch::Receiver<WatchedNode> {
        let unread = WatchedNode::Unknown { since: Timestamp::now(), why: "not read yet".into() };
        let (sender, receiver) = watch::channel(unread);
        let (cluster, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = cluster.tell_of_node(&name, &sender) => {}
            }
        });
        receiver
    }

    async fn tell_of_node(&self, name: &str, sender: &watch::Sender<WatchedNode>) {
        let fields = format!("metadata.name={name}");
        let selection = NodeSelection { fields: Some(&fields), ..NodeSelection::default() };
        let mut refusals = Refusals::default();
        loop {
            let seen = watch::Sender::new(SeenNodes::<RemediatedNode>::default());
            let mut news = seen.subscribe();
            let tell = async {
                while news.changed().await.is_ok() {
                    tell(&news.borrow_and_update(), name, sender);
                }
                std::future::pending().await // never: `seen` is there
            };
            let (_, error) = tokio::select! {
                ended = self.follow_nodes_until(selection, &seen) => ended,
                never = tell => never,
            };
            if seen.borrow().listed {
                refusals.over();
            }
            if refusals.heard(&error) {
                sender.send_replace(WatchedNode::Denied { why: error.to_string() });
            } else {
                lose_sight(sender, Timestamp::now(), error.to_string());
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

fn tell(seen: &SeenNodes<RemediatedNode>, name: &str, sender: &watch::Sender<WatchedNode>) {
    match (&seen.interrupted, seen.nodes.get(name)) {
        (Some((since, why)), _) => lose_sight(sender, *since, why.clone()),
        (None, Some(node)) => drop(sender.send_replace(WatchedNode::Here(Box::new(node.clone())))),
        (None, None) if seen.listed => drop(sender.send_replace(WatchedNode::Gone)),
        (None, None) => {}
    }
}

fn lose_sight(sender: &watch::Sender<WatchedNode>, now: Timestamp, why: String) {
    sender.send_modify(|node| {
        let since = match node {
            WatchedNode::Unknown { since, .. } => *since,
            WatchedNode::Here(_) | WatchedNode::Gone | WatchedNode::Denied { .. } => now,
        };
        *node = WatchedNode::Unknown { since, why };
    });
}

/// What is read of a node: all but its images.
#[derive(Deserialize)]
pub struct WholeNode {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    uid: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    managed_fields: Vec<Managed>,
    deletion_timestamp: Option<IgnoredAny>,
}

/// Who owns which fields, as far as cordons go.
#[derive(Deserialize)]
struct Managed {
    #[serde(default)]
    manager: String,
    #[serde(rename = "fieldsV1", default, deserialize_with = "null_is_default")]
    fields: ManagedFields,
}

#[derive(Default, Deserialize)]
struct ManagedFields {
    #[serde(rename = "f:spec", default, deserialize_with = "null_is_default")]
    spec: ManagedSpec,
}

#[derive(Default, Deserialize)]
struct ManagedSpec {
    #[serde(rename = "f:unschedulable")]
    unschedulable: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    unschedulable: bool,
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    taints: Vec<Taint>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default, deserialize_with = "null_is_default")]
    addresses: Vec<TypedAddress>,
    #[serde(default, deserialize_with = "null_is_default")]
    conditions: Vec<SpeltCondition>,
    #[serde(default, deserialize_with = "null_is_default")]
    allocatable: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    node_info: NodeInfo,
}

impl Versioned for WholeNode {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl SlimForm for RemediatedNode {
    type Read = WholeNode;

    /// A watch may hang on a dead connection, and a run waits for a machine that may be the server's own.
    const SERVE_FOR: u32 = 30;

    const LISTED_ANEW: bool = true;

    fn name(&self) -> &str {
        &self.name
    }

    fn is_news(&self, _before: Option<&Self>) -> bool {
        true
    }
}

impl From<WholeNode> for RemediatedNode {
    fn from(node: WholeNode) -> Self {
        let WholeNode { metadata, spec, status } = node;
        let is_being_deleted = metadata.deletion_timestamp.is_some();
        let owns_cordon = |managed: &Managed| managed.fields.spec.unschedulable.is_some();
        let mut cordoned_by: Vec<String> =
            metadata.managed_fields.into_iter().filter(owns_cordon).map(|managed| managed.manager).collect();
        let annotation = |name: &str| metadata.annotations.get(name);
        let view = NodeView {
            uid: metadata.uid,
            boot_id: status.node_info.boot_id.clone(),
            unschedulable: spec.unschedulable,
            cordon_is_ours: !cordoned_by.is_empty()
                && cordoned_by.iter().all(|manager| manager == FIELD_MANAGER),
            keep_cordoned: annotation(KEEP_CORDONED).is_some(),
            claims: claims::on_node(&metadata.annotations, &spec.taints, is_being_deleted),
            abort: annotation(ABORT).cloned(),
            record: record::read(annotation(record::ANNOTATION).map(String::as_str)),
        };
        cordoned_by.retain(|manager| !manager.is_empty());
        Self {
            view,
            name: metadata.name,
            resource_version: metadata.resource_version,
            labels: metadata.labels,
            annotations: metadata.annotations,
            taints: spec.taints,
            cordoned_by,
            info: status.node_info,
            addresses: status.addresses,
            provider_id: spec.provider_id.filter(|id| !id.is_empty()),
            conditions: status.conditions,
            allocatable: status.allocatable,
            is_being_deleted,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn node(object: Value) -> RemediatedNode {
        serde_json::from_value::<Received<RemediatedNode>>(object).unwrap().node
    }

    fn managed(managers: &[&str]) -> RemediatedNode {
        let entry = |manager: &&str| {
            json!({"manager": manager, "operation": "Update", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:unschedulable": {}, "f:podCIDR": {}}}})
        };
        let mut fields: Vec<Value> = managers.iter().map(entry).collect();
        fields.push(json!({"manager": "kubelet", "fieldsV1": {"f:status": {"f:conditions": {}}}}));
        fields.push(json!({"manager": "kubectl-sciuro", "fieldsV1": {"f:metadata": {}}}));
        node(json!({"metadata": {"name": "w1", "uid": "u", "managedFields": fields}}))
    }

    #[test]
    fn a_cordon_is_ours_if_nobody_else_owns_the_field() {
        assert!(managed(&["kubectl-sciuro"]).view.cordon_is_ours);
        for others in [&[][..], &["kubectl-cordon"], &["kubectl-sciuro", "kured"], &["kubectl-sciuro2"]] {
            let node = managed(others);
            assert!(!node.view.cordon_is_ours, "{others:?}");
            assert_eq!(node.cordoned_by, others);
        }
        for nameless in [&[""][..], &["kubectl-sciuro", ""]] {
            let node = managed(nameless);
            assert!(!node.view.cordon_is_ours, "{nameless:?}");
            assert!(node.cordoned_by.iter().all(|manager| manager == "kubectl-sciuro"), "{node:?}");
        }
    }

    #[test]
    fn what_is_null_or_missing_is_read_as_nothing() {
        let bare = node(json!({"metadata": {"name": "w1", "uid": "u"}}));
        let nulls = node(json!({
            "metadata": {"name": "w1", "uid": "u", "labels": null, "annotations": null, "managedFields": [{}],
                "deletionTimestamp": null},
            "spec": {"taints": null, "providerID": ""},
            "status": {"addresses": null, "conditions": null, "allocatable": null, "nodeInfo": null},
        }));
        assert_eq!(bare, nulls);
        assert_eq!(bare.view, NodeView { uid: "u".into(), ..NodeView::default() });
    }

    #[test]
    fn a_watch_that_lags_behind_is_told_from_a_node_made_anew() {
        let at = |version: &str, uid: &str| {
            node(json!({"metadata": {"name": "w1", "uid": uid, "resourceVersion": version}}))
        };
        assert!(at("9", "u").is_older_than(&at("10", "u")));
        assert!(!at("10", "u").is_older_than(&at("10", "u")));
        assert!(!at("9", "v").is_older_than(&at("10", "u")), "another node");
        assert!(!at("a", "u").is_older_than(&at("b", "u")), "who knows");
    }
}
