//! Conditions that stay as they are though no alert of theirs is listed for their node: it may fire nevertheless.

use std::collections::BTreeSet;

use super::condition::observed;
use super::node::{FALSE, Node};
use super::prefix::Prefix;
use super::selection::{Selection, condition_type};
use super::source::Trust;

/// For each node the types of what it shows, not False, and why that stays.
pub(super) struct Unsure<'n> {
    by_name: Vec<BTreeSet<&'n str>>,
    by_rule: Vec<BTreeSet<&'n str>>,
}

impl<'n> Unsure<'n> {
    pub(super) fn new(nodes: &'n [Node], selection: &Selection, trust: &Trust, prefix: &Prefix) -> Self {
        let rules: BTreeSet<String> =
            trust.unevaluated().into_keys().map(|name| condition_type(prefix, name)).collect();
        Self {
            // Alerts fire and none names a node here: one of this name may be that node's, by a name that is not known here.
            by_name: shown(nodes, prefix, |_, name| {
                selection.matches_nothing() && selection.unmatched_types.contains(name)
            }),
            by_rule: shown(nodes, prefix, |place, name| {
                rules.contains(name) && !selection.firing[place].contains_key(name)
            }),
        }
    }

    /// How many stay because of the name of an alert, and because of a rule.
    pub(super) fn counts(&self) -> [usize; 2] {
        [&self.by_name, &self.by_rule].map(|held| held.iter().map(BTreeSet::len).sum())
    }

    pub(super) fn of(&self, place: usize) -> impl Iterator<Item = &'n str> {
        self.by_name[place].iter().chain(&self.by_rule[place]).copied()
    }
}

fn shown<'n>(
    nodes: &'n [Node],
    prefix: &Prefix,
    is_held: impl Fn(usize, &str) -> bool,
) -> Vec<BTreeSet<&'n str>> {
    let of = |(place, node): (usize, &'n Node)| {
        let shown = observed(node, prefix).into_iter();
        let held = shown.filter(|(name, entries)| entries.current.status != FALSE && is_held(place, name));
        held.map(|(name, _)| name).collect()
    };
    nodes.iter().enumerate().map(of).collect()
}
