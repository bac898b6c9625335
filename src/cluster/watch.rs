//! Nodes, followed: listed once, then kept up to date by one watch, which outlives restarts of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::StatusCode;
use jiff::Timestamp;
use kube::api::WatchParams;
use kube::core::Status;
use serde::Deserialize;
use tokio::sync::watch::Sender;
use tokio::time::Instant;

use super::api::Cluster;
use super::error::{ApiError, FINAL_AFTER, Rule};
use super::nodes::{NODES, Received, SlimForm};
use crate::error::{Error, root_cause};

/// A watch that goes on for so much longer than the server should serve it hangs on a dead connection.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(10);

/// No Node is this large: etcd takes 1.5 MiB, and JSON is not five times as long.
const MAX_EVENT: usize = 8 << 20;

/// Somebody waits for news; jitter may double it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Which nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeSelection<'s> {
    pub labels: Option<&'s str>,
    pub fields: Option<&'s str>,
}

/// The nodes as far as a watch has told.
#[derive(Debug)]
pub struct SeenNodes<N> {
    pub nodes: BTreeMap<String, N>,
    /// Names of those that are news, until whoever follows takes them out.
    pub news: BTreeSet<String>,
    /// The first list has come.
    pub listed: bool,
    /// Since when no news can come, and why.
    pub interrupted: Option<(Timestamp, String)>,
}

impl<N> Default for SeenNodes<N> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), news: BTreeSet::new(), listed: false, interrupted: None }
    }
}

impl<N: SlimForm> SeenNodes<N> {
    /// Whether that is news.
    fn put(&mut self, node: N) -> bool {
        let is_news = node.is_news(self.nodes.get(node.name()));
        if is_news {
            self.news.insert(node.name().to_owned());
        }
        self.nodes.insert(node.name().to_owned(), node);
        is_news
    }

    fn remove(&mut self, name: &str) {
        self.nodes.remove(name);
        self.news.remove(name);
    }

    /// All that there is. What was not among them is gone.
    fn replace(&mut self, nodes: Vec<N>) {
        let mut gone = std::mem::take(&mut self.nodes);
        for node in nodes {
            let before = gone.remove(node.name());
            if node.is_news(before.as_ref()) {
                self.news.insert(node.name().to_owned());
            }
            self.nodes.insert(node.name().to_owned(), node);
        }
        self.news.retain(|name| !gone.contains_key(name));
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE", bound = "N: SlimForm")]
enum Event<N> {
    Added(Received<N>),
    Modified(Received<N>),
    Deleted(Received<N>),
    Bookmark(Bookmark),
    Error(Box<Status>),
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
}

impl Cluster {
    /// Keeps `seen` up to date. Returns only what makes that impossible: at first anything that will not pass, later
    /// only that it is no longer allowed.
    pub async fn follow_nodes<N: SlimForm>(
        &self,
        selection: NodeSelection<'_>,
        seen: &Sender<SeenNodes<N>>,
    ) -> Error {
        let (verb, error) = self.follow_nodes_until(selection, seen).await;
        error.explain(verb, &Rule::NODES)
    }

    /// The same, with what is not possible and why.
    pub(super) async fn follow_nodes_until<N: SlimForm>(
        &self,
        selection: NodeSelection<'_>,
        seen: &Sender<SeenNodes<N>>,
    ) -> (&'static str, ApiError) {
        let mut following = Following {
            selection,
            seen,
            version: None,
            established: false,
            denied_since: None,
            retry: Retry::new(),
        };
        loop {
            let (verb, outcome) = match following.version.clone() {
                None => ("list", self.list_all(&mut following).await),
                Some(version) => ("watch", self.watch_from(&version, &mut following).await),
            };
            match outcome {
                Ok(GoOn::AtOnce) => continue,
                Ok(GoOn::AfterAPause) => {}
                Err(error) if error.code() == Some(StatusCode::GONE) => following.version = None,
                Err(error) => {
                    tracing::debug!(%error, "cannot {verb} nodes");
                    if following.is_final(&error) {
                        return (verb, error);
                    }
                    following.report(&error);
                }
            }
            tokio::time::sleep(following.retry.pause()).await;
        }
    }

    async fn list_all<N: SlimForm>(&self, following: &mut Following<'_, N>) -> Result<GoOn, ApiError> {
        let NodeSelection { labels, fields } = following.selection;
        let (nodes, version) = self.list_at(labels, fields).await?;
        if version.is_empty() {
            return Err(ApiError::Unexpected("the list of nodes has no resourceVersion".into()));
        }
        following.version = Some(version);
        following.denied_since = None;
        following.seen.send_modify(|seen| {
            seen.replace(nodes);
            seen.listed = true;
            seen.interrupted = None;
        });
        Ok(GoOn::AtOnce)
    }

    async fn watch_from<N: SlimForm>(
        &self,
        version: &str,
        following: &mut Following<'_, N>,
    ) -> Result<GoOn, ApiError> {
        let NodeSelection { labels, fields } = following.selection;
        let parameters = WatchParams {
            label_selector: labels.map(str::to_owned),
            field_selector: fields.map(str::to_owned),
            timeout: Some(N::SERVE_FOR),
            bookmarks: true,
            send_initial_events: false,
        };
        let request = kube::core::Request::new(NODES).watch(&parameters, version)?;
        let dead_at = Instant::now() + Duration::from_secs(N::SERVE_FOR.into()) + DEAD_AFTER;
        let chunks = pin!(self.stream(request).await?);
        let mut lines = Lines::new(chunks);
        following.connected();
        let mut go_on = GoOn::AfterAPause;
        while let Some(line) = tokio::time::timeout_at(dead_at, lines.next()).await.unwrap_or(Ok(None))? {
            following.take(&line)?;
            go_on = GoOn::AtOnce;
        }
        Ok(go_on)
    }
}

/// What follows when nothing went wrong.
enum GoOn {
    AtOnce,
    /// A watch that ends without a word would otherwise be opened over and over.
    AfterAPause,
}

/// How far it is.
struct Following<'f, N> {
    selection: NodeSelection<'f>,
    seen: &'f Sender<SeenNodes<N>>,
    /// Where a watch goes on; `None`: list first.
    version: Option<String>,
    /// A watch was once allowed.
    established: bool,
    denied_since: Option<Instant>,
    retry: Retry,
}

impl<N: SlimForm> Following<'_, N> {
    fn connected(&mut self) {
        self.established = true;
        self.denied_since = None;
        self.seen.send_if_modified(|seen| seen.interrupted.take().is_some());
    }

