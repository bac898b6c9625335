//! The forms in which objects are served: themselves, their metadata, a table for kubectl.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::resource::Resource;
use crate::http::{Reply, Request};

/// What the client asked for by `Accept`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum View {
    Full,
    Metadata,
    Table,
}

impl View {
    pub(super) fn of(request: &Request) -> Self {
        for media in request.header("accept").split(',') {
            if media.contains("as=Table") {
                return Self::Table;
            } else if media.contains("as=PartialObjectMetadata") {
                return Self::Metadata;
            } else if media.contains("json") && !media.contains("as=") {
                return Self::Full;
            }
        }
        Self::Full
    }

    pub(super) fn object(self, resource: &Resource, object: &Value) -> Value {
        let served = resource.served(object);
        match self {
            Self::Full => served,
            Self::Metadata => partial(&served),
            Self::Table => table(resource, std::iter::once(&served), &json!({})),
        }
    }

    pub(super) fn list(self, resource: &Resource, items: &[Arc<Value>], metadata: Value) -> Reply {
        match self {
            Self::Full => {
                let items = items.iter().map(|object| match resource.renamed {
                    [] => Item(Cow::Borrowed(&**object)),
                    _ => Item(Cow::Owned(resource.served(object))),
                });
                Reply::json(
                    200,
                    &List {
                        kind: format!("{}List", resource.kind),
                        version: resource.api_version(),
                        metadata,
                        items: items.collect(),
                    },
                )
            }
            Self::Metadata => Reply::json(
                200,
                &json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata,
                    "items": items.iter().map(|object| partial(object)).collect::<Vec<_>>(),
                }),
            ),
            Self::Table => {
                Reply::json(200, &table(resource, items.iter().map(|object| &**object), &metadata))
            }
        }
    }
}

/// A list, written without copying its items.
#[derive(serde::Serialize)]
struct List<'a> {
    kind: String,
    #[serde(rename = "apiVersion")]
    version: String,
    metadata: Value,
    items: Vec<Item<'a>>,
}

/// An item of a list does not say what it is: the list does.
struct Item<'a>(Cow<'a, Value>);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let fields = self.0.as_object().into_iter().flatten();
        for (key, value) in fields.filter(|(key, _)| *key != "kind" && *key != "apiVersion") {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn table<'a>(resource: &Resource, objects: impl Iterator<Item = &'a Value>, metadata: &Value) -> Value {
    let columns: Vec<Value> = columns(resource)
        .iter()
        .map(|name| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": 0})
        })
        .collect();
    let rows: Vec<Value> =
        objects.map(|object| json!({"cells": cells(resource, object), "object": partial(object)})).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn columns(resource: &Resource) -> &'static [&'static str] {
    match resource.kind {
        "Node" => &["Name", "Status", "Roles", "Age", "Version"],
        "Event" => &["Last Seen", "Type", "Reason", "Object", "Message"],
        "Lease" => &["Name", "Holder", "Age"],
        _ => &["Name", "Age"],
    }
}

fn cells(resource: &Resource, object: &Value) -> Vec<String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = text("/metadata/name");
    let created = age(&text("/metadata/creationTimestamp"));
    match resource.kind {
        "Node" => vec![
            name,
            node_status(object),
            node_roles(object),
            created,
            text("/status/nodeInfo/kubeletVersion"),
        ],
        "Event" => {
            let about =
                format!("{}/{}", text("/involvedObject/kind").to_lowercase(), text("/involvedObject/name"));
            vec![age(&text("/lastTimestamp")), text("/type"), text("/reason"), about, text("/message")]
        }
        "Lease" => vec![name, text("/spec/holderIdentity"), created],
        _ => vec![name, created],
    }
}

fn node_status(node: &Value) -> String {
    let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.rfind(|condition| condition["type"] == "Ready");
    let ready = ready.map_or("Unknown", |ready| if ready["status"] == "True" { "Ready" } else { "NotReady" });
    let cordoned = if node["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    format!("{ready}{cordoned}")
}

fn node_roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: Vec<&str> =
        labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}

/// Roughly as kubectl prints it.
fn age(since: &str) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "<unknown>".into() };
    match Timestamp::now().duration_since(since).as_secs() {
        seconds @ ..120 => format!("{}s", seconds.max(0)),
        seconds @ ..7200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}
