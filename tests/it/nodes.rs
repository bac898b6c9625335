//! What is not ours stays as it is, whoever writes at the same time.

use std::collections::BTreeSet;

use ::sandbox::{Kubelet, KubeletOptions};
use jiff::SignedDuration;
use sciuro::cli::KubernetesArgs;
use sciuro::cluster::{Cluster, Written};
use sciuro::core::condition::{Change, ChangeKind};
use sciuro::core::node::{Condition, Node};
use serde_json::{Value, json};

use crate::support::{World, scenarios, seconds_ago};

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

scenarios![
    row_64_a_replaced_node_is_left_alone,
    row_65_a_deleted_node_is_no_error,
    row_66_a_kubelets_not_ready_survives_a_thousand_races,
    row_67_everything_else_outlives_our_last_condition,
    row_68_leftovers_of_upstream_are_taken_over,
    row_74_a_forbidden_patch_ends_the_run,
    a_forbidden_list_names_the_rule,
];

fn connect(world: &World) -> Cluster {
    let args =
        KubernetesArgs { kubeconfig: Some(world.kubeconfig().to_owned()), ..KubernetesArgs::default() };
    world.block_on(Cluster::connect(&args, |warning| panic!("{warning}"))).unwrap()
}

fn list(world: &World, cluster: &Cluster, names: &[String]) -> Vec<Node> {
    let names: BTreeSet<&String> = names.iter().collect();
    let mut nodes = world.block_on(cluster.list_nodes()).unwrap();
    nodes.retain(|node| names.contains(&node.name));
    nodes
}

fn firing(world: &World, message: &str) -> Vec<Change> {
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap();
    vec![Change {
        kind: ChangeKind::Add,
        was: None,
        duplicated: false,
        condition: Condition {
            type_: world.condition_type("Race"),
            status: "True".into(),
            reason: "AlertIsFiring".into(),
            message: message.into(),
            last_heartbeat: Some(now),
            last_transition: Some(now),
        },
    }]
}

fn row_64_a_replaced_node_is_left_alone(world: &World) {
    let name = world.bare_node("w1");
    let cluster = connect(world);
    let listed = list(world, &cluster, std::slice::from_ref(&name));
    world.delete_node(&name);
    assert_eq!(world.bare_node("w1"), name);
    let replaced = world.get_node(&name);
    assert_ne!(replaced["metadata"]["uid"], listed[0].uid.as_str());

    let written = world.block_on(cluster.patch_conditions(&listed[0], &firing(world, "old"), false)).unwrap();
    assert_eq!(written, Written::Gone);
    assert_eq!(world.get_node(&name)["status"], replaced["status"]);
    // The next round plans again, with the new uid.
    let listed = list(world, &cluster, std::slice::from_ref(&name));
    let written = world.block_on(cluster.patch_conditions(&listed[0], &firing(world, "new"), false)).unwrap();
    assert_eq!(written, Written::Patched);
    assert_eq!(world.condition(&name, "Race").unwrap()["message"], "new");
}

fn row_65_a_deleted_node_is_no_error(world: &World) {
    let name = world.bare_node("w1");
    let cluster = connect(world);
    let listed = list(world, &cluster, std::slice::from_ref(&name));
    world.delete_node(&name);
    let written =
        world.block_on(cluster.patch_conditions(&listed[0], &firing(world, "late"), false)).unwrap();
    assert_eq!(written, Written::Gone);
}

