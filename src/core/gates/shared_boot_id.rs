//! One boot for each machine. If two nodes report the same, both are on one machine, or one of their kubelets lies.

use super::{Reason, Situation};

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    let twin = situation.twin()?;
    let reason = format!(
        "{} and {} report the same boot id: both are containers on one machine, as in kind, and a reboot would take both, or one \
        of their kubelets lies",
        situation.target, twin.name
    );
    Some(Reason::new(reason).hint(
        "on both machines: cat /proc/sys/kernel/random/boot_id; with the methods pod and ssh the machine is asked, too",
    ))
}
