//! What `sync --loop` tells Prometheus (spec §6.9), and over HTTP whether it lives and is ready.
//!
//! No label names a node: 5,000 nodes would be 5,000 series that nobody asks for.

mod serve;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::core::condition::{Change, ChangeKind, SourceState};
use crate::core::selection::Counts;
use crate::core::source::JudgedMember;

pub use serve::{Health, Server};

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabels {
    source: String,
    member: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchErrorLabels {
    source: String,
    member: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    source: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transition {
    from: &'static str,
    to: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PatchResult {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// What became of a node's patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patched {
    Written,
    Gone,
    Failed,
}

/// All metrics, from the start of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    source_up: Family<MemberLabels, Gauge>,
    source_fetch_seconds: Family<MemberLabels, Seconds>,
    source_fetch_errors: Family<FetchErrorLabels, Counter>,
    source_start_time_seconds: Family<MemberLabels, Seconds>,
    alerts: Family<AlertLabels, Gauge>,
    alerts_skipped: Family<Reason, Counter>,
    alerts_unmatched: Gauge,
    alerts_ambiguous: Gauge,
    priority_malformed: Counter,
    conditions: Family<Status, Gauge>,
    condition_transitions: Family<Transition, Counter>,
    conditions_deleted: Counter,
    conditions_dropped: Counter,
    node_patches: Family<PatchResult, Counter>,
    patch_seconds: Histogram,
    heartbeat_patches: Counter,
    round_state: Family<State, Gauge>,
    round_seconds: Histogram,
    last_success_timestamp_seconds: Seconds,
    clear_brake: Counter,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("sciuro"),
            source_up: Family::default(),
            source_fetch_seconds: Family::default(),
            source_fetch_errors: Family::default(),
            source_start_time_seconds: Family::default(),
            alerts: Family::default(),
            alerts_skipped: Family::default(),
            alerts_unmatched: Gauge::default(),
            alerts_ambiguous: Gauge::default(),
            priority_malformed: Counter::default(),
            conditions: Family::default(),
            condition_transitions: Family::default(),
            conditions_deleted: Counter::default(),
            conditions_dropped: Counter::default(),
            node_patches: Family::default(),
            patch_seconds: Histogram::new(exponential_buckets(0.002, 2.0, 14)), // 2 ms to 16 s
            heartbeat_patches: Counter::default(),
            round_state: Family::default(),
            round_seconds: Histogram::new(exponential_buckets(0.05, 2.0, 12)), // 50 ms to 102 s
            last_success_timestamp_seconds: Seconds::default(),
            clear_brake: Counter::default(),
            leader: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        // A counter's name gets `_total` when it is written.
        registry.register(
            "source_up",
            "Whether the member was believed in the last round",
            self.source_up.clone(),
        );
        registry.register(
            "source_fetch_seconds",
            "How long the member's answers took in the last round",
            self.source_fetch_seconds.clone(),
        );
        registry.register(
            "source_fetch_errors",
            "Rounds in which the member was not believed",
            self.source_fetch_errors.clone(),
        );
        registry.register(
            "source_start_time_seconds",
            "When the member started, in seconds since 1970",
            self.source_start_time_seconds.clone(),
        );
        registry.register("alerts", "Alerts listed in the last round", self.alerts.clone());
        registry.register("alerts_skipped", "Alerts that did not count", self.alerts_skipped.clone());
        registry.register(
            "alerts_unmatched",
            "Alerts that speak of no node, in the last round",
            self.alerts_unmatched.clone(),
        );
        registry.register(
            "alerts_ambiguous",
            "Alerts that more than one node answers to, in the last round",
            self.alerts_ambiguous.clone(),
        );
        registry.register(
            "priority_malformed",
            "Alerts whose priority cannot be read",
            self.priority_malformed.clone(),
        );
        registry.register("conditions", "Our conditions after the last round", self.conditions.clone());
        registry.register(
            "condition_transitions",
            "Conditions that were written with another status",
            self.condition_transitions.clone(),
        );
        registry.register(
            "conditions_deleted",
            "Conditions that were deleted",
            self.conditions_deleted.clone(),
        );
        registry.register(
            "conditions_dropped",
            "Conditions that were left out by --max-conditions",
            self.conditions_dropped.clone(),
        );
        registry.register("node_patches", "Patches of nodes", self.node_patches.clone());
        registry.register("patch_seconds", "How long the patch of a node took", self.patch_seconds.clone());
        registry.register(
            "heartbeat_patches",
            "Patches of nodes that only confirmed conditions",
            self.heartbeat_patches.clone(),
        );
        registry.register(
            "round_state",
            "How far the sources were trusted in the last round",
            self.round_state.clone(),
        );
        registry.register("round_seconds", "How long a round took", self.round_seconds.clone());
        registry.register(
            "last_success_timestamp_seconds",
            "When a round was last complete, in seconds since 1970",
            self.last_success_timestamp_seconds.clone(),
        );
        registry.register(
            "clear_brake",
            "Rounds in which --max-clear held clears back",
            self.clear_brake.clone(),
        );
        registry.register("leader", "Whether this process writes", self.leader.clone());
    }

    /// What one member of a source, such as `alertmanager-0`, did. `forget_members` first: a pod that is gone has no series.
    pub fn member(&self, source: &str, member: &JudgedMember) {
        let labels = MemberLabels { source: source.to_owned(), member: member.name.clone() };
        let failure = member.verdict.failure_reason();
        self.source_up.get_or_create(&labels).set(i64::from(failure.is_none()));
        self.source_fetch_seconds.get_or_create(&labels).set(member.took.as_secs_f64());
        if let Some(started) = member.started {
            self.source_start_time_seconds.get_or_create(&labels).set(seconds(started));
        }
        if let Some(reason) = failure {
            let MemberLabels { source, member } = labels;
            let labels = FetchErrorLabels { source, member, reason: reason.name() };
            self.source_fetch_errors.get_or_create(&labels).inc();
        }
        for (state, count) in [("firing", member.alerts - member.pending), ("pending", member.pending)] {
            let labels = AlertLabels { source: source.to_owned(), state };
            let gauge = self.alerts.get_or_create(&labels);
            gauge.set(gauge.get().max(whole(count))); // replicas list the same alerts
        }
    }

    /// Before the members of a round.
    pub fn forget_members(&self) {
        self.source_up.clear();
        self.source_fetch_seconds.clear();
        self.source_start_time_seconds.clear();
        self.alerts.clear();
    }

    /// What became of the alerts of a round.
    pub fn selection(&self, counts: &Counts) {
        for (reason, count) in [
            ("no_alertname", counts.no_alertname),
            ("silenced", counts.silenced),
            ("inhibited", counts.inhibited),
            ("feedback", counts.feedback),
            ("strict", counts.strict),
        ] {
            self.alerts_skipped.get_or_create(&Reason { reason }).inc_by(count as u64);
        }
        self.alerts_unmatched.set(whole(counts.unmatched));
        self.alerts_ambiguous.set(whole(counts.ambiguous));
        self.priority_malformed.inc_by(counts.malformed_priority as u64);
        self.conditions_dropped.inc_by(counts.dropped as u64);
    }

    /// One node's patch and what it was for.
    pub fn patch(&self, changes: &[Change], result: Patched, took: Duration) {
        let label = match result {
            Patched::Written => "written",
            Patched::Gone => "gone",
            Patched::Failed => "failed",
        };
        self.node_patches.get_or_create(&PatchResult { result: label }).inc();
        self.patch_seconds.observe(took.as_secs_f64());
        if result != Patched::Written {
            return;
        }
        if changes.iter().all(|change| change.kind == ChangeKind::Heartbeat) {
            self.heartbeat_patches.inc();
        }
        for change in changes {
            match change.kind {
                ChangeKind::Delete => drop(self.conditions_deleted.inc()),
                ChangeKind::Add | ChangeKind::Transition => {
                    let from = change.was.as_deref().map_or("none", status_label);
                    let to = status_label(&change.condition.status);
                    self.condition_transitions.get_or_create(&Transition { from, to }).inc();
                }
                ChangeKind::Update | ChangeKind::Heartbeat => {}
            }
        }
    }

    /// How many conditions of ours there are, by status.
    pub fn conditions<'c>(&self, statuses: impl Iterator<Item = &'c str>) {
        let mut counts = [("True", 0), ("False", 0), ("Unknown", 0), ("other", 0)];
        for status in statuses {
            let label = status_label(status);
            counts.iter_mut().filter(|(name, _)| *name == label).for_each(|(_, count)| *count += 1);
        }
        for (status, count) in counts {
            self.conditions.get_or_create(&Status { status }).set(count);
        }
    }

    /// The end of a round; `success` if it was FULL and nothing failed.
    pub fn round(&self, state: SourceState, took: Duration, success: Option<Timestamp>, brake_held: bool) {
        for (label, this) in
            [("full", SourceState::Full), ("partial", SourceState::Partial), ("down", SourceState::Down)]
        {
            self.round_state.get_or_create(&State { state: label }).set(i64::from(this == state));
        }
        self.round_seconds.observe(took.as_secs_f64());
        if let Some(at) = success {
            self.last_success_timestamp_seconds.set(seconds(at));
        }
        if brake_held {
            self.clear_brake.inc();
        }
    }

    pub fn leader(&self, is_leader: bool) {
        self.leader.set(i64::from(is_leader));
    }

    /// The text that a scrape gets, in the `OpenMetrics` format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// Statuses come from outside: only the known ones become labels.
fn status_label(status: &str) -> &'static str {
    match status {
        "True" => "True",
        "False" => "False",
        "Unknown" => "Unknown",
        _ => "other",
    }
}

#[allow(clippy::cast_precision_loss)] // exact until the year 285,000
fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "metrics/tests.rs"]
mod tests;
