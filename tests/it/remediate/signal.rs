//! `--reboot-method signal`, from the plan to the end.

use std::time::Duration;

use ::sandbox::Helpers;

use super::scene::Scene;
use crate::support::{World, scenarios};

scenarios!(
    a_node_goes_through_all_six_steps_by_a_signal,
    it_is_resumed_as_it_was_begun,
    an_order_that_comes_too_late_sends_nothing,
    without_systemd_nothing_is_changed,
);

const BY_SIGNAL: &str = "--reboot-method=signal";

fn a_node_goes_through_all_six_steps_by_a_signal(world: &World) {
    let scene = Scene::with_everything(world);
    let before = scene.facts();
    let run = scene.remediate(&["--yes", "--force", "--delete-emptydir-data", BY_SIGNAL]).exits(0);
    run.says("  reboot:   by a signal to its systemd, from a pod on it (")
        .says("in kube-system); the machine is probed first")
        .says("✔ reboot (")
        .says("remediated");
    scene.is_remediated(&before);
    assert_eq!(scene.apps(&scene.node), ["agent", "static"]);
    assert_eq!(scene.bundle()["remediation.json"].matches("\"signal\"").count(), 1);
}

fn it_is_resumed_as_it_was_begun(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    scene.remediate(&["--yes", "--until=drain", BY_SIGNAL]).exits(0);
    assert_eq!(scene.record().expect("a record")["method"], "signal");
    scene
        .remediate(&["--yes", "--resume", "--reboot-method=ssh"])
        .exits(3)
        .says("this remediation reboots by signal");
    scene.remediate(&["--yes", "--resume", BY_SIGNAL]).exits(0);
    scene.is_remediated(&before);
}

fn an_order_that_comes_too_late_sends_nothing(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    scene.remediate(&["--yes", "--until=drain", BY_SIGNAL]).exits(0);
    scene.machines.helpers(&scene.node, Helpers::Late(Duration::from_secs(180))).expect("a machine");
    scene
        .remediate(&["--yes", "--resume", BY_SIGNAL])
        .exits(6)
        .says("the order came too late and was refused (too late ");
    assert_eq!(scene.facts().boot_id, before.boot_id);
    assert!(scene.is_cordoned());
}

fn without_systemd_nothing_is_changed(world: &World) {
    let scene = Scene::new(world);
    let before = world.get_node(&scene.node)["spec"].clone();
    scene.machines.helpers(&scene.node, Helpers::NoSystemd).expect("a machine");
    scene
        .remediate(&["--yes", BY_SIGNAL])
        .exits(3)
        .says("the probe on the node failed (exit 12): PID 1 is init, not systemd; nothing was changed")
        .says("hint: --reboot-method pod runs systemd's programs instead; without systemd: --reboot-method command or");
    assert_eq!(world.get_node(&scene.node)["spec"], before);
    assert_eq!((scene.facts().reboots, scene.record(), scene.helpers()), (0, None, Vec::new()));
}
