//! Names alone, for completion: metadata where the server can give no less, and nothing is waited for twice.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::ListParams;
use kube::core::{ObjectList, PartialObjectMeta};
use serde::de::DeserializeOwned;

use super::api::Cluster;
use super::error::ApiError;

impl Cluster {
    pub async fn node_names(&self) -> Result<BTreeSet<String>, ApiError> {
        self.names::<Node>("/api/v1/nodes").await
    }

    pub async fn namespace_names(&self) -> Result<BTreeSet<String>, ApiError> {
        self.names::<Namespace>("/api/v1/namespaces").await
    }

    /// The types of all conditions of all nodes.
    pub async fn condition_types(&self) -> Result<BTreeSet<String>, ApiError> {
        let nodes = self.list_nodes().await?;
        Ok(nodes.into_iter().flat_map(|node| node.conditions).map(|condition| condition.type_).collect())
    }

    async fn names<K>(&self, path: &str) -> Result<BTreeSet<String>, ApiError>
    where
        K: Clone,
        PartialObjectMeta<K>: DeserializeOwned + Send + 'static,
    {
        let request = kube::core::Request::new(path).list_metadata(&ListParams::default())?;
        let list: ObjectList<PartialObjectMeta<K>> = self.call(request).await?;
        Ok(list.items.into_iter().filter_map(|object| object.metadata.name).collect())
    }
}
