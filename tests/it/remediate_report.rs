//! `remediate -o json`: one document on stdout, whatever way the run ends, and nothing else.

use ::sandbox::Boot;
use serde_json::{Value, json};

use crate::remediate::scene::Scene;
use crate::schemas::validates;
use crate::support::{Fleet, Run, Running, World, run, scenarios};

scenarios![
    all_six_steps,
    stopped_and_resumed,
    a_drain_that_is_blocked_and_aborted,
    a_boot_that_is_not_proven,
    a_node_that_does_not_verify,
    a_failure_that_is_undone,
    refused_and_busy,
    nobody_to_ask,
    a_node_that_is_not_there,
    several_nodes,
    a_signal,
    others_who_act_on_the_node,
    a_node_that_is_replaced,
];

const JSON: [&str; 2] = ["-o", "json"];

/// The whole of stdout is the document, and it says what the process ended with.
#[track_caller]
fn report(run: &Run) -> Value {
    let report = validates("remediation-report.json", &run.stdout);
    assert_eq!(report["exitCode"].as_i64().map(|code| i32::try_from(code).unwrap()), run.code, "{report:#}");
    report
}

#[track_caller]
fn remediate(fleet: &Fleet<'_>, more: &[&str], code: i32) -> Value {
    report(&fleet.remediate(&[&JSON, more].concat()).exits(code))
}

#[track_caller]
fn has(report: &Value, facts: &[(&str, Value)]) {
    for (pointer, expected) in facts {
        let found = report.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, expected, "{pointer} in {report:#}");
    }
}

/// `name result` of each step.
fn steps(report: &Value) -> Vec<String> {
    let word = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    let steps = report["steps"].as_array().unwrap().iter();
    steps.map(|step| format!("{} {}", word(step, "name"), word(step, "result"))).collect()
}

/// What it says is to be done next; with which flags is said where the lines are typed.
#[track_caller]
fn leaves(report: &Value, commands: &[String]) {
    let left = report["leftToDo"].as_array().unwrap();
    for command in commands {
        let is_told = left.iter().any(|line| {
            let line = line.as_str().unwrap();
            line.ends_with(command) || line.contains(&format!("{command} --"))
        });
        assert!(is_told, "no {command:?} in {report:#}");
    }
    assert!(!commands.is_empty() || left.is_empty(), "{report:#}");
}

fn go_on_or_undo(node: &str) -> [String; 2] {
    ["--resume", "--abort"].map(|flag| format!("kubectl sciuro remediate {node} {flag}"))
}

fn all_six_steps(world: &World) {
    let scene = Scene::with_everything(world);
    let before = scene.facts();
    let flags = ["-o", "json", "--yes", "--force", "--delete-emptydir-data"];
    let report = report(&scene.remediate(&flags).exits(0).says("remediated"));
    let uid = world.get_node(&scene.node)["metadata"]["uid"].clone();
    has(
        &report,
        &[
            ("/node", json!(scene.node)),
            ("/uid", uid),
            ("/task", json!("remediate")),
            ("/outcome", json!("remediated")),
            ("/message", json!(format!("node/{} remediated", scene.node))),
            ("/cordoned", json!(false)),
            ("/state", Value::Null),
            ("/bootID", json!({"before": before.boot_id, "after": scene.facts().boot_id})),
            ("/attempts/0/outcome", json!("rebooted")),
            ("/pods/left", json!([])),
        ],
    );
    assert_eq!(
        steps(&report),
        [
            "preflight done",
            "probe done",
            "cordon done",
            "collect done",
            "drain done",
            "reboot done",
            "wait for the boot done",
            "verify done",
            "uncordon done",
        ]
    );
    let began: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|step| step["began"].as_str().unwrap()).collect();
    assert!(began.is_sorted() && report["began"].as_str() <= began.first().copied(), "{report:#}");
    let evicted = report["pods"]["evicted"].as_array().unwrap();
    assert_eq!(evicted.len(), 5, "web, web, db, cache, shell: {report:#}");
    assert!(evicted.iter().all(|pod| pod["namespace"] == scene.namespace.as_str()), "{report:#}");
    let kept = report["pods"]["kept"].as_array().unwrap();
    let of_daemon_set = kept.iter().any(|pod| pod["reason"] == "managed by a DaemonSet");
    assert!(of_daemon_set && kept.iter().any(|pod| pod["reason"] == "static pod"), "{report:#}");
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.len() > 5 && checks.iter().all(|check| check["passed"] == true), "{report:#}");
    assert!(std::path::Path::new(report["bundle"].as_str().unwrap()).is_file(), "{report:#}");
    leaves(&report, &[]);
}

