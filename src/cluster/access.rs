//! What the user may do, as the API server itself says.

use std::fmt;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Resource;
use kube::api::PostParams;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::Cluster;
use super::error::{ApiError, Rule};

/// A request that is allowed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub verb: &'static str,
    pub group: &'static str,
    /// With its subresource, such as `nodes/status`.
    pub resource: &'static str,
    /// `None` = all, or the resource has none.
    pub namespace: Option<String>,
    /// One object only.
    pub name: Option<String>,
}

impl Permission {
    /// For a request that `rule` speaks of.
    pub fn of(verb: &'static str, rule: &Rule<'static>) -> Self {
        Self { verb, group: rule.group, resource: rule.resource, namespace: None, name: None }
    }

    #[must_use]
    pub fn within(mut self, namespace: Option<&str>) -> Self {
        self.namespace = namespace.map(str::to_owned);
        self
    }

    #[must_use]
    pub fn on(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
}

/// `patch nodes/status`, `get leases.coordination.k8s.io sciuro-sync in kube-system`.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, group, resource, namespace, name } = self;
        let (plain, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        write!(f, "{verb} {plain}")?;
        for (sign, part) in [(".", *group), ("/", subresource)] {
            if !part.is_empty() {
                write!(f, "{sign}{part}")?;
            }
        }
        for (sign, part) in [(" ", name), (" in ", namespace)] {
            if let Some(part) = part {
                write!(f, "{sign}{part}")?;
            }
        }
        Ok(())
    }
}

impl Cluster {
    /// Whether the user may do this.
    pub async fn may(&self, permission: &Permission) -> Result<bool, ApiError> {
        let (resource, subresource) =
            permission.resource.split_once('/').unwrap_or((permission.resource, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: some(permission.verb),
                    group: some(permission.group),
                    resource: some(resource),
                    subresource: some(subresource),
                    namespace: permission.namespace.clone(),
                    name: permission.name.clone(),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = self.review(&review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// The user's name, as the server knows it.
    pub async fn user_name(&self) -> Result<Option<String>, ApiError> {
        let answer = self.review(&SelfSubjectReview::default()).await?;
        Ok(answer.status.and_then(|status| status.user_info?.username))
    }

    /// A review is created, answered and not kept.
    async fn review<K>(&self, review: &K) -> Result<K, ApiError>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Send + 'static,
    {
        let body = serde_json::to_vec(review).map_err(|error| ApiError::Unexpected(error.to_string()))?;
        let request =
            kube::core::Request::new(K::url_path(&(), None)).create(&PostParams::default(), body)?;
        self.call(request).await
    }
}
