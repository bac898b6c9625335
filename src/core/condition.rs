//! Desired × observed × how far the source can be trusted → the changes to a node's conditions.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::alert::Fnv1a;
use super::node::{Condition, FALSE, Node, TRUE, UNKNOWN};
use super::prefix::Prefix;

pub const FIRING: &str = "AlertIsFiring";
pub const NOT_FIRING: &str = "AlertIsNotFiring";
pub const UNAVAILABLE: &str = "AlertsUnavailable";

/// A transition time further ahead than this is a broken clock's, not a slightly fast one's.
pub(super) const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A part of the sources may be away for this long before anything is made of it.
const PARTIAL_GRACE: SignedDuration = SignedDuration::from_mins(10);

/// How far a round's alerts can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SourceState {
    /// What is not listed is not firing.
    Full,
    /// What is listed fires; of the rest nothing is known.
    Partial,
    /// Nothing is known.
    Down,
}

impl SourceState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Partial => "PARTIAL",
            Self::Down => "DOWN",
        }
    }
}

/// How conditions age (spec §6.4, §6.5).
#[derive(Debug, Clone)]
pub struct ConditionPolicy {
    pub prefix: Prefix,
    /// How long a False condition stays before it is deleted; zero = for ever.
    pub linger: SignedDuration,
    /// How often a confirmed True condition gets a new heartbeat, a False one at six times that; zero = never.
    pub heartbeat_interval: SignedDuration,
    /// How long a condition that was True may go unconfirmed before it is Unknown; `None` = for ever.
    pub unavailable_grace: Option<SignedDuration>,
    /// The time between two rounds, as far as anybody declared it.
    pub interval: SignedDuration,
}

impl Default for ConditionPolicy {
    fn default() -> Self {
        Self {
            prefix: Prefix::default(),
            linger: SignedDuration::from_hours(96),
            heartbeat_interval: SignedDuration::from_mins(5),
            unavailable_grace: Some(SignedDuration::from_mins(10)),
            interval: SignedDuration::from_mins(1),
        }
    }
}

/// What a round knows besides the alerts.
#[derive(Debug, Clone, Copy)]
pub struct Knowledge {
    pub state: SourceState,
    pub now: Timestamp,
    /// When all sources could last be trusted.
    pub last_full: Option<Timestamp>,
    /// Full rounds before this one held clears back, and so gave no heartbeats.
    pub is_holding: bool,
}

impl Knowledge {
    /// Without a memory.
    pub fn new(state: SourceState, now: Timestamp) -> Self {
        Self { state, now, last_full: None, is_holding: false }
    }
}

/// What happens to one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    /// The status before, if there was an entry.
    pub was: Option<String>,
    /// The type appears more than once; all its entries go before the resulting one is written.
    pub duplicated: bool,
    /// The entry in full, as it will be stored; for a deletion, as it was.
    pub condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// A new entry.
    Add,
    /// Another status.
    Transition,
    /// The same status with another reason or message, or one entry in place of several.
    Update,
    /// Only the heartbeat moves.
    Heartbeat,
    /// The entry goes.
    Delete,
}

/// What an entry should become.
enum Outcome {
    Keep,
    /// Confirmed by the source, otherwise unchanged.
    Confirm,
    /// Status, reason, message.
    Set(&'static str, &'static str, String),
    Delete,
}

/// Plans one node: `firing` is type → message of the conditions that should be True, `held` are types whose
/// entry stays as it is unless it is False. An empty plan means that nothing is to be written.
pub fn plan(
    node: &Node,
    firing: &BTreeMap<String, String>,
    held: &BTreeSet<String>,
    known: &Knowledge,
    policy: &ConditionPolicy,
) -> Vec<Change> {
    let now = known.now;
    let observed = observed(node, &policy.prefix);
    let heartbeat = Heartbeat::new(&node.name, now, policy);
    let mut changes = Vec::new();
    let mut almost_due = Vec::new();

    for (condition_type, entries) in &observed {
        let current = entries.current;
        let outcome = match firing.get(*condition_type) {
            None if current.status != FALSE && held.contains(*condition_type) => Outcome::Keep,
            message => outcome(current, message, known, policy),
        };
        match step(current, outcome, entries.duplicated, now) {
            Step::Write(change) => changes.push(change),
            Step::Confirmed(change) if heartbeat.is_due(current) => changes.push(change),
            Step::Confirmed(change) if heartbeat.is_half_due(current) => almost_due.push(change),
            Step::Confirmed(_) | Step::Nothing => {}
        }
    }
    if known.state != SourceState::Down {
        let missing = firing.iter().filter(|(condition_type, _)| {
            policy.prefix.owns(condition_type) && !observed.contains_key(condition_type.as_str())
        });
        for (condition_type, message) in missing {
            changes.push(Change {
                kind: ChangeKind::Add,
                was: None,
                duplicated: false,
                condition: Condition {
                    type_: condition_type.clone(),
                    status: TRUE.into(),
                    reason: FIRING.into(),
                    message: message.clone(),
                    last_heartbeat: Some(now),
                    last_transition: Some(now),
                },
            });
        }
    }
    if !changes.is_empty() {
        changes.append(&mut almost_due); // the node is written anyway: save it a write of its own soon
    }
    changes.sort_by(|a, b| a.condition.type_.cmp(&b.condition.type_));
    changes
}

