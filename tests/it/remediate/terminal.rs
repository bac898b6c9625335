//! `remediate` in a terminal of its own, with somebody who answers.

use std::process::{Command, Stdio};

use rexpect::process::{Signal, WaitStatus};
use rexpect::reader::ReadUntil;
use rexpect::session::{PtySession, spawn_command};
use rustix::termios::{self, LocalModes};

use super::scene::Scene;

pub struct Terminal {
    session: PtySession,
    /// Everything that came so far.
    shown: String,
}

impl Terminal {
    pub fn of(scene: &Scene<'_>, flags: &[&str]) -> Self {
        Self::start(&scene.command(flags))
    }

    pub fn start(command: &Command) -> Self {
        Self::in_shell("exec \"$0\" \"$@\"", command)
    }

    /// By a script that has the command and its arguments as its own. rexpect's terminals do not echo; a person's does.
    pub fn in_shell(script: &str, command: &Command) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("stty echo; {script}")])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(Stdio::inherit()).env("TERM", "xterm");
        Self { session: spawn_command(shell, Some(60_000)).expect("a terminal"), shown: String::new() }
    }

    #[track_caller]
    pub fn sees(&mut self, text: &str) {
        match self.session.exp_string(text) {
            Ok(before) => self.shown += &(before + text),
            Err(error) => panic!("no {text:?} after {}: {error}", self.shown),
        }
    }

    /// Sees a question to its end, and answers it with a line.
    #[track_caller]
    pub fn answers(&mut self, question: &str, line: &str) {
        self.asks(question);
        self.types(&format!("{line}\r"));
    }

    /// What is typed from now on is typed after the question.
    #[track_caller]
    pub fn asks(&mut self, question: &str) {
        self.sees(question);
        let ends = ["[y/N] ", ": "].map(|end| ReadUntil::String(end.to_owned()));
        match self.session.exp_any(ends.into()) {
            Ok((before, end)) => self.shown += &(before + &end),
            Err(error) => panic!("{question:?} does not end in {}: {error}", self.shown),
        }
    }

    /// Says yes to each question, in the words that it wants, until the end with this code; everything that was shown.
    #[track_caller]
    pub fn says_yes(mut self, code: i32) -> String {
        const QUESTIONS: [(&str, &str); 2] = [("[y/N] ", "y"), (" Type yes", "yes")];
        loop {
            let ends = QUESTIONS.map(|(question, _)| ReadUntil::String(question.to_owned()));
            let found = self.session.exp_any(ends.into_iter().chain([ReadUntil::EOF]).collect());
            let Ok((before, found)) = found else { panic!("no end after {}", self.shown) };
            self.shown += &(before + &found);
            match QUESTIONS.iter().find(|(question, _)| *question == found) {
                Some((" Type yes", answer)) => {
                    self.sees(": ");
                    self.types(&format!("{answer}\r"));
                }
                Some((_, answer)) => self.types(&format!("{answer}\r")),
                None => return self.ends(code),
            }
        }
    }

    /// How the terminal treats what is typed, as it is now.
    pub fn modes(&self) -> LocalModes {
        let terminal = self.session.process().get_file_handle().expect("a terminal");
        termios::tcgetattr(terminal).expect("its modes").local_modes
    }

    pub fn signal(&mut self, signal: Signal) {
        self.session.process_mut().signal(signal).expect("a process");
    }

    pub fn types(&mut self, keys: &str) {
        self.session.send(keys).and_then(|_| self.session.flush()).expect("a terminal");
    }

    pub fn ctrl_c(&mut self) {
        self.session.send_control('c').and_then(|()| self.session.flush()).expect("a terminal");
    }

    /// How it leaves the terminal, once it has ended with this code.
    #[track_caller]
    pub fn modes_after(self, code: i32) -> LocalModes {
        let terminal = self.session.process().get_file_handle().expect("a terminal");
        self.ends(code);
        termios::tcgetattr(terminal).expect("its modes").local_modes
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
