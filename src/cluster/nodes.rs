//! Nodes: listed into slim structs, written by strategic merge patch.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderValue, Request, StatusCode, header};
use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ObjectList, PartialObjectMeta};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::api::Cluster;
use super::error::ApiError;
use super::record;
use crate::core::condition::{Change, ChangeKind};
use crate::core::node::{Condition, Node};
use crate::core::report::ShownNode;

pub(super) const NODES: &str = "/api/v1/nodes";
pub(super) const FIELD_MANAGER: &str = "kubectl-sciuro";

/// What became of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Patched,
    /// The node was deleted or replaced since it was listed: nothing was written, and nothing needs to be.
    Gone,
}

impl Cluster {
    /// All nodes, without their images and managedFields: 5 MB instead of 54 MB per 1,000 nodes.
    pub async fn list_nodes(&self) -> Result<Vec<Node>, ApiError> {
        Ok(self.list_at(None, None).await?.0)
    }

    /// The nodes that the selectors match, with what `status` shows besides.
    pub async fn list_shown_nodes(
        &self,
        selector: Option<&str>,
        field_selector: Option<&str>,
    ) -> Result<Vec<ShownNode>, ApiError> {
        Ok(self.list_at(selector, field_selector).await?.0)
    }

    /// The same, with the version from which a watch may go on.
    pub(super) async fn list_at<N: SlimForm>(
        &self,
        selector: Option<&str>,
        field_selector: Option<&str>,
    ) -> Result<(Vec<N>, String), ApiError> {
        let parameters = ListParams {
            label_selector: selector.map(str::to_owned),
            field_selector: field_selector.map(str::to_owned),
            ..ListParams::default()
        };
        // No limit and no resourceVersion: one consistent list, which the server takes from its cache.
        let request = kube::core::Request::new(NODES).list(&parameters)?;
        let list: NodeList<N> = self.call(request).await?;
        if list.kind != "NodeList" {
            return Err(ApiError::Unexpected(format!(
                "expected a NodeList, the answer's kind is {:?}",
                list.kind
            )));
        }
        Ok((list.items.into_iter().map(|listed| listed.node).collect(), list.metadata.resource_version))
    }

    /// Names of the nodes that a label selector matches, decided by the server.
    pub async fn select_nodes(&self, selector: &str) -> Result<BTreeSet<String>, ApiError> {
        let parameters = ListParams::default().labels(selector);
        let request = kube::core::Request::new(NODES).list_metadata(&parameters)?;
        let list: ObjectList<PartialObjectMeta<k8s_openapi::api::core::v1::Node>> =
            self.call(request).await?;
        Ok(list.items.into_iter().filter_map(|node| node.metadata.name).collect())
    }

    /// Writes the planned changes of one node and nothing else of it.
    ///
    /// Strategic merge by condition type, with full entries and the uid as the guard. Not JSON merge patch, which
    /// overwrites a kubelet's concurrent Ready=False (kubernetes#37771); not server-side apply, where an empty
    /// set erased Ready as well; no resourceVersion, or each heartbeat of the kubelet would be a conflict.
    pub async fn patch_conditions(
        &self,
        node: &Node,
        changes: &[Change],
        dry_run: bool,
    ) -> Result<Written, ApiError> {
        for conditions in patches(changes) {
            let body = json!({"metadata": {"uid": node.uid}, "status": {"conditions": conditions}});
            if self.patch_status(&node.name, body, dry_run).await? == Written::Gone {
                return Ok(Written::Gone);
            }
            if dry_run {
                break; // a second patch would build on the first, which was not stored
            }
        }
        Ok(Written::Patched)
    }

    pub(super) async fn patch_status(
        &self,
        name: &str,
        body: Value,
        dry_run: bool,
    ) -> Result<Written, ApiError> {
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.into()), dry_run, ..PatchParams::default() };
        let mut request = kube::core::Request::new(NODES).patch_subresource(
            "status",
            name,
            &parameters,
            &Patch::Strategic(body),
        )?;
        answer_with_metadata(&mut request);
        match self.send_and_forget(request).await {
            Ok(()) => Ok(Written::Patched),
            Err(error) if is_gone(&error) => Ok(Written::Gone),
            Err(error) => Err(error),
        }
    }
}

/// The answer to a patch is the node, 13 kB of it; its metadata will do.
fn answer_with_metadata(request: &mut Request<Vec<u8>>) {
    request.headers_mut().insert(
        header::ACCEPT,
        HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
    );
}

/// 404, or 422 because the uid is another's: the node is gone or replaced. Any other 422 is an admission
/// policy's, and an error.
pub(super) fn is_gone(error: &ApiError) -> bool {
    match (error.code(), error) {
        (Some(StatusCode::NOT_FOUND), _) => true,
        (Some(StatusCode::UNPROCESSABLE_ENTITY), ApiError::Status(status)) => status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .any(|cause| cause.field == "metadata.uid"),
        _ => false,
    }
}

