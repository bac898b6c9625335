//! How machines go down.

use super::machine::{Yard, deaf, within};
use crate::support::World;

/// systemd-shutdown waits for what is left as long as it waits for a unit, and a pod that no drain takes away is left.
#[test]
fn a_pod_that_ignores_sigterm_for_90_seconds() {
    let world = World::control_plane();
    let yard = Yard::new(&world);
    yard.machine.ssh(
        "mkdir -p /run/systemd/system.conf.d && printf '[Manager]\\nDefaultTimeoutStopSec=90s\\n' >/run/systemd/system.conf.d/z.conf && systemctl daemon-reload",
    );
    yard.ground.workload("daemonsets", "DaemonSet", "deaf", 0, &deaf(3));
    yard.ground.until_running(1);
    let begun = std::time::Instant::now();
    yard.remediate(&[]).exits(0);
    assert!(begun.elapsed().as_secs() >= 80, "{begun:?}");
    yard.is_remediated();
}

/// The kubelet holds the shutdown until its pods have ended, and says on its way that the node is not Ready.
#[test]
fn a_graceful_shutdown_of_the_node() {
    let world = World::control_plane();
    let yard = Yard::new(&world);
    yard.machine.ssh(
        "mkdir -p /run/systemd/system/kubelet.service.d && cd /run/systemd/system/kubelet.service.d && \
         { cat /etc/kubernetes/kubelet.yaml; printf 'shutdownGracePeriod: 10s\\nshutdownGracePeriodCriticalPods: 4s\\n'; } >/run/kubelet.yaml && \
         printf '[Service]\\nEnvironment=CONFIG=/run/kubelet.yaml\\n' >graceful.conf && systemctl daemon-reload && systemctl restart kubelet",
    );
    within(30, "the kubelet's inhibitor", || {
        yard.machine.ssh("systemd-inhibit --list --no-pager --no-legend 2>&1 || true").contains("kubelet")
    });
    yard.ground.workload("daemonsets", "DaemonSet", "deaf", 0, &deaf(6));
    yard.ground.until_running(1);
    let run = yard.begin(&[]);
    within(60, "a node that shuts down", || yard.machine.ready(&world) == "False");
    run.end().exits(0);
    yard.is_remediated();
}
