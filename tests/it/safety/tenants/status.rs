//! What a stolen token of sync's account can make `status` say by the annotations of its Lease.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{Run, World, scenarios, seconds_ago};

scenarios![
    c4_a_prefix_in_the_lease_hides_nothing_and_is_named,
    c4_a_full_sync_in_the_future_is_not_believed,
    c4_a_full_sync_that_no_condition_shows_confirms_nothing,
];

const NOW: SignedDuration = SignedDuration::ZERO;

fn lease(world: &World, annotations: &[(&str, &str)]) {
    let annotations: serde_json::Map<String, Value> = [("interval", "60s"), ("source-state", "FULL")]
        .iter()
        .chain(annotations)
        .map(|(name, value)| (format!("sciuro.dev/{name}"), (*value).into()))
        .collect();
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": world.name("sync"), "annotations": annotations}, "spec": {"holderIdentity": ""}});
    world.create(world.lease_path().rsplit_once('/').unwrap().0, &lease);
}

/// A condition with the default prefix, last confirmed so long ago.
fn fires(world: &World, node: &str, age: SignedDuration) {
    let time = seconds_ago(age);
    world.patch_status(node, "application/strategic-merge-patch+json", &json!({"status": {"conditions": [{
        "type": "AlertManager_DiskFailing", "status": "True", "reason": "AlertIsFiring", "message": "[P1] sda",
        "lastHeartbeatTime": time, "lastTransitionTime": time,
    }]}}));
}

/// Without `--prefix`: it is the Lease that names one.
fn status(world: &World, more: &[&str]) -> Run {
    world.run(&[&["status", "--no-headers", "--lease-name", &world.name("sync")], more].concat())
}

fn c4_a_prefix_in_the_lease_hides_nothing_and_is_named(world: &World) {
    let node = world.bare_node("w1");
    lease(world, &[("prefix", "Quiet_"), ("last-full", &seconds_ago(NOW))]);
    let named = "prefix Quiet_ from Lease kube-system/sync";
    status(world, &["--exit-code", &node])
        .exits(0)
        .says(&format!("No firing node conditions found ({named})."));
    fires(world, &node, NOW);
    let shown = status(world, &["--exit-code", &node]).exits(10).says(named);
    assert!(shown.stdout.contains("P1   AlertManager_DiskFailing   True"), "{shown:?}");
    let document = status(world, &["-o", "json", &node]).exits(0).stdout;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        (&document["leasePrefix"], document["items"].as_array().unwrap().len()),
        (&json!("Quiet_"), 1)
    );
    // What was typed is meant.
    status(world, &["--exit-code", "--prefix", "Quiet_", &node]).exits(0).never_says("Lease");
}

fn c4_a_full_sync_in_the_future_is_not_believed(world: &World) {
    let node = world.bare_node("w1");
    lease(world, &[("last-full", &seconds_ago(SignedDuration::from_hours(-24)))]);
    let future = "cannot tell: the last full sync is recorded for the future";
    status(world, &["--exit-code", &node]).exits(1).says(future);
    fires(world, &node, SignedDuration::from_hours(4));
    let shown = status(world, &[&node]).exits(0).says("cannot tell what else fires");
    assert!(shown.stdout.contains("True (stale 4h)"), "{shown:?}");
}

/// Nothing has confirmed the condition for hours, whatever the Lease says of intervals.
fn c4_a_full_sync_that_no_condition_shows_confirms_nothing(world: &World) {
    let node = world.bare_node("w1");
    fires(world, &node, SignedDuration::from_hours(30));
    lease(world, &[("last-full", &seconds_ago(NOW)), ("interval", "8760h"), ("heartbeat-interval", "8760h")]);
    let shown = status(world, &[&node]).exits(0);
    assert!(shown.stdout.contains("True (stale 30h)"), "{shown:?}");
    // That there are no heartbeats is believed, and said.
    let patch = json!({"metadata": {"annotations": {"sciuro.dev/heartbeat-interval": "0s"}}});
    world.request("PATCH", &world.lease_path(), "application/merge-patch+json", &patch);
    let shown =
        status(world, &[&node]).exits(0).says("conditions are not confirmed (--heartbeat-interval 0)");
    assert!(!shown.stdout.contains("stale"), "{shown:?}");
}
