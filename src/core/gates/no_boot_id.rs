//! A boot id of the machine's own is what proves the reboot, and what keeps a late order from being carried out.

use super::{Reason, Situation};

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    let Some(target) = situation.target() else {
        return Some(Reason::new("the node is not there any more").hint("kubectl get nodes"));
    };
    target.boot_id.is_empty().then(|| {
        Reason::new("the node reports no boot id (status.nodeInfo.bootID): no reboot could be proven")
            .hint("is its kubelet running?")
    })
}
