//! The short Lease under which nodes are let go down one by one: two people who each see room for one node are not both
//! right.

use super::preflight::Others;
use super::work::Worker;
use crate::cluster::{Candidate, Hold, LeaseKey, Pace, Rule, Waiting};
use crate::core::gates::Refusal;
use crate::core::remediation::Record;
use crate::error::{Error, Exit, Result};
use crate::remedy::{News, Tell};

impl Worker<'_> {
    pub(super) async fn take_admission(&self) -> Result<Hold> {
        let key = LeaseKey::admission(&self.settings.lease_namespace);
        let candidate = Candidate::new(self.cluster.clone(), key, self.holder.clone())
            .with_pace(Pace::of(self.settings.lease_duration));
        let turn = candidate.wait(|waiting| {
            if let Waiting::Behind(holder) = waiting {
                self.steps.tell(News::Line(&format!("waits for {holder}, who is admitted right now")));
            }
        });
        // Nobody needs it for longer than a few requests; one who died in it is waited for.
        tokio::time::timeout(3 * self.settings.lease_duration, turn).await.map_err(|_| {
            Error::new(
                Exit::Busy,
                "the Lease sciuro-admission is held by another all the time; nothing was begun",
            )
            .hint(format!("kubectl get lease -n {} sciuro-admission -o yaml", self.settings.lease_namespace))
        })
    }
}

/// All gates once more, right before each request to reboot: what they look at may have changed during the drain, and a
/// record that somebody has forged was admitted by nobody.
pub(super) async fn ask_again(worker: &Worker<'_>, record: &Record) -> Result<()> {
    let admission = worker.take_admission().await?;
    let outcome = async {
        let cluster = worker.cluster;
        let (node, others) =
            futures::join!(cluster.remediated_node(&worker.node), Others::look(&worker.node, cluster));
        let node = node.map_err(|error| error.explain("get", &Rule::NODES))?;
        let node = node.ok_or_else(|| Error::new(Exit::Aborted, "the node is gone"))?;
        if node.view.boot_id != record.pre_boot_id {
            let (now, then) = (&node.view.boot_id, &record.pre_boot_id);
            let what = format!("boot ID mismatch: the Node says {now}, its remediation {then}");
            return Err(Error::new(Exit::Refused, what));
        }
        refuse(&others?.judge(&node, &record.pre_boot_id, worker.settings).0)
    }
    .await;
    let _waits_for_it_to_run_out = admission.release(std::collections::BTreeMap::new()).await;
    outcome
}

pub(super) fn refuse(refusals: &[Refusal]) -> Result<()> {
    if refusals.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    Err(Error::new(Exit::Refused, all.join("; ")))
}
