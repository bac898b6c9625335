//! The state machine of a remediation: what was written and what is seen → what to do next. Observations and actions are
//! data; nothing here waits, reads a clock or talks to anybody.

mod action;
mod last_look;
mod machine;
mod options;
mod record;
mod resume;
mod seen;
mod steps;
mod undo;

pub use action::{Action, End, RecordWrite, Write};
pub use last_look::last_look;
pub use machine::Machine;
pub use options::{GUARD_SECONDS, Options};
pub use record::{
    Attempt, AttemptOutcome, Baseline, LastOutcome, LastRemediation, Mark, Method, Reason, Record, State,
    VERSION,
};
pub use resume::{Refusal, Resume};
pub use seen::{
    Failure, FailureKind, LeaseSeen, NodeSeen, NodeView, Product, Recall, RecordSeen, Seen, Work, WorkSeen,
};

#[cfg(test)]
mod laws;
#[cfg(test)]
mod refused_tests;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
#[cfg(test)]
mod world;
