//! Why a request failed, and what to do about it.

mod class;
mod refusals;

use std::fmt;

use http::StatusCode;
use kube::core::Status;

use crate::error::{Error, Exit};
use crate::json::ReadError;

pub use class::{Class, Denier};
pub(super) use refusals::FINAL_AFTER;
pub use refusals::Refusals;

/// Why a request did not succeed, after its retries.
#[derive(Debug)]
pub enum ApiError {
    /// The server said so.
    Status(Box<Status>),
    /// No connection; in kubectl's words.
    Transport(String),
    /// No answer came in time, or not all of it.
    Broken(String),
    /// An answer came that is not of the API.
    Unexpected(String),
}

/// What a permission is for.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'r> {
    pub group: &'r str,
    /// With its subresource, such as `nodes/status`.
    pub resource: &'r str,
    pub namespace: Option<&'r str>,
}

impl Rule<'_> {
    pub const NODES: Rule<'static> = Rule { group: "", resource: "nodes", namespace: None };
    pub const NODES_STATUS: Rule<'static> = Rule { group: "", resource: "nodes/status", namespace: None };

    pub const LEASES: Rule<'static> =
        Rule { group: "coordination.k8s.io", resource: "leases", namespace: None };
    /// Those that kubelets renew.
    pub const NODE_LEASES: Rule<'static> = Rule { namespace: Some("kube-node-lease"), ..Self::LEASES };
    pub const SERVICES: Rule<'static> = Rule { group: "", resource: "services", namespace: None };
    pub const ENDPOINT_SLICES: Rule<'static> =
        Rule { group: "discovery.k8s.io", resource: "endpointslices", namespace: None };
    pub const PODS: Rule<'static> = Rule { group: "", resource: "pods", namespace: None };
    pub const EVICTIONS: Rule<'static> = Rule { group: "", resource: "pods/eviction", namespace: None };
    pub const BUDGETS: Rule<'static> =
        Rule { group: "policy", resource: "poddisruptionbudgets", namespace: None };
    pub const VOLUME_ATTACHMENTS: Rule<'static> =
        Rule { group: "storage.k8s.io", resource: "volumeattachments", namespace: None };
    pub const PORT_FORWARD: Rule<'static> = Rule { group: "", resource: "pods/portforward", namespace: None };

    fn missing(&self, verbs: &[&str]) -> String {
        let Self { group, resource, namespace } = self;
        let role = match namespace {
            Some(namespace) => format!("a Role in {namespace}"),
            None => "the ClusterRole".to_owned(),
        };
        let verbs = verbs.join(r#"", ""#);
        format!(
            r#"{role} needs the rule: {{apiGroups: ["{group}"], resources: ["{resource}"], verbs: ["{verbs}"]}}"#
        )
    }

    /// The command that asks for this permission; a subresource has a flag of its own there.
    fn can_i(&self, verb: &str) -> String {
        let (name, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let mut command = format!("kubectl auth can-i {verb} {name}");
        if !self.group.is_empty() {
            command.extend([".", self.group]);
        }
        if !subresource.is_empty() {
            command.extend([" --subresource=", subresource]);
        }
        if let Some(namespace) = self.namespace {
            command.extend([" -n ", namespace]);
        }
        command
    }
}

impl ApiError {
    pub(super) fn code(&self) -> Option<StatusCode> {
        match self {
            Self::Status(status) => StatusCode::from_u16(status.code).ok(),
            Self::Transport(_) | Self::Broken(_) | Self::Unexpected(_) => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.code() == Some(StatusCode::NOT_FOUND)
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn may_pass(&self) -> bool {
        // One that timed out has taken long enough.
        !matches!(self, Self::Broken(_))
            && matches!(self.class(), Class::Passing | Class::WebhookDown(_) | Class::Busy)
    }

    /// A webhook that must be asked cannot be asked by a dry run.
    pub fn is_not_rehearsed(&self) -> bool {
        matches!(self, Self::Status(status) if status.message.contains("does not support dry run"))
    }

    /// Nobody answered, or not in time: other requests fare no better.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Transport(_) | Self::Broken(_))
    }

    /// The server knows us not, or not as one who may do this.
    pub fn is_refusal(&self) -> bool {
        self.class() == Class::Forbidden
    }

    /// Whether the next request would fail as well: permission is missing, or nobody answers.
    pub fn is_final(&self) -> bool {
        self.is_refusal() || self.code().is_none()
    }

    /// In kubectl's words, with the rule that is missing if one is.
    pub fn explain(&self, verb: &str, rule: &Rule<'_>) -> Error {
        self.explain_verbs(&[verb], rule)
    }

    /// The same for a request that needs several permissions.
    pub(super) fn explain_verbs(&self, verbs: &[&str], rule: &Rule<'_>) -> Error {
        let verb = verbs.last().copied().unwrap_or_default();
        let resource = rule.resource;
        let as_kubectl = || Error::in_kubectls_words(self.to_string());
        match self {
            Self::Status(status) => match (self.class(), status.code) {
                (Class::WebhookDown(_) | Class::Denied(Denier::Webhook(_)), _) => {
                    as_kubectl().hint(class::WEBHOOKS)
                }
                (Class::Denied(Denier::Policy(name)), _) => {
                    as_kubectl().hint(format!("kubectl get validatingadmissionpolicy {name} -o yaml"))
                }
                (_, 401) => Error::in_kubectls_words(format!(
                    "error: You must be logged in to the server ({})",
                    status.message
                ))
                .hint("kubectl auth whoami"),
                (Class::Forbidden, _) => verbs
                    .iter()
                    .fold(as_kubectl().hint(rule.missing(verbs)), |error, verb| error.hint(rule.can_i(verb))),
                (_, 429 | 500..) => as_kubectl().hint("kubectl get --raw '/readyz?verbose'"),
                _ => as_kubectl(),
            },
            Self::Transport(_) => as_kubectl().hint("kubectl cluster-info"),
            Self::Broken(why) => Error::new(Exit::Failed, format!("cannot {verb} {resource}: {why}"))
                .hint("kubectl cluster-info"),
            Self::Unexpected(why) => Error::new(Exit::Failed, format!("cannot {verb} {resource}: {why}"))
                .hint("is this the URL of a Kubernetes API server? kubectl config view --minify"),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                let reason =
                    if status.reason.is_empty() { reason(status.code) } else { status.reason.clone() };
                write!(f, "Error from server ({reason}): {}", status.message)
            }
            Self::Transport(why) | Self::Broken(why) | Self::Unexpected(why) => f.write_str(why),
        }
    }
}

/// As client-go names an answer that is no `Status` (`NewGenericServerResponse`), such as the plain text of a server that has
/// too much to do.
fn reason(code: u16) -> String {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        406 => "NotAcceptable",
        409 => "Conflict",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        code => return code.to_string(),
    }
    .to_owned()
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Json(_) | ReadError::TooLarge(_) | ReadError::TooMuch(_) => {
                Self::Unexpected(error.to_string())
            }
            ReadError::Transport(_) | ReadError::Stalled(_) => Self::Broken(error.to_string()),
        }
    }
}

impl From<kube::core::request::Error> for ApiError {
    fn from(error: kube::core::request::Error) -> Self {
        Self::Unexpected(error.to_string())
    }
}
