//! Runs a program of the user's, and never longer than it may take.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// So much of each stream is kept.
const ENOUGH: usize = 64 << 10;
/// A process that a program left behind may hold its output open.
const OUTPUT_WITHIN: Duration = Duration::from_secs(1);

/// How a program ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// `None` if it did not end in time; then it was killed with all that it began, as it is when this is dropped.
pub(super) async fn run(program: &str, arguments: &[String], limit: Duration) -> io::Result<Option<Ended>> {
    run_without(&[], program, arguments, limit).await
}

/// The same, without these variables of our environment.
pub(super) async fn run_without(
    variables: &[OsString],
    program: &str,
    arguments: &[String],
    limit: Duration,
) -> io::Result<Option<Ended>> {
    let mut command = Command::new(program);
    for variable in variables {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // In a process group of its own: Ctrl-C is for us, and must not cut an order in half.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.kill_on_drop(true).spawn()?;
    let mut group = Group::of(&child);
    let (stdout, stderr) = (Output::read(child.stdout.take()), Output::read(child.stderr.take()));
    let Ok(status) = tokio::time::timeout(limit, child.wait()).await else {
        drop(group);
        // Otherwise it would be told once we are gone, and nobody would have waited for its end.
        child.kill().await?;
        return Ok(None);
    };
    // What it leaves behind now, it means to.
    group.ended();
    Ok(Some(Ended { status: status?, stdout: stdout.text().await, stderr: stderr.text().await }))
}

/// The processes of a program that has not ended.
struct Group {
    leader: Option<u32>,
}

impl Group {
    fn of(child: &Child) -> Self {
        Self { leader: child.id() }
    }

    fn ended(&mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(leader) = self.leader.and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // Nobody has waited for its leader yet, so the number is still its own.
            let _gone = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

/// One stream, read by a task: a program whose output nobody reads does not go on.
struct Output {
    kept: tokio::sync::watch::Receiver<Vec<u8>>,
}

impl Output {
    fn read(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let (sender, kept) = tokio::sync::watch::channel(Vec::new());
        if let Some(mut pipe) = pipe {
            tokio::spawn(async move {
                let mut piece = vec![0; 8 << 10];
                while let Ok(length @ 1..) = pipe.read(&mut piece).await {
                    sender.send_modify(|kept| {
                        let room = ENOUGH - kept.len();
                        kept.extend_from_slice(&piece[..length.min(room)]);
                    });
                }
            });
        }
        Self { kept }
    }

    async fn text(mut self) -> String {
        let ended = async { while self.kept.changed().await.is_ok() {} };
        let _held_open = tokio::time::timeout(OUTPUT_WITHIN, ended).await;
        String::from_utf8_lossy(&self.kept.borrow()).into_owned()
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    async fn sh(script: &str, limit: Duration) -> Option<Ended> {
        run("sh", &["-c".to_owned(), script.to_owned()], limit).await.unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn both_streams_and_the_code_are_kept() {
        let ended = sh("echo out; echo err >&2; exit 3", LONG).await.unwrap();
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(ended.status.code(), Some(3));
    }

    #[tokio::test]
    async fn output_has_a_limit_and_does_not_stop_the_program() {
        let ended = sh("head -c 1000000 /dev/zero | tr '\\0' x; echo end >&2", LONG).await.unwrap();
        assert_eq!((ended.stdout.len(), ended.stderr.as_str()), (ENOUGH, "end\n"));
    }

    /// A program that goes on until it is killed, and a way to see whether it is there.
    fn endless() -> (String, tempfile::TempDir, impl Fn() -> bool) {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", pid.display());
        let is_there = move || {
            let pid = std::fs::read_to_string(&pid).unwrap_or_default();
            // Of what has ended and not been waited for there is no command line.
            let line = std::fs::read(format!("/proc/{}/cmdline", pid.trim()));
            !pid.is_empty() && line.is_ok_and(|line| !line.is_empty())
        };
        (script, directory, is_there)
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed() {
        let (script, _directory, is_there) = endless();
        assert!(sh(&script, Duration::from_millis(500)).await.is_none());
        assert!(!is_there());
    }

    async fn until_gone(is_there: impl Fn() -> bool) {
        let gone = async {
            while is_there() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LONG, gone).await.unwrap();
    }

    #[tokio::test]
    async fn what_it_began_is_killed_with_it() {
        let (script, _directory, is_there) = endless();
        let script = format!("sh -c '{script}' & wait");
        assert!(sh(&script, Duration::from_millis(500)).await.is_none());
        until_gone(is_there).await;
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_killed() {
        let (script, _directory, is_there) = endless();
        let begun = async {
            while !is_there() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            _ = sh(&script, LONG) => panic!("it has no end"),
            () = begun => {}
        }
        until_gone(is_there).await;
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_is_not_waited_for() {
        let ended = sh("echo done; sleep 30 &", LONG).await.unwrap();
        assert_eq!(ended.stdout, "done\n");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there() {
        assert!(run("no-such-program-of-ours", &[], LONG).await.is_err());
    }
}
