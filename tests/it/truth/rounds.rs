//! Which conditions a round sets, holds and clears.

use jiff::SignedDuration;

use crate::support::{World, scenarios};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

scenarios![
    t15_d2_an_alert_of_a_node_that_is_gone_holds_nothing_else,
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
