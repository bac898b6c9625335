//! What the alert sources said, and how far it can be trusted together (spec §6.3).
//!
//! Sources form groups: the members of a group are replicas of each other, groups hold different alerts.

use jiff::{SignedDuration, Timestamp};

use super::alert::Alert;

/// The members of one group, each with what it said.
#[derive(Debug)]
pub struct Group {
    pub members: Vec<Member>,
    /// The members say that there are more of them than were asked: what those know is missing.
    pub has_unasked_members: bool,
}

#[derive(Debug)]
pub struct Member {
    /// Its URL without credentials, or `svc://…` with the pod's name.
    pub name: String,
    pub answer: Result<Answer, Failure>,
}

/// What a member answered.
#[derive(Debug, Default)]
pub struct Answer {
    pub alerts: Vec<Alert>,
    /// Set while it has been up too briefly for its silence to be believed.
    pub warming: Option<Warming>,
    /// Warnings beside the list: something is missing from it (a Thanos with partial responses).
    pub warnings: Vec<String>,
    /// Whether the canary fires there; `None` if it was not asked for.
    pub canary: Option<bool>,
    /// When it started, by our clock.
    pub started: Option<Timestamp>,
}

/// A source that started a short while ago: what it lists fires, what it does not list may not have reached it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warming {
    pub up_for: SignedDuration,
    /// When, by our clock, its silence will be believed.
    pub until: Timestamp,
}

/// Why a member gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: FailureReason,
    /// It is there but not what it was said to be: asking again will not help.
    pub is_misconfigured: bool,
    /// What failed and why, in lower case, without credentials.
    pub what: String,
    /// The next thing to try.
    pub hints: Vec<String>,
}

/// The label `reason` of `sciuro_source_fetch_errors_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    Timeout,
    Http,
    Parse,
    Warnings,
    ReceiverMissing,
    CanaryMissing,
    TooLarge,
}
