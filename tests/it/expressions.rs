//! `--match-expr`, and upstream's variable of the same meaning.

use crate::support::{World, run, scenarios};

scenarios!(an_expression_in_place_of_the_labels, an_expression_that_is_none);

fn an_expression_in_place_of_the_labels(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    world.alert(&[("alertname", "DiskFailing"), ("machine", &nodes[0]), ("node", &nodes[1])], "", true);
    world.alert(&[("alertname", "Watchdog"), ("severity", "none")], "", true);

    let synced = world.sync(&["--match-expr", "labels.machine == FullName"]).exits(0);
    assert_eq!(synced.stdout, "node/w1 condition/AlertManager_DiskFailing True (added)\n");
    assert!(synced.stderr.contains("1 alert that --match-expr cannot judge"), "{}", synced.stderr);
    assert!(world.owned(&nodes[1]).is_empty());

    // README and `ConfigMap` of upstream.
    let expression = r#""node" in labels && (labels["node"] == FullName || labels["node"] == ShortName)"#;
    let synced = run(world.sync_command(&[]).env("SCIURO_CEL_EXPRESSION", expression)).exits(0);
    assert!(synced.stdout.contains(&world.condition_type("DiskFailing")), "{}", synced.stdout);
    assert_eq!(world.condition(&nodes[0], "DiskFailing").unwrap()["status"], "False");
    assert_eq!(world.condition(&nodes[1], "DiskFailing").unwrap()["status"], "True");
}

fn an_expression_that_is_none(world: &World) {
    let refused = world.sync(&["--match-expr", "labels.node = FullName"]).exits(2);
    assert!(
        refused.stderr.starts_with(
            "error: --match-expr: mismatched input '=' expecting <EOF>, at column 13: = FullName\nhint: "
        ),
        "{}",
        refused.stderr
    );
}
