//! A Lease that is ours.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Candidate, LeaseError, RENEW_DEADLINE, RENEW_EVERY, holder, released, taken};

/// A renewal that hangs is tried again, once, before the deadline.
const TRY_FOR: Duration = Duration::from_millis(2_500);
const PAUSE: Duration = Duration::from_millis(500);

/// A Lease that we hold, renewed in the background until it is released.
pub struct Hold {
    shared: Arc<Shared>,
    lost: watch::Receiver<bool>,
    renewal: JoinHandle<()>,
}

struct Shared {
    candidate: Candidate,
    state: Mutex<State>,
}

struct State {
    /// As the server has it.
    lease: Lease,
    /// To be written with the next renewal.
    annotations: BTreeMap<String, String>,
    /// The clock's time from which on we may no longer write.
    until: Duration,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_in_time(&self) -> bool {
        (self.candidate.clock)() < self.state().until
    }
}

impl Hold {
    /// `since`: when the request was sent that made it ours. Another counts from when it saw the outcome, which is later.
    pub(super) fn new(candidate: Candidate, lease: Lease, since: Duration) -> Self {
        let state = State { lease, annotations: BTreeMap::new(), until: since + RENEW_DEADLINE };
        let shared = Arc::new(Shared { candidate, state: Mutex::new(state) });
        let (report_loss, lost) = watch::channel(false);
        let renewal = tokio::spawn(renew(shared.clone(), report_loss));
        Self { shared, lost, renewal }
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
        !*self.lost.borrow() && self.shared.is_in_time()
    }

    /// Returns once the Lease is no longer ours. Whoever writes must stop then.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
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
    pub async fn release(self, annotations: BTreeMap<String, String>) -> Result<(), LeaseError> {
        self.renewal.abort();
        self.annotate(annotations);
        let candidate = &self.shared.candidate;
        let (ours, annotations) = {
            let state = self.shared.state();
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
            done => done.map(drop),
        }
    }
}

/// What nobody keeps is not renewed.
impl Drop for Hold {
    fn drop(&mut self) {
        self.renewal.abort();
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

async fn renew(shared: Arc<Shared>, report_loss: watch::Sender<bool>) {
    let mut pause = RENEW_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        // After a suspend the deadline is over, whatever the runtime's timers say.
        let left = shared.state().until.saturating_sub((shared.candidate.clock)());
        if left.is_zero() {
            break;
        }
        pause = match tokio::time::timeout(left.min(TRY_FOR), renew_once(&shared)).await {
            Ok(Ok(true)) => RENEW_EVERY,
            Ok(Ok(false)) => break,
            Ok(Err(error)) => {
                let why = crate::error::Error::from(error).to_string();
                tracing::info!("the Lease could not be renewed: {}", why.escape_debug());
                PAUSE.min(left)
            }
            Err(_) => {
                tracing::info!("the Lease could not be renewed in time");
                Duration::ZERO
            }
        };
    }
    report_loss.send_replace(true);
}

/// `false` if it is no longer ours.
async fn renew_once(shared: &Shared) -> Result<bool, LeaseError> {
    let Candidate { cluster, key, identity, clock } = &shared.candidate;
    loop {
        let (mut lease, annotations) = {
            let state = shared.state();
            (state.lease.clone(), state.annotations.clone())
        };
        annotate(lease.metadata.annotations.get_or_insert_default(), &annotations);
        let since = clock();
        match cluster.replace_lease(key, taken(&lease, identity)).await {
            Ok(lease) => {
                let mut state = shared.state();
                state.lease = lease;
                state.until = since + RENEW_DEADLINE;
                // What came meanwhile is for the next one.
                state.annotations.retain(|name, value| annotations.get(name) != Some(value));
                return Ok(true);
            }
            // Somebody wrote it: an annotation, or a name.
            Err(error) if error.is_conflict() => match cluster.lease(key).await? {
                Some(now) if holder(&now) == Some(identity) => shared.state().lease = now,
                _ => return Ok(false),
            },
            Err(error) if error.is_missing() => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