/// The lists of conditions to patch, in order: one, or two if a duplicated type has to be emptied first (of
/// duplicates a strategic merge updates only the first).
fn patches(changes: &[Change]) -> Vec<Vec<Value>> {
    let delete = |change: &Change| json!({"type": change.condition.type_, "$patch": "delete"});
    let (deleted, kept): (Vec<_>, Vec<_>) =
        changes.iter().partition(|change| change.kind == ChangeKind::Delete);
    let deletions: Vec<Value> = deleted.into_iter().map(delete).collect();
    let entries: Vec<Value> = kept.iter().map(|change| entry(&change.condition)).collect();
    let emptied: Vec<Value> =
        kept.iter().filter(|change| change.duplicated).map(|change| delete(change)).collect();
    if emptied.is_empty() {
        vec![entries.into_iter().chain(deletions).collect()]
    } else {
        vec![emptied.into_iter().chain(deletions).collect(), entries]
    }
}

fn entry(condition: &Condition) -> Value {
    json!({
        "type": condition.type_,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastHeartbeatTime": condition.last_heartbeat,
        "lastTransitionTime": condition.last_transition,
    })
}

#[derive(Deserialize)]
#[serde(bound = "N: SlimForm")]
struct NodeList<N> {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default, deserialize_with = "null_is_default")]
    items: Vec<Received<N>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
}

/// What is kept of a node that the server sends.
pub trait SlimForm: From<Self::Read> + Send + 'static {
    /// What is read of it.
    type Read: Versioned;

    /// How long the server is to serve one watch, in seconds; it ends it with a bookmark then.
    const SERVE_FOR: u32 = 290;

    /// After an outage all are listed, and not taken for what they were until news come.
    const LISTED_ANEW: bool = false;

    fn name(&self) -> &str;

    /// Whether somebody who knows the nodes as they were `before` is to be told at once.
    fn is_news(&self, before: Option<&Self>) -> bool;
}

/// Something that was read, with the version of its object.
pub trait Versioned: DeserializeOwned {
    fn version(&self) -> &str;
}

impl Versioned for SlimNode {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl SlimForm for ShownNode {
    type Read = SlimNode;

    fn name(&self) -> &str {
        &self.node.name
    }

    fn is_news(&self, _before: Option<&Self>) -> bool {
        true
    }
}

/// Conditions are no news: most are a kubelet's heartbeats, and the rest we wrote ourselves.
impl SlimForm for Node {
    type Read = SlimNode;

    fn name(&self) -> &str {
        &self.name
    }

    fn is_news(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| self.uid != before.uid || !self.answers_to_the_same_names(before))
    }
}

/// Converted one by one while a list arrives, so that only the slim form piles up.
pub(super) struct Received<N> {
    pub(super) node: N,
    pub(super) version: String,
}

/// What is read of a node.
#[derive(Deserialize)]
pub struct SlimNode {
    metadata: SlimMeta,
    #[serde(default)]
    spec: SlimSpec,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimMeta {
    name: String,
    uid: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: SlimAnnotations,
}

#[derive(Default, Deserialize)]
struct SlimAnnotations {
    #[serde(rename = "sciuro.dev/remediation")]
    remediation: Option<String>,
}

#[derive(Default, Deserialize)]
struct SlimSpec {
    #[serde(default)]
    unschedulable: bool,
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
}

#[derive(Default, Deserialize)]
struct SlimStatus {
    #[serde(default, deserialize_with = "null_is_default")]
    addresses: Vec<SlimAddress>,
    #[serde(default, deserialize_with = "null_is_default")]
    conditions: Vec<SlimCondition>,
}

#[derive(Deserialize)]
struct SlimAddress {
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimCondition {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default, deserialize_with = "lenient_time")]
    last_heartbeat_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient_time")]
    last_transition_time: Option<Timestamp>,
}

pub(super) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A time that nobody can read is no time: one odd condition must not stop the work on all nodes.
pub(super) fn lenient_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

impl<'de, N: SlimForm> Deserialize<'de> for Received<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = N::Read::deserialize(deserializer)?;
        let version = read.version().to_owned();
        Ok(Self { node: read.into(), version })
    }
}

impl From<SlimNode> for Node {
    fn from(mut node: SlimNode) -> Self {
        Self {
            name: node.metadata.name,
            uid: node.metadata.uid,
            hostname: node.metadata.labels.remove("kubernetes.io/hostname"),
            addresses: node.status.addresses.into_iter().map(|address| address.address).collect(),
            provider_id: node.spec.provider_id.filter(|id| !id.is_empty()),
            conditions: node
                .status
                .conditions
                .into_iter()
                .map(|condition| Condition {
                    type_: condition.r#type,
                    status: condition.status,
                    reason: condition.reason,
                    message: condition.message,
                    last_heartbeat: condition.last_heartbeat_time,
                    last_transition: condition.last_transition_time,
                })
                .collect(),
        }
    }
}

impl From<SlimNode> for ShownNode {
    fn from(mut node: SlimNode) -> Self {
        let labels = node.metadata.labels.clone();
        let unschedulable = node.spec.unschedulable;
        let remediation = record::read(node.metadata.annotations.remediation.take().as_deref());
        Self { node: node.into(), labels, unschedulable, remediation }
    }
}