fn stopped_and_resumed(world: &World) {
    let fleet = Fleet::new(world);
    let stopped = remediate(&fleet, &["--until", "drain"], 0);
    has(
        &stopped,
        &[("/outcome", json!("stopped")), ("/state", json!("Draining")), ("/cordoned", json!(true))],
    );
    leaves(&stopped, &go_on_or_undo(&fleet.node));
    let resumed = remediate(&fleet, &["--resume"], 0);
    has(
        &resumed,
        &[("/outcome", json!("remediated")), ("/task", json!("resume")), ("/id", stopped["id"].clone())],
    );
    assert_eq!(steps(&resumed)[..2], ["preflight done", "drain done"]);
    let document = fleet.remediate(&["--abort", "-o", "yaml"]).exits(3).stdout;
    let begins = "apiVersion: sciuro.dev/v1alpha1\nkind: RemediationReport\nnode: ";
    assert!(document.starts_with(begins), "{document}");
}

fn a_drain_that_is_blocked_and_aborted(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let failed = remediate(&fleet, &["--force", "--drain-timeout", "2s"], 5);
    has(
        &failed,
        &[
            ("/outcome", json!("failed")),
            ("/failedStep", json!("drain")),
            ("/state", json!("NeedsHuman")),
            ("/cordoned", json!(true)),
            ("/pods/left/0/name", json!("stubborn")),
            ("/pods/left/0/budget", json!(format!("{namespace}/stubborn"))),
            ("/bootID/after", Value::Null),
            ("/attempts", json!([])),
        ],
    );
    assert_eq!(steps(&failed).last().unwrap(), "drain failed");
    leaves(&failed, &go_on_or_undo(&fleet.node));
    let aborted = remediate(&fleet, &["--abort"], 0);
    has(&aborted, &[("/outcome", json!("aborted")), ("/cordoned", json!(false)), ("/state", Value::Null)]);
    assert_eq!(steps(&aborted), ["undo done"]);
    leaves(&aborted, &[]);
}

fn a_boot_that_is_not_proven(world: &World) {
    let fleet = Fleet::new(world);
    fleet.machines.boots(&fleet.node, Boot { never_back: true, ..Boot::default() }).unwrap();
    let report = remediate(&fleet, &["--reboot-timeout", "3s"], 6);
    has(
        &report,
        &[
            ("/outcome", json!("failed")),
            ("/failedStep", json!("wait for the boot")),
            ("/attempts/0/outcome", json!("issued")),
            ("/bootID/after", Value::Null),
            ("/checks", json!([])),
        ],
    );
    let again = format!("kubectl sciuro remediate {} --resume --retry-reboot", fleet.node);
    leaves(&report, &[again]);
}

fn a_node_that_does_not_verify(world: &World) {
    let fleet = Fleet::new(world);
    let report = remediate(&fleet, &["--verify-command", "false", "--verify-timeout", "2s"], 7);
    has(
        &report,
        &[
            ("/outcome", json!("failed")),
            ("/failedStep", json!("verify")),
            ("/bootID/after", json!(fleet.boot_id())),
            ("/cordoned", json!(true)),
        ],
    );
    let (good, bad): (Vec<&Value>, Vec<&Value>) =
        report["checks"].as_array().unwrap().iter().partition(|check| check["passed"] == true);
    assert!(good.iter().any(|check| check["name"] == "Ready"), "{report:#}");
    assert_eq!(bad.len(), 1, "{report:#}");
    assert_eq!(bad[0]["name"], "verify command", "{report:#}");
}

fn a_failure_that_is_undone(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let report = remediate(&fleet, &["--force", "--drain-timeout", "2s", "--on-failure", "uncordon"], 5);
    has(
        &report,
        &[
            ("/outcome", json!("undone")),
            ("/failedStep", json!("drain")),
            ("/cordoned", json!(false)),
            ("/state", Value::Null),
        ],
    );
}

fn refused_and_busy(world: &World) {
    let fleet = Fleet::new(world);
    let excluded = |label: Value| {
        fleet.patch(&fleet.node, &json!({"metadata": {"labels": {"sciuro.dev/exclude": label}}}));
    };
    excluded(json!(""));
    let refused = remediate(&fleet, &[], 3);
    has(
        &refused,
        &[
            ("/outcome", json!("refused")),
            ("/refusals/0/name", json!("excluded")),
            ("/refusals/0/flag", json!("--override excluded")),
            ("/id", Value::Null),
            ("/cordoned", json!(false)),
        ],
    );
    assert_eq!(steps(&refused), ["preflight done"]);
    excluded(Value::Null);
    fleet.remediate(&["--until", "cordon"]).exits(0);
    let busy = remediate(&fleet, &[], 9);
    has(&busy, &[("/outcome", json!("busy")), ("/state", json!("Cordoning")), ("/cordoned", json!(true))]);
    assert_eq!(steps(&busy), ["preflight failed"]);
    leaves(&busy, &go_on_or_undo(&fleet.node));
}

fn nobody_to_ask(world: &World) {
    let fleet = Fleet::new(world);
    let declined = report(&run(&mut world.command(&["remediate", &fleet.node, "-o", "json"])).exits(4));
    has(&declined, &[("/outcome", json!("declined")), ("/node", json!(fleet.node)), ("/uid", Value::Null)]);
    leaves(&declined, &["add --yes to go on without prompts".to_owned()]);
}

