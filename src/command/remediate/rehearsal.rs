//! The first patch of a run, as the plan tries it: the server looks at it as at the real one, and stores nothing.

use super::begin::{self, Draft};
use super::drain_plan::Obstacle;
use crate::cluster::{Class, Cluster, RemediatedNode};
use crate::core::gates::Refusal;
use crate::core::remediation::{
    Action, Baseline, LeaseSeen, Machine, NodeSeen, Options, Reason, RecordSeen, Seen, WorkSeen,
};
use crate::remedy::baseline;
use crate::settings::RemediateSettings;

/// What comes of it.
pub(super) enum Cordon {
    /// It would be stored, or there is nothing to try.
    Fine,
    Refused(Obstacle),
    /// It is not known: why.
    NotRehearsed(String),
}

pub(super) async fn cordon(
    node: &RemediatedNode,
    reasons: &[Reason],
    overridden: &[Refusal],
    holder: &str,
    settings: &RemediateSettings,
    cluster: &Cluster,
) -> Cordon {
    if node.view.record != RecordSeen::None {
        return Cordon::Fine; // it is about a run that has begun
    }
    // Without it the record is shorter, and everything else is as it will be.
    let baseline = baseline::take(cluster, node).await.unwrap_or_else(|_| Baseline::default());
    let id = begin::new_id();
    let draft = Draft { id: &id, holder, method: settings.reboot.method, reasons, overridden };
    let record = draft.record(node, baseline, None, cluster.now());
    let seen = Seen {
        node: NodeSeen::Here(Box::new(node.view.clone())),
        lease: LeaseSeen::Held,
        work: WorkSeen::Idle,
        interrupted: false,
    };
    let Action::Write(write) = Machine::start(record, Options::default()).next(&seen, cluster.now()) else {
        return Cordon::Fine; // the gates say why there is none
    };
    match cluster.rehearse_record(node, &write).await {
        Ok(()) => Cordon::Fine,
        // The permissions that are missing are told as such.
        Err(error) if error.class() == Class::Forbidden => Cordon::Fine,
        Err(error) if error.is_lasting() && !error.is_not_rehearsed() => {
            let explained = error.explain("patch", &crate::cluster::Rule::NODES);
            Cordon::Refused(Obstacle {
                name: "cordon",
                reason: format!("the API server would refuse it: {}", explained.why()),
                hint: explained.hints().first().cloned(),
                exception: None,
                pods: None,
            })
        }
        Err(error) => Cordon::NotRehearsed(format!("the cordon was not rehearsed: {error}")),
    }
}
