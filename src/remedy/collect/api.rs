//! What the API server knows of a node: objects, Events and the logs of its pods.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde_json::Value;

use super::{Collecting, Subject, summary, time_left, within};
use crate::cluster::{LogOf, Part};
use crate::document;
use crate::remedy::{News, Tell};

/// The end of each log, in bytes.
const LOG_KEPT: usize = 512 << 10;
/// So much of a log is read for its end.
const LOG_READ: u64 = 32 << 20;
/// Requests at a time: with [`LOG_KEPT`] this bounds the memory.
const AT_A_TIME: usize = 8;
/// What the summary is made of.
pub(super) struct Found {
    pub(super) node: Option<Value>,
    pub(super) pods: Vec<Value>,
    pub(super) events: Vec<Value>,
}

/// One log to fetch.
struct Log {
    namespace: String,
    pod: String,
    container: String,
    previous: bool,
}

impl Log {
    fn file(&self) -> String {
        let kind = if self.previous { "previous.log" } else { "log" };
        format!("pods/{}/{}/{}.{kind}", self.namespace, self.pod, self.container)
    }
}

impl Collecting<'_> {
    pub(super) async fn api(&mut self, subject: &Subject, tell: &dyn Tell) -> std::io::Result<Found> {
        let cluster = self.cluster;
        let node = subject.node.as_str();
        let object = self.object("node/node.yaml", cluster.node_object(node)).await?;
        self.object("node/lease.yaml", cluster.node_lease_object(node)).await?;
        self.object("node/csinode.yaml", cluster.csi_node_object(node)).await?;
        let pods =
            self.fetch("pods", cluster.pod_objects(node)).await.map(|(pods, _)| pods).unwrap_or_default();
        let uid = object.as_ref().and_then(|object| object["metadata"]["uid"].as_str());
        let events = self.events(node, uid, &pods).await?;
        for pod in &pods {
            let (namespace, name) = names(pod);
            self.add_object(&format!("pods/{namespace}/{name}/pod.yaml"), pod.clone(), Duration::ZERO)?;
        }
        self.logs(&pods, tell).await?;
        Ok(Found { node: object, pods, events })
    }

    async fn events(&mut self, node: &str, uid: Option<&str>, pods: &[Value]) -> std::io::Result<Vec<Value>> {
        let mut events = Vec::new();
        let of_node = self.cluster.node_events(node, uid);
        if let Some((of_node, _)) = self.fetch("events of the node", of_node).await {
            events.extend(of_node);
        }
        if let Some((of_pods, _)) = self.fetch("events of pods", self.cluster.pod_events()).await {
            let here: BTreeSet<(String, String)> = pods.iter().map(names).collect();
            events.extend(of_pods.into_iter().filter(|event| {
                let text =
                    |field: &str| event["involvedObject"][field].as_str().unwrap_or_default().to_owned();
                here.contains(&(text("namespace"), text("name")))
            }));
        }
        let mut list = Value::Array(events);
        let redactions = self.redactor.object(&mut list);
        let text = document::json(&list);
        self.add("events.json", text.as_bytes(), Duration::ZERO, None, redactions)?;
        self.add_text("events.txt", &summary::events(&list), Duration::ZERO, None)?;
        match list {
            Value::Array(events) => Ok(events),
            _ => Ok(Vec::new()),
        }
    }

    /// The logs of all containers, and of those that were restarted the log before that.
    async fn logs(&mut self, pods: &[Value], tell: &dyn Tell) -> std::io::Result<()> {
        let logs: Vec<Log> = pods.iter().flat_map(logs_of).collect();
        let total = logs.len();
        let (cluster, since, deadline) = (self.cluster, self.since, self.deadline);
        let mut fetched = stream::iter(logs)
            .map(|log| async move {
                let began = Instant::now();
                let of = LogOf {
                    namespace: &log.namespace,
                    pod: &log.pod,
                    container: &log.container,
                    previous: log.previous,
                };
                let part = Part { keep: LOG_KEPT, read: LOG_READ, within: time_left(deadline) };
                let tail = within(deadline, cluster.log_tail(of, since, part)).await;
                (log, tail, began.elapsed())
            })
            .buffered(AT_A_TIME);
        let mut done = 0;
        while let Some((log, tail, took)) = fetched.next().await {
            done += 1;
            if done % 20 == 0 {
                tell.tell(News::Wait { elapsed: took, facts: &format!("{done} of {total} logs") });
            }
            match tail {
                Ok(tail) => self.add_text(&log.file(), &tail.lossy(), took, tail.note())?,
                Err(why) => self.miss(&log.file(), why, took),
            }
        }
        Ok(())
    }
}

fn names(pod: &Value) -> (String, String) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn logs_of(pod: &Value) -> Vec<Log> {
    let (namespace, name) = names(pod);
    ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"]
        .iter()
        .filter_map(|field| pod["status"][field].as_array())
        .flatten()
        .flat_map(|status| {
            let container = status["name"].as_str().unwrap_or_default();
            let restarted = status["restartCount"].as_u64().is_some_and(|count| count > 0);
            let log = |previous| Log {
                namespace: namespace.clone(),
                pod: name.clone(),
                container: container.to_owned(),
                previous,
            };
            std::iter::once(log(false)).chain(restarted.then(|| log(true)))
        })
        .collect()
}
