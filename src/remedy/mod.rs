//! Carries out what the core decides about one node: drain, collect, reboot, wait for the proof, verify.
//!
//! It sees `cluster` and `core` only. What a person is to see goes to a [`Tell`].

pub mod baseline;
pub mod boot;
pub mod collect;
pub mod drain;
mod program;
pub mod reboot;
pub mod verify;

use std::time::Duration;

/// Who is told how a step goes. Called often: whoever draws must be quick.
pub trait Tell: Send + Sync {
    fn tell(&self, news: News<'_>);
}

/// How a step goes. Texts may carry what a server or a node said: whoever prints them escapes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'n> {
    /// Something happened that is worth a line, such as `evicting pod ns/p`.
    Line(&'n str),
    /// The next command to type.
    Hint(&'n str),
    /// A pod that was to go is gone; `how`: `evicted` or `deleted`.
    PodGone { namespace: &'n str, name: &'n str, how: &'n str },
    /// Something is not as it should be; the step goes on.
    Warning(&'n str),
    /// How far a drain is; `blocked` names the disruption budget or the admission that it waits for.
    Drain { evicted: usize, total: usize, blocked: Option<&'n str> },
    /// What is known while waiting.
    Wait { elapsed: Duration, facts: &'n str },
}
