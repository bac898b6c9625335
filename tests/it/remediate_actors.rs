//! Several people and programs at the same nodes: one acts, and the others are told who.

use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ::sandbox::Helpers;
use rexpect::session::{PtySession, spawn_command};
use serde_json::Value;

use crate::support::{Fleet, Run, World, run, scenarios};

scenarios![
    two_runs_on_one_node,
    a_person_and_a_cron_job,
    a_cron_job_while_a_person_thinks,
    a_laptop_that_slept_through_the_drain,
    a_laptop_that_slept_at_the_order,
    a_laptop_that_wakes_evicts_nothing,
    a_laptop_that_wakes_says_who_acts_now,
    an_abort_that_the_holder_obeys,
    an_abort_of_a_dead_run,
    a_resume_by_another_person,
];

/// Runs them at the same time; tells each one's name and end as it ends.
fn race<const N: usize>(commands: [(String, Command); N]) -> Receiver<(String, Run)> {
    let (sender, ended) = channel();
    for (name, mut command) in commands {
        let sender = sender.clone();
        std::thread::spawn(move || sender.send((name, run(&mut command))));
    }
    ended
}

#[track_caller]
fn next(ended: &Receiver<(String, Run)>) -> (String, Run) {
    ended.recv_timeout(Duration::from_secs(60)).expect("an end within a minute")
}

/// Nobody gets beyond the order to reboot until this is taken back.
fn hold_orders(fleet: &Fleet<'_>, node: &str, hold: bool) {
    let helpers = if hold { Helpers::OnlyProbes } else { Helpers::Run };
    fleet.machines.helpers(node, helpers).unwrap();
}

fn two_runs_on_one_node(world: &World) {
    let fleet = Fleet::new(world);
    hold_orders(&fleet, &fleet.node, true);
    let ended = race(["alice", "bob"].map(|user| {
        let mut command = fleet.command(&[&fleet.node]);
        command.env("USER", user);
        (user.to_owned(), command)
    }));
    let (loser, run) = next(&ended);
    let winner = if loser == "alice" { "bob@" } else { "alice@" };
    run.exits(9).says(winner).says("--abort");
    fleet.until_in("RebootIntent");
    hold_orders(&fleet, &fleet.node, false);
    next(&ended).1.exits(0);
    assert_eq!(fleet.orders(), (1, 1));
    fleet.nothing_is_left();
}

/// On a cluster of its own: what others have away would count.
#[test]
fn two_runs_on_two_nodes_with_room_for_one() {
    let world = &World::sandbox();
    let fleet = Fleet::new(world);
    for node in [&fleet.node, &fleet.second] {
        hold_orders(&fleet, node, true);
    }
    let ended = race([&fleet.node, &fleet.second].map(|node| {
        let command = fleet.command(&[node, "--max-unavailable", "1"]);
        (node.clone(), command)
    }));
    let (loser, run) = next(&ended);
    let winner = if loser == fleet.node { &fleet.second } else { &fleet.node };
    assert!(matches!(run.code, Some(3 | 9)), "{run:#?}");
    let all = [run.stdout.as_str(), run.stderr.as_str()].concat();
    assert!(all.contains("max-unavailable") && all.contains(winner.as_str()), "{all}");
    assert!(world.get_node(&loser)["spec"]["unschedulable"].is_null());
    for node in [&fleet.node, &fleet.second] {
        hold_orders(&fleet, node, false);
    }
    next(&ended).1.exits(0);
    assert_eq!(fleet.machines.facts(winner).unwrap().orders, 1);
    assert_eq!(fleet.machines.facts(&loser).unwrap().orders, 0);
}

/// A person's run at its first prompt.
fn person(fleet: &Fleet<'_>) -> PtySession {
    let prefix = fleet.world.prefix();
    let mut command = fleet.world.command(&["remediate", &fleet.node, "--prefix", &prefix]);
    command.args(["--max-unavailable", "100%", "--skip", "collect", "--lease-duration", "3s"]);
    command.args(["--stable-for", "1s", "--progress", "plain"]).env("USER", "alice");
    command.stdin(Stdio::inherit()); // the terminal's
    let mut session = spawn_command(command, Some(40_000)).unwrap();
    session.exp_string("as planned? [y/N] ").unwrap();
    session
}

fn exit_code(session: &PtySession) -> Option<i32> {
    match session.process().wait().unwrap() {
        rexpect::process::WaitStatus::Exited(_, code) => Some(code),
        _ => None,
    }
}

/// The cron job was quicker: what the person says yes to is under way.
fn a_person_and_a_cron_job(world: &World) {
    let fleet = Fleet::new(world);
    hold_orders(&fleet, &fleet.node, true);
    let mut person = person(&fleet);
    let mut job = fleet.begin_as("cron", &[]);
    fleet.until_in("RebootIntent");
    person.send_line("y").unwrap();
    person.exp_string("cron@").unwrap();
    person.exp_eof().unwrap();
    assert_eq!(exit_code(&person), Some(9));
    hold_orders(&fleet, &fleet.node, false);
    job.ends(0);
    assert_eq!(fleet.orders(), (1, 1));
}

