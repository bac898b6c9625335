//! What `sync` does to nodes.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{World, scenarios};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

scenarios![
    the_articles_example,
    a_condition_lives_from_the_alert_to_its_linger,
    row_28_a_heartbeat_moves_when_it_is_due_and_nothing_else,
    a_round_with_nothing_to_change_writes_nothing,
    a_dry_run_changes_nothing,
    only_the_named_nodes_are_written,
    s21_a_source_that_fails_holds_what_is_true,
    row_40_a_source_that_just_started_clears_nothing,
    row_41_an_unknown_receiver_writes_nothing,
    row_48_a_silence_clears,
    row_56_hostile_text_becomes_one_line,
    row_57_two_hundred_alerts_on_one_node,
    row_72_another_prefix_is_purged,
    row_81_alerts_of_two_clusters,
    row_82_alerts_that_match_nothing_clear_nothing,
    row_86_duplicates_become_one,
    malformed_priorities_and_missing_alertnames,
    the_report_as_json,
];

fn the_articles_example(world: &World) {
    let node = world.node("worker1a");
    world.alert(
        &[
            ("alertname", "CalicoTooManyInterfacesEarly"),
            ("cluster", "a.k8s"),
            ("instance", &node),
            ("node", &node),
            ("priority", "6"),
            ("prometheus", "k8s-a"),
        ],
        "Kubernetes node worker1a has too many Calico interfaces",
        true,
    );
    let foreign = world.foreign(&node);
    world
        .sync(&[])
        .exits(0)
        .prints("node/worker1a condition/AlertManager_CalicoTooManyInterfacesEarly True (added)")
        .says("1 condition changed on 1 of");
    let condition = world.condition(&node, "CalicoTooManyInterfacesEarly").unwrap();
    assert_eq!(condition["status"], "True");
    assert_eq!(condition["reason"], "AlertIsFiring");
    assert_eq!(condition["message"], "[P6] Kubernetes node worker1a has too many Calico interfaces");
    assert!(condition["lastTransitionTime"].is_string());
    assert_eq!(condition["lastTransitionTime"], condition["lastHeartbeatTime"]);
    assert_eq!(world.foreign(&node), foreign);
}

fn a_condition_lives_from_the_alert_to_its_linger(world: &World) {
    let node = world.node("w1");
    let labels = [("alertname", "DiskFailing"), ("node", node.as_str()), ("priority", "1")];
    world.alert(&labels, "sda has failed", true);
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_DiskFailing True (added)");

    world.alert(&labels, "sda has failed", false);
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_DiskFailing False (was True)");
    let condition = world.condition(&node, "DiskFailing").unwrap();
    assert_eq!(condition["status"], "False");
    assert_eq!(condition["reason"], "AlertIsNotFiring");
    assert_eq!(condition["message"].as_str().unwrap_or_default(), "");

    world.seed(&node, "DiskFailing", "False", "", DAY * 3);
    world.sync(&[]).exits(0).prints("");
    assert!(world.condition(&node, "DiskFailing").is_some(), "96 h have not passed");
    world.seed(&node, "DiskFailing", "False", "", DAY * 4 + MINUTE);
    world.sync(&["--linger", "0"]).exits(0).prints("");
    world.seed(&node, "DiskFailing", "False", "", DAY * 4 + MINUTE);
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_DiskFailing deleted (was False)");
    assert_eq!(world.owned(&node), Vec::<Value>::new());

    world.alert(&labels, "sda has failed again", true);
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_DiskFailing True (added)");
}

fn row_28_a_heartbeat_moves_when_it_is_due_and_nothing_else(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    world.seed(&node, "X", "True", "[P9] hot", MINUTE * 6);
    let before = world.condition(&node, "X").unwrap();
    world.sync(&[]).exits(0).prints("").says("1 confirmed");
    let after = world.condition(&node, "X").unwrap();
    assert_ne!(after["lastHeartbeatTime"], before["lastHeartbeatTime"]);
    let without_heartbeat = |mut condition: Value| {
        condition["lastHeartbeatTime"].take();
        condition
    };
    assert_eq!(without_heartbeat(after), without_heartbeat(before));

    world.seed(&node, "X", "True", "[P9] hot", MINUTE * 60);
    world.sync(&["--heartbeat-interval", "0"]).exits(0).says("0 confirmed");
}

fn a_round_with_nothing_to_change_writes_nothing(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    world.seed(&node, "X", "True", "[P9] hot", MINUTE * 4); // row 27
    world.seed(&node, "Y", "False", "", MINUTE * 20); // row 29
    let before = world.owned(&node);
    world.sync(&[]).exits(0).prints("").says("0 conditions changed on 0 of").says("0 confirmed");
    assert_eq!(world.owned(&node), before);
}

