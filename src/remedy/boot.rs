//! Waits until a reboot is proven. The node may host the API server: that nobody answers ends nothing.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{News, Tell};
use crate::cluster::{ApiError, Cluster, Refusals, WatchedNode};
use crate::core::boot::{BootSeen, Proof, ProofState};

/// A kubelet renews its Lease every 10 s. It is asked for only once a new boot id was seen, and by `get`: a watch would
/// need a permission more for some five requests less.
const LEASE_EVERY: Duration = Duration::from_secs(2);
/// How often the person is told that nothing has changed.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Returns the new boot id once it is proven, or why it never can be. It has no end of its own: the caller's deadline is.
pub async fn await_boot(
    cluster: &Cluster,
    node: &str,
    mut views: watch::Receiver<WatchedNode>,
    mut proof: Proof,
    tell: &dyn Tell,
) -> Result<String, ApiError> {
    let began = Instant::now();
    let mut lease: Option<String> = None;
    let mut refusals = Refusals::default();
    let mut asked: Option<Instant> = None;
    loop {
        let mut wants_lease = false;
        let view = views.borrow_and_update().clone();
        let facts = match view {
            WatchedNode::Here(view) => {
                let ready = view.ready();
                let seen = BootSeen {
                    boot_id: &view.info.boot_id,
                    ready: ready.map_or("", |ready| &ready.status),
                    ready_heartbeat: ready.and_then(|ready| ready.last_heartbeat_time.as_deref()),
                    lease_renew: lease.as_deref(),
                };
                match proof.observe(&seen) {
                    ProofState::Proven { boot_id } => return Ok(boot_id),
                    ProofState::NotYet(facts) => {
                        wants_lease = facts.new_boot;
                        facts.to_string()
                    }
                }
            }
            WatchedNode::Gone => "the node is gone".to_owned(),
            WatchedNode::Unknown { why, .. } => format!("the API server does not answer ({why})"),
            WatchedNode::Denied { why } => format!("the node cannot be read ({why})"),
        };
        tell.tell(News::Wait { elapsed: began.elapsed(), facts: &facts });
        if wants_lease && asked.is_none_or(|asked| asked.elapsed() >= LEASE_EVERY) {
            asked = Some(Instant::now());
            match cluster.node_lease_object(node).await {
                Ok(object) => {
                    refusals.over();
                    lease = object["spec"]["renewTime"].as_str().map(str::to_owned);
                    continue;
                }
                Err(error) if refusals.heard(&error) => return Err(error),
                Err(error) => {
                    let facts = format!("{facts}; its Lease cannot be read: {error}");
                    tell.tell(News::Wait { elapsed: began.elapsed(), facts: &facts });
                }
            }
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() {
                tokio::time::sleep(TELL_EVERY).await; // nobody follows the node any more: the caller is about to stop us
            },
            () = tokio::time::sleep(TELL_EVERY) => {}
        }
    }
}
