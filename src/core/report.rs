//! The rows of `status`: which conditions are shown, how urgent they are, and whether the picture is fresh.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};
use regex::Regex;

use super::alert::Priority;
use super::condition::{FIRING, NOT_FIRING, UNAVAILABLE};
use super::memory::{Memory, is_past};
use super::node::{Condition, Node};
use super::prefix::Prefix;
use super::remediation::RecordSeen;
use super::standing::Standing;

/// A full sync is fresh for three of its intervals, and for this long at least (spec `status`).
const FRESH_AT_LEAST: SignedDuration = SignedDuration::from_mins(15);
/// The Lease says what the intervals are, and anyone who may write it may say anything: a picture of yesterday is old.
const FRESH_AT_MOST: SignedDuration = SignedDuration::from_hours(24);

/// A node with what `status` shows of it besides its conditions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShownNode {
    pub node: Node,
    pub labels: BTreeMap<String, String>,
    /// It is cordoned.
    pub unschedulable: bool,
    /// What was written on it about one that has not ended.
    pub remediation: RecordSeen,
}

impl ShownNode {
    /// `Ready`, `NotReady` or `Unknown`, with `,SchedulingDisabled`: kubectl's column STATUS.
    pub fn status(&self) -> String {
        let ready = self.node.conditions.iter().find(|condition| condition.type_ == "Ready");
        let status = match ready {
            Some(ready) if ready.is_true() => "Ready",
            Some(_) => "NotReady",
            None => "Unknown",
        };
        let cordoned = if self.unschedulable { ",SchedulingDisabled" } else { "" };
        format!("{status}{cordoned}")
    }

    /// Since when its remediation is at its step.
    pub fn remediation_since(&self) -> Option<Timestamp> {
        match &self.remediation {
            RecordSeen::Readable(record) => Some(record.since),
            RecordSeen::None | RecordSeen::Unreadable(_) => None,
        }
    }

    /// The roles of its labels, sorted, as kubectl's column ROLES.
    pub fn roles(&self) -> Vec<&str> {
        let mut roles: Vec<&str> = self
            .labels
            .iter()
            .filter_map(|(label, value)| match label.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None => (label == "kubernetes.io/role").then_some(value.as_str()),
            })
            .filter(|role| !role.is_empty())
            .collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

/// Which conditions are shown.
#[derive(Debug, Clone)]
pub struct Filter {
    pub prefix: Prefix,
    /// Conditions with the default prefix are ours, too: somebody else than the user has named another one.
    pub default_too: bool,
    /// Types to show instead of those with our prefix.
    pub condition: Option<Regex>,
    /// Also what is fine, and what is not ours.
    pub all: bool,
    /// Only these priorities.
    pub priorities: Option<RangeInclusive<Priority>>,
}

impl Filter {
    fn shows(&self, condition: &Condition) -> bool {
        let is_meant = match &self.condition {
            Some(pattern) => pattern.is_match(&condition.type_),
            None => self.all || self.owns(condition),
        };
        is_meant && (self.all || self.standing(condition) != Standing::Fine)
    }

    fn standing(&self, condition: &Condition) -> Standing {
        // One that is asked for by its type may have a prefix of which nobody told us.
        let is_syncs = [FIRING, NOT_FIRING, UNAVAILABLE].contains(&&*condition.reason);
        Standing::of(condition, self.owns(condition) || is_syncs)
    }

    fn owns(&self, condition: &Condition) -> bool {
        let type_ = &condition.type_;
        self.prefix.owns(type_) || self.default_too && Prefix::default().owns(type_)
    }
}

/// What the sync Lease says of the last full round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastFull {
    pub at: Timestamp,
    /// How often rounds are run.
    pub interval: SignedDuration,
    /// How often conditions that still fire are confirmed; zero: never.
    pub heartbeat: SignedDuration,
}

impl LastFull {
    /// What the Lease says of it, unless it lies in the future. What it does not say is taken for the default.
    pub fn of(memory: &Memory, now: Timestamp) -> Option<Self> {
        Some(Self {
            at: memory.last_full.filter(|at| is_past(*at, now))?,
            interval: memory.interval.unwrap_or(SignedDuration::from_mins(1)),
            heartbeat: memory.heartbeat_interval.unwrap_or(SignedDuration::from_mins(5)),
        })
    }

    /// How old a picture may be and still be believed, if it is renewed so often.
    fn patience(interval: SignedDuration) -> SignedDuration {
        interval.saturating_mul(3).clamp(FRESH_AT_LEAST, FRESH_AT_MOST)
    }

