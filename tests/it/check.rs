//! `check`: what works, what does not, and what to do about it.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Run, World, command, run, scenarios, seconds_ago};

scenarios![
    everything_is_fine,
    nothing_is_allowed,
    nothing_is_configured,
    the_receiver_is_unknown,
    the_alertmanager_is_down,
    the_lease_is_held_and_renewed,
    nobody_renews_the_lease,
    upstream_is_at_work,
    alerts_speak_of_no_node,
    silenced_alerts_count_if_they_do_for_sync,
    the_api_server_is_down,
    the_helpers_are_those_of_the_method,
    the_lease_has_no_namespace,
];

/// `check` on this world's Lease and Alertmanager, with kubectl's completion installed.
fn check(world: &World, more: &[&str]) -> Run {
    let source =
        ["--alertmanager", world.alertmanager_url(), "--receiver", "node-condition-k8s", "--warmup=0"];
    bare_check(world, &[&source, more].concat())
}

fn bare_check(world: &World, more: &[&str]) -> Run {
    let link = world.file("kubectl_complete-sciuro", "");
    let filter = format!("test={:?}", world.name("").trim_end_matches('-'));
    let lease = world.name("sync");
    let flags = ["check", "--lease-name", &lease, "--filter", &filter];
    world.run_with(&[&flags, more].concat(), |command| {
        command.env("PATH", link.parent().unwrap()).env("LC_ALL", "C.UTF-8");
    })
}

/// What was said, alike on every server.
fn said(world: &World, run: &Run) -> String {
    let server = world.config().cluster_url.to_string();
    let mut said = format!("{}{}exit {}\n", run.stdout, run.stderr, run.code.unwrap());
    said = said.replace(server.trim_end_matches('/'), "https://api-server");
    // Every server is of some version and has been up for some time.
    let said = regex_replace(&said, r"v1\.\d+\.\d+\S* at", "v1.36.3 at");
    let said = regex_replace(&said, r"over \d+ nodes?", "over our nodes");
    regex_replace(&said, r", up for \S+", "")
}

fn regex_replace(text: &str, pattern: &str, with: &str) -> String {
    regex::Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
}

fn put_lease(world: &World, name: &str, holder: &str) {
    let collection = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15}});
    world.create(collection, &lease);
}

/// Renews a Lease, as its holder does, until the guard goes.
fn renewing<T>(world: &World, name: &str, during: impl FnOnce() -> T) -> T {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name}");
    let client = world.client();
    let renewal = async move {
        for count in 1_u64.. {
            let patch = json!({"metadata": {"annotations": {"renewed": count.to_string()}}});
            let request = http::Request::patch(&path)
                .header("content-type", "application/merge-patch+json")
                .body(serde_json::to_vec(&patch).unwrap())
                .unwrap();
            client.request::<Value>(request).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let renewal = world.spawn(renewal);
    let done = during();
    renewal.abort();
    done
}

fn everything_is_fine(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "Hot"), ("node", &node)], "hot", true);
    world.sync(&[]).exits(0);
    let run = check(world, &[]).exits(0);
    let said = regex_replace(&said(world, &run), r"\d+m?s ago by tester@\S+", "1s ago by tester@host");
    insta::assert_snapshot!("check_fine", said);
}

fn nothing_is_allowed(world: &World) {
    let user = world.user_who_may(&[]);
    let run = check(world, &["--as", &user]).exits(1);
    insta::assert_snapshot!("check_nothing_allowed", said(world, &run));
}

fn nothing_is_configured(world: &World) {
    let run = bare_check(world, &[]).exits(0);
    insta::assert_snapshot!("check_nothing_configured", said(world, &run));
}

