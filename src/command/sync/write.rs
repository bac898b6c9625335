//! Writing the plans, a few nodes at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};

use crate::cli::DryRun;
use crate::cluster::{Cluster, Rule, Written};
use crate::core::condition::Change;
use crate::core::node::Node;
use crate::error::Error;
use crate::settings::SyncSettings;

/// What is to be written on one node.
pub(super) struct NodePlan<'n> {
    pub(super) node: &'n Node,
    pub(super) changes: Vec<Change>,
}

/// What became of one node's plan.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A dry run: not sent, or sent and not stored.
    Planned,
    Written,
    /// The node was deleted or replaced meanwhile.
    Gone,
    Failed(Error),
    /// Not tried: what failed before would have failed here too.
    Skipped,
}

#[derive(Debug)]
pub(super) struct NodeResult {
    pub(super) node: String,
    pub(super) changes: Vec<Change>,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

/// What has been done so far, also if the work is stopped in the middle.
#[derive(Debug, Default)]
pub(super) struct Progress {
    results: Mutex<Vec<NodeResult>>,
    is_over: AtomicBool,
    refused: OnceLock<Error>,
}

impl Progress {
    /// No further node is begun.
    pub(super) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn add(&self, plan: &NodePlan<'_>, outcome: Outcome, took: Duration) {
        let result =
            NodeResult { node: plan.node.name.clone(), changes: plan.changes.clone(), outcome, took };
        self.results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
    }

    /// The error, if we are not allowed to write.
    pub(super) fn refused(&self) -> Option<Error> {
        self.refused.get().cloned()
    }

    pub(super) fn plan_only(&self, plans: &[NodePlan<'_>]) {
        for plan in plans {
            self.add(plan, Outcome::Planned, Duration::ZERO);
        }
    }

    /// The results by node, whatever the order in which they came.
    pub(super) fn take(&self) -> Vec<NodeResult> {
        let mut results = std::mem::take(&mut *self.results.lock().unwrap_or_else(PoisonError::into_inner));
        results.sort_by(|a, b| a.node.cmp(&b.node));
        results
    }
}

/// What becomes of the plans if the server is not even asked.
pub(super) fn refused(plans: &[NodePlan<'_>], error: Error) -> Vec<NodeResult> {
    let mut error = Some(error);
    let result = |plan: &NodePlan<'_>| NodeResult {
        node: plan.node.name.clone(),
        changes: plan.changes.clone(),
        outcome: error.take().map_or(Outcome::Skipped, Outcome::Failed),
        took: Duration::ZERO,
    };
    plans.iter().map(result).collect()
}

/// One patch for each node. A failure is that node's, unless it would be every node's.
pub(super) async fn write(
    cluster: &Cluster,
    plans: &[NodePlan<'_>],
    settings: &SyncSettings,
    progress: &Progress,
) {
    let patch = async |plan: &NodePlan<'_>| {
        if progress.is_over.load(Ordering::Relaxed) {
            return progress.add(plan, Outcome::Skipped, Duration::ZERO);
        }
        let started = Instant::now();
        let dry_run = settings.dry_run == DryRun::Server;
        let outcome = match cluster.patch_conditions(plan.node, &plan.changes, dry_run).await {
            Ok(Written::Patched) if dry_run => Outcome::Planned,
            Ok(Written::Patched) => Outcome::Written,
            Ok(Written::Gone) => Outcome::Gone,
            Err(error) => {
                if error.is_final() {
                    progress.stop();
                }
                let explained = error.explain("patch", &Rule::NODES_STATUS);
                if error.is_refusal() {
                    progress.refused.get_or_init(|| explained.clone());
                }
                Outcome::Failed(explained)
            }
        };
        progress.add(plan, outcome, started.elapsed());
    };
    stream::iter(plans).for_each_concurrent(settings.concurrency, patch).await;
}
