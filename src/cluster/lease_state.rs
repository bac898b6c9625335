//! A Lease as a bystander sees it: who holds it, and whether the holder lives.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{GetParams, PostParams};

use super::api::Cluster;
use super::error::ApiError;
use super::leases::{LeaseKey, leases, unheld};

/// A Lease that exists.
#[derive(Debug, Clone)]
pub struct LeaseState {
    pub holder: Option<String>,
    /// When its holder took it, by the holder's clock.
    pub since: Option<Timestamp>,
    pub annotations: BTreeMap<String, String>,
    version: Option<String>,
}

impl Cluster {
    /// `None` if there is no such Lease, or no such namespace.
    pub async fn lease_state(&self, key: &LeaseKey) -> Result<Option<LeaseState>, ApiError> {
        match self.call::<Lease>(leases(key).get(&key.name, &GetParams::default())?).await {
            Ok(lease) => Ok(Some(LeaseState {
                since: lease.spec.as_ref().and_then(|spec| spec.acquire_time.as_ref()).map(|time| time.0),
                holder: lease.spec.and_then(|spec| spec.holder_identity).filter(|holder| !holder.is_empty()),
                annotations: lease.metadata.annotations.unwrap_or_default(),
                version: lease.metadata.resource_version,
            })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the Lease changes while it is looked at: no clock is compared with another.
    pub async fn is_renewed(
        &self,
        key: &LeaseKey,
        seen: &LeaseState,
        within: Duration,
    ) -> Result<bool, ApiError> {
        const LOOK_EVERY: Duration = Duration::from_millis(500);
        let deadline = tokio::time::Instant::now() + within;
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.lease_state(key).await? {
                Some(now) if now.version == seen.version => {}
                now => return Ok(now.is_some_and(|now| now.holder.is_some())),
            }
        }
        Ok(false)
    }

    /// Lets the server check that the Lease can be created, and creates nothing.
    pub async fn could_create_lease(&self, key: &LeaseKey) -> Result<(), ApiError> {
        let body =
            serde_json::to_vec(&unheld(key)).map_err(|error| ApiError::Unexpected(error.to_string()))?;
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        self.call::<Lease>(leases(key).create(&dry, body)?).await.map(|_| ())
    }
}
