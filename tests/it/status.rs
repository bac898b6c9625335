//! What `status` shows.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{Run, World, scenarios, seconds_ago};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

scenarios![filters_and_columns,];

pub(crate) fn status(world: &World, more: &[&str]) -> Run {
    world.run(&[&["status", "--lease-name", &world.name("sync"), "--prefix", &world.prefix()], more].concat())
}

/// The Lease as a sync leaves it.
pub(crate) fn record_sync(world: &World, age: SignedDuration) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": world.name("sync"), "annotations": {
            "sciuro.dev/last-full": seconds_ago(age), "sciuro.dev/last-by": "cron@ops1", "sciuro.dev/interval": "60s",
            "sciuro.dev/prefix": world.prefix(), "sciuro.dev/source-state": "FULL"}},
        "spec": {"holderIdentity": ""},
    });
    world.create(world.lease_path().rsplit_once('/').unwrap().0, &lease);
}

/// Three nodes with five conditions between them.
fn busy(world: &World) -> Vec<String> {
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    world.seed_confirmed(&nodes[0], "UpTooLong", "True", "[P8] uptime 9 days", MINUTE * 60 * 173);
    world.seed_confirmed(&nodes[2], "DiskFailing", "True", "[P1] sda reallocated sectors 812", MINUTE * 12);
    world.seed_confirmed(&nodes[2], "Ended", "False", "", MINUTE * 30);
    world.seed_confirmed(&nodes[1], "NoPriority", "True", "somebody wrote this by hand", MINUTE * 20);
    world.seed_confirmed(&nodes[1], "UpTooLong", "True", "[P8] uptime 8 days", MINUTE * 60 * 100);
    nodes
}

fn filters_and_columns(world: &World) {
    let nodes = busy(world);
    world.request(
        "PATCH",
        &format!("/api/v1/nodes/{}", nodes[2]),
        "application/merge-patch+json",
        &json!({"metadata": {"labels": {"example.com/rack": world.name("r7")}}, "spec": {"unschedulable": true}}),
    );
    record_sync(world, MINUTE * 12);
    let selector = format!("example.com/rack={}", world.name("r7"));
    let wide = status(world, &["-o", "wide", "-l", &selector, "-L", "example.com/rack"]).exits(0);
    // The columns are as wide as this world's prefix makes them.
    let words: Vec<String> =
        wide.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        words,
        [
            "NODE PRIORITY CONDITION STATUS AGE NODE-STATUS ROLES REASON HEARTBEAT REMEDIATION RACK MESSAGE",
            "w3 P1 AlertManager_DiskFailing True 12m Ready,SchedulingDisabled worker AlertIsFiring 12m <none> r7 \
             sda reallocated sectors 812",
        ]
    );
    let field = format!("metadata.name={}", nodes[0]);
    status(world, &["--no-headers", "--field-selector", &field])
        .exits(0)
        .prints("w1   P8   UpTooLong   True   7d5h   uptime 9 days");
    let all = status(world, &["--all", "--no-headers", &nodes[2]]).exits(0);
    assert!(all.stdout.contains("   Ended  ") && all.stdout.contains("   DiskPressure  "), "{all:?}");
    let labels = status(world, &["--show-labels", "--no-headers", &nodes[2]]).exits(0);
    assert!(labels.stdout.contains("example.com/rack=r7"), "{labels:?}");
}

#[test]
fn hostile_text_disturbs_neither_terminal_nor_columns() {
    let world = World::sandbox();
    let node = world.node("w1");
    let message = format!("[P1] a\u{1b}[2J\tb\u{202e}c {}\nsecond", "x".repeat(5_000));
    world.seed(&node, "X", "True", &message, MINUTE);
    let shown = status(&world, &["--no-headers"]).exits(0).stdout;
    assert_eq!(shown.lines().count(), 1);
    assert!(shown.contains("a^[[2J\\tb\\u{202e}c xxx") && shown.trim_end().ends_with("xxx..."), "{shown}");
}

#[test]
fn documents() {
    let world = World::sandbox();
    let nodes = busy(&world);
    record_sync(&world, MINUTE * 12);
    let mut report: Value =
        serde_json::from_str(&status(&world, &["-o", "json", &nodes[2]]).exits(0).stdout).unwrap();
    assert!(report["time"].take().is_string() && report["lastFullSync"].take().is_string());
    for time in ["lastTransitionTime", "lastHeartbeatTime"] {
        assert!(report["items"][0][time].take().is_string());
    }
    insta::assert_json_snapshot!("status_report", report);
    let yaml = status(&world, &["-o", "yaml", &nodes[2]]).exits(0).stdout;
    assert!(yaml.starts_with("apiVersion: sciuro.dev/v1alpha1\nkind: StatusReport\n"), "{yaml}");
}
