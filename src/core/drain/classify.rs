//! kubectl's filters, in its order and with its messages (`k8s.io/kubectl/pkg/drain/filters.go`).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::pod::Pod;

/// kubectl drain's flags that decide about pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Unlike kubectl's, true by default: these pods end in any reboot.
    pub ignore_daemonsets: bool,
    pub delete_emptydir_data: bool,
    pub force: bool,
    /// Pods whose grace has been over for more than so many seconds are not waited for; 0 = they are.
    pub skip_wait_for_delete: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { ignore_daemonsets: true, delete_emptydir_data: false, force: false, skip_wait_for_delete: 0 }
    }
}

impl Policy {
    /// With the flag that lifts this, if one does.
    fn allowing(self, blocked: &Blocked) -> Option<Self> {
        match blocked {
            Blocked::DaemonSet => Some(Self { ignore_daemonsets: true, ..self }),
            Blocked::DaemonSetUnknown(_) => None,
            Blocked::LocalStorage => Some(Self { delete_emptydir_data: true, ..self }),
            Blocked::DaemonSetGone(_) | Blocked::Unmanaged => Some(Self { force: true, ..self }),
        }
    }
}

/// What is known of a pod's `DaemonSet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonSet {
    Exists,
    /// In the server's words.
    NotFound(String),
    /// It could not be asked for: why.
    Unknown(String),
}

/// What a drain does with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Evicted, with what is to be warned of. kubectl keeps the last warning only.
    Evict(Vec<String>),
    Skip(Skip),
    /// Nothing is evicted while there is such a pod.
    Blocked(Blocked),
}

/// Why a pod is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    DaemonSet,
    Mirror,
    /// A helper pod of a remediation.
    Helper,
    /// It has been ending for longer than is waited.
    Ending,
}

impl Skip {
    pub fn reason(self) -> &'static str {
        match self {
            Self::DaemonSet => "managed by a DaemonSet",
            Self::Mirror => "static pod",
            Self::Helper => "helper pod of a remediation",
            Self::Ending => "has been ending for too long",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The flag `--ignore-daemonsets` is off.
    DaemonSet,
    /// Its `DaemonSet` does not exist, in the server's words.
    DaemonSetGone(String),
    /// Its `DaemonSet` could not be asked for: why.
    DaemonSetUnknown(String),
    LocalStorage,
    Unmanaged,
}

impl Blocked {
    /// The name of the refusal.
    pub fn gate(&self) -> &'static str {
        match self {
            Self::DaemonSet | Self::DaemonSetGone(_) | Self::DaemonSetUnknown(_) => "daemonset",
            Self::LocalStorage => "local-storage",
            Self::Unmanaged => "unmanaged",
        }
    }

    /// The flag that lifts it, if one does.
    pub fn flag(&self) -> Option<&'static str> {
        match self {
            Self::DaemonSet => Some("--ignore-daemonsets"),
            Self::DaemonSetUnknown(_) => None,
            Self::LocalStorage => Some("--delete-emptydir-data"),
            Self::DaemonSetGone(_) | Self::Unmanaged => Some("--force"),
        }
    }

    /// kubectl's words.
    pub fn reason(&self) -> &str {
        match self {
            Self::DaemonSet => "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)",
            Self::DaemonSetGone(why) | Self::DaemonSetUnknown(why) => why,
            Self::LocalStorage => "Pods with local storage (use --delete-emptydir-data to override)",
            Self::Unmanaged => "Pods that declare no controller (use --force to override)",
        }
    }

    /// Which pods these are, for a person who may allow them to go.
    pub fn pods(&self) -> &str {
        match self {
            Self::DaemonSet => "pods of DaemonSets",
            Self::DaemonSetGone(why) | Self::DaemonSetUnknown(why) => why,
            Self::LocalStorage => "pods with emptyDir volumes",
            Self::Unmanaged => "pods without a controller",
        }
    }
}

const IGNORED_DAEMON_SET: &str = "ignoring DaemonSet-managed Pods";
const LOCAL_STORAGE: &str = "deleting Pods with local storage";
const UNMANAGED: &str = "deleting Pods that declare no controller";

/// A pod with what a drain does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    pub pod: Pod,
    pub verdict: Verdict,
}

