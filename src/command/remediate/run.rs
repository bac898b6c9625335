//! Carries a remediation out: shows the machine what there is, does what it asks for, stores what it wants stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::admission::Turn;
use super::work::{Doing, Views, Worker};
use crate::cluster::{ApiError, Cluster, RecordError, Refusals, RemediatedNode, WatchedNode};
use crate::core::remediation::{
    Action, End, LeaseSeen, Machine, NodeSeen, RecordSeen, RecordWrite, Seen, State, Work, WorkSeen, Write,
};
use crate::signal;

/// How often deadlines are looked at when nothing else happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A write that is under way may take so much longer when a signal comes.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// One run over one node, from its first record to its end.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Run<'r> {
    cluster: &'r Arc<Cluster>,
    worker: &'r Worker<'r>,
    machine: Machine,
    /// The node as we know it: as a watch shows it, or as our own last write left it.
    node: RemediatedNode,
    views: Views,
    /// The watch has begun.
    has_watched: bool,
    /// A record of ours was stored.
    has_stored: bool,
    /// What the API server says to a record that it does not store.
    refusals: Refusals,
    /// Why the last write was not stored, as far as is known.
    failure: Option<String>,
    /// One that was not answered may have been stored.
    in_doubt: bool,
    /// The condition was taken away, as far as that could be done.
    took_condition: bool,
}

impl<'r> Run<'r> {
    pub(super) fn new(worker: &'r Worker<'r>, machine: Machine, node: RemediatedNode) -> Self {
        Self {
            cluster: worker.cluster,
            worker,
            machine,
            node,
            views: worker.cluster.watch_remediated_node(&worker.node),
            has_watched: false,
            has_stored: false,
            refusals: Refusals::default(),
            failure: None,
            in_doubt: false,
            took_condition: false,
        }
    }

    /// Until the first record is stored, or that has failed: then the run is at its end.
    pub(super) async fn until_recorded(&mut self, turn: &Turn) {
        let mut lease = self.worker.locks.node.changes();
        self.worker.steps.enter(State::Cordoning);
        while !self.has_stored {
            if turn.is_over() {
                let failure = self.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                self.machine.give_up(format!("{}{failure}", turn.too_short()));
            }
            let seen = self.seen(WorkSeen::Idle);
            match self.machine.next(&seen, self.cluster.now()) {
                Action::End(_) => return self.look_for_the_first_record().await,
                Action::Write(write) => match turn.allows(Box::pin(self.write(&write))).await {
                    Some(true) => {}
                    Some(false) => Self::news(&mut self.views, &mut lease).await,
                    None => self.in_doubt = true,
                },
                Action::Work(_) | Action::Wait => Self::news(&mut self.views, &mut lease).await,
            }
        }
    }

    /// Of a write that was not answered nobody knows whether it was stored. Unless the Node shows that it was not, it is taken
    /// for stored.
    async fn look_for_the_first_record(&mut self) {
        if !self.in_doubt {
            return;
        }
        let looked = self.cluster.remediated_node(&self.worker.node);
        let looked = tokio::time::timeout(ANSWER_WITHIN, looked).await;
        if !matches!(looked, Ok(Ok(Some(node))) if node.view.record == RecordSeen::None) {
            self.machine.may_be_recorded();
        }
    }

    /// An uncordon that a policy refuses cannot be tried before the node is cordoned, and should be before it is drained.
    async fn rehearse_the_end(&mut self) {
        if self.machine.record().state > State::Draining {
            return;
        }
        let Some(write) = self.machine.last_write(&self.node.view, self.cluster.now()) else { return };
        let rehearsed = self.cluster.rehearse_record(&self.node, &write);
        if let Ok(Err(error)) = tokio::time::timeout(ANSWER_WITHIN, rehearsed).await
            && error.is_lasting()
            && !error.is_not_rehearsed()
        {
            self.machine.would_be_refused(&error.to_string(), self.cluster.now());
        }
    }

    pub(super) async fn until_its_end(mut self) -> End {
        self.rehearse_the_end().await;
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
            WatchedNode::Denied { why } => NodeSeen::Denied(why.clone()),
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
        match unless_stopped(self.cluster.write_record(&self.node, write)).await {
            Ok(node) => {
                self.node = node;
                self.refusals.over();
                (self.has_stored, self.in_doubt) = (true, false);
                self.worker.stored(&self.node, write).await;
                true
            }
            Err(RecordError::Conflict(now)) => {
                self.node = *now;
                self.in_doubt = false;
                true // look again, and decide anew
            }
            Err(RecordError::Api(error)) if self.is_final(&error) => {
                self.machine.refused(write, &error.to_string(), self.cluster.now());
                true
            }
            Err(error) => {
                self.in_doubt |= matches!(error, RecordError::Ambiguous(_));
                self.worker.cannot_store(&error);
                self.failure = Some(error.to_string());
                false
            }
        }
    }

    /// Before anything was changed there is nothing to lose, and others wait for their turn: then the first answer counts.
    fn is_final(&mut self, error: &ApiError) -> bool {
        self.refusals.heard(error) || (!self.has_stored && self.machine.is_new() && error.is_lasting())
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

/// Somebody who wants us to stop does not wait for a server that does not answer.
async fn unless_stopped<T>(write: impl Future<Output = Result<T, RecordError>>) -> Result<T, RecordError> {
    let stopped = async {
        signal::received().await;
        tokio::time::sleep(ANSWER_WITHIN).await;
    };
    tokio::select! {
        written = write => written,
        () = stopped => Err(RecordError::Ambiguous(ApiError::Broken("no answer yet".to_owned()))),
    }
}
