//! Gets the pods off a node: rehearsed first, then evicted under their disruption budgets until they and their volumes are
//! gone. It asks little of the server: one list and one watch tell all that happens.

mod failure;
mod lookups;
mod reach;
mod rehearsal;
mod run;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

pub use failure::{DrainFailure, DrainFailureKind};
pub use reach::unreachable;
pub use rehearsal::{DrainPlan, PlannedPod, Refusal, Warning};

use super::Tell;
use crate::cluster::{Cluster, Eviction, PodSelection};
use crate::core::drain::Policy;
use crate::error::Error;

/// kubectl drain's flags.
#[derive(Debug, Clone)]
pub struct DrainOptions {
    pub policy: Policy,
    /// In seconds; `None` = each pod's own.
    pub grace_period: Option<u32>,
    /// `None` = for ever.
    pub timeout: Option<Duration>,
    pub pod_selector: Option<String>,
    /// Where helper pods are: those stay.
    pub helper_namespace: String,
    /// Pods are deleted: disruption budgets are not asked.
    pub disable_eviction: bool,
    /// How many pods come in one answer; `None`: all.
    pub chunk_size: Option<u32>,
    /// Requests at the same time.
    pub max_concurrent_evictions: usize,
    /// A rehearsal asks the server about each eviction.
    pub asks_server: bool,
    /// How long an attachment is waited for that no pod used since the drain began: perhaps nothing detaches it.
    pub strangers_within: Duration,
    /// Warnings that are not said again: the plan had them.
    pub said: Vec<String>,
}

impl Default for DrainOptions {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            grace_period: None,
            timeout: Some(Duration::from_secs(15 * 60)),
            pod_selector: None,
            helper_namespace: "kube-system".to_owned(),
            disable_eviction: false,
            chunk_size: Some(500),
            max_concurrent_evictions: 20,
            asks_server: true,
            strangers_within: Duration::from_secs(30),
            said: Vec::new(),
        }
    }
}

impl DrainOptions {
    fn selection(&self, node: &str) -> PodSelection {
        PodSelection { node: node.to_owned(), labels: self.pod_selector.clone(), chunk: self.chunk_size }
    }

    fn eviction(&self, dry_run: bool) -> Eviction {
        Eviction { grace_period: self.grace_period, by_delete: self.disable_eviction, dry_run }
    }
}

/// How a drain went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// Pods that are gone.
    pub evicted: usize,
    /// Pods that stay, with why.
    pub kept: Vec<KeptPod>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPod {
    pub namespace: String,
    pub name: String,
    pub reason: &'static str,
}

/// What a drain would do; changes nothing.
pub async fn rehearse(
    cluster: &Arc<Cluster>,
    node: &str,
    options: &DrainOptions,
) -> Result<DrainPlan, Error> {
    rehearsal::rehearse(cluster, node, options).await
}

/// Evicts the pods of a node that is cordoned already, and waits until they are gone. May be dropped at any time, and begun
/// again.
pub async fn drain(
    cluster: Arc<Cluster>,
    node: &str,
    options: &DrainOptions,
    tell: &dyn Tell,
) -> Result<Drained, DrainFailure> {
    run::drain(cluster, node, options, tell).await
}
