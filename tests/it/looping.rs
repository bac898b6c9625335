//! `sync --loop`.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Relay, Running, World, command, run, scenarios};
use crate::watch::eventually;

scenarios![
    conditions_follow_the_alerts,
    what_comes_between_two_rounds_is_planned_at_once,
    a_node_that_was_replaced_gets_its_conditions_at_once,
    of_two_loops_one_writes_and_the_other_takes_over,
    a_signal_ends_it_with_the_lease_given_back,
    a_leader_that_was_cut_off_goes_on_when_it_is_leader_again,
];

/// A leader that was killed is followed within a Lease's duration and a half.
pub(crate) const TAKEN_OVER_WITHIN: Duration = Duration::from_millis(22_500);

pub(crate) fn start(world: &World, more: &[&str]) -> Running {
    start_with(world, more, |_| {})
}

/// The same, with more of an environment.
pub(crate) fn start_with(world: &World, more: &[&str], change: impl FnOnce(&mut Command)) -> Running {
    let all: Vec<&str> = ["--loop", "--interval", "1s"].iter().chain(more).copied().collect();
    let (id, prefix) = (world.name(""), world.prefix());
    let mut command = world.sync_command(&all);
    change(&mut command);
    Running::start(&mut command, move |line| line.replace(&id, "").replace(&prefix, "AlertManager_"))
}

pub(crate) fn holder(world: &World) -> String {
    let lease = world.lease().unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

fn conditions_follow_the_alerts(world: &World) {
    let node = world.node("w1");
    let foreign = world.foreign(&node).len();
    let mut looping = start(world, &[]);
    looping.says("leading: the Lease kube-system/sync is ours");
    world.alert(&[("alertname", "X"), ("node", &node), ("priority", "2")], "hot", true);
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_X True (added)");
    world.alert(&[("alertname", "Y"), ("node", &node)], "", true);
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_Y True (added)");
    world.alert(&[("alertname", "X"), ("node", &node), ("priority", "2")], "hot", false);
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_X False (was True)");
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "False");
    assert_eq!(world.condition(&node, "Y").unwrap()["message"], "[P9]");
    assert_eq!(world.foreign(&node).len(), foreign);
    // What a round found is on the Lease soon, without being given back.
    eventually("the annotations", || {
        world.lease().unwrap()["metadata"]["annotations"]["sciuro.dev/source-state"] == "FULL"
    });
    assert!(holder(world).starts_with("tester@"));
    let (stdout, stderr) = looping.interrupt();
    assert_eq!(stdout.len(), 3, "{stdout:#?} {stderr:#?}");
    assert!(stderr.iter().any(|line| line.contains("1 condition changed on 1 of")), "{stderr:#?}");
}

/// The next round is ten minutes away.
fn what_comes_between_two_rounds_is_planned_at_once(world: &World) {
    let first = world.node("w1");
    let (added, renamed) = (world.name("w2"), world.bare_node("w3"));
    for node in [first.as_str(), &added, "10.99.98.97"] {
        world.alert(&[("alertname", "X"), ("node", node)], "", true);
    }
    world.seed(&renamed, "Old", "True", "[P9]", jiff::SignedDuration::from_secs(60));
    let mut looping = start(world, &["--interval", "10m"]);
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_X True (added)");
    assert_eq!(looping.row(), "node/w3 condition/AlertManager_Old False (was True)");
    world.seed(&renamed, "Old", "True", "[P9]", jiff::SignedDuration::from_secs(60));

    world.node("w2");
    assert_eq!(looping.row(), "node/w2 condition/AlertManager_X True (added)");
    let addresses = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.99.98.97"}]}});
    world.patch_status(&renamed, "application/strategic-merge-patch+json", &addresses);
    assert_eq!(looping.row(), "node/w3 condition/AlertManager_X True (added)");
    assert_eq!(world.condition(&renamed, "Old").unwrap()["status"], "True", "nothing is cleared in between");
    looping.interrupt();
}