/// Whether the pod's `DaemonSet` has to be asked for before it can be classified.
pub fn needs_daemon_set(pod: &Pod) -> bool {
    !pod.is_finished() && pod.owner.as_ref().is_some_and(super::Owner::is_daemon_set)
}

/// The first filter that does not let a pod be evicted decides. `daemon_set` counts only if [`needs_daemon_set`]; `helpers` is the
/// namespace of helper pods.
pub fn classify(pod: &Pod, policy: Policy, helpers: &str, daemon_set: &DaemonSet, now: Timestamp) -> Verdict {
    if pod.is_helper_in(helpers) {
        return Verdict::Skip(Skip::Helper);
    }
    if is_skipped(pod, policy, now) {
        return Verdict::Skip(Skip::Ending);
    }
    let mut warnings = Vec::new();
    if needs_daemon_set(pod) {
        match daemon_set {
            DaemonSet::NotFound(why) if policy.force => warnings.push(why.clone()),
            DaemonSet::NotFound(why) => return Verdict::Blocked(Blocked::DaemonSetGone(why.clone())),
            DaemonSet::Unknown(why) => return Verdict::Blocked(Blocked::DaemonSetUnknown(why.clone())),
            DaemonSet::Exists if policy.ignore_daemonsets => return Verdict::Skip(Skip::DaemonSet),
            DaemonSet::Exists => return Verdict::Blocked(Blocked::DaemonSet),
        }
    }
    if pod.is_mirror {
        return Verdict::Skip(Skip::Mirror);
    }
    if !pod.is_finished() && !pod.empty_dirs.is_empty() {
        if !policy.delete_emptydir_data {
            return Verdict::Blocked(Blocked::LocalStorage);
        }
        warnings.push(LOCAL_STORAGE.to_owned());
    }
    if !pod.is_finished() && pod.owner.is_none() {
        if !policy.force {
            return Verdict::Blocked(Blocked::Unmanaged);
        }
        warnings.push(UNMANAGED.to_owned());
    }
    Verdict::Evict(warnings)
}

/// Everything that has to be allowed before the pod can go, and what a drain does with it then.
pub fn consents(
    pod: &Pod,
    mut policy: Policy,
    helpers: &str,
    daemon_set: &DaemonSet,
    now: Timestamp,
) -> (Vec<Blocked>, Verdict) {
    let mut needed = Vec::new();
    loop {
        let verdict = classify(pod, policy, helpers, daemon_set, now);
        let Verdict::Blocked(blocked) = &verdict else { return (needed, verdict) };
        let Some(allowing) = policy.allowing(blocked) else { return (needed, verdict) };
        needed.push(blocked.clone());
        policy = allowing;
    }
}

/// Whether the pod is being deleted for so long that nobody waits for it.
pub(super) fn is_skipped(pod: &Pod, policy: Policy, now: Timestamp) -> bool {
    let limit = i64::from(policy.skip_wait_for_delete);
    limit > 0 && pod.deletion.is_some_and(|deletion| now.duration_since(deletion).as_secs() > limit)
}

/// What keeps the drain from starting, one line for each reason.
pub fn refusals(pods: &[Classified]) -> Vec<String> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Classified { pod, verdict } in pods {
        if let Verdict::Blocked(blocked) = verdict {
            reasons.entry(blocked.reason()).or_default().push(pod.key());
        }
    }
    reasons.into_iter().map(|(reason, pods)| format!("cannot delete {reason}: {}", pods.join(", "))).collect()
}

/// What is done although it may surprise, one line for each reason.
pub fn warnings(pods: &[Classified]) -> Vec<String> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Classified { pod, verdict } in pods {
        let warnings = match verdict {
            Verdict::Evict(warnings) => warnings.iter().map(String::as_str).collect(),
            Verdict::Skip(Skip::DaemonSet) => vec![IGNORED_DAEMON_SET],
            Verdict::Skip(_) | Verdict::Blocked(_) => Vec::new(),
        };
        for warning in warnings {
            reasons.entry(warning).or_default().push(pod.key());
        }
    }
    let line = |(reason, mut pods): (&str, Vec<String>)| {
        pods.sort();
        format!("{reason}: {}", pods.join(", "))
    };
    reasons.into_iter().map(line).collect()
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
