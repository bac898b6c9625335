//! So many nodes may be away at the same time, the target among them.

use std::fmt;
use std::str::FromStr;

use super::{Reason, Situation, listed};

/// A share of all nodes, or a number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxUnavailable {
    Percent(u8),
    Nodes(u16),
}

impl MaxUnavailable {
    /// Rounded down, but one at least: otherwise a small cluster could never be remediated.
    pub(super) fn of(self, nodes: usize) -> usize {
        match self {
            Self::Percent(percent) => nodes * usize::from(percent) / 100,
            Self::Nodes(number) => number.into(),
        }
        .max(1)
    }
}

impl fmt::Display for MaxUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Nodes(number) => number.fmt(f),
        }
    }
}

impl FromStr for MaxUnavailable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_suffix('%') {
            Some(share) => share.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent),
            None => text.parse().ok().filter(|number| *number > 0).map(Self::Nodes),
        };
        parsed.ok_or_else(|| "it is a share such as 20%, up to 100%, or a number of nodes".to_owned())
    }
}

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    let away: Vec<&str> = situation
        .others()
        .filter(|node| !node.ready || node.cordoned_by_us || node.in_flight)
        .map(|node| node.name.as_str())
        .collect();
    let limit = situation.max_unavailable.of(situation.nodes.len());
    (away.len() + 1 > limit).then(|| {
        Reason::new(format!(
            "{} of {} nodes would be away, {limit} may be (--max-unavailable {}); away already: {}",
            away.len() + 1,
            situation.nodes.len(),
            situation.max_unavailable,
            listed(away.iter().copied()),
        ))
        .hint("kubectl sciuro status -o wide")
    })
}
