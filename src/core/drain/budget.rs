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
    /// The status is that of the budget as it is now.
    pub counted: bool,
    /// Why its controller cannot count its pods, in the controller's words.
    pub sync_failed: Option<String>,
    /// Who made it and would make it again, such as `CephCluster/rook-ceph`.
    pub manager: Option<String>,
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

    /// Why it never allows a disruption as it is, however healthy its pods are: it could not be counted, it says so, or it
    /// comes to that with as many pods as there are.
    pub fn never(&self) -> Option<String> {
        if let Some(why) = &self.sync_failed {
            return Some(format!("its controller cannot count its pods: {why}"));
        }
        if self.allowed > 0 {
            return None; // more pods than it expects are there
        }
        match self.allowance {
            Allowance::MaxUnavailable(Amount::Count(0)) => Some("maxUnavailable is 0".to_owned()),
            Allowance::MaxUnavailable(Amount::Percent(0)) => Some("maxUnavailable is 0%".to_owned()),
            Allowance::MinAvailable(Amount::Percent(100..)) => Some("minAvailable is 100%".to_owned()),
            _ if !self.counted || self.desired < self.expected => None,
            _ if self.expected == 0 => Some("it counts none of its pods: they have no controller".to_owned()),
            _ if self.desired == self.expected => {
                Some(format!("it needs all {} of its pods to be healthy", self.expected))
            }
            _ => Some(format!("it needs {} healthy pods, and expects {}", self.desired, self.expected)),
        }
    }
}
