//! Which alerts count, and which one speaks for a condition: alerts × nodes → the conditions that should be True.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;

use super::alert::{Alert, Priority, Severity};
use super::expression::{self, Expression, Verdict};
use super::gates::listed;
use super::matching::{Match, NodeIndex};
use super::node::{FALSE, Node};
use super::prefix::Prefix;

/// The longest condition type that Kubernetes' own validation of conditions would take, in bytes.
const MAX_TYPE: usize = 316;

/// How alerts are selected (spec §6.2).
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub struct SelectionPolicy {
    pub prefix: Prefix,
    /// The labels that name a node, in order.
    pub node_labels: Vec<String>,
    /// Decides in place of them (`--match-expr`).
    pub expression: Option<Expression>,
    pub priority_label: String,
    /// The priority of alerts that carry none, by their severity.
    pub severity_priority: BTreeMap<String, Priority>,
    /// Alerts with a malformed priority are skipped.
    pub strict: bool,
    /// Silenced alerts count.
    pub silenced: bool,
    /// Inhibited alerts count.
    pub inhibited: bool,
    /// Pending alerts keep the conditions that are True.
    pub hold_pending: bool,
    /// The longest message, in characters.
    pub max_message: usize,
    /// How many conditions a node may have of us before further ones are left out.
    pub max_conditions: usize,
}

impl Default for SelectionPolicy {
    fn default() -> Self {
        Self {
            prefix: Prefix::default(),
            node_labels: super::matching::NODE_LABELS.map(String::from).to_vec(),
            expression: None,
            priority_label: "priority".into(),
            severity_priority: BTreeMap::new(),
            strict: false,
            silenced: false,
            inhibited: true,
            hold_pending: true,
            max_message: 1024,
            max_conditions: 64,
        }
    }
}

/// The conditions that should be True, and what became of the alerts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// For each node, in the order given: condition type → message.
    pub firing: Vec<BTreeMap<String, String>>,
    /// For each node, the types whose alert is there but does not count: it is silenced, inhibited or pending.
    pub suppressed: Vec<BTreeSet<String>>,
    /// For each node, those of them that stay True if they are.
    pub pending: Vec<BTreeSet<String>>,
    /// For each node, the types of alerts that may be about it, or about another.
    pub ambiguous: Vec<BTreeSet<String>>,
    pub counts: Counts,
    /// Values of the cluster label that the matched alerts carry.
    pub clusters: BTreeSet<String>,
    /// Names of nodes that are known by their short names alone, and that alerts call by full names of several domains.
    pub doubted: BTreeSet<String>,
    /// The condition types of alerts that no node answers to, or more than one.
    pub unmatched_types: BTreeSet<String>,
    /// Up to three of these alerts, as text.
    pub unmatched_examples: Vec<String>,
    /// Up to three alerts that more than one node answers to: by which names, and which nodes.
    pub ambiguous_examples: Vec<String>,
}

/// What became of the alerts of a round.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub alerts: usize,
    pub matched: usize,
    pub unmatched: usize,
    pub ambiguous: usize,
    /// Alerts that the expression matches with no node, whatever its name.
    pub excluded: usize,
    /// Alerts that the expression cannot judge.
    pub expression_errors: usize,
    pub no_alertname: usize,
    pub silenced: usize,
    pub inhibited: usize,
    /// Alerts of other clusters than this one.
    pub other_clusters: usize,
    /// Not firing yet, or no longer known to.
    pub pending: usize,
    /// Alerts on our own conditions, which would keep themselves firing for ever.
    pub feedback: usize,
    pub malformed_priority: usize,
    /// Skipped by `--strict`.
    pub strict: usize,
    /// Conditions beyond `--max-conditions`.
    pub dropped: usize,
}

impl Selection {
    /// Alerts fire, and none of them speaks of a node here: a sign of labels that do not fit. Those that an expression
    /// excludes or cannot judge are none: a Prometheus lists all alerts, and its Watchdog never stops.
    pub fn matches_nothing(&self) -> bool {
        self.counts.unmatched + self.counts.ambiguous > 0 && self.counts.matched == 0
    }

    /// Whether the alert of this type may fire on the node at `place`, though it makes no condition True.
    pub(super) fn may_fire(&self, place: usize, condition_type: &str) -> bool {
        self.pending[place].contains(condition_type) || self.ambiguous[place].contains(condition_type)
    }

    /// What only `certain` has fires; all else that is listed here keeps what is True, and no more.
    pub(super) fn hold_all_but(&mut self, certain: Self) {
        let all = std::mem::replace(&mut self.firing, certain.firing);
        for ((pending, all), firing) in self.pending.iter_mut().zip(all).zip(&self.firing) {
            pending.extend(all.into_keys().filter(|condition_type| !firing.contains_key(condition_type)));
        }
    }
}