/// The entries of one type: the API does not keep a broken writer from storing several.
pub(super) struct Entries<'n> {
    /// The one that counts: the first True, else the first (spec §6.4).
    pub(super) current: &'n Condition,
    duplicated: bool,
}

/// What a node shows, by the types that are ours.
pub(super) fn observed<'n>(node: &'n Node, prefix: &Prefix) -> BTreeMap<&'n str, Entries<'n>> {
    let mut observed = BTreeMap::new();
    for condition in node.conditions.iter().filter(|condition| prefix.owns(&condition.type_)) {
        observed
            .entry(condition.type_.as_str())
            .and_modify(|entries: &mut Entries<'n>| {
                entries.duplicated = true;
                if !entries.current.is_true() && condition.is_true() {
                    entries.current = condition;
                }
            })
            .or_insert(Entries { current: condition, duplicated: false });
    }
    observed
}

/// The state table (spec §6.4).
fn outcome(
    current: &Condition,
    message: Option<&String>,
    known: &Knowledge,
    policy: &ConditionPolicy,
) -> Outcome {
    use SourceState::{Down, Full, Partial};
    match (known.state, message) {
        (Full | Partial, Some(message)) => Outcome::Set(TRUE, FIRING, message.clone()),
        (Full, None) if current.status != FALSE => Outcome::Set(FALSE, NOT_FIRING, String::new()),
        (Full, None) => {
            let lingers = policy.linger.is_zero()
                || current
                    .last_transition
                    .is_none_or(|since| known.now.duration_since(since) <= policy.linger);
            if lingers { Outcome::Confirm } else { Outcome::Delete }
        }
        (Down, _) | (Partial, None) if is_stale(current, known, policy) => {
            Outcome::Set(UNKNOWN, UNAVAILABLE, String::new())
        }
        (Down, _) | (Partial, None) => Outcome::Keep,
    }
}

/// Whether a condition that says that its alert fires has gone without confirmation for too long (spec §6.4). What
/// says nothing of the kind, False and Unknown, cannot become stale.
fn is_stale(current: &Condition, known: &Knowledge, policy: &ConditionPolicy) -> bool {
    let Some(grace) = policy.unavailable_grace else { return false };
    if current.status == FALSE || current.status == UNKNOWN {
        return false;
    }
    // A time from a broken clock's future confirms nothing.
    let past = |time: &Timestamp| time.duration_since(known.now) <= CLOCK_SKEW;
    let seen = current.last_heartbeat.filter(past);
    let last_full = known.last_full.filter(past);
    let has_heartbeats = !policy.heartbeat_interval.is_zero();
    let rounds = policy.interval * 2;
    // Confirmed conditions, too, have heartbeats as old as this; two intervals, and the jitter is covered.
    let heartbeats = policy.heartbeat_interval * 2;
    let (confirmed, grace) = match known.state {
        SourceState::Full => return false,
        SourceState::Down if grace.is_zero() => (seen.max(last_full), grace), // as upstream
        SourceState::Down if last_full.is_some() => (seen.max(last_full), grace.max(rounds)),
        // A round of which a part is missing may be one of many: when all was last well says nothing of it.
        SourceState::Down | SourceState::Partial if !has_heartbeats => return false,
        SourceState::Down => (seen, grace.max(rounds).max(heartbeats)),
        SourceState::Partial => {
            let confirmed = if known.is_holding { seen.max(last_full) } else { seen };
            (confirmed, grace.max(PARTIAL_GRACE).max(rounds).max(heartbeats))
        }
    };
    confirmed.is_none_or(|confirmed| known.now.duration_since(confirmed) > grace)
}

