//! The picture of README: one node from its alert to its uncordon, as a terminal shows it.

use std::fmt::Write;
use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;

use anstyle_svg::{Term, WIN10_CONSOLE};
use serde_json::json;

use super::stage::{Stage, run};
use crate::remediate::scene::Scene;

const ALERT: [(&str, &str); 3] =
    [("alertname", "CalicoTooManyInterfacesEarly"), ("node", "worker1a"), ("priority", "6")];
const SAYS: &str = "worker1a has too many Calico interfaces";

pub(super) fn svg() -> String {
    let stage = Stage::empty();
    let shown = session(&stage);
    Term::new().palette(WIN10_CONSOLE).render_svg(&stage.timeless(&shown)) + "\n"
}

fn session(stage: &Stage) -> String {
    let scene = Scene::new(&stage.world);
    scene.cordon(&scene.spare, true);
    scene.workload("deployments", "Deployment", "web", 1, &json!({}));
    scene.until_running(1);
    scene.cordon(&scene.spare, false);
    scene.budget("web", &json!({"maxUnavailable": 1}));
    stage.world.alert(&ALERT, SAYS, true);

    let mut shown = String::new();
    let mut types = |line: &str| {
        let mut command = stage.command(line);
        command.args(["--color", "always"]).current_dir(scene.directory());
        _ = writeln!(shown, "\u{1b}[1m$ {line}\u{1b}[0m\n{}", run(&mut command, 0));
    };
    std::fs::DirBuilder::new().mode(0o700).create(scene.directory()).expect("a directory");
    types("kubectl sciuro sync");
    types("kubectl sciuro status");
    std::thread::scope(|scope| {
        // A machine that has just booted has few interfaces.
        let ends = scope.spawn(|| {
            while scene.machines.facts(&scene.node).is_ok_and(|facts| facts.reboots == 0) {
                std::thread::sleep(Duration::from_millis(50));
            }
            stage.world.alert(&ALERT, SAYS, false);
        });
        types("kubectl sciuro remediate worker1a --yes");
        ends.join().expect("the alert has ended");
    });
    types("kubectl sciuro sync");
    types("kubectl sciuro status");
    shown.trim_end().to_owned()
}
