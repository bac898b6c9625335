//! A Lease that is ours.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::{Candidate, LeaseError, RELEASE_WITHIN, holder, released, taken};
use crate::cluster::error::Refusals;
use crate::core::remediation::LeaseSeen;

/// Who holds a Lease that we have lost, if it is nobody else.
const NOT_RENEWED: &str = "nobody that we know of: it could not be renewed in time";
const DELETED: &str = "nobody: it was deleted";
const GIVEN_BACK: &str = "nobody: its holder was taken off it";

/// A Lease that we hold, renewed in the background until it is released. Dropped, it is released in the background, too, so
/// that whatever ends a run leaves none behind: [`Cluster::leases_released`](crate::cluster::Cluster::leases_released) waits for
/// that.
pub struct Hold {
    shared: Arc<Shared>,
    renewal: JoinHandle<()>,
    runtime: Handle,
    is_over: bool,
}

struct Shared {
    candidate: Candidate,
    state: Mutex<State>,
    /// As far as the last renewal goes; the clock may know better.
    standing: watch::Sender<LeaseSeen>,
}

struct State {
    /// As the server has it.
    lease: Lease,
    /// To be written with the next renewal.
    annotations: BTreeMap<String, String>,
    /// The clock's time when the last renewal was sent that is confirmed. Another counts from when it saw the outcome, which
    /// is later.
    renewed: Duration,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_renewal(&self) -> Duration {
        (self.candidate.clock)().saturating_sub(self.state().renewed)
    }

    /// How much longer we may write.
    fn left(&self) -> Duration {
        self.candidate.pace.deadline.saturating_sub(self.since_renewal())
    }

    fn seen(&self) -> LeaseSeen {
        let standing = self.standing.borrow().clone();
        if standing == LeaseSeen::Held && self.left().is_zero() { LeaseSeen::Unsure } else { standing }
    }

    /// What is lost once is lost.
    fn turn(&self, from: &LeaseSeen, to: LeaseSeen) {
        self.standing.send_if_modified(|standing| {
            let turns = standing == from;
            if turns {
                *standing = to;
            }
            turns
        });
    }

    fn lose(&self, holder: &str) {
        self.standing.send_replace(LeaseSeen::Lost(holder.to_owned()));
    }
}

impl Hold {
    /// `since`: when the request was sent that made it ours.
    pub(super) fn new(candidate: Candidate, lease: Lease, since: Duration) -> Self {
        let state = State { lease, annotations: BTreeMap::new(), renewed: since };
        let standing = watch::Sender::new(LeaseSeen::Held);
        let shared = Arc::new(Shared { candidate, state: Mutex::new(state), standing });
        let renewal = tokio::spawn(renew(shared.clone()));
        Self { shared, renewal, runtime: Handle::current(), is_over: false }
    }

    /// How it stands now.
    pub fn seen(&self) -> LeaseSeen {
        self.shared.seen()
    }

    /// Tells when that changes; after a suspend, [`seen`](Self::seen) knows earlier.
    pub fn changes(&self) -> watch::Receiver<LeaseSeen> {
        self.shared.standing.subscribe()
    }

    /// How long ago the last renewal was sent that was confirmed.
    pub fn since_renewal(&self) -> Duration {
        self.shared.since_renewal()
    }

    /// Renews it now, for something that cannot be taken back: `Ok` means that the server has just confirmed that it is ours.
    pub async fn renew_now(&self) -> Result<(), LeaseError> {
        let Candidate { key, pace, .. } = &self.shared.candidate;
        let held = |holder: String| LeaseError::Held { key: key.clone(), holder };
        let late = || {
            LeaseError::broken(key, "update", format!("it could not be renewed within {:?}", pace.deadline))
        };
        if let LeaseSeen::Lost(holder) = self.seen() {
            return Err(held(holder));
        }
        let renewed = tokio::time::timeout(2 * pace.try_for(), renew_once(&self.shared)).await;
        if let Some(holder) = renewed.map_err(|_| late())?? {
            self.shared.lose(&holder);
        }
        match self.seen() {
            LeaseSeen::Held => Ok(()),
            LeaseSeen::Unsure => Err(late()), // the machine slept before the answer came
            LeaseSeen::Denied(why) => Err(LeaseError::broken(key, "update", why)),
            LeaseSeen::Lost(holder) => Err(held(holder)),
        }
    }