fn the_receiver_is_unknown(world: &World) {
    let run = check(world, &["--receiver", "nobody"]).exits(1);
    assert!(run.stdout.contains("✗ alert source http://alertmanager"), "{run:#?}");
    assert!(run.stdout.contains(r#"has no receiver "nobody""#), "{run:#?}");
    assert!(run.stdout.contains("  hint: its receivers are: "), "{run:#?}");
}

fn the_alertmanager_is_down(world: &World) {
    let run = bare_check(world, &["--alertmanager", "http://127.0.0.1:1", "--receiver", "r"]).exits(1);
    assert!(run.stdout.contains("✗ alert source http://127.0.0.1:1"), "{run:#?}");
    assert!(run.stdout.contains("Connection refused"), "{run:#?}");
    assert!(run.stdout.contains("✔ may patch nodes/status: sync"), "{run:#?}");
}

fn the_lease_is_held_and_renewed(world: &World) {
    let lease = world.name("sync");
    put_lease(world, &lease, "cron@ops1_1");
    let run = renewing(world, &lease, || check(world, &[])).exits(0);
    assert!(
        run.stdout.contains("✔ Lease kube-system/sync: held by cron@ops1_1, and being renewed\n"),
        "{run:#?}"
    );
}

fn nobody_renews_the_lease(world: &World) {
    put_lease(world, &world.name("sync"), "cron@ops1_1");
    let run = check(world, &[]).exits(0);
    let expected = "! Lease kube-system/sync: held by cron@ops1_1, who did not renew it within 11s\n  hint: the next sync waits 15s and takes it\n";
    assert!(run.stdout.contains(expected), "{run:#?}");
}

/// In a namespace of its own, so that no other test meets it.
fn upstream_is_at_work(world: &World) {
    let namespace = world.name("upstream");
    world.create("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}));
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "sciuro-leader"},
        "spec": {"holderIdentity": "sciuro-0", "leaseDurationSeconds": 15}});
    world.create(&path, &lease);
    let client = world.client();
    let path = format!("{path}/sciuro-leader");
    let renewal = world.spawn(async move {
        loop {
            let patch = serde_json::to_vec(
                &json!({"metadata": {"annotations": {"at": seconds_ago(jiff::SignedDuration::ZERO)}}}),
            );
            let request = http::Request::patch(&path).header("content-type", "application/merge-patch+json");
            client.request::<Value>(request.body(patch.unwrap()).unwrap()).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    });
    let run = check(world, &["--lease-namespace", &namespace]).exits(0);
    renewal.abort();
    assert!(
        run.stdout.contains("! upstream's Lease upstream/sciuro-leader: being renewed by sciuro-0"),
        "{run:#?}"
    );
}

fn alerts_speak_of_no_node(world: &World) {
    world.alert(&[("alertname", "Hot"), ("node", "elsewhere")], "hot", true);
    let run = check(world, &[]).exits(0);
    assert!(run.stdout.contains("! matching: 0 of 1 alert matched"), "{run:#?}");
    assert!(run.stdout.contains("hint: which label names the node?"), "{run:#?}");
}

fn silenced_alerts_count_if_they_do_for_sync(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    world.silence("node", &node);
    let matching = |more: &[&str]| {
        let run = check(world, more);
        let line = run.stdout.lines().find(|line| line.contains("matching: ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{run:#?}"))
    };
    assert!(matching(&[]).contains("nothing fires that could speak of one of"));
    assert!(matching(&["--silenced"]).contains("1 of 1 alert matched"));
    assert!(matching(&["--silenced", "--inhibited=false"]).contains("1 of 1 alert matched"));
}

fn the_api_server_is_down(world: &World) {
    let started = std::time::Instant::now();
    let run = check(world, &["-s", "http://127.0.0.1:1"]).exits(1);
    assert!(started.elapsed() < std::time::Duration::from_secs(35));
    insta::assert_snapshot!("check_api_down", said(world, &run));
}

fn the_helpers_are_those_of_the_method(world: &World) {
    let helpers = |flags: &[&str]| -> Vec<String> {
        let run = check(world, &[&["--for", "remediate"], flags].concat());
        let lines =
            run.stdout.lines().filter(|line| line.contains("helper pod") || line.contains("create pods "));
        lines.map(str::to_owned).collect()
    };
    let may = "✔ may create pods in kube-system: remediate";
    let ok = "✔ helper pod in kube-system: docker.io/library/busybox:1.37.0@sha256:9db7b59979c3…";
    let privileged = format!("{ok} would be admitted (remediate)");
    let signals = format!("{ok}, which sends a signal, would be admitted (remediate)");
    assert_eq!(helpers(&[]), [may, &privileged]);
    assert_eq!(helpers(&["--reboot-method", "signal"]), [may, &signals]);
    assert_eq!(helpers(&["--reboot-method", "signal", "--collect", "host"]), [may, &signals, &privileged]);
    assert_eq!(helpers(&["--reboot-method", "ssh", "--collect", "host"]), [may, &privileged]);
    assert_eq!(helpers(&["--reboot-method", "ssh"]), [""; 0]);
}

fn the_lease_has_no_namespace(world: &World) {
    let run = check(world, &["--lease-namespace", &world.name("gone")]).exits(1);
    let expected = "✗ Lease gone/sync: Error from server (NotFound): namespaces \"gone\" not found\n  hint: kubectl create namespace gone, or --lease-namespace\n";
    assert!(run.stdout.contains(expected), "{run:#?}");
}

/// What is printed for kubectl, applied, makes the next check green.
mod control_plane_only {
    use super::*;

    mod control_plane {
        use super::*;

        #[test]
        fn what_is_missing_can_be_applied() {
            let world = World::control_plane();
            // A ClusterRole of this name is the cluster's: other tests print it, and none applies it.
            let user = world.user_who_may(&[]);
            let run = check(&world, &["--as", &user]).exits(1);
            let yaml =
                run.stdout.split_once("\n---\n").unwrap().1.replace("name: user0", &format!("name: {user}"));
            let yaml = yaml.replace("  - sync", &format!("  - {}", world.name("sync")));
            let file = world.file("missing.yaml", &yaml);
            let kubectl = |verb: &str| {
                let mut kubectl = std::process::Command::new("kubectl");
                kubectl.args([verb, "-f"]).arg(&file).arg("--kubeconfig").arg(world.kubeconfig());
                let output = kubectl.output().unwrap();
                assert!(output.status.success(), "{output:?}");
            };
            kubectl("apply");
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            // The authorizer reads rules from a watch.
            let mut green = check(&world, &["--as", &user]);
            while green.code != Some(0) && std::time::Instant::now() < deadline {
                green = check(&world, &["--as", &user]);
            }
            kubectl("delete");
            green.exits(0);
        }
    }
}

/// An answer that never comes takes its own line down and no other, and the whole ends in time.
#[test]
fn a_request_that_hangs_takes_its_own_line() {
    let world = World::sandbox();
    let _hangs = world.api().faults().on("GET", "/api/v1/nodes").delay(std::time::Duration::from_secs(90));
    let run = check(&world, &["--request-timeout", "2s"]).exits(0);
    assert!(run.stdout.contains("! matching: "), "{run:#?}");
    assert!(run.stdout.contains("✔ API server: "), "{run:#?}");
}

#[test]
fn the_completion_is_missing() {
    let world = World::sandbox();
    let run = world.run_with(&["check"], |command| {
        command.env("PATH", "/nonexistent").env("LC_ALL", "C");
    });
    assert!(run.stdout.contains("! completion: kubectl_complete-sciuro is not on PATH"), "{run:#?}");
    assert!(run.stdout.starts_with("+ API server"), "a locale without UTF-8: {run:#?}");
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    let world = World::sandbox();
    assert!(!check(&world, &[]).stdout.contains('\u{1b}'));
    assert!(check(&world, &["--color", "always"]).stdout.starts_with("\u{1b}[32m✔\u{1b}[0m API server"));
}

#[test]
fn a_source_that_is_given_wrongly_is_a_usage_error() {
    let world = World::sandbox();
    bare_check(&world, &["--alertmanager", "http://127.0.0.1:1"]).exits(2).says("--receiver is needed");
    run(command(["check"]).env("KUBECONFIG", Path::new("/nonexistent")))
        .exits(2)
        .says("no kubeconfig was found");
}