/// 50 nodes, 20 rounds: list, then the kubelet's Ready=False and our patch at the same time.
fn row_66_a_kubelets_not_ready_survives_a_thousand_races(world: &World) {
    let shorts: Vec<String> = (0..50).map(|number| format!("r{number:02}")).collect();
    let names: Vec<String> = shorts.iter().map(|short| world.bare_node(short)).collect();
    let cluster = connect(world);
    let client = world.client();
    let ready = |name: &str, status: &str, order: usize| {
        let patch = json!({"status": {"conditions": [{"type": "Ready", "status": status, "reason": format!("Race{order}"),
            "lastTransitionTime": seconds_ago(SignedDuration::ZERO)}]}});
        let request = http::Request::patch(format!("/api/v1/nodes/{name}/status"))
            .header("content-type", STRATEGIC)
            .body(patch.to_string().into_bytes())
            .unwrap();
        let client = client.clone();
        async move { client.request::<Value>(request).await.unwrap() }
    };
    let mut races = 0;
    for round in 0..20 {
        world.block_on(futures::future::join_all(names.iter().map(|name| ready(name, "True", round))));
        let nodes = list(world, &cluster, &names);
        assert_eq!(nodes.len(), 50);
        let changes = firing(world, &format!("round {round}"));
        let race = nodes.iter().map(async |node| {
            let (_, written) = futures::join!(
                ready(&node.name, "False", round),
                cluster.patch_conditions(node, &changes, false)
            );
            assert_eq!(written.unwrap(), Written::Patched);
        });
        world.block_on(futures::future::join_all(race));
        for node in list(world, &cluster, &names) {
            let status =
                |kind: &str| node.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
            assert_eq!(status("Ready").status, "False", "round {round}: {node:?}");
            assert_eq!(status(&world.condition_type("Race")).message, format!("round {round}"));
            races += 1;
        }
    }
    assert_eq!(races, 1_000);
    // Upstream's way of writing loses it: the race is a real one.
    let name = &names[0];
    world.block_on(ready(name, "True", 0));
    let stale = world.get_node(name)["status"]["conditions"].clone();
    world.block_on(ready(name, "False", 0));
    let patched = world.patch_status(name, MERGE, &json!({"status": {"conditions": stale}}));
    let conditions = patched["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"));
}

/// The shapes in which server-side apply erased Ready, addresses or capacity, one node each.
fn row_67_everything_else_outlives_our_last_condition(world: &World) {
    let leaves_only = world.node("leaves-only");
    let owns_images = world.name("owns-images");
    let options = KubeletOptions { owns_images: true, ..KubeletOptions::names([owns_images.clone()]) };
    world.keep(world.block_on(Kubelet::start(world.config(), options)).unwrap());
    let with_npd = world.node("with-npd");
    let problem = json!({"status": {"conditions": [{"type": "KernelDeadlock", "status": "False", "reason": "KernelHasNoDeadlock",
        "lastHeartbeatTime": seconds_ago(SignedDuration::ZERO), "lastTransitionTime": seconds_ago(SignedDuration::ZERO)}]}});
    world.patch_status(&with_npd, STRATEGIC, &problem);
    let created_by_patch = world.bare_node("created-by-patch");
    let status = world.get_node(&created_by_patch)["status"].clone();
    world.delete_node(&created_by_patch);
    world.request(
        "POST",
        "/api/v1/nodes",
        JSON,
        &json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": created_by_patch}}),
    );
    world.patch_status(&created_by_patch, STRATEGIC, &json!({"status": {
        "conditions": status["conditions"], "addresses": status["addresses"], "capacity": status["capacity"]}}));

    let names = [leaves_only, owns_images, with_npd, created_by_patch];
    let before: Vec<Value> = names.iter().map(|name| world.get_node(name)["status"].clone()).collect();
    for name in &names {
        world.alert(&[("alertname", "X"), ("node", name)], "hot", true);
    }
    world.sync(&[]).exits(0).says("4 conditions changed on 4 of");
    for name in &names {
        assert_eq!(world.owned(name).len(), 1);
        world.alert(&[("alertname", "X"), ("node", name)], "hot", false);
    }
    world.sync(&[]).exits(0).says("4 conditions changed");
    for name in &names {
        world.seed(name, "X", "False", "", SignedDuration::from_hours(97));
    }
    world.sync(&[]).exits(0).says("4 conditions changed");
    for (name, before) in names.iter().zip(before) {
        let after = world.get_node(name)["status"].clone();
        assert_eq!(after, before, "{name}");
        assert!(after["conditions"].as_array().unwrap().iter().any(|condition| condition["type"] == "Ready"));
        assert!(after["addresses"].is_array() && after["capacity"].is_object());
    }
}

