//! All nodes, as far as the gates need them.

use super::api::Cluster;
use super::error::ApiError;
use super::nodes::SlimForm;
use super::remediated::{RemediatedNode, WholeNode};
use crate::core::gates::FleetNode;
use crate::core::node::TRUE;

const HOSTNAME: &str = "kubernetes.io/hostname";
const EXCLUDE: &str = "sciuro.dev/exclude";
/// What kubeadm and others label control-plane nodes with, and did before Kubernetes 1.24.
const CONTROL_PLANE: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

impl Cluster {
    pub async fn list_fleet(&self) -> Result<Vec<FleetNode>, ApiError> {
        Ok(self.list_at(None, None).await?.0)
    }
}

impl RemediatedNode {
    pub fn is_control_plane(&self) -> bool {
        CONTROL_PLANE.into_iter().any(|name| self.labels.contains_key(name))
            || self.labels.get("kubernetes.io/role").is_some_and(|role| role == "master")
    }
}

impl SlimForm for FleetNode {
    type Read = WholeNode;

    fn name(&self) -> &str {
        &self.name
    }

    fn is_news(&self, before: Option<&Self>) -> bool {
        before != Some(self)
    }
}

impl From<WholeNode> for FleetNode {
    fn from(node: WholeNode) -> Self {
        let node = RemediatedNode::from(node);
        let has_label = |name: &str| node.labels.contains_key(name);
        Self {
            ready: node.ready().is_some_and(|ready| ready.status == TRUE),
            unschedulable: node.view.unschedulable,
            in_flight: node.record_json().is_some(),
            remediation: node.record_json().and_then(id),
            cordoned_by_us: node.view.unschedulable && node.view.cordon_is_ours,
            control_plane: node.is_control_plane(),
            excluded: has_label(EXCLUDE),
            boot_id: node.view.boot_id,
            hostname: node.labels.get(HOSTNAME).cloned(),
            addresses: node.addresses.into_iter().map(|address| address.address).collect(),
            provider_id: node.provider_id,
            name: node.name,
        }
    }
}

/// The id in a record, also in one of another version: what is named there is not ours to remove.
fn id(record: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Slim {
        id: String,
    }
    serde_json::from_str::<Slim>(record).ok().map(|record| record.id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)] // tests, and their objects are made for one call

    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::nodes::Received;

    fn node(object: Value) -> FleetNode {
        serde_json::from_value::<Received<FleetNode>>(object).unwrap().node
    }

    #[test]
    fn what_the_gates_ask_is_read() {
        let ours = json!([{"manager": "kubectl-sciuro", "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}]);
        let all = node(json!({
            "metadata": {"name": "w1", "uid": "u", "managedFields": ours,
                "labels": {"node-role.kubernetes.io/control-plane": "", "sciuro.dev/exclude": "false",
                    "kubernetes.io/hostname": "h"},
                "annotations": {"sciuro.dev/remediation": "not even JSON"}},
            "spec": {"unschedulable": true, "providerID": "p"},
            "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.7"}], "conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": "b"}},
        }));
        let expected = FleetNode {
            name: "w1".into(),
            ready: true,
            unschedulable: true,
            in_flight: true,
            cordoned_by_us: true,
            control_plane: true,
            excluded: true,
            boot_id: "b".into(),
            hostname: Some("h".into()),
            addresses: vec!["10.0.0.7".into()],
            provider_id: Some("p".into()),
            remediation: None,
        };
        assert_eq!(all, expected);
        let newer = node(json!({"metadata": {"name": "w1", "uid": "u",
            "annotations": {"sciuro.dev/remediation": r#"{"v": 99, "id": "i", "state": "Dancing"}"#}}}));
        assert_eq!(newer.remediation.as_deref(), Some("i"));
        let none = node(json!({"metadata": {"name": "w1", "uid": "u", "managedFields": ours},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}));
        assert_eq!(none, FleetNode { name: "w1".into(), ..FleetNode::default() });
        for role in ["node-role.kubernetes.io/master", "kubernetes.io/role"] {
            assert!(
                node(json!({"metadata": {"name": "w1", "uid": "u", "labels": {role: "master"}}}))
                    .control_plane
            );
        }
    }
}
