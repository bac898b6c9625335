//! What the binary makes of members that say different things: rows 36, 38, 43, 46 and 47. Rows 37, 39, 42, 44 and 45 are in
//! `trust`, 40 and 41 in `sync`; how it is decided is in `core/source_tests.rs` and `core/round_tests.rs`.

use jiff::SignedDuration;
use sandbox::{Alertmanager, Prometheus};
use serde_json::{Value, json};

use crate::support::{Run, World};

/// An alert of this world, with the label of the receiver.
fn labels<'l>(world: &'l World, name: &'l str, node: &'l str) -> [(&'l str, &'l str); 4] {
    [("alertname", name), ("node", node), ("test", world.id()), ("notify", "node-condition-k8s")]
}

fn sync_both(world: &World, second: &Alertmanager) -> Run {
    world.sync(&["--alertmanager", world.alertmanager_url(), "--alertmanager", &second.url()])
}

fn seed(world: &World, node: &str) {
    world.seed(node, "X", "True", "[P9]", SignedDuration::from_mins(1));
}

#[test]
fn row_36_what_one_of_two_members_lists_fires() {
    let world = World::sandbox();
    let node = world.node("w1");
    let second = Alertmanager::start_blocking();
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    sync_both(&world, &second).exits(0).prints("node/w1 condition/AlertManager_X True (added)");
    // Nor is it cleared when the other one alone lists it.
    world.alert(&[("alertname", "X"), ("node", &node)], "", false);
    second.fire(&labels(&world, "X", &node), &[]);
    sync_both(&world, &second).exits(0).prints("");
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
}

#[test]
fn row_38_a_silence_at_one_of_two_members_counts() {
    let world = World::sandbox();
    let node = world.node("w1");
    let second = Alertmanager::start_blocking();
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    second.fire(&labels(&world, "X", &node), &[]);
    second.silence("alertname", "X");
    sync_both(&world, &second).exits(0).prints("").says("1 silenced");
    assert_eq!(world.owned(&node), Vec::<Value>::new());
    seed(&world, &node);
    sync_both(&world, &second).exits(0).prints("node/w1 condition/AlertManager_X False (was True)");
}

#[test]
fn row_43_a_list_that_is_not_complete_clears_nothing() {
    let world = World::sandbox();
    let node = world.node("w1");
    seed(&world, &node);
    let thanos = Prometheus::start_blocking();
    thanos.set_more(json!({"warnings": ["No StoreAPIs matched for this query"]}));
    let sync = || world.sync(&["--prometheus", &thanos.url()]);
    sync()
        .exits(12)
        .prints("")
        .says("says that its list is not complete; nothing is cleared: No StoreAPIs matched for this query");
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
    thanos.fire(&labels(&world, "Y", &node), &[]);
    sync().exits(12).prints("node/w1 condition/AlertManager_Y True (added)");
}

#[test]
fn rows_46_47_what_is_pending_holds_and_adds_nothing() {
    let world = World::sandbox();
    let node = world.node("w1");
    let prometheus = Prometheus::start_blocking();
    let sync = |more: &[&str]| world.sync(&[&["--prometheus", &prometheus.url()], more].concat());
    prometheus.fire(&labels(&world, "X", &node), &[]);
    sync(&[]).exits(0).prints("node/w1 condition/AlertManager_X True (added)");
    prometheus.fire(&labels(&world, "Y", &node), &[]);
    prometheus.restart();
    sync(&[]).exits(0).prints("");
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
    assert_eq!(world.condition(&node, "Y"), None);
    sync(&["--hold-pending=false"]).exits(0).prints("node/w1 condition/AlertManager_X False (was True)");
    assert_eq!(world.condition(&node, "Y"), None);
}
