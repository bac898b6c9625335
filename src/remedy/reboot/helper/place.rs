//! Helpers are put in their place, and taken away again.
//!
//! Their names can be known beforehand: a record tells them. A kubelet can make pods on its own node, the mirrors of static
//! pods, and say of them what it likes. So a pod is ours only if it could not have been made by one, and what stands in the
//! place of ours is told of and left.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use uuid::Uuid;

use super::{HelperOptions, check_id, explained, refused};
use crate::cluster::{ApiError, HelperPod};
use crate::core::helper::{Job, remediation};
use crate::remedy::News;
use crate::remedy::reboot::{RebootError, Target};

/// How long a deleted pod may take to go: the kubelet has to say so.
const GOES_WITHIN: Duration = Duration::from_secs(40);
/// A name with a random end is taken by nobody but by our own request, sent twice.
const NAMES: u32 = 3;

/// Creates a helper and returns it. One of ours that is just the same is taken as it is: its answer was to be ours.
pub(in crate::remedy) async fn create(
    target: &Target<'_>,
    options: &HelperOptions,
    job: Job,
    pod: impl Fn(&str) -> Value,
) -> Result<HelperPod, RebootError> {
    check_id(target.id)?;
    let random = || job.another_name(target.id, &Uuid::new_v4().simple().to_string()[..8]);
    let mut name = job.name(target.id);
    for _ in 0..NAMES {
        let (ours, foreign) = found(target, options, |other| other == job).await?;
        foreign.iter().filter(|pod| pod.name == name).for_each(|pod| is_foreign(target, pod));
        if !ours.is_empty() {
            // As the server stores it: with defaults, and with what webhooks make of it.
            let made = target.cluster.create_pod(&options.namespace, &pod(&random()), true).await;
            if let Some(same) =
                ours.into_iter().find(|ours| made.as_ref().is_ok_and(|made| made.spec == ours.spec))
            {
                return Ok(same);
            }
        }
        match target.cluster.create_pod(&options.namespace, &pod(&name), false).await {
            Ok(made) => return Ok(made),
            Err(ApiError::Status(status)) if status.reason == "AlreadyExists" => name = random(),
            Err(error) => return Err(refused(&error, options)),
        }
    }
    Err(RebootError::new(format!("the helper pod {}/{name} exists already", options.namespace)))
}

/// What became of helpers that were to go.
#[derive(Default)]
pub(in crate::remedy) struct Removed {
    /// What has the name of a helper of this run and was not made by us.
    pub(in crate::remedy) foreign: Vec<HelperPod>,
    /// Deleted, and still there.
    left: Vec<HelperPod>,
}

impl Removed {
    /// Fails if one of ours is still there.
    pub(in crate::remedy) fn all(self) -> Result<(), RebootError> {
        let Some(HelperPod { namespace, name, .. }) = self.left.first() else { return Ok(()) };
        Err(RebootError::new(format!(
            "the pod {namespace}/{name} was deleted and is still there after {}s: its kubelet does not confirm it",
            GOES_WITHIN.as_secs()
        ))
        .hint(format!("kubectl describe pod -n {namespace} {name}")))
    }
}

/// Deletes the helpers of this run with such a job, and waits until they are gone.
pub(in crate::remedy) async fn remove(
    target: &Target<'_>,
    options: &HelperOptions,
    which: impl Fn(Job) -> bool,
) -> Result<Removed, RebootError> {
    check_id(target.id)?;
    let (ours, foreign) = found(target, options, which).await?;
    let going = join_all(ours.into_iter().map(|pod| async { goes(target, pod).await }));
    let left: Vec<Option<HelperPod>> = going
        .await
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|(verb, error)| explained(verb, &error, options))?;
    Ok(Removed { foreign, left: left.into_iter().flatten().collect() })
}

/// The pod, if it is still there when nobody waits for it any more.
async fn goes(target: &Target<'_>, pod: HelperPod) -> Result<Option<HelperPod>, (&'static str, ApiError)> {
    if target.cluster.delete_helper_pod(&pod).await.map_err(|error| ("delete", error))? {
        return Ok(None);
    }
    let gone = target.cluster.follow_pod(&pod, |pod| pod.is_none().then_some(()));
    match tokio::time::timeout(GOES_WITHIN, gone).await {
        Ok(gone) => gone.map(|()| None).map_err(|error| ("watch", error)),
        Err(_) => Ok(Some(pod)),
    }
}

/// The pods on the node that have the name of such a helper of this run: those that we made, and the others.
async fn found(
    target: &Target<'_>,
    options: &HelperOptions,
    which: impl Fn(Job) -> bool,
) -> Result<(Vec<HelperPod>, Vec<HelperPod>), RebootError> {
    let beside = target.cluster.pods_beside(&options.namespace, target.node).await;
    let mut beside = beside.map_err(|error| explained("list", &error, options))?;
    beside.retain(|pod| Job::of(&pod.name, target.id).is_some_and(&which));
    let is_ours = |pod: &HelperPod| !pod.is_others && remediation(&pod.name, &pod.labels) == Some(target.id);
    Ok(beside.into_iter().partition(is_ours))
}

/// Tells of a pod that stands in the place of one of ours.
pub(in crate::remedy::reboot) fn is_foreign(target: &Target<'_>, pod: &HelperPod) {
    target.tell.tell(News::Warning(&format!(
        "pod {}/{} has our helper's name but was not created by us; left untouched",
        pod.namespace, pod.name
    )));
}
