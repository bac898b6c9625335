//! What the API server knows about a node and its pods, read for a bundle: whole objects, Events and logs.

use std::borrow::Cow;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use http::Request;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::api::Cluster;
use super::error::ApiError;
use super::events::NAMESPACE as NODE_EVENTS;

/// One container of a pod, for its log.
#[derive(Debug, Clone, Copy)]
pub struct LogOf<'l> {
    pub namespace: &'l str,
    pub pod: &'l str,
    pub container: &'l str,
    /// Of the container's run before this one.
    pub previous: bool,
}

/// How much of a log is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// So many bytes of its end, in whole lines.
    pub keep: usize,
    /// So many are read for that.
    pub read: u64,
    pub within: Duration,
}

/// More lines than are kept of any log.
const LINES: &str = "20000";

/// The end of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTail {
    pub text: Vec<u8>,
    /// So many bytes before it were left out.
    pub left_out: u64,
    /// Why there is nothing after it.
    pub broken: Option<String>,
}

impl Cluster {
    /// The node as it is stored, images and managedFields included.
    pub async fn node_object(&self, name: &str) -> Result<Value, ApiError> {
        self.call(get(&format!("/api/v1/nodes/{name}"), &[])?).await
    }

    /// The `CSINode` of this name.
    pub async fn csi_node_object(&self, name: &str) -> Result<Value, ApiError> {
        self.call(get(&format!("/apis/storage.k8s.io/v1/csinodes/{name}"), &[])?).await
    }

    /// The node's Lease, which its kubelet renews.
    pub async fn node_lease_object(&self, name: &str) -> Result<Value, ApiError> {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}");
        self.call(get(&path, &[])?).await
    }

    /// All pods that are bound to the node.
    pub async fn pod_objects(&self, node: &str) -> Result<Vec<Value>, ApiError> {
        let selector = format!("spec.nodeName={node}");
        self.items("/api/v1/pods", &[("fieldSelector", &selector)]).await
    }

    /// Events about the node itself, where such Events are: in any other namespace they are a tenant's. Kubelets and others
    /// give the node's name for its UID, or none (kubernetes#29289, #139921).
    pub async fn node_events(&self, node: &str, uid: Option<&str>) -> Result<Vec<Value>, ApiError> {
        let selector = format!("involvedObject.kind=Node,involvedObject.name={node}");
        let path = format!("/api/v1/namespaces/{NODE_EVENTS}/events");
        let mut events = self.items(&path, &[("fieldSelector", &selector), ("limit", "500")]).await?;
        events.retain(|event| {
            let about = event["involvedObject"]["uid"].as_str().unwrap_or_default();
            about.is_empty() || about == node || uid.is_none_or(|uid| about == uid)
        });
        Ok(events)
    }

    /// Events of kubelets and schedulers about pods, at most 5,000 of them: which are of this node's is for the caller.
    pub async fn pod_events(&self) -> Result<Vec<Value>, ApiError> {
        let parameters = [("fieldSelector", "involvedObject.kind=Pod"), ("limit", "5000")];
        self.items("/api/v1/events", &parameters).await
    }

    /// The last lines of a log, reading at most `part` of it; `since` limits how old its lines are.
    pub async fn log_tail(
        &self,
        of: LogOf<'_>,
        since: Option<Duration>,
        part: Part,
    ) -> Result<LogTail, ApiError> {
        let path = format!("/api/v1/namespaces/{}/pods/{}/log", of.namespace, of.pod);
        let since = since.map(|since| since.as_secs().max(1).to_string());
        let limit = part.read.to_string();
        // The limit is counted from the first line that is asked for.
        let mut parameters = vec![
            ("container", of.container),
            ("timestamps", "true"),
            ("tailLines", LINES),
            ("limitBytes", &limit),
        ];
        if of.previous {
            parameters.push(("previous", "true"));
        }
        if let Some(since) = &since {
            parameters.push(("sinceSeconds", since));
        }
        self.tail(&path, &parameters, part).await
    }

    /// The log of a container while it is written, at most so many bytes of it.
    pub async fn follow_log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        most: u64,
    ) -> Result<impl Stream<Item = Result<bytes::Bytes, kube::Error>> + use<>, ApiError> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log");
        let most = most.to_string();
        self.stream(get(&path, &[("container", container), ("follow", "true"), ("limitBytes", &most)])?).await
    }

    /// What a node's kubelet serves at `path` and calls `kind`, at most `most` bytes and whether there was more.
    pub async fn kubelet_document(
        &self,
        node: &str,
        path: &str,
        kind: &str,
        most: usize,
    ) -> Result<(Vec<u8>, bool), ApiError> {
        let mut chunks = pin!(self.stream_of(kind, get(&proxy(node, path), &[])?).await?);
        let mut content = Vec::new();
        while let Some(chunk) = chunks.next().await {
            content.extend_from_slice(&chunk.map_err(|error| broken(&error))?);
            if content.len() > most {
                content.truncate(whole_lines(&content[..most], false, true).end);
                return Ok((content, true));
            }
        }
        Ok((content, false))
    }

    /// The end of a service's journal, as a node's kubelet serves it (`NodeLogQuery`).
    pub async fn kubelet_log(
        &self,
        node: &str,
        parameters: &[(&str, &str)],
        part: Part,
    ) -> Result<LogTail, ApiError> {
        self.tail(&proxy(node, "logs/"), parameters, part).await
    }

    /// The last lines of an answer. What came before it broke off, stalled or got too long is kept.
    async fn tail(&self, path: &str, parameters: &[(&str, &str)], part: Part) -> Result<LogTail, ApiError> {
        let until = Instant::now() + part.within;
        let late = || format!("no more within {}s", part.within.as_secs());
        let begun = timeout_at(until, self.stream_of("text/plain", get(path, parameters)?)).await;
        let mut chunks = pin!(begun.map_err(|_| ApiError::Broken(late()))??);
        let mut tail = LogTail::default();
        let mut total = 0;
        loop {
            let chunk = match timeout_at(until, chunks.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => {
                    tail.broken = Some(broken(&error).to_string());
                    break;
                }
                Err(_) => {
                    tail.broken = Some(late());
                    break;
                }
            };
            total += chunk.len() as u64;
            tail.text.extend_from_slice(&chunk);
            // Cut now and then only: each cut moves what stays.
            if tail.text.len() > 2 * part.keep {
                tail.cut(part.keep);
            }
            if total >= part.read {
                tail.broken = Some(format!("only its first {} MiB were read", part.read >> 20));
                break;
            }
        }
        if tail.broken.is_some() && total == 0 {
            return Err(ApiError::Broken(tail.broken.unwrap_or_default()));
        }
        // An API server does not say that its kubelet broke off; lines of logs have an end.
        if tail.broken.is_none() && tail.text.last().is_some_and(|last| *last != b'\n') {
            tail.broken = Some("its last line broke off".to_owned());
        }
        tail.cut(part.keep);
        let whole = whole_lines(&tail.text, tail.left_out > 0, tail.broken.is_some());
        tail.left_out += whole.start as u64;
        tail.text.truncate(whole.end);
        tail.text.drain(..whole.start);
        Ok(tail)
    }

    async fn items(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<Value>, ApiError> {
        #[derive(serde::Deserialize)]
        struct List {
            #[serde(default)]
            items: Vec<Value>,
        }
        self.call::<List>(get(path, parameters)?).await.map(|list| list.items)
    }
}

