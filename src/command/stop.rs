//! What ends the work early: a signal, or a Lease that was lost.

use crate::cluster::Hold;

/// Why the work was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    LeaseLost,
}

/// Runs `work` until it is done or must stop. Dropping it is safe at any point: each request is complete in itself.
pub(super) async fn until_stopped<T>(
    hold: Option<&Hold>,
    work: impl Future<Output = T>,
) -> Result<T, Stopped> {
    let lost = async {
        match hold {
            Some(hold) => hold.lost().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        done = work => Ok(done),
        stopped = signal() => Err(stopped),
        () = lost => Err(Stopped::LeaseLost),
    }
}

/// The next SIGINT or SIGTERM.
pub(super) async fn signal() -> Stopped {
    let terminate = async {
        #[cfg(unix)]
        if let Ok(mut signals) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            signals.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    };
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = interrupt => Stopped::Interrupt,
        () = terminate => Stopped::Terminate,
    }
}
