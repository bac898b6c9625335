//! Whose alerts are these? One Alertmanager may serve several clusters, with nodes of the same names (spec §3.7).
//!
//! Another cluster's alert would take a healthy machine out of service, so what a label says of the cluster has to be
//! known before an alert that carries it is acted on. A filter that names the label says it, and a complete round shows
//! that it is no slip. Without one, the first complete round in which only one value is listed does: on alerts that name
//! a node here or none, that are silenced or not, and on the watchdogs, which are asked for beyond receiver and filters.
//! The Lease keeps it. From then on an alert of another cluster that names a node here is refused, however many rounds it
//! is alone. As long as several values were seen and no filter chose, nothing is learnt any more.

use std::collections::{BTreeMap, BTreeSet};

use super::alert::Alert;
use super::matcher::Matcher;
use super::node::Node;
use super::selection::{Selection, SelectionPolicy, select};

/// The annotation of the Lease that keeps which value is this cluster's.
pub const CLUSTER: &str = "sciuro.dev/cluster";
const CLUSTERS_SEEN: &str = "sciuro.dev/clusters-seen";
const DOUBTED_NAMES: &str = "sciuro.dev/doubted-names";
/// How those are written.
const NODE: &str = "node";

/// Two are several; some more are for people.
const MAX_SEEN: usize = 8;
/// More names would fill the Lease; a domain whose name is not told apart has them all.
const MAX_DOUBTED: usize = 200;
/// Longer values are not kept: they would fill the Lease.
const MAX_VALUE: usize = 253;

/// What the values of the cluster label are known to mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clusters {
    label: String,
    /// This cluster's.
    own: Option<String>,
    /// Those that were seen while it is not known.
    seen: BTreeSet<String>,
    /// Nodes whose short names machines of other domains have, too ([`Selection::doubted`]).
    doubted: BTreeSet<String>,
}

impl Clusters {
    pub fn own(label: &str, value: &str) -> Self {
        Self { label: label.to_owned(), own: Some(value.to_owned()), ..Self::default() }
    }

    /// This cluster's value of the label, if it is known.
    pub fn own_value(&self, label: &str) -> Option<&str> {
        self.own.as_deref().filter(|_| self.label == label)
    }

    fn seen_of(&self, label: &str) -> impl Iterator<Item = &str> {
        self.seen.iter().filter(move |_| self.label == label).map(String::as_str)
    }

    pub(super) fn read(annotations: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| annotations.get(name).map(String::as_str).unwrap_or_default();
        let is_plain = |matcher: &Matcher| matcher.is_equality() && !matcher.value().is_empty();
        let read = |line: &str| line.parse().ok().filter(is_plain);
        let is_node = |one: &Matcher| one.name == NODE;
        let doubted = text(DOUBTED_NAMES).lines().filter_map(read).filter(is_node).take(MAX_DOUBTED);
        let doubted = doubted.map(|one| one.value().to_owned()).collect();
        if let Some(own) = read(text(CLUSTER)) {
            return Self { doubted, ..Self::own(&own.name, own.value()) };
        }
        let seen: Vec<Matcher> = text(CLUSTERS_SEEN).lines().filter_map(read).take(MAX_SEEN).collect();
        let label = seen.first().map(|first| first.name.clone()).unwrap_or_default();
        let seen = seen.iter().filter(|one| one.name == label).map(|one| one.value().to_owned()).collect();
        Self { label, own: None, seen, doubted }
    }

    /// As annotations, in Alertmanager's syntax; what is not known is empty.
    pub fn annotations(&self) -> [(&'static str, String); 3] {
        let written = |value: &String| Matcher::equal(&self.label, value).to_string();
        let seen: Vec<String> = self.seen.iter().map(written).collect();
        let doubted = self.doubted.iter().take(MAX_DOUBTED);
        let doubted: Vec<String> = doubted.map(|name| Matcher::equal(NODE, name).to_string()).collect();
        [
            (CLUSTER, self.own.as_ref().map(written).unwrap_or_default()),
            (CLUSTERS_SEEN, seen.join("\n")),
            (DOUBTED_NAMES, doubted.join("\n")),
        ]
    }
}

/// Which alerts are meant, and what is known of whose they are.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub policy: &'a SelectionPolicy,
    pub cluster_label: &'a str,
    pub filters: &'a [Matcher],
    pub known: &'a Clusters,
}

impl Scope<'_> {
    /// The nodes that earlier rounds were in doubt about, unless a filter now looks at a label that names nodes.
    fn doubted(&self) -> BTreeSet<String> {
        let labels = &self.policy.node_labels;
        let names_nodes =
            |filter: &Matcher| labels.contains(&filter.name) || filter.name.ends_with("instance");
        if self.filters.iter().any(names_nodes) { BTreeSet::new() } else { self.known.doubted.clone() }
    }

    /// Whether a filter or the expression says which clusters are meant.
    fn is_chosen(&self) -> bool {
        let expression = self.policy.expression.as_ref();
        self.filters.iter().any(|filter| filter.name == self.cluster_label)
            || expression.is_some_and(|expression| expression.names_label(self.cluster_label))
    }

    /// The value of the label that a filter asks for, which may be empty.
    pub fn said(&self) -> Option<&str> {
        let is_said = |filter: &&Matcher| filter.name == self.cluster_label && filter.is_equality();
        self.filters.iter().find(is_said).map(Matcher::value)
    }

    /// The same, or what is known to be this cluster's.
    pub fn own(&self) -> Option<&str> {
        self.said().or_else(|| self.remembered())
    }

    /// What is known to be this cluster's, if that alone says it.
    pub fn remembered(&self) -> Option<&str> {
        self.known.own_value(self.cluster_label).filter(|_| self.said().is_none())
    }
}

