//! A pod on the node reboots it. It answers by its exit code and its termination message: logs need another permission, and
//! the kubelet.

mod start;

use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use self::start::answer;
use super::{Issued, Probed, RebootError, Target, guard, signal};
use crate::cluster::{ApiError, Cluster, HelperPod, Rule};
use crate::core::gates::FleetNode;

pub(in crate::remedy) use self::start::until_started;

/// Says that a pod is of ours.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const MANAGER: &str = "kubectl-sciuro";
/// Says of which remediation, by its id.
pub const REMEDIATION: &str = "sciuro.dev/remediation";

/// What a helper runs in unless `--helper-image` says otherwise: it needs `sh` and `nsenter`, and to collect also
/// `timeout`, `head`, `tail`, `gzip` and `base64`.
/// A tag can be moved: by digest is better, from a registry of one's own.
pub const DEFAULT_IMAGE: &str = "docker.io/library/busybox:1.37.0";

/// A kubelet that is well starts a pod within seconds; pulling an image takes longer.
pub const STARTS_WITHIN: Duration = Duration::from_secs(120);
/// How long a deleted pod may take to go: the kubelet has to say so.
const GOES_WITHIN: Duration = Duration::from_secs(40);
/// A record is anybody's to write, and nobody tries more often.
const MOST_ATTEMPTS: u32 = 100;
/// Older ones that no record names are leftovers.
const LEFTOVER_AFTER: SignedDuration = SignedDuration::from_hours(1);

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

/// The name of the pod that carries out attempt `n` of the remediation `id`.
pub fn reboot_name(id: &str, n: u32) -> String {
    format!("sciuro-reboot-{}-{n}", short(id))
}

fn probe_name(id: &str) -> String {
    format!("sciuro-probe-{}", short(id))
}

/// The name of the pod that collects diagnostics on the node, `before` the drain or `after` the boot.
pub(in crate::remedy) fn collect_name(id: &str, moment: &str) -> String {
    format!("sciuro-collect-{}-{moment}", short(id))
}

