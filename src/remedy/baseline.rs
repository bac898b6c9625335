//! How a node is before it is taken down: what has to be back after its boot.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::{ApiError, Cluster, RemediatedNode};
use crate::core::remediation::Baseline;

/// Reads what the Node does not say itself: its pods, and its CSI drivers.
pub async fn take(cluster: &Cluster, node: &RemediatedNode) -> Result<Baseline, ApiError> {
    let (pods, drivers) =
        futures::try_join!(cluster.pod_objects(&node.name), csi_drivers(cluster, &node.name))?;
    let ready = node.ready();
    Ok(Baseline {
        daemonsets: ready_daemon_sets(&pods).into_iter().collect(),
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

/// `namespace/name` of the `DaemonSets` whose pod is Ready.
pub fn ready_daemon_sets(pods: &[Value]) -> BTreeSet<String> {
    pods.iter()
        .filter(|pod| is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null())
        .filter_map(|pod| {
            let owners = pod["metadata"]["ownerReferences"].as_array()?;
            let owner =
                owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == "DaemonSet")?;
            Some(format!("{}/{}", pod["metadata"]["namespace"].as_str()?, owner["name"].as_str()?))
        })
        .collect()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_ready_pods_of_daemon_sets_count() {
        let pod = |kind: &str, ready: &str, deleted: Value| {
            json!({
                "metadata": {"namespace": "kube-system", "deletionTimestamp": deleted,
                    "ownerReferences": [{"kind": kind, "name": "calico", "controller": true}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let sets = |pod: Value| ready_daemon_sets(&[pod]).into_iter().collect::<Vec<_>>();
        assert_eq!(sets(pod("DaemonSet", "True", Value::Null)), ["kube-system/calico"]);
        assert!(sets(pod("DaemonSet", "False", Value::Null)).is_empty());
        assert!(sets(pod("ReplicaSet", "True", Value::Null)).is_empty());
        assert!(sets(pod("DaemonSet", "True", "2026-11-23T00:00:00Z".into())).is_empty());
        assert!(sets(json!({})).is_empty());
    }
}
