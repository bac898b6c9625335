//! The ssh session dies: what was begun is written down, whoever waits for the Lease gets it, and no file is left half done.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ::sandbox::Boot;
use serde_json::{Value, json};

use crate::remediate::scene::Scene;
use crate::support::{Running, Session, World, scenarios};
use crate::watch::eventually;

scenarios!(
    t15_e7_during_the_collection,
    t15_e7_during_the_drain,
    t15_e7_during_the_wait,
    t15_e7_during_the_verification,
    t15_e7_at_a_prompt,
    t15_e7_during_a_round,
    t15_e7_between_rounds,
    t15_e7_nohup,
);

const SIGTERM: Option<i32> = Some(143);

/// A run whose report goes into a file, on a terminal.
fn begin(scene: &Scene<'_>, flags: &[&str]) -> Session {
    let report = File::create(report(scene)).expect("a file");
    Session::start(&scene.command(&[flags, &["-o", "json"]].concat()), Stdio::from(report))
}

fn report(scene: &Scene<'_>) -> std::path::PathBuf {
    scene.directory().with_file_name("report.json")
}

/// Its terminal goes away, and it has stopped there.
#[track_caller]
fn stops(scene: &Scene<'_>, mut session: Session, state: &str) {
    session.dies();
    assert_eq!(session.ends(), SIGTERM);
    let report: Value =
        serde_json::from_slice(&std::fs::read(report(scene)).expect("a report")).expect("a whole report");
    assert_eq!((&report["outcome"], &report["exitCode"]), (&json!("interrupted"), &json!(143)), "{report:#}");
    assert_eq!(report["state"], state);
    scene.is_stopped_in(state);
    assert_eq!(files(&scene.directory()).iter().find(|name| name.ends_with(".partial")), None);
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect()
}

fn t15_e7_during_the_collection(world: &World) {
    let scene = Scene::new(world);
    scene.bare_pod("shell");
    scene.until_running(1);
    let before = scene.facts();
    let hangs = world
        .container_log_fault(&scene.node, &scene.namespace, "shell", "c")
        .delay(Duration::from_secs(3600));
    let session = begin(&scene, &["--yes", "--force"]);
    eventually("logs that are waited for", || hangs.hits() > 0);
    assert_eq!(files(&scene.directory()).len(), 1, "it is being written");
    stops(&scene, session, "Collecting");
    hangs.stop();
    scene.remediate(&["--resume", "--yes", "--force"]).exits(0);
    scene.is_remediated(&before);
}

fn t15_e7_during_the_drain(world: &World) {
    let scene = Scene::new(world);
    scene.cordon(&scene.spare, true);
    scene.workload("deployments", "Deployment", "web", 1, &json!({}));
    scene.until_running(1);
    scene.exhausted_budget("web");
    scene.cordon(&scene.spare, false);
    let session = begin(&scene, &["--yes"]);
    scene.until_state("Draining");
    stops(&scene, session, "Draining");
    scene.remediate(&["--abort", "--yes"]).exits(0);
    scene.is_over("aborted");
}

fn t15_e7_during_the_wait(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    scene.machines.boots(&scene.node, Boot { never_back: true, ..Boot::default() }).expect("a machine");
    let session = begin(&scene, &["--yes"]);
    scene.until_state("WaitBoot");
    eventually("a machine that is off", || !scene.facts().powered);
    stops(&scene, session, "WaitBoot");
    world.block_on(scene.machines.power_on(&scene.node)).expect("a machine");
    scene.remediate(&["--resume", "--yes"]).exits(0);
    scene.is_remediated(&before);
}

fn t15_e7_during_the_verification(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    let session = begin(&scene, &["--yes", "--stable-for=60s"]);
    scene.until_state("Verifying");
    stops(&scene, session, "Verifying");
    scene.remediate(&["--resume", "--yes"]).exits(0);
    scene.is_remediated(&before);
}

/// Nobody is there to answer any more.
fn t15_e7_at_a_prompt(world: &World) {
    let scene = Scene::new(world);
    let before = world.get_node(&scene.node)["spec"].clone();
    let mut session = Session::start(&scene.command(&[]), Stdio::null());
    session.shows(" as planned?");
    session.dies();
    assert_ne!(session.ends().expect("no signal has ended it"), 0);
    assert_eq!(world.get_node(&scene.node)["spec"], before);
    assert_eq!((scene.record(), scene.lease_holder()), (None, None));
}

fn holder(world: &World) -> Option<String> {
    let lease = world.lease()?;
    lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(str::to_owned)
}

fn t15_e7_during_a_round(world: &World) {
    world.node("w1");
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", hanging.local_addr().expect("an address"));
    let mut session = Session::start(&world.sync_command(&["--alertmanager", &url]), Stdio::null());
    let (_connection, _) = hanging.accept().expect("a connection");
    session.dies();
    assert_eq!(session.ends(), SIGTERM);
    assert_eq!(holder(world), None);
}

fn t15_e7_between_rounds(world: &World) {
    world.node("w1");
    let looping = Session::start(&world.sync_command(&["--loop", "--interval=1h"]), Stdio::null());
    looping.shows("leading");
    looping.signal("HUP");
    assert_eq!(looping.ends(), SIGTERM);
    assert_eq!(holder(world), None);
}

/// A shell sends it to its jobs, and the kernel again when the shell is gone.
#[test]
fn t15_e7_more_of_them_do_not_insist() {
    let world = World::sandbox();
    let scene = Scene::new(&world);
    let session = begin(&scene, &["--yes", "--stable-for=60s"]);
    scene.until_state("Verifying");
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/*", scene.namespace);
    let releases = world.api().faults().on("PUT", &leases).delay(Duration::from_secs(2));
    session.signal("HUP");
    eventually("a release on its way", || releases.hits() > 0);
    session.signal("HUP");
    stops(&scene, session, "Verifying");
}

/// As of a supervisor, or a terminal that is closed: it is one stop.
#[test]
fn t15_e7_another_signal_right_after_it_does_not_insist() {
    let world = World::sandbox();
    let scene = Scene::new(&world);
    let session = begin(&scene, &["--yes", "--stable-for=60s"]);
    scene.until_state("Verifying");
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/*", scene.namespace);
    let releases = world.api().faults().on("PUT", &leases).delay(Duration::from_millis(100));
    session.signal("INT");
    session.signal("TERM");
    session.signal("HUP");
    session.shows("to continue: ");
    assert!(matches!(session.ends(), Some(130 | 143)));
    assert!(releases.hits() > 0);
    assert_eq!(scene.lease_holder(), None);
    assert_eq!(scene.record().expect("a record")["state"], "Verifying");
}

/// Whoever begins a loop under nohup wants it to go on.
fn t15_e7_nohup(world: &World) {
    world.node("w1");
    let command = world.sync_command(&["--loop", "--interval=1s"]);
    let mut nohup = std::process::Command::new("nohup");
    nohup.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nohup.env(name, value),
            None => nohup.env_remove(name),
        };
    }
    let mut looping = Running::start(&mut nohup, str::to_owned);
    looping.says("leading");
    let renewed = || world.lease().expect("a Lease")["spec"]["renewTime"].clone();
    looping.signal("HUP");
    let then = renewed();
    eventually("a Lease that is renewed later", || renewed() != then);
    looping.signal("TERM");
    looping.ends(143);
}
