//! What a person is asked, in which order, and what No leaves behind.

use serde_json::json;

use super::scene::Scene;
use super::terminal::Terminal;
use crate::support::{World, run, scenarios};

scenarios!(
    each_exception_is_asked_for,
    no_leaves_what_was_done,
    ctrl_c_before_the_first_change,
    no_at_the_reboot_can_be_undone,
    a_node_that_did_not_verify,
    nobody_is_asked_about_a_node_that_did_not_verify,
);

pub(crate) const EMPTY_DIR: &str = "Evict these pods, and lose the data in their emptyDir volumes?";
pub(crate) const UNMANAGED: &str = "Evict these pods, which no controller starts again?";
pub(crate) const DAEMON_SETS: &str = "Leave the pods of DaemonSets, which end with the reboot?";

/// A node for whose drain everything has to be asked.
pub(crate) fn scene(world: &World) -> Scene<'_> {
    let scene = Scene::new(world);
    scene.bare_pod("shell");
    scene.workload("daemonsets", "DaemonSet", "agent", 0, &json!({}));
    let scratch = json!({"volumes": [{"name": "scratch", "emptyDir": {}}]});
    scene.cordon(&scene.spare, true);
    scene.workload("deployments", "Deployment", "cache", 1, &scratch);
    scene.until_running(3);
    scene.cordon(&scene.spare, false);
    scene
}

pub(crate) const ASK_ALL: [&str; 1] = ["--ignore-daemonsets=false"];

pub(crate) fn plan(scene: &Scene<'_>) -> String {
    format!("Remediate node {} as planned?", scene.node)
}

pub(crate) fn reboot(scene: &Scene<'_>) -> String {
    format!("Reboot node {} now, by a pod on it?", scene.node)
}

/// Says yes to so many questions.
fn answer_the_first(terminal: &mut Terminal, scene: &Scene<'_>, count: usize) {
    for question in questions(scene).into_iter().take(count) {
        terminal.answers(&question, "y");
    }
}

pub(crate) fn questions(scene: &Scene<'_>) -> [String; 5] {
    [plan(scene), DAEMON_SETS.into(), EMPTY_DIR.into(), UNMANAGED.into(), reboot(scene)]
}

fn each_exception_is_asked_for(world: &World) {
    let scene = scene(world);
    let before = scene.facts();
    let mut terminal = Terminal::of(&scene, &ASK_ALL);
    answer_the_first(&mut terminal, &scene, 4);
    terminal.asks(&reboot(&scene));
    assert!(scene.is_cordoned(), "drained by now");
    assert_eq!(scene.facts().reboots, before.reboots, "and not rebooted");
    assert_eq!(scene.apps(&scene.node), ["agent"]);
    terminal.types("yes\r");
    let shown = terminal.ends(0);
    assert!(shown.contains(&format!("node/{} remediated", scene.node)), "{shown}");
    scene.is_remediated(&before);
}

#[track_caller]
pub(crate) fn is_untouched(scene: &Scene<'_>, question: &str) {
    assert!(!scene.is_cordoned() && scene.record().is_none(), "after {question}");
    assert_eq!((scene.lease_holder(), scene.helpers()), (None, vec![]));
    assert_eq!(scene.events().len(), 0, "after {question}");
    assert!(!scene.directory().exists(), "nothing is collected after {question}");
}

/// At the plan, and at each exception.
fn ctrl_c_before_the_first_change(world: &World) {
    let scene = scene(world);
    for (place, question) in questions(&scene).iter().enumerate().take(4) {
        let mut terminal = Terminal::of(&scene, &ASK_ALL);
        answer_the_first(&mut terminal, &scene, place);
        terminal.asks(question);
        terminal.ctrl_c();
        let shown = terminal.ends(130);
        assert!(shown.contains("interrupted; nothing was changed"), "{shown}");
        assert!(!shown.contains("--resume"), "there is nothing to go on with: {shown}");
        is_untouched(&scene, question);
    }
    assert_eq!(scene.apps(&scene.node), ["agent", "cache", "shell"]);
}