/// Where the whole lines of a text are whose beginning or end was cut off. Half a line is worse than none: of half a secret
/// nobody can tell that it is one.
pub fn whole_lines(text: &[u8], begin_is_cut: bool, end_is_cut: bool) -> Range<usize> {
    let is_end = |byte: &u8| *byte == b'\n';
    let start = if begin_is_cut { text.iter().position(is_end).map_or(text.len(), |at| at + 1) } else { 0 };
    let end = if end_is_cut { text.iter().rposition(is_end).map_or(0, |at| at + 1) } else { text.len() };
    start..end.max(start)
}

impl LogTail {
    pub fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// Why it is not the whole log.
    pub fn note(&self) -> Option<String> {
        let before = (self.left_out > 0).then(|| format!("{} bytes before it left out", self.left_out));
        let parts: Vec<String> = before.into_iter().chain(self.broken.clone()).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn cut(&mut self, keep: usize) {
        let surplus = self.text.len().saturating_sub(keep);
        if surplus > 0 {
            self.text.drain(..surplus);
            self.left_out += surplus as u64;
        }
    }
}

/// The API server hands it on to the kubelet.
fn proxy(node: &str, path: &str) -> String {
    format!("/api/v1/nodes/{node}/proxy/{path}")
}

fn broken(error: &kube::Error) -> ApiError {
    ApiError::Broken(crate::error::root_cause(error).to_string())
}

fn get(path: &str, parameters: &[(&str, &str)]) -> Result<Request<Vec<u8>>, ApiError> {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let separator = if query.is_empty() { "" } else { "?" };
    Request::get(format!("{path}{separator}{query}"))
        .body(Vec::new())
        .map_err(|error| ApiError::Unexpected(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_kept_and_the_rest_counted() {
        let mut tail = LogTail { text: b"0123456789".to_vec(), left_out: 5, broken: None };
        tail.cut(4);
        assert_eq!(tail, LogTail { text: b"6789".to_vec(), left_out: 11, broken: None });
        tail.cut(4);
        assert_eq!(tail.left_out, 11);
    }

    #[test]
    fn lines_are_whole_or_not_there() {
        let lines = |text: &str, begin, end| text[whole_lines(text.as_bytes(), begin, end)].to_owned();
        assert_eq!(lines("ret\na\nb\nsec", true, true), "a\nb\n");
        assert_eq!(lines("a\nb\nlast", false, false), "a\nb\nlast");
        assert_eq!(lines("a\nb\nsec", false, true), "a\nb\n");
        assert_eq!(lines("one line without an end", true, false), "");
        assert_eq!(lines("one line without an end", false, true), "");
        assert_eq!(lines("", true, true), "");
    }
}
