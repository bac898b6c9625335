//! What `status` shows.

use std::process::{Command, Stdio};

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{Run, World, scenarios, seconds_ago};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

scenarios![
    conditions_are_shown_most_urgent_first,
    conditions_of_every_writer_are_shown,
    nothing_is_firing_only_after_a_fresh_full_sync,
    an_outage_is_not_silence,
    what_nobody_confirms_is_stale,
    filters_and_columns,
    an_unknown_node_is_an_error,
    without_permission_it_says_so,
];

fn status(world: &World, more: &[&str]) -> Run {
    world.run(&[&["status", "--lease-name", &world.name("sync"), "--prefix", &world.prefix()], more].concat())
}

/// The Lease as a sync leaves it.
fn record_sync(world: &World, age: SignedDuration) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": world.name("sync"), "annotations": {
            "sciuro.dev/last-full": seconds_ago(age), "sciuro.dev/last-by": "cron@ops1", "sciuro.dev/interval": "60s",
            "sciuro.dev/prefix": world.prefix(), "sciuro.dev/source-state": "FULL"}},
        "spec": {"holderIdentity": ""},
    });
    world.create(world.lease_path().rsplit_once('/').unwrap().0, &lease);
}

/// What it printed, with columns as narrow as can be: the names of a world are made short after they were laid out.
fn transcript(run: &Run) -> String {
    let mut table = run.stdout.clone();
    while table.contains("    ") {
        table = table.replace("    ", "   ");
    }
    format!("{table}---\n{}exit {}\n", run.stderr, run.code.unwrap())
}

/// Three nodes with five conditions between them.
fn busy(world: &World) -> Vec<String> {
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    world.seed(&nodes[0], "UpTooLong", "True", "[P8] uptime 9 days", MINUTE * 60 * 173);
    world.seed(&nodes[2], "DiskFailing", "True", "[P1] sda reallocated sectors 812", MINUTE * 12);
    world.seed(&nodes[2], "Ended", "False", "", MINUTE * 30);
    world.seed(&nodes[1], "NoPriority", "True", "somebody wrote this by hand", MINUTE * 20);
    world.seed(&nodes[1], "UpTooLong", "True", "[P8] uptime 8 days", MINUTE * 60 * 100);
    nodes
}

fn conditions_are_shown_most_urgent_first(world: &World) {
    let nodes = busy(world);
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    record_sync(world, MINUTE * 2);
    insta::allow_duplicates! {
        insta::assert_snapshot!("most_urgent_first", transcript(&status(world, &nodes)));
    }
    status(world, &[&nodes[..], &["-o", "name"]].concat()).exits(0).prints("node/w3\nnode/w1\nnode/w2");
    status(world, &[&nodes[..], &["--no-headers", "--priority", "1-3"]].concat())
        .exits(0)
        .prints("w3   P1   DiskFailing   True   12m   sda reallocated sectors 812");
    status(world, &[&nodes[..], &["--exit-code"]].concat()).exits(10);
    // The prefix comes from the Lease.
    world
        .run(&[&["status", "--no-headers", "--lease-name", &world.name("sync")], &nodes[2..]].concat())
        .exits(0)
        .prints("w3   P1   DiskFailing   True   12m   sda reallocated sectors 812");
}

fn conditions_of_every_writer_are_shown(world: &World) {
    let node = world.node("w1");
    // Ours.
    world.alert(&[("alertname", "Ours"), ("node", &node), ("priority", "2")], "by sync", true);
    world.sync(&[]).exits(0);
    // Upstream's way: the whole list by a JSON merge patch.
    let mut conditions = world.get_node(&node)["status"]["conditions"].as_array().unwrap().clone();
    conditions.push(json!({"type": world.condition_type("Upstream"), "status": "True", "reason": "AlertIsFiring",
        "message": "[P3] by upstream", "lastHeartbeatTime": seconds_ago(MINUTE * 3), "lastTransitionTime": seconds_ago(MINUTE * 15)}));
    let path = format!("/api/v1/nodes/{node}/status?fieldManager=sciuro");
    world.request(
        "PATCH",
        &path,
        "application/merge-patch+json",
        &json!({"status": {"conditions": conditions}}),
    );
    // And node-problem-detector's.
    world.patch_status(&node, "application/strategic-merge-patch+json", &json!({"status": {"conditions": [{
        "type": "NPDKernelDeadlock", "status": "True", "reason": "DockerHung", "message": "task docker:20744 blocked for more than 120 seconds",
        "lastHeartbeatTime": seconds_ago(MINUTE * 60 * 3), "lastTransitionTime": seconds_ago(MINUTE * 60 * 4)}]}}));
    let shown = status(world, &["--no-headers", &node]).exits(0);
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert!(
        lines[0].starts_with("w1   P2   Ours       True   ") && lines[0].ends_with("by sync"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "w1   P3   Upstream   True   15m   by upstream");
    status(world, &["--no-headers", "--condition", "^NPD", &node])
        .exits(0)
        .prints(
            "w1   -   NPDKernelDeadlock   True   4h   task docker:20744 blocked for more than 120 seconds",
        )
        .never_says("Warning")
        .never_says("stale");
}

fn nothing_is_firing_only_after_a_fresh_full_sync(world: &World) {
    let node = world.node("w1");
    let lease = format!("kube-system/{}", world.name("sync")).replace(&world.name(""), "");
    status(world, &[&node])
        .exits(0)
        .prints("")
        .says(&format!("Warning: cannot tell: no sync recorded in {lease}"));
    status(world, &[&node, "--exit-code"]).exits(1);
    world.sync(&[]).exits(0);
    let said = status(world, &[&node, "--exit-code"]).exits(0).prints("");
    assert_eq!(said.stderr, "No firing node conditions found.\n");
    world.request(
        "PATCH",
        &world.lease_path(),
        "application/merge-patch+json",
        &json!({"metadata": {"annotations": {"sciuro.dev/last-full": seconds_ago(MINUTE * 241)}}}),
    );
    let said = status(world, &[&node]).exits(0).prints("");
    assert_eq!(said.stderr, "Warning: cannot tell: last full sync 4h1m ago\n");
    status(world, &[&node, "--exit-code"]).exits(1);
    // What others write has nothing to do with sync.
    let said = status(world, &[&node, "--exit-code", "--condition", "^NPD"]).exits(0);
    assert_eq!(said.stderr, "No firing node conditions found.\n");
}

fn an_outage_is_not_silence(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    for node in &nodes {
        world.seed(node, "X", "Unknown", "", MINUTE * 30);
    }
    record_sync(world, MINUTE * 2);
    let shown = status(world, &["--exit-code", "--no-headers", &nodes[0], &nodes[1]])
        .exits(10)
        .prints("w1   -   X   Unknown   30m\nw2   -   X   Unknown   30m");
    let shown = shown
        .says("2 unknown: alerts unavailable since ")
        .says("; last full sync 2m")
        .never_says("No firing");
    assert!(shown.stderr.contains(" ago by cron@ops1"), "{shown:?}");
}

fn what_nobody_confirms_is_stale(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P1] hot", MINUTE * 241);
    record_sync(world, MINUTE * 300);
    status(world, &["--no-headers", &node])
        .exits(0)
        .prints("w1   P1   X   True (stale 4h1m)   4h1m   hot")
        .says("1 condition firing on 1 of 1 node (P1: 1); last full sync 5h ago by cron@ops1")
        .says("Warning: cannot tell what else fires: last full sync 5h ago");
}