    fn take(&mut self, line: &[u8]) -> Result<(), ApiError> {
        let event = serde_json::from_slice(line)
            .map_err(|error| ApiError::Unexpected(format!("an event of a watch cannot be read: {error}")))?;
        let version = match event {
            Event::Added(Received { node, version }) | Event::Modified(Received { node, version }) => {
                self.seen.send_if_modified(|seen| seen.put(node));
                version
            }
            Event::Deleted(Received { node, version }) => {
                self.seen.send_modify(|seen| seen.remove(node.name()));
                version
            }
            Event::Bookmark(bookmark) => bookmark.metadata.resource_version,
            Event::Error(status) => return Err(ApiError::Status(status)),
        };
        self.version = Some(version).filter(|version| !version.is_empty());
        self.retry = Retry::new();
        Ok(())
    }

    fn is_final(&mut self, error: &ApiError) -> bool {
        if !self.established {
            return !error.may_pass() || self.version.is_none();
        }
        if !error.is_refusal() {
            self.denied_since = None;
            return false;
        }
        let since = self.denied_since.get_or_insert_with(Instant::now);
        since.elapsed() >= FINAL_AFTER
    }

    /// Tells of a failure that another attempt has not mended: connections end now and then, and nobody need know.
    fn report(&mut self, error: &ApiError) {
        if self.retry.failures > 0 {
            if N::LISTED_ANEW {
                self.version = None;
            }
            self.seen.send_modify(|seen| {
                let since = seen.interrupted.take().map_or_else(Timestamp::now, |(since, _)| since);
                seen.interrupted = Some((since, error.to_string()));
            });
        }
    }
}

/// Longer and longer pauses, with jitter: after a restart all clients come at once.
pub(super) struct Retry {
    pauses: ExponentialBackoff,
    failures: u32,
}

impl Retry {
    pub(super) fn new() -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times()
            .build();
        Self { pauses, failures: 0 }
    }

    pub(super) fn pause(&mut self) -> Duration {
        self.failures += 1;
        self.pauses.next().unwrap_or(LONGEST_PAUSE)
    }
}

