//! Which conditions a round sets, holds and clears.

use jiff::SignedDuration;

use crate::support::{World, scenarios};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

scenarios![
    t15_d1_another_clusters_alert_alone_is_several_clusters,
    t15_d1_what_was_seen_once_is_remembered_though_nothing_was_written,
    t15_d1_watchdogs_of_two_clusters_show_both,
    t15_d1_without_a_lease_or_all_sources_nothing_is_learnt,
    t15_d2_an_alert_of_a_node_that_is_gone_holds_nothing_else,
    t15_d3_machines_of_two_domains_are_no_node,
    t15_d6_two_alerts_in_another_script_are_two_conditions,
    t15_d6_what_upstream_wrote_is_taken_over,
];

fn status(world: &World, node: &str, alertname: &str) -> String {
    let condition = world.condition(node, alertname).unwrap_or_else(|| panic!("{:#?}", world.owned(node)));
    condition["status"].as_str().unwrap_or_default().to_owned()
}

fn t15_d2_an_alert_of_a_node_that_is_gone_holds_nothing_else(world: &World) {
    let nodes = world.nodes(&["worker1a", "w2"]);
    world.seed(&nodes[0], "DiskFailing", "True", "[P9]", MINUTE);
    world.seed(&nodes[1], "FanBroken", "True", "[P9]", MINUTE * 60);
    world.alert(&[("alertname", "FanBroken"), ("node", &world.name("decommissioned-7"))], "", true);
    world
        .sync(&[])
        .exits(12)
        .prints("node/worker1a condition/AlertManager_DiskFailing False (was True)")
        .says("alerts fire, but none of them names a node here; 1 condition of the same name not cleared")
        .says(r#"node="decommissioned-7""#);
    // It has gone unconfirmed for an hour, but its alert is there.
    assert_eq!(status(world, &nodes[1], "FanBroken"), "True");
    world.sync(&[]).exits(12).prints("");
    // Once it shows no more, nobody needs to know.
    world.seed(&nodes[1], "FanBroken", "False", "", MINUTE);
    world.sync(&[]).exits(0).prints("").never_says("none of them names a node here");
    assert!(world.lease().unwrap()["metadata"]["annotations"]["sciuro.dev/last-full"].is_string());
}

fn t15_d6_two_alerts_in_another_script_are_two_conditions(world: &World) {
    let node = world.node("w1");
    for name in ["磁盘故障", "内存不足"] {
        world.alert(&[("alertname", name), ("node", &node)], name, true);
    }
    world.sync(&[]).exits(0).prints(
        "node/w1 condition/AlertManager_内存不足 True (added)\nnode/w1 condition/AlertManager_磁盘故障 True (added)",
    );
    assert_eq!(world.condition(&node, "磁盘故障").unwrap()["message"], "[P9] 磁盘故障");
    world.alert(&[("alertname", "磁盘故障"), ("node", &node)], "磁盘故障", false);
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_磁盘故障 False (was True)");
    assert_eq!(status(world, &node, "内存不足"), "True");
}

fn t15_d6_what_upstream_wrote_is_taken_over(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "Перегрев", "True", "[P9] hot", MINUTE);
    world.alert(&[("alertname", "Перегрев"), ("node", &node)], "hot", true);
    world.sync(&[]).exits(0).prints("").says("1 alert, 1 matched");
    assert_eq!(status(world, &node, "Перегрев"), "True");
    assert_eq!(world.owned(&node).len(), 1);
}

/// Of one alert name of this cluster and one of another with the same node names; none of them is filtered.
fn of(world: &World, cluster: &str, alertname: &str, node: &str, fires: bool) {
    world.alert(
        &[("alertname", alertname), ("node", node), ("cluster", cluster)],
        &format!("of {cluster}"),
        fires,
    );
}

