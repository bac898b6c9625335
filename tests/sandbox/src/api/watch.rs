//! Watches: what happened since a version, then what happens, then the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::resource::Resource;
use super::route::Info;
use super::selector::Selector;
use super::status::{Result, Status};
use super::store::{Change, Store};
use super::view::View;
use crate::http::{Cut, Reply, Request, lock};

/// One client's watch.
struct Watch {
    store: Arc<Mutex<Store>>,
    resource: &'static Resource,
    namespace: Option<String>,
    selector: Selector,
    view: View,
    /// All up to this version was told.
    version: u64,
    /// What is still to be sent.
    events: VecDeque<Value>,
    changed: watch::Receiver<u64>,
    cut: watch::Receiver<()>,
    /// How often a bookmark is sent, if the client allows them.
    bookmarks: Option<Duration>,
    next_bookmark: Instant,
    end: Instant,
    /// Nothing follows what is still to be sent.
    ended: bool,
}

/// Begins a watch.
pub(super) fn start(
    store: &Arc<Mutex<Store>>,
    info: Info,
    request: &Request,
    bookmarks: Duration,
    cut: watch::Receiver<()>,
) -> Result<Reply> {
    let parameter = |name: &str| request.parameter(name).unwrap_or_default();
    if parameter("sendInitialEvents") == "true" {
        // As with the gate WatchList switched off.
        let why = "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        let field = "sendInitialEvents";
        return Err(Status::invalid("meta.k8s.io", "ListOptions", "", field, "FieldValueForbidden", why));
    }
    let selector = Selector::parse(info.resource, &parameter("labelSelector"), &parameter("fieldSelector"))?;
    let since = match parameter("resourceVersion").as_str() {
        "" | "0" => None,
        version => Some(version.parse::<u64>().map_err(|_| {
            Status::storage(&format!(
                "resourceVersion: Invalid value: {version:?}: strconv.ParseUint: parsing {version:?}: invalid syntax"
            ))
        })?),
    };
    let now = Instant::now();
    // Without a limit a real server ends a watch after 30 to 60 minutes.
    let limit = parameter("timeoutSeconds").parse().unwrap_or(2700);
    let guard = lock(store);
    let mut watch = Watch {
        store: Arc::clone(store),
        resource: info.resource,
        namespace: info.namespace,
        selector,
        view: View::of(request),
        version: since.unwrap_or_else(|| guard.resource_version()),
        events: VecDeque::new(),
        changed: guard.subscribe(),
        cut,
        bookmarks: (parameter("allowWatchBookmarks") == "true").then_some(bookmarks),
        next_bookmark: now + bookmarks,
        end: now + Duration::from_secs(limit),
        ended: false,
    };
    if since.is_none() {
        // From any version: all there is counts as new.
        for object in guard.select(watch.resource.plural, watch.namespace.as_deref()) {
            if watch.selector.matches(&object) {
                watch.tell("ADDED", &object);
            }
        }
    }
    drop(guard);
    Ok(Reply::stream(
        stream::unfold(watch, |mut watch| async {
            let line = watch.next().await?;
            Some((line, watch))
        })
        .boxed(),
    ))
}

impl Watch {
    async fn next(&mut self) -> Option<std::result::Result<Bytes, Cut>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(Ok(Bytes::from(format!("{event}\n"))));
            }
            if self.ended {
                return None;
            }
            self.read();
            if !self.events.is_empty() || self.ended {
                continue;
            }
            tokio::select! {
                _ = self.changed.changed() => {}
                _ = self.cut.changed() => return Some(Err(Cut)),
                () = sleep_until(self.next_bookmark), if self.bookmarks.is_some() => self.bookmark(),
                () = sleep_until(self.end) => {
                    self.ended = true;
                    if self.bookmarks.is_some() {
                        self.bookmark();
                    }
                }
            }
        }
    }

    /// Takes in what has happened meanwhile.
    fn read(&mut self) {
        let (changes, version) = {
            let store = lock(&self.store);
            self.changed.mark_unchanged();
            (store.changes(self.resource.plural, self.version), store.resource_version())
        };
        let Some(changes) = changes else {
            let status = Status::expired(format!("too old resource version: {} ({version})", self.version));
            self.events.push_back(json!({"type": "ERROR", "object": status.to_value()}));
            self.ended = true;
            return;
        };
        for change in &changes {
            self.take(change);
        }
        self.version = self.version.max(version);
    }

    fn take(&mut self, change: &Change) {
        if self.namespace.as_ref().is_some_and(|namespace| *namespace != change.key.namespace) {
            return;
        }
        let selected = |object: &Option<Arc<Value>>| {
            object.as_ref().filter(|object| self.selector.matches(object)).cloned()
        };
        match (selected(&change.old), selected(&change.new)) {
            (None, Some(new)) => self.tell("ADDED", &new),
            (Some(_), Some(new)) => self.tell("MODIFIED", &new),
            // Gone, or no longer selected: then it is told as it was when it still was.
            (Some(old), None) => {
                let mut old = Value::clone(&old);
                old["metadata"]["resourceVersion"] = change.version.to_string().into();
                self.tell("DELETED", &old);
            }
            (None, None) => {}
        }
    }

    fn tell(&mut self, kind: &str, object: &Value) {
        self.events.push_back(json!({"type": kind, "object": self.view.object(self.resource, object)}));
    }

    /// How far the client has come, though nothing happened that it watches.
    fn bookmark(&mut self) {
        self.next_bookmark = Instant::now() + self.bookmarks.unwrap_or_default();
        self.events.push_back(json!({"type": "BOOKMARK", "object": {
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version(),
            "metadata": {"resourceVersion": self.version.to_string(), "creationTimestamp": null},
        }}));
    }
}
