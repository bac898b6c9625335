//! What the binary makes of members that say different things: rows 36, 38, 43, 46 and 47. Rows 37, 39, 42, 44 and 45 are in
//! `trust`, 40 and 41 in `sync`; how it is decided is in `core/source_tests.rs` and `core/round_tests.rs`.

use jiff::SignedDuration;
use sandbox::{Alertmanager, Prometheus};
use serde_json::{Value, json};

use crate::looping;
use crate::sources::real::{alertmanager, free_port};
use crate::support::{Run, World};
use crate::watch::eventually;

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
        .says("is not complete; nothing is cleared: No StoreAPIs matched for this query");
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

mod control_plane {
    use super::*;

    /// What the one that is restarted has forgotten the other one still lists, and a silence both know again.
    #[test]
    fn rows_36_37_38_of_two_alertmanagers_one_is_restarted_while_the_loop_runs() {
        let directory = tempfile::tempdir().unwrap();
        let ports = [(free_port(), free_port()), (free_port(), free_port())];
        let start = |member: usize| {
            let (port, gossip) = ports[member];
            alertmanager(directory.path(), port, gossip, ports[1 - member].1)
        };
        let (a, b) = (start(0), start(1));
        let (url_a, url_b) = (a.url.clone(), b.url.clone());
        let of_b = World::control_plane().with_alertmanager(url_b.clone());
        let node = of_b.node("w1");
        let knows_the_silence = |world: &World, url: &str| {
            eventually("a silence", || {
                world.block_on(async {
                    let Ok(answer) = reqwest::get(format!("{url}/api/v2/silences")).await else {
                        return false;
                    };
                    answer.text().await.is_ok_and(|silences| silences.contains("maintenance"))
                })
            });
        };
        eventually("an Alertmanager", || of_b.block_on(reqwest::get(&url_b)).is_ok());
        of_b.silence("alertname", "Quiet");
        of_b.alert(&[("alertname", "X"), ("node", &node)], "", true);
        let of_a = of_b.with_alertmanager(url_a.clone());
        knows_the_silence(&of_a, &url_a);
        of_a.alert(&[("alertname", "X"), ("node", &node)], "", true);
        of_a.alert(&[("alertname", "Quiet"), ("node", &node)], "", true);

        let mut looping = looping::start(&of_a, &["--alertmanager", &url_a, "--alertmanager", &url_b]);
        assert_eq!(looping.row(), "node/w1 condition/AlertManager_X True (added)");
        drop(a);
        looping.says("Connection refused");
        let _a = start(0);
        knows_the_silence(&of_a, &url_a);
        of_a.alert(&[("alertname", "Quiet"), ("node", &node)], "", true);
        of_a.alert(&[("alertname", "New"), ("node", &node)], "", true);
        assert_eq!(looping.row(), "node/w1 condition/AlertManager_New True (added)");
        let of_b = of_a.with_alertmanager(url_b);
        of_b.alert(&[("alertname", "X"), ("node", &node)], "", false);
        assert_eq!(looping.row(), "node/w1 condition/AlertManager_X False (was True)");
        let (stdout, stderr) = looping.interrupt();
        assert_eq!(stdout.len(), 3, "nothing else was written: {stdout:#?} {stderr:#?}");
    }
}