/// The person is asked before the reboot, and holds the node meanwhile.
fn a_cron_job_while_a_person_thinks(world: &World) {
    let fleet = Fleet::new(world);
    let mut person = person(&fleet);
    person.send_line("y").unwrap();
    person.exp_string("Type yes to reboot: ").unwrap();
    let mut job = fleet.command(&[&fleet.node]);
    run(job.env("USER", "cron")).exits(9).says("alice@").says("--resume");
    assert_eq!(fleet.orders(), (0, 0));
    person.send_line("yes").unwrap();
    person.exp_string("remediated").unwrap();
    person.exp_eof().unwrap();
    assert_eq!(exit_code(&person), Some(0));
    assert_eq!(fleet.orders(), (1, 1));
}

fn a_laptop_that_slept_through_the_drain(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let mut alice = fleet.begin_as("alice", &["--force"]);
    fleet.until_in("Draining");
    alice.signal("STOP");
    fleet.free(&namespace);
    let mut bob = fleet.begin_as("bob", &["--resume", "--force"]);
    bob.says("alice@");
    bob.ends(0);
    let after = fleet.face();
    alice.signal("CONT");
    let (_, said) = alice.ends(9);
    assert!(said.join("\n").contains("error: "), "{said:#?}");
    assert_eq!(fleet.face(), after);
    assert_eq!(fleet.orders(), (1, 1));
    fleet.nothing_is_left();
}

/// What it was about to evict runs on, on a node that is somebody else's business by now.
fn a_laptop_that_wakes_evicts_nothing(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let mut alice = fleet.begin_as("alice", &["--force"]);
    alice.says("waits for");
    alice.signal("STOP");
    fleet.begin_as("bob", &["--abort"]).ends(0);
    fleet.free(&namespace);
    std::thread::sleep(Duration::from_secs(6)); // asleep until after it wanted to ask again
    alice.signal("CONT");
    alice.ends(9);
    let pod = format!("/api/v1/namespaces/{namespace}/pods/stubborn");
    let pod = world.request("GET", &pod, "application/json", &Value::Null);
    assert_eq!(pod["metadata"]["deletionTimestamp"], Value::Null, "{pod:#}");
    assert!(!fleet.is_cordoned());
    fleet.never_rebooted();
}

/// The other one takes back the order that was on its way, and sends it anew; the sleeper sends none.
fn a_laptop_that_slept_at_the_order(world: &World) {
    let fleet = Fleet::new(world);
    hold_orders(&fleet, &fleet.node, true);
    let mut alice = fleet.begin_as("alice", &[]);
    fleet.until("an order", || fleet.helpers().iter().any(|name| name.starts_with("sciuro-reboot-")));
    alice.signal("STOP");
    let orders = || fleet.helper_uids("sciuro-reboot-");
    let alices = orders();
    let mut bob = fleet.begin_as("bob", &["--resume"]);
    // What was on its way is recalled before another is sent.
    fleet.until("an order of bob's", || orders().iter().any(|uid| !alices.contains(uid)));
    assert_eq!(orders().len(), 1);
    hold_orders(&fleet, &fleet.node, false);
    bob.ends(0);
    let after = fleet.face();
    alice.signal("CONT");
    alice.ends(9);
    assert_eq!(fleet.face(), after);
    assert_eq!(fleet.orders(), (1, 1));
    fleet.nothing_is_left();
}

fn a_laptop_that_wakes_says_who_acts_now(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let mut alice = fleet.begin_as("alice", &["--force"]);
    alice.says("waits for");
    alice.signal("STOP");
    let mut bob = fleet.begin_as("bob", &["--resume", "--force"]);
    fleet.until("bob's", || fleet.record()["holder"].as_str().is_some_and(|who| who.starts_with("bob@")));
    alice.signal("CONT");
    let (_, said) = alice.ends(9);
    let error = said.iter().find(|line| line.starts_with("error: ")).expect("an error");
    assert!(error.contains("another process took over: bob@"), "{said:#?}");
    assert!(error.contains(" acts on it now, since 20") && error.ends_with('Z'), "{said:#?}");
    let hint = format!("hint: to stop it: kubectl sciuro remediate {} --abort", fleet.node);
    assert!(said.iter().any(|line| line.starts_with(&hint)), "{said:#?}");
    fleet.free(&namespace);
    bob.ends(0);
    assert_eq!(fleet.orders(), (1, 1));
}

