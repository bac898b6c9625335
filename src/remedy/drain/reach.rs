//! Whether the node's kubelet still speaks: pods of one that does not never end.

use std::sync::Arc;

use super::DrainOptions;
use crate::cluster::{Cluster, Rule};
use crate::core::drain::Policy;
use crate::core::node::UNKNOWN;
use crate::core::report::ShownNode;
use crate::error::Error;

/// On such a node, pods that are being deleted for longer than so many seconds are not waited for.
const PATIENCE: u32 = 1;

pub(super) fn policy(options: &DrainOptions, unreachable: bool) -> Policy {
    let skip_wait_for_delete = if unreachable { PATIENCE } else { options.policy.skip_wait_for_delete };
    Policy { skip_wait_for_delete, ..options.policy }
}

/// What a person is told of it.
pub fn unreachable(node: &str) -> String {
    format!(
        "node {node} is unreachable: pods that have been ending for more than {PATIENCE}s, and volumes, are not waited for"
    )
}

/// The node controller has given the kubelet up.
pub(super) fn is_given_up(node: &ShownNode) -> bool {
    node.node.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == UNKNOWN)
}

pub(super) async fn is_unreachable(cluster: &Arc<Cluster>, node: &str) -> Result<bool, Error> {
    let field = format!("metadata.name={node}");
    let nodes = cluster.list_shown_nodes(None, Some(&field)).await;
    let nodes = nodes.map_err(|error| error.explain("list", &Rule::NODES))?;
    Ok(nodes.iter().any(is_given_up))
}