/// An alert that speaks for a condition, and its rank among those that do.
#[derive(Debug, Clone, Copy)]
struct Candidate<'a> {
    priority: Priority,
    severity: Severity,
    starts_at: Timestamp,
    fingerprint: u64,
    alert: &'a Alert,
}

impl<'a> Candidate<'a> {
    fn new(alert: &'a Alert, priority: Priority, fingerprint: u64) -> Self {
        let starts_at = alert.starts_at.unwrap_or(Timestamp::MAX);
        Self { priority, severity: alert.severity(), starts_at, fingerprint, alert }
    }

    /// A total order, so that the order in which alerts arrive never matters.
    fn rank(&self) -> (Priority, Severity, Timestamp, u64, Option<&str>) {
        (self.priority, self.severity, self.starts_at, self.fingerprint, self.alert.text())
    }
}

/// How alerts are matched with nodes: by the labels that name one, or by an expression.
enum Matching<'a> {
    Labels(NodeIndex<'a>),
    Expression(expression::Matching<'a>),
}

impl<'a> Matching<'a> {
    fn new(nodes: &'a [Node], policy: &'a SelectionPolicy) -> Self {
        match &policy.expression {
            Some(expression) => Self::Expression(expression::Matching::new(expression, nodes)),
            None => Self::Labels(NodeIndex::new(nodes, &policy.node_labels)),
        }
    }

    /// Looks through all alerts before the first is matched; returns the places of nodes that may be mistaken.
    fn hear<'s>(
        &mut self,
        alerts: impl IntoIterator<Item = &'s Alert>,
        known: &BTreeSet<String>,
    ) -> Vec<usize> {
        let Self::Labels(index) = self else { return Vec::new() };
        index.hear(alerts, known);
        index.doubted().map(|(place, _)| place).collect()
    }

    /// The nodes that the alert speaks of, or why there is none; an expression may name several.
    fn find(&self, alert: &'a Alert) -> Result<Vec<usize>, Unapplied> {
        match self {
            Self::Labels(index) => match index.find(alert) {
                Match::Node(place) => Ok(vec![place]),
                Match::Unmatched => Err(Unapplied::Unmatched),
                Match::Ambiguous(places) => Err(Unapplied::Ambiguous(places)),
            },
            Self::Expression(matching) => match matching.find(alert) {
                Verdict::Nodes(places) => Ok(places),
                Verdict::Unmatched => Err(Unapplied::Unmatched),
                Verdict::Excluded => Err(Unapplied::Excluded),
                Verdict::Failed => Err(Unapplied::Failed),
            },
        }
    }
}

impl Matching<'_> {
    /// By which labels an alert names these nodes.
    fn describe(&self, alert: &Alert, places: &[usize], nodes: &[Node]) -> String {
        let Self::Labels(index) = self else { return String::new() };
        let name = alert.label("alertname").unwrap_or_default().escape_debug();
        let labels = pairs(index.naming(alert).into_iter());
        let named = listed(places.iter().map(|place| nodes[*place].name.as_str()));
        let other = |name: &String| {
            !alert.labels.iter().any(|(_, value)| value.to_lowercase().contains(name.as_str()))
        };
        let others = index.doubted().filter(|(place, _)| places == [*place]).flat_map(|(_, names)| names);
        match listed(others.filter(|name| other(name)).map(String::as_str)) {
            others if others.is_empty() => format!("{name} with {labels}: {named}"),
            others => format!("{name} with {labels}: {named}, or another machine, as there is {others}"),
        }
    }
}

/// Why an alert raises no condition on any node.
#[derive(Debug)]
enum Unapplied {
    Unmatched,
    /// It may be about any of these.
    Ambiguous(Vec<usize>),
    Excluded,
    Failed,
}

impl Counts {
    fn of(&mut self, reason: &Unapplied) -> &mut usize {
        match reason {
            Unapplied::Unmatched => &mut self.unmatched,
            Unapplied::Ambiguous(_) => &mut self.ambiguous,
            Unapplied::Excluded => &mut self.excluded,
            Unapplied::Failed => &mut self.expression_errors,
        }
    }
}

