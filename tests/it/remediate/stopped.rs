//! Ctrl-C at each step: what was begun is written down, and goes on or is undone.

use std::time::Duration;

use ::sandbox::{Boot, Facts};
use serde_json::json;

use super::scene::Scene;
use super::terminal::Terminal;
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios!(
    during_the_collection,
    at_the_reboot_prompt,
    during_the_drain,
    during_the_wait,
    during_the_verification,
);

/// It has stopped, and says how to go on.
#[track_caller]
fn stops(scene: &Scene<'_>, mut terminal: Terminal, during: &str, state: &str) {
    terminal.ctrl_c();
    let shown = terminal.ends(130);
    assert!(shown.contains(during), "no {during:?} in {shown}");
    for command in ["--resume", "--abort"] {
        assert!(shown.contains(&format!("kubectl sciuro remediate {} {command}", scene.node)), "{shown}");
    }
    scene.is_stopped_in(state);
}

fn during_the_collection(world: &World) {
    let scene = Scene::new(world);
    scene.bare_pod("shell");
    scene.until_running(1);
    let before = scene.facts();
    let hangs = world
        .container_log_fault(&scene.node, &scene.namespace, "shell", "c")
        .delay(Duration::from_secs(3600));
    let terminal = Terminal::of(&scene, &["--yes", "--force"]);
    eventually("logs that are waited for", || hangs.hits() > 0);
    stops(&scene, terminal, "interrupted during collect", "Collecting");
    assert_eq!(scene.apps(&scene.node), ["shell"], "nothing was drained");
    assert_eq!(scene.facts().reboots, before.reboots);
    hangs.stop();
    scene.remediate(&["--resume", "--yes", "--force"]).exits(0);
    scene.is_remediated(&before);
    assert!(scene.bundle().contains_key("remediation.json"), "the only one is whole");
}

fn at_the_reboot_prompt(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    let mut terminal = Terminal::of(&scene, &[]);
    terminal.answers(" as planned?", "y");
    terminal.asks("now, by a pod on it?");
    stops(&scene, terminal, "interrupted during drain", "Draining");
    assert_eq!(scene.facts().reboots, before.reboots);
    scene.remediate(&["--resume", "--yes"]).exits(0);
    scene.is_remediated(&before);
}

/// A budget that never frees holds the drain.
pub(crate) fn held(world: &World) -> (Scene<'_>, Facts) {
    let scene = Scene::new(world);
    scene.cordon(&scene.spare, true);
    scene.workload("deployments", "Deployment", "web", 1, &json!({}));
    scene.until_running(1);
    scene.exhausted_budget("web");
    scene.cordon(&scene.spare, false);
    let before = scene.facts();
    (scene, before)
}

fn during_the_drain(world: &World) {
    let (scene, before) = held(world);
    let mut terminal = Terminal::of(&scene, &["--yes"]);
    terminal.sees("The disruption budget web");
    stops(&scene, terminal, "interrupted during drain", "Draining");
    scene.remediate(&["--abort", "--yes"]).exits(0);
    scene.is_over("aborted");
    assert!(!scene.is_cordoned());
    assert_eq!(scene.facts().reboots, before.reboots);

    let mut terminal = Terminal::of(&scene, &["--yes"]);
    terminal.sees("The disruption budget web");
    stops(&scene, terminal, "interrupted during drain", "Draining");
    scene.remove_budget("web");
    scene.remediate(&["--resume", "--yes"]).exits(0);
    scene.is_remediated(&before);
    assert_eq!(scene.apps(&scene.spare), ["web"]);
}

fn during_the_wait(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    scene.machines.boots(&scene.node, Boot { never_back: true, ..Boot::default() }).expect("a machine");
    let terminal = Terminal::of(&scene, &["--yes"]);
    scene.until_state("WaitBoot");
    eventually("a machine that is off", || !scene.facts().powered);
    stops(&scene, terminal, "interrupted during the reboot", "WaitBoot");
    world.block_on(scene.machines.power_on(&scene.node)).expect("a machine");
    scene.remediate(&["--resume", "--yes"]).exits(0);
    scene.is_remediated(&before);
}

fn during_the_verification(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    let terminal = Terminal::of(&scene, &["--yes", "--stable-for=60s"]);
    scene.until_state("Verifying");
    stops(&scene, terminal, "interrupted during verify", "Verifying");
    scene.remediate(&["--resume", "--yes"]).exits(0);
    scene.is_remediated(&before);
}

/// A server that does not answer keeps the Lease from being given back; nobody has to wait for that.
#[test]
fn the_second_ctrl_c_waits_for_nothing() {
    let world = World::sandbox();
    let (scene, _) = held(&world);
    let mut terminal = Terminal::of(&scene, &["--yes"]);
    terminal.sees("The disruption budget web");
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/*", scene.namespace);
    let hangs = world.api().faults().on("PUT", &leases).delay(Duration::from_secs(3600));
    terminal.ctrl_c();
    eventually("a release on its way", || hangs.hits() > 0);
    terminal.ctrl_c();
    let shown = terminal.ends(130);
    assert!(!shown.contains("--resume"), "it has waited for the release: {shown}");
    hangs.stop();
    assert_eq!(scene.record().expect("a record")["state"], "Draining");
}
