//! Some other node has to take the pods.

use super::{Reason, Situation};

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    let is_home = situation.others().any(|node| node.ready && !node.unschedulable);
    (!is_home).then(|| {
        Reason::new("no other node is Ready and schedulable: evicted pods would have nowhere to go")
            .hint("kubectl get nodes")
    })
}