fn an_abort_that_the_holder_obeys(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let mut alice = fleet.begin_as("alice", &["--force"]);
    fleet.until_in("Draining");
    let mut bob = fleet.begin_as("bob", &["--abort"]);
    let (_, said) = alice.ends(8);
    assert!(said.join("\n").contains("--abort"), "{said:#?}");
    bob.ends(0);
    assert_eq!(fleet.record(), Value::Null);
    let annotations = &world.get_node(&fleet.node)["metadata"]["annotations"];
    assert_eq!(annotations["sciuro.dev/abort"], Value::Null);
    assert!(!fleet.is_cordoned());
    fleet.never_rebooted();
}

fn an_abort_of_a_dead_run(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let alice = fleet.begin_as("alice", &["--force"]);
    fleet.until_in("Draining");
    alice.kill();
    let mut bob = fleet.begin_as("bob", &["--abort"]);
    bob.says("alice@");
    bob.ends(0);
    assert_eq!(fleet.record(), Value::Null);
    assert!(!fleet.is_cordoned());
    fleet.never_rebooted();
}

fn a_resume_by_another_person(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let alice = fleet.begin_as("alice", &["--force"]);
    fleet.until_in("Draining");
    alice.kill();
    fleet.free(&namespace);
    let mut bob = fleet.begin_as("bob", &["--resume", "--force"]);
    bob.says("alice@");
    bob.says("began this remediation; it is in Draining since");
    bob.ends(0);
    let node = world.get_node(&fleet.node);
    let last = node["metadata"]["annotations"]["sciuro.dev/last-remediation"].as_str().unwrap();
    assert!(last.contains(r#""actor":"alice@"#), "{last}");
    assert_eq!(fleet.orders(), (1, 1));
    assert!(!fleet.is_cordoned());
    fleet.nothing_is_left();
}

/// A node of the sandbox, changed by somebody else right before a request of ours is answered.
fn hook(
    world: &World,
    method: &str,
    node: &str,
    mut change: impl FnMut(&Value, &mut Value) + Send + 'static,
) {
    let name = node.to_owned();
    world.api().before_each(method, &format!("/api/v1/nodes/{node}"), move |store| {
        let annotations = store.node(&name)["metadata"]["annotations"].clone();
        let record = annotations["sciuro.dev/remediation"].as_str().unwrap_or("null");
        let record: Value = serde_json::from_str(record).expect("a record");
        let mut changed = annotations.clone();
        change(&record, &mut changed);
        if changed != annotations {
            store.update("nodes", "", &name, |node| node["metadata"]["annotations"] = changed.clone());
        }
    });
}

/// Between the last look at the node and the order, before any watch has told of it: one that is as quick as in a test tells
/// before a command can be run.
#[test]
fn an_abort_in_the_last_moment_before_the_order() {
    let world = &World::sandbox();
    let fleet = Fleet::new(world);
    let _late =
        world.api().faults().on("GET", "/api/v1/nodes").query("watch=").delay(Duration::from_secs(10));
    hook(world, "GET", &fleet.node, |record, annotations| {
        if record["state"] == "RebootIntent" {
            annotations["sciuro.dev/abort"] = record["id"].clone();
        }
    });
    let proof = world.file("run", "").with_extension("was-run");
    let command = format!("touch {}", proof.display());
    fleet
        .remediate(&["--reboot-method", "command", "--reboot-command", &command])
        .exits(8)
        .says("asked for with --abort");
    assert!(!proof.exists(), "no order after an abort");
    assert_eq!(fleet.record(), Value::Null);
    fleet.never_rebooted();
}

/// Between the clean-up and the last patch.
#[test]
fn an_abort_in_the_last_moment_before_the_end() {
    let world = &World::sandbox();
    let fleet = Fleet::new(world);
    hook(world, "PATCH", &fleet.node, |record, annotations| {
        if record["state"] == "Uncordoning" {
            annotations["sciuro.dev/abort"] = record["id"].clone();
        }
    });
    fleet.remediate(&[]).exits(8).says("asked for with --abort");
    assert_eq!(fleet.orders(), (1, 1));
    let annotations = &world.get_node(&fleet.node)["metadata"]["annotations"];
    let last = annotations["sciuro.dev/last-remediation"].as_str().expect("a trace");
    assert!(last.contains(r#""outcome":"aborted""#), "{last}");
    assert_eq!((fleet.record(), fleet.is_cordoned()), (Value::Null, false));
    fleet.nothing_is_left();
}

/// A request that nobody would read is not left on the node.
#[test]
fn an_abort_of_a_run_that_has_just_ended() {
    let world = &World::sandbox();
    let fleet = Fleet::new(world);
    fleet.remediate(&["--until", "cordon"]).exits(0);
    hook(world, "PATCH", &fleet.node, |_, annotations| {
        annotations.as_object_mut().expect("annotations").remove("sciuro.dev/remediation");
    });
    fleet.remediate(&["--abort"]).exits(3).says("has just come to its end");
    assert_eq!(world.get_node(&fleet.node)["metadata"]["annotations"]["sciuro.dev/abort"], Value::Null);
}