fn of_two_loops_one_writes_and_the_other_takes_over(world: &World) {
    let node = world.node("w1");
    let mut first = start(world, &[]);
    first.says("leading");
    let leader = holder(world);
    let mut second = start(world, &[]);
    second.says("standing by: the Lease kube-system/sync is held by tester@");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    assert_eq!(first.row(), "node/w1 condition/AlertManager_X True (added)");
    world.sync(&[]).exits(9).says(&format!("is held by {leader}").replace(&world.name(""), ""));

    let killed_at = Instant::now();
    first.kill();
    world.alert(&[("alertname", "Y"), ("node", &node)], "", true);
    second.says("leading");
    let took = killed_at.elapsed();
    assert!(took <= TAKEN_OVER_WITHIN, "{took:?}");
    assert_eq!(second.row(), "node/w1 condition/AlertManager_Y True (added)");
    assert_ne!(holder(world), leader);
    let (stdout, _) = second.interrupt();
    assert_eq!(stdout.len(), 1, "what the first wrote was known to the second: {stdout:#?}");
}

fn a_signal_ends_it_with_the_lease_given_back(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    let mut first = start(world, &[]);
    first.row();
    let mut second = start(world, &[]);
    second.says("standing by");
    first.signal("TERM");
    first.ends(143);
    second.says("leading");
    let by_second = holder(world);
    assert!(world.lease().unwrap()["metadata"]["annotations"]["sciuro.dev/last-full"].is_string());
    // One that stands by leaves the Lease alone.
    let mut third = start(world, &[]);
    third.says("standing by");
    third.signal("TERM");
    third.ends(143);
    assert_eq!(holder(world), by_second);
    second.signal("TERM");
    second.ends(143);
    assert_eq!(holder(world), "");
}

/// Nothing that it sends arrives, and nobody tells it so.
fn a_leader_that_was_cut_off_goes_on_when_it_is_leader_again(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    let relay = Relay::to(&world.server_url());
    let mut looping = start(world, &["--server", relay.url()]);
    looping.row();
    relay.cut();
    world.alert(&[("alertname", "X"), ("node", &node)], "", false);
    world.alert(&[("alertname", "Y"), ("node", &node)], "", true);
    looping.says("the Lease was lost: another may write now");
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
    assert_eq!(looping.stdout.len(), 1);
    relay.mend();
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_X False (was True)");
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_Y True (added)");
    looping.interrupt();
}

/// As a laptop that is closed in the middle of a round and opened when another has long taken over.
#[cfg(unix)]
#[test]
fn a_leader_that_stood_still_writes_nothing() {
    let world = World::sandbox();
    let node = world.node("w1");
    let mut first = start(&world, &[]);
    first.says("leading");
    let asked = rounds(&world);
    // Its answer comes when it has been standing still for long.
    let slow =
        world.alertmanager().faults().on("GET", "/api/v2/alerts").times(1).delay(Duration::from_secs(3));
    eventually("a round", || slow.hits() == 1 && rounds(&world) > asked);
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    first.signal("STOP");
    let mut second = start(&world, &[]);
    assert_eq!(second.row(), "node/w1 condition/AlertManager_X True (added)");
    let patches = || {
        let writes = world.api().writes_by("kubectl-sciuro");
        writes.iter().filter(|write| write.starts_with("PATCH")).count()
    };
    world.api().store().set_condition(&node, &world.condition_type("X"), "False");
    eventually("the second's write", || patches() == 2);
    first.signal("CONT");
    first.says("the Lease was lost: another may write now");
    first.says("standing by");
    assert_eq!(patches(), 2);
    assert_eq!(first.stdout.len(), 0, "{:#?}", first.stdout);
    first.interrupt();
    second.interrupt();
}

/// So many rounds were begun: each asks for the alerts once.
fn rounds(world: &World) -> usize {
    let requests = world.alertmanager().requests();
    requests.iter().filter(|request| request.path.ends_with("/alerts") && request.method == "GET").count()
}

