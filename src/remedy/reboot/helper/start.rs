//! Until a helper has started, and until it answers.

use std::time::Duration;

use super::{HelperOptions, explained, gone};
use crate::cluster::{ApiError, HelperPod};
use crate::remedy::News;
use crate::remedy::reboot::{RebootError, Target, one_line};

/// One that has started answers at once; what hangs on the node hangs here.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// Why a container waits that will not start, however often the kubelet tries: its name cannot be read, or it may not be
/// pulled (kubernetes' `pkg/kubelet/images/types.go`). What a registry refuses it may give a moment later.
const HOPELESS: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];

/// Waits until a helper runs or has ended already.
pub(in crate::remedy) async fn until_started(
    target: &Target<'_>,
    options: &HelperOptions,
    pod: &HelperPod,
) -> Result<(), RebootError> {
    started(target, options, pod).await.map(drop)
}

/// The same; exit code and message if it has ended.
async fn started(
    target: &Target<'_>,
    options: &HelperOptions,
    pod: &HelperPod,
) -> Result<Option<(i32, String)>, RebootError> {
    let (made, name) = (pod, pod.name.as_str());
    let mut last = HelperPod::default();
    let mut said = false;
    let started = target.cluster.follow_pod(made, |pod| {
        let Some(pod) = pod else { return Some(Err(gone(made))) };
        last = pod.clone();
        if let Some(ended) = &pod.ended {
            return Some(Ok(Some(ended.clone())));
        }
        if let Some(why) = &pod.failed {
            return Some(Err(RebootError::new(format!(
                "the node refused the helper pod: {}",
                one_line(why)
            ))));
        }
        if let Some(why) = pod.waits.as_deref().filter(|why| is_about_image(why)) {
            if is_hopeless(why) {
                return Some(Err(not_started(pod, options, name)));
            }
            if !std::mem::replace(&mut said, true) {
                target
                    .tell
                    .tell(News::Warning(&format!("{}; the kubelet tries again", no_image(why, options))));
            }
        }
        pod.runs.then_some(Ok(None))
    });
    match tokio::time::timeout(options.starts_within, started).await {
        Ok(started) => started.map_err(|error| explained("watch", &error, options))?,
        Err(_) => Err(not_started(&last, options, name)),
    }
}

/// Exit code and message of a helper, or why there is none.
pub(in crate::remedy::reboot) async fn answer(
    target: &Target<'_>,
    options: &HelperOptions,
    pod: &HelperPod,
) -> Result<(i32, String), RebootError> {
    if let Some(ended) = started(target, options, pod).await? {
        return Ok(ended);
    }
    let HelperPod { namespace, name, .. } = pod;
    let denied = |error: ApiError| explained("watch", &error, options);
    let ended = target.cluster.follow_pod(pod, |seen| match seen {
        None => Some(Err(gone(pod))),
        Some(pod) => pod.ended.clone().map(Ok),
    });
    match tokio::time::timeout(ANSWERS_WITHIN, ended).await {
        Ok(ended) => ended.map_err(denied)?,
        Err(_) => {
            Err(RebootError::new(format!("the helper pod {namespace}/{name} runs and does not answer"))
                .hint(format!("kubectl logs -n {namespace} {name}")))
        }
    }
}

fn not_started(last: &HelperPod, options: &HelperOptions, name: &str) -> RebootError {
    let seconds = options.starts_within.as_secs();
    match &last.waits {
        Some(why) if is_about_image(why) => RebootError::new(no_image(why, options))
            .hint("--helper-image takes one that the node has or can pull"),
        Some(why) => {
            RebootError::new(format!("the helper pod did not start within {seconds}s: {}", one_line(why)))
        }
        None => RebootError::new(format!(
            "the kubelet did not start the helper pod within {seconds}s, and does not say why"
        ))
        .hint("a node whose kubelet does not answer: --reboot-method ssh or command"),
    }
    .hint(format!("kubectl describe pod -n {} {name}", options.namespace))
}

fn is_about_image(waits: &str) -> bool {
    waits.contains("Image")
}

fn is_hopeless(waits: &str) -> bool {
    HOPELESS.contains(&waits.split(':').next().unwrap_or_default())
}

fn no_image(waits: &str, options: &HelperOptions) -> String {
    format!("the helper's image {} is not to be had on the node: {}", options.image, one_line(waits))
}

#[cfg(test)]
mod tests {
    use super::super::DEFAULT_IMAGE;
    use super::*;

    fn options() -> HelperOptions {
        HelperOptions::new("kube-system", DEFAULT_IMAGE)
    }

    #[test]
    fn why_a_helper_has_not_started() {
        let explained = |waits: Option<&str>| {
            let last = HelperPod { waits: waits.map(str::to_owned), ..HelperPod::default() };
            let error = not_started(&last, &options(), "sciuro-probe-0b5e3f5a");
            [vec![error.why], error.hints].concat().join("\n")
        };
        insta::assert_snapshot!(
            [
                explained(Some("ImagePullBackOff: Back-off pulling image\n\"x\"")),
                explained(Some("ContainerCreating")),
                explained(None),
            ]
            .join("\n\n")
        );
    }

    #[test]
    fn what_the_kubelet_cannot_get_later() {
        for hopeless in ["InvalidImageName: Failed to apply default image tag", "ErrImageNeverPull"] {
            assert!(is_hopeless(hopeless), "{hopeless}");
        }
        for other in ["ErrImagePull: not found", "ImagePullBackOff", "ContainerCreating", ""] {
            assert!(!is_hopeless(other), "{other}");
        }
    }
}