/// Whether this round may say which cluster this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learning {
    Allowed,
    /// Not all sources were heard: another cluster's alerts may be missing.
    Incomplete,
    /// There is no Lease that would keep it: each round would be the first.
    Forgetful,
}

/// What is selected among the alerts that may be this cluster's.
#[derive(Debug)]
pub struct Ours {
    pub selection: Selection,
    /// What the next round is to know.
    pub clusters: Clusters,
    pub doubt: Option<Doubt>,
}

/// Why alerts are not acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Several are listed, and nothing says which one this is; `matched` are those of alerts that name a node here.
    Several { seen: BTreeSet<String>, matched: BTreeSet<String> },
    /// Alerts of others than this one name nodes here.
    Others { own: String, others: BTreeSet<String> },
    /// The first of which alerts name nodes here, and this round cannot say whether it is the only one.
    Unproven { value: String, why: Learning },
}

impl Doubt {
    /// Whether an alert is concerned that names a node here.
    pub fn matters(&self) -> bool {
        !matches!(self, Self::Several { matched, .. } if matched.is_empty())
    }
}

/// Selects among the alerts that may be this cluster's. `watchdogs` are the clusters of the alerts that always fire.
pub fn ours(
    alerts: &[Alert],
    watchdogs: &BTreeSet<String>,
    nodes: &[Node],
    scope: &Scope<'_>,
    learning: Learning,
) -> Ours {
    let mut ours = of_cluster(alerts, watchdogs, nodes, scope, learning);
    ours.clusters.doubted = ours.selection.doubted.clone();
    if learning == Learning::Incomplete {
        ours.clusters.doubted.extend(scope.doubted()); // whose alerts may be among those that are missing
    }
    ours
}

fn of_cluster(
    alerts: &[Alert],
    watchdogs: &BTreeSet<String>,
    nodes: &[Node],
    scope: &Scope<'_>,
    learning: Learning,
) -> Ours {
    let Scope { policy, cluster_label: label, known, .. } = *scope;
    let doubted = &scope.doubted();
    let of_all =
        |clusters| Ours { selection: select(alerts, nodes, policy, label, doubted), clusters, doubt: None };
    if scope.is_chosen() {
        // Mistyped, it may be the reason why a round is not complete.
        let is_kept = |own: &&str| learning != Learning::Incomplete && (1..=MAX_VALUE).contains(&own.len());
        let own = scope.said().filter(is_kept);
        return of_all(own.map_or_else(|| known.clone(), |own| Clusters::own(label, own)));
    }
    if let Some(own) = known.own_value(label) {
        return known_ours(alerts, nodes, scope, own);
    }
    let Ours { selection, .. } = of_all(Clusters::default());
    let of_alerts = alerts.iter().filter_map(|alert| alert.label(label));
    let seen: BTreeSet<&str> =
        of_alerts.chain(watchdogs.iter().map(String::as_str)).chain(known.seen_of(label)).collect();
    let is_near = |value: &str| selection.clusters.contains(value) || watchdogs.contains(value);
    let matched = selection.clusters.clone();
    let doubt = match (seen.first(), seen.len()) {
        (None, _) => return Ours { selection, clusters: known.clone(), doubt: None },
        (Some(value), 1) if value.len() <= MAX_VALUE => {
            if learning == Learning::Allowed && is_near(value) {
                let clusters = Clusters::own(label, value);
                return Ours { selection, clusters, doubt: None };
            }
            let why = learning;
            (!matched.is_empty()).then(|| Doubt::Unproven { value: (*value).to_owned(), why })
        }
        _ => {
            let seen = seen.iter().take(MAX_SEEN).map(|value| (*value).to_owned()).collect();
            Some(Doubt::Several { seen, matched })
        }
    };
    let kept = seen.iter().filter(|value| value.len() <= MAX_VALUE).take(MAX_SEEN);
    let clusters = Clusters {
        label: label.to_owned(),
        own: None,
        seen: kept.map(|value| (*value).to_owned()).collect(),
        ..Clusters::default()
    };
    let mut selection = selection;
    if doubt.as_ref().is_some_and(Doubt::matters) {
        let doubted = selection.doubted.clone();
        let unlabelled = alerts.iter().filter(|alert| alert.label(label).is_none());
        selection.hold_all_but(select(unlabelled, nodes, policy, label, &doubted));
    }
    Ours { selection, clusters, doubt }
}

/// The same if it is known which value is this cluster's.
fn known_ours(alerts: &[Alert], nodes: &[Node], scope: &Scope<'_>, own: &str) -> Ours {
    let Scope { policy, cluster_label: label, known, .. } = *scope;
    let is_ours = |alert: &&Alert| alert.label(label).is_none_or(|value| value == own);
    let others = alerts.iter().filter(|alert| !is_ours(alert));
    let count = others.clone().count();
    let mut selection = select(alerts.iter().filter(is_ours), nodes, policy, label, &scope.doubted());
    selection.counts.alerts += count;
    selection.counts.other_clusters = count;
    let others = match count {
        0 => BTreeSet::new(),
        _ => select(others, nodes, policy, label, &BTreeSet::new()).clusters,
    };
    let doubt = (!others.is_empty()).then(|| Doubt::Others { own: own.to_owned(), others });
    Ours { selection, clusters: known.clone(), doubt }
}

#[cfg(test)]
#[path = "clusters_tests.rs"]
mod tests;
