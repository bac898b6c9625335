//! Upstream Sciuro and `sync --loop` do the same with well-formed alerts, driven by the same `ConfigMap`. A malformed one costs
//! its node all conditions there, and here nothing but itself.
//!
//! What upstream does is the snapshot `upstream_conditions`, made by upstream itself at commit 4738b6b: with
//! `SCIURO_UPSTREAM=FILE` its binary runs beside ours, and both are compared with the snapshot. Its metrics need port 8080.

use std::process::Command;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{Running, World, seconds_ago};

const NODES: usize = 200;
/// The expression of upstream's own manifests, and what keeps other tests' alerts away.
const EXPRESSION: &str = r#""test" in labels && labels["test"] == "TEST" && "node" in labels && (labels["node"] == FullName || labels["node"] == ShortName)"#;

mod control_plane {
    #[test]
    fn upstreams_config_map_gives_upstreams_conditions() {
        super::upstreams_config_map_gives_upstreams_conditions(&crate::support::World::control_plane());
    }
}

fn upstreams_config_map_gives_upstreams_conditions(world: &World) {
    let ours = world.prefix();
    let theirs = format!("Up{ours}"); // neither prefix begins with the other
    let nodes: Vec<String> =
        (0..NODES).map(|number| world.bare_node(&format!("n{number:03}.rack{}.k8s", number % 7))).collect();
    for (number, node) in nodes.iter().enumerate() {
        let seeds: Vec<Value> = [&theirs, &ours]
            .into_iter()
            .flat_map(|prefix| seeds(number).into_iter().map(move |seed| condition(prefix, seed)))
            .collect();
        if !seeds.is_empty() {
            let patch = json!({"status": {"conditions": seeds}});
            world.patch_status(node, "application/strategic-merge-patch+json", &patch);
        }
        for (labels, summary) in alerts(number, node) {
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            world.alert(&labels, &summary, true);
        }
    }

    // One alert that upstream cannot read keeps all conditions of its node away.
    let malformed = [world.bare_node("m0.rack0.k8s"), world.bare_node("m1.rack0.k8s")];
    world.alert(&[("alertname", "Odd"), ("node", &malformed[0]), ("priority", "blah")], "odd", true);
    world.alert(&[("alertname", "Fine"), ("node", &malformed[0]), ("priority", "2")], "fine", true);
    world.alert(&[("node", &malformed[1])], "nameless", true);
    world.alert(&[("alertname", "Fine"), ("node", &malformed[1])], "", true);

    let mut sync = world.command(&["sync", "--loop", "--warmup=0", "--force-clear"]);
    let mut running = Running::start(configure(&mut sync, world, &ours, "ours"), str::to_owned);
    running.says("conditions changed");
    let _stopped = running.interrupt();
    let found = read(world, &nodes, &ours);
    insta::assert_snapshot!("upstream_conditions", found);
    insta::assert_snapshot!(read(world, &malformed, &ours), @r#"
    n000 Fine True since now AlertIsFiring "[P2] fine"
    n000 Odd True since now AlertIsFiring "[P9] odd"
    n001 Fine True since now AlertIsFiring "[P9]"
    "#);

    if let Some(binary) = std::env::var_os("SCIURO_UPSTREAM") {
        let mut upstream = Command::new(binary);
        upstream.env("KUBECONFIG", world.kubeconfig());
        let mut upstream =
            configure(&mut upstream, world, &theirs, "theirs").spawn().expect("upstream starts");
        let deadline = Instant::now() + Duration::from_secs(90);
        while read(world, &nodes, &theirs) != found && Instant::now() < deadline {
            std::thread::sleep(Duration::from_secs(1));
        }
        upstream.kill().expect("upstream runs until now");
        upstream.wait().expect("an exit code");
        insta::assert_snapshot!("upstream_conditions", read(world, &nodes, &theirs));
        assert_eq!(read(world, &malformed, &theirs), "");
    }
}

/// Upstream's `ConfigMap`, its values adjusted.
fn configure<'c>(command: &'c mut Command, world: &World, prefix: &str, lease: &str) -> &'c mut Command {
    command
        .env("SCIURO_ALERT_RECEIVER", "node-condition-k8s")
        .env("SCIURO_ALERTMANAGER_URL", world.alertmanager_url())
        .env("SCIURO_CEL_EXPRESSION", EXPRESSION.replace("TEST", world.id()))
        .env("SCIURO_LEADER_NAMESPACE", "kube-system")
        .env("SCIURO_LEADER_ID", world.name(lease))
        .env("SCIURO_NODE_CONDITION_PREFIX", prefix)
        .env("SCIURO_LINGER_DURATION", "24h")
        .env("SCIURO_MAX_CONCURRENT_RECONCILES", "8")
}

