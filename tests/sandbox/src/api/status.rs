//! The errors of an API server: `Status` objects in the words of apimachinery's `pkg/api/errors`.

use std::borrow::Cow;

use http::header::RETRY_AFTER;
use serde_json::{Map, Value, json};

use super::resource::Resource;
use crate::http::Reply;

/// A request that failed.
#[derive(Clone, Debug)]
pub(super) struct Status {
    code: u16,
    reason: Cow<'static, str>,
    message: String,
    details: Map<String, Value>,
}

pub(super) type Result<T> = std::result::Result<T, Status>;

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: Map::new() }
    }

    /// What an admission webhook says, passed on.
    pub(super) fn given(code: u16, reason: String, message: String, details: Value) -> Self {
        let details = if let Value::Object(details) = details { details } else { Map::new() };
        Self { code, reason: reason.into(), message, details }
    }

    /// `details` name the resource by its plural.
    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details.insert("name".into(), name.into());
        if !resource.group.is_empty() {
            self.details.insert("group".into(), resource.group.into());
        }
        self.details.insert("kind".into(), resource.plural.into());
        self.details.retain(|_, value| value != "");
        self
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", resource.full_name()))
            .about(resource, name)
    }

    pub(super) fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", resource.full_name()))
            .about(resource, name)
    }

    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.full_name());
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// A deletion was meant for another object. This error names the kind where others name the resource.
    pub(super) fn precondition(resource: &Resource, name: &str, what: &str, given: &str, live: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the {what} in the precondition ({given}) does not match \
            the {what} in record ({live}). The object might have been deleted and then recreated",
            resource.kind,
        );
        let mut status = Self::new(409, "Conflict", message).about(resource, name);
        status.details.insert("kind".into(), resource.kind.into());
        status
    }

    /// The resourceVersion is not the current one.
    pub(super) fn modified(resource: &Resource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// One field of an object is wrong.
    pub(super) fn invalid(
        group: &str,
        kind: &str,
        name: &str,
        field: &str,
        reason: &str,
        detail: &str,
    ) -> Self {
        let full = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut status =
            Self::new(422, "Invalid", format!("{full} \"{name}\" is invalid: {field}: {detail}"));
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            status.details.insert(key.into(), value.into());
        }
        status.details.retain(|_, value| value != "");
        status
            .details
            .insert("causes".into(), json!([{"reason": reason, "message": detail, "field": field}]));
        status
    }

    /// Another uid than the object's. The server checks twice and gives two causes.
    pub(super) fn immutable_uid(resource: &Resource, name: &str, uid: &str) -> Self {
        let detail = format!("Invalid value: {uid:?}: field is immutable");
        let Resource { group, kind, .. } = resource;
        let mut status = Self::invalid(group, kind, name, "metadata.uid", "FieldValueInvalid", &detail);
        if let Some(Value::Array(causes)) = status.details.get_mut("causes") {
            causes.extend_from_within(..);
        }
        status
    }

    /// The patched object does not decode. The server tells neither its kind nor its name.
    pub(super) fn invalid_patch(patch: &Value, why: &str) -> Self {
        let detail = format!("Invalid value: {}: {why}", Value::from(patch.to_string()));
        let mut status = Self::new(422, "Invalid", format!(" \"\" is invalid: patch: {detail}"));
        let cause = json!({"reason": "FieldValueInvalid", "message": detail, "field": "patch"});
        status.details.insert("causes".into(), json!([cause]));
        status
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 410: what the client holds is too old.
    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// No such resource, in a group that there is.
    pub(super) fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// A kind of patch that is not there.
    pub(super) fn unsupported_patch() -> Self {
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    }

    /// A body that is not JSON. Clients that would rather speak protobuf then speak JSON.
    pub(super) fn unsupported_body() -> Self {
        let why = "the body of the request was in an unknown format - accepted media types include: application/json";
        Self::new(415, "UnsupportedMediaType", why)
    }

    pub(super) fn request_too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    pub(super) fn forbidden(message: String, resource: &Resource, name: &str) -> Self {
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    /// Refused by a `ValidatingAdmissionPolicy`, which is forbidden and yet 422.
    pub(super) fn policy(resource: &Resource, name: &str, policy: &str, why: &str) -> Self {
        let why =
            format!("ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {why}");
        let message = format!("{} \"{name}\" is forbidden: {why}", resource.full_name());
        let mut status = Self::new(422, "Invalid", message).about(resource, name);
        status.details.insert("causes".into(), json!([{"message": why}]));
        status
    }

    /// Nothing is created in a namespace that ends.
    pub(super) fn terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let object = resource.full_name();
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut status = Self::forbidden(format!("{object} \"{name}\" is forbidden: {why}"), resource, name);
        let cause = json!({"reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {namespace} is being terminated")});
        status.details.insert("causes".into(), json!([cause]));
        status
    }

    /// A budget does not allow an eviction.
    pub(super) fn disruption_budget(why: &str, retry_after: u32) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut status = Self::new(429, "TooManyRequests", message);
        status.details.insert("causes".into(), json!([{"reason": "DisruptionBudget", "message": why}]));
        if retry_after > 0 {
            status.details.insert("retryAfterSeconds".into(), retry_after.into());
        }
        status
    }

    pub(super) fn internal(why: &str) -> Self {
        let mut status = Self::new(500, "InternalError", format!("Internal error occurred: {why}"));
        status.details.insert("causes".into(), json!([{"message": why}]));
        status
    }

    /// An error of the storage, which the server passes on as it is.
    pub(super) fn storage(message: &str) -> Self {
        Self::new(500, "", message)
    }

    /// An error of any code, as on request of a test.
    pub(super) fn of(code: u16, message: Option<&str>) -> Self {
        let (reason, usual) = match code {
            400 => ("BadRequest", "the server rejected our request for an unknown reason"),
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            404 => ("NotFound", "the server could not find the requested resource"),
            409 => ("Conflict", "the server reported a conflict"),
            410 => ("Expired", "The resourceVersion for the provided list is too old."),
            422 => ("Invalid", "the server rejected our request due to an error in our request"),
            429 => ("TooManyRequests", "Too many requests, please try again later."),
            500 => return Self::internal(message.unwrap_or("the sandbox was told to fail")),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "Timeout: request did not complete within the allotted timeout"),
            _ => ("", "the sandbox was told to fail"),
        };
        Self::new(code, reason, message.unwrap_or(usual))
    }

    #[cfg(test)]
    pub(super) fn code(&self) -> u16 {
        self.code
    }

    pub(super) fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.as_ref().into();
        }
        if !self.details.is_empty() || matches!(self.code, 404 | 405 | 415) {
            status["details"] = self.details.clone().into();
        }
        status
    }

    pub(super) fn reply(&self) -> Reply {
        let reply = Reply::json(self.code, &self.to_value());
        match self.details.get("retryAfterSeconds") {
            Some(seconds) => reply.with(RETRY_AFTER, &seconds.to_string()),
            None => reply,
        }
    }
}

/// What a deletion answers.
pub(super) fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": resource.plural, "uid": uid});
    if !resource.group.is_empty() {
        details["group"] = resource.group.into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
