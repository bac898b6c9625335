//! The record of a remediation on its Node: stored once or not at all, whoever writes at the same time and whatever answer
//! is lost; and what others write there is not taken for ours.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sciuro::cluster::{Cluster, RecordError, RemediatedNode, WatchedNode, Written};
use sciuro::core::remediation::{
    Attempt, Baseline, LastOutcome, LastRemediation, Mark, Method, Record, RecordSeen, RecordWrite, State,
    VERSION, Write,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{World, scenarios};

const MERGE: &str = "application/merge-patch+json";
const ID: &str = "6f1c9f0e-8a2b-4c6d-9e1f-0a2b3c4d5e6f";

scenarios![
    a_record_comes_and_goes_with_its_cordon,
    a_node_written_by_others_meanwhile_is_a_conflict,
    a_node_that_was_deleted_or_replaced_is_gone,
    what_others_put_into_the_annotation_is_unreadable,
    what_a_later_version_added_is_kept,
    an_abort_that_is_asked_for_is_seen_and_goes_with_the_record,
    claims_of_others_are_seen,
    a_watch_tells_of_one_node_and_of_its_end,
    events_and_a_condition_tell_how_far_it_is,
];

fn read(world: &World, cluster: &Cluster, node: &str) -> RemediatedNode {
    world.block_on(cluster.remediated_node(node)).unwrap().unwrap()
}

fn record(node: &RemediatedNode) -> Record {
    let since: Timestamp = "2026-11-22T10:00:00.123456789Z".parse().unwrap();
    Record {
        v: VERSION,
        id: ID.into(),
        state: State::Cordoning,
        failed_state: None,
        since,
        timeout: 60,
        actor: "tester@host".into(),
        holder: "tester@host#1".into(),
        method: Method::Pod,
        reason: Vec::new(),
        overrides: Vec::new(),
        node_uid: node.view.uid.clone(),
        pre_boot_id: node.view.boot_id.clone(),
        proven_boot_id: None,
        baseline: Baseline { allocatable: node.allocatable.clone(), ..Baseline::default() },
        was_unschedulable: false,
        marks: vec![Mark::Cordon],
        attempts: vec![Attempt {
            n: 1,
            method: Method::Pod,
            intent_at: since,
            not_after_uptime: Some(120),
            outcome: None,
        }],
        bundle: None,
        last_error: None,
    }
}

fn put(record: &Record, unschedulable: Option<bool>) -> Write {
    Write { record: RecordWrite::Put(Box::new(record.clone())), unschedulable }
}

fn finish() -> (LastRemediation, Write) {
    let last = LastRemediation {
        id: ID.into(),
        outcome: LastOutcome::Remediated,
        actor: "tester@host".into(),
        finished: "2026-11-22T11:00:00Z".parse().unwrap(),
        method: Method::Pod,
        attempts: 1,
        boot_id: None,
        reason: Vec::new(),
    };
    (last.clone(), Write { record: RecordWrite::Finish(last), unschedulable: Some(false) })
}

/// Writes as a run does it: the controllers write on the Node, too, a taint for its cordon for one.
fn write(world: &World, cluster: &Cluster, name: &str, write: &Write) -> RemediatedNode {
    let mut node = read(world, cluster, name);
    loop {
        match world.block_on(cluster.write_record(&node, write)) {
            Ok(node) => return node,
            Err(RecordError::Conflict(now)) => node = *now,
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn readable(record: &Record) -> RecordSeen {
    RecordSeen::Readable(Box::new(record.clone()))
}

/// What somebody else writes.
fn edit(world: &World, node: &str, patch: &Value) {
    world.request("PATCH", &format!("/api/v1/nodes/{node}"), MERGE, patch);
}

fn annotate(world: &World, node: &str, name: &str, value: &Value) {
    edit(world, node, &json!({"metadata": {"annotations": {name: value}}}));
}

fn a_record_comes_and_goes_with_its_cordon(world: &World) {
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let before = read(world, &cluster, &name);
    assert_eq!((&before.view.record, before.view.unschedulable), (&RecordSeen::None, false));
    assert!(!before.view.boot_id.is_empty() && !before.allocatable.is_empty(), "{before:?}");
    assert!(before.ready().unwrap().last_heartbeat_time.is_some());
    assert_eq!(before.addresses.iter().find(|address| address.kind == "Hostname").unwrap().address, name);

    let record = record(&before);
    let written = write(world, &cluster, &name, &put(&record, Some(true)));
    assert_eq!(written.view, read(world, &cluster, &name).view);
    assert_eq!((&written.view.record, written.view.unschedulable), (&readable(&record), true));
    assert!(before.is_older_than(&written) && !written.is_older_than(&before));

    let (last, finish) = finish();
    let done = write(world, &cluster, &name, &finish);
    assert_eq!((&done.view.record, done.view.unschedulable), (&RecordSeen::None, false));
    assert_eq!(done.record_json(), None);
    let stored: LastRemediation =
        serde_json::from_str(&done.annotations["sciuro.dev/last-remediation"]).unwrap();
    assert_eq!(stored, last);
    assert_eq!(done.cordoned_by, Vec::<String>::new());
    assert_eq!(world.get_node(&name)["spec"]["unschedulable"], Value::Null);
}

fn a_node_written_by_others_meanwhile_is_a_conflict(world: &World) {
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let before = read(world, &cluster, &name);
    let mut record = record(&before);
    let stored = write(world, &cluster, &name, &put(&record, None));
    edit(world, &name, &json!({"metadata": {"labels": {"rack": "r7"}}}));

    record.state = State::Draining;
    let refused = world.block_on(cluster.write_record(&stored, &put(&record, Some(true))));
    let Err(RecordError::Conflict(now)) = refused else { panic!("{refused:?}") };
    assert_eq!(now.labels["rack"], "r7");
    assert_eq!(
        (&now.view.record, now.view.unschedulable),
        (&stored.view.record, false),
        "nothing was written"
    );
    let written = write(world, &cluster, &name, &put(&record, Some(true)));
    assert_eq!((&written.view.record, written.view.unschedulable), (&readable(&record), true));

    // The record alone is there already: its cordon is not.
    edit(world, &name, &json!({"spec": {"unschedulable": null}}));
    let refused = world.block_on(cluster.write_record(&written, &put(&record, Some(true))));
    assert!(matches!(refused, Err(RecordError::Conflict(_))), "{refused:?}");
}

fn a_node_that_was_deleted_or_replaced_is_gone(world: &World) {
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let before = read(world, &cluster, &name);
    let record = record(&before);
    world.delete_node(&name);
    assert_eq!(world.block_on(cluster.remediated_node(&name)).unwrap(), None);
    let write = || world.block_on(cluster.write_record(&before, &put(&record, Some(true))));
    assert!(matches!(write(), Err(RecordError::Gone)));
    world.node_named(&name);
    assert!(matches!(write(), Err(RecordError::Gone)), "another node of that name");
    assert_eq!(read(world, &cluster, &name).view.record, RecordSeen::None, "to which nothing was done");
    world.delete_node(&name);
    assert_eq!(world.block_on(cluster.request_abort(&before, ID)).unwrap(), Written::Gone);
}

fn what_others_put_into_the_annotation_is_unreadable(world: &World) {
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let before = read(world, &cluster, &name);
    let mut forged = serde_json::to_value(record(&before)).unwrap();
    forged["marks"] = json!([{"type": "shell", "command": "reboot"}]);
    for (text, expected) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("\u{1b}[2J", "expected value"),
        (r#"{"v": 99}"#, "its version is 99"),
        (&forged.to_string(), "unknown variant `shell`"),
        (&format!("{{\"v\": 1, \"x\": {:?}}}", "x".repeat(70_000)), "64 are allowed"),
    ] {
        annotate(world, &name, "sciuro.dev/remediation", &text.into());
        let node = read(world, &cluster, &name);
        let RecordSeen::Unreadable(why) = &node.view.record else { panic!("{node:?}") };
        assert!(why.contains(expected), "{expected}: {why}");
        assert_eq!(node.record_json(), Some(text), "to be shown");
    }
}

fn what_a_later_version_added_is_kept(world: &World) {
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let mut record = record(&read(world, &cluster, &name));
    let mut later = serde_json::to_value(&record).unwrap();
    later["domain"] = json!({"zone": "z1"});
    later["attempts"][0]["trace"] = "t1".into();
    annotate(world, &name, "sciuro.dev/remediation", &later.to_string().into());
    let node = read(world, &cluster, &name);
    assert_eq!(node.view.record, readable(&record));
    record.state = State::WaitBoot;
    let written = write(world, &cluster, &name, &put(&record, None));
    assert_eq!(written.view.record, readable(&record));
    let stored: Value = serde_json::from_str(written.record_json().unwrap()).unwrap();
    assert_eq!((&stored["domain"]["zone"], &stored["attempts"][0]["trace"]), (&json!("z1"), &json!("t1")));
    assert_eq!(stored["state"], "WaitBoot");
}

fn an_abort_that_is_asked_for_is_seen_and_goes_with_the_record(world: &World) {
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let node = read(world, &cluster, &name);
    write(world, &cluster, &name, &put(&record(&node), Some(true)));
    assert_eq!(
        world.block_on(cluster.request_abort(&node, ID)).unwrap(),
        Written::Patched,
        "{name} has changed since"
    );
    let node = read(world, &cluster, &name);
    assert_eq!(node.view.abort.as_deref(), Some(ID));
    let done = write(world, &cluster, &name, &finish().1);
    assert_eq!(done.view.abort, None);
    assert_eq!(world.block_on(cluster.request_abort(&node, ID)).unwrap(), Written::Gone);
    assert_eq!(read(world, &cluster, &name).view.abort, None, "nobody would read it");
}

fn claims_of_others_are_seen(world: &World) {
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    assert_eq!(read(world, &cluster, &name).view.claims, Vec::<String>::new());
    annotate(world, &name, "draino.planet.com/conditions", &"[]".into());
    annotate(world, &name, "sciuro.dev/keep-cordoned", &"".into());
    let taint = json!({"key": "ToBeDeletedByClusterAutoscaler", "value": "1", "effect": "NoSchedule"});
    edit(world, &name, &json!({"spec": {"taints": [taint]}}));
    let view = read(world, &cluster, &name).view;
    assert!(view.keep_cordoned);
    assert_eq!(
        view.claims,
        [
            "draino has cordoned it (annotation draino.planet.com/conditions)",
            "the cluster autoscaler deletes it (taint ToBeDeletedByClusterAutoscaler)",
        ]
    );
    let elsewhere = world.block_on(cluster.claims_elsewhere(&name));
    assert_eq!(elsewhere, sciuro::cluster::ClaimsElsewhere::default(), "neither tool is installed");
}

/// The next state of the node for which this holds.
fn watched(
    world: &World,
    watch: &mut watch::Receiver<WatchedNode>,
    is_so: impl FnMut(&WatchedNode) -> bool,
) -> WatchedNode {
    let seen = async { tokio::time::timeout(Duration::from_secs(60), watch.wait_for(is_so)).await };
    world.block_on(seen).expect("it never came to this").expect("a watch that goes on").clone()
}

fn is_unschedulable(node: &WatchedNode) -> bool {
    matches!(node, WatchedNode::Here(node) if node.view.unschedulable)
}

fn watch(world: &World, cluster: &Arc<Cluster>, node: &str) -> watch::Receiver<WatchedNode> {
    world.block_on(async { cluster.watch_remediated_node(node) })
}

fn a_watch_tells_of_one_node_and_of_its_end(world: &World) {
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    world.bare_node("w2");
    let mut watch = watch(world, &cluster, &name);
    let here = watched(world, &mut watch, |node| !matches!(node, WatchedNode::Unknown { .. }));
    let WatchedNode::Here(here) = here else { panic!("{here:?}") };
    assert_eq!(here.view, read(world, &cluster, &name).view);
    edit(world, &name, &json!({"spec": {"unschedulable": true}}));
    watched(world, &mut watch, is_unschedulable);
    world.delete_node(&name);
    watched(world, &mut watch, |node| *node == WatchedNode::Gone);
    world.node_named(&name);
    watched(world, &mut watch, |node| matches!(node, WatchedNode::Here(node) if !node.view.unschedulable));
}

fn events_and_a_condition_tell_how_far_it_is(world: &World) {
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let node = read(world, &cluster, &name);
    world.block_on(cluster.node_event(&name, &node.view.uid, "SciuroCordoning", "cordoned by ops", false));
    let path = format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={name}");
    let events = world.request("GET", &path, "application/json", &Value::Null);
    let events: Vec<&Value> = events["items"].as_array().unwrap().iter().collect();
    let ours: Vec<_> = events.iter().filter(|event| event["reason"] == "SciuroCordoning").collect();
    assert_eq!(ours.len(), 1, "{events:?}");
    assert_eq!((&ours[0]["involvedObject"]["kind"], &ours[0]["type"]), (&json!("Node"), &json!("Normal")));
    assert_eq!(ours[0]["source"]["component"], "kubectl-sciuro");

    let others = node.conditions.clone();
    world.block_on(cluster.set_remediation_condition(&node, Some(("Draining", "12 pods"))));
    let node = read(world, &cluster, &name);
    let draining = node.condition("SciuroRemediation").unwrap().clone();
    assert_eq!((&*draining.status, &*draining.reason, &*draining.message), ("True", "Draining", "12 pods"));
    world.block_on(cluster.set_remediation_condition(&node, Some(("WaitBoot", ""))));
    let node = read(world, &cluster, &name);
    let waiting = node.condition("SciuroRemediation").unwrap();
    assert_eq!((&*waiting.status, &*waiting.reason, &*waiting.message), ("True", "WaitBoot", ""));
    assert_eq!(waiting.last_transition_time, draining.last_transition_time, "it has been True all the time");
    world.block_on(cluster.set_remediation_condition(&node, None));
    assert_eq!(read(world, &cluster, &name).conditions.len(), others.len());
}

/// The answer is lost after the patch was applied.
#[test]
fn a_write_whose_answer_breaks_off_is_read_back() {
    let world = World::sandbox();
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let path = format!("/api/v1/nodes/{name}");
    for bytes in [0, 100] {
        let node = read(&world, &cluster, &name);
        let mut record = record(&node);
        record.timeout = bytes as u64;
        let lost = world.api().faults().on("PATCH", &path).times(1).truncate(bytes);
        let written = world.block_on(cluster.write_record(&node, &put(&record, Some(true)))).unwrap();
        assert_eq!((lost.hits(), &written.view.record), (1, &readable(&record)));
        let lost = world.api().faults().on("PATCH", &path).times(1).truncate(bytes);
        let (_, finish) = finish();
        let done = world.block_on(cluster.write_record(&written, &finish)).unwrap();
        assert_eq!((lost.hits(), &done.view.record), (1, &RecordSeen::None));
    }
}

/// What was stored and not acknowledged is sent again, and is in conflict with itself.
#[test]
fn a_write_that_is_sent_twice_is_stored() {
    let world = World::sandbox();
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let path = format!("/api/v1/nodes/{name}");
    let node = read(&world, &cluster, &name);
    let record = record(&node);
    let (text, stored_as) = (serde_json::to_string(&record).unwrap(), name.clone());
    world.api().before("PATCH", &path, move |store| {
        store.update("nodes", "", &stored_as, |node| {
            node["metadata"]["annotations"]["sciuro.dev/remediation"] = text.clone().into();
            node["spec"]["unschedulable"] = true.into();
        });
    });
    let lost = world.api().faults().on("PATCH", &path).times(1).drop_connection();
    let written = world.block_on(cluster.write_record(&node, &put(&record, Some(true)))).unwrap();
    assert_eq!((lost.hits(), &written.view.record), (1, &readable(&record)));
    assert_eq!(world.api().writes_by("kubectl-sciuro").len(), 2);
}

#[test]
fn a_write_that_nobody_answers_is_ambiguous_and_one_that_is_refused_is_not() {
    let world = World::sandbox();
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let node = read(&world, &cluster, &name);
    let write = || world.block_on(cluster.write_record(&node, &put(&record(&node), Some(true))));
    let outage = world.api().faults().on("*", "/api/v1/nodes*").drop_connection();
    assert!(matches!(write(), Err(RecordError::Ambiguous(_))));
    outage.stop();
    world.api().deny("patch", "nodes");
    assert!(matches!(write(), Err(RecordError::Api(_))));
    world.api().allow_all();
    let busy = world.api().faults().on("PATCH", &format!("/api/v1/nodes/{name}")).status(503);
    assert!(matches!(write(), Err(RecordError::Ambiguous(_))), "read back, and not there");
    busy.stop();
    write().unwrap();
}

#[test]
fn a_watch_survives_outages_and_versions_that_are_too_old() {
    let world = World::sandbox();
    let cluster = world.cluster(None);
    let name = world.bare_node("w1");
    let mut watch = watch(&world, &cluster, &name);
    watched(&world, &mut watch, |node| matches!(node, WatchedNode::Here(_)));
    // First by servers that are not there, then by rules that forbid it for good.
    for forbidden in [false, true] {
        let outage = world.api().faults().on("GET", "/api/v1/nodes");
        let outage = if forbidden { outage.forbid() } else { outage.drop_connection() };
        world.api().drop_watches();
        watched(&world, &mut watch, |node| matches!(node, WatchedNode::Unknown { .. }));
        let cordon = |node: &mut Value| node["spec"]["unschedulable"] = (!forbidden).into();
        world.api().store().update("nodes", "", &name, cordon);
        world.api().store().compact();
        outage.stop();
        let here = watched(&world, &mut watch, |node| matches!(node, WatchedNode::Here(_)));
        assert_eq!(is_unschedulable(&here), !forbidden);
    }
}

#[test]
fn locks_of_others_are_seen() {
    let world = World::sandbox();
    let cluster = world.cluster(None);
    crate::medik8s::install(&world);
    let answer = |path: &str, body: &Value| {
        world.api().faults().on("GET", path).body("application/json", body.to_string())
    };
    let kured = "/apis/apps/v1/namespaces/kube-system/daemonsets/kured";
    let maintenances = "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances";
    let lock = json!({"nodeID": "w1", "metadata": {}, "created": "2026-11-22T10:00:00Z", "TTL": 0});
    answer(kured, &json!({"metadata": {"annotations": {"weave.works/kured-node-lock": lock.to_string()}}}));
    answer(
        maintenances,
        &json!({"items": [
            {"metadata": {"name": "new-disk"}, "spec": {"nodeName": "w1", "reason": "disk"}},
            {"metadata": {"name": "other"}, "spec": {"nodeName": "w2"}},
        ]}),
    );
    let claims = |node: &str| world.block_on(cluster.claims_elsewhere(node));
    assert_eq!(
        claims("w1").claims,
        ["kured's lock names it: kured reboots it", "the NodeMaintenance new-disk has it: disk",]
    );
    assert_eq!(claims("w2").claims, ["the NodeMaintenance other has it: no reason given"]);
    assert_eq!(claims("w3"), sciuro::cluster::ClaimsElsewhere::default());
    world.api().faults().clear();
    world.api().faults().on("GET", kured).forbid();
    answer(maintenances, &json!({"items": []}));
    let unread = claims("w1");
    assert!(unread.claims.is_empty() && unread.unread[0].contains("Forbidden"), "{unread:?}");
}

/// What only a real server does.
mod real {
    use std::process::Command;

    use super::*;
    use crate::support::run;

    fn kubectl(world: &World, arguments: &[&str]) {
        run(Command::new("kubectl").args(arguments).env("KUBECONFIG", world.kubeconfig())).exits(0);
    }

    mod control_plane {
        use super::*;

        /// Of a node that somebody has uncordoned and cordoned again, the cordon is not ours.
        #[test]
        fn a_cordon_of_kubectl_is_not_ours() {
            let world = World::control_plane();
            let cluster = world.cluster(None);
            let name = world.bare_node("w1");
            let node = read(&world, &cluster, &name);
            let cordon = put(&record(&node), Some(true));
            let ours = write(&world, &cluster, &name, &cordon);
            assert!(ours.view.cordon_is_ours);
            assert_eq!(ours.cordoned_by, ["kubectl-sciuro"]);
            kubectl(&world, &["cordon", &name]);
            assert!(
                read(&world, &cluster, &name).view.cordon_is_ours,
                "kubectl found it cordoned, and did nothing"
            );
            kubectl(&world, &["uncordon", &name]);
            let free = read(&world, &cluster, &name);
            assert!(!free.view.unschedulable && !free.view.cordon_is_ours);
            kubectl(&world, &["cordon", &name]);
            let theirs = read(&world, &cluster, &name);
            assert!(theirs.view.unschedulable && !theirs.view.cordon_is_ours);
            assert_eq!(theirs.cordoned_by, ["kubectl"]);
            // The record does not make it ours, and neither does another write of it.
            let again = write(&world, &cluster, &name, &cordon);
            assert!(!again.view.cordon_is_ours, "{:?}", again.cordoned_by);
        }

        #[test]
        fn a_watch_survives_an_api_server_that_is_killed() {
            let mut own = crate::support::Cluster::start();
            let world = World::on(&own.kubeconfig());
            let cluster = world.cluster(None);
            let name = world.bare_node("w1");
            let mut watch = watch(&world, &cluster, &name);
            watched(&world, &mut watch, |node| matches!(node, WatchedNode::Here(_)));
            own.kill_server();
            watched(&world, &mut watch, |node| matches!(node, WatchedNode::Unknown { .. }));
            own.start_server();
            watched(&world, &mut watch, |node| matches!(node, WatchedNode::Here(_)));
            let record = record(&read(&world, &cluster, &name));
            write(&world, &cluster, &name, &put(&record, Some(true)));
            let is_written = |node: &WatchedNode| matches!(node, WatchedNode::Here(node) if node.view.record == readable(&record));
            watched(&world, &mut watch, is_written);
        }
    }
}
