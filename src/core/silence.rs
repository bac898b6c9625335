//! Silences of a node's alerts: which ones are to be silenced, and which silence is ours.
//!
//! A silence holds for alerts that nobody has seen yet. It is never wider than one node of one cluster: rather than that,
//! there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use super::alert::Alert;
use super::clusters::Scope;
use super::matcher::{Matcher, written};
use super::matching::{Match, NodeIndex, is_own_name};
use super::node::Node;
use super::null::null_is_default;
use super::selection::nodes_of;

/// How long a silence lasts that nobody extends.
pub const LASTS: SignedDuration = SignedDuration::from_mins(15);

const CREATED_BY: &str = "kubectl-sciuro";
/// The label by which Kubernetes' own exporters and rules name nodes.
const USUAL_LABEL: &str = "node";

/// One condition of a silence, as Alertmanager spells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceMatcher {
    pub name: String,
    pub value: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub is_regex: bool,
    /// Alertmanagers before 0.22 knew nothing else.
    #[serde(default = "yes", deserialize_with = "yes_if_null")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

fn yes_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(yes))
}

impl SilenceMatcher {
    fn equal(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), is_regex: false, is_equal: true }
    }

    /// For one that asks for equality. An absent label is an empty one.
    fn matches(&self, alert: &Alert) -> bool {
        alert.label(&self.name).unwrap_or_default() == self.value
    }
}

impl fmt::Display for SilenceMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match (self.is_equal, self.is_regex) {
            (true, false) => "=",
            (true, true) => "=~",
            (false, false) => "!=",
            (false, true) => "!~",
        };
        f.write_str(&written(&self.name, operator, &self.value))
    }
}

/// A silence, as Alertmanager gives and takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// Empty = a new one.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub matchers: Vec<SilenceMatcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    #[serde(default, deserialize_with = "null_is_default")]
    pub created_by: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub comment: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing)]
    status: Status,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "null_is_default")]
    state: String,
}

impl Silence {
    /// For the remediation `id` of `node`, from now on, by the Alertmanager's clock.
    pub fn new(node: &str, id: &str, actor: &str, matchers: Vec<SilenceMatcher>, now: Timestamp) -> Self {
        Self {
            id: String::new(),
            matchers,
            starts_at: now,
            ends_at: now.saturating_add(LASTS).unwrap_or(now),
            created_by: format!("{CREATED_BY} ({actor})"),
            comment: comment(node, id),
            status: Status::default(),
        }
    }

    #[must_use]
    pub fn with_id(self, id: String) -> Self {
        Self { id, ..self }
    }

    /// The same, lasting from now on.
    #[must_use]
    pub fn extended(self, now: Timestamp) -> Self {
        Self { ends_at: now.saturating_add(LASTS).unwrap_or(now), ..self }
    }

    /// Nobody has expired it, and its time is not over.
    pub fn is_active(&self) -> bool {
        self.status.state == "active"
    }

    /// Whether it is ours, of this remediation of this node. An id proves nothing: it may come from the record, which any
    /// kubelet can write.
    pub fn is_of(&self, node: &Node, id: &str, node_labels: &[String]) -> bool {
        let nodes = std::slice::from_ref(node);
        let index = NodeIndex::new(nodes, node_labels);
        let names_it = |matcher: &SilenceMatcher| {
            matcher.is_equal && !matcher.is_regex && names(&index, &matcher.name, &matcher.value, nodes, 0)
        };
        let is_by_us =
            self.created_by == CREATED_BY || self.created_by.starts_with(&format!("{CREATED_BY} ("));
        is_by_us && self.comment == comment(&node.name, id) && self.matchers.iter().any(names_it)
    }
}

fn comment(node: &str, id: &str) -> String {
    format!("kubectl sciuro remediates node/{node}, remediation {id}")
}

/// What a silence for a node is to match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Silenced {
    /// Empty = nothing is silenced.
    pub matchers: Vec<SilenceMatcher>,
    /// How many of the node's alerts that misses, and how many there are.
    pub missed: usize,
    pub alerts: usize,
}

