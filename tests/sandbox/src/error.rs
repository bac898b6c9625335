use std::fmt::Write;

/// Why a double could not be started or could not do what it was asked: one sentence.
#[derive(Debug)]
pub struct Error(String);

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// The error with what was being done put before it.
    pub(crate) fn while_doing(
        what: impl std::fmt::Display,
        cause: &(dyn std::error::Error + 'static),
    ) -> Self {
        let mut message = format!("{what}: {cause}");
        let mut source = cause.source();
        while let Some(cause) = source {
            _ = write!(message, ": {cause}");
            source = cause.source();
        }
        Self(message)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
