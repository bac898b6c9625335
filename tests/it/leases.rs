//! Two runs at the same time: exactly one writes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{World, scenarios};

scenarios![
    a_lease_that_is_renewed_keeps_others_off,
    row_85_a_lease_whose_holder_was_killed_is_taken_after_its_duration,
    a_lease_that_was_given_back_is_taken_at_once,
    an_interrupted_run_gives_its_lease_back,
    without_a_lease_nobody_is_asked,
];

fn put_lease(world: &World, holder: &str, method: &str, version: Option<&str>) -> Value {
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": world.name("sync"), "namespace": "kube-system"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": micro_time()},
    });
    if let Some(version) = version {
        lease["metadata"]["resourceVersion"] = version.into();
    }
    let path = world.lease_path();
    let path = if method == "POST" { path.rsplit_once('/').unwrap().0 } else { &path };
    world.request(method, path, "application/json", &lease)
}

fn micro_time() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn version(lease: &Value) -> String {
    lease["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

fn holder(world: &World) -> String {
    world.lease().unwrap()["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

fn a_lease_that_is_renewed_keeps_others_off(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    let lease = put_lease(world, "cron@ops1_1", "POST", None);
    let mut run = world.sync_command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It says that it waits before it watches, so the renewal cannot come too early.
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(run.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut said).unwrap();
    assert!(said.contains("is held; watching for 15s"), "{said}");
    put_lease(world, "cron@ops1_1", "PUT", Some(&version(&lease)));
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(9), "{said}");
    assert!(said.contains("is held by cron@ops1_1"), "{said}");
    assert_eq!(world.owned(&node), Vec::<Value>::new());
    assert_eq!(holder(world), "cron@ops1_1");
}

fn row_85_a_lease_whose_holder_was_killed_is_taken_after_its_duration(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    // A source that never answers, so that the run can be killed while it holds the Lease.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let mut killed = world.sync_command(&["--alertmanager", &url]).stderr(Stdio::null()).spawn().unwrap();
    let (_connection, _) = hanging.accept().unwrap(); // it asks its source, so it has the Lease
    let dead = holder(world);
    assert!(dead.starts_with("tester@"), "{dead:?}");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(holder(world), dead);

    let started = Instant::now();
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_X True (added)").says("watching for 15s");
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(15), "{waited:?}: it might have been alive");
    assert!(waited <= Duration::from_secs(20), "{waited:?}");
    assert_eq!(holder(world), "");
}

fn a_lease_that_was_given_back_is_taken_at_once(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    put_lease(world, "", "POST", None);
    world.sync(&[]).exits(0).never_says("watching");
    let lease = world.lease().unwrap();
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
    assert!(lease["metadata"]["annotations"]["sciuro.dev/last-by"].as_str().unwrap().starts_with("tester@"));
    assert_eq!(lease["metadata"]["annotations"]["sciuro.dev/prefix"], world.prefix().as_str());
}

#[cfg(unix)]
fn an_interrupted_run_gives_its_lease_back(world: &World) {
    world.node("w1");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", hanging.local_addr().unwrap());
        let run = world.sync_command(&["--alertmanager", &url]).stderr(Stdio::piped()).spawn().unwrap();
        let (_connection, _) = hanging.accept().unwrap();
        let killed = Command::new("kill").args(["-s", signal, &run.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("run the command again"), "{output:?}");
        assert_eq!(holder(world), "");
    }
}

fn without_a_lease_nobody_is_asked(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    world.sync(&["--no-lease"]).exits(0);
    assert_eq!(world.lease(), None);
    world
        .sync(&["--lease-namespace", "no-such-namespace"])
        .exits(1)
        .says("hint: kubectl create namespace no-such-namespace");
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let world = World::sandbox();
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let run = world.sync_command(&["--alertmanager", &url]).stderr(Stdio::piped()).spawn().unwrap();
    let (_connection, _) = hanging.accept().unwrap();
    // Giving the Lease back hangs, too.
    let release = world.api().faults().on("PUT", &world.lease_path()).delay(Duration::from_secs(60));
    let interrupt = || Command::new("kill").args(["-s", "INT", &run.id().to_string()]).status().unwrap();
    interrupt();
    let deadline = Instant::now() + Duration::from_secs(10);
    while release.hits() == 0 {
        assert!(Instant::now() < deadline, "the first signal does not lead to the release");
        std::thread::yield_now();
    }
    interrupt();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("Lease was not given back"), "it waited for the release: {said}");
}

#[test]
fn upstream_sciuro_beside_us_is_mentioned() {
    let world = World::sandbox();
    let leader = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "sciuro-leader", "namespace": "kube-system"},
        "spec": {"holderIdentity": "sciuro-0", "leaseDurationSeconds": 15, "renewTime": micro_time()},
    });
    let path = world.lease_path();
    world.request("POST", path.rsplit_once('/').unwrap().0, "application/json", &leader);
    world.sync(&[]).exits(0).says("Warning: the Lease kube-system/sciuro-leader is being renewed");
}
