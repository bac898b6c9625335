//! Watches.

use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt};
use http::Request;
use sandbox::ApiServer;
use serde_json::{Value, json};

use crate::{Cluster, NODES, condition};

/// The next event of a watch, `None` at its end; an error is a broken connection.
struct Watch<R> {
    lines: futures::io::Lines<R>,
    /// Controllers change nodes, too.
    noisy: bool,
}

impl<R: futures::AsyncBufRead + Unpin> Watch<R> {
    async fn next(&mut self) -> Option<Result<Value, std::io::Error>> {
        let line = tokio::time::timeout(Duration::from_secs(10), self.lines.next())
            .await
            .expect("an event in time")?;
        Some(line.map(|line| serde_json::from_str(&line).unwrap()))
    }

    /// `ADDED a`, with what follows the last dash of the name.
    async fn told(&mut self) -> String {
        let event = self.next().await.expect("an event").unwrap();
        let name =
            event["object"]["metadata"]["name"].as_str().unwrap_or_default().rsplit('-').next().unwrap();
        format!("{} {name}", event["type"].as_str().unwrap())
    }

    /// The next that is this one, or is not a controller's change.
    async fn told_at_last(&mut self, expected: &str) -> String {
        loop {
            let told = self.told().await;
            if told == expected || !self.noisy || !told.starts_with("MODIFIED") {
                return told;
            }
        }
    }
}

async fn watch(cluster: &Cluster, query: &str) -> Watch<impl futures::AsyncBufRead + Unpin + use<>> {
    let client = kube::Client::try_from(cluster.config.clone()).unwrap();
    let request = Request::get(format!("{NODES}?watch=true&{query}")).body(Vec::new()).unwrap();
    Watch {
        lines: Box::pin(client.request_stream(request).await.unwrap()).lines(),
        noisy: cluster.name == "real",
    }
}

#[tokio::test]
async fn from_a_version_on_every_change_is_told() {
    for cluster in Cluster::all("watch").await {
        let ours = format!("labelSelector=scenario%3D{},!left", cluster.prefix);
        let a = cluster.node("a", &json!({})).await;
        let list = cluster.get(&format!("{NODES}?{ours}")).await;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let b = cluster.node("b", &json!({})).await;
        let mut watch = watch(&cluster, &format!("{ours}&resourceVersion={version}")).await;
        assert_eq!(watch.told_at_last("ADDED b").await, "ADDED b", "{}", cluster.name);
        // A dry run, what changes nothing and what is not selected are no events.
        cluster.patch(&format!("{a}/status?dryRun=All"), &json!({"metadata": {"labels": {"x": "1"}}})).await;
        cluster.patch(&a, &json!({})).await;
        let other = format!("{}-other", cluster.prefix);
        let node = json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": other}});
        cluster.post(NODES, &node).await;
        cluster.delete(&format!("{NODES}/{other}")).await;

        cluster
            .patch(&format!("{a}/status"), &json!({"status": {"conditions": [condition("TA", "True")]}}))
            .await;
        assert_eq!(watch.told_at_last("MODIFIED a").await, "MODIFIED a", "{}", cluster.name);
        cluster.patch(&a, &json!({"metadata": {"labels": {"left": "1"}}})).await;
        assert_eq!(
            watch.told_at_last("DELETED a").await,
            "DELETED a",
            "{}: no longer selected",
            cluster.name
        );
        cluster.patch(&a, &json!({"metadata": {"labels": {"left": null}}})).await;
        assert_eq!(watch.told_at_last("ADDED a").await, "ADDED a", "{}", cluster.name);
        for (node, expected) in [(a, "DELETED a"), (b, "DELETED b")] {
            cluster.delete(&node).await;
            assert_eq!(watch.told_at_last(expected).await, expected, "{}", cluster.name);
        }
    }
}

#[tokio::test]
async fn without_a_version_all_there_is_comes_first_and_the_time_is_limited() {
    for cluster in Cluster::all("limit").await {
        let node = cluster.node("a", &json!({})).await;
        let query = format!("labelSelector=scenario%3D{}&timeoutSeconds=1", cluster.prefix);
        let mut watch = watch(&cluster, &query).await;
        assert_eq!(watch.told().await, "ADDED a", "{}", cluster.name);
        cluster.delete(&node).await;
        assert_eq!(watch.told_at_last("DELETED a").await, "DELETED a", "{}", cluster.name);
        assert!(watch.next().await.is_none(), "{}: it ends properly", cluster.name);
    }
}

#[tokio::test]
async fn a_version_of_the_past_is_gone() {
    let server = ApiServer::start().await;
    server.store().put(sandbox::node("w1"));
    let version = server.store().resource_version();
    server.store().set_condition("w1", "TA", "True");
    let cluster = Cluster::new("sandbox", "gone", server.config(), None);
    let list = cluster.get(&format!("{NODES}?limit=1")).await;
    assert_eq!(list["metadata"]["continue"], Value::Null, "it is the only one");
    server.store().put(sandbox::node("w2"));
    let list = cluster.get(&format!("{NODES}?limit=1")).await;

    let mut before = watch(&cluster, &format!("resourceVersion={version}")).await;
    assert_eq!(before.told().await, "MODIFIED w1");
    server.store().compact();
    let mut after = watch(&cluster, &format!("resourceVersion={version}")).await;
    let event = after.next().await.unwrap().unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(after.next().await.is_none());

    let token = list["metadata"]["continue"].as_str().unwrap();
    let (code, answer) =
        cluster.call(http::Method::GET, &format!("{NODES}?continue={token}"), crate::JSON, "").await;
    assert_eq!((code, &answer["reason"]), (410, &json!("Expired")));
}

#[tokio::test]
async fn bookmarks_tell_how_far_it_is() {
    let server = ApiServer::start().await;
    server.bookmark_every(Duration::from_millis(20));
    let cluster = Cluster::new("sandbox", "bookmarks", server.config(), None);
    let version = server.store().resource_version();
    let mut watch = watch(&cluster, &format!("allowWatchBookmarks=true&resourceVersion={version}")).await;
    // Something else changes: only bookmarks tell.
    server.store().put(
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x", "namespace": "default"}}),
    );
    let now = server.store().resource_version().to_string();
    loop {
        let event = watch.next().await.unwrap().unwrap();
        assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("BOOKMARK"), &json!("Node")));
        if event["object"]["metadata"]["resourceVersion"] == now {
            break;
        }
    }
}

#[tokio::test]
async fn running_watches_can_be_dropped() {
    let server = ApiServer::start().await;
    server.store().put(sandbox::node("w1"));
    let cluster = Cluster::new("sandbox", "drop", server.config(), None);
    let mut dropped = watch(&cluster, "").await;
    assert_eq!(dropped.told().await, "ADDED w1");
    server.drop_watches();
    assert!(dropped.next().await.is_none_or(|event| event.is_err()));
    // The server itself is well.
    assert_eq!(watch(&cluster, "").await.told().await, "ADDED w1");
}