/// The matchers of a silence for `nodes[target]`, or why there are none.
///
/// A silence has one label for the node: the one that its alerts carry now or, if it has none, `node` with its name. What
/// another label names first is another node's and not silenced. An address, or a name that only the kubelet says is its
/// node's, may be another machine's and is never silenced.
pub fn matchers(
    alerts: &[Alert],
    nodes: &[Node],
    target: usize,
    scope: Scope<'_>,
) -> Result<Silenced, String> {
    let Scope { policy, cluster_label, .. } = scope;
    let is_foreign = |cluster: &str| scope.own().is_some_and(|own| own != cluster);
    let index = NodeIndex::new(nodes, &policy.node_labels);
    let mut candidates: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    let mut clusters = BTreeSet::new();
    let mut own = Vec::new();
    for (alert, places) in alerts.iter().zip(nodes_of(alerts, nodes, policy)) {
        let cluster = alert.label(cluster_label);
        if places.is_empty() || cluster.is_some_and(is_foreign) {
            continue;
        }
        clusters.extend(cluster);
        if places != [target] {
            continue;
        }
        own.push(alert);
        for (order, label) in index.labels().enumerate() {
            let Some(value) = alert.label(label) else { continue };
            if names(&index, label, value, nodes, target)
                && index.before(label).all(|other| alert.label(other).is_none())
            {
                *candidates.entry((order, value)).or_default() += 1;
            }
        }
    }
    // The first label, then what most alerts carry.
    let chosen = candidates.iter().min_by_key(|((order, _), count)| (*order, std::cmp::Reverse(**count)));
    let (label, value) = match chosen {
        Some(((order, value), _)) => (index.labels().nth(*order).unwrap_or(USUAL_LABEL), *value),
        None => (USUAL_LABEL, nodes[target].name.as_str()),
    };
    let is_known = policy.expression.is_none() && policy.node_labels.iter().any(|known| known == label);
    if chosen.is_none() && !(is_known && names(&index, label, value, nodes, target)) {
        return Err("none of its alerts carries a label with its name, and no other node's".to_owned());
    }
    let mut matchers = vec![SilenceMatcher::equal(label, value)];
    matchers.extend(cluster(&clusters, alerts, scope)?);
    matchers.extend(index.before(label).map(|other| SilenceMatcher::equal(other, "")));
    let is_missed = |alert: &&&Alert| !matchers.iter().all(|matcher| matcher.matches(alert));
    Ok(Silenced { missed: own.iter().filter(is_missed).count(), alerts: own.len(), matchers })
}

/// What tells this cluster's nodes from those of others that have the same names. `ours` are the clusters of the alerts that
/// name a node here.
fn cluster(
    ours: &BTreeSet<&str>,
    alerts: &[Alert],
    scope: Scope<'_>,
) -> Result<Option<SilenceMatcher>, String> {
    let mut ours = ours.iter();
    let Scope { cluster_label, .. } = scope;
    let is_labelled = alerts.iter().any(|alert| alert.label(cluster_label).is_some());
    match (ours.next(), ours.next()) {
        (Some(cluster), None) => Ok(Some(SilenceMatcher::equal(cluster_label, cluster))),
        (None, _) => match scope.said().or_else(|| scope.own().filter(|_| is_labelled)) {
            Some(own) => Ok(Some(SilenceMatcher::equal(cluster_label, own))),
            None if !is_labelled => Ok(None),
            None => Err(format!(
                "alerts here carry a label {cluster_label}, and none of this cluster's is among them: {}",
                choose(cluster_label)
            )),
        },
        _ => Err(format!("alerts of several clusters name nodes here: {}", choose(cluster_label))),
    }
}

fn choose(cluster_label: &str) -> String {
    format!("choose this one's by --filter '{}'", Matcher::equal(cluster_label, "..."))
}

/// Whether this label names `nodes[target]` and no other, by a name that its kubelet has not chosen.
fn names(index: &NodeIndex<'_>, label: &str, value: &str, nodes: &[Node], target: usize) -> bool {
    let alert = Alert { labels: [(label, value)].into(), ..Alert::default() };
    is_own_name(&nodes[target].name, value) && index.find(&alert) == Match::Node(target)
}

#[cfg(test)]
#[path = "silence_tests.rs"]
mod tests;
