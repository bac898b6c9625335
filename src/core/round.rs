//! One round: what the sources said and what earlier rounds left → what is written on each node, what the next round
//! is to know, and what a person should.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::brake::{self, Brake, Evidence};
use super::clusters::Clusters;
use super::condition::{Change, ConditionPolicy, Knowledge, SourceState, observed, plan};
use super::memory::{ConditionId, Held, Memory};
use super::node::{FALSE, Node};
use super::selection::Selection;
use super::source::{Canary, Trust, WATCHDOG};
use super::unsure::Unsure;

#[derive(Debug, Clone)]
pub struct RoundPolicy {
    pub conditions: ConditionPolicy,
    pub canary: Canary,
    /// Percent of the True conditions that may be cleared at once.
    pub max_clear: u8,
    /// Nothing is held back.
    pub force_clear: bool,
}

impl Default for RoundPolicy {
    fn default() -> Self {
        Self {
            conditions: ConditionPolicy::default(),
            canary: Canary::Auto,
            max_clear: 50,
            force_clear: false,
        }
    }
}

/// What a round starts from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// All nodes, in the order that `selection` has.
    pub nodes: &'a [Node],
    pub selection: &'a Selection,
    /// Alerts of several clusters match, and nothing says whose: what is new may be another cluster's.
    pub mixes_clusters: bool,
    /// What is known of clusters after this round's alerts.
    pub clusters: &'a Clusters,
    pub trust: &'a Trust,
    pub memory: &'a Memory,
    /// When the sources had answered, in whole seconds.
    pub now: Timestamp,
}

/// What a round comes to.
#[derive(Debug)]
pub struct Round {
    /// PARTIAL, too, if it could not be told which node an alert is about.
    pub state: SourceState,
    /// It is FULL but for ambiguous alerts.
    is_full: bool,
    /// For each node, what is to be written; mostly nothing.
    pub changes: Vec<Vec<Change>>,
    pub notices: Vec<Notice>,
    /// Clears that wait: places of nodes, and condition types.
    pub held: Vec<(usize, String)>,
    now: Timestamp,
    memory: Memory,
    is_complete: bool,
    is_brake_believed: bool,
}

/// What a person should know of a round besides its changes and its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Alerts fire, and none of them names a node here. So many conditions stay as they are, because one of these alerts
    /// has their name.
    NothingMatches {
        held: usize,
    },
    MixedClusters,
    /// So many conditions stay as they are, because a rule of their name was not evaluated.
    Unevaluated {
        held: usize,
    },
    /// Alerts that more than one node answers to: the conditions that they may be about stay.
    Ambiguous,
    /// The brake holds `count` clears of `total` conditions, until this time and so many further full rounds.
    ClearsHeld {
        count: usize,
        total: usize,
        until: Timestamp,
        rounds_left: u32,
    },
    /// Not all members were asked: so many clears wait for another full round.
    ClearsUnconfirmed {
        count: usize,
    },
}

/// Plans a round. Neither the order of the nodes nor of anything else matters, and planning again with the same memory,
/// after everything was written, gives nothing.
pub fn round(situation: &Situation<'_>, policy: &RoundPolicy) -> Round {
    let Situation { nodes, selection, trust, now, .. } = *situation;
    let memory = situation.memory.for_round(&policy.conditions.prefix, now);
    let prefix = &policy.conditions.prefix;
    let (mut clears, total) = brake::clears(nodes, selection, prefix);
    let unsure = Unsure::new(nodes, selection, trust, prefix);
    clears.retain(|clear| !unsure.of(clear.place).any(|name| name == clear.condition_type));
    let mut notices = notices(situation, &unsure, policy);
    let heard = match trust.state {
        SourceState::Full if situation.mixes_clusters => SourceState::Partial,
        heard => heard,
    };
    let is_full = heard == SourceState::Full && unsure.counts() == [0, 0];
    let state = match heard {
        SourceState::Full if selection.counts.ambiguous > 0 || !is_full => SourceState::Partial,
        state => state,
    };

    let mut held = vec![BTreeSet::new(); nodes.len()];
    let mut next = Memory { wanted: BTreeSet::new(), full_rounds: 0, ..memory.clone() };
    let mut is_brake_believed = false;
    if heard == SourceState::Full {
        next.full_rounds = memory.full_rounds.saturating_add(1);
        let unexplained = clears.iter().filter(|clear| clear.evidence == Evidence::None);
        let count = unexplained.clone().count();
        let brake = if policy.force_clear {
            Brake::Off
        } else {
            Brake::new(count, total, policy.max_clear, memory.held, now)
        };
        next.held = match brake {
            Brake::Off => None,
            Brake::Believes(since) | Brake::Holds(since) => Some(since),
        };
        is_brake_believed = matches!(brake, Brake::Believes(_));
        if let Brake::Holds(since) = brake {
            for clear in unexplained {
                held[clear.place].insert(clear.condition_type.clone());
            }
            notices.push(clears_held(count, total, since));
        }
        if trust.has_unasked_members && !policy.force_clear {
            let mut count = 0;
            for clear in clears.iter().filter(|clear| clear.evidence != Evidence::Suppressed) {
                let id = ConditionId::new(&nodes[clear.place], &clear.condition_type);
                next.wanted.insert(id);
                if !memory.wanted.contains(&id) {
                    let is_new = held[clear.place].insert(clear.condition_type.clone());
                    count += usize::from(is_new);
                }
            }
            if count > 0 {
                notices.push(Notice::ClearsUnconfirmed { count });
            }
        }
    }
    let waiting = places_and_types(&held);
    next.source_state = Some(state);
    next.clusters = situation.clusters.clone();
    next.canary = remembered_canary(&policy.canary, trust, &memory);

    let known = Knowledge {
        state: heard,
        now,
        last_full: memory.last_full,
        is_holding: memory.held.is_some() || !memory.wanted.is_empty(),
    };
    let changes = nodes
        .iter()
        .zip(&selection.firing)
        .zip(held.iter_mut().zip(selection.pending.iter().zip(&selection.ambiguous)))
        .enumerate()
        .map(|(place, ((node, firing), (held, (pending, ambiguous))))| {
            held.extend(unsure.of(place).map(str::to_owned));
            held.extend(pending.iter().filter(|pending| is_true(node, pending)).cloned());
            held.extend(ambiguous.iter().cloned());
            let firing =
                if situation.mixes_clusters { known_ones(firing, node) } else { Cow::Borrowed(firing) };
            plan(node, &firing, held, &known, &policy.conditions)
        })
        .collect();
    let is_complete = heard == SourceState::Full;
    Round {
        state,
        is_full,
        changes,
        notices,
        held: waiting,
        now,
        memory: next,
        is_complete,
        is_brake_believed,
    }
}

