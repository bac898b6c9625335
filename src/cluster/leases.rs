//! Holding a Lease by client-go's rule: PUT with resourceVersion, and expiry only by our own observation, so
//! that no two clocks are ever compared (`client-go/tools/leaderelection`).

mod candidate;
mod hold;
mod pace;

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Resource;
use kube::api::{GetParams, PostParams};

use super::api::Cluster;
use super::error::{ApiError, Refusals, Rule};
use crate::core::short_name::fitting;
use crate::error::{Error, Exit};

pub use candidate::{Candidate, Waiting};
pub use hold::Hold;
pub use pace::Pace;

/// The Leases under which nodes are let into a remediation, and a node is remediated.
const ADMISSION: &str = "sciuro-admission";
const NODE: &str = "sciuro-node-";

/// medik8s' operators take turns on a node by a Lease here (`medik8s/common/pkg/lease`).
pub const MEDIK8S_NAMESPACE: &str = "medik8s-leases";

const LONGEST_NAME: usize = 253;

/// How long a release may take: whoever comes next can wait for the Lease to run out instead.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);

const GROUP: &str = "coordination.k8s.io";

/// Which Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseKey {
    pub namespace: String,
    pub name: String,
}

impl LeaseKey {
    /// For the gates and the first write of a remediation, of whichever node.
    pub fn admission(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: ADMISSION.to_owned() }
    }

    /// For the remediation of this node. A node's name may be as long as a Lease's: of a long one there is a part and a hash.
    pub fn of_node(namespace: &str, node: &str) -> Self {
        let name = fitting(format!("{NODE}{node}"), node, LONGEST_NAME);
        Self { namespace: namespace.to_owned(), name }
    }

    /// By which medik8s' operators keep each other off this node.
    pub fn of_medik8s(node: &str) -> Self {
        Self { namespace: MEDIK8S_NAMESPACE.to_owned(), name: format!("node-{node}") }
    }
}

/// Who holds a Lease: the actor, and a part that no other process has.
pub fn holder_identity(actor: &str) -> String {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("{actor}#{}", &unique[..16])
}

/// Whether a process of this tool has called itself so.
fn is_identity(holder: &str) -> bool {
    let unique = holder.rsplit_once('#').map(|(_, unique)| unique);
    unique.is_some_and(|unique| unique.len() == 16 && unique.bytes().all(|byte| byte.is_ascii_hexdigit()))
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
    /// No answer, or none that says anything.
    fn broken(key: &LeaseKey, verb: &'static str, why: impl Into<String>) -> Self {
        Self::Api { key: key.clone(), verb, error: ApiError::Broken(why.into()) }
    }

    /// In one line.
    pub fn why(&self) -> String {
        match self {
            Self::Held { key, holder } => {
                format!("the Lease {}/{} is held by {holder}", key.namespace, key.name)
            }
            Self::Api { error, .. } => error.to_string(),
        }
    }

    /// It may well be the answer the next time, too.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Api { error, .. } if error.is_lasting())
    }

    /// Whether the API server stays with it.
    pub fn is_final(&self, refusals: &mut Refusals) -> bool {
        match self {
            Self::Held { .. } => false,
            Self::Api { error, .. } => refusals.heard(error),
        }
    }

    /// There is no such namespace.
    pub fn is_missing_namespace(&self) -> bool {
        matches!(self, Self::Api { verb: "create", .. }) && self.is_missing()
    }

    /// The API server lets us have no Lease there.
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(StatusCode::FORBIDDEN)
    }

    /// What failed and why, for any Lease. The flags that help are the caller's to name.
    pub fn explain(self) -> Error {
        match self {
            Self::Held { .. } => Error::new(Exit::Busy, self.why()),
            Self::Api { key, verb, error } => {
                let leases = Rule { group: GROUP, resource: "leases", namespace: Some(&key.namespace) };
                let explained = error.explain(verb, &leases);
                if error.is_not_found() {
                    explained
                        .hint(format!("kubectl create namespace {}, or --lease-namespace", key.namespace))
                } else {
                    explained
                }
            }
        }
    }

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

