//! Volumes of pods that are gone: they are detached before the machine goes down, or their pods start elsewhere late.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::run::before;
use super::{DrainFailure, DrainFailureKind, DrainOptions};
use crate::cluster::{ApiError, Attachment, Change, Cluster, PodSelection};
use crate::core::drain::Pod;
use crate::remedy::{News, Tell};

/// Waits until no volume is attached to the node but those of pods that stay.
pub(super) async fn detached(
    cluster: &Arc<Cluster>,
    node: &str,
    options: &DrainOptions,
    stay: Vec<Pod>,
    deadline: Option<Instant>,
    tell: &dyn Tell,
) -> Result<(), DrainFailure> {
    let mut attached = BTreeSet::new();
    let waited = before(deadline, wait(cluster, node, options, stay, tell, &mut attached)).await;
    match waited {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => {
            tell.tell(News::Warning(&format!("volumes are not waited for: {error}")));
            Ok(())
        }
        None => {
            let names: Vec<_> = attached.into_iter().collect();
            Err(DrainFailure {
                kind: DrainFailureKind::TimedOut,
                why: format!("volumes are still attached to node {node}: {}", names.join(", ")),
                left: Vec::new(),
                hints: vec!["kubectl get volumeattachments".to_owned()],
            })
        }
    }
}

async fn wait(
    cluster: &Arc<Cluster>,
    node: &str,
    options: &DrainOptions,
    stay: Vec<Pod>,
    tell: &dyn Tell,
    attached: &mut BTreeSet<String>,
) -> Result<(), ApiError> {
    let listed = cluster.list_attachments().await?;
    let mut here: Vec<_> = listed.items.into_iter().filter(|attachment| attachment.node == node).collect();
    if here.is_empty() {
        return Ok(());
    }
    let Staying { volumes, unread } = staying_volumes(cluster, node, options, stay, tell).await?;
    let is_awaited = |attachment: &Attachment| {
        attachment.node == node && attachment.volume.as_ref().is_none_or(|volume| !volumes.contains(volume))
    };
    here.retain(is_awaited);
    attached.extend(here.into_iter().map(|attachment| attachment.name));
    if attached.len() <= unread {
        return Ok(());
    }
    let (to, mut changes) = mpsc::channel(64);
    let (follower, mut following) = (cluster.clone(), JoinSet::new());
    following.spawn(async move { follower.follow_attachments(listed.version, &to).await });
    let names: Vec<_> = attached.iter().map(String::as_str).collect();
    tell.tell(News::Line(&format!("waiting for volumes to be detached: {}", names.join(", "))));
    while attached.len() > unread {
        match changes.recv().await {
            Some(Change::Put(attachment)) if is_awaited(&attachment) => {
                attached.insert(attachment.name);
            }
            Some(Change::Put(_)) => {}
            Some(Change::Gone(attachment)) => {
                attached.remove(&attachment.name);
            }
            Some(Change::All(all)) => {
                *attached = all.into_iter().filter(is_awaited).map(|attachment| attachment.name).collect();
            }
            Some(Change::Interrupted(why)) => {
                tell.tell(News::Warning(&format!("no news of volumes, trying again: {why}")));
            }
            None => {
                return match following.join_next().await {
                    Some(Ok(Some(error))) => Err(error),
                    _ => Ok(()),
                };
            }
        }
    }
    Ok(())
}

/// What the pods that stay on the node keep attached.
#[derive(Default)]
struct Staying {
    /// `PersistentVolumes`.
    volumes: BTreeSet<String>,
    /// So many more, which cannot be told from those of pods that left.
    unread: usize,
}

async fn staying_volumes(
    cluster: &Cluster,
    node: &str,
    options: &DrainOptions,
    mut stay: Vec<Pod>,
    tell: &dyn Tell,
) -> Result<Staying, ApiError> {
    if options.pod_selector.is_some() {
        // Those that the selector does not match stay, too.
        let all = PodSelection { node: node.to_owned(), labels: None, chunk: options.chunk_size };
        stay = cluster.list_pods(&all).await?.items;
    }
    let claims: BTreeSet<(&str, &String)> =
        stay.iter().flat_map(|pod| pod.claims.iter().map(|claim| (pod.namespace.as_str(), claim))).collect();
    let mut staying = Staying::default();
    for (namespace, claim) in claims {
        match cluster.volume_of_claim(namespace, claim).await {
            Ok(volume) => staying.volumes.extend(volume),
            Err(error) => {
                // One that is gone has no volume.
                staying.unread += usize::from(!error.is_not_found());
                tell.tell(News::Warning(&format!("cannot read PVC {namespace}/{claim}: {error}")));
            }
        }
    }
    Ok(staying)
}
