//! The pods of one node, reduced to what a drain needs of them, and their `DaemonSets`.

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet as AppsDaemonSet;
use kube::Resource;
use kube::api::GetParams;
use kube::core::PartialObjectMeta;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc::Sender;

use super::api::Cluster;
use super::error::ApiError;
use super::follow::{Change, Collection, Listed, Wire};
use super::nodes::{lenient_time, null_is_default};
use crate::core::drain::{DaemonSet, Owner, Phase, Pod};

/// The taint of a cordoned node; its effect is `NoSchedule`.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The pods of a node.
#[derive(Debug, Clone)]
pub struct PodSelection {
    pub node: String,
    pub labels: Option<String>,
    /// How many come in one answer; `None`: all.
    pub chunk: Option<u32>,
}

impl PodSelection {
    /// All of them, in chunks as kubectl takes them.
    pub fn of_node(node: &str) -> Self {
        Self { node: node.to_owned(), labels: None, chunk: Some(500) }
    }

    fn collection(&self) -> Collection {
        Collection {
            path: "/api/v1/pods",
            labels: self.labels.clone(),
            fields: Some(format!("spec.nodeName={}", self.node)),
            chunk: self.chunk,
        }
    }
}

impl Cluster {
    pub async fn list_pods(&self, selection: &PodSelection) -> Result<Listed<Pod>, ApiError> {
        self.list_slim::<WirePod>(&selection.collection()).await
    }

    /// Tells of every change after `version`, until nobody listens. Returns what makes that impossible.
    pub async fn follow_pods(
        &self,
        selection: &PodSelection,
        version: String,
        to: &Sender<Change<Pod>>,
    ) -> Option<ApiError> {
        self.follow::<WirePod>(&selection.collection(), version, to).await
    }

    pub async fn daemon_set(&self, namespace: &str, name: &str) -> DaemonSet {
        let path = AppsDaemonSet::url_path(&(), Some(namespace));
        let request = kube::core::Request::new(path).get_metadata(name, &GetParams::default());
        let asked = match request {
            Ok(request) => self.call::<PartialObjectMeta<AppsDaemonSet>>(request).await,
            Err(error) => Err(error.into()),
        };
        match asked {
            Ok(_) => DaemonSet::Exists,
            Err(ApiError::Status(status)) if status.code == StatusCode::NOT_FOUND => {
                DaemonSet::NotFound(status.message)
            }
            Err(ApiError::Status(status)) => DaemonSet::Unknown(status.message),
            Err(error) => DaemonSet::Unknown(error.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct WirePod {
    metadata: Meta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    namespace: String,
    uid: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: Annotations,
    #[serde(default, deserialize_with = "null_is_default")]
    owner_references: Vec<OwnerReference>,
    #[serde(default, deserialize_with = "lenient_time")]
    deletion_timestamp: Option<Timestamp>,
    #[serde(default, deserialize_with = "null_is_default")]
    finalizers: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OwnerReference {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    #[serde(deserialize_with = "null_is_default")]
    volumes: Vec<Volume>,
    #[serde(deserialize_with = "null_is_default")]
    tolerations: Vec<Toleration>,
    termination_grace_period_seconds: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: String,
    empty_dir: Option<IgnoredAny>,
    persistent_volume_claim: Option<Claim>,
    ephemeral: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Claim {
    claim_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Toleration {
    key: String,
    operator: String,
    value: String,
    effect: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: String,
    #[serde(deserialize_with = "null_is_default")]
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

impl Toleration {
    /// `ToleratesTaint` in `k8s.io/component-helpers`.
    fn tolerates_cordon(&self) -> bool {
        let effect = self.effect.is_empty() || self.effect == "NoSchedule";
        let key = self.key == UNSCHEDULABLE || (self.key.is_empty() && self.operator == "Exists");
        let value = self.operator == "Exists"
            || (self.value.is_empty() && (self.operator.is_empty() || self.operator == "Equal"));
        effect && key && value
    }
}

impl Wire for WirePod {
    type Object = Pod;

    fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn into_object(self) -> Pod {
        let Self { metadata, spec, status } = self;
        let owner = metadata.owner_references.into_iter().find(|owner| owner.controller == Some(true));
        let pod_name = &metadata.name;
        let claim = |volume: &Volume| match &volume.persistent_volume_claim {
            Some(claim) => Some(claim.claim_name.clone()),
            // The claim of a generic ephemeral volume is named after pod and volume.
            None => volume.ephemeral.as_ref().map(|_| format!("{pod_name}-{}", volume.name)),
        };
        Pod {
            claims: spec.volumes.iter().filter_map(claim).collect(),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            labels: metadata.labels,
            owner: owner.map(|OwnerReference { api_version, kind, name, uid, .. }| Owner {
                api_version,
                kind,
                name,
                uid,
            }),
            phase: match status.phase.as_str() {
                "Pending" => Phase::Pending,
                "Running" => Phase::Running,
                "Succeeded" => Phase::Succeeded,
                "Failed" => Phase::Failed,
                _ => Phase::Unknown,
            },
            ready: status
                .conditions
                .iter()
                .any(|condition| condition.r#type == "Ready" && condition.status == "True"),
            is_mirror: metadata.annotations.mirror.is_some(),
            empty_dirs: spec
                .volumes
                .iter()
                .filter(|volume| volume.empty_dir.is_some())
                .map(|volume| volume.name.clone())
                .collect(),
            tolerates_cordon: spec.tolerations.iter().any(Toleration::tolerates_cordon),
            grace_seconds: spec.termination_grace_period_seconds,
            deletion: metadata.deletion_timestamp,
            finalizers: metadata.finalizers,
        }
    }
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
