//! A node with one of everything that runs on nodes, and a node beside it that takes what has to go: doubles of machines.

use std::ops::{Deref, DerefMut};

use sandbox::{Facts, Machines};
use serde_json::json;

use super::ground::Ground;
use crate::support::World;

pub struct Scene<'w> {
    ground: Ground<'w>,
    pub machines: Machines,
}

impl<'w> Deref for Scene<'w> {
    type Target = Ground<'w>;

    fn deref(&self) -> &Ground<'w> {
        &self.ground
    }
}

impl DerefMut for Scene<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.ground
    }
}

impl<'w> Scene<'w> {
    /// Two nodes on which nothing runs.
    pub fn new(world: &'w World) -> Self {
        let machines = world.machines(&["worker1a", "worker1b"]);
        let ground = Ground::new(world, world.name("worker1a"), world.name("worker1b"));
        ground.opens(&ground.node);
        ground.opens(&ground.spare);
        Self { ground, machines }
    }

    /// With a Deployment and its budget, a `StatefulSet`, a `DaemonSet`, a pod with an emptyDir, a bare and a static pod.
    pub fn with_everything(world: &'w World) -> Self {
        let this = Self::new(world);
        this.cordon(&this.spare, true);
        this.workload("deployments", "Deployment", "web", 2, &json!({}));
        this.workload("statefulsets", "StatefulSet", "db", 1, &json!({}));
        this.workload(
            "deployments",
            "Deployment",
            "cache",
            1,
            &json!({"volumes": [{"name": "scratch", "emptyDir": {}}]}),
        );
        this.bare_pod("shell");
        world.block_on(this.machines.run_static(&this.node, &this.namespace, "proxy")).expect("a static pod");
        this.until_running(6);
        this.cordon(&this.spare, false);
        this.workload("daemonsets", "DaemonSet", "agent", 0, &json!({}));
        this.until_running(7);
        this.budget("web", &json!({"maxUnavailable": 1}));
        this
    }

    pub fn facts(&self) -> Facts {
        self.machines.facts(&self.node).expect("a machine")
    }

    /// Remediated: rebooted once more than `before`, uncordoned, and nothing is left.
    #[track_caller]
    pub fn is_remediated(&self, before: &Facts) {
        let after = self.facts();
        assert_eq!(after.reboots, before.reboots + 1);
        assert_ne!(after.boot_id, before.boot_id);
        self.is_remediated_by(&after.boot_id);
    }
}
