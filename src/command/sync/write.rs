//! Writing the plans, a few nodes at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

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
}

/// What has been done so far, also if the work is stopped in the middle.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Vec<NodeResult>>);

impl Progress {
    fn add(&self, plan: &NodePlan<'_>, outcome: Outcome) {
        let result = NodeResult { node: plan.node.name.clone(), changes: plan.changes.clone(), outcome };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(result);
    }

    pub(super) fn plan_only(&self, plans: &[NodePlan<'_>]) {
        for plan in plans {
            self.add(plan, Outcome::Planned);
        }
    }

    /// The results by node, whatever the order in which they came.
    pub(super) fn take(&self) -> Vec<NodeResult> {
        let mut results = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        results.sort_by(|a, b| a.node.cmp(&b.node));
        results
    }
}

/// One patch for each node. A failure is that node's, unless it would be every node's.
pub(super) async fn write(
    cluster: &Cluster,
    plans: &[NodePlan<'_>],
    settings: &SyncSettings,
    progress: &Progress,
) {
    let is_over = AtomicBool::new(false);
    let patch = async |plan: &NodePlan<'_>| {
        if is_over.load(Ordering::Relaxed) {
            return progress.add(plan, Outcome::Skipped);
        }
        let dry_run = settings.dry_run == DryRun::Server;
        let outcome = match cluster.patch_conditions(plan.node, &plan.changes, dry_run).await {
            Ok(Written::Patched) if dry_run => Outcome::Planned,
            Ok(Written::Patched) => Outcome::Written,
            Ok(Written::Gone) => Outcome::Gone,
            Err(error) => {
                if error.is_final() {
                    is_over.store(true, Ordering::Relaxed);
                }
                Outcome::Failed(error.explain("patch", &Rule::NODES_STATUS))
            }
        };
        progress.add(plan, outcome);
    };
    stream::iter(plans).for_each_concurrent(settings.concurrency, patch).await;
}
