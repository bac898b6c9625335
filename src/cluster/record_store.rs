//! Stores the record of a remediation on its Node: one patch, which fails if the Node was written in between.

use std::fmt;

use http::StatusCode;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::api::Cluster;
use super::error::ApiError;
use super::nodes::{FIELD_MANAGER, NODES, Received, Written, is_gone};
use super::record::{ANNOTATION, LAST, text, unexpected};
use super::remediated::{ABORT, RemediatedNode};
use crate::core::remediation::{LastRemediation, RecordSeen, RecordWrite, Write};

/// Why a record was not stored.
#[derive(Debug)]
pub enum RecordError {
    /// The Node was written by somebody else meanwhile; this is how it is now.
    Conflict(Box<RemediatedNode>),
    /// The Node was deleted, or replaced by another of its name.
    Gone,
    /// It is unknown whether it was stored, or still will be: whoever wrote it looks at the Node once that can be read.
    Ambiguous(ApiError),
    /// It was refused.
    Api(ApiError),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(_) => f.write_str("the node was changed by someone else meanwhile"),
            Self::Gone => f.write_str("the node was deleted or replaced"),
            Self::Ambiguous(error) => write!(f, "{error} (it may have been stored nevertheless)"),
            Self::Api(error) => error.fmt(f),
        }
    }
}

impl Cluster {
    /// Stores what the state machine wants stored: one patch, which fails if the Node is not as `node` any more. Returns
    /// the Node as it is then.
    pub async fn write_record(
        &self,
        node: &RemediatedNode,
        write: &Write,
    ) -> Result<RemediatedNode, RecordError> {
        let body = body(node, write).map_err(RecordError::Api)?;
        match self.patch_node(&node.name, body, false).await {
            Ok(node) => Ok(node),
            Err(error) if is_gone(&error) => Err(RecordError::Gone),
            Err(error) if may_have_been_stored(&error) => self.read_back(node, write, error).await,
            Err(error) => Err(RecordError::Api(error)),
        }
    }

    /// Lets the server say whether it would store this, and stores nothing. What others write meanwhile does not matter.
    pub async fn rehearse_record(&self, node: &RemediatedNode, write: &Write) -> Result<(), ApiError> {
        let mut body = body(node, write)?;
        if let Some(metadata) = body["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        self.patch_node(&node.name, body, true).await.map(drop)
    }

    async fn read_back(
        &self,
        node: &RemediatedNode,
        write: &Write,
        error: ApiError,
    ) -> Result<RemediatedNode, RecordError> {
        let now = match self.remediated_node(&node.name).await {
            Ok(Some(now)) if now.view.uid == node.view.uid => now,
            Ok(_) => return Err(RecordError::Gone),
            Err(_) => return Err(RecordError::Ambiguous(error)), // the first error says more
        };
        if is_stored(write, &now) {
            Ok(now)
        } else if now.resource_version == node.resource_version {
            Err(RecordError::Ambiguous(error)) // not yet, but it may be on its way
        } else {
            Err(RecordError::Conflict(Box::new(now)))
        }
    }

    /// Asks whoever holds the node's Lease to abort the remediation `id`. [`Written::Gone`] if that is over by now: a
    /// request that nobody reads would stay on the Node.
    pub async fn request_abort(&self, node: &RemediatedNode, id: &str) -> Result<Written, ApiError> {
        let (mut version, uid) = (node.resource_version.clone(), &node.view.uid);
        loop {
            let metadata = json!({"uid": uid, "resourceVersion": version, "annotations": {ABORT: id}});
            let request = patch(&node.name, json!({"metadata": metadata}), false)?;
            match self.send_patiently(request).await {
                Ok(()) => return Ok(Written::Patched),
                Err(error) if is_gone(&error) => return Ok(Written::Gone),
                Err(error) if error.code() == Some(StatusCode::CONFLICT) => {}
                Err(error) => return Err(error),
            }
            let now = self.remediated_node(&node.name).await?.filter(|now| now.view.uid == *uid);
            match now {
                Some(now) if matches!(&now.view.record, RecordSeen::Readable(record) if record.id == id) => {
                    version = now.resource_version;
                }
                _ => return Ok(Written::Gone),
            }
        }
    }

    async fn patch_node(&self, name: &str, body: Value, dry_run: bool) -> Result<RemediatedNode, ApiError> {
        self.call::<Received<RemediatedNode>>(patch(name, body, dry_run)?).await.map(|received| received.node)
    }
}

fn patch(name: &str, body: Value, dry_run: bool) -> Result<http::Request<Vec<u8>>, ApiError> {
    let parameters =
        PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    Ok(kube::core::Request::new(NODES).patch(name, &parameters, &Patch::Merge(body))?)
}

/// A patch whose answer is lost is sent again: then it is in conflict with itself, or meets a server with too much to do.
fn may_have_been_stored(error: &ApiError) -> bool {
    match error.code() {
        Some(StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS) | None => true,
        Some(code) => code.is_server_error(),
    }
}

/// Whether the Node carries what was written. The patch is one: what was written with the record is there with it, or has
/// been changed since.
fn is_stored(write: &Write, node: &RemediatedNode) -> bool {
    let cordon = write.unschedulable.is_none_or(|unschedulable| node.view.unschedulable == unschedulable);
    let record = match (&write.record, &node.view.record) {
        (RecordWrite::Put(wrote), RecordSeen::Readable(stored)) => wrote == stored,
        (RecordWrite::Finish(wrote), RecordSeen::None) => {
            let stored = node.annotations.get(LAST);
            stored.and_then(|text| serde_json::from_str::<LastRemediation>(text).ok()).as_ref() == Some(wrote)
        }
        (RecordWrite::Put(_) | RecordWrite::Finish(_), _) => false,
    };
    cordon && record
}

fn body(node: &RemediatedNode, write: &Write) -> Result<Value, ApiError> {
    let annotations = match &write.record {
        RecordWrite::Put(record) => json!({ANNOTATION: text(record, node.record_json())?}),
        RecordWrite::Finish(last) => {
            let last = serde_json::to_string(last).map_err(unexpected)?;
            json!({ANNOTATION: null, ABORT: null, LAST: last})
        }
    };
    let mut body = json!({"metadata": {
        "uid": node.view.uid, "resourceVersion": node.resource_version, "annotations": annotations,
    }});
    if let Some(unschedulable) = write.unschedulable {
        // As `kubectl uncordon` does it: a field that is taken away has no owner.
        let unschedulable = if unschedulable { Value::Bool(true) } else { Value::Null };
        body["spec"] = json!({"unschedulable": unschedulable});
    }
    Ok(body)
}
