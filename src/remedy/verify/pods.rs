//! The `DaemonSets` whose pod on the node is Ready, as a watch tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::cluster::{ApiError, Change, Cluster, PodSelection, Refusals};
use crate::core::drain::Pod;
use crate::remedy::baseline::ready_daemon_sets;

/// Where the pods cannot be followed they are listed this often.
const LIST_EVERY: Duration = Duration::from_secs(5);
/// Changes that wait to be taken.
const BACKLOG: usize = 64;

/// `None`: they cannot be seen.
pub(super) type Seen = Option<BTreeSet<String>>;

/// Goes on until it is dropped, or the API server stays with it that they may not be seen.
pub(super) async fn follow(cluster: &Cluster, node: &str, seen: &watch::Sender<Seen>) -> ApiError {
    let selection = PodSelection::of_node(node);
    let mut refusals = Refusals::default();
    loop {
        match cluster.list_pods(&selection).await {
            Ok(listed) => {
                refusals.over();
                let (to, changes) = mpsc::channel(BACKLOG);
                let known = by_uid(listed.items);
                tokio::select! {
                    () = take(known, changes, seen) => drop(seen.send_replace(None)),
                    _may_not_watch = cluster.follow_pods(&selection, listed.version, &to) => {}
                }
            }
            Err(error) => {
                seen.send_replace(None);
                if refusals.heard(&error) {
                    return error;
                }
            }
        }
        tokio::time::sleep(LIST_EVERY).await;
    }
}

/// Returns once no news can come.
async fn take(
    mut known: BTreeMap<String, Pod>,
    mut changes: mpsc::Receiver<Change<Pod>>,
    seen: &watch::Sender<Seen>,
) {
    loop {
        let ready = Some(ready_daemon_sets(known.values()));
        seen.send_if_modified(|seen| std::mem::replace(seen, ready.clone()) != ready);
        match changes.recv().await {
            Some(Change::All(pods)) => known = by_uid(pods),
            Some(Change::Put(pod)) => drop(known.insert(pod.uid.clone(), pod)),
            Some(Change::Gone(pod)) => drop(known.remove(&pod.uid)),
            Some(Change::Interrupted(_)) | None => return,
        }
    }
}

fn by_uid(pods: Vec<Pod>) -> BTreeMap<String, Pod> {
    pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect()
}