/// Conditions that a node has before: type, status, message, hours since its transition.
fn seeds(number: usize) -> Vec<(&'static str, &'static str, &'static str, i64)> {
    let mut seeds = Vec::new();
    match number % 9 {
        0 => seeds.push(("DiskFailing", "True", "[P3] sda", 5)),
        1 => seeds.push(("DiskFailing", "False", "", 5)),
        2 => seeds.push(("DiskFailing", "Unknown", "", 5)),
        3 => seeds.push(("Ended", "True", "[P9] was hot", 5)),
        4 => seeds.push(("Ended", "False", "", 5)),
        5 => seeds.push(("Ended", "False", "", 25)),
        6 => seeds.push(("Ended", "Unknown", "", 25)),
        _ => {}
    }
    if number.is_multiple_of(5) {
        seeds.push(("Old", "False", "", 48));
    }
    seeds
}

fn condition(prefix: &str, (name, status, message, hours): (&str, &str, &str, i64)) -> Value {
    let reason = match status {
        "True" => "AlertIsFiring",
        "False" => "AlertIsNotFiring",
        _ => "AlertsUnavailable",
    };
    let time = seconds_ago(SignedDuration::from_hours(hours));
    json!({"type": format!("{prefix}{name}"), "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": time, "lastTransitionTime": time})
}

/// Well-formed alerts of a node, some by its short name.
fn alerts(number: usize, node: &str) -> Vec<(Vec<(&'static str, String)>, String)> {
    let alert = |name: &str, priority: Option<u8>, device: &str, short: bool| {
        let name_of_node = if short { node.split('.').next().unwrap_or(node) } else { node };
        let mut labels = vec![
            ("alertname", name.to_owned()),
            ("node", name_of_node.to_owned()),
            ("device", device.to_owned()),
        ];
        labels.extend(priority.map(|priority| ("priority", priority.to_string())));
        labels
    };
    let mut alerts = Vec::new();
    if number % 9 < 3 || number.is_multiple_of(4) {
        alerts.push((alert("DiskFailing", Some(3), "sda", number.is_multiple_of(2)), "sda".to_owned()));
    }
    if number % 4 == 1 {
        // The most urgent speaks.
        alerts.push((alert("Filling", Some(6), "/", false), "the root is full".to_owned()));
        alerts.push((alert("Filling", Some(5), "/var", false), "/var is full".to_owned()));
    }
    if number % 4 == 2 {
        alerts.push((alert("Uptime", None, "", true), String::new()));
        alerts.push((alert("Clock", Some(0), "", false), "ahead by 3 s".to_owned()));
    }
    alerts
}

/// A line for each condition: node, type without the prefix, status, reason, message, and whether the transition time is
/// the one that it had before.
fn read(world: &World, nodes: &[String], prefix: &str) -> String {
    let list = world.request("GET", "/api/v1/nodes", "application/json", &Value::Null);
    let an_hour_ago = seconds_ago(SignedDuration::from_hours(1));
    let mut lines = Vec::new();
    for item in list["items"].as_array().expect("a list") {
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        let Some(number) = nodes.iter().position(|node| node == name) else { continue };
        for condition in item["status"]["conditions"].as_array().expect("conditions") {
            let text = |field: &str| condition[field].as_str().unwrap_or_default();
            let Some(short) = text("type").strip_prefix(prefix) else { continue };
            let (status, reason, message) = (text("status"), text("reason"), text("message"));
            let since = if *text("lastTransitionTime") < *an_hour_ago { "before" } else { "now" };
            lines.push(format!("n{number:03} {short} {status} since {since} {reason} {message:?}"));
        }
    }
    lines.sort();
    lines.join("\n")
}
