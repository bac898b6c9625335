//! Helper pods: what they are, how they are put in their place, asked and taken away again. They reboot nodes, and collect what
//! only the machine itself knows.

mod place;
mod start;
mod sweep;

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::RebootError;
use crate::cluster::{ApiError, HelperPod, Rule};
use crate::core::helper::{MANAGED_BY, MANAGER, REMEDIATION};

use self::start::ANSWERS_WITHIN;

pub(super) use self::place::is_foreign;
pub(in crate::remedy) use self::place::{Removed, create, remove};
pub(super) use self::start::answer;
pub(in crate::remedy) use self::start::until_started;
pub(super) use self::sweep::others;
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

pub(super) fn gone(pod: &HelperPod) -> RebootError {
    RebootError::new(format!("the helper pod {}/{} was deleted by someone else", pod.namespace, pod.name))
}

pub(super) fn refused(error: &ApiError, options: &HelperOptions) -> RebootError {
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
#[path = "helper_tests.rs"]
mod tests;
