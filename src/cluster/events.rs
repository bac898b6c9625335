//! What a remediation tells those who look at the Node with kubectl: an Event for each step, and a condition while it is under
//! way. Best effort: neither is worth a step that waits.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::Event;
use kube::Resource;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::api::Cluster;
use super::error::ApiError;
use super::nodes::FIELD_MANAGER;
use super::remediated::RemediatedNode;
use crate::core::standing::UNDER_WAY;

/// Where Events of objects without a namespace are, by convention.
pub(super) const NAMESPACE: &str = "default";

const PATIENCE: Duration = Duration::from_secs(3);

/// What the server takes of a message.
const LONGEST_MESSAGE: usize = 1024;

impl Cluster {
    /// Posts an Event of the Node, such as `SciuroCordoning`; gives up after 3 s.
    pub async fn node_event(&self, node: &str, uid: &str, reason: &str, message: &str, is_warning: bool) {
        let event = event(node, uid, reason, message, is_warning);
        let post = async {
            let body = serde_json::to_vec(&event).map_err(|error| ApiError::Unexpected(error.to_string()))?;
            let request = kube::core::Request::new(Event::url_path(&(), Some(NAMESPACE)));
            self.send_and_forget(request.create(&PostParams::default(), body)?).await
        };
        best_effort("the Event was not posted", post).await;
    }

    /// Sets the condition `SciuroRemediation` to True with this reason and message, or takes it away; gives up after 3 s.
    pub async fn set_remediation_condition(&self, node: &RemediatedNode, state: Option<(&str, &str)>) {
        let body = json!({
            "metadata": {"uid": node.view.uid},
            "status": {"conditions": [condition(node, state, &now())]},
        });
        let patch = async { self.patch_status(&node.name, body, false).await.map(drop) };
        best_effort("the condition SciuroRemediation was not written", patch).await;
    }
}

async fn best_effort(what: &str, request: impl Future<Output = Result<(), ApiError>>) {
    let why = match tokio::time::timeout(PATIENCE, Box::pin(request)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {}s", PATIENCE.as_secs()),
    };
    tracing::info!("{what}: {}", why.escape_debug());
}

fn event(node: &str, uid: &str, reason: &str, message: &str, is_warning: bool) -> Value {
    // A name of its own, so that one that is sent twice is there once.
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let base: String = node.chars().take(200).collect();
    let message: String = message.chars().take(LONGEST_MESSAGE).collect();
    let now = now();
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{}.{unique}", base.trim_end_matches(['-', '.'])), "namespace": NAMESPACE},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid},
        "type": if is_warning { "Warning" } else { "Normal" },
        "reason": reason, "message": message,
        "source": {"component": FIELD_MANAGER}, "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    })
}

fn condition(node: &RemediatedNode, state: Option<(&str, &str)>, now: &str) -> Value {
    let Some((reason, message)) = state else { return json!({"type": UNDER_WAY, "$patch": "delete"}) };
    let before = node.condition(UNDER_WAY).filter(|condition| condition.status == "True");
    let since = before.and_then(|condition| condition.last_transition_time.as_deref()).unwrap_or(now);
    json!({
        "type": UNDER_WAY, "status": "True", "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": since,
    })
}

/// As Kubernetes spells times.
fn now() -> String {
    Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
