//! Objects of one kind, listed in chunks and then followed by one watch, which outlives restarts of the server.

use std::pin::pin;
use std::time::Duration;

use http::StatusCode;
use kube::api::{ListParams, WatchParams};
use kube::core::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::api::Cluster;
use super::error::ApiError;
use super::nodes::null_is_default;
use super::watch::{DEAD_AFTER, Lines, Retry};

/// How long the server is to serve one watch, in seconds; it ends it with a bookmark then.
const SERVE_FOR: u32 = 290;

/// What is read of an object.
pub(super) trait Wire: DeserializeOwned + Send + 'static {
    type Object: Send;

    fn into_object(self) -> Self::Object;
    fn version(&self) -> &str;
}

/// Which objects.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    pub(super) path: &'static str,
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
    /// How many come in one answer; `None`: all.
    pub(super) chunk: Option<u32>,
}

/// All of them, at one moment.
#[derive(Debug)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Where a watch goes on.
    pub version: String,
}

#[derive(Debug)]
pub enum Change<T> {
    /// All there are now: after a gap.
    All(Vec<T>),
    Put(T),
    Gone(T),
    /// No news can come for a while: why.
    Interrupted(String),
}

#[derive(Deserialize)]
#[serde(bound = "W: DeserializeOwned")]
struct Page<W> {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default, deserialize_with = "null_is_default")]
    items: Vec<W>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    r#continue: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE", bound = "W: DeserializeOwned")]
enum Event<W> {
    Added(W),
    Modified(W),
    Deleted(W),
    Bookmark(Bookmark),
    Error(Box<Status>),
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: PageMeta,
}

impl Cluster {
    pub(super) async fn list_slim<W: Wire>(
        &self,
        collection: &Collection,
    ) -> Result<Listed<W::Object>, ApiError> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let parameters = ListParams {
                label_selector: collection.labels.clone(),
                field_selector: collection.fields.clone(),
                limit: collection.chunk,
                continue_token: Some(token).filter(|token| !token.is_empty()),
                ..ListParams::default()
            };
            let is_first = parameters.continue_token.is_none();
            let request = kube::core::Request::new(collection.path).list(&parameters)?;
            let page: Page<W> = match self.call(request).await {
                // The list was compacted away between two chunks.
                Err(error) if error.code() == Some(StatusCode::GONE) && !is_first => {
                    (items, token) = (Vec::new(), String::new());
                    continue;
                }
                page => page?,
            };
            items.extend(page.items.into_iter().map(Wire::into_object));
            token = page.metadata.r#continue;
            if token.is_empty() {
                return Ok(Listed { items, version: page.metadata.resource_version });
            }
        }
    }

    /// Tells of every change after `version`. Returns only what makes that impossible, or `None` if nobody listens any more.
    pub(super) async fn follow<W: Wire>(
        &self,
        collection: &Collection,
        version: String,
        to: &Sender<Change<W::Object>>,
    ) -> Option<ApiError> {
        let mut version = Some(version);
        let mut retry = Retry::new();
        let mut failures = 0;
        loop {
            let outcome = match &mut version {
                Some(version) => self.watch_slim::<W>(collection, version, to).await,
                None => match self.list_slim::<W>(collection).await {
                    Ok(listed) => {
                        version = Some(listed.version);
                        to.send(Change::All(listed.items)).await.ok()?;
                        Ok(Some(true))
                    }
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Ok(None) => return None,
                Ok(Some(true)) => {
                    (retry, failures) = (Retry::new(), 0);
                    continue;
                }
                Ok(Some(false)) => {}
                Err(error) if error.code() == Some(StatusCode::GONE) => {
                    version = None;
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot follow {}", collection.path);
                    failures += 1;
                    let is_denied =
                        matches!(error.code(), Some(StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED));
                    // An API server that starts denies what it has not read the rules for yet.
                    if is_denied && failures > 3 {
                        return Some(error);
                    }
                    if failures == 2 {
                        to.send(Change::Interrupted(error.to_string())).await.ok()?;
                    }
                }
            }
            tokio::time::sleep(retry.pause()).await;
        }
    }

    /// Whether an event came, or `None` if nobody listens any more.
    async fn watch_slim<W: Wire>(
        &self,
        collection: &Collection,
        version: &mut String,
        to: &Sender<Change<W::Object>>,
    ) -> Result<Option<bool>, ApiError> {
        let parameters = WatchParams {
            label_selector: collection.labels.clone(),
            field_selector: collection.fields.clone(),
            timeout: Some(SERVE_FOR),
            bookmarks: true,
            send_initial_events: false,
        };
        let request = kube::core::Request::new(collection.path).watch(&parameters, version)?;
        let dead_at = Instant::now() + Duration::from_secs(SERVE_FOR.into()) + DEAD_AFTER;
        let chunks = pin!(self.stream(request).await?);
        let mut lines = Lines::new(chunks);
        let mut came = false;
        while let Some(line) = tokio::time::timeout_at(dead_at, lines.next()).await.unwrap_or(Ok(None))? {
            let event: Event<W> = serde_json::from_slice(&line).map_err(|error| {
                ApiError::Unexpected(format!("an event of a watch cannot be read: {error}"))
            })?;
            let (at, change) = match event {
                Event::Added(object) | Event::Modified(object) => {
                    (object.version().to_owned(), Some(Change::Put(object.into_object())))
                }
                Event::Deleted(object) => {
                    (object.version().to_owned(), Some(Change::Gone(object.into_object())))
                }
                Event::Bookmark(bookmark) => (bookmark.metadata.resource_version, None),
                Event::Error(status) => return Err(ApiError::Status(status)),
            };
            came = true;
            if !at.is_empty() {
                *version = at;
            }
            if let Some(change) = change
                && to.send(change).await.is_err()
            {
                return Ok(None);
            }
        }
        Ok(Some(came))
    }
}
