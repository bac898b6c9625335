//! Admission webhooks, asked before anything is changed (`apiserver/pkg/admission/plugin/webhook`).

use serde_json::Value;

use super::route::Info;
use super::status::Status;
use crate::http::{Reply, Request};
use crate::webhook::{TIMEOUT, Verdict, Webhook};

/// A webhook with the operations and resources that it is asked about.
pub(super) struct Registered {
    pub(super) webhook: Webhook,
    pub(super) rules: Vec<(String, String)>,
}

/// The answer in place of the server's own, if a webhook does not let the request pass.
pub(super) fn refusal(all: &[Registered], info: &Info, request: &Request) -> Option<Reply> {
    let operation = match info.verb {
        "create" => "CREATE",
        "update" | "patch" => "UPDATE",
        "delete" | "deletecollection" => "DELETE",
        _ => return None,
    };
    let resource = info.rule_resource();
    let asked =
        all.iter().filter(|one| one.rules.iter().any(|(verb, of)| verb == operation && *of == resource));
    let body = request.json();
    let dry_run = request.parameter("dryRun").is_some() || body["dryRun"].is_array();
    let name =
        if info.name.is_empty() { body["metadata"]["name"].as_str().unwrap_or_default() } else { &info.name };
    asked.map(|one| (&one.webhook, one.webhook.ask(name, dry_run))).find_map(|(webhook, verdict)| {
        match verdict {
            Verdict::Allow => None,
            Verdict::Deny(status) => Some(denied(webhook.name(), status).reply()),
            Verdict::Away => Some(Status::internal(&webhook.failure(&verdict)).reply()),
            Verdict::Slow => Some(Status::internal(&webhook.failure(&verdict)).reply().late(TIMEOUT)),
        }
    })
}

/// `ToStatusErr`.
fn denied(webhook: &str, mut status: Value) -> Status {
    let code = status["code"].as_u64().and_then(|code| code.try_into().ok()).filter(|code| *code >= 400);
    let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let reason = text("reason").unwrap_or_default();
    let by = format!("admission webhook {webhook:?} denied the request");
    let message = match text("message").or_else(|| text("reason")) {
        Some(why) => format!("{by}: {why}"),
        None => format!("{by} without explanation"),
    };
    Status::given(code.unwrap_or(400), reason, message, status["details"].take())
}
