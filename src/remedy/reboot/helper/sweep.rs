//! Helpers that runs before this one have left behind.

use jiff::{SignedDuration, Timestamp};

use super::HelperOptions;
use crate::cluster::{ApiError, Cluster, HelperPod};
use crate::core::gates::FleetNode;
use crate::core::helper::{MANAGED_BY, MANAGER, REMEDIATION, remediation};
use crate::remedy::reboot::Target;

/// Older ones that no record names are leftovers.
const LEFTOVER_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Deletes helpers of ours that are older than an hour and that no record names, and returns their names.
pub async fn sweep(cluster: &Cluster, options: &HelperOptions) -> Result<Vec<String>, ApiError> {
    let mut old = cluster.helper_pods(&options.namespace, &labels()).await?;
    old.retain(|pod| is_old(pod, cluster.now()));
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let fleet = cluster.list_fleet().await?;
    let mut swept = Vec::new();
    for pod in old.into_iter().filter(|pod| is_leftover(pod, &fleet)) {
        cluster.delete_helper_pod(&pod).await?;
        swept.push(pod.name);
    }
    Ok(swept)
}

/// Deletes what runs before this one left on the node: they were killed before they had stored a record. Nobody else is at
/// work there while we hold the node's Lease and our record is on it. Best effort.
pub(in crate::remedy::reboot) async fn others(target: &Target<'_>, options: &HelperOptions) {
    let pods = target.cluster.helper_pods(&options.namespace, &labels()).await.unwrap_or_default();
    let is_another = |pod: &HelperPod| id(pod).is_some_and(|id| id != target.id) && pod.node == target.node;
    for pod in pods.iter().filter(|pod| is_another(pod)) {
        let _runs_out = target.cluster.delete_helper_pod(pod).await;
    }
}

fn labels() -> String {
    format!("{MANAGED_BY}={MANAGER},{REMEDIATION}")
}

fn is_old(pod: &HelperPod, now: Timestamp) -> bool {
    pod.created.parse::<Timestamp>().is_ok_and(|created| now.duration_since(created) > LEFTOVER_AFTER)
}

/// Ours, and in no record. What a record names that cannot be read is not known: the helpers on its node stay.
fn is_leftover(pod: &HelperPod, fleet: &[FleetNode]) -> bool {
    let spares = |node: &FleetNode, id: &str| match &node.remediation {
        Some(live) => live == id,
        None => node.in_flight && node.name == pod.node,
    };
    id(pod).is_some_and(|id| !fleet.iter().any(|node| spares(node, id)))
}

/// Of which remediation a helper is; `None`: it is none.
fn id(pod: &HelperPod) -> Option<&str> {
    remediation(&pod.name, &pod.labels).filter(|_| !pod.is_others)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ID: &str = "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11";

    fn helper(name: &str, created: &str) -> HelperPod {
        HelperPod {
            name: name.into(),
            created: created.into(),
            labels: [(MANAGED_BY, MANAGER), (REMEDIATION, ID)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..HelperPod::default()
        }
    }

    #[test]
    fn leftovers_are_old_ours_and_in_no_record() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        for (created, old) in
            [("2026-01-01T10:59:59Z", true), ("2026-01-01T11:00:01Z", false), ("no time", false)]
        {
            assert_eq!(is_old(&helper("sciuro-probe-0b5e3f5a", created), now), old, "{created}");
        }
        let in_flight = |node: &str, id: Option<&str>| FleetNode {
            name: node.into(),
            in_flight: true,
            remediation: id.map(str::to_owned),
            ..FleetNode::default()
        };
        let fleet = [FleetNode::default(), in_flight("w1", Some("alive")), in_flight("w2", None)];
        let leftover = |name: &str| is_leftover(&helper(name, ""), &fleet);
        assert!(leftover("sciuro-reboot-0b5e3f5a-3") && leftover("sciuro-probe-0b5e3f5a"));
        for name in ["sciuro-reboot-ffffffff-3", "sciuro-probe-ffffffff", "coredns"] {
            assert!(!leftover(name), "{name}");
        }
        let mut other = helper("sciuro-reboot-0b5e3f5a-3", "");
        other.labels.insert(MANAGED_BY.into(), "Helm".into());
        assert!(!is_leftover(&other, &fleet), "of another manager");
        let mut live = helper("sciuro-reboot-alive-1", "");
        live.labels.insert(REMEDIATION.into(), "alive".into());
        assert!(!is_leftover(&live, &fleet), "in a record");
        let mirror = HelperPod { is_others: true, ..helper("sciuro-probe-0b5e3f5a", "") };
        assert!(!is_leftover(&mirror, &fleet), "a kubelet's");
        let unknown = HelperPod { node: "w2".into(), ..helper("sciuro-probe-0b5e3f5a", "") };
        assert!(!is_leftover(&unknown, &fleet), "the record on its node cannot be read");
    }
}
