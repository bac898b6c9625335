//! Addresses, boot IDs and names that a Node says of itself.

use serde_json::{Value, json};

use crate::support::{World, scenarios};

scenarios![
    f9_b4_a_kubelet_that_claims_another_nodes_names_takes_no_alert_and_clears_nothing,
    f9_b6_a_silence_reaches_no_other_machine,
    f9_b9_the_hardened_setting_condemns_the_node_that_was_scraped,
];

/// A write to a node by its own kubelet: with its identity, which the Node authorizer and `NodeRestriction` judge.
fn as_kubelet(world: &World, node: &str, subresource: &str, patch: &Value) {
    let mut config = world.config();
    config.auth_info.impersonate = Some(format!("system:node:{node}"));
    config.auth_info.impersonate_groups = Some(vec!["system:nodes".into()]);
    let client = world.block_on(async { kube::Client::try_from(config) }).expect("a client");
    let path = format!("/api/v1/nodes/{node}{subresource}");
    world.try_as(&client, "PATCH", &path, "application/merge-patch+json", patch).expect("a kubelet may");
}

/// Adds these addresses to those that the node has.
fn claims(world: &World, node: &str, claimed: &[(&str, &str)]) {
    let mut addresses = world.get_node(node)["status"]["addresses"].as_array().cloned().expect("addresses");
    addresses.extend(claimed.iter().map(|(kind, address)| json!({"type": kind, "address": address})));
    as_kubelet(world, node, "/status", &json!({"status": {"addresses": addresses}}));
}

fn internal_ip(world: &World, node: &str) -> String {
    let node = world.get_node(node);
    let addresses = node["status"]["addresses"].as_array().expect("addresses");
    let ip = addresses.iter().find(|address| address["type"] == "InternalIP").expect("an InternalIP");
    ip["address"].as_str().expect("text").to_owned()
}

fn f9_b4_a_kubelet_that_claims_another_nodes_names_takes_no_alert_and_clears_nothing(world: &World) {
    let (liar, honest) = (world.bare_node("worker1a"), world.bare_node("worker2a"));
    let (full_name, ip) = (format!("{honest}.example.com"), internal_ip(world, &honest));
    world.alert(&[("alertname", "ByName"), ("node", &honest)], "", true);
    world.alert(&[("alertname", "ByFullName"), ("node", &full_name)], "", true);
    world.alert(&[("alertname", "ByAddress"), ("instance", &format!("{ip}:9100"))], "", true);
    world.alert(&[("alertname", "BySecondLabel"), ("node", "rack-7"), ("host", &honest)], "", true);
    let all = ["ByName", "ByFullName", "ByAddress", "BySecondLabel"];
    let first = world.sync(&[]).exits(0);
    let statuses = |node: &str| -> Vec<String> {
        let status = |name: &&str| world.condition(node, name).map(|one| one["status"].to_string());
        all.iter().filter_map(status).collect()
    };
    assert_eq!(statuses(&honest), ["\"True\""; 4], "{first:?}");

    claims(
        world,
        &liar,
        &[
            ("InternalDNS", &honest),
            ("ExternalDNS", &full_name),
            ("ExternalIP", &ip),
            ("Hostname", "rack-7"),
            ("InternalIP", &format!("::ffff:{ip}")),
        ],
    );
    as_kubelet(world, &liar, "", &json!({"metadata": {"labels": {"kubernetes.io/hostname": honest}}}));
    let run = world.sync(&[]).exits(12);
    assert_eq!(statuses(&honest), ["\"True\""; 4], "{}", run.stderr);
    assert_eq!(world.owned(&liar), [] as [Value; 0], "{}", run.stderr);
    run.says("3 alerts name more than one node or machine")
        .says("ByAddress with instance=\"")
        .says("ByFullName with node=\"worker2a.example.com\": worker1a, worker2a")
        .says("BySecondLabel with node=\"rack-7\", host=\"worker2a\": worker1a, worker2a");

    // What it does not name ends for the honest node as before, and its own alerts are its own.
    world.alert(&[("alertname", "ByName"), ("node", &honest)], "", false);
    world.alert(&[("alertname", "ByName"), ("node", &liar)], "", true);
    world.sync(&[]).exits(12);
    assert_eq!(world.condition(&honest, "ByName").expect("a condition")["status"], "False");
    assert_eq!(world.condition(&liar, "ByName").expect("a condition")["status"], "True");
}

fn f9_b6_a_silence_reaches_no_other_machine(world: &World) {
    let liar = world.node("worker1a");
    world.node("worker1b");
    // Its own kubelet writes its addresses as well, but not at once.
    claims(world, &liar, &[("ExternalDNS", "db1.corp.example")]);
    for name in ["DatabaseDown", "DatabaseSlow"] {
        world.alert(&[("alertname", name), ("instance", "db1.corp.example:9187")], "", true);
    }
    let flags = [
        "--alertmanager",
        world.alertmanager_url(),
        "--receiver",
        "node-condition-k8s",
        "--warmup=0",
        "--silence",
    ];
    let filter = format!("test={:?}", world.id());
    // Other tests' nodes are away, and what their syncs have learnt of clusters is in the Lease that is read by default.
    let leases = format!("--lease-namespace={}", world.namespace("leases"));
    let plan = |more: &[&str]| {
        let command =
            ["remediate", &liar, "--dry-run", "--filter", &filter, &leases, "--max-unavailable=100%"];
        world.run(&[&command[..], &flags, more].concat())
    };
    let shown = plan(&[]).exits(0);
    assert!(shown.stdout.contains("silence:  what has node=\"worker1a\", until"), "{shown:#?}");
    assert!(
        shown
            .stdout
            .contains("2 of the node's 2 alerts will not be silenced: they do not match node=\"worker1a\""),
        "{shown:#?}"
    );
    let document: Value = serde_json::from_str(&plan(&["-o", "json"]).exits(0).stdout).expect("JSON");
    let silence = document["items"][0]["silence"].to_string();
    assert!(silence.contains("worker1a") && !silence.contains("db1"), "{silence}");
}

/// A page on worker1a that says `node="worker2b"`: with `honor_labels` off, Prometheus calls that `exported_node`.
fn f9_b9_the_hardened_setting_condemns_the_node_that_was_scraped(world: &World) {
    let (scraped, named) = (world.bare_node("worker1a"), world.bare_node("worker2b"));
    world.alert(&[("alertname", "DiskFailing"), ("node", &scraped), ("exported_node", &named)], "", true);
    world
        .sync(&["--dry-run"])
        .exits(0)
        .prints("node/worker2b condition/AlertManager_DiskFailing True (added) (dry run)");
    world
        .sync(&["--node-label", "node"])
        .exits(0)
        .prints("node/worker1a condition/AlertManager_DiskFailing True (added)");
    assert_eq!(world.owned(&named), [] as [Value; 0]);
}
