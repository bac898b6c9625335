//! Carries a remediation out: shows the machine what there is, does what it asks for, stores what it wants stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::work::{Doing, Views, Worker};
use crate::cluster::{Cluster, Hold, RecordError, RemediatedNode, WatchedNode};
use crate::core::remediation::{
    Action, End, LeaseSeen, Machine, NodeSeen, RecordWrite, Seen, Work, WorkSeen, Write,
};
use crate::signal;

/// How often deadlines are looked at when nothing else happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One run over one node, from its first record to its end.
pub(super) struct Run<'r> {
    pub(super) cluster: &'r Arc<Cluster>,
    pub(super) worker: &'r Worker<'r>,
    pub(super) machine: Machine,
    /// The node as we know it: as a watch shows it, or as our own last write left it.
    pub(super) node: RemediatedNode,
    pub(super) views: Views,
    /// The watch has begun.
    pub(super) has_watched: bool,
    /// Held until the first record is stored.
    pub(super) admission: Option<Hold>,
    /// The condition was taken away, as far as that could be done.
    pub(super) took_condition: bool,
}

impl Run<'_> {
    pub(super) async fn until_its_end(mut self) -> End {
        let mut lease = self.worker.locks.node.changes();
        let mut done = WorkSeen::Idle;
        let mut doing: Option<(Work, Doing<'_>)> = None;
        loop {
            let work = match &doing {
                Some((work, _)) => WorkSeen::Underway(*work),
                None => done.clone(),
            };
            let seen = self.seen(work);
            match self.machine.next(&seen, self.cluster.now()) {
                Action::End(end) => return end,
                Action::Write(write) => {
                    doing = None;
                    if !self.write(&write).await {
                        Self::news(&mut self.views, &mut lease).await;
                    }
                }
                Action::Work(work) => {
                    if doing.as_ref().is_none_or(|(current, _)| *current != work) {
                        let (node, record) = (self.node.clone(), self.machine.record().clone());
                        doing = Some((work, self.worker.begin(work, node, record, self.views.clone())));
                        done = WorkSeen::Idle;
                    }
                    let Some((_, current)) = doing.as_mut() else { continue };
                    let outcome = tokio::select! {
                        outcome = self.worker.while_ours(work, current) => Some(outcome),
                        () = Self::news(&mut self.views, &mut lease) => None,
                    };
                    if let Some(outcome) = outcome {
                        doing = None;
                        done = match outcome {
                            Ok(product) => WorkSeen::Done(work, product),
                            Err(failure) => WorkSeen::Failed(work, failure),
                        };
                    }
                }
                Action::Wait => {
                    doing = None;
                    Self::news(&mut self.views, &mut lease).await;
                }
            }
        }
    }

    /// What there is to be seen now.
    fn seen(&mut self, work: WorkSeen) -> Seen {
        let node = match &*self.views.borrow_and_update() {
            WatchedNode::Here(node) => {
                self.has_watched = true;
                // A watch lags behind our own writes.
                if !node.is_older_than(&self.node) {
                    self.node = (**node).clone();
                }
                NodeSeen::Here(Box::new(self.node.view.clone()))
            }
            WatchedNode::Gone => NodeSeen::Gone,
            // Until the watch has begun, what was read before it will do.
            WatchedNode::Unknown { .. } if !self.has_watched => {
                NodeSeen::Here(Box::new(self.node.view.clone()))
            }
            WatchedNode::Unknown { .. } => NodeSeen::Unknown,
        };
        Seen { node, lease: self.worker.locks.node.seen(), work, interrupted: signal::has_come() }
    }

    /// Stores a record. `false` if that has to be tried again.
    async fn write(&mut self, write: &Write) -> bool {
        if matches!(write.record, RecordWrite::Finish(_)) && self.take_condition().await {
            return true; // look again, and decide anew
        }
        match self.cluster.write_record(&self.node, write).await {
            Ok(node) => {
                self.node = node;
                if let Some(admission) = self.admission.take() {
                    super::locks::release(admission).await;
                }
                self.worker.stored(&self.node, write).await;
                true
            }
            Err(RecordError::Conflict(now)) => {
                self.node = *now;
                true // look again, and decide anew
            }
            Err(error) => {
                self.worker.cannot_store(&error);
                false
            }
        }
    }

    /// The condition goes before the record does: whoever is killed in between leaves something to resume, and no condition
    /// that nobody takes away. `true` if the Node has changed thereby.
    async fn take_condition(&mut self) -> bool {
        if !self.node.says_under_way() || std::mem::replace(&mut self.took_condition, true) {
            return false;
        }
        self.cluster.set_remediation_condition(&self.node, None).await;
        // If it cannot be read, the watch will say.
        if let Ok(Some(node)) = self.cluster.remediated_node(&self.node.name).await {
            self.node = node;
        }
        true
    }

    /// Returns when something may have changed.
    async fn news(views: &mut Views, lease: &mut watch::Receiver<LeaseSeen>) {
        tokio::select! {
            Ok(()) = views.changed() => {}
            Ok(()) = lease.changed() => {}
            _ = signal::received(), if !signal::has_come() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
