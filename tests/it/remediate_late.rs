//! Orders that arrive late, and records that a kubelet has forged.

use std::time::Duration;

use ::sandbox::Helpers;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{Fleet, World, scenarios, seconds_ago};

scenarios![
    an_order_that_starts_an_hour_late,
    an_order_that_starts_after_another_boot,
    an_order_that_starts_an_hour_after_an_uncordon,
    an_order_that_was_taken_back,
    a_forged_record_is_undone_without_harm,
    a_forged_record_names_no_command,
    a_forged_id_reaches_no_other_nodes_helper,
    a_pod_in_the_helpers_place_is_left_alone,
    a_record_forged_while_it_runs,
    a_record_of_another_id_while_it_runs,
];

const HOUR: Duration = Duration::from_secs(3600);
const HELPERS: &str = "/api/v1/namespaces/kube-system/pods";
const JSON: &str = "application/json";

/// A run that has died with its order on the way; the order's pod has not started.
fn order_without_a_master(world: &World) -> Fleet<'_> {
    let fleet = Fleet::new(world);
    fleet.machines.helpers(&fleet.node, Helpers::OnlyProbes).unwrap();
    let alice = fleet.begin_as("alice", &[]);
    fleet.until("an order", || fleet.helpers().iter().any(|name| name.starts_with("sciuro-reboot-")));
    alice.kill();
    fleet
}

/// The exit code of the order's pod, once it has one.
fn answer(fleet: &Fleet<'_>) -> i64 {
    let path = format!("{HELPERS}/{}", fleet.helpers()[0]);
    let code = || {
        let pod = fleet.world.request("GET", &path, JSON, &Value::Null);
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
    };
    fleet.until("an answer", || code().is_some());
    code().unwrap()
}

/// Nobody waits for the end of the order's window in a test: it began an hour ago.
fn an_hour_ago(fleet: &Fleet<'_>) {
    let mut record = fleet.record();
    record["attempts"][0]["intentAt"] = seconds_ago(SignedDuration::from_hours(1)).into();
    write(fleet, &record);
}

/// As its kubelet can.
fn write(fleet: &Fleet<'_>, record: &Value) {
    let record = record.to_string();
    let written = fleet.machines.annotate(&fleet.node, "sciuro.dev/remediation", Some(&record));
    fleet.world.block_on(written).unwrap();
}

/// The first probe says a time, and an hour later is when the order's pod starts.
fn an_order_that_starts_an_hour_late(world: &World) {
    let fleet = Fleet::new(world);
    fleet.machines.helpers(&fleet.node, Helpers::Late(HOUR)).unwrap();
    fleet.remediate(&[]).exits(6).says("the order came too late and was refused").says("--retry-reboot");
    assert_eq!(fleet.orders(), (0, 0));
    assert!(fleet.is_cordoned());
    assert_eq!(fleet.record()["failedState"], "RebootIntent");
}

fn an_order_that_starts_after_another_boot(world: &World) {
    let fleet = order_without_a_master(world);
    let before = fleet.boot_id();
    fleet.machines.reboot(&fleet.node).unwrap();
    fleet.until("another boot", || fleet.boot_id() != before);
    fleet.machines.helpers(&fleet.node, Helpers::Run).unwrap();
    assert_eq!(answer(&fleet), 10);
    assert_eq!(fleet.orders(), (0, 1));
    // Whoever goes on takes the reboot that there was.
    fleet.remediate(&["--resume"]).exits(0);
    assert_eq!(fleet.orders(), (0, 1));
    fleet.nothing_is_left();
}

fn an_order_that_starts_an_hour_after_an_uncordon(world: &World) {
    let fleet = order_without_a_master(world);
    fleet.uncordon();
    fleet.machines.helpers(&fleet.node, Helpers::Late(HOUR)).unwrap();
    assert_eq!(answer(&fleet), 11);
    assert_eq!(fleet.orders(), (0, 0));
    // Nor does whoever goes on with it give another one.
    an_hour_ago(&fleet);
    fleet.remediate(&["--resume"]).exits(8).says("someone else uncordoned the node").never_says("stays");
    assert!(!fleet.is_cordoned());
    fleet.never_rebooted();
}