fn no_leaves_what_was_done(world: &World) {
    let scene = scene(world);
    let before = scene.facts();
    for (place, question) in questions(&scene).iter().enumerate().take(4) {
        let mut terminal = Terminal::of(&scene, &ASK_ALL);
        answer_the_first(&mut terminal, &scene, place);
        terminal.answers(question, "");
        let shown = terminal.ends(4);
        assert!(shown.contains("declined; nothing was changed"), "{shown}");
        is_untouched(&scene, question);
    }
    let mut terminal = Terminal::of(&scene, &ASK_ALL);
    answer_the_first(&mut terminal, &scene, 4);
    terminal.asks(&reboot(&scene));
    terminal.types("\r");
    let shown = terminal.ends(4);
    assert!(shown.contains("declined; it stays cordoned"), "{shown}");
    assert!(shown.contains(&format!("kubectl sciuro remediate {} --resume", scene.node)), "{shown}");
    assert!(scene.is_cordoned());
    assert_eq!(scene.record().expect("a record")["state"], "Draining");
    assert_eq!((scene.lease_holder(), scene.helpers()), (None, vec![]));
    assert_eq!(scene.facts().reboots, before.reboots);

    let mut terminal = Terminal::of(&scene, &["--resume"]);
    terminal.answers(&plan(&scene), "y");
    terminal.answers(&reboot(&scene), "yes");
    terminal.ends(0);
    scene.is_remediated(&before);
}

fn no_at_the_reboot_can_be_undone(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    let mut terminal = Terminal::of(&scene, &[]);
    terminal.answers(&plan(&scene), "y");
    terminal.answers(&reboot(&scene), "n");
    terminal.ends(4);
    scene.remediate(&["--abort", "--yes"]).exits(0);
    scene.is_over("aborted");
    assert!(!scene.is_cordoned());
    assert_eq!(scene.facts().reboots, before.reboots);
}

pub(crate) const SHORT: [&str; 2] = ["--skip=collect", "--verify-timeout=1s"];

/// Its kubelet is not as well as before.
pub(crate) fn does_not_verify(scene: &Scene<'_>) {
    scene.until_state("Verifying");
    scene.world.block_on(scene.machines.set_ready(&scene.node, false)).expect("a machine");
}

fn a_node_that_did_not_verify(world: &World) {
    let scene = Scene::new(world);
    for answer in ["", "y"] {
        let mut terminal = Terminal::of(&scene, &SHORT);
        terminal.answers(&plan(&scene), "y");
        terminal.answers(&reboot(&scene), "yes");
        does_not_verify(&scene);
        terminal.sees("Ready is False");
        terminal.asks(&format!("Uncordon node {} all the same?", scene.node));
        assert!(scene.is_cordoned());
        terminal.types(&format!("{answer}\r"));
        let shown = terminal.ends(7);
        if answer == "y" {
            assert!(shown.contains("it is uncordoned again, and nothing is left of the run"), "{shown}");
            scene.is_over("aborted");
            assert!(!scene.is_cordoned());
        } else {
            assert!(shown.contains("it stays cordoned"), "{shown}");
            assert_eq!(scene.record().expect("a record")["failedState"], "Verifying");
            assert_eq!((scene.is_cordoned(), scene.lease_holder()), (true, None));
            scene.remediate(&["--abort", "--yes"]).exits(0);
            world.block_on(scene.machines.set_ready(&scene.node, true)).expect("a machine");
        }
    }
}

fn nobody_is_asked_about_a_node_that_did_not_verify(world: &World) {
    let scene = Scene::new(world);
    let command = scene.command(&[&SHORT[..], &["--yes"]].concat());
    let run = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&mut { command }));
        does_not_verify(&scene);
        running.join().expect("an end")
    });
    run.exits(7).says("✗ Ready is False").says("it stays cordoned").never_says("all the same");
    assert!(scene.is_cordoned());
}

/// On a cluster of one's own: other tests' control-plane nodes are none of its business.
#[test]
fn a_control_plane_node_is_rebooted_by_its_name_only() {
    let world = World::sandbox();
    let scene = Scene::new(&world);
    scene.patch(&scene.node, &json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}));
    let before = scene.facts();
    let question = format!("{} is a control-plane node. Type its name to reboot it", scene.node);
    let mut terminal = Terminal::of(&scene, &[]);
    terminal.answers(&plan(&scene), "y");
    terminal.answers(&question, "yes");
    let shown = terminal.ends(4);
    assert!(shown.contains("declined; it stays cordoned"), "{shown}");
    assert_eq!(scene.facts().reboots, before.reboots);

    let mut terminal = Terminal::of(&scene, &["--resume", "--yes"]);
    terminal.answers(&question, &scene.node);
    terminal.ends(0);
    scene.is_remediated(&before);
}
