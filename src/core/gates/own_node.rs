//! Whoever reboots the machine under its own feet sees neither the proof nor the verification.

use super::{Reason, Situation};

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    let reason = if situation.own_node == Some(situation.target) {
        "this process is a pod on that node"
    } else {
        let is_ours = situation.own_boot_id.is_some_and(|boot_id| situation.ends(boot_id));
        is_ours.then_some("this process runs on that machine: their boot ids are the same")?
    };
    Some(Reason::new(reason).hint("run it from another machine"))
}
