//! Running the binary as a user does.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// What one run of the binary did.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn prints(self, stdout: &str) -> Self {
        assert_eq!(self.stdout.trim_end(), stdout.trim_end(), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        self
    }

    #[track_caller]
    pub fn never_says(self, part: &str) -> Self {
        assert!(!self.stderr.contains(part) && !self.stdout.contains(part), "{part:?} in {self:#?}");
        self
    }
}

/// The binary, with nothing of the caller's environment that it would read.
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sciuro"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_read = ["SCIURO_", "KUBE", "XDG_"].iter().any(|prefix| name.starts_with(prefix))
            || ["HOME", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "NO_COLOR"]
                .contains(&name.to_uppercase().as_str());
        if is_read {
            command.env_remove(name);
        }
    }
    command
}

pub fn run(command: &mut Command) -> Run {
    let output = command.output().expect("the binary starts");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