#[test]
fn a_steady_state_costs_no_patch_and_no_list() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2"]);
    world.alert(&[("alertname", "X"), ("node", &nodes[0])], "", true);
    let mut looping = start(&world, &[]);
    looping.row();
    let before = rounds(&world);
    // Neither our own writes nor the heartbeats of kubelets are a reason for anything.
    for _ in 0..20 {
        world.api().store().set_condition(&nodes[1], "MemoryPressure", "False");
    }
    eventually("four rounds", || rounds(&world) >= before + 4);
    let requests = world.api().requests_by("kubectl-sciuro");
    let nodes: Vec<String> = requests
        .iter()
        .filter(|request| request.path.starts_with("/api/v1/nodes"))
        .map(|request| format!("{} {}", request.method, request.query.contains("watch=true")))
        .collect();
    assert_eq!(nodes, ["GET false", "GET true", "PATCH false"]);
    let (stdout, stderr) = looping.interrupt();
    assert_eq!(stdout.len(), 1);
    let summaries = stderr.iter().filter(|line| line.contains("changed on")).count();
    assert!(summaries <= 2, "nothing new is not told each second: {stderr:#?}");
}

#[test]
fn a_heartbeat_is_written_when_it_is_due() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    let mut looping = start(&world, &["--heartbeat-interval", "3s"]);
    looping.row();
    let heartbeat = || world.condition(&node, "X").unwrap()["lastHeartbeatTime"].clone();
    let first = heartbeat();
    eventually("a heartbeat", || heartbeat() != first);
    let (stdout, _) = looping.interrupt();
    assert_eq!(stdout.len(), 1, "it is nothing that a person looks for");
}

#[test]
fn one_that_stands_by_asks_for_no_alerts() {
    let world = World::sandbox();
    let path = world.lease_path();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": world.name("sync"), "namespace": "kube-system"},
        "spec": {"holderIdentity": "another", "leaseDurationSeconds": 15},
    });
    world.request("POST", path.rsplit_once('/').unwrap().0, "application/json", &lease);
    let mut looping = start(&world, &[]);
    looping.says("held by another");
    let looks = || {
        let requests = world.api().requests_by("kubectl-sciuro");
        requests.iter().filter(|request| request.path == path && request.method == "GET").count()
    };
    eventually("three looks at the Lease", || looks() >= 3);
    assert_eq!(world.alertmanager().requests().len(), 0);
    assert_eq!(world.api().writes_by("kubectl-sciuro"), Vec::<String>::new());
    looping.signal("TERM");
    looping.ends(143);
}

/// As when the API server is restarted in the middle of a round, for longer than the Lease is ours.
#[test]
fn an_outage_loses_nothing_and_ends_nothing() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    world.alert(&[("alertname", "X"), ("node", &nodes[0])], "", true);
    let mut looping = start(&world, &[]);
    looping.row();
    let api = world.api();
    let outage = api.faults().on("*", "/*").drop_connection();
    world.alert(&[("alertname", "X"), ("node", &nodes[1])], "", true);
    world.alert(&[("alertname", "X"), ("node", &nodes[0])], "", false);
    api.drop_watches();
    looping.says("the Lease was lost: another may write now");
    {
        let mut store = api.store();
        store.remove("nodes", "", &nodes[2]);
        store.compact();
    }
    outage.stop();
    let mut rows = [looping.row(), looping.row()];
    rows.sort();
    assert_eq!(
        rows,
        [
            "node/w1 condition/AlertManager_X False (was True)",
            "node/w2 condition/AlertManager_X True (added)"
        ]
    );
    let (stdout, stderr) = looping.interrupt();
    assert_eq!(stdout.len(), 3, "{stderr:#?}");
}

fn a_node_that_was_replaced_gets_its_conditions_at_once(world: &World) {
    let node = world.bare_node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    let mut looping = start(world, &["--interval", "10m"]);
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_X True (added)");
    world.delete_node(&node);
    world.bare_node("w1");
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_X True (added)");
    looping.interrupt();
}

