//! A pod on the node reboots it. It answers by its exit code and its termination message: logs need another permission, and
//! the kubelet.

use serde_json::Value;
use uuid::Uuid;

use super::helper::{HelperOptions, Removed, answer, create, is_foreign, manifest, others, refused, remove};
use super::{Issued, Probed, RebootError, Target, guard, signal};
use crate::cluster::Cluster;
use crate::core::helper::Job;
use crate::remedy::News;

/// What the API server would say to a helper on this node: `check` and the preflight ask before it matters.
pub async fn rehearse(cluster: &Cluster, options: &HelperOptions, node: &str) -> Result<(), RebootError> {
    // Under a name that nobody can know and take.
    let id = Uuid::new_v4().to_string();
    let pod = probing(&Job::Probe.name(&id), options, node, &id);
    cluster
        .create_pod(&options.namespace, &pod, true)
        .await
        .map(drop)
        .map_err(|error| refused(&error, options))
}

/// Asks the machine for its boot id and its uptime.
pub(super) async fn probe(target: &Target<'_>, options: &HelperOptions) -> Result<Probed, RebootError> {
    let is_probe = |job| job == Job::Probe;
    remove(target, options, is_probe).await?.all()?; // an earlier one's answer is old
    let pod = |name: &str| probing(name, options, target.node, target.id);
    let pod = create(target, options, Job::Probe, pod).await?;
    let answer = answer(target, options, &pod).await;
    let removed = remove(target, options, is_probe).await;
    let (code, message) = answer?;
    removed?.all()?;
    super::read_probe(code, &message).map_err(|error| match code {
        guard::CANNOT => error.hint(signal::instead(options)),
        _ => error,
    })
}

/// Lets the pod of this attempt reboot the node. One of ours that is there already was made before, and is asked for its
/// answer.
pub(super) async fn issue(
    target: &Target<'_>,
    options: &HelperOptions,
    attempt: u32,
    pre_boot_id: &str,
    not_after_uptime: u64,
) -> Result<Issued, RebootError> {
    let (job, limit) = (Job::Reboot(attempt), not_after_uptime.to_string());
    let pod = |name: &str| rebooting(name, [pre_boot_id, &limit], options, target.node, target.id);
    let pod = create(target, options, job, pod).await?;
    match answer(target, options, &pod).await {
        Ok((code, message)) => {
            let issued = super::read_answer(code, &message)?;
            if options.by_signal {
                signal::sent(target.cluster, &pod).await?;
            }
            Ok(issued)
        }
        // It must not start once we have given up; where it cannot be deleted, the guard remains.
        Err(error) => match remove(target, options, |other| other == job).await.and_then(Removed::all) {
            Ok(()) => Err(error),
            Err(left) => Err(error.hint(format!("it is still there: {left}"))),
        },
    }
}

/// Deletes the helpers of this run. What we did not make is left, and what its kubelet does not let go: neither can do anything
/// for us any more.
pub async fn clean_up(options: &HelperOptions, target: &Target<'_>) -> Result<(), RebootError> {
    others(target, options).await;
    let removed = remove(target, options, |_| true).await?;
    removed.foreign.iter().for_each(|pod| is_foreign(target, pod));
    if let Err(left) = removed.all() {
        target.tell.tell(News::Warning(&left.why));
        left.hints.iter().for_each(|hint| target.tell.tell(News::Hint(hint)));
    }
    Ok(())
}

/// Deletes the pod that probes.
pub async fn end_probe(options: &HelperOptions, target: &Target<'_>) -> Result<(), RebootError> {
    remove(target, options, |job| job == Job::Probe).await?.all()
}

/// The pod that asks the machine what it is.
fn probing(name: &str, options: &HelperOptions, node: &str, id: &str) -> Value {
    if options.by_signal {
        return signal::probing(name, options, node, id);
    }
    manifest(name, "probe", &[&guard::in_a_pod(guard::PROBE)], options, node, id)
}

/// The pod that reboots the machine, if it is in the boot and below the uptime of the order.
fn rebooting(name: &str, order: [&str; 2], options: &HelperOptions, node: &str, id: &str) -> Value {
    if options.by_signal {
        return signal::rebooting(name, order, options, node, id);
    }
    let [boot_id, not_after_uptime] = order;
    let script = guard::in_a_pod(guard::REBOOT);
    manifest(name, "reboot", &[&script, boot_id, not_after_uptime], options, node, id)
}
