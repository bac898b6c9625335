//! What a node's kubelet serves, through the API server: whether it is well, how it is configured, what it measures, and the
//! journals of the machine's services.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Collecting, Moment, Subject, is_json, time_left, within};
use crate::cluster::Part;

/// Files below `kubelet/`, and where they are served.
const DOCUMENTS: [(&str, &str); 4] = [
    ("healthz.txt", "healthz?verbose"),
    ("configz.json", "configz"),
    ("stats-summary.json", "stats/summary"),
    // How long it takes to list pods and to talk to the runtime: why a node was not Ready.
    ("metrics.txt", "metrics"),
];
const LONGEST_TEXT: usize = 8 << 20;
/// In memory it takes a multiple of that. A node with 500 pods has less to say.
const LONGEST_JSON: usize = 2 << 20;

/// The end of each journal, in bytes.
const LOG_KEPT: usize = 4 << 20;
/// So much of a journal is read for its end.
const LOG_READ: u64 = 64 << 20;
/// The most that a kubelet takes.
const LINES: &str = "100000";

impl Collecting<'_> {
    pub(super) async fn kubelet(&mut self, subject: &Subject, node: Option<&Value>) -> std::io::Result<()> {
        let cluster = self.cluster;
        for (file, path) in DOCUMENTS {
            let name = format!("kubelet/{file}");
            let (kind, longest) = if is_json(&name) {
                ("application/json", LONGEST_JSON)
            } else {
                ("text/plain", LONGEST_TEXT)
            };
            let request = cluster.kubelet_document(&subject.node, path, kind, longest);
            if let Some(((content, is_longer), took)) = self.fetch(&name, request).await {
                let note = is_longer.then(|| format!("cut after {longest} bytes"));
                self.add_document(&name, &String::from_utf8_lossy(&content), took, note)?;
            }
        }
        let since = self.since.map(begin);
        for service in ["kubelet", runtime(node)] {
            let mut parameters = vec![("query", service), ("tailLines", LINES)];
            if let Some(since) = &since {
                parameters.push(("sinceTime", since));
            }
            self.journal(&subject.node, &format!("kubelet/{service}.log"), &parameters).await?;
            if subject.moment == Moment::AfterTheBoot {
                let parameters = [("query", service), ("tailLines", LINES), ("boot", "-1")];
                let name = format!("kubelet/{service}.previous-boot.log");
                self.journal(&subject.node, &name, &parameters).await?;
            }
        }
        Ok(())
    }

    async fn journal(&mut self, node: &str, name: &str, parameters: &[(&str, &str)]) -> std::io::Result<()> {
        let began = Instant::now();
        let part = Part { keep: LOG_KEPT, read: LOG_READ, within: time_left(self.deadline) };
        let request = self.cluster.kubelet_log(node, parameters, part);
        match within(self.deadline, request).await {
            Ok(tail) => self.add_text(name, &tail.lossy(), began.elapsed(), tail.note()),
            Err(why) => {
                self.miss(name, why, began.elapsed());
                Ok(())
            }
        }
    }
}

/// The service that runs the containers: `containerd://2.1.4`, `cri-o://1.33.0`.
fn runtime(node: Option<&Value>) -> &'static str {
    let version = node.and_then(|node| node["status"]["nodeInfo"]["containerRuntimeVersion"].as_str());
    match version.unwrap_or_default().split("://").next() {
        Some("cri-o") => "crio",
        Some("docker") => "docker",
        _ => "containerd",
    }
}

/// When the oldest line may be from.
fn begin(since: Duration) -> String {
    let since = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
    let begin = Timestamp::now().checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    begin.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
