//! The brake: when most conditions would be cleared at once, the source is more likely to have failed than all
//! machines to have recovered (spec §6.3).

use jiff::{SignedDuration, Timestamp};

use super::memory::Held;
use super::node::Node;
use super::prefix::Prefix;
use super::selection::Selection;

/// Fewer clears than this are never held.
const MIN_CLEARS: usize = 10;
/// When clears that are wanted again and again are believed: not before this time has passed …
const HOLD_FOR: SignedDuration = SignedDuration::from_mins(3);
/// … and this many full rounds after the first have wanted them.
const FURTHER_ROUNDS: u32 = 2;

/// A condition that a full round would clear: it is True, and nothing that is listed keeps it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clear {
    /// The node's place in the list.
    pub(super) place: usize,
    pub(super) condition_type: String,
    pub(super) evidence: Evidence,
}

/// What says that the source works and the alert has ended, rather than that the source has lost it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    None,
    /// Another condition of the node becomes True in the same round.
    AnotherFires,
    /// The alert is listed, but it is silenced, inhibited or pending.
    Suppressed,
}

/// What a full round would clear, and how many conditions are True before it or by it. Those that only it makes True
/// are counted, too, so that planning again after writing gives the same answer.
pub(super) fn clears(nodes: &[Node], selection: &Selection, prefix: &Prefix) -> (Vec<Clear>, usize) {
    let (mut clears, mut total) = (Vec::new(), 0);
    for (place, node) in nodes.iter().enumerate() {
        let (firing, suppressed) = (&selection.firing[place], &selection.suppressed[place]);
        let is_true =
            |condition_type: &str| node.conditions.iter().any(|c| c.is_true() && c.type_ == condition_type);
        let new = firing.keys().filter(|fires| prefix.owns(fires) && !is_true(fires)).count();
        let mut types: Vec<&str> = node
            .conditions
            .iter()
            .filter(|condition| condition.is_true() && prefix.owns(&condition.type_))
            .map(|condition| condition.type_.as_str())
            .collect();
        types.sort_unstable();
        types.dedup();
        total += types.len() + new;
        types.retain(|shown| !firing.contains_key(*shown) && !selection.may_fire(place, shown));
        clears.extend(types.into_iter().map(|condition_type| Clear {
            place,
            condition_type: condition_type.to_owned(),
            evidence: if suppressed.contains(condition_type) {
                Evidence::Suppressed
            } else if new > 0 {
                Evidence::AnotherFires
            } else {
                Evidence::None
            },
        }));
    }
    (clears, total)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brake {
    Off,
    /// It was on for long enough: what is wanted is believed.
    Believes(Held),
    Holds(Held),
}

impl Brake {
    /// Whether `count` clears without evidence, of `total` conditions, are too many at once.
    pub(super) fn new(
        count: usize,
        total: usize,
        max_percent: u8,
        held: Option<Held>,
        now: Timestamp,
    ) -> Self {
        if count < MIN_CLEARS || count * 100 <= total * usize::from(max_percent) {
            return Self::Off;
        }
        let held = held.map_or(Held { since: now, rounds: 0 }, |held| Held {
            rounds: held.rounds.saturating_add(1),
            ..held
        });
        if now >= believed_from(held) && held.rounds >= FURTHER_ROUNDS {
            Self::Believes(held)
        } else {
            Self::Holds(held)
        }
    }
}

/// The earliest time at which held clears may be believed.
pub(super) fn believed_from(held: Held) -> Timestamp {
    held.since.saturating_add(HOLD_FOR).unwrap_or(Timestamp::MAX)
}

/// How many more full rounds have to want them.
pub(super) fn rounds_left(held: Held) -> u32 {
    FURTHER_ROUNDS.saturating_sub(held.rounds)
}
