//! A disruption budget, and which pods an eviction may take under it.

use super::pod::Pod;
use super::selector::Selector;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    pub namespace: String,
    pub name: String,
    /// `None` matches no pod.
    pub selector: Option<Selector>,
    pub allowance: Allowance,
    /// `status.disruptionsAllowed`, and what it is computed from.
    pub allowed: i32,
    pub healthy: i32,
    pub desired: i32,
    pub expected: i32,
    /// `unhealthyPodEvictionPolicy: AlwaysAllow`.
    pub frees_unhealthy: bool,
}

/// What a budget demands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Allowance {
    #[default]
    Unset,
    MaxUnavailable(Amount),
    MinAvailable(Amount),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Count(i32),
    Percent(u32),
}

impl Budget {
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    pub fn covers(&self, pod: &Pod) -> bool {
        self.namespace == pod.namespace
            && self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
    }

    /// Whether evicting the pod takes one of the allowed disruptions. A pod that is not Ready is free if the budget says
    /// so, or while enough others are healthy (`pkg/registry/core/pod/storage/eviction.go`).
    pub fn counts(&self, pod: &Pod) -> bool {
        let is_free =
            !pod.ready && (self.frees_unhealthy || (self.healthy >= self.desired && self.desired > 0));
        pod.is_guarded() && self.covers(pod) && !is_free
    }

    /// Why it never allows a disruption, whatever the pods do.
    pub fn misconfigured(&self) -> Option<&'static str> {
        match self.allowance {
            Allowance::MaxUnavailable(Amount::Count(0)) => Some("maxUnavailable is 0"),
            Allowance::MaxUnavailable(Amount::Percent(0)) => Some("maxUnavailable is 0%"),
            Allowance::MinAvailable(Amount::Percent(100..)) => Some("minAvailable is 100%"),
            _ => None,
        }
    }
}
