//! A pod, reduced to what a drain needs to know of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::core::helper;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // facts, independent of each other
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    /// The owner that is marked as its controller.
    pub owner: Option<Owner>,
    pub phase: Phase,
    /// Its condition Ready is True.
    pub ready: bool,
    /// A static pod's image at the API server: only the node's own files can end it.
    pub is_mirror: bool,
    /// The names of its emptyDir volumes.
    pub empty_dirs: Vec<String>,
    /// The names of the claims that its volumes are made of.
    pub claims: Vec<String>,
    /// It may be scheduled to a cordoned node.
    pub tolerates_cordon: bool,
    /// `terminationGracePeriodSeconds`.
    pub grace_seconds: Option<i64>,
    /// `metadata.deletionTimestamp`: when its grace is over.
    pub deletion: Option<Timestamp>,
    pub finalizers: Vec<String>,
}

impl Pod {
    /// `namespace/name`, as kubectl prints it.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// A helper pod of a remediation, if helpers are in this namespace: anywhere else our labels are a tenant's to set.
    pub fn is_helper_in(&self, helpers: &str) -> bool {
        self.namespace == helpers
            && self.owner.is_none()
            && !self.is_mirror
            && helper::remediation(&self.name, &self.labels).is_some()
    }

    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether an eviction looks at disruption budgets: for a pod that has not started, is over, or is being deleted,
    /// it does not (`canIgnorePDB` in kubernetes' `pkg/registry/core/pod/storage/eviction.go`).
    pub fn is_guarded(&self) -> bool {
        !self.is_finished() && self.phase != Phase::Pending && self.deletion.is_none()
    }
}

/// A controller's reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

impl Owner {
    /// The built-in kind alone: `DaemonSets` of other groups are evicted, as kubectl does.
    pub fn is_daemon_set(&self) -> bool {
        self.kind == "DaemonSet" && self.api_version == "apps/v1"
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    #[default]
    Unknown,
}
