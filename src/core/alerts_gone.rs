//! Whether the alerts that caused a remediation are gone. Not to be listed is no proof: what a sync may not clear a
//! condition by, a node may not be given back by (spec §6.3 of sync).

use std::collections::BTreeSet;

use super::clusters::{Clusters, Learning, Ours, Scope, ours};
use super::condition::SourceState;
use super::matcher::Matcher;
use super::memory::Memory;
use super::node::{FALSE, Node};
use super::remediation::Reason;
use super::selection::{SelectionPolicy, condition_type};
use super::source::{Canary, Gathered, Group, JudgedMember, Trust, Verdict, WATCHDOG, gather};
use super::verify::AlertsSeen;

/// What is looked for, and what earlier looks have left.
#[derive(Debug, Clone)]
pub struct AlertsGone {
    node: String,
    /// The types of the conditions.
    reasons: BTreeSet<String>,
    policy: SelectionPolicy,
    cluster_label: String,
    filters: Vec<Matcher>,
    canary: Canary,
    canary_was_seen: bool,
    clusters: Clusters,
    /// Looks in a row that found none at sources that can be trusted.
    found_none: u32,
}

impl AlertsGone {
    /// `None` if no alert has caused the run. `known`: by rounds of sync.
    pub fn new(
        node: &str,
        reasons: &[Reason],
        policy: &SelectionPolicy,
        cluster_label: &str,
        filters: &[Matcher],
        canary: &Canary,
        known: &Memory,
    ) -> Option<Self> {
        let reasons: BTreeSet<String> = reasons
            .iter()
            .map(|reason| reason.condition_type.clone())
            .filter(|type_| type_ != "Ready")
            .collect();
        // A silenced alert fires, and ours may be the silence; so does one that raises no condition.
        let policy = SelectionPolicy {
            silenced: true,
            inhibited: true,
            hold_pending: true,
            strict: false,
            max_conditions: usize::MAX,
            ..policy.clone()
        };
        (!reasons.is_empty()).then(|| Self {
            node: node.to_owned(),
            reasons,
            policy,
            cluster_label: cluster_label.to_owned(),
            filters: filters.to_vec(),
            canary: canary.clone(),
            canary_was_seen: known.canary.as_deref() == Some(WATCHDOG),
            clusters: known.clusters.clone(),
            found_none: 0,
        })
    }

    /// Judges one round of answers; `nodes` are all there are.
    pub fn look(&mut self, groups: Vec<Group>, nodes: &[Node]) -> AlertsSeen {
        let found_none = std::mem::take(&mut self.found_none);
        let scope = Scope {
            policy: &self.policy,
            cluster_label: &self.cluster_label,
            filters: &self.filters,
            known: &self.clusters,
        };
        let Gathered { alerts, watchdogs, trust } =
            gather(groups, &self.canary, self.canary_was_seen, scope.own());
        self.canary_was_seen |= trust.state == SourceState::Full && trust.sees_canary;
        let Some(place) = nodes.iter().position(|node| node.name == self.node) else {
            return AlertsSeen::Untrusted("the node is not listed".to_owned());
        };
        let learning =
            if trust.state == SourceState::Full { Learning::Allowed } else { Learning::Incomplete };
        let Ours { selection, clusters, doubt } = ours(&alerts, &watchdogs, nodes, &scope, learning);
        self.clusters = clusters;
        let firing: Vec<String> = self
            .reasons
            .iter()
            .filter(|type_| selection.firing[place].contains_key(*type_) || selection.may_fire(place, type_))
            .cloned()
            .collect();
        if !firing.is_empty() {
            return AlertsSeen::Firing(firing);
        }
        if let Some(foreign) = self.reasons.iter().find(|type_| !self.policy.prefix.owns(type_)) {
            let why = format!("{foreign} has another prefix than --prefix {}", self.policy.prefix);
            return AlertsSeen::Untrusted(why);
        }
        if trust.state != SourceState::Full {
            return AlertsSeen::Untrusted(why_not(&trust));
        }
        let is_reason = |rule: &str| self.reasons.contains(&condition_type(&self.policy.prefix, rule));
        let mut unevaluated = trust.unevaluated().into_iter();
        if let Some((rule, (member, why))) = unevaluated.find(|(rule, _)| is_reason(rule)) {
            return AlertsSeen::Untrusted(format!("{} did not evaluate the rule {rule}: {why}", member.name));
        }
        if doubt.is_some_and(|doubt| doubt.matters()) {
            return AlertsSeen::Untrusted(format!(
                "alerts of several clusters match nodes here; choose this one's by --filter '{}'",
                Matcher::equal(&self.cluster_label, "...")
            ));
        }
        let shows_something = || {
            let mut conditions = nodes.iter().flat_map(|node| &node.conditions);
            conditions.any(|one| one.status != FALSE && self.policy.prefix.owns(&one.type_))
        };
        let fires_elsewhere = self.reasons.iter().find(|type_| selection.unmatched_types.contains(*type_));
        if let Some(type_) = fires_elsewhere
            && selection.matches_nothing()
            && shows_something()
        {
            return AlertsSeen::Untrusted(format!(
                "an alert of {type_} fires, and none that fires names a node here"
            ));
        }
        self.found_none = found_none.saturating_add(1);
        if trust.has_unasked_members && self.found_none < 2 {
            return AlertsSeen::Untrusted("a source has members that are not asked".to_owned());
        }
        AlertsSeen::Gone
    }
}

/// What is wrong with the first group that is not trusted.
fn why_not(trust: &Trust) -> String {
    let is_full = |group: &&Vec<JudgedMember>| group.iter().any(|member| member.verdict == Verdict::Ok);
    let members = trust.groups.iter().filter(|group| !is_full(group)).flatten();
    let reasons = members.filter_map(|member| match &member.verdict {
        Verdict::Ok => None,
        Verdict::Failed(failure) => Some(failure.what.clone()),
        Verdict::Warming(warming) => Some(format!(
            "{} started {}s ago; its silence is believed from {} (--warmup)",
            member.name,
            warming.up_for.as_secs(),
            warming.until.strftime("%H:%M:%SZ")
        )),
        Verdict::Warned(warnings) => Some(format!(
            "the list of {} is not complete: {}",
            member.name,
            warnings.first().map_or("", String::as_str)
        )),
    });
    let mut reasons: Vec<String> = reasons.collect();
    reasons.truncate(1);
    reasons.pop().unwrap_or_else(|| "none of the source's endpoints is ready".to_owned())
}

#[cfg(test)]
#[path = "alerts_gone_tests.rs"]
mod tests;
