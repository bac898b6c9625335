//! Somebody else is at work on this node, and would not expect it to go away, or to come back.

use super::{Reason, Situation};

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    let (first, others) = situation.claims.split_first()?;
    let claims = others.iter().fold(first.clone(), |claims, claim| format!("{claims}; {claim}"));
    Some(Reason::new(claims).hint("wait until it has finished, or ask whoever runs it"))
}