fn t15_d1_another_clusters_alert_alone_is_several_clusters(world: &World) {
    let node = world.node("worker2b");
    of(world, "a", "X", &node, true);
    world
        .sync(&[])
        .exits(0)
        .prints("node/worker2b condition/AlertManager_X True (added)")
        .says(r#"note: cluster "a" is taken for this cluster"#);
    of(world, "a", "X", &node, false);
    of(world, "b", "Y", &node, true);
    let before = world.owned(&node);
    for more in [&[][..], &["--dry-run"], &["worker2b"]] {
        let name = world.name("worker2b");
        let more: Vec<&str> =
            more.iter().map(|word| if *word == "worker2b" { &*name } else { word }).collect();
        world
            .sync(&more)
            .exits(2)
            .prints("")
            .says(r#"error: alerts of several clusters: cluster "b" matches nodes here, and this cluster is "a"; nothing was written"#)
            .says(r#"hint: this cluster's alone: --filter 'cluster="a"'"#)
            .says(r#"hint: if it is called so now: --filter 'cluster="b"'"#);
    }
    assert_eq!(world.owned(&node), before);
    // Together with its own, too.
    of(world, "a", "X", &node, true);
    world.sync(&[]).exits(2).prints("");
    world.sync(&["--filter", r#"cluster="a""#]).exits(0).prints("");
    // Those that name no node here do no harm.
    of(world, "b", "Y", &node, false);
    of(world, "b", "Y", &world.name("elsewhere"), true);
    world.sync(&[]).exits(0).prints("").says("1 of other clusters");
    assert_eq!(world.owned(&node).len(), 1);
}

fn t15_d1_what_was_seen_once_is_remembered_though_nothing_was_written(world: &World) {
    let node = world.node("w1");
    of(world, "a", "X", &node, true);
    of(world, "b", "Y", &node, true);
    world.sync(&[]).exits(2).prints("");
    for cluster in ["a", "b"] {
        of(world, "a", "X", &node, cluster == "a");
        of(world, "b", "Y", &node, cluster == "b");
        world
            .sync(&[])
            .exits(2)
            .prints("")
            .says(r#"alerts of several clusters (cluster "a", "b") match nodes here; nothing was written"#);
    }
    assert_eq!(world.owned(&node).len(), 0);
    // A filter says it once and for all.
    of(world, "a", "X", &node, true);
    of(world, "b", "Y", &node, false);
    world
        .sync(&["--filter", r#"cluster="a""#])
        .exits(0)
        .prints("node/w1 condition/AlertManager_X True (added)");
    world.sync(&[]).exits(0).prints("");
    of(world, "b", "X", &node, true);
    world.sync(&[]).exits(2);
}

/// The watchdogs are asked for beyond receiver and filter, and each cluster has one.
fn t15_d1_watchdogs_of_two_clusters_show_both(world: &World) {
    let (node, watchdog) = (world.node("w1"), world.name("alive"));
    let sync = |more: &[&str]| world.sync(&[&["--require-alert", &watchdog], more].concat());
    for cluster in ["a", "b"] {
        world.alert(&[("alertname", &watchdog), ("cluster", cluster)], "", true);
    }
    sync(&[]).exits(0).says(r#"Warning: alerts of several clusters (cluster "a", "b") are listed"#);
    of(world, "b", "Y", &node, true);
    sync(&[]).exits(2).prints("").says("several clusters");
    assert_eq!(world.owned(&node).len(), 0);
    sync(&["--filter", r#"cluster="a""#]).exits(0).prints("");
    // Now it is known: only one that matches a node here is too much.
    of(world, "b", "Y", &node, false);
    sync(&[]).exits(0).prints("").never_says("several clusters");
}

fn t15_d1_without_a_lease_or_all_sources_nothing_is_learnt(world: &World) {
    let node = world.node("w1");
    of(world, "a", "X", &node, true);
    world
        .sync(&["--no-lease"])
        .exits(2)
        .prints("")
        .says(r#"alerts of cluster "a" match nodes here, and without a Lease nothing remembers whose they are; nothing was written"#)
        .says(r#"hint: if they are this cluster's: --filter 'cluster="a"'"#);
    world
        .sync(&["--warmup", "8760h"])
        .exits(12)
        .prints("")
        .says(r#"Warning: alerts of cluster "a" match nodes here; none is applied until a complete round shows no other cluster"#);
    assert_eq!(world.owned(&node).len(), 0);
    world
        .sync(&["--no-lease", "--filter", r#"cluster="a""#])
        .exits(0)
        .prints("node/w1 condition/AlertManager_X True (added)");
    world.sync(&[]).exits(0).says(r#"note: cluster "a" is taken for this cluster"#);
}

/// A node that is known by its short name alone, and alerts of two machines that have it in their domains.
fn t15_d3_machines_of_two_domains_are_no_node(world: &World) {
    let node = world.node("worker1a");
    let full = |domain: &str| format!("{node}.{domain}.example");
    let fires = |alertname: &str, domain: &str, fires: bool| {
        world.alert(&[("alertname", alertname), ("node", &full(domain))], "", fires);
    };
    let refused = "2 alerts name more than one node or machine: not applied, and conditions of the same type on these nodes are kept";
    let hot = "node/worker1a condition/AlertManager_Hot True (added)";
    // One domain alone is believed.
    fires("Hot", "dc1", true);
    world.sync(&[]).exits(0).prints(hot);
    // Now it may be about either: what stands, stays.
    fires("Cold", "dc2", true);
    for _ in 0..2 {
        world
            .sync(&[])
            .exits(12)
            .prints("")
            .says(refused)
            .says(r#"  Cold with node="worker1a.dc2.example": worker1a, or another machine, as there is worker1a.dc1.example"#)
            .says(r#"  Hot with node="worker1a.dc1.example": worker1a, or another machine, as there is worker1a.dc2.example"#)
            .says("hint: keep the other machine's alerts out, as by --filter 'node!=\"NAME\"'");
    }
    assert_eq!(status(world, &node, "Hot"), "True");
    assert_eq!(world.owned(&node).len(), 1);
    // A filter says which one is meant.
    let other = format!("node!={:?}", full("dc2"));
    world.sync(&["--filter", &other, "--dry-run"]).exits(0).prints("");
    // When one of them ends, the other is in doubt as before; what no alert has any more, ends.
    fires("Hot", "dc1", false);
    world
        .sync(&[])
        .exits(12)
        .prints("node/worker1a condition/AlertManager_Hot False (was True)")
        .says("1 alert names");
    world.sync(&[]).exits(12).prints("");
    world
        .sync(&["--filter", &format!("node!={:?}", full("dc1")), "--dry-run"])
        .exits(0)
        .prints("node/worker1a condition/AlertManager_Cold True (added) (dry run)");
    // Until none leads there.
    fires("Cold", "dc2", false);
    world.sync(&[]).exits(0).prints("");
    fires("Hot", "dc1", true);
    world.sync(&[]).exits(0).prints("node/worker1a condition/AlertManager_Hot True (was False)");
}
