//! One control-plane node at a time: with three, the second one that goes takes etcd's quorum along.

use super::{Reason, Situation};

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    situation.target().filter(|target| target.control_plane)?;
    let (other, trouble) = situation
        .others()
        .filter(|node| node.control_plane)
        .find_map(|node| Some((&node.name, node.trouble()?)))?;
    Some(
        Reason::new(format!("another control-plane node, {other}, is {trouble}"))
            .hint("kubectl get nodes -l node-role.kubernetes.io/control-plane"),
    )
}
