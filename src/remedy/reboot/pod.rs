//! A pod on the node reboots it. It answers by its exit code and its termination message: logs need another permission, and
//! the kubelet.

mod place;
mod start;
mod sweep;

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use self::start::{ANSWERS_WITHIN, answer};
use super::{Issued, Probed, RebootError, Target, guard, signal};
use crate::cluster::{ApiError, Cluster, HelperPod, Rule};
use crate::core::helper::{Job, MANAGED_BY, MANAGER, REMEDIATION};
use crate::remedy::News;

pub(in crate::remedy) use self::place::{Removed, create, remove};
pub(in crate::remedy) use self::start::until_started;
pub use self::sweep::sweep;

/// What a helper runs in unless `--helper-image` says otherwise: it needs `sh` and `nsenter`, and to collect also
/// `timeout`, `head`, `tail`, `gzip` and `base64`.
///
/// By its digest, as a tag can be moved: it runs as root. That of the index of all platforms, from docker-library/repo-info
/// (`repos/busybox/remote/1.37.0.md`, glibc of Debian 13).
pub const DEFAULT_IMAGE: &str = "docker.io/library/busybox:1.37.0@sha256:9db7b59979c38555a39def84a31fb98b5296952f9e3afd4f6f11f05b07adfab0";

/// A kubelet that is well starts a pod within seconds; pulling an image takes longer.
pub const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// An image as people are shown it: the beginning of a digest tells it.
pub fn shown(image: &str) -> String {
    match image.split_once("@sha256:") {
        Some((name, digest)) => format!("{name}@sha256:{digest:.12}…"),
        None => image.to_owned(),
    }
}

/// Where helpers run, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperOptions {
    pub namespace: String,
    pub image: String,
    /// One that has not started by then is taken back.
    pub starts_within: Duration,
    /// It tells systemd by a signal and enters nothing of the machine's: it is not privileged.
    pub by_signal: bool,
}

impl HelperOptions {
    pub fn new(namespace: &str, image: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            image: image.to_owned(),
            starts_within: STARTS_WITHIN,
            by_signal: false,
        }
    }
}

/// Names of pods are made of it, and paths of those; a record is anybody's to write.
fn check_id(id: &str) -> Result<(), RebootError> {
    match id.parse::<Uuid>() {
        Ok(uuid) if uuid.to_string() == id => Ok(()),
        _ => Err(RebootError::new("the id in the record is no UUID")),
    }
}

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
    sweep::others(target, options).await;
    let removed = remove(target, options, |_| true).await?;
    removed.foreign.iter().for_each(|pod| place::is_foreign(target, pod));
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

pub(super) fn gone(pod: &HelperPod) -> RebootError {
    RebootError::new(format!("the helper pod {}/{} was deleted by someone else", pod.namespace, pod.name))
}

fn refused(error: &ApiError, options: &HelperOptions) -> RebootError {
    let namespace = &options.namespace;
    let refused = explained("create", error, options);
    match error {
        // Forbidden too, but no Role helps against it.
        ApiError::Status(status) if status.message.contains("PodSecurity") => RebootError::new(refused.why)
            .hint(format!(
                "the helper {}; in a namespace of its own: kubectl label namespace {namespace} \
                 pod-security.kubernetes.io/enforce=privileged, or --helper-namespace",
                if options.by_signal { "sees the host's processes" } else { "is privileged" }
            )),
        ApiError::Status(status) if status.code == StatusCode::NOT_FOUND.as_u16() => {
            refused.hint(format!("kubectl create namespace {namespace}, or --helper-namespace"))
        }
        _ => refused,
    }
}

fn explained(verb: &str, error: &ApiError, options: &HelperOptions) -> RebootError {
    let rule = Rule { group: "", resource: "pods", namespace: Some(&options.namespace) };
    let explained = error.explain(verb, &rule);
    let mut lines = explained.lines();
    let first = lines.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(&first);
    lines.fold(RebootError::new(format!("the helper pod: {first}")), |error, hint| {
        error.hint(hint.strip_prefix("hint: ").unwrap_or(&hint))
    })
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

/// As little as will do, but for what rebooting takes: the host's processes, and the right to enter them.
pub(in crate::remedy) fn manifest(
    name: &str,
    container: &str,
    script: &[&str],
    options: &HelperOptions,
    node: &str,
    id: &str,
) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": options.namespace,
            "labels": {MANAGED_BY: MANAGER, REMEDIATION: id},
        },
        "spec": {
            "nodeName": node,
            "hostPID": true,
            "restartPolicy": "Never",
            // If we are not there any more to delete it. The kubelet counts from when it has accepted the pod: we wait less.
            "activeDeadlineSeconds": (options.starts_within + ANSWERS_WITHIN).as_secs() + 60,
            // Not 0: then the API forgets the pod before the kubelet has ended it.
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "priorityClassName": "system-node-critical",
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": container,
                "image": options.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c"],
                "args": script,
                "securityContext": {"privileged": true},
                "terminationMessagePath": "/dev/termination-log",
                // What fails before it can answer, such as an image without nsenter, says so on its stderr.
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "resources": {
                    "requests": {"cpu": "10m", "memory": "16Mi"},
                    "limits": {"memory": "64Mi"},
                },
            }],
        },
    })
}

#[cfg(test)]
#[path = "pod_tests.rs"]
mod tests;
