//! The signals that ask us to stop: the first asks, the second insists. Another one right after the first is the same
//! stop: a terminal that is closed, or a supervisor, sends two.

use std::sync::LazyLock;

use tokio::sync::watch;

use crate::error::Exit;

/// A signal that asks us to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT, or Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal or the ssh session is gone. It asks as SIGTERM does and never insists: a shell and the kernel
    /// both send it.
    Hangup,
}

impl Signal {
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate | Self::Hangup => Exit::Terminated,
        }
    }
}

const ONE_STOP: std::time::Duration = std::time::Duration::from_secs(1);

/// The first signal, once it came. Signals are the process's, and so is this.
static RECEIVED: LazyLock<watch::Sender<Option<Signal>>> = LazyLock::new(|| watch::Sender::new(None));

/// Listens from now on. The second signal runs `at_once` and ends the process.
pub(crate) fn listen(at_once: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        let first = signals.next().await;
        let at = tokio::time::Instant::now();
        RECEIVED.send_replace(Some(first));
        let second = loop {
            match signals.next().await {
                Signal::Hangup => {}
                other if other != first && at.elapsed() < ONE_STOP => {}
                insists => break insists,
            }
        };
        at_once();
        std::process::exit(second.exit() as i32);
    });
    Ok(())
}

/// Returns once a signal has come, also if it came before this was called.
pub(crate) async fn received() -> Signal {
    match RECEIVED.subscribe().wait_for(Option::is_some).await.map(|signal| *signal) {
        Ok(Some(signal)) => signal,
        _ => std::future::pending().await,
    }
}

/// Whether one has come.
pub(crate) fn has_come() -> bool {
    came().is_some()
}

/// The one that has come.
pub(crate) fn came() -> Option<Signal> {
    *RECEIVED.borrow()
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            Some(()) = self.terminate.recv() => Signal::Terminate,
            Some(()) = async { self.hangup.as_mut()?.recv().await } => Signal::Hangup,
            else => std::future::pending().await,
        }
    }
}

/// Whether `nohup` began us. A handler of ours would undo that, and only Linux can be asked without unsafe code.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
    })
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(()) => Signal::Interrupt,
            None => std::future::pending().await,
        }
    }
}
