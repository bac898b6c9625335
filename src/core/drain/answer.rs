//! What a server answers to an eviction.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The pod is being deleted now.
    Accepted,
    /// There is no such pod.
    Gone,
    /// The pod of this name is another one, or changed at that moment.
    Conflict(String),
    /// The pod's disruption budget does not allow it now; in the server's words.
    Budget { name: Option<String>, why: String, retry_after: Option<Duration> },
    /// The server takes no more requests, whatever they are for.
    Throttled { retry_after: Option<Duration> },
    /// An admission webhook or policy said no, in the server's words; it may say yes later, as those do that move what runs
    /// in the pod first.
    Denied { by: String, why: String, retry_after: Option<Duration>, hint: Hint },
    /// The pod's namespace is being deleted, and the pod with it.
    NamespaceEnds,
    /// It may work a moment later: no connection, an error of the server, or a webhook that cannot be called.
    Transient { why: String, retry_after: Option<Duration>, hint: Hint },
    /// Asking again does not help.
    Refused { why: String, hint: Hint },
    /// Of a dry run: an admission webhook cannot tell without the act.
    NotRehearsed(String),
}

/// Where to look next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Several budgets cover the pod.
    Budgets,
    /// An admission webhook does not let it pass, or cannot be called.
    Webhooks,
    /// An admission policy does not let it pass.
    Policies,
    /// The server, or the way to it.
    Server,
    /// A permission is missing: to delete pods, or to evict them.
    Permission {
        deletes: bool,
    },
    Pod,
}

impl Hint {
    /// The next command, about a pod.
    pub fn command(self, namespace: &str, pod: &str) -> String {
        match self {
            Self::Budgets => format!("kubectl get poddisruptionbudgets -n {namespace}"),
            Self::Webhooks => {
                "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations".to_owned()
            }
            Self::Policies => {
                "kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings".to_owned()
            }
            Self::Server => "kubectl get --raw '/readyz?verbose'".to_owned(),
            Self::Permission { deletes: false } => {
                format!("kubectl auth can-i create pods --subresource=eviction -n {namespace}")
            }
            Self::Permission { deletes: true } => format!("kubectl auth can-i delete pods -n {namespace}"),
            Self::Pod => format!("kubectl describe pod {pod} -n {namespace}"),
        }
    }
}
