//! How a Lease becomes ours: at once if it is free, else when its holder has let it run out before our eyes. No two clocks
//! are ever compared.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use super::{DURATION, Hold, LeaseError, LeaseKey, holder, taken};
use crate::cluster::api::Cluster;
use crate::cluster::clock::{self, Clock};

/// How often a Lease that is held is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// One who would hold a Lease.
#[derive(Clone)]
pub struct Candidate {
    pub(super) cluster: Arc<Cluster>,
    pub(super) key: LeaseKey,
    /// Nobody else's, ever.
    pub(super) identity: String,
    pub(super) clock: Clock,
}

/// The Lease as it was seen, and since when.
#[derive(Default)]
struct Seen {
    spec: Option<LeaseSpec>,
    since: Duration,
    /// So many times it was not as before.
    changes: u32,
}

/// How things stand after a look at the Lease.
enum Standing {
    Ours(Hold),
    /// Another holds it, for at least this much longer.
    Held {
        holder: String,
        left: Duration,
    },
    /// Somebody was quicker.
    Beaten,
}

impl Candidate {
    pub fn new(cluster: Arc<Cluster>, key: LeaseKey, identity: String) -> Self {
        Self { cluster, key, identity, clock: clock::machine() }
    }

    /// With another clock than the machine's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Takes the Lease, or says who holds it. One that is held is looked at for 15 s, after `on_wait`: a holder that renews
    /// it is alive, one that does not has lost it.
    pub async fn take(&self, on_wait: impl Fn()) -> Result<Hold, LeaseError> {
        let mut seen = Seen::default();
        let mut waits = false;
        loop {
            match self.look(&mut seen).await? {
                Standing::Ours(hold) => return Ok(hold),
                Standing::Beaten => {}
                Standing::Held { holder, .. } if waits && seen.changes > 1 => {
                    return Err(LeaseError::Held { key: self.key.clone(), holder });
                }
                Standing::Held { left, .. } => {
                    if !waits {
                        on_wait();
                        (waits, seen.changes) = (true, 1);
                    }
                    tokio::time::sleep(left.min(LOOK_EVERY)).await;
                }
            }
        }
    }

    /// Waits until the Lease is ours, however long that takes, and tells how it looks when that is news.
    pub async fn wait(&self, mut tell: impl FnMut(Waiting<'_>)) -> Hold {
        let mut seen = Seen::default();
        let mut told = None;
        loop {
            let pause = match self.look(&mut seen).await {
                Ok(Standing::Ours(hold)) => return hold,
                Ok(Standing::Beaten) => Duration::ZERO,
                Ok(Standing::Held { holder, left }) => {
                    if told.as_ref() != Some(&holder) {
                        tell(Waiting::Behind(&holder));
                        told = Some(holder);
                    }
                    left.min(LOOK_EVERY)
                }
                Err(error) => {
                    tell(Waiting::Failed(error));
                    told = None;
                    LOOK_EVERY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&self, seen: &mut Seen) -> Result<Standing, LeaseError> {
        let began = (self.clock)();
        let lease = self.cluster.lease(&self.key).await?;
        let spec = lease.as_ref().and_then(|lease| lease.spec.clone());
        if seen.changes == 0 || seen.spec != spec {
            *seen = Seen { spec, since: (self.clock)(), changes: seen.changes + 1 };
        }
        // It was as it is until `began` at least.
        let left = (seen.since + DURATION).saturating_sub(began);
        match lease.as_ref().and_then(holder) {
            Some(holder) if holder != self.identity && !left.is_zero() => {
                Ok(Standing::Held { holder: holder.to_owned(), left })
            }
            _ => Box::pin(self.seize(lease)).await,
        }
    }

    async fn seize(&self, lease: Option<Lease>) -> Result<Standing, LeaseError> {
        let since = (self.clock)();
        let seized = match lease {
            None => self.cluster.create_lease(&self.key, &self.identity).await,
            Some(lease) => self.cluster.replace_lease(&self.key, taken(&lease, &self.identity)).await,
        };
        match seized {
            Ok(lease) => Ok(Standing::Ours(Hold::new(self.clone(), lease, since))),
            Err(error) if error.is_conflict() => Ok(Standing::Beaten),
            Err(error) => Err(error),
        }
    }
}

/// What a candidate that waits has to tell.
#[derive(Debug)]
pub enum Waiting<'w> {
    /// This one holds the Lease now.
    Behind(&'w str),
    /// The Lease could not be read or taken; it goes on trying.
    Failed(LeaseError),
}