/// Selects among `alerts` and matches them with `nodes`; `doubted` is what an earlier round has [left](Selection::doubted).
pub fn select<'a>(
    alerts: impl IntoIterator<Item = &'a Alert> + Clone,
    nodes: &'a [Node],
    policy: &'a SelectionPolicy,
    cluster_label: &str,
    doubted: &BTreeSet<String>,
) -> Selection {
    let mut matching = Matching::new(nodes, policy);
    let doubted = matching.hear(alerts.clone(), doubted);
    let mut selection = Selection {
        firing: vec![BTreeMap::new(); nodes.len()],
        suppressed: vec![BTreeSet::new(); nodes.len()],
        pending: vec![BTreeSet::new(); nodes.len()],
        ambiguous: vec![BTreeSet::new(); nodes.len()],
        doubted: doubted.into_iter().map(|place| nodes[place].name.clone()).collect(),
        ..Selection::default()
    };
    let mut candidates: BTreeMap<usize, BTreeMap<String, Candidate<'_>>> = BTreeMap::new();
    let mut unmatched: BTreeMap<u64, &Alert> = BTreeMap::new();
    let mut ambiguous: BTreeMap<u64, (&Alert, Vec<usize>)> = BTreeMap::new();
    let mut skipped: Vec<(usize, String)> = Vec::new();

    for alert in alerts {
        let fingerprint = alert.fingerprint();
        selection.counts.alerts += 1;
        let Some((condition_type, accepted)) = accept(alert, policy, &mut selection.counts) else {
            continue;
        };
        let found = matching.find(alert);
        let priority = match accepted {
            Accepted::With(priority) => priority,
            Accepted::AsItIs => {
                skipped.extend(may_be_about(&found).iter().map(|place| (*place, condition_type.clone())));
                continue;
            }
            Accepted::Suppressed => {
                for place in may_be_about(&found) {
                    if alert.pending && policy.hold_pending {
                        selection.pending[*place].insert(condition_type.clone());
                    }
                    selection.suppressed[*place].insert(condition_type.clone());
                }
                continue;
            }
        };
        let places = match found {
            Ok(places) => places,
            Err(reason) => {
                *selection.counts.of(&reason) += 1;
                if let Unapplied::Ambiguous(places) = &reason {
                    for place in places {
                        selection.ambiguous[*place].insert(condition_type.clone());
                    }
                    keep_smallest(&mut ambiguous, fingerprint, (alert, places.clone()));
                }
                if matches!(reason, Unapplied::Unmatched | Unapplied::Ambiguous(_)) {
                    keep_smallest(&mut unmatched, fingerprint, alert);
                    selection.unmatched_types.insert(condition_type);
                }
                continue;
            }
        };
        selection.counts.matched += 1;
        if let Some(cluster) = alert.label(cluster_label) {
            selection.clusters.insert(cluster.to_owned());
        }
        let candidate = Candidate::new(alert, priority, fingerprint);
        for place in places {
            candidates
                .entry(place)
                .or_default()
                .entry(condition_type.clone())
                .and_modify(|best| {
                    if candidate.rank() < best.rank() {
                        *best = candidate;
                    }
                })
                .or_insert(candidate);
        }
    }
    for (place, by_type) in candidates {
        let kept = limit(by_type, &nodes[place], policy.max_conditions, &mut selection.counts);
        selection.firing[place] = kept
            .into_iter()
            .map(|(condition_type, winner)| (condition_type, message(&winner, policy.max_message)))
            .collect();
    }
    for (place, condition_type) in skipped {
        let shown =
            nodes[place].conditions.iter().find(|shown| shown.is_true() && shown.type_ == condition_type);
        if let Some(shown) = shown {
            selection.firing[place].entry(condition_type).or_insert_with(|| shown.message.clone());
        }
    }
    selection.unmatched_examples = unmatched.values().map(|alert| describe(alert)).collect();
    selection.ambiguous_examples =
        ambiguous.values().map(|(alert, places)| matching.describe(alert, places, nodes)).collect();
    selection
}

/// The places of the nodes that an alert is about or, if that cannot be told, may be about.
fn may_be_about(found: &Result<Vec<usize>, Unapplied>) -> &[usize] {
    match found {
        Ok(places) | Err(Unapplied::Ambiguous(places)) => places,
        Err(Unapplied::Unmatched | Unapplied::Excluded | Unapplied::Failed) => &[],
    }
}

/// The places of the nodes that each alert speaks of, whether or not it raises a condition.
pub fn nodes_of(alerts: &[Alert], nodes: &[Node], policy: &SelectionPolicy) -> Vec<Vec<usize>> {
    let mut matching = Matching::new(nodes, policy);
    matching.hear(alerts, &BTreeSet::new());
    alerts.iter().map(|alert| matching.find(alert).unwrap_or_default()).collect()
}

/// How far an alert counts.
enum Accepted {
    With(Priority),
    /// It raises no condition, by `--strict`; one that is True already stays as it is, because it does fire.
    AsItIs,
    /// It is there, so that a condition which goes is no surprise.
    Suppressed,
}

