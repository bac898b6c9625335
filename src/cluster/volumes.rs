//! Volumes that are attached to a node.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Resource;
use kube::api::GetParams;
use serde::Deserialize;
use tokio::sync::mpsc::Sender;

use super::api::Cluster;
use super::error::ApiError;
use super::follow::{Change, Collection, Listed, Wire};
use crate::core::drain::Attachment;

/// A server selects none of them by their node.
fn collection() -> Collection {
    let path = "/apis/storage.k8s.io/v1/volumeattachments";
    Collection { path, labels: None, fields: None, chunk: None }
}

impl Cluster {
    pub async fn list_attachments(&self) -> Result<Listed<Attachment>, ApiError> {
        self.list_slim::<WireAttachment>(&collection()).await
    }

    /// Tells of every change after `version`, until nobody listens. Returns what makes that impossible.
    pub async fn follow_attachments(
        &self,
        version: String,
        to: &Sender<Change<Attachment>>,
    ) -> Option<ApiError> {
        self.follow::<WireAttachment>(&collection(), version, to).await
    }

    /// The `PersistentVolume` that a claim is bound to.
    pub async fn volume_of_claim(&self, namespace: &str, claim: &str) -> Result<Option<String>, ApiError> {
        let path = PersistentVolumeClaim::url_path(&(), Some(namespace));
        let request = kube::core::Request::new(path).get(claim, &GetParams::default())?;
        let claim: PersistentVolumeClaim = self.call(request).await?;
        Ok(claim.spec.and_then(|spec| spec.volume_name))
    }
}

#[derive(Deserialize)]
struct WireAttachment {
    metadata: Meta,
    spec: AttachmentSpec,
    #[serde(default)]
    status: AttachmentStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AttachmentStatus {
    detach_error: Option<VolumeError>,
}

#[derive(Deserialize)]
struct VolumeError {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    #[serde(default)]
    resource_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentSpec {
    node_name: String,
    #[serde(default)]
    source: Source,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Source {
    persistent_volume_name: Option<String>,
}

impl Wire for WireAttachment {
    type Object = Attachment;

    fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn into_object(self) -> Attachment {
        let Self { metadata, spec, status } = self;
        Attachment {
            name: metadata.name,
            node: spec.node_name,
            volume: spec.source.persistent_volume_name,
            detach_error: status
                .detach_error
                .map(|error| error.message)
                .filter(|message| !message.is_empty()),
        }
    }
}
