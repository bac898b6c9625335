//! Alert sources. Each gives the alerts that fire, and says how far that can be trusted.

mod alertmanager;

use crate::core::alert::Alert;
use crate::core::source::Warming;
use crate::error::{Error, Exit};

pub use alertmanager::Alertmanager;

/// What a source answered.
#[derive(Debug)]
pub struct Answer {
    pub alerts: Vec<Alert>,
    /// Set while the source has been up too briefly for its silence to be believed.
    pub warming: Option<Warming>,
    /// What a person should know besides.
    pub notes: Vec<String>,
}

/// Why a source gave no answer.
#[derive(Debug)]
pub struct SourceError {
    /// The source is there but not what it was said to be: asking again will not help.
    pub is_misconfigured: bool,
    error: Error,
}

impl SourceError {
    fn unavailable(what: impl std::fmt::Display) -> Self {
        Self { is_misconfigured: false, error: Error::new(Exit::SourceDown, what) }
    }

    fn misconfigured(what: impl std::fmt::Display) -> Self {
        Self { is_misconfigured: true, error: Error::new(Exit::SourceDown, what) }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error = self.error.hint(hint);
        self
    }
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        error.error
    }
}