impl Round {
    /// What the next round is to know, given whether all that was planned, for all nodes, is written now.
    pub fn memory(&self, is_all_written: bool) -> Memory {
        let mut memory = self.memory.clone();
        if is_all_written && self.is_full {
            memory.last_full = Some(self.now);
        }
        if is_all_written && self.is_brake_believed {
            memory.held = None; // done; what is wanted next is another matter
        }
        memory
    }

    /// Whether all sources were heard: what they do not list has ended, but for what is held.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether the brake holds something back.
    pub fn is_braked(&self) -> bool {
        self.notices.iter().any(|notice| matches!(notice, Notice::ClearsHeld { .. }))
    }
}

/// What is to be said before anything is held back.
fn notices(situation: &Situation<'_>, unsure: &Unsure<'_>, policy: &RoundPolicy) -> Vec<Notice> {
    let Situation { nodes, selection, mixes_clusters, .. } = *situation;
    let [by_name, by_rule] = unsure.counts();
    let mut notices = Vec::new();
    if selection.matches_nothing() && shows_something(nodes, policy) {
        notices.push(Notice::NothingMatches { held: by_name });
    }
    if by_rule > 0 {
        notices.push(Notice::Unevaluated { held: by_rule });
    }
    if mixes_clusters {
        notices.push(Notice::MixedClusters);
    }
    if selection.counts.ambiguous > 0 {
        notices.push(Notice::Ambiguous);
    }
    notices
}

fn places_and_types(held: &[BTreeSet<String>]) -> Vec<(usize, String)> {
    let of = |(place, types): (usize, &BTreeSet<String>)| -> Vec<(usize, String)> {
        types.iter().map(|condition_type| (place, condition_type.clone())).collect()
    };
    held.iter().enumerate().flat_map(of).collect()
}

fn clears_held(count: usize, total: usize, held: Held) -> Notice {
    Notice::ClearsHeld {
        count,
        total,
        until: brake::believed_from(held),
        rounds_left: brake::rounds_left(held),
    }
}

/// Whether a full round might clear something. What became Unknown only because such rounds went on counts as well.
fn shows_something(nodes: &[Node], policy: &RoundPolicy) -> bool {
    let prefix = &policy.conditions.prefix;
    nodes.iter().any(|node| observed(node, prefix).values().any(|entries| entries.current.status != FALSE))
}

fn is_true(node: &Node, condition_type: &str) -> bool {
    node.conditions.iter().any(|condition| condition.is_true() && condition.type_ == condition_type)
}

/// What fires and is True already: it is confirmed, and nothing is added.
fn known_ones<'f>(firing: &BTreeMap<String, String>, node: &Node) -> Cow<'f, BTreeMap<String, String>> {
    Cow::Owned(
        firing
            .iter()
            .filter(|(condition_type, _)| is_true(node, condition_type))
            .map(|(condition_type, message)| (condition_type.clone(), message.clone()))
            .collect(),
    )
}

fn remembered_canary(canary: &Canary, trust: &Trust, memory: &Memory) -> Option<String> {
    match canary {
        Canary::Auto if trust.state == SourceState::Full && trust.sees_canary => Some(WATCHDOG.to_owned()),
        Canary::Auto | Canary::Named(_) => memory.canary.clone(),
        Canary::None => None, // whoever switches it off means it
    }
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