/// The alert's condition type, or `None` if it does not count at all.
fn accept(alert: &Alert, policy: &SelectionPolicy, counts: &mut Counts) -> Option<(String, Accepted)> {
    let Some(alertname) = alert.label("alertname") else {
        counts.no_alertname += 1;
        return None;
    };
    let condition_type = condition_type(&policy.prefix, alertname);
    if alert.silenced && !policy.silenced {
        counts.silenced += 1;
        return Some((condition_type, Accepted::Suppressed));
    }
    if alert.inhibited && !policy.inhibited {
        counts.inhibited += 1;
        return Some((condition_type, Accepted::Suppressed));
    }
    if alert.label("condition").is_some_and(|condition| condition.starts_with(policy.prefix.as_str())) {
        counts.feedback += 1;
        return None;
    }
    if alert.pending {
        counts.pending += 1;
        return Some((condition_type, Accepted::Suppressed));
    }
    let accepted = match alert.label(&policy.priority_label).filter(|text| !text.trim().is_empty()) {
        None => Accepted::With(default_priority(alert, policy)),
        Some(text) => {
            if let Some(priority) = Priority::parse(text) {
                Accepted::With(priority)
            } else {
                counts.malformed_priority += 1;
                counts.strict += usize::from(policy.strict);
                if policy.strict { Accepted::AsItIs } else { Accepted::With(default_priority(alert, policy)) }
            }
        }
    };
    Some((condition_type, accepted))
}

fn default_priority(alert: &Alert, policy: &SelectionPolicy) -> Priority {
    alert
        .label("severity")
        .and_then(|severity| policy.severity_priority.get(severity))
        .copied()
        .unwrap_or(Priority::DEFAULT)
}

/// What cannot be part of a type: neither letters, their accents and digits, of whatever script, nor `_.:/-`; and what
/// nobody would see.
#[expect(clippy::expect_used, reason = "a constant, and a test uses it")]
static NOT_IN_A_TYPE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[^\p{L}\p{M}\p{N}_.:/-]|\p{Default_Ignorable_Code_Point}").expect("a regular expression")
});

/// The type of the conditions that alerts of this name make.
pub(super) fn condition_type(prefix: &Prefix, alertname: &str) -> String {
    let mut condition_type = format!("{prefix}{}", NOT_IN_A_TYPE.replace_all(alertname, "_"));
    let end =
        (0..=MAX_TYPE.min(condition_type.len())).rev().find(|end| condition_type.is_char_boundary(*end));
    condition_type.truncate(end.unwrap_or_default());
    condition_type
}

/// Leaves out the least urgent conditions beyond `max`; those that the node already shows stay, so that the
/// set is stable and nothing that fires is cleared for want of room.
fn limit<'a>(
    by_type: BTreeMap<String, Candidate<'a>>,
    node: &Node,
    max: usize,
    counts: &mut Counts,
) -> Vec<(String, Candidate<'a>)> {
    let (mut kept, mut new): (Vec<_>, Vec<_>) = by_type.into_iter().partition(|(condition_type, _)| {
        // Unknown and odd statuses are shown too: left out, such an entry would be cleared while its alert fires.
        node.conditions.iter().any(|entry| entry.status != FALSE && entry.type_ == *condition_type)
    });
    new.sort_by(|(_, a), (_, b)| a.rank().cmp(&b.rank()));
    let room = max.saturating_sub(kept.len());
    counts.dropped += new.len().saturating_sub(room);
    kept.extend(new.into_iter().take(room));
    kept
}

/// `[P5] what the alert says`, one line of at most `max` characters.
fn message(winner: &Candidate<'_>, max: usize) -> String {
    let mut text = format!("[{}]", winner.priority);
    if let Some(said) = winner.alert.text() {
        text.push(' ');
        text.push_str(said);
    }
    let breaks_the_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut cut: String = text.chars().map(|c| if breaks_the_line(c) { ' ' } else { c }).take(max).collect();
    if text.chars().nth(max).is_some() {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// Three examples, the same ones whatever the order of the alerts.
fn keep_smallest<T>(examples: &mut BTreeMap<u64, T>, fingerprint: u64, example: T) {
    examples.insert(fingerprint, example);
    if examples.len() > 3 {
        examples.pop_last();
    }
}

fn describe(alert: &Alert) -> String {
    format!("{{{}}}", pairs(alert.labels.iter()))
}

fn pairs<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>) -> String {
    let labels: Vec<String> =
        labels.map(|(name, value)| format!("{}={value:?}", name.escape_debug())).collect();
    labels.join(", ")
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
