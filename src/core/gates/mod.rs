//! Reasons not to take a node down now. Each gate is one small file; what it does not know refuses.
//!
//! A refusal is for a person: its reason says what was seen, its hint what to do. `--override NAME` lifts one gate, but
//! for those that can never be lifted.

mod address;
mod control_plane;
mod excluded;
mod foreign_owner;
mod kubelet_unreachable;
mod last_ready;
mod max_unavailable;
mod no_boot_id;
mod own_node;
mod shared_boot_id;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::remediation::Method;

pub use address::Told;
pub use max_unavailable::MaxUnavailable;

/// A gate, by the name that `--override` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    ControlPlane,
    MaxUnavailable,
    LastReady,
    ForeignOwner,
    KubeletUnreachable,
    Excluded,
    OwnNode,
    NoBootId,
    SharedBootId,
    Address,
    /// Judged by the rehearsal of the drain, which reads the budgets.
    BudgetMisconfigured,
}

impl Gate {
    /// In the order in which they are asked and shown.
    pub const ALL: [Self; 11] = [
        Self::NoBootId,
        Self::OwnNode,
        Self::SharedBootId,
        Self::Address,
        Self::Excluded,
        Self::ForeignOwner,
        Self::KubeletUnreachable,
        Self::ControlPlane,
        Self::LastReady,
        Self::MaxUnavailable,
        Self::BudgetMisconfigured,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::MaxUnavailable => "max-unavailable",
            Self::LastReady => "last-ready",
            Self::ForeignOwner => "foreign-owner",
            Self::KubeletUnreachable => "kubelet-unreachable",
            Self::Excluded => "excluded",
            Self::OwnNode => "self",
            Self::NoBootId => "no-boot-id",
            Self::SharedBootId => "shared-boot-id",
            Self::Address => "address",
            Self::BudgetMisconfigured => "budget-misconfigured",
        }
    }

    /// Without a boot id nothing could prove the reboot, and the guard could not tell one boot from another.
    pub fn can_be_overridden(self) -> bool {
        self != Self::NoBootId
    }

    /// Those that can be lifted.
    pub fn overridable() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|gate| gate.can_be_overridden())
    }

    fn refuses(self, situation: &Situation<'_>) -> Option<Reason> {
        match self {
            Self::ControlPlane => control_plane::refuses(situation),
            Self::MaxUnavailable => max_unavailable::refuses(situation),
            Self::LastReady => last_ready::refuses(situation),
            Self::ForeignOwner => foreign_owner::refuses(situation),
            Self::KubeletUnreachable => kubelet_unreachable::refuses(situation),
            Self::Excluded => excluded::refuses(situation),
            Self::OwnNode => own_node::refuses(situation),
            Self::NoBootId => no_boot_id::refuses(situation),
            Self::SharedBootId => shared_boot_id::refuses(situation),
            Self::Address => address::refuses(situation),
            Self::BudgetMisconfigured => None,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|gate| gate.name() == text).ok_or_else(|| format!("{text:?} is no gate"))
    }
}

/// What the gates know of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is observed on its own
pub struct FleetNode {
    pub name: String,
    /// Its condition Ready is True.
    pub ready: bool,
    pub unschedulable: bool,
    /// A record of a remediation is on it, of whatever state or version.
    pub in_flight: bool,
    /// The id in that record, if one can be read.
    pub remediation: Option<String>,
    /// Our field manager owns `spec.unschedulable`, and it is true.
    pub cordoned_by_us: bool,
    pub control_plane: bool,
    /// The label `sciuro.dev/exclude` is there, whatever its value.
    pub excluded: bool,
    pub boot_id: String,
    /// The label `kubernetes.io/hostname`.
    pub hostname: Option<String>,
    /// Of all types, as spelt.
    pub addresses: Vec<String>,
    pub provider_id: Option<String>,
}

impl FleetNode {
    /// Why workloads cannot count on it, if they cannot.
    fn trouble(&self) -> Option<&'static str> {
        if self.in_flight {
            Some("being remediated")
        } else if !self.ready {
            Some("NotReady")
        } else if self.unschedulable {
            Some("cordoned")
        } else {
            None
        }
    }
}

/// What the gates decide on.
#[derive(Debug, Clone)]
pub struct Situation<'s> {
    /// All nodes of the cluster.
    pub nodes: &'s [FleetNode],
    /// The name of the node to take down.
    pub target: &'s str,
    pub method: Method,
    pub max_unavailable: MaxUnavailable,
    /// Who else claims the target, in words.
    pub claims: &'s [String],
    /// The boot that the request would end: what the target said when the remediation was begun.
    pub boot_id: &'s str,
    /// The node that this process runs on, if it is a pod that was told.
    pub own_node: Option<&'s str>,
    /// The boot id of the machine that this process runs on.
    pub own_boot_id: Option<&'s str>,
    pub told: &'s Told,
}

impl<'s> Situation<'s> {
    /// `None` if it is not among the nodes: then it has gone.
    fn target(&self) -> Option<&'s FleetNode> {
        self.nodes.iter().find(|node| node.name == self.target)
    }

    fn others(&self) -> impl Iterator<Item = &'s FleetNode> + use<'s, '_> {
        self.nodes.iter().filter(|node| node.name != self.target)
    }

    /// Another node that reports a boot that the request could end.
    fn twin(&self) -> Option<&'s FleetNode> {
        self.others().find(|node| self.ends(&node.boot_id))
    }

    /// Whether the request could end this boot, by what it carries or by what the target says now.
    fn ends(&self, boot_id: &str) -> bool {
        let is_it = |other: &str| !other.is_empty() && other.eq_ignore_ascii_case(boot_id);
        is_it(self.boot_id) || self.target().is_some_and(|target| is_it(&target.boot_id))
    }
}

/// What a gate saw, and what to do about it.
struct Reason {
    text: String,
    hint: Option<String>,
    /// No override lifts it.
    is_final: bool,
}

impl Reason {
    fn new(reason: impl Into<String>) -> Self {
        Self { text: reason.into(), hint: None, is_final: false }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn for_good(mut self) -> Self {
        self.is_final = true;
        self
    }
}

/// A gate that stays shut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub gate: Gate,
    /// May carry what nodes say of themselves: whoever prints it escapes it.
    pub reason: String,
    pub hint: Option<String>,
    pub can_be_overridden: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.gate, self.reason)
    }
}

/// The gates that refuse: before anything is changed, and again right before each request to reboot, when the target is
/// cordoned and drained. What they look at may have changed meanwhile.
pub fn refusals(situation: &Situation<'_>, overridden: &BTreeSet<Gate>) -> Vec<Refusal> {
    Gate::ALL
        .into_iter()
        .filter_map(|gate| {
            let Reason { text: reason, hint, is_final } = gate.refuses(situation)?;
            let can_be_overridden = gate.can_be_overridden() && !is_final;
            Some(Refusal { gate, reason, hint, can_be_overridden })
        })
        .filter(|refusal| !(refusal.can_be_overridden && overridden.contains(&refusal.gate)))
        .collect()
}

/// `a, b, c and 4 more`.
pub(super) fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const ENOUGH: usize = 3;
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(ENOUGH).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(ENOUGH) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
