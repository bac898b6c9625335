//! What one round leaves for the next, and for `status`: annotations of the sync Lease (spec §6.6).
//!
//! It is input, not authority: anyone who may write the Lease may write anything there. What cannot be read is absent,
//! and nothing that is written there makes a round clear more than it would clear without.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

use super::alert::Fnv1a;
use super::clusters::Clusters;
use super::condition::{CLOCK_SKEW, SourceState};
use super::node::Node;
use super::prefix::Prefix;

const LAST_FULL: &str = "sciuro.dev/last-full";
const LAST_BY: &str = "sciuro.dev/last-by";
const SOURCE_STATE: &str = "sciuro.dev/source-state";
const INTERVAL: &str = "sciuro.dev/interval";
const PREFIX: &str = "sciuro.dev/prefix";
const HEARTBEAT_INTERVAL: &str = "sciuro.dev/heartbeat-interval";
const FULL_ROUNDS: &str = "sciuro.dev/full-rounds";
const CLEAR_HELD_SINCE: &str = "sciuro.dev/clear-held-since";
const CLEAR_HELD_ROUNDS: &str = "sciuro.dev/clear-held-rounds";
const CLEAR_WANTED: &str = "sciuro.dev/clear-wanted";
const CANARY: &str = "sciuro.dev/canary";

/// Of one who wrote it: all annotations of an object together may have 256 KiB.
const LONGEST_NAME: usize = 253;
/// 8 bytes each; all annotations of an object together may have 256 KiB.
const MAX_WANTED: usize = 4096;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// When all sources could last be trusted and everything was written.
    pub last_full: Option<Timestamp>,
    /// Full rounds up to now, one after the other.
    pub full_rounds: u32,
    /// The brake is on.
    pub held: Option<Held>,
    /// The conditions that the last round, a full one, would have cleared, had it known all members of its sources.
    pub wanted: BTreeSet<ConditionId>,
    /// The canary that was seen.
    pub canary: Option<String>,
    /// Which alerts are this cluster's.
    pub clusters: Clusters,
    pub source_state: Option<SourceState>,
    /// Who wrote it last.
    pub last_by: Option<String>,
    pub interval: Option<SignedDuration>,
    pub prefix: Option<Prefix>,
    pub heartbeat_interval: Option<SignedDuration>,
}

/// Clears that are held back until they are seen again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub since: Timestamp,
    /// Full rounds that wanted the same after that.
    pub rounds: u32,
}

/// A condition of a node, in eight hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConditionId(u32);

impl ConditionId {
    pub fn new(node: &Node, condition_type: &str) -> Self {
        let mut hash = Fnv1a::default();
        for part in [&node.name, &node.uid, condition_type] {
            hash.write(part.as_bytes());
            hash.write(&[0xFF]);
        }
        let folded = hash.finish() ^ (hash.finish() >> 32);
        Self(u32::try_from(folded & u64::from(u32::MAX)).unwrap_or_default())
    }
}

impl Memory {
    pub fn read(annotations: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| annotations.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        let span = |name: &str| text(name)?.parse().ok().filter(|span: &SignedDuration| !span.is_negative());
        let held = || {
            Some(Held {
                since: text(CLEAR_HELD_SINCE)?.parse().ok()?,
                rounds: text(CLEAR_HELD_ROUNDS)?.parse().ok()?,
            })
        };
        let ids = text(CLEAR_WANTED).unwrap_or_default().split_ascii_whitespace();
        Self {
            last_full: text(LAST_FULL).and_then(|text| text.parse().ok()),
            full_rounds: text(FULL_ROUNDS).and_then(|text| text.parse().ok()).unwrap_or_default(),
            held: held(),
            wanted: ids
                .filter_map(|id| u32::from_str_radix(id, 16).ok().map(ConditionId))
                .take(MAX_WANTED)
                .collect(),
            canary: text(CANARY).map(str::to_owned),
            clusters: Clusters::read(annotations),
            source_state: match text(SOURCE_STATE) {
                Some("FULL") => Some(SourceState::Full),
                Some("PARTIAL") => Some(SourceState::Partial),
                Some("DOWN") => Some(SourceState::Down),
                _ => None,
            },
            last_by: text(LAST_BY).map(|by| by.chars().take(LONGEST_NAME).collect()),
            interval: span(INTERVAL),
            prefix: text(PREFIX).and_then(|text| text.parse().ok()),
            heartbeat_interval: span(HEARTBEAT_INTERVAL),
        }
    }

    /// As annotations; what is not known is empty, so that it replaces what was.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let seconds = |span: SignedDuration| format!("{}s", span.as_secs());
        let wanted = self.wanted.iter().take(MAX_WANTED).fold(String::new(), |mut text, ConditionId(id)| {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}{id:08x}"); // into a String: never fails
            text
        });
        let known = [
            (LAST_FULL, self.last_full.map(|time| time.to_string())),
            (FULL_ROUNDS, Some(self.full_rounds.to_string())),
            (CLEAR_HELD_SINCE, self.held.map(|held| held.since.to_string())),
            (CLEAR_HELD_ROUNDS, self.held.map(|held| held.rounds.to_string())),
            (CLEAR_WANTED, Some(wanted).filter(|ids| !ids.is_empty())),
            (CANARY, self.canary.clone()),
            (SOURCE_STATE, self.source_state.map(|state| state.name().to_owned())),
            (LAST_BY, self.last_by.clone()),
            (INTERVAL, self.interval.map(seconds)),
            (PREFIX, self.prefix.as_ref().map(Prefix::to_string)),
            (HEARTBEAT_INTERVAL, self.heartbeat_interval.map(seconds)),
        ]
        .map(|(name, value)| (name, value.unwrap_or_default()));
        let all = known.into_iter().chain(self.clusters.annotations());
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What of it concerns a round at `now` for conditions of this prefix. Times that only a broken clock can have
    /// written count for nothing, and of rounds over other conditions nothing follows.
    #[must_use]
    pub fn for_round(&self, prefix: &Prefix, now: Timestamp) -> Self {
        if self.prefix.as_ref().is_some_and(|other| other != prefix) {
            return Self { canary: self.canary.clone(), clusters: self.clusters.clone(), ..Self::default() };
        }
        Self {
            last_full: self.last_full.filter(|time| is_past(*time, now)),
            held: self.held.filter(|held| is_past(held.since, now)),
            ..self.clone()
        }
    }
}

/// Only a clock that is wrong, or a forger, writes a time to come.
pub(super) fn is_past(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) <= CLOCK_SKEW
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
