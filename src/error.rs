//! Errors as a person reads them: one line that says what failed and why, then the next command to type.

use std::fmt;

/// What the process ends with. Documented for users in `--help`, and for systemd as
/// `SuccessExitStatus=9 12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// An API, network or file error; some of several nodes failed.
    Failed = 1,
    /// Usage or configuration; nothing was changed.
    Usage = 2,
    /// A safety gate; nothing was changed.
    Refused = 3,
    /// Declined at a prompt, or a prompt was needed and nobody could answer it.
    Declined = 4,
    /// The drain failed or took too long.
    NotDrained = 5,
    /// The reboot was not ordered, or not proven in time.
    NotRebooted = 6,
    /// The verification failed; the node stays cordoned.
    NotVerified = 7,
    /// By the user or another, because somebody else uncordoned the node, or because it was replaced.
    Aborted = 8,
    /// Another holds a Lease, or an unfinished remediation is on the node.
    Busy = 9,
    /// `--exit-code`, and changes are pending.
    Pending = 10,
    /// No alert source could be trusted, or it is configured wrongly.
    SourceDown = 11,
    /// Some source could not be trusted.
    SourcePartial = 12,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM or SIGHUP.
    Terminated = 143,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, with the exit code that it means and hints that name the next command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub exit: Exit,
    line: String,
    hints: Vec<String>,
}

impl Error {
    /// `what` reads "what failed: why", in lower case.
    pub fn new(exit: Exit, what: impl fmt::Display) -> Self {
        Self { exit, line: format!("error: {what}"), hints: Vec::new() }
    }

    /// The command line, the environment or the configuration file is wrong.
    pub fn usage(what: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// kubectl's own phrase, which stands without `error:`.
    pub fn in_kubectls_words(line: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, line: line.into(), hints: Vec::new() }
    }

    /// The line, then each hint. Text from a server may have line breaks: each item is for one line nevertheless.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.line.clone()).chain(self.hints.iter().map(|hint| format!("hint: {hint}")))
    }

    /// The line, for where another text goes before it.
    pub fn why(&self) -> &str {
        self.line.strip_prefix("error: ").unwrap_or(&self.line)
    }

    /// The next commands, without `hint:`.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Adds a line `hint: …`.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// The line without the hints.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Error {}

/// `error` and what caused it. The source of an `io::Error` is that of what it wraps, which would be skipped.
pub(crate) fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

/// The innermost cause of `error`: the part that says why.
pub(crate) fn root_cause<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> &'e (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}