fn a_dry_run_changes_nothing(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    let line = "node/w1 condition/AlertManager_X True (added)";
    world.sync(&["--dry-run"]).exits(0).prints(&format!("{line} (dry run)")).says("would be changed");
    world.sync(&["--dry-run=client", "--exit-code"]).exits(10);
    world.sync(&["--dry-run=server"]).exits(0).prints(&format!("{line} (server dry run)"));
    assert_eq!(world.owned(&node), Vec::<Value>::new());
    assert_eq!(world.lease(), None, "a dry run takes no Lease");
    world.sync(&[]).exits(0).prints(line);
    world.sync(&["--dry-run", "--exit-code"]).exits(0).prints("");
}

fn only_the_named_nodes_are_written(world: &World) {
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    for node in &nodes {
        world.alert(&[("alertname", "X"), ("node", node)], "hot", true);
    }
    world.request(
        "PATCH",
        &format!("/api/v1/nodes/{}", nodes[2]),
        "application/merge-patch+json",
        &json!({"metadata": {"labels": {"rack": world.name("r7")}}}),
    );
    world
        .sync(&["unknown-node"])
        .exits(1)
        .says(r#"Error from server (NotFound): nodes "unknown-node" not found"#);
    world
        .sync(&[&format!("node/{}", nodes[0])])
        .exits(0)
        .prints("node/w1 condition/AlertManager_X True (added)");
    let selector = format!("rack={}", world.name("r7"));
    world.sync(&["-l", &selector]).exits(0).prints("node/w3 condition/AlertManager_X True (added)");
    world.sync(&["-l", &selector, &nodes[1]]).exits(0).prints("");
    let annotations = world.lease().unwrap()["metadata"]["annotations"].clone();
    assert!(annotations["sciuro.dev/last-full"].is_null(), "some nodes are not all nodes: {annotations}");
    world.sync(&[]).exits(0).prints("node/w2 condition/AlertManager_X True (added)");
    assert!(world.lease().unwrap()["metadata"]["annotations"]["sciuro.dev/last-full"].is_string());
}

fn s21_a_source_that_fails_holds_what_is_true(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    world.sync(&[]).exits(0);
    let before = world.owned(&node);
    world
        .sync(&["--alertmanager", "http://127.0.0.1:1"])
        .exits(11)
        .prints("")
        .says("cannot reach http://127.0.0.1:1/");
    assert_eq!(world.owned(&node), before);
    let annotations = world.lease().unwrap()["metadata"]["annotations"].clone();
    assert_eq!(annotations["sciuro.dev/source-state"], "DOWN");
    assert!(annotations["sciuro.dev/last-full"].is_string(), "the last full round stays known");
}

fn row_40_a_source_that_just_started_clears_nothing(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9] hot", MINUTE);
    world.alert(&[("alertname", "Y"), ("node", &node)], "", true);
    world
        .sync(&["--warmup", "8760h"])
        .exits(0)
        .prints("node/w1 condition/AlertManager_Y True (added)")
        .says("nothing is cleared before")
        .says("(--warmup)");
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
}