/// With the flags of `sync`.
impl From<LeaseError> for Error {
    fn from(error: LeaseError) -> Self {
        let (is_held, code) = (matches!(error, LeaseError::Held { .. }), error.code());
        let explained = error.explain();
        if is_held {
            explained.hint("let the other finish; --lease-name takes another Lease, --no-lease none")
        } else if code == Some(StatusCode::FORBIDDEN) {
            explained.hint("--no-lease does without, if nobody else writes")
        } else {
            explained
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

/// How long the Lease's holder may be silent, as the Lease says.
fn duration(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// The Lease as `candidate` writes it: its own from now on.
fn taken(lease: &Lease, candidate: &Candidate) -> Lease {
    let identity = &candidate.identity;
    let mut lease = lease.clone();
    if let Some(owner) = &candidate.owner {
        lease.metadata.owner_references = Some(vec![owner.clone()]);
    }
    let before = lease.spec.take().unwrap_or_default();
    let now = MicroTime(Timestamp::now());
    let keeps = before.holder_identity.as_ref() == Some(identity);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.clone()),
        lease_duration_seconds: i32::try_from(candidate.pace.duration.as_secs()).ok(),
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

    async fn create_lease(&self, candidate: &Candidate) -> Result<Lease, LeaseError> {
        let key = &candidate.key;
        let body = serde_json::to_vec(&taken(&unheld(key), candidate)).unwrap_or_default();
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
        let called = Box::pin(async { self.call_patiently(request?).await });
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

    /// Who else has the node among medik8s' operators. A process of ours keeps others of ours off by a Lease of its own.
    pub(super) async fn medik8s_holder(&self, node: &str) -> Result<Option<String>, ApiError> {
        let lease = match self.lease(&LeaseKey::of_medik8s(node)).await {
            Ok(lease) => lease.filter(|lease| !candidate::has_run_out(lease)),
            Err(LeaseError::Api { error, .. }) => return Err(error),
            Err(LeaseError::Held { .. }) => None, // reading never says so
        };
        Ok(lease.as_ref().and_then(holder).filter(|holder| !is_identity(holder)).map(str::to_owned))
    }

    /// Returns once every Lease is released whose [`Hold`] was dropped, or was just being taken for somebody who no longer
    /// waits for it. The process should not end before, and does not wait for a server that does not answer.
    pub async fn leases_released(&self) {
        let _runs_out = tokio::time::timeout(2 * RELEASE_WITHIN, self.tasks.done()).await;
    }

    /// Whether the Lease was renewed within its duration, by its own clock: good enough for a warning.
    pub async fn seems_renewed(&self, key: &LeaseKey) -> bool {
        let Ok(Some(lease)) = self.lease(key).await else { return false };
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
        holder(&lease).is_some()
            && renewed.is_some_and(|renewed| {
                self.now().duration_since(renewed.0).unsigned_abs() < 2 * Pace::SYNC.duration
            })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_of_a_long_name_is_its_own_nevertheless() {
        let name = |node: &str| LeaseKey::of_node("kube-system", node).name;
        assert_eq!(name("w1.example.com"), "sciuro-node-w1.example.com");
        let longest = "a".repeat(LONGEST_NAME - NODE.len());
        assert_eq!(name(&longest), format!("sciuro-node-{longest}"));
        let long = |last: char| format!("{}.{}{last}", "a".repeat(222), "b".repeat(28));
        assert_ne!(name(&long('x')), name(&long('y')));
        for node in [long('x'), format!("{}.{}", "a".repeat(223), "b".repeat(29)), "c".repeat(253)] {
            let name = name(&node);
            assert!(name.len() <= LONGEST_NAME && name.starts_with("sciuro-node-"), "{name}");
            let is_label = |label: &str| {
                label.starts_with(char::is_alphanumeric) && label.ends_with(char::is_alphanumeric)
            };
            assert!(name.split('.').all(is_label), "{name}");
        }
    }

    #[test]
    fn no_two_processes_are_the_same_holder() {
        let (one, other) = (holder_identity("ops@host"), holder_identity("ops@host"));
        assert!(one.starts_with("ops@host#") && one != other);
        assert!(is_identity(&one) && !is_identity("self-node-remediation") && !is_identity("a#b"));
    }
}