/// Names of pods are made of it, and paths of those; a record is anybody's to write.
fn check_id(id: &str) -> Result<(), RebootError> {
    match id.parse::<Uuid>() {
        Ok(uuid) if uuid.to_string() == id => Ok(()),
        _ => Err(RebootError::new("the id in the record is no UUID")),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// What the API server would say to a helper on this node: `check` and the preflight ask before it matters.
pub async fn rehearse(
    cluster: &Cluster,
    options: &HelperOptions,
    node: &str,
    id: &str,
) -> Result<(), RebootError> {
    cluster
        .create_pod(&options.namespace, &probing(options, node, id), true)
        .await
        .map(drop)
        .map_err(|error| refused(&error, options))
}

/// Creates a helper.
pub(in crate::remedy) async fn create(
    cluster: &Cluster,
    options: &HelperOptions,
    pod: &Value,
) -> Result<(), RebootError> {
    cluster
        .create_pod(&options.namespace, pod, false)
        .await
        .map(drop)
        .map_err(|error| refused(&error, options))
}

/// Asks the machine for its boot id and its uptime.
pub(super) async fn probe(target: &Target<'_>, options: &HelperOptions) -> Result<Probed, RebootError> {
    check_id(target.id)?;
    let name = probe_name(target.id);
    remove(target, options, &name).await?; // an earlier one's answer is old
    create(target.cluster, options, &probing(options, target.node, target.id)).await?;
    let answer = answer(target, options, &name).await;
    let removed = remove(target, options, &name).await;
    let (code, message) = answer?;
    removed?;
    super::read_probe(code, &message).map_err(|error| match code {
        guard::CANNOT => error.hint(signal::instead(options)),
        _ => error,
    })
}

/// Lets the pod of this attempt reboot the node. One that is there already was made before, and is asked for its answer.
pub(super) async fn issue(
    target: &Target<'_>,
    options: &HelperOptions,
    attempt: u32,
    pre_boot_id: &str,
    not_after_uptime: u64,
) -> Result<Issued, RebootError> {
    check_id(target.id)?;
    let name = reboot_name(target.id, attempt);
    let order = [pre_boot_id, &not_after_uptime.to_string()];
    let pod = rebooting(&name, order, options, target.node, target.id);
    match target.cluster.create_pod(&options.namespace, &pod, false).await {
        Ok(_) => {}
        Err(ApiError::Status(status)) if status.reason == "AlreadyExists" => {}
        Err(error) => return Err(refused(&error, options)),
    }
    match answer(target, options, &name).await {
        Ok((code, message)) => {
            let issued = super::read_answer(code, &message)?;
            if options.by_signal {
                signal::sent(target.cluster, options, &name).await?;
            }
            Ok(issued)
        }
        // It must not start once we have given up; where it cannot be deleted, the guard remains.
        Err(error) => Err(match remove(target, options, &name).await {
            Ok(()) => error,
            Err(left) => error.hint(format!("it is still there: {left}")),
        }),
    }
}

/// Deletes the helpers of this run, and waits until they are gone.
pub(super) async fn clean_up(
    target: &Target<'_>,
    options: &HelperOptions,
    attempts: u32,
) -> Result<(), RebootError> {
    check_id(target.id)?;
    remove_others(target, options).await;
    for attempt in 1..=attempts.min(MOST_ATTEMPTS) {
        remove(target, options, &reboot_name(target.id, attempt)).await?;
    }
    remove(target, options, &probe_name(target.id)).await
}

/// Deletes helpers of ours that are older than an hour and that no record names, and returns their names.
pub async fn sweep(cluster: &Cluster, options: &HelperOptions) -> Result<Vec<String>, ApiError> {
    let mut old = cluster.helper_pods(&options.namespace, &helper_labels()).await?;
    old.retain(|pod| is_old(pod, cluster.now()));
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let fleet = cluster.list_fleet().await?;
    let mut swept = Vec::new();
    for pod in old.into_iter().filter(|pod| is_leftover(pod, &fleet)) {
        cluster.delete_helper_pod(&pod).await?;
        swept.push(pod.name);
    }
    Ok(swept)
}

/// Deletes what runs before this one left on the node: they were killed before they had stored a record. Nobody else is at
/// work there while we hold the node's Lease and our record is on it. Best effort.
async fn remove_others(target: &Target<'_>, options: &HelperOptions) {
    let pods = target.cluster.helper_pods(&options.namespace, &helper_labels()).await.unwrap_or_default();
    let is_another = |pod: &HelperPod| id(pod).is_some_and(|id| id != target.id) && pod.node == target.node;
    for pod in pods.iter().filter(|pod| is_another(pod)) {
        let _runs_out = target.cluster.delete_helper_pod(pod).await;
    }
}

fn helper_labels() -> String {
    format!("{MANAGED_BY}={MANAGER},{REMEDIATION}")
}

fn is_old(pod: &HelperPod, now: Timestamp) -> bool {
    pod.created.parse::<Timestamp>().is_ok_and(|created| now.duration_since(created) > LEFTOVER_AFTER)
}

/// Ours, and in no record. What a record names that cannot be read is not known: the helpers on its node stay.
fn is_leftover(pod: &HelperPod, fleet: &[FleetNode]) -> bool {
    let spares = |node: &FleetNode, id: &str| match &node.remediation {
        Some(live) => live == id,
        None => node.in_flight && node.name == pod.node,
    };
    id(pod).is_some_and(|id| !fleet.iter().any(|node| spares(node, id)))
}

/// Of which remediation a helper is; `None`: it is none. Its name follows from the id: what only carries our labels is
/// somebody else's.
fn id(pod: &HelperPod) -> Option<&str> {
    let is_ours = pod.labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    let id = pod.labels.get(REMEDIATION).filter(|_| is_ours)?;
    let begins = |what| pod.name.starts_with(&format!("sciuro-{what}-{}-", short(id)));
    let is_helper = pod.name == probe_name(id) || begins("reboot") || begins("collect");
    is_helper.then_some(id.as_str())
}

/// Deletes a pod only if it is ours, of this run and on this node, whatever a record says; and waits until it is gone.
pub(in crate::remedy) async fn remove(
    target: &Target<'_>,
    options: &HelperOptions,
    name: &str,
) -> Result<(), RebootError> {
    check_id(target.id)?;
    let (cluster, namespace) = (target.cluster, options.namespace.as_str());
    let explain = |error: ApiError| explained("delete", &error, options);
    let Some(pod) =
        cluster.helper_pod(namespace, name).await.map_err(|error| explained("get", &error, options))?
    else {
        return Ok(());
    };
    let is_ours = pod.labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
        && pod.labels.get(REMEDIATION).is_some_and(|id| id == target.id)
        && pod.node == target.node;
    if !is_ours {
        return Err(RebootError::new(format!(
            "the pod {namespace}/{name} is in our helper's place and is not ours; it was left alone"
        ))
        .hint(format!("kubectl get pod -n {namespace} {name} -o yaml")));
    }
    if cluster.delete_helper_pod(&pod).await.map_err(explain)? {
        return Ok(());
    }
    let uid = pod.uid;
    let gone = cluster.follow_pod(namespace, name, |pod| pod.is_none_or(|pod| pod.uid != uid).then_some(()));
    let waited = tokio::time::timeout(GOES_WITHIN, gone).await.map_err(|_| {
        RebootError::new(format!(
            "the pod {namespace}/{name} was deleted and is still there after {}s",
            GOES_WITHIN.as_secs()
        ))
        .hint(format!("kubectl describe pod -n {namespace} {name}"))
    });
    waited?.map_err(|error| explained("watch", &error, options))
}

pub(super) fn gone(namespace: &str, name: &str) -> RebootError {
    RebootError::new(format!("the helper pod {namespace}/{name} was deleted by somebody else"))
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
fn probing(options: &HelperOptions, node: &str, id: &str) -> Value {
    let name = probe_name(id);
    if options.by_signal {
        return signal::probing(&name, options, node, id);
    }
    manifest(&name, "probe", &[&guard::in_a_pod(guard::PROBE)], options, node, id)
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