fn filters_and_columns(world: &World) {
    let nodes = busy(world);
    world.request(
        "PATCH",
        &format!("/api/v1/nodes/{}", nodes[2]),
        "application/merge-patch+json",
        &json!({"metadata": {"labels": {"example.com/rack": world.name("r7")}}, "spec": {"unschedulable": true}}),
    );
    record_sync(world, MINUTE * 2);
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

fn an_unknown_node_is_an_error(world: &World) {
    let node = world.node("w1");
    status(world, &["w99"])
        .exits(1)
        .prints("")
        .says(r#"Error from server (NotFound): nodes "w99" not found"#);
    status(world, &[&node, "node/w99"]).exits(1).prints("").says(r#"nodes "w99" not found"#);
}

fn without_permission_it_says_so(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P1] hot", MINUTE);
    let reader = world.user_who_may(&[("", "nodes", "list")]);
    status(world, &["--as", &reader, &node])
        .exits(0)
        .says("Warning: cannot tell what else fires: Lease not readable (Forbidden)");
    let nobody = world.user_who_may(&[]);
    status(world, &["--as", &nobody, &node])
        .exits(1)
        .prints("")
        .says(r#"Error from server (Forbidden): nodes "w1" is forbidden"#)
        .says("hint: kubectl auth can-i list nodes");
}

#[test]
fn an_api_server_that_is_away_is_an_error() {
    let world = World::sandbox();
    status(&world, &["--server", "https://127.0.0.1:1"])
        .exits(1)
        .prints("")
        .says("was refused - did you specify");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let world = World::sandbox();
    busy(&world);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let arguments = ["status", "--prefix", &world.prefix()];
    let output = world
        .command(&arguments)
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"), "{output:?}");
}

/// In a terminal of 40 columns, with and without colours.
#[test]
fn a_narrow_terminal_wraps_nothing() {
    let world = World::sandbox();
    busy(&world);
    record_sync(&world, MINUTE * 2);
    let binary = env!("CARGO_BIN_EXE_kubectl-sciuro");
    let in_terminal = |environment: &str| {
        let line = format!(
            "stty cols 40 rows 20; {environment} {binary} status --prefix {} --lease-name {}",
            world.prefix(),
            world.name("sync")
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &line])
            .env("KUBECONFIG", world.kubeconfig())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        let mut session = rexpect::session::spawn_command(command, Some(10_000)).unwrap();
        let latin1 = session.exp_eof().unwrap().replace('\r', ""); // which is how rexpect reads bytes
        let bytes: Vec<u8> =
            latin1.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
        String::from_utf8(bytes).unwrap()
    };
    let plain = in_terminal("NO_COLOR=1");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let table: Vec<&str> = plain.lines().take_while(|line| !line.contains("firing on")).collect();
    assert_eq!(table.len(), 5, "{plain}");
    assert!(table[1].contains("P1") && table[1].contains("True"), "{plain}");
    assert!(table.iter().all(|line| line.chars().count() <= 40), "{plain}");
    let colored = in_terminal("");
    assert!(colored.contains("\u{1b}[31m\u{1b}[1mP1\u{1b}[0m"), "{colored:?}");
    assert!(!in_terminal("TERM=dumb").contains("\u{1b}["));
    let piped = status(&world, &["--color", "always"]).exits(0);
    assert!(piped.stdout.contains("\u{1b}[31mTrue\u{1b}[0m"), "{piped:?}");
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
    record_sync(&world, MINUTE * 2);
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
