//! The short Lease under which nodes are let go down one by one: two people who each see room for one node are not both
//! right.

use std::time::Duration;

use tokio::time::Instant;

use super::begin;
use super::preflight::Others;
use super::work::Worker;
use crate::cluster::{Candidate, Hold, LeaseKey, Pace, Refusals, Rule, Waiting};
use crate::core::gates::Refusal;
use crate::core::remediation::Record;
use crate::error::{Error, Exit, Result};
use crate::remedy::{News, Tell};

/// Our turn. It lasts for a few requests, and not for long whatever becomes of them: nobody else in the cluster can begin
/// meanwhile. The Lease is released when this is dropped.
pub(super) struct Turn {
    hold: Hold,
    limit: Duration,
    ends: Instant,
}

impl Turn {
    /// Does `work` while it lasts.
    pub(super) async fn allows<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.ends, self.hold.while_held(work)).await.ok().flatten()
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.ends || !self.hold.is_held()
    }

    /// Why it was over before the work was done.
    pub(super) fn too_short(&self) -> String {
        if Instant::now() >= self.ends {
            format!("not done within {}s, and others wait for the disruption lock", self.limit.as_secs())
        } else {
            "the disruption lock was lost to another process".to_owned()
        }
    }

    /// Whoever comes next need not wait for the Lease to run out.
    pub(super) async fn end(self) {
        super::locks::release(self.hold).await;
    }
}

impl Worker<'_> {
    /// Waits for our turn.
    pub(super) async fn turn(&self) -> Result<Turn> {
        let key = LeaseKey::admission(&self.settings.lease_namespace);
        let duration = self.settings.lease_duration;
        let candidate =
            Candidate::new(self.cluster.clone(), key, self.holder.clone()).with_pace(Pace::of(duration));
        let mut refusals = Refusals::default();
        let turn = candidate.wait_unless(|waiting| match waiting {
            Waiting::Behind(holder) => {
                let line = format!("waiting for {holder} to finish its safety checks");
                self.steps.tell(News::Line(&line));
                Ok(())
            }
            Waiting::Failed(error) if error.is_final(&mut refusals) => Err(error),
            Waiting::Failed(error) => {
                let facts = format!("the disruption lock cannot be taken: {}", error.why());
                self.steps.tell(News::Wait { elapsed: Duration::ZERO, facts: &facts });
                Ok(())
            }
        });
        // Nobody has it for longer, and one who died in it is waited for.
        match tokio::time::timeout(3 * duration, Box::pin(turn)).await {
            Ok(Ok(hold)) => {
                let limit = 2 * duration;
                Ok(Turn { hold, limit, ends: Instant::now() + limit })
            }
            Ok(Err(error)) => Err(super::locks::refused(error)),
            Err(_) => Err(Error::new(
                Exit::Busy,
                "another process kept holding Lease sciuro-admission; nothing was started",
            )
            .hint(format!(
                "kubectl get lease -n {} sciuro-admission -o yaml",
                self.settings.lease_namespace
            ))),
        }
    }
}

/// All gates once more, right before each request to reboot: what they look at may have changed during the drain, and a
/// record that somebody has forged was admitted by nobody.
pub(super) async fn ask_again(worker: &Worker<'_>, record: &Record) -> Result<()> {
    let turn = worker.turn().await?;
    let asked = turn.allows(Box::pin(async {
        let cluster = worker.cluster;
        let (node, others, told) = futures::join!(
            cluster.remediated_node(&worker.node),
            Others::look(&worker.node, cluster),
            begin::told(worker.reboot.as_ref(), worker.verify_command.as_ref())
        );
        let node = node.map_err(|error| error.explain("get", &Rule::NODES))?;
        let node = node.ok_or_else(|| Error::new(Exit::Aborted, "the node is gone"))?;
        if node.view.boot_id != record.pre_boot_id {
            let (now, then) = (&node.view.boot_id, &record.pre_boot_id);
            let what = format!("boot ID mismatch: the Node says {now}, its remediation {then}");
            return Err(Error::new(Exit::Refused, what));
        }
        refuse(&others?.judge(&node, &record.pre_boot_id, &told, worker.settings).0)
    }));
    let asked = asked.await.unwrap_or_else(|| {
        Err(Error::new(Exit::Refused, format!("the gates were not asked again: {}", turn.too_short())))
    });
    turn.end().await;
    asked
}

pub(super) fn refuse(refusals: &[Refusal]) -> Result<()> {
    if refusals.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    Err(Error::new(Exit::Refused, all.join("; ")))
}
