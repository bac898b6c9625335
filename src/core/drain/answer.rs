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
    /// The server has too much to do.
    Throttled { retry_after: Option<Duration> },
    /// The pod's namespace is being deleted, and the pod with it.
    NamespaceEnds,
    /// It may work a moment later: no connection, or an error of the server.
    Transient { why: String, retry_after: Option<Duration> },
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
    /// An admission webhook does not let it pass, or cannot be reached.
    Webhooks,
    /// A permission is missing.
    Permission,
    Pod,
}
