//! Evictions: sent once, and their answers told apart.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction as PolicyEviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::Resource;
use kube::api::{DeleteParams, PostParams};
use kube::core::Status;

use super::api::Cluster;
use super::error::{ApiError, Class, Denier};
use crate::core::drain::{Answer, Hint, Order};
use crate::json;

/// An answer to an eviction is a short Status; that to a deletion is the pod.
const MAX_ANSWER: u64 = 8 << 20;

/// How pods are evicted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Eviction {
    /// In seconds; `None` = each pod's own.
    pub grace_period: Option<u32>,
    /// Pods are deleted: disruption budgets are not asked.
    pub by_delete: bool,
    /// Nothing is done.
    pub dry_run: bool,
}

impl Cluster {
    pub async fn evict(&self, order: &Order, how: &Eviction) -> Answer {
        let request = match request(order, how) {
            Ok(request) => request,
            Err(error) => return read_error(&error, None, how.by_delete),
        };
        let response = match self.try_once(request).await {
            Ok(response) => response,
            Err((error, retry_after)) => return read_error(&error, retry_after, how.by_delete),
        };
        let chunks = super::api::chunks(response);
        let answer = json::read::<Status, _, _>(chunks, MAX_ANSWER, self.timeout()).await;
        match answer {
            // A server that cannot evict a pod of two budgets says so in a Status, with 201 as the HTTP status.
            Ok(status) if status.is_failure() => {
                read_error(&ApiError::Status(Box::new(status)), None, how.by_delete)
            }
            // Whatever else the body is: it was done, and the watch tells the rest.
            Ok(_) | Err(_) => Answer::Accepted,
        }
    }
}

fn request(order: &Order, how: &Eviction) -> Result<http::Request<Vec<u8>>, ApiError> {
    let Order { namespace, name, uid } = order;
    let pods = kube::core::Request::new(Pod::url_path(&(), Some(namespace)));
    let preconditions = Preconditions { uid: Some(uid.clone()), ..Preconditions::default() };
    if how.by_delete {
        let parameters = DeleteParams {
            dry_run: how.dry_run,
            grace_period_seconds: how.grace_period,
            preconditions: Some(kube::api::Preconditions { uid: Some(uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        return Ok(pods.delete(name, &parameters)?);
    }
    // Not `Api::evict`: kube 5.0.0 spells the field `delete_options`, which the server drops.
    let eviction = PolicyEviction {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            grace_period_seconds: how.grace_period.map(i64::from),
            preconditions: Some(preconditions),
            ..DeleteOptions::default()
        }),
    };
    let body = serde_json::to_vec(&eviction).map_err(|error| ApiError::Unexpected(error.to_string()))?;
    let parameters = PostParams { dry_run: how.dry_run, ..PostParams::default() };
    Ok(pods.create_subresource("eviction", name, &parameters, body)?)
}

/// What a failure means for the pod.
fn read_error(error: &ApiError, retry_after: Option<Duration>, deletes: bool) -> Answer {
    let no_details = Status::default();
    let status = if let ApiError::Status(status) = error { status } else { &no_details };
    let details = status.details.as_ref();
    let seconds = details.map_or(0, |details| details.retry_after_seconds);
    let retry_after = retry_after.or((seconds > 0).then(|| Duration::from_secs(seconds.into())));
    let causes = details.map_or(&[][..], |details| &details.causes);
    let cause = |reason: &str| causes.iter().find(|cause| cause.reason == reason);
    let why = match error {
        ApiError::Status(status) => status.message.clone(),
        ApiError::Transport(why) | ApiError::Broken(why) | ApiError::Unexpected(why) => why.clone(),
    };
    let class = error.class();
    if let Class::Denied(denier) = class {
        let hint = match denier {
            Denier::Webhook(_) => Hint::Webhooks,
            Denier::Policy(_) => Hint::Policies,
        };
        return Answer::Denied { by: denier.to_string(), why, retry_after, hint };
    }
    if let Some(cause) = cause("DisruptionBudget").filter(|_| status.code == 429) {
        return Answer::Budget { name: budget_in(&cause.message), why: cause.message.clone(), retry_after };
    }
    match status.code {
        404 => return Answer::Gone,
        409 => return Answer::Conflict(why),
        403 if cause("NamespaceTerminating").is_some() => return Answer::NamespaceEnds,
        // A budget that is in disorder for the moment.
        403 if details.is_some_and(|details| details.kind == "poddisruptionbudget") => {
            return Answer::Budget { name: details.map(|details| details.name.clone()), why, retry_after };
        }
        400 if why.contains("does not support dry run") => return Answer::NotRehearsed(why),
        _ if why.contains("more than one PodDisruptionBudget") => {
            return Answer::Refused { why, hint: Hint::Budgets };
        }
        _ => {}
    }
    match class {
        Class::Busy => Answer::Throttled { retry_after },
        Class::WebhookDown(_) => Answer::Transient { why, retry_after, hint: Hint::Webhooks },
        Class::Passing => Answer::Transient { why, retry_after, hint: Hint::Server },
        Class::Forbidden => Answer::Refused { why, hint: Hint::Permission { deletes } },
        Class::Final | Class::Denied(_) => Answer::Refused { why, hint: Hint::Pod },
    }
}

/// The budget's name in `The disruption budget NAME needs …`: the answer has no field for it.
fn budget_in(message: &str) -> Option<String> {
    let rest = message.strip_prefix("The disruption budget ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
#[path = "evictions_tests.rs"]
mod tests;
