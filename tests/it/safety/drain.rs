//! Drains that wait for what cannot come, or fail for what passes.

mod budgets;
mod told;
mod volumes;
mod webhooks;

use std::time::Duration;

use sciuro::core::drain::Policy;
use sciuro::remedy::drain::{DrainFailure, DrainOptions, Drained, drain};
use serde_json::{Value, json};

use crate::drain::scene::Told;
use crate::remediate::ground::Ground;
use crate::remediate::scene::Scene;
use crate::watch::eventually;

/// With `--force`, for so many seconds.
fn within(seconds: u64) -> DrainOptions {
    let policy = Policy { force: true, ..Policy::default() };
    DrainOptions {
        policy,
        timeout: Some(Duration::from_secs(seconds)),
        strangers_within: Duration::from_secs(1),
        ..DrainOptions::default()
    }
}

/// Cordons and drains the node.
fn drains(ground: &Ground<'_>, options: &DrainOptions, told: &Told) -> Result<Drained, DrainFailure> {
    ground.cordon(&ground.node, true);
    ground.world.block_on(drain(ground.world.cluster(None), &ground.node, options, told))
}

/// Pods of a Deployment that all run on the node.
fn replicas(scene: &Scene<'_>, app: &str, replicas: u32) {
    scene.cordon(&scene.spare, true);
    scene.workload("deployments", "Deployment", app, replicas, &json!({}));
    eventually("pods that run on the node", || {
        let pods = scene.pods(&scene.node);
        let ready =
            |pod: &&Value| pod["metadata"]["labels"]["app"] == app && pod["status"]["phase"] == "Running";
        pods.iter().filter(ready).count() == replicas as usize
    });
    scene.cordon(&scene.spare, false);
}

/// A bare pod that goes only when its budget does: one more pod of it starts nowhere.
fn held_pod(scene: &Scene<'_>) {
    scene.bare_pod("held");
    let waits = json!({"metadata": {"name": "waits", "labels": {"app": "held"}}, "spec": {
        "nodeSelector": {"no-such-label": "here"}, "automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
    scene.world.create(&format!("/api/v1/namespaces/{}/pods", scene.namespace), &waits);
    scene.budget("held", &json!({"minAvailable": 1}));
}

/// So often a line with this in it was told.
fn times(told: &Told, part: &str) -> usize {
    told.lines().iter().filter(|line| line.contains(part)).count()
}

fn merge_patch(ground: &Ground<'_>, path: &str, patch: &Value) {
    ground.world.request("PATCH", path, "application/merge-patch+json", patch);
}
