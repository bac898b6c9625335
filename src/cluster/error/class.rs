//! What a failed request means for the next try. Answers are told apart here, for every request of ours.

use std::fmt;

use kube::core::Status;

use super::ApiError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// It may work a moment later: no connection, or an error of the server.
    Passing,
    /// The admission webhook of this name could not be called, or did not answer in time. It may be back a moment later.
    WebhookDown(String),
    /// The server takes no more requests, whatever they are for.
    Busy,
    /// Admission said no. What it looks at may change; for most requests that is too much to hope for.
    Denied(Denier),
    /// The account is unknown, or lacks the permission.
    Forbidden,
    /// Asking again does not help.
    Final,
}

/// Who denies what the account may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denier {
    Webhook(String),
    Policy(String),
}

impl fmt::Display for Denier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(name) => write!(f, "admission webhook {name:?}"),
            Self::Policy(name) => write!(f, "ValidatingAdmissionPolicy {name:?}"),
        }
    }
}

/// The configurations that name an admission webhook.
pub(super) const WEBHOOKS: &str = "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations";

impl ApiError {
    pub fn class(&self) -> Class {
        match self {
            Self::Status(status) => of_status(status),
            Self::Transport(_) | Self::Broken(_) => Class::Passing,
            Self::Unexpected(_) => Class::Final,
        }
    }
}

/// By the server's own words (`apiserver/pkg/admission`): what a webhook answers has any code and reason, also those of
/// missing permissions, of objects that are gone, and of too many requests.
fn of_status(status: &Status) -> Class {
    let message = status.message.as_str();
    if let Some(denier) = denier(message) {
        return Class::Denied(denier);
    }
    match status.code {
        500.. => quoted(message, "failed calling webhook \"", '"').map_or(Class::Passing, Class::WebhookDown),
        429 if is_busy(message) => Class::Busy,
        429 => Class::Passing,
        401 => Class::Forbidden,
        403 if is_permission(message) => Class::Forbidden,
        _ => Class::Final,
    }
}

fn denier(message: &str) -> Option<Denier> {
    if message.starts_with("admission webhook \"") && message.contains("\" denied the request") {
        return quoted(message, "admission webhook \"", '"').map(Denier::Webhook);
    }
    let (_, policy) = message.split_once(" is forbidden: ")?;
    let denies = policy.starts_with("ValidatingAdmissionPolicy '") && policy.contains(" denied request: ");
    denies.then(|| quoted(policy, "ValidatingAdmissionPolicy '", '\'').map(Denier::Policy)).flatten()
}

/// Priority and fairness (plain text), and a storage that is being filled.
fn is_busy(message: &str) -> bool {
    let message = message.to_lowercase();
    ["too many requests", "storage is (re)initializing"].iter().any(|words| message.contains(words))
}

/// Authorization names the user, or says nothing at all; whatever else is forbidden is so by an admission plugin: a quota,
/// a pod security level, a namespace that ends.
fn is_permission(message: &str) -> bool {
    message
        .split_once(" is forbidden: ")
        .is_none_or(|(_, why)| why.trim().is_empty() || why.starts_with("User \""))
}

fn quoted(message: &str, before: &str, end: char) -> Option<String> {
    let (_, rest) = message.split_once(before)?;
    rest.split_once(end).map(|(name, _)| name.to_owned())
}

#[cfg(test)]
#[path = "class_tests.rs"]
mod tests;
