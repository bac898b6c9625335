//! Why a node could not be drained.

use std::fmt;

use crate::core::drain::Left;
use crate::error::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainFailure {
    pub kind: DrainFailureKind,
    /// One line: what, why.
    pub why: String,
    /// The pods that were to go and are still there.
    pub left: Vec<Left>,
    /// Next commands, besides those of the pods.
    pub hints: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainFailureKind {
    /// There are pods that need a flag; nothing was evicted.
    Refused,
    /// Some pods cannot be evicted; all others are gone.
    Failed,
    TimedOut,
    /// No pods are left, but volumes are still attached.
    Volumes,
    /// The API server cannot be asked.
    Api,
}

impl DrainFailure {
    pub(super) fn api(error: &Error) -> Self {
        let hints = error.lines().skip(1).map(|line| line.trim_start_matches("hint: ").to_owned()).collect();
        Self { kind: DrainFailureKind::Api, why: error.to_string(), left: Vec::new(), hints }
    }
}

impl fmt::Display for DrainFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
