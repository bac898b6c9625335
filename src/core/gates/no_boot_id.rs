//! A boot id of the machine's own is what proves the reboot, and what keeps a late order from being carried out.

use super::{Reason, Situation};

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    let Some(target) = situation.target() else {
        return Some(Reason::new("the node is not there any more").hint("kubectl get nodes"));
    };
    if target.boot_id.is_empty() {
        return Some(
            Reason::new("the node reports no boot id (status.nodeInfo.bootID): no reboot could be proven")
                .hint("is its kubelet running?"),
        );
    }
    let twin = situation.others().find(|node| situation.ends(&node.boot_id))?;
    Some(Reason::new(format!(
        "{} has the same boot id: both are containers on one machine, as in kind, and a reboot would take both",
        twin.name
    )))
}