    /// Whether what is not shown can be taken as not firing.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) < Self::patience(self.interval)
    }
}

/// One condition of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'n> {
    pub node: &'n ShownNode,
    pub condition: &'n Condition,
    pub standing: Standing,
    /// It is one that sync writes.
    pub owned: bool,
    pub priority: Option<Priority>,
    /// Without the priority that it begins with.
    pub message: &'n str,
    /// For how long nobody has confirmed it, if that is too long.
    pub stale: Option<SignedDuration>,
}

impl<'n> Row<'n> {
    pub fn new(
        node: &'n ShownNode,
        condition: &'n Condition,
        filter: &Filter,
        last_full: Option<LastFull>,
        now: Timestamp,
    ) -> Self {
        let (priority, message) = split_priority(&condition.message);
        let (standing, owned) = (filter.standing(condition), filter.owns(condition));
        let stale = stale(condition, filter, last_full, now);
        Self { node, condition, standing, owned, priority, message, stale }
    }
}

/// The rows, most urgent first: by priority, then oldest, node and type; Unknown after what fires, and what is fine last.
pub fn rows<'n>(
    nodes: impl IntoIterator<Item = &'n ShownNode>,
    filter: &Filter,
    last_full: Option<LastFull>,
    now: Timestamp,
) -> Vec<Row<'n>> {
    let mut rows: Vec<Row<'n>> = nodes
        .into_iter()
        .flat_map(|node| node.node.conditions.iter().map(move |condition| (node, condition)))
        .filter(|(_, condition)| filter.shows(condition))
        .map(|(node, condition)| Row::new(node, condition, filter, last_full, now))
        .filter(|row| {
            let wanted = filter.priorities.as_ref();
            wanted.is_none_or(|wanted| row.priority.is_some_and(|priority| wanted.contains(&priority)))
        })
        .collect();
    rows.sort_by(|a, b| key(a).cmp(&key(b)));
    rows
}

/// The nodes with a remediation that has not ended, those first that have stood longest.
pub fn unfinished<'n>(nodes: impl IntoIterator<Item = &'n ShownNode>) -> Vec<&'n ShownNode> {
    let mut found: Vec<&ShownNode> =
        nodes.into_iter().filter(|node| node.remediation != RecordSeen::None).collect();
    found.sort_by_key(|node| (node.remediation_since().unwrap_or(Timestamp::MAX), &node.node.name));
    found
}

fn key<'r>(row: &'r Row<'_>) -> impl Ord + use<'r> {
    let priority = (row.priority.is_none(), row.priority);
    let since = row.condition.last_transition.map_or((true, Timestamp::MAX), |since| (false, since));
    (
        row.standing,
        priority,
        since,
        &row.node.node.name,
        &row.condition.type_,
        Reverse(&row.condition.message),
    )
}

/// `[P5] text` → P5 and `text`, which is the alert's own, white space and all.
fn split_priority(message: &str) -> (Option<Priority>, &str) {
    let split = message.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match split.and_then(|(tag, text)| Some((Priority::parse(tag.strip_prefix('P')?)?, text))) {
        Some((priority, text)) => (Some(priority), text.strip_prefix(' ').unwrap_or(text)),
        None => (None, message),
    }
}

/// Judged by the condition's own heartbeat, and where sync is said to write none by the last full round as well; never for
/// conditions of others.
fn stale(
    condition: &Condition,
    filter: &Filter,
    last_full: Option<LastFull>,
    now: Timestamp,
) -> Option<SignedDuration> {
    if !filter.owns(condition) || !condition.is_true() {
        return None;
    }
    let full = last_full.map(|full| full.at);
    let (confirmed, interval) = match last_full {
        Some(LastFull { heartbeat, interval, .. }) if heartbeat.is_zero() => {
            (condition.last_heartbeat.max(full), interval)
        }
        Some(LastFull { heartbeat, interval, .. }) => {
            (condition.last_heartbeat.or(full), interval.max(heartbeat))
        }
        None => (condition.last_heartbeat, SignedDuration::ZERO),
    };
    let age = now.duration_since(confirmed?);
    (age > LastFull::patience(interval)).then_some(age)
}

/// `119s`, `9m30s`, `5h3m`, `47h`, `7d5h`, `400d`, `2y35d`: kubectl's ages
/// (`k8s.io/apimachinery/pkg/util/duration`, `HumanDuration`).
pub fn human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let with_rest = |whole: i64, unit: &str, rest: i64, rest_unit: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{rest_unit}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => with_rest(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => with_rest(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => with_rest(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => with_rest(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
