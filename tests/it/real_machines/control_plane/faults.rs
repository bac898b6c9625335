//! Machines, and what runs on them, that do not do what was expected.

use super::machine::{Yard, power_program, within};
use crate::support::World;

fn ssh() -> [String; 2] {
    [
        "--reboot-method=ssh".to_owned(),
        format!("--ssh-config={}", std::env::var("SCIURO_SSH_CONFIG").unwrap()),
    ]
}

/// Longer than the API server takes a silent node for well, 50 s.
#[test]
fn a_firmware_that_takes_a_minute() {
    let world = World::control_plane();
    let yard = Yard::new(&world);
    yard.machine.firmware("60");
    let run = yard.begin(&ssh().each_ref().map(String::as_str));
    within(120, "a node that nobody hears of", || yard.machine.ready(&world) == "Unknown");
    run.end().exits(0).says("Ready=Unknown");
    yard.is_remediated();
}

#[test]
fn a_machine_that_does_not_come_back_and_is_switched_on() {
    let world = World::control_plane();
    let yard = Yard::new(&world);
    yard.ground.bare_pod("shell");
    yard.ground.until_running(1);
    yard.machine.firmware("600");
    yard.remediate(&["--reboot-timeout=15s"]).exits(6);
    assert_eq!(yard.machine.boots(), 0);
    assert!(yard.ground.is_cordoned());
    let record = yard.ground.record().unwrap();
    assert_eq!((&record["state"], &record["failedState"]), (&"NeedsHuman".into(), &"WaitBoot".into()));

    yard.machine.firmware("0.5");
    yard.machine.power("cycle");
    yard.remediate(&["--resume"]).exits(0);
    yard.is_remediated();
}

/// Ours would be the second one.
#[test]
fn the_plug_is_pulled_during_the_drain() {
    let world = World::control_plane();
    let yard = Yard::new(&world);
    yard.stubborn_pod();
    let run = yard.begin(&[]);
    yard.ground.until_state("Draining");
    yard.machine.power("cycle");
    run.end().exits(0).says("rebooted by itself");
    yard.is_remediated();
}

#[test]
fn a_second_reboot_while_it_is_watched() {
    let world = World::control_plane();
    let yard = Yard::new(&world);
    let run = yard.begin(&["--stable-for=60s"]);
    within(60, "the soak", || yard.ground.record().is_some_and(|record| record["state"] == "Verifying"));
    yard.machine.power("cycle");
    run.end().exits(7).says("rebooted again");
    assert_eq!(yard.machine.boots(), 2);
    assert!(yard.ground.is_cordoned());
    assert_eq!(yard.ground.record().unwrap()["failedState"], "Verifying");
}

/// Nobody can start a pod on it. Its BMC does not mind.
#[test]
fn a_kubelet_that_has_stopped() {
    let world = World::control_plane();
    let mut yard = Yard::new(&world);
    yard.machine.spoil();
    yard.machine.ssh("systemctl stop kubelet");
    within(90, "a node that nobody hears of", || yard.machine.ready(&world) == "Unknown");
    yard.remediate(&[]).exits(3).says("kubelet-unreachable").says("--reboot-method");
    assert!(!yard.ground.is_cordoned());
    assert_eq!(yard.machine.boots(), 0);

    // A run reads SCIURO_* of its environment as settings, so that tests take these away.
    let directory = std::env::var("SCIURO_MACHINES_DIR").unwrap();
    let power = power_program().display().to_string();
    let command = format!("--reboot-command=env SCIURO_MACHINES_DIR={directory} {power} {{node}} cycle");
    yard.remediate(&["--reboot-method=command", &command]).exits(0);
    yard.is_remediated();
}

/// It has booted, and then cannot run pods: it is no node to schedule to.
#[test]
fn a_containerd_that_breaks_after_the_boot() {
    let world = World::control_plane();
    let mut yard = Yard::new(&world);
    yard.machine.spoil();
    let run = yard.begin(&["--stable-for=50s", "--verify-timeout=55s"]);
    within(60, "the soak", || yard.ground.record().is_some_and(|record| record["state"] == "Verifying"));
    yard.machine.ssh("systemctl mask --runtime containerd && systemctl kill --signal=KILL containerd");
    run.end().exits(7).says("✗ Ready is False");
    assert_eq!(yard.machine.boots(), 1);
    assert!(yard.ground.is_cordoned());
    assert_eq!(yard.ground.record().unwrap()["failedState"], "Verifying");
}
