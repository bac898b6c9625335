//! How a Lease becomes ours: at once if it is free, else when its holder has let it run out before our eyes. No two clocks
//! are ever compared.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::pace::{LONGEST, Pace};
use super::{Hold, LeaseError, LeaseKey, duration, holder, taken};
use crate::cluster::api::Cluster;
use crate::cluster::clock::{self, Clock};

/// One who would hold a Lease.
#[derive(Clone)]
pub struct Candidate {
    pub(super) cluster: Arc<Cluster>,
    pub(super) key: LeaseKey,
    /// Nobody else's, ever.
    pub(super) identity: String,
    pub(super) clock: Clock,
    pub(super) pace: Pace,
    /// An outage does not end the hold.
    pub(super) outlasts_outages: bool,
    /// The Lease goes with this object.
    pub(super) owner: Option<OwnerReference>,
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
        Self {
            cluster,
            key,
            identity,
            clock: clock::machine(),
            pace: Pace::SYNC,
            outlasts_outages: false,
            owner: None,
        }
    }

    #[must_use]
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Past its deadline the hold is in doubt, not lost: once somebody answers again, it goes on if the holder is still this
    /// one. Until then nothing may be begun.
    #[must_use]
    pub fn outlasting_outages(self) -> Self {
        Self { outlasts_outages: true, ..self }
    }

    /// The Lease is deleted with this node.
    #[must_use]
    pub fn owned_by_node(self, name: &str, uid: &str) -> Self {
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        };
        Self { owner: Some(owner), ..self }
    }

    /// With another clock than the machine's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Takes the Lease, or says who holds it. One that is held is looked at for its duration, after `on_wait` was told the
    /// holder and how long that is: a holder that renews it is alive, one that does not has lost it.
    pub async fn take(&self, on_wait: impl Fn(&str, Duration)) -> Result<Hold, LeaseError> {
        let mut seen = Seen::default();
        let mut waits = false;
        loop {
            match self.look(&mut seen).await? {
                Standing::Ours(hold) => return Ok(hold),
                Standing::Beaten => {}
                Standing::Held { holder, .. } if waits && seen.changes > 1 => {
                    return Err(LeaseError::Held { key: self.key.clone(), holder });
                }
                Standing::Held { holder, left } => {
                    if !waits {
                        on_wait(&holder, left);
                        (waits, seen.changes) = (true, 1);
                    }
                    tokio::time::sleep(left.min(self.pace.look_every())).await;
                }
            }
        }
    }

    /// Takes the Lease unless another has it, and waits for nobody. One that has run out is free: by the time of day, which
    /// is how medik8s' operators decide among themselves.
    pub async fn take_unless_held(&self) -> Result<Hold, LeaseError> {
        loop {
            let lease = self.cluster.lease(&self.key).await?;
            match lease.as_ref().and_then(holder) {
                Some(other) if other != self.identity && !lease.as_ref().is_some_and(has_run_out) => {
                    return Err(LeaseError::Held { key: self.key.clone(), holder: other.to_owned() });
                }
                _ => {}
            }
            if let Standing::Ours(hold) = Box::pin(self.seize(lease)).await? {
                return Ok(hold);
            }
        }
    }

    /// Waits until the Lease is ours, however long that takes, and tells how it looks when that is news.
    pub async fn wait(&self, mut tell: impl FnMut(Waiting<'_>)) -> Hold {
        let never = |waiting: Waiting<'_>| -> Result<(), Infallible> {
            tell(waiting);
            Ok(())
        };
        match self.wait_unless(never).await {
            Ok(hold) => hold,
            Err(never) => match never {},
        }
    }

    /// The same until `tell` has had enough.
    pub async fn wait_unless<E>(
        &self,
        mut tell: impl FnMut(Waiting<'_>) -> Result<(), E>,
    ) -> Result<Hold, E> {
        let mut seen = Seen::default();
        let mut told = None;
        loop {
            let pause = match self.look(&mut seen).await {
                Ok(Standing::Ours(hold)) => return Ok(hold),
                Ok(Standing::Beaten) => Duration::ZERO,
                Ok(Standing::Held { holder, left }) => {
                    if told.as_ref() != Some(&holder) {
                        tell(Waiting::Behind(&holder))?;
                        told = Some(holder);
                    }
                    left.min(self.pace.look_every())
                }
                Err(error) => {
                    tell(Waiting::Failed(error))?;
                    told = None;
                    self.pace.look_every()
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
        // Its holder may be silent for longer than we would be.
        let theirs = lease.as_ref().map(duration).unwrap_or_default().min(LONGEST);
        // It was as it is until `began` at least.
        let left = (seen.since + self.pace.duration.max(theirs)).saturating_sub(began);
        match lease.as_ref().and_then(holder) {
            Some(holder) if holder != self.identity && !left.is_zero() => {
                Ok(Standing::Held { holder: holder.to_owned(), left })
            }
            _ => Box::pin(self.seize(lease)).await,
        }
    }

    /// To the end, also if nobody waits for it any more: what the server has made ours by then is released.
    async fn seize(&self, lease: Option<Lease>) -> Result<Standing, LeaseError> {
        let (tell, told) = oneshot::channel();
        let this = self.clone();
        self.cluster.tasks.spawn(&Handle::current(), async move {
            let _nobody_waits = tell.send(this.try_to_seize(lease).await);
        });
        told.await.unwrap_or_else(|_| Err(LeaseError::broken(&self.key, "update", "the process ends")))
    }

    async fn try_to_seize(&self, lease: Option<Lease>) -> Result<Standing, LeaseError> {
        let since = (self.clock)();
        let seized = match lease {
            None => self.cluster.create_lease(self).await,
            Some(lease) => self.cluster.replace_lease(&self.key, taken(&lease, self)).await,
        };
        match seized {
            Ok(lease) => Ok(Standing::Ours(Hold::new(self.clone(), lease, since))),
            Err(error) if error.is_conflict() => Ok(Standing::Beaten),
            Err(error) => Err(error),
        }
    }
}

/// By the time of day.
pub(super) fn has_run_out(lease: &Lease) -> bool {
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    let age = renewed.map(|renewed| Timestamp::now().duration_since(renewed.0));
    age.is_some_and(|age| age.is_positive() && age.unsigned_abs() > duration(lease))
}

/// What a candidate that waits has to tell.
#[derive(Debug)]
pub enum Waiting<'w> {
    /// This one holds the Lease now.
    Behind(&'w str),
    /// The Lease could not be read or taken; it goes on trying.
    Failed(LeaseError),
}