    /// What is written on the Lease, as far as we know.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let state = self.shared.state();
        let mut annotations = state.lease.metadata.annotations.clone().unwrap_or_default();
        annotate(&mut annotations, &state.annotations);
        annotations
    }

    /// Writes annotations on the Lease with its next renewal, which costs no request. An empty value takes one away.
    pub fn annotate(&self, annotations: BTreeMap<String, String>) {
        self.shared.state().annotations.extend(annotations);
    }

    /// Whether we may write now.
    pub fn is_held(&self) -> bool {
        self.seen() == LeaseSeen::Held
    }

    /// Returns once the Lease is no longer ours, or can be kept no longer. Whoever writes must stop then.
    pub async fn lost(&self) {
        let is_lost = |standing: &LeaseSeen| matches!(standing, LeaseSeen::Lost(_) | LeaseSeen::Denied(_));
        // `shared` has the sender: it does not end before.
        let _ = self.changes().wait_for(is_lost).await;
    }

    /// Does `work` while the Lease is ours; `None` if it was lost meanwhile. Before each step of the work the clock is asked
    /// again: after a suspend, what was about to be sent is not sent.
    pub async fn while_held<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut lost = pin!(self.lost());
        poll_fn(|context| {
            if lost.as_mut().poll(context).is_ready() || !self.is_held() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Gives the Lease back with `annotations` set on it, so that the next run need not wait.
    pub async fn release(mut self, annotations: BTreeMap<String, String>) -> Result<(), LeaseError> {
        self.annotate(annotations);
        let released = self.give_back();
        let ended = || LeaseError::broken(&self.shared.candidate.key, "update", "the process ends");
        released.await.unwrap_or_else(|_| Err(ended()))
    }

    /// In the background, whoever waits for it.
    fn give_back(&mut self) -> oneshot::Receiver<Result<(), LeaseError>> {
        self.is_over = true;
        self.renewal.abort();
        let (tell, told) = oneshot::channel();
        let shared = self.shared.clone();
        self.shared.candidate.cluster.tasks.spawn(&self.runtime, async move {
            let late = || {
                let why = format!("no answer within {}s", RELEASE_WITHIN.as_secs());
                LeaseError::broken(&shared.candidate.key, "update", why)
            };
            let released = tokio::time::timeout(RELEASE_WITHIN, give_back(&shared)).await;
            let released = released.unwrap_or_else(|_| Err(late()));
            if let Err(error) = &released {
                let (name, why) = (&shared.candidate.key.name, error.why());
                tracing::info!(
                    "could not release Lease {name}; it will expire on its own: {}",
                    why.escape_debug()
                );
            }
            let _nobody_waits = tell.send(released);
        });
        told
    }

    /// As a process that is killed leaves it: held, and not renewed any more.
    pub fn abandon(mut self) {
        self.is_over = true;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.renewal.abort();
        if !self.is_over {
            let _nobody_waits = self.give_back();
        }
    }
}

async fn give_back(shared: &Shared) -> Result<(), LeaseError> {
    let candidate = &shared.candidate;
    let (ours, annotations) = {
        let state = shared.state();
        (state.lease.clone(), state.annotations.clone())
    };
    let give_back = async |mut lease: Lease| {
        annotate(lease.metadata.annotations.get_or_insert_default(), &annotations);
        candidate.cluster.replace_lease(&candidate.key, released(lease)).await
    };
    match give_back(ours).await {
        // A renewal was on its way when it was aborted.
        Err(error) if error.is_conflict() => match candidate.cluster.lease(&candidate.key).await? {
            Some(now) if holder(&now) == Some(&candidate.identity) => give_back(now).await.map(drop),
            _ => Ok(()), // another's by now
        },
        Err(error) if error.is_missing() => Ok(()),
        done => done.map(drop),
    }
}

fn annotate(annotations: &mut BTreeMap<String, String>, changes: &BTreeMap<String, String>) {
    for (name, value) in changes {
        if value.is_empty() {
            annotations.remove(name);
        } else {
            annotations.insert(name.clone(), value.clone());
        }
    }
}

async fn renew(shared: Arc<Shared>) {
    let Candidate { pace, outlasts_outages, .. } = &shared.candidate;
    let mut pause = pace.renew_every;
    let mut refusals = Refusals::default();
    loop {
        tokio::time::sleep(pause).await;
        // After a suspend the deadline is over, whatever the runtime's timers say.
        let mut left = shared.left();
        if left.is_zero() && !outlasts_outages {
            return shared.lose(NOT_RENEWED);
        }
        if left.is_zero() {
            shared.turn(&LeaseSeen::Held, LeaseSeen::Unsure);
            left = pace.try_for();
        }
        pause = match tokio::time::timeout(left.min(pace.try_for()), renew_once(&shared)).await {
            Ok(Ok(None)) => {
                refusals.over();
                pace.renew_every
            }
            Ok(Ok(Some(holder))) => return shared.lose(&holder),
            Ok(Err(error)) => {
                let is_final = error.is_final(&mut refusals);
                let why = error.explain().to_string();
                if is_final {
                    drop(shared.standing.send_replace(LeaseSeen::Denied(why)));
                    return;
                }
                tracing::info!("the Lease could not be renewed: {}", why.escape_debug());
                pace.pause().min(left)
            }
            Err(_) => {
                tracing::info!("the Lease could not be renewed in time");
                Duration::ZERO
            }
        };
    }
}

/// Whose it is now, if it is no longer ours.
async fn renew_once(shared: &Shared) -> Result<Option<String>, LeaseError> {
    let Candidate { cluster, key, identity, clock, .. } = &shared.candidate;
    loop {
        let (mut lease, annotations) = {
            let state = shared.state();
            (state.lease.clone(), state.annotations.clone())
        };
        annotate(lease.metadata.annotations.get_or_insert_default(), &annotations);
        let since = clock();
        match cluster.replace_lease(key, taken(&lease, &shared.candidate)).await {
            Ok(lease) => {
                let mut state = shared.state();
                state.lease = lease;
                state.renewed = state.renewed.max(since);
                // What came meanwhile is for the next one.
                state.annotations.retain(|name, value| annotations.get(name) != Some(value));
                drop(state);
                if !shared.left().is_zero() {
                    shared.turn(&LeaseSeen::Unsure, LeaseSeen::Held);
                }
                return Ok(None);
            }
            // Somebody wrote it: an annotation, or a name.
            Err(error) if error.is_conflict() => match cluster.lease(key).await? {
                Some(now) if holder(&now) == Some(identity) => shared.state().lease = now,
                Some(now) => return Ok(Some(holder(&now).unwrap_or(GIVEN_BACK).to_owned())),
                None => return Ok(Some(DELETED.to_owned())),
            },
            Err(error) if error.is_missing() => return Ok(Some(DELETED.to_owned())),
            Err(error) => return Err(error),
        }
    }
}
