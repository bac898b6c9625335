//! A pod that is to reboot the machine needs a kubelet that starts it.

use super::{Reason, Situation};

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    let is_ready = situation.target().is_some_and(|target| target.ready);
    (situation.method.uses_pod() && !is_ready).then(|| {
        Reason::new("the node is NotReady: no kubelet would start the pod that is to reboot it")
            .hint("--reboot-method ssh, or --reboot-method command with a BMC's tool")
    })
}