fn row_41_an_unknown_receiver_writes_nothing(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9] hot", MINUTE * 60);
    let before = world.owned(&node);
    world
        .sync(&["--receiver", "node-condition-k8"])
        .exits(11)
        .prints("")
        .says(r#"has no receiver "node-condition-k8"; nothing was written"#)
        .says(r#"its receivers are: "default", "node-condition-k8s""#);
    assert_eq!(world.owned(&node), before);
}

fn row_48_a_silence_clears(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    world.sync(&[]).exits(0);
    world.silence("node", &node);
    world.sync(&["--silenced", "--dry-run"]).exits(0).prints("");
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_X False (was True)").says("1 silenced");
}

fn row_56_hostile_text_becomes_one_line(world: &World) {
    let node = world.node("w1");
    let summary = format!("a\u{1b}[2J\nb\t{}", "é".repeat(5_000));
    world.alert(&[("alertname", "X"), ("node", &node)], &summary, true);
    world.sync(&[]).exits(0);
    let message = world.condition(&node, "X").unwrap()["message"].as_str().unwrap().to_owned();
    assert_eq!(message.chars().count(), 1_024);
    assert!(message.starts_with("[P9] a [2J b é"), "{message:?}");
    assert!(message.ends_with('…'));
}

fn row_57_two_hundred_alerts_on_one_node(world: &World) {
    let node = world.node("w1");
    for number in 0..200 {
        let (name, priority) = (format!("A{number:03}"), (number % 10).to_string());
        world.alert(&[("alertname", &name), ("node", &node), ("priority", &priority)], "", true);
    }
    world.sync(&[]).exits(0).says("136 conditions beyond --max-conditions: left out");
    let first = world.owned(&node);
    assert_eq!(first.len(), 64);
    world.sync(&[]).exits(0).prints("").says("136 conditions beyond --max-conditions");
    assert_eq!(world.owned(&node), first);
}

fn row_72_another_prefix_is_purged(world: &World) {
    let node = world.node("w1");
    let foreign = world.foreign(&node);
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    let old_prefix = format!("Old{}", world.prefix());
    world.sync(&["--prefix", &old_prefix]).exits(0);
    world.sync(&[]).exits(0);
    assert_eq!(world.owned(&node).len(), 1);
    assert_eq!(world.foreign(&node).len(), foreign.len() + 1);

    let purge = |more: &[&str]| {
        let lease = world.name("sync");
        let arguments = ["sync", "--purge", "--prefix", &old_prefix, "--lease-name", &lease];
        world.run(&[&arguments, more].concat())
    };
    purge(&[]).exits(4).prints("").says("stdin is no terminal").says("hint: add --yes");
    assert_eq!(world.foreign(&node).len(), foreign.len() + 1);
    purge(&["--dry-run"]).exits(0).prints("node/w1 condition/OldAlertManager_X deleted (was True) (dry run)");
    purge(&["--yes"]).exits(0).prints("node/w1 condition/OldAlertManager_X deleted (was True)");
    purge(&["--yes"]).exits(0).prints("").says("found");
    assert_eq!(world.foreign(&node), foreign);
    assert_eq!(world.owned(&node).len(), 1);
}

fn row_81_alerts_of_two_clusters(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node), ("cluster", "a")], "of a", true);
    world.alert(&[("alertname", "Y"), ("node", &node), ("cluster", "b")], "of b", true);
    world
        .sync(&[])
        .exits(2)
        .prints("")
        .says(r#"alerts of several clusters (cluster "a", "b") match nodes here; nothing was written"#)
        .says(r#"hint: choose this cluster's: --filter 'cluster="a"'"#);
    assert_eq!(world.owned(&node), Vec::<Value>::new());
    world
        .sync(&["--filter", r#"cluster="a""#])
        .exits(0)
        .prints("node/w1 condition/AlertManager_X True (added)");
    world
        .sync(&["--cluster-label", "region"])
        .exits(0)
        .prints("node/w1 condition/AlertManager_Y True (added)");
}

fn row_82_alerts_that_match_nothing_clear_nothing(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9] hot", MINUTE);
    for number in 0..50 {
        world.alert(&[("alertname", "X"), ("node", &format!("elsewhere-{number:02}"))], "", true);
    }
    let run =
        world.sync(&[]).exits(12).prints("").says(
            "alerts fire, but none of them names a node here; 1 condition of the same name not cleared",
        );
    assert_eq!(
        run.stderr.matches(r#"node="elsewhere-"#).count(),
        3,
        "three of them are printed: {}",
        run.stderr
    );
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
}

fn row_86_duplicates_become_one(world: &World) {
    let node = world.node("w1");
    let foreign = world.foreign(&node);
    let time = crate::support::seconds_ago(MINUTE * 60);
    let entry = |status: &str| {
        json!({"type": world.condition_type("X"), "status": status, "reason": "r", "message": "m",
               "lastHeartbeatTime": time, "lastTransitionTime": time})
    };
    let mut conditions = vec![entry("False")];
    conditions.extend(foreign.clone());
    conditions.push(entry("True"));
    world.patch_status(&node, "application/merge-patch+json", &json!({"status": {"conditions": conditions}}));
    assert_eq!(world.owned(&node).len(), 2);

    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_X True (updated)");
    let owned = world.owned(&node);
    assert_eq!(owned.len(), 1);
    assert_eq!(owned[0]["message"], "[P9] hot");
    assert_eq!(owned[0]["lastTransitionTime"], time.as_str());
    world.sync(&[]).exits(0).prints("");
    assert_eq!(world.foreign(&node), foreign);
}

fn malformed_priorities_and_missing_alertnames(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node), ("priority", "blah")], "hot", true); // row S6
    world.alert(&[("node", &node)], "nameless", true); // row S7
    world.alert(&[("alertname", "Z"), ("node", &node)], "", true);
    world
        .sync(&["--strict"])
        .exits(1)
        .prints("node/w1 condition/AlertManager_Z True (added)")
        .says("error: skipped 1 alert with a malformed priority (--strict)");
    world
        .sync(&[])
        .exits(0)
        .prints("node/w1 condition/AlertManager_X True (added)")
        .says("Warning: 1 alert with a malformed priority (0 to 999 is allowed)")
        .says("Warning: 1 alert without alertname: skipped");
    assert_eq!(world.condition(&node, "X").unwrap()["message"], "[P9] hot");
    // It fires, so --strict does not clear what is True already.
    world.sync(&["--strict"]).exits(1).prints("");
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
}

fn the_report_as_json(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    world.seed(&node, "Gone", "True", "[P9] was hot", MINUTE);
    let run = world.sync(&["-o", "json"]).exits(0);
    let mut report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(report["time"].take().is_string());
    assert!(report["nodes"].take().is_u64());
    assert!(report["sources"][0][0]["started"].take().is_string());
    report["sources"][0][0]["name"] = "NAME".into();
    insta::assert_json_snapshot!("sync_report", report);
}
