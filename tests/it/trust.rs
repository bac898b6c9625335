//! How far `sync` trusts its sources, over several runs: rows of `spec/sync.md` §7.

use ::sandbox::Alertmanager;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde_json::Value;

use crate::support::{Run, World, scenarios, seconds_ago};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

scenarios![
    s10_an_outage_makes_unknown,
    row_34_a_short_outage_changes_nothing,
    row_44_a_source_without_its_canary_is_down,
    row_45_what_vanishes_all_at_once_is_held,
    row_45_silenced_all_at_once_is_no_surprise,
    a_limited_run_leaves_no_memory,
];

fn annotations(world: &World) -> Value {
    world.lease().unwrap()["metadata"]["annotations"].clone()
}

/// Writes on the Lease what an earlier run might have written.
fn annotate(world: &World, changes: &[(&str, &str)]) {
    let mut lease = world.lease().expect("a Lease");
    for (name, value) in changes {
        lease["metadata"]["annotations"][format!("sciuro.dev/{name}")] = (*value).into();
    }
    world.request("PUT", &world.lease_path(), "application/json", &lease);
}

/// What was said, without the time of day.
fn said(run: &Run) -> String {
    let said = Regex::new(r"\d\d:\d\d:\d\dZ").unwrap().replace_all(&run.stderr, "HH:MM:SSZ");
    Regex::new(r" of \d+ nodes?,").unwrap().replace_all(&said, " of N nodes,").into_owned()
}

fn statuses(world: &World, node: &str, status: &str) -> usize {
    world.owned(node).iter().filter(|condition| condition["status"] == status).count()
}

fn s10_an_outage_makes_unknown(world: &World) {
    let node = world.node("w1");
    let away = ["--alertmanager", "http://127.0.0.1:1"];
    world.sync(&[]).exits(0);
    annotate(world, &[("last-full", &seconds_ago(MINUTE * 11))]);
    world.seed(&node, "X", "True", "[P9] hot", MINUTE * 44);
    world.sync(&[&away[..], &["--unavailable-grace", "12m"]].concat()).exits(11).prints("");
    world.sync(&[&away[..], &["--on-unavailable", "hold"]].concat()).exits(11).prints("");
    world.sync(&away).exits(11).prints("node/w1 condition/AlertManager_X Unknown (was True)");
    let condition = world.condition(&node, "X").unwrap();
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&"Unknown".into(), &"AlertsUnavailable".into())
    );
    assert_eq!(condition["message"].as_str().unwrap_or_default(), "");
    assert_eq!(condition["lastTransitionTime"], condition["lastHeartbeatTime"]);
    world.sync(&away).exits(11).prints("");
    // It comes back.
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_X False (was Unknown)");
    // Upstream's behaviour.
    annotate(world, &[("last-full", &seconds_ago(MINUTE))]);
    world.seed(&node, "X", "True", "[P9] hot", MINUTE);
    world
        .sync(&[&away[..], &["--unavailable-grace", "0"]].concat())
        .exits(11)
        .prints("node/w1 condition/AlertManager_X Unknown (was True)");
}

fn row_34_a_short_outage_changes_nothing(world: &World) {
    let node = world.node("w1");
    world.sync(&[]).exits(0);
    annotate(world, &[("last-full", &seconds_ago(MINUTE * 5))]);
    world.seed(&node, "X", "True", "[P9] hot", MINUTE * 20);
    world.seed(&node, "Y", "False", "", MINUTE * 20);
    let before = world.owned(&node);
    for heartbeats in ["5m", "0"] {
        world
            .sync(&["--alertmanager", "http://127.0.0.1:1", "--heartbeat-interval", heartbeats])
            .exits(11)
            .prints("");
        assert_eq!(world.owned(&node), before);
    }
}

fn row_44_a_source_without_its_canary_is_down(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9] hot", MINUTE);
    let canary = world.name("alive");
    let run = world.sync(&["--require-alert", &canary]).exits(11).prints("");
    insta::assert_snapshot!("canary_missing", said(&run));
    world.alert(&[("alertname", &canary)], "", true);
    world.alert(&[("alertname", "Y"), ("node", &node)], "", true);
    world.sync(&["--require-alert", &canary]).exits(0);
    assert_eq!((statuses(world, &node, "True"), statuses(world, &node, "False")), (1, 1));
}

fn fire_twelve(world: &World, node: &str, fires: bool) {
    for number in 0..12 {
        world.alert(&[("alertname", &format!("X{number:02}")), ("node", node)], "", fires);
    }
}

