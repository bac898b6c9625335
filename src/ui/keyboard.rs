//! What is typed: a line that follows a question, and nothing else.
//!
//! The terminal's own lines are read. dialoguer reads single keys, in raw mode: a line is whatever its last key made of it
//! (`wait_for_newline` takes `delay` for yes), Ctrl-D is no key, a signal leaves the terminal raw, and the reader of a
//! question that was dropped takes the keys of the next one.

use std::io::{self, IsTerminal, stdin};
use std::sync::{Mutex, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
};
use tokio::io::{Interest, unix::AsyncFd};

/// How the terminal was before this process changed it, for as long as it is changed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// No line that a terminal edits is longer.
const LONGEST_LINE: usize = 4096;

/// What is typed is not shown until this is dropped, except at questions.
pub(crate) struct Quiet(());

impl Quiet {
    pub(super) fn begin() -> Self {
        // A background job that changed its terminal would be stopped.
        if stdin().is_terminal() && is_in_foreground() {
            let _echoes = change(hide);
        }
        Self(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        restore();
    }
}

/// A question that is on the screen; until this is dropped, what is typed is shown.
pub(super) struct Question {
    within_quiet: bool,
}

impl Question {
    /// Discards what was typed before.
    pub(super) fn begin() -> io::Result<Self> {
        let within_quiet = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let this = Self { within_quiet };
        change(show)?;
        tcflush(stdin(), QueueSelector::IFlush)?;
        Ok(this)
    }

    /// The line that is typed; `None` after Ctrl-D, and if the terminal is gone. May be dropped at any time.
    pub(super) async fn line(&self) -> io::Result<Option<String>> {
        let mut typed = Vec::new();
        while !typed.ends_with(b"\n") {
            until_readable().await?;
            // Another process may have taken the line meanwhile: then this thread waits, and nothing else does.
            let part = tokio::task::spawn_blocking(|| {
                let mut part = vec![0; LONGEST_LINE];
                let length = rustix::io::retry_on_intr(|| rustix::io::read(stdin(), &mut *part))?;
                part.truncate(length);
                Ok::<_, io::Error>(part)
            });
            let part = part.await??;
            if part.is_empty() {
                return Ok(None);
            }
            typed.extend(part);
        }
        Ok(Some(String::from_utf8_lossy(&typed).into_owned()))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.within_quiet {
            restore();
        } else if is_in_foreground() {
            let _echoes = change(hide);
        }
    }
}

/// There is a whole line, or the end of the input.
async fn until_readable() -> io::Result<()> {
    #[expect(deprecated, reason = "unsound for descriptors that are closed; stdin is not")]
    let stdin = AsyncFd::with_interest(stdin(), Interest::READABLE)?;
    let _ready = stdin.readable().await?;
    Ok(())
}

/// The terminal as it was. On every way out, also where another thread is just changing it.
pub(super) fn restore() {
    let before = BEFORE.try_lock().ok().and_then(|mut before| before.take());
    if let Some(before) = before
        && is_in_foreground()
    {
        let _gone = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}

fn change(how: fn(&mut Termios)) -> io::Result<()> {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut modes = tcgetattr(stdin())?;
    before.get_or_insert_with(|| modes.clone());
    how(&mut modes);
    Ok(tcsetattr(stdin(), OptionalActions::Now, &modes)?)
}

/// The terminal edits lines, shows them, and makes a signal of Ctrl-C.
fn show(modes: &mut Termios) {
    modes.input_modes.insert(InputModes::ICRNL);
    modes.local_modes.insert(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
}

fn hide(modes: &mut Termios) {
    show(modes);
    modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
}

/// Where the terminal controls no jobs, everything is.
fn is_in_foreground() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == getpgrp())
}