/// The lines of an answer while it arrives.
pub(super) struct Lines<S> {
    chunks: S,
    buffer: Vec<u8>,
    /// So much of the buffer has no end of a line.
    searched: usize,
}

impl<S: Stream<Item = Result<Bytes, kube::Error>> + Unpin> Lines<S> {
    pub(super) fn new(chunks: S) -> Self {
        Self { chunks, buffer: Vec::new(), searched: 0 }
    }

    /// The next whole line; what a broken connection left of one is never taken for it.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
            if let Some(end) = end.map(|end| self.searched + end) {
                let rest = self.buffer.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                if line.len() > 1 {
                    return Ok(Some(line));
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_EVENT {
                let why = format!("an event of a watch is larger than {} MiB", MAX_EVENT >> 20);
                return Err(ApiError::Unexpected(why));
            }
            match self.chunks.next().await {
                None => return Ok(None),
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(ApiError::Broken(root_cause(&error).to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    async fn read(chunks: &[&'static str]) -> (Vec<String>, Result<(), ApiError>) {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        let mut lines = Lines::new(stream::iter(chunks));
        let mut read = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(line)) => read.push(String::from_utf8(line).unwrap_or_default()),
                Ok(None) => return (read, Ok(())),
                Err(error) => return (read, Err(error)),
            }
        }
    }

    fn node(name: &str, uid: &str, address: &str, heartbeat: i64) -> crate::core::node::Node {
        let condition = crate::core::node::Condition {
            last_heartbeat: Timestamp::from_second(heartbeat).ok(),
            ..Default::default()
        };
        let addresses = vec![address.to_owned()];
        crate::core::node::Node {
            name: name.into(),
            uid: uid.into(),
            addresses,
            conditions: vec![condition],
            ..Default::default()
        }
    }

    #[test]
    fn only_what_alerts_are_matched_by_is_news() {
        let mut seen = SeenNodes::default();
        assert!(seen.put(node("w1", "u1", "10.0.0.1", 0)), "a new node");
        assert!(!seen.put(node("w1", "u1", "10.0.0.1", 5)), "a heartbeat");
        assert_eq!(seen.nodes["w1"], node("w1", "u1", "10.0.0.1", 5), "is kept nevertheless");
        assert!(seen.put(node("w1", "u1", "10.0.0.2", 5)), "another address");
        assert!(seen.put(node("w1", "u2", "10.0.0.2", 5)), "another node of that name");
        assert_eq!(std::mem::take(&mut seen.news).into_iter().collect::<Vec<_>>(), ["w1"]);
        seen.put(node("w2", "u3", "10.0.0.3", 0));
        seen.remove("w2");
        assert!(seen.nodes.len() == 1 && seen.news.is_empty(), "what is gone is no news");
    }

    #[test]
    fn a_list_after_a_gap_tells_what_changed_in_it() {
        let mut seen = SeenNodes::default();
        seen.replace(vec![node("w1", "u1", "a", 0), node("w2", "u2", "b", 0), node("w3", "u3", "c", 0)]);
        seen.news.clear();
        seen.put(node("w4", "u4", "d", 0));
        seen.replace(vec![node("w1", "u1", "a", 9), node("w2", "u9", "b", 0), node("w5", "u5", "e", 0)]);
        assert_eq!(seen.news.into_iter().collect::<Vec<_>>(), ["w2", "w5"]);
        assert_eq!(seen.nodes.into_keys().collect::<Vec<_>>(), ["w1", "w2", "w5"]);
    }

    #[tokio::test]
    async fn lines_come_in_any_pieces() {
        let (lines, end) = read(&["{\"a\":1}\n{\"b\"", ":", "2}\n\n", "{\"c\":3}\n{\"cut o"]).await;
        assert_eq!(lines, ["{\"a\":1}\n", "{\"b\":2}\n", "{\"c\":3}\n"]);
        assert!(end.is_ok(), "what a broken connection left is no line");
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_refused() {
        let piece: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
        let (lines, end) = read(&[piece; 20]).await;
        assert!(lines.is_empty());
        assert_eq!(
            end.map_err(|error| error.to_string()),
            Err("an event of a watch is larger than 8 MiB".into())
        );
    }
}