fn an_order_that_was_taken_back(world: &World) {
    let fleet = order_without_a_master(world);
    an_hour_ago(&fleet);
    fleet.remediate(&["--abort"]).exits(0);
    fleet.machines.helpers(&fleet.node, Helpers::Run).unwrap();
    assert_eq!(fleet.record(), Value::Null);
    assert!(!fleet.is_cordoned());
    fleet.never_rebooted();
}

/// A pod of somebody else's.
fn victim(fleet: &Fleet<'_>, collection: &str, name: &str, node: &str, labels: &Value) -> String {
    let pod = json!({"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": node,
        "automountServiceAccountToken": false, "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
    fleet.world.create(collection, &pod);
    format!("{collection}/{name}")
}

/// It is there, and nobody has told it to end.
#[track_caller]
fn is_well(fleet: &Fleet<'_>, pod: &str) {
    let pod = fleet.world.request("GET", pod, JSON, &Value::Null);
    assert_eq!(pod["metadata"]["deletionTimestamp"], Value::Null, "{pod:#}");
}

/// The record of a run that stopped after its cordon.
fn record_to_forge(fleet: &Fleet<'_>) -> Value {
    fleet.begin_as("alice", &["--until", "cordon", "--force"]).ends(0);
    fleet.record()
}

fn a_forged_record_is_undone_without_harm(world: &World) {
    let fleet = Fleet::new(world);
    let app = world.namespace("app");
    let pods = format!("/api/v1/namespaces/{app}/pods");
    let victim = victim(&fleet, &pods, "victim", &fleet.node, &json!({"app": "db"}));
    let bundle = world.file(&format!("sciuro-{}-20260101T000000Z.tar.gz", fleet.node), "somebody's");
    let mut record = record_to_forge(&fleet);
    record["actor"] = "\u{1b}[31mroot".into();
    record["marks"] = json!([
        {"type": "cordon"},
        {"type": "helper", "namespace": app, "name": "victim"},
        {"type": "helper", "namespace": "kube-system", "name": "../../pods/victim"},
        {"type": "silence", "id": "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11"},
    ]);
    record["bundle"] = bundle.display().to_string().into();
    record["state"] = "Verifying".into();
    write(&fleet, &record);
    fleet.remediate(&["--abort"]).exits(0).never_says("\u{1b}[31m");
    is_well(&fleet, &victim);
    assert_eq!(std::fs::read_to_string(&bundle).unwrap(), "somebody's");
    fleet.never_rebooted();

    let elsewhere = json!({"type": "helper", "namespace": app, "name": "victim"});
    let mut record = record_to_forge(&fleet);
    record["marks"].as_array_mut().unwrap().push(elsewhere);
    record["bundle"] = bundle.display().to_string().into();
    write(&fleet, &record);
    let directory = world.file("elsewhere", "").parent().unwrap().join("bundles");
    // Drained or not is the person's decision, and nothing of the record's.
    let flags = ["--resume", "--skip", "drain", "--output-dir", directory.to_str().unwrap()];
    fleet.remediate(&flags).exits(0);
    is_well(&fleet, &victim);
    assert_eq!(std::fs::read_to_string(&bundle).unwrap(), "somebody's");
    assert_eq!(fleet.orders(), (1, 1));
}

/// What is run comes from flags alone.
fn a_forged_record_names_no_command(world: &World) {
    let fleet = Fleet::new(world);
    let proof = world.file("run", "").with_extension("was-run");
    let mut record = record_to_forge(&fleet);
    record["method"] = "command".into();
    record["command"] = format!("touch {}", proof.display()).into();
    record["rebootCommand"] = record["command"].clone();
    write(&fleet, &record);
    fleet.remediate(&["--resume"]).exits(2).says("--reboot-command is missing");
    fleet
        .remediate(&["--resume", "--reboot-method", "pod"])
        .exits(3)
        .says("another method is another attempt");
    record["state"] = "RebootIntent".into();
    record["attempts"] = json!([{"n": 1, "method": "command", "intentAt": record["since"]}]);
    write(&fleet, &record);
    // What may have been sent is waited for.
    fleet.remediate(&["--resume", "--reboot-timeout", "1s"]).exits(6);
    fleet.remediate(&["--resume", "--reboot-method", "command"]).exits(2);
    assert!(!proof.exists());
    fleet.never_rebooted();
}

/// The id is that of another node's remediation, whose helper is at work.
fn a_forged_id_reaches_no_other_nodes_helper(world: &World) {
    let fleet = Fleet::new(world);
    let id = format!("{:08x}-4d5b-4f0e-9d6c-0a2f5c1e7b11", std::process::id());
    let labels = json!({"app.kubernetes.io/managed-by": "kubectl-sciuro", "sciuro.dev/remediation": id});
    let name = format!("sciuro-reboot-{}-1", &id[..8]);
    let helper = victim(&fleet, HELPERS, &name, &fleet.second, &labels);
    let mut record = record_to_forge(&fleet);
    record["id"] = id.into();
    record["state"] = "RebootIntent".into();
    record["attempts"] = json!([{"n": 1, "method": "pod", "intentAt": seconds_ago(SignedDuration::from_hours(1)),
        "notAfterUptime": u64::MAX}]);
    write(&fleet, &record);
    fleet.remediate(&["--abort"]).exits(0);
    is_well(&fleet, &helper);
    write(&fleet, &record);
    // Its own helper has another name then.
    fleet.remediate(&["--resume"]);
    is_well(&fleet, &helper);
    assert_eq!(fleet.machines.facts(&fleet.second).unwrap().orders, 0);
}

/// Where our helper would be, on this node, but somebody else's.
fn a_pod_in_the_helpers_place_is_left_alone(world: &World) {
    let fleet = Fleet::new(world);
    let mut record = record_to_forge(&fleet);
    let id = format!("{:08x}-aaaa-4f0e-9d6c-0a2f5c1e7b11", std::process::id());
    let name = format!("sciuro-probe-{}", &id[..8]);
    let pod = victim(&fleet, HELPERS, &name, &fleet.node, &json!({"app": "db"}));
    record["id"] = id.into();
    write(&fleet, &record);
    let told =
        format!("pod kube-system/{name} has our helper's name but was not created by us; left untouched");
    fleet.remediate(&["--abort"]).exits(0).says(&told);
    is_well(&fleet, &pod);
    assert_eq!(fleet.orders(), (0, 0));
}

/// It goes on by what it knows itself.
fn a_record_forged_while_it_runs(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let app = world.namespace("other");
    let pods = format!("/api/v1/namespaces/{app}/pods");
    let victim = victim(&fleet, &pods, "victim", &fleet.second, &json!({"app": "db"}));
    let mut running = fleet.begin(&["--force"]);
    fleet.until_in("Draining");
    // The same id, and we are the holder.
    let mut forged = fleet.record();
    forged["state"] = "Uncordoning".into();
    forged["wasUnschedulable"] = true.into();
    forged["preBootID"] = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11".into();
    forged["marks"] = json!([{"type": "helper", "namespace": app, "name": "victim"}]);
    forged["method"] = "manual".into();
    write(&fleet, &forged);
    fleet.free(&namespace);
    running.ends(0);
    assert_eq!(fleet.orders(), (1, 1));
    assert!(!fleet.is_cordoned());
    is_well(&fleet, &victim);
}

/// Another id, and somebody else is the holder: then it is somebody else's.
fn a_record_of_another_id_while_it_runs(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let mut running = fleet.begin(&["--force"]);
    fleet.until_in("Draining");
    let mut forged = fleet.record();
    forged["id"] = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11".into();
    forged["holder"] = "\u{1b}[31mroot@evil#1".into();
    write(&fleet, &forged);
    let (_, said) = running.ends(9);
    assert!(!said.join("\n").contains("\u{1b}[31m"), "{said:#?}");
    fleet.never_rebooted();
    assert_eq!(fleet.record()["id"], forged["id"], "it is not ours to take away");
}
