//! `remediate` in a terminal of its own, with somebody who answers.

use std::process::{Command, Stdio};

use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

use super::scene::Scene;

pub struct Terminal {
    session: PtySession,
    /// Everything that came so far.
    shown: String,
}

impl Terminal {
    pub fn of(scene: &Scene<'_>, flags: &[&str]) -> Self {
        Self::start(scene.command(flags))
    }

    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::inherit()).env("TERM", "xterm");
        Self { session: spawn_command(command, Some(60_000)).expect("a terminal"), shown: String::new() }
    }

    #[track_caller]
    pub fn sees(&mut self, text: &str) {
        match self.session.exp_string(text) {
            Ok(before) => self.shown += &(before + text),
            Err(error) => panic!("no {text:?} after {}: {error}", self.shown),
        }
    }

    pub fn types(&mut self, keys: &str) {
        self.session.send(keys).and_then(|_| self.session.flush()).expect("a terminal");
    }

    pub fn ctrl_c(&mut self) {
        self.session.send_control('c').and_then(|()| self.session.flush()).expect("a terminal");
    }

    /// Everything that was shown, once it has ended with this code. It leaves a terminal whose cursor is there.
    #[track_caller]
    pub fn ends(mut self, code: i32) -> String {
        match self.session.exp_eof() {
            Ok(rest) => self.shown += &rest,
            Err(error) => panic!("no end after {}: {error}", self.shown),
        }
        let status = self.session.process().wait().expect("an end");
        assert!(matches!(status, WaitStatus::Exited(_, exit) if exit == code), "{status:?} {}", self.shown);
        let last = |sequence: &str| self.shown.rfind(sequence);
        assert!(last("\u{1b}[?25h") >= last("\u{1b}[?25l"), "no cursor after {}", self.shown);
        self.shown
    }
}