enum Step {
    Nothing,
    Write(Change),
    /// To be written only if a heartbeat is due.
    Confirmed(Change),
}

fn step(current: &Condition, outcome: Outcome, duplicated: bool, now: Timestamp) -> Step {
    let change = |kind, condition| Change { kind, was: Some(current.status.clone()), duplicated, condition };
    let confirmed = || Condition {
        last_heartbeat: Some(now),
        last_transition: Some(current.last_transition.unwrap_or(now)),
        ..current.clone()
    };
    match outcome {
        Outcome::Delete => Step::Write(change(ChangeKind::Delete, current.clone())),
        // Not confirmed: its heartbeat must not say that it was.
        Outcome::Keep if duplicated => Step::Write(change(ChangeKind::Update, current.clone())),
        Outcome::Keep => Step::Nothing,
        Outcome::Confirm if duplicated => Step::Write(change(ChangeKind::Update, confirmed())),
        Outcome::Confirm => Step::Confirmed(change(ChangeKind::Heartbeat, confirmed())),
        Outcome::Set(status, reason, message) => {
            let same_status = current.status == status;
            let last_transition = if same_status {
                current.last_transition.unwrap_or(now)
            } else {
                transition_time(current, now)
            };
            let unchanged = same_status && current.reason == reason && current.message == message;
            let condition = Condition {
                type_: current.type_.clone(),
                status: status.into(),
                reason: reason.into(),
                message,
                last_heartbeat: Some(now),
                last_transition: Some(last_transition),
            };
            match (same_status, unchanged && !duplicated) {
                (false, _) => Step::Write(change(ChangeKind::Transition, condition)),
                (true, false) => Step::Write(change(ChangeKind::Update, condition)),
                (true, true) => Step::Confirmed(change(ChangeKind::Heartbeat, condition)),
            }
        }
    }
}

/// Never before the last transition, unless that lies in a future that only a broken clock can have written.
fn transition_time(current: &Condition, now: Timestamp) -> Timestamp {
    current
        .last_transition
        .filter(|last| last.duration_since(now) <= CLOCK_SKEW)
        .map_or(now, |last| last.max(now))
}

/// When heartbeats are due on one node: ±10 % by its name, so that a cluster's heartbeats spread out.
struct Heartbeat {
    now: Timestamp,
    /// Zero = never.
    interval: SignedDuration,
}

impl Heartbeat {
    fn new(node_name: &str, now: Timestamp, policy: &ConditionPolicy) -> Self {
        let mut hash = Fnv1a::default();
        hash.write(node_name.as_bytes());
        let per_mille = 900 + i32::try_from(hash.finish() % 201).unwrap_or(100);
        Self { now, interval: policy.heartbeat_interval * per_mille / 1000 }
    }

    fn is_due(&self, condition: &Condition) -> bool {
        self.older_than(condition, self.interval_of(condition))
    }

    fn is_half_due(&self, condition: &Condition) -> bool {
        self.older_than(condition, self.interval_of(condition) / 2)
    }

    fn interval_of(&self, condition: &Condition) -> SignedDuration {
        self.interval * if condition.is_true() { 1 } else { 6 }
    }

    fn older_than(&self, condition: &Condition, age: SignedDuration) -> bool {
        !self.interval.is_zero()
            && condition.last_heartbeat.is_none_or(|last| {
                let since = self.now.duration_since(last);
                since > age || since < -CLOCK_SKEW
            })
    }
}

/// What the API server makes of a plan: strategic merge by `type`, deletions of duplicated types first.
pub fn apply(changes: &[Change], conditions: &[Condition]) -> Vec<Condition> {
    let gone = |condition: &Condition| {
        changes.iter().any(|change| {
            (change.duplicated || change.kind == ChangeKind::Delete)
                && change.condition.type_ == condition.type_
        })
    };
    let mut result: Vec<Condition> = conditions.iter().filter(|c| !gone(c)).cloned().collect();
    for change in changes.iter().filter(|change| change.kind != ChangeKind::Delete) {
        match result.iter_mut().find(|c| c.type_ == change.condition.type_) {
            Some(entry) => *entry = change.condition.clone(),
            None => result.push(change.condition.clone()),
        }
    }
    result
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