fn a_node_that_is_not_there(world: &World) {
    let name = world.name("nobody");
    let failed = report(&run(&mut world.command(&["remediate", &name, "--yes", "-o", "json"])).exits(1));
    has(&failed, &[("/outcome", json!("failed")), ("/uid", Value::Null), ("/bootID", Value::Null)]);
    leaves(&failed, &["kubectl get nodes".to_owned()]);
}

fn several_nodes(world: &World) {
    let fleet = Fleet::new(world);
    let label = |node: &str, label: Value| fleet.patch(node, &json!({"metadata": {"labels": label}}));
    label(&fleet.node, json!({"rack": world.id(), "sciuro.dev/exclude": ""}));
    label(&fleet.second, json!({"rack": world.id()}));
    let list = |more: &[&str], code| {
        let list = report(&run(&mut fleet.command(&[&JSON, more].concat())).exits(code));
        assert_eq!(list["kind"], "RemediationReportList", "{list:#}");
        list
    };
    let rack = format!("rack={}", world.id());
    let first_fails = list(&["-l", &rack], 3);
    has(&first_fails, &[("/items/0/outcome", json!("refused")), ("/items/1/outcome", json!("notBegun"))]);
    let goes_on = list(&["-l", &rack, "--continue-on-error"], 1);
    has(
        &goes_on,
        &[
            ("/items/0/exitCode", json!(3)),
            ("/items/1/outcome", json!("remediated")),
            ("/items/1/node", json!(fleet.second)),
            ("/message", json!(format!("1 of 2 nodes failed: {}", fleet.node))),
        ],
    );
    let named = list(&[&fleet.second, &fleet.third, "--until", "cordon"], 0);
    has(&named, &[("/items/0/state", json!("Cordoning")), ("/items/1/node", json!(fleet.third))]);
    assert_eq!(list(&["-l", "rack=nowhere"], 0)["items"], json!([]));
}

/// The report of a run that was begun, with its exit code.
#[track_caller]
fn ends(running: &mut Running, code: i32) -> Value {
    let (stdout, _) = running.ends(code);
    let report = validates("remediation-report.json", &stdout.join("\n"));
    assert_eq!(report["exitCode"], code, "{report:#}");
    report
}

fn a_signal(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let mut running = fleet.begin(&["-o", "json", "--force"]);
    running.says("waits for");
    running.signal("INT");
    let drain = ends(&mut running, 130);
    has(
        &drain,
        &[("/outcome", json!("interrupted")), ("/state", json!("Draining")), ("/cordoned", json!(true))],
    );
    assert_eq!(steps(&drain).last().unwrap(), "drain stopped");
    leaves(&drain, &go_on_or_undo(&fleet.node));
    fleet.free(&namespace);
    let mut running = fleet.begin(&["-o", "json", "--force", "--resume", "--stable-for", "60s"]);
    fleet.until_in("Verifying");
    running.signal("TERM");
    let verify = ends(&mut running, 143);
    has(
        &verify,
        &[
            ("/outcome", json!("interrupted")),
            ("/state", json!("Verifying")),
            ("/pods/evicted", json!([{"namespace": namespace, "name": "stubborn"}])),
            ("/bootID/after", json!(fleet.boot_id())),
        ],
    );
    assert_eq!(steps(&verify).last().unwrap(), "verify stopped");
}

fn others_who_act_on_the_node(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let mut alice = fleet.begin_as("alice", &["-o", "json", "--force"]);
    alice.says("waits for");
    alice.signal("STOP");
    let mut bob = fleet.begin_as("bob", &["-o", "json", "--resume", "--force"]);
    fleet.until("bob's", || fleet.record()["holder"].as_str().is_some_and(|who| who.starts_with("bob@")));
    alice.signal("CONT");
    let lost = ends(&mut alice, 9);
    has(&lost, &[("/outcome", json!("takenOver")), ("/state", Value::Null), ("/cordoned", Value::Null)]);
    leaves(&lost, &[format!("kubectl sciuro remediate {} --abort", fleet.node)]);
    let asked = remediate(&fleet, &["--abort"], 0);
    has(&asked, &[("/outcome", json!("aborted")), ("/task", json!("abort")), ("/state", Value::Null)]);
    let obeyed = ends(&mut bob, 8);
    has(&obeyed, &[("/outcome", json!("aborted")), ("/cordoned", json!(false)), ("/state", Value::Null)]);
}

fn a_node_that_is_replaced(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let before = world.get_node(&fleet.node)["metadata"]["uid"].clone();
    let mut running = fleet.begin(&["-o", "json", "--force"]);
    fleet.until_in("Draining");
    world.delete_node(&fleet.node);
    world.node_named(&fleet.node);
    let report = ends(&mut running, 8);
    has(&report, &[("/outcome", json!("replaced")), ("/uid", before), ("/state", Value::Null)]);
}
