//! `kubectl sciuro remediate` from its plan to its end.

pub(crate) mod asked;
pub(crate) mod ground;
pub(crate) mod scene;
mod signal;
pub(crate) mod stopped;
pub(crate) mod terminal;
mod tiers;
pub(crate) mod transcript;

use self::scene::Scene;
use crate::support::{World, scenarios};

scenarios!(what_somebody_else_cordoned_stays_cordoned);

fn what_somebody_else_cordoned_stays_cordoned(world: &World) {
    let scene = Scene::new(world);
    scene.bare_pod("shell");
    scene.until_running(1);
    scene.cordon(&scene.node, true);
    let before = scene.facts();
    scene.remediate(&["--yes", "--force"]).exits(0).says("it had been cordoned before");
    scene.is_over("remediated");
    assert!(scene.is_cordoned());
    assert_eq!(scene.facts().reboots, before.reboots + 1);
}
