//! Holding a Lease by client-go's rule: PUT with resourceVersion, and expiry only by our own observation, so
//! that no two clocks are ever compared (`client-go/tools/leaderelection`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Resource;
use kube::api::{GetParams, PostParams, WatchParams};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::api::Cluster;
use super::error::{ApiError, Rule};
use crate::error::{Error, Exit};

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

/// A Lease that we hold, renewed in the background until it is released.
pub struct Hold {
    cluster: Arc<Cluster>,
    key: LeaseKey,
    current: Arc<Mutex<Lease>>,
    lost: watch::Receiver<bool>,
    renewal: JoinHandle<()>,
}

impl Hold {
    /// Takes the Lease, or says who holds it. One that is held is watched for 15 s, after `on_wait`: a holder that
    /// renews it is alive, one that does not has lost it.
    pub async fn acquire(
        cluster: Arc<Cluster>,
        key: LeaseKey,
        identity: &str,
        on_wait: impl Fn(),
    ) -> Result<Self, LeaseError> {
        let mut observed = cluster.lease(&key).await?;
        let lease = loop {
            let attempt = match &observed {
                None => cluster.create_lease(&key, identity).await,
                Some(lease) if holder(lease).is_none_or(|holder| holder == identity) => {
                    cluster.replace_lease(&key, taken(lease, identity)).await
                }
                Some(lease) => {
                    on_wait();
                    observed = cluster.outlast(&key, lease).await?;
                    match &observed {
                        None => continue,
                        Some(expired) => cluster.replace_lease(&key, taken(expired, identity)).await,
                    }
                }
            };
            match attempt {
                Ok(lease) => break lease,
                // Somebody was quicker: look again.
                Err(LeaseError::Api { error, .. }) if error.code() == Some(StatusCode::CONFLICT) => {
                    observed = cluster.lease(&key).await?;
                }
                Err(error) => return Err(error),
            }
        };
        let current = Arc::new(Mutex::new(lease));
        let (report_loss, lost) = watch::channel(false);
        let renewal = tokio::spawn(renew(cluster.clone(), key.clone(), current.clone(), report_loss));
        Ok(Self { cluster, key, current, lost, renewal })
    }

    /// Returns once the Lease is no longer ours. Whoever writes must stop then.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What is written on the Lease.
    pub async fn annotations(&self) -> BTreeMap<String, String> {
        self.current.lock().await.metadata.annotations.clone().unwrap_or_default()
    }

    /// Gives the Lease back with `annotations` set on it, so that the next run need not wait. An empty value takes one
    /// away.
    pub async fn release(self, annotations: BTreeMap<String, String>) -> Result<(), LeaseError> {
        self.renewal.abort();
        let ours = self.current.lock().await.clone();
        match self.cluster.replace_lease(&self.key, released(&ours, &annotations)).await {
            // A renewal was on its way when it was aborted.
            Err(LeaseError::Api { error, .. }) if error.code() == Some(StatusCode::CONFLICT) => {
                match self.cluster.lease(&self.key).await? {
                    Some(now) if holder(&now) == holder(&ours) => {
                        self.cluster.replace_lease(&self.key, released(&now, &annotations)).await.map(drop)
                    }
                    _ => Ok(()), // another's by now
                }
            }
            done => done.map(drop),
        }
    }
}

fn released(lease: &Lease, annotations: &BTreeMap<String, String>) -> Lease {
    let mut lease = lease.clone();
    let all = lease.metadata.annotations.get_or_insert_default();
    all.extend(annotations.clone());
    all.retain(|name, value| !value.is_empty() || !annotations.contains_key(name));
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    lease
}

async fn renew(cluster: Arc<Cluster>, key: LeaseKey, current: Arc<Mutex<Lease>>, lost: watch::Sender<bool>) {
    let mut renewed_at = Instant::now();
    loop {
        tokio::time::sleep_until(renewed_at + RENEW_EVERY).await;
        let deadline = renewed_at + RENEW_DEADLINE;
        let renewed = tokio::time::timeout_at(deadline, async {
            let mut lease = current.lock().await;
            loop {
                let identity = holder(&lease).unwrap_or_default().to_owned();
                match cluster.replace_lease(&key, taken(&lease, &identity)).await {
                    Ok(next) => {
                        *lease = next;
                        return true;
                    }
                    Err(LeaseError::Api { error, .. }) if error.code() == Some(StatusCode::CONFLICT) => {
                        match cluster.lease(&key).await {
                            Ok(Some(other)) if holder(&other) == Some(&identity) => *lease = other,
                            Ok(_) => return false,
                            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                        }
                    }
                    Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            }
        });
        if renewed.await != Ok(true) {
            lost.send_replace(true);
            return;
        }
        renewed_at = Instant::now();
    }
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
            Err(LeaseError::Api { error, .. }) if error.code() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create_lease(&self, key: &LeaseKey, identity: &str) -> Result<Lease, LeaseError> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        };
        let body = serde_json::to_vec(&taken(&lease, identity)).unwrap_or_default();
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
        let called = async { self.call(request?).await };
        called.await.map_err(|error| LeaseError::Api { key: key.clone(), verb, error })
    }

    /// Watches a held Lease for its duration. `Ok` is what may be taken: the Lease as it was, or nothing if it
    /// was deleted.
    async fn outlast(&self, key: &LeaseKey, lease: &Lease) -> Result<Option<Lease>, LeaseError> {
        let deadline = Instant::now() + DURATION;
        let failed = |error| LeaseError::Api { key: key.clone(), verb: "watch", error };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let parameters = WatchParams::default().fields(&format!("metadata.name={}", key.name)).timeout(60);
        let request = leases(key).watch(&parameters, &version).map_err(|error| failed(error.into()))?;
        let mut events = std::pin::pin!(self.stream(request).await.map_err(failed)?);
        // Only that something happened is taken from the watch; what, from the Lease itself.
        let _something = tokio::time::timeout_at(deadline, events.next()).await;
        let is_unchanged = |now: &Option<Lease>| {
            now.as_ref().is_some_and(|now| now.metadata.resource_version == lease.metadata.resource_version)
        };
        let mut now = self.lease(key).await?;
        if is_unchanged(&now) {
            // Either the time is up, or the watch ended early, by a bookmark or a restart of the server.
            tokio::time::sleep_until(deadline).await;
            now = self.lease(key).await?;
        }
        match now.as_ref().and_then(holder) {
            Some(holder) if !is_unchanged(&now) => {
                Err(LeaseError::Held { key: key.clone(), holder: holder.to_owned() })
            }
            _ => Ok(now),
        }
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
            && renewed.is_some_and(|renewed| {
                Timestamp::now().duration_since(renewed.0).unsigned_abs() < 2 * DURATION
            })
    }
}

fn leases(key: &LeaseKey) -> kube::core::Request {
    kube::core::Request::new(Lease::url_path(&(), Some(&key.namespace)))
}