/// A source that is down, or is not what it was said to be, is said once, and does not end the loop.
#[test]
fn what_each_round_would_say_is_said_once() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    let down = world.alertmanager().faults().on("*", "/*").status(500);
    let mut looping = start(&world, &[]);
    looping.says("source DOWN: nothing is added or cleared");
    let (before, asked) = (down.hits(), 12);
    eventually("rounds", || down.hits() > before + asked);
    down.stop();
    looping.row();
    let (_, stderr) = looping.interrupt();
    let told = stderr.iter().filter(|line| line.contains("source DOWN")).count();
    assert_eq!(told, 1, "{stderr:#?}");
}

#[test]
fn what_is_forbidden_is_said_with_its_rule_and_tried_again() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    world.api().deny("patch", "nodes/status");
    let mut looping = start(&world, &[]);
    looping.says(r#"hint: the ClusterRole needs the rule: {apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"]}"#);
    world.api().allow_all();
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_X True (added)");
    looping.interrupt();
}

/// A permission that is taken away costs one request now and then, and is used again when it is given back.
#[test]
fn what_is_forbidden_meanwhile_is_asked_for_less_and_less_often() {
    let world = World::sandbox();
    let nodes: Vec<String> = (0..12).map(|number| world.bare_node(&format!("w{number}"))).collect();
    let alert = |name| {
        for node in &nodes {
            world.alert(&[("alertname", name), ("node", node)], "", true);
        }
    };
    alert("X");
    let mut looping = start(&world, &[]);
    assert!(nodes.iter().all(|_| looping.row().ends_with("X True (added)")));
    world.api().deny("patch", "nodes/status");
    let asked = || world.api().requests().iter().filter(|request| request.method == "PATCH").count();
    let rounds = || {
        let requests = world.alertmanager().requests();
        requests.iter().filter(|request| request.path == "/api/v2/status").count()
    };
    let (asked_before, rounds_before) = (asked(), rounds());
    alert("Y");
    eventually("a refusal", || asked() > asked_before);
    eventually("rounds", || rounds() >= rounds_before + 8);
    let asked = asked() - asked_before;
    let rounds = rounds() - rounds_before;
    // --concurrency at first, then one in the rounds 3, 7, 15, ….
    let most = 8 + (rounds + 1).ilog2() as usize - 1;
    assert!(asked <= most, "{asked} requests in {rounds} rounds");
    world.api().allow_all();
    assert!(nodes.iter().all(|_| looping.row().ends_with("Y True (added)")));
    looping.interrupt();
}

#[test]
fn log_lines_are_json_if_they_are_to_be() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    world.alert(&[("alertname", "Y"), ("node", &node), ("priority", "high")], "", true);
    let mut looping = start(&world, &["--log-format", "json"]);
    looping.row();
    let (_, stderr) = looping.interrupt();
    let mut levels = std::collections::BTreeSet::new();
    for line in &stderr {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        levels.insert(line["level"].as_str().unwrap().to_owned());
    }
    assert!(levels.contains("INFO") && levels.contains("WARN"), "{stderr:#?}");
}

#[test]
fn without_a_lease_it_writes_from_the_start() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    let mut looping = start(&world, &["--no-lease"]);
    looping.row();
    assert_eq!(world.lease(), None);
    looping.signal("TERM");
    looping.ends(143);
}

#[test]
fn what_has_an_end_does_not_go_with_it() {
    let source = ["sync", "--loop", "--alertmanager", "http://a:9093", "--receiver", "r"];
    for (more, flag) in [
        (vec!["--dry-run=client"], "--dry-run"),
        (vec!["--dry-run=server"], "--dry-run"),
        (vec!["-o", "json"], "--output"),
        (vec!["--purge"], "--purge"),
        (vec!["w1"], "NODE"),
        (vec!["-l", "a=b"], "--selector"),
    ] {
        run(&mut command(source.iter().copied().chain(more)))
            .exits(2)
            .says(&format!("error: {flag} does not go with --loop"));
    }
    run(&mut command(source.iter().copied().chain(["--exit-code"]))).exits(2);
    run(&mut command(source.iter().copied().chain(["--interval", "500ms"])))
        .exits(2)
        .says("error: --interval must be at least 1s with --loop");
}