fn row_45_what_vanishes_all_at_once_is_held(world: &World) {
    let node = world.node("w1");
    fire_twelve(world, &node, true);
    world.sync(&[]).exits(0);
    fire_twelve(world, &node, false);
    let run = world.sync(&[]).exits(12).prints("");
    insta::assert_snapshot!("clears_held", said(&run));
    assert_eq!(statuses(world, &node, "True"), 12);
    let since: Timestamp =
        annotations(world)["sciuro.dev/clear-held-since"].as_str().unwrap().parse().unwrap();
    assert_eq!(annotations(world)["sciuro.dev/clear-held-rounds"], "0");
    assert!(annotations(world)["sciuro.dev/last-full"].is_string());

    // Two further rounds are not enough before the time is up.
    world.sync(&[]).exits(12);
    world.sync(&[]).exits(12);
    assert_eq!(annotations(world)["sciuro.dev/clear-held-rounds"], "2");
    annotate(world, &[("clear-held-since", &(since - MINUTE * 3).to_string()), ("clear-held-rounds", "0")]);
    world.sync(&[]).exits(12); // nor is the time without the rounds
    world.sync(&["--dry-run", "--exit-code"]).exits(10);
    assert_eq!(statuses(world, &node, "True"), 12);
    world.sync(&[]).exits(0).never_says("--force-clear");
    assert_eq!(statuses(world, &node, "False"), 12);
    assert_eq!(annotations(world).get("sciuro.dev/clear-held-since"), None);

    // Without a Lease there is nothing to remember by.
    fire_twelve(world, &node, true);
    world.sync(&[]).exits(0);
    fire_twelve(world, &node, false);
    let run = world.sync(&["--no-lease"]).exits(12).prints("");
    insta::assert_snapshot!("clears_held_without_a_lease", said(&run));
    world.sync(&["--no-lease", "--force-clear"]).exits(0);
    assert_eq!(statuses(world, &node, "False"), 12);
}

fn row_45_silenced_all_at_once_is_no_surprise(world: &World) {
    let node = world.node("w1");
    fire_twelve(world, &node, true);
    world.sync(&[]).exits(0);
    world.silence("node", &node);
    world.sync(&[]).exits(0).says("12 silenced");
    assert_eq!(statuses(world, &node, "False"), 12);
}

fn a_limited_run_leaves_no_memory(world: &World) {
    let (one, other) = (world.node("w1"), world.node("w2"));
    for node in [&one, &other] {
        fire_twelve(world, node, true);
    }
    world.sync(&[&*one]).exits(0);
    assert_eq!((statuses(world, &one, "True"), statuses(world, &other, "True")), (12, 0));
    assert_eq!(annotations(world).get("sciuro.dev/last-full"), None);
    world.sync(&[&*other]).exits(0);
    assert_eq!(annotations(world).get("sciuro.dev/last-full"), None);
}

#[test]
fn row_42_a_watchdog_that_was_seen_is_missed() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    world.sync(&[]).exits(0);
    assert_eq!(annotations(&world).get("sciuro.dev/canary"), None);
    world.alert(&[("alertname", "Watchdog")], "", true);
    world.sync(&[]).exits(0);
    assert_eq!(annotations(&world)["sciuro.dev/canary"], "Watchdog");
    world.alert(&[("alertname", "Watchdog")], "", false);
    world.alert(&[("alertname", "X"), ("node", &node)], "", false);
    world.sync(&[]).exits(11).prints("").says("the alert Watchdog does not fire");
    assert_eq!(annotations(&world)["sciuro.dev/source-state"], "DOWN");
    world.sync(&["--require-alert="]).exits(0).prints("node/w1 condition/AlertManager_X False (was True)");
    assert_eq!(annotations(&world).get("sciuro.dev/canary"), None);
    world.sync(&[]).exits(0);
}

#[test]
fn row_84_one_of_several_members_is_not_enough_at_once() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alertmanager().set_peers(3);
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    world.sync(&[]).exits(0).says("has members that are not asked");
    world.alert(&[("alertname", "X"), ("node", &node)], "", false);
    let run = world.sync(&[]).exits(0).prints("");
    insta::assert_snapshot!("clears_unconfirmed", said(&run));
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_X False (was True)");
    // Without a Lease there is no second round.
    world.seed(&node, "X", "True", "[P9]", MINUTE);
    world.sync(&["--no-lease"]).exits(0).prints("");
    world.sync(&["--no-lease"]).exits(0).prints("");
    world
        .sync(&["--no-lease", "--force-clear"])
        .exits(0)
        .prints("node/w1 condition/AlertManager_X False (was True)");
}

/// Two members of one source; each lists what it was told alone.
fn members(world: &World) -> (Alertmanager, String, String) {
    let second = Alertmanager::start_blocking();
    let (one, two) = (world.alertmanager_url().to_owned(), second.url());
    (second, one, two)
}

#[test]
fn row_37_of_two_members_one_that_is_believed_is_enough() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9]", MINUTE);
    let (second, one, two) = members(&world);
    second.faults().on("GET", "/api/v2/alerts").status(500);
    let run = world.sync(&["--alertmanager", &one, "--alertmanager", &two]);
    run.exits(0)
        .prints("node/w1 condition/AlertManager_X False (was True)")
        .says("api/v2/alerts answered 500 Internal Server Error: the sandbox was told to fail; another replica answers");
}

#[test]
fn row_39_a_young_member_beside_one_that_fails_clears_nothing() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9]", MINUTE);
    let (second, one, two) = members(&world);
    let both = ["--alertmanager", &one, "--alertmanager", &two, "--warmup", "5m"];
    for alertmanager in [&second, world.alertmanager()] {
        alertmanager.set_started(Timestamp::now() - MINUTE);
    }
    // Both are young: that passes, so it is no failure.
    world.sync(&both).exits(0).prints("").says("nothing is cleared before");
    second.faults().on("GET", "/api/v2/alerts").status(500);
    world.sync(&both).exits(12).prints("").says("answered 500 Internal Server Error");
    assert_eq!(statuses(&world, &node, "True"), 1);
}
