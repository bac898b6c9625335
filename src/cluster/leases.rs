//! Holding a Lease by client-go's rule: PUT with resourceVersion, and expiry only by our own observation, so
//! that no two clocks are ever compared (`client-go/tools/leaderelection`).

mod candidate;
mod hold;

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Resource;
use kube::api::{GetParams, PostParams};

use super::api::Cluster;
use super::error::{ApiError, Rule};
use crate::error::{Error, Exit};

pub use candidate::{Candidate, Waiting};
pub use hold::Hold;

/// How long a holder that says nothing keeps the Lease.
const DURATION: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Without a renewal for this long we stop writing, well before another may take over.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);

const GROUP: &str = "coordination.k8s.io";

/// Which Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseKey {
    pub namespace: String,
    pub name: String,
}

/// Why a Lease is not ours.
#[derive(Debug)]
pub enum LeaseError {
    /// Another holds it, and renews it.
    Held {
        key: LeaseKey,
        holder: String,
    },
    Api {
        key: LeaseKey,
        verb: &'static str,
        error: ApiError,
    },
}

impl LeaseError {
    fn code(&self) -> Option<StatusCode> {
        match self {
            Self::Api { error, .. } => error.code(),
            Self::Held { .. } => None,
        }
    }

    fn is_missing(&self) -> bool {
        self.code() == Some(StatusCode::NOT_FOUND)
    }

    fn is_conflict(&self) -> bool {
        self.code() == Some(StatusCode::CONFLICT)
    }
}

impl From<LeaseError> for Error {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Held { key, holder } => Error::new(
                Exit::Busy,
                format!("the Lease {}/{} is held by {holder}", key.namespace, key.name),
            )
            .hint("let the other finish; --lease-name takes another Lease, --no-lease none"),
            LeaseError::Api { key, verb, error } => {
                let leases = Rule { group: GROUP, resource: "leases", namespace: Some(&key.namespace) };
                let explained = error.explain(verb, &leases);
                let missing_namespace = error.code() == Some(StatusCode::NOT_FOUND);
                let denied = error.code() == Some(StatusCode::FORBIDDEN);
                if missing_namespace {
                    explained
                        .hint(format!("kubectl create namespace {}, or --lease-namespace", key.namespace))
                } else if denied {
                    explained.hint("--no-lease does without, if nobody else writes")
                } else {
                    explained
                }
            }
        }
    }
}

/// The Lease as we leave it: nobody's.
fn released(mut lease: Lease) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    lease
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// The Lease as we write it: ours from now on.
fn taken(lease: &Lease, identity: &str) -> Lease {
    let mut lease = lease.clone();
    let before = lease.spec.take().unwrap_or_default();
    let now = MicroTime(Timestamp::now());
    let keeps = before.holder_identity.as_deref() == Some(identity);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: if keeps { before.acquire_time } else { Some(now.clone()) },
        renew_time: Some(now),
        lease_transitions: Some(before.lease_transitions.map_or(0, |count| count + i32::from(!keeps))),
        ..before
    });
    lease
}

impl Cluster {
    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, LeaseError> {
        let request = leases(key).get(&key.name, &GetParams::default());
        match self.lease_call("get", key, request).await {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create_lease(&self, key: &LeaseKey, identity: &str) -> Result<Lease, LeaseError> {
        let body = serde_json::to_vec(&taken(&unheld(key), identity)).unwrap_or_default();
        self.lease_call("create", key, leases(key).create(&PostParams::default(), body)).await
    }

    async fn replace_lease(&self, key: &LeaseKey, lease: Lease) -> Result<Lease, LeaseError> {
        let body = serde_json::to_vec(&lease).unwrap_or_default();
        self.lease_call("update", key, leases(key).replace(&key.name, &PostParams::default(), body)).await
    }

    async fn lease_call(
        &self,
        verb: &'static str,
        key: &LeaseKey,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Lease, LeaseError> {
        // Boxed: a request is a large future, and those who hold a Lease are made of several.
        let called = Box::pin(async { self.call(request?).await });
        called.await.map_err(|error| LeaseError::Api { key: key.clone(), verb, error })
    }

    /// The annotations of a Lease; `None` if there is no Lease.
    pub async fn lease_annotations(
        &self,
        key: &LeaseKey,
    ) -> Result<Option<BTreeMap<String, String>>, ApiError> {
        match self.lease(key).await {
            Ok(lease) => Ok(lease.map(|lease| lease.metadata.annotations.unwrap_or_default())),
            Err(LeaseError::Api { error, .. }) => Err(error),
            Err(LeaseError::Held { .. }) => Ok(None), // reading never says so
        }
    }

    /// Whether the Lease was renewed within its duration, by its own clock: good enough for a warning.
    pub async fn seems_renewed(&self, key: &LeaseKey) -> bool {
        let Ok(Some(lease)) = self.lease(key).await else { return false };
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
        holder(&lease).is_some()
            && renewed
                .is_some_and(|renewed| self.now().duration_since(renewed.0).unsigned_abs() < 2 * DURATION)
    }
}

/// A Lease that nobody holds yet.
pub(super) fn unheld(key: &LeaseKey) -> Lease {
    let metadata = ObjectMeta {
        name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
        ..ObjectMeta::default()
    };
    Lease { metadata, spec: None }
}

pub(super) fn leases(key: &LeaseKey) -> kube::core::Request {
    kube::core::Request::new(Lease::url_path(&(), Some(&key.namespace)))
}
