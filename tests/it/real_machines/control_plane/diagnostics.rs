//! What a bundle tells of a machine that is real.

use super::machine::Yard;
use crate::support::World;

/// The machine's journal from before the boot is what nobody can ask for later, when the pod's logs are gone with it.
#[test]
fn the_kubelet_and_the_machine_before_and_after_the_boot() {
    let world = World::control_plane();
    let yard = Yard::new(&world);
    yard.ground.workload("daemonsets", "DaemonSet", "agent", 0, &serde_json::json!({}));
    yard.ground.until_running(1);
    yard.machine.ssh("echo 'the fan has stopped' | systemd-cat --identifier=fan");
    yard.machine.ssh("systemd-run --unit=broken false; true");
    let boot_before = yard.machine.boot_id().replace('-', "");
    yard.remediate(&["--collect=kubelet,host"]).exits(0);
    yard.is_remediated();
    let boot_after = yard.machine.boot_id().replace('-', "");
    let bundle = yard.ground.bundle();
    let node = &yard.ground.node;
    for (file, has) in [
        ("kubelet/healthz.txt", "ok"),
        ("kubelet/configz.json", "enableSystemLogQuery"),
        ("kubelet/stats-summary.json", node),
        ("kubelet/kubelet.log", "Started kubelet"),
        ("host/boots.txt", &boot_before),
        ("host/failed-units.txt", "broken.service"),
        ("after/host/boots.txt", &boot_after),
        ("after/host/kubelet.previous-boot.log", "kubelet"),
        ("after/kubelet/kubelet.previous-boot.log", "kubelet"),
    ] {
        let content = bundle.get(file).unwrap_or_else(|| panic!("no {file} in {:#?}", bundle.keys()));
        assert!(content.contains(has), "{file}: no {has:?} in {content}");
    }
    // By the machine's own programs: those of the helper's busybox know other flags.
    for line in
        [&bundle["errors.txt"], &bundle["after/errors.txt"]].into_iter().flat_map(|errors| errors.lines())
    {
        let is_known =
            ["nft", "crictl"].iter().any(|name| line.ends_with(&format!("the machine has no {name}")))
                || line.contains("-1) is not available");
        assert!(is_known, "{line}");
    }
}