/// Upstream replaces the whole list by a JSON merge patch, under its own field manager.
fn row_68_leftovers_of_upstream_are_taken_over(world: &World) {
    let node = world.node("w1");
    let foreign = world.foreign(&node);
    let time = seconds_ago(SignedDuration::from_hours(30));
    let entry = |name: &str, status: &str, reason: &str, message: &str| {
        json!({"type": world.condition_type(name), "status": status, "reason": reason, "message": message,
               "lastHeartbeatTime": time, "lastTransitionTime": time})
    };
    let mut conditions = foreign.clone();
    conditions.push(entry("Firing", "True", "AlertIsFiring", "[P9] hot"));
    conditions.push(entry("Ended", "True", "AlertIsFiring", "[P9] was hot"));
    conditions.push(entry("Unknown", "Unknown", "AlertsUnavailable", ""));
    conditions.push(entry("Old", "False", "AlertIsNotFiring", ""));
    let path = format!("/api/v1/nodes/{node}/status?fieldManager=sciuro");
    world.request("PATCH", &path, MERGE, &json!({"status": {"conditions": conditions}}));

    world.alert(&[("alertname", "Firing"), ("node", &node)], "hot", true);
    world.sync(&["--linger", "24h"]).exits(0).prints(
        "node/w1 condition/AlertManager_Ended False (was True)\n\
         node/w1 condition/AlertManager_Old deleted (was False)\n\
         node/w1 condition/AlertManager_Unknown False (was Unknown)",
    );
    assert_eq!(world.condition(&node, "Firing").unwrap()["lastTransitionTime"], time.as_str());
    assert_eq!(world.foreign(&node), foreign);
    world
        .run(&["sync", "--purge", "--yes", "--prefix", &world.prefix(), "--lease-name", &world.name("sync")])
        .exits(0);
    assert_eq!(world.owned(&node), Vec::<Value>::new());
    assert_eq!(world.foreign(&node), foreign);
}

fn row_74_a_forbidden_patch_ends_the_run(world: &World) {
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    for node in &nodes {
        world.alert(&[("alertname", "X"), ("node", node)], "hot", true);
    }
    let user = world.user_who_may(&[
        ("", "nodes", "list"),
        ("coordination.k8s.io", "leases", "get"),
        ("coordination.k8s.io", "leases", "create"),
        ("coordination.k8s.io", "leases", "update"),
    ]);
    world
        .sync(&["--concurrency", "1", "--as", &user])
        .exits(1)
        .prints("")
        .says("Error from server (Forbidden): nodes")
        .says(r#"hint: the ClusterRole needs the rule: {apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"]}"#)
        .says("hint: kubectl auth can-i patch nodes --subresource=status")
        .says("error: 1 of 3 nodes could not be written, 2 were not tried");
    if world.doubles.is_some() {
        world.api().allow_all(); // there everybody is the same user
    }
    for node in &nodes {
        assert_eq!(world.owned(node), Vec::<Value>::new());
    }
    assert_eq!(world.lease().unwrap()["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
}

fn a_forbidden_list_names_the_rule(world: &World) {
    let user = world.user_who_may(&[]);
    world
        .sync(&["--no-lease", "--as", &user])
        .exits(1)
        .prints("")
        .says("Error from server (Forbidden): nodes is forbidden")
        .says(r#"hint: the ClusterRole needs the rule: {apiGroups: [""], resources: ["nodes"], verbs: ["list"]}"#)
        .says("hint: kubectl auth can-i list nodes");
    world
        .sync(&["--as", &user])
        .exits(1)
        .says(r#"{apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get"]}"#)
        .says(".coordination.k8s.io -n kube-system")
        .says("hint: --no-lease does without, if nobody else writes");
}
