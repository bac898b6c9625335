//! What ends the work early: a signal, or a Lease that was lost.

use crate::cluster::Hold;
use crate::error::{Error, Exit};
use crate::signal::{self, Signal};

/// Why the work was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    Signal(Signal),
    LeaseLost,
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Signal(signal) => Error::new(signal.exit(), "interrupted"),
            Stopped::LeaseLost => Error::new(Exit::Busy, "the Lease was lost: another may be writing now"),
        }
    }
}

/// Runs `work` until it is done or must stop. Dropping it is safe at any point: each request is complete in itself.
pub(super) async fn until_stopped<T>(
    hold: Option<&Hold>,
    work: impl Future<Output = T>,
) -> Result<T, Stopped> {
    let work = async {
        match hold {
            Some(hold) => hold.while_held(work).await.ok_or(Stopped::LeaseLost),
            None => Ok(work.await),
        }
    };
    tokio::select! {
        done = work => done,
        signal = signal::received() => Err(Stopped::Signal(signal)),
    }
}
