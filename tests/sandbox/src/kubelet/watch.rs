//! One watch for all machines. A kubelet reads its own Node every 10 s and so sees what others made of it; for
//! thousands of machines a watch gives the same at a fraction of the cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{TryStreamExt, pin_mut};
use http::Request;
use kube::core::WatchEvent;
use serde::Deserialize;
use tokio::time::sleep;

use super::machine::Machine;

type Machines = BTreeMap<String, Arc<Machine>>;

#[derive(Clone, Deserialize)]
struct NodeList {
    metadata: ListMetadata,
    items: Vec<Node>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
}

/// Of a Node's 13 kB only what is needed.
#[derive(Clone, Deserialize)]
struct Node {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: String,
    resource_version: String,
}

#[derive(Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Deserialize)]
struct Condition {
    r#type: String,
    #[serde(default)]
    status: String,
}

/// Tells each machine what others write about it, until aborted.
pub(super) async fn run(client: kube::Client, machines: Arc<Machines>) {
    loop {
        _ = list_and_watch(&client, &machines).await;
        sleep(Duration::from_secs(1)).await;
    }
}

async fn list_and_watch(client: &kube::Client, machines: &Machines) -> kube::Result<()> {
    let list: NodeList = client.request(get("/api/v1/nodes?resourceVersion=0")?).await?;
    let mut version = list.metadata.resource_version;
    for node in &list.items {
        observe(machines, node).await;
    }
    loop {
        version = watch(client, machines, version).await?;
    }
}

/// Returns the version to go on from when the server ends the watch, as it does every few minutes.
async fn watch(client: &kube::Client, machines: &Machines, mut version: String) -> kube::Result<String> {
    let path = format!("/api/v1/nodes?watch=true&allowWatchBookmarks=true&resourceVersion={version}");
    let events = client.request_events::<Node>(get(&path)?).await?;
    pin_mut!(events);
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(node) | WatchEvent::Modified(node) => {
                observe(machines, &node).await;
                version = node.metadata.resource_version;
            }
            WatchEvent::Deleted(node) => {
                if let Some(machine) = machines.get(&node.metadata.name) {
                    machine.observe(None).await;
                }
                version = node.metadata.resource_version;
            }
            WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        }
    }
    Ok(version)
}

async fn observe(machines: &Machines, node: &Node) {
    let Some(machine) = machines.get(&node.metadata.name) else { return };
    let ready = node.status.conditions.iter().find(|condition| condition.r#type == "Ready");
    machine.observe(Some((&node.metadata.uid, ready.map_or("", |ready| &ready.status)))).await;
}

fn get(path: &str) -> kube::Result<Request<Vec<u8>>> {
    Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)
}
