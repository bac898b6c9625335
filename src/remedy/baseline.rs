//! How a node is before it is taken down: what has to be back after its boot.

use std::collections::BTreeSet;

use crate::cluster::{ApiError, Cluster, PodSelection, RemediatedNode};
use crate::core::drain::Pod;
use crate::core::remediation::Baseline;

/// Reads what the Node does not say itself: its pods, and its CSI drivers.
pub async fn take(cluster: &Cluster, node: &RemediatedNode) -> Result<Baseline, ApiError> {
    let (daemon_sets, drivers) =
        futures::try_join!(list_ready_daemon_sets(cluster, &node.name), csi_drivers(cluster, &node.name))?;
    let ready = node.ready();
    Ok(Baseline {
        daemonsets: daemon_sets.into_iter().collect(),
        allocatable: node.allocatable.clone(),
        csi_drivers: drivers,
        ready_heartbeat: ready.and_then(|ready| ready.last_heartbeat_time.clone()),
    })
}

/// Names of the drivers in the `CSINode`; none if there is no `CSINode`, or nobody may read it.
pub async fn csi_drivers(cluster: &Cluster, node: &str) -> Result<Vec<String>, ApiError> {
    let object = match cluster.csi_node_object(node).await {
        Ok(object) => object,
        Err(error) if error.is_unreachable() => return Err(error),
        Err(_) => return Ok(Vec::new()),
    };
    let drivers = object["spec"]["drivers"].as_array();
    Ok(drivers
        .into_iter()
        .flatten()
        .filter_map(|driver| driver["name"].as_str().map(str::to_owned))
        .collect())
}

/// The [ready ones](ready_daemon_sets) as they are now.
pub async fn list_ready_daemon_sets(cluster: &Cluster, node: &str) -> Result<BTreeSet<String>, ApiError> {
    let listed = cluster.list_pods(&PodSelection::of_node(node)).await?;
    Ok(ready_daemon_sets(&listed.items))
}

/// `namespace/name` of the `DaemonSets` whose pod is Ready.
pub fn ready_daemon_sets<'p>(pods: impl IntoIterator<Item = &'p Pod>) -> BTreeSet<String> {
    let ready = pods.into_iter().filter(|pod| pod.ready && pod.deletion.is_none());
    ready
        .filter_map(|pod| {
            let owner = pod.owner.as_ref().filter(|owner| owner.kind == "DaemonSet")?;
            Some(format!("{}/{}", pod.namespace, owner.name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::core::drain::Owner;

    #[test]
    fn only_ready_pods_of_daemon_sets_count() {
        let pod = |kind: &str, ready: bool, deletion: Option<Timestamp>| Pod {
            namespace: "kube-system".to_owned(),
            owner: Some(Owner { kind: kind.to_owned(), name: "calico".to_owned(), ..Owner::default() }),
            ready,
            deletion,
            ..Pod::default()
        };
        let sets = |pod: Pod| ready_daemon_sets(&[pod]).into_iter().collect::<Vec<_>>();
        assert_eq!(sets(pod("DaemonSet", true, None)), ["kube-system/calico"]);
        assert!(sets(pod("DaemonSet", false, None)).is_empty());
        assert!(sets(pod("ReplicaSet", true, None)).is_empty());
        assert!(sets(pod("DaemonSet", true, Some(Timestamp::UNIX_EPOCH))).is_empty());
        assert!(sets(Pod { ready: true, ..Pod::default() }).is_empty());
    }
}
