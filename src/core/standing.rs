//! Whether a condition says that something is wrong with its node.

use super::node::{Condition, FALSE, TRUE};

/// What the status of a condition comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Firing,
    /// Nothing is known: the status is Unknown, or none that Kubernetes has.
    Unknown,
    Fine,
}

/// The condition that says that a remediation is under way.
pub const UNDER_WAY: &str = "SciuroRemediation";

impl Standing {
    /// One of an alert fires when True, whatever the alert's name is.
    pub fn of(condition: &Condition, is_alert: bool) -> Self {
        if condition.type_ == UNDER_WAY {
            return Self::Fine; // it has a column of its own
        }
        let is_good_when_true = !is_alert && is_good_when_true(&condition.type_);
        match condition.status.as_str() {
            TRUE if is_good_when_true => Self::Fine,
            TRUE => Self::Firing,
            FALSE if is_good_when_true => Self::Firing,
            FALSE => Self::Fine,
            _ => Self::Unknown,
        }
    }
}

/// Most conditions of nodes name a problem. Those that name a good state say so with their last word: the kubelet's Ready,
/// `NetworkingReady` (EKS' node monitoring agent), `example.com/CNIReady` (gates of the Node Readiness Controller). By their
/// names alone, since an API has no place where it says this; what is not recognised fires when True.
fn is_good_when_true(type_: &str) -> bool {
    /// That an etcd member is no learner, in k3s and RKE2.
    const ETCD_IS_VOTER: &str = "EtcdIsVoter";
    let name = type_.rsplit('/').next().unwrap_or(type_);
    let before = ["Ready", "Healthy"].iter().find_map(|good| name.strip_suffix(good));
    type_ == ETCD_IS_VOTER
        || before.is_some_and(|before| !["Not", "Un"].iter().any(|no| before.ends_with(no)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(type_: &str, status: &str, is_alert: bool) -> Standing {
        let condition = Condition { type_: type_.into(), status: status.into(), ..Condition::default() };
        Standing::of(&condition, is_alert)
    }

    #[test]
    fn t15_f_what_names_a_good_state_fires_when_it_is_false() {
        for good in [
            "Ready",
            "EtcdIsVoter",
            "NetworkingReady",
            "AcceleratedHardwareReady",
            "example.com/CNIReady",
            "StorageHealthy",
        ] {
            let of = |status| standing(good, status, false);
            assert_eq!(of("True"), Standing::Fine, "{good}");
            assert_eq!(of("False"), Standing::Firing, "{good}");
            assert_eq!(of("Unknown"), Standing::Unknown, "{good}");
            assert_eq!(standing(good, "True", true), Standing::Firing, "an alert named {good}");
        }
        for bad in [
            "MemoryPressure",
            "NetworkUnavailable",
            "KernelDeadlock",
            "KubeNodeNotReady",
            "NodeUnReady",
            "Unhealthy",
            "DiskNotHealthy",
            "ReadyForMaintenance",
            "Ready/X",
            "",
        ] {
            assert_eq!(standing(bad, "True", false), Standing::Firing, "{bad}");
            assert_eq!(standing(bad, "False", false), Standing::Fine, "{bad}");
        }
        assert_eq!(standing(UNDER_WAY, "True", false), Standing::Fine);
        for odd in ["", "true", "yes", "FALSE", "True "] {
            assert_eq!(standing("Ready", odd, false), Standing::Unknown, "{odd:?}");
            assert_eq!(standing("KernelDeadlock", odd, false), Standing::Unknown, "{odd:?}");
        }
    }
}
