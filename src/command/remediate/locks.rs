//! What keeps others off the node for as long as a run lasts. Whatever ends it, each is released when it is dropped.

use std::collections::BTreeMap;

use super::Context;
use super::next::{Lines, Next};
use crate::cluster::{Candidate, Hold, LeaseError, LeaseKey, Pace, RemediatedNode};
use crate::command::stop::until_stopped;
use crate::core::gates::Gate;
use crate::error::{Error, Exit, Result};

/// The Leases of one node.
pub(super) struct Locks {
    /// By which remediations keep each other off.
    pub(super) node: Hold,
    /// By which medik8s' operators do, where they are installed.
    medik8s: Option<Hold>,
}

impl Locks {
    /// For acting on the node.
    pub(super) async fn take(node: &RemediatedNode, context: &Context<'_>) -> Result<Self> {
        let mut locks = Self::take_ours(node, context).await?;
        locks.add_medik8s(node, true, context).await?;
        Ok(locks)
    }

    /// `must`: it is not acted on a node that one of medik8s' operators has.
    pub(super) async fn add_medik8s(
        &mut self,
        node: &RemediatedNode,
        must: bool,
        context: &Context<'_>,
    ) -> Result<()> {
        match until_stopped(Some(&self.node), Box::pin(of_medik8s(node, context))).await? {
            Ok(medik8s) => self.medik8s = medik8s,
            Err(error) if error.exit == Exit::Busy && !must => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// For taking back what we have done: that is in nobody's way.
    pub(super) async fn take_ours(node: &RemediatedNode, context: &Context<'_>) -> Result<Self> {
        let node = until_stopped(None, Box::pin(of_node(node, context))).await??;
        Ok(Self { node, medik8s: None })
    }

    /// Whether they are ours, as the API server says it now.
    pub(super) async fn renew_now(&self) -> std::result::Result<(), LeaseError> {
        self.node.renew_now().await?;
        match &self.medik8s {
            Some(medik8s) => medik8s.renew_now().await,
            None => Ok(()),
        }
    }

    pub(super) async fn release(self) {
        if let Some(medik8s) = self.medik8s {
            release(medik8s).await;
        }
        release(self.node).await;
    }
}

fn candidate(key: LeaseKey, node: &RemediatedNode, context: &Context<'_>) -> Candidate {
    Candidate::new(context.cluster.clone(), key, context.holder.to_owned())
        .with_pace(Pace::of(context.settings.lease_duration))
        .outlasting_outages()
        .owned_by_node(&node.name, &node.view.uid)
}

/// Takes the node's Lease; one that is held is watched for its duration.
async fn of_node(node: &RemediatedNode, context: &Context<'_>) -> Result<Hold> {
    let Context { settings, ui, .. } = *context;
    let key = LeaseKey::of_node(&settings.lease_namespace, &node.name);
    let taken = candidate(key.clone(), node, context)
        .take(|other, left| {
            ui.note(&format!(
                "the Lease {}/{} is held by {other}; watching for {}s whether its holder lives",
                key.namespace,
                key.name,
                left.as_secs()
            ));
        })
        .await;
    taken.map_err(|error| match error {
        LeaseError::Held { .. } => Lines::of(context, &settings.drain).hint(error.explain(), &[Next::Stop]),
        LeaseError::Api { .. } => refused(error),
    })
}

/// The API server lets us have no Lease. Where it stays with that nothing can be begun.
pub(super) fn refused(error: LeaseError) -> Error {
    let is_lasting = error.is_lasting();
    let mut explained = error.explain();
    if is_lasting {
        explained.exit = Exit::Refused;
    }
    explained
}

/// Where medik8s is not installed there is no Lease to take.
async fn of_medik8s(node: &RemediatedNode, context: &Context<'_>) -> Result<Option<Hold>> {
    let key = LeaseKey::of_medik8s(&node.name);
    // Where that cannot be told, its Lease is respected.
    if !context.cluster.has_medik8s().await.unwrap_or(true) {
        return Ok(None);
    }
    match candidate(key.clone(), node, context).take_unless_held().await {
        Ok(hold) => Ok(Some(hold)),
        Err(error) if error.is_missing_namespace() => Ok(None),
        Err(LeaseError::Held { .. }) if context.settings.overridden.contains(&Gate::ForeignOwner) => Ok(None),
        Err(error) if error.is_forbidden() => {
            // The plan has told that it may not be read.
            tracing::info!(
                "may not take the Lease {}/{}: medik8s may act on the node, too",
                key.namespace,
                key.name
            );
            Ok(None)
        }
        Err(error) => {
            let is_held = matches!(error, LeaseError::Held { .. });
            let explained =
                error.explain().hint(format!("kubectl get lease -n {} {} -o yaml", key.namespace, key.name));
            let nevertheless = format!("to go on nevertheless: add --override {}", Gate::ForeignOwner);
            Err(if is_held { explained.hint(nevertheless) } else { explained })
        }
    }
}

/// Whoever comes next need not wait for it to run out.
pub(super) async fn release(hold: Hold) {
    let _runs_out = hold.release(BTreeMap::new()).await; // which is logged there
}
