//! What is no proof of a reboot, and what is no verification after it.

use std::time::{Duration, Instant};

use ::sandbox::{Boot, Kubelet, KubeletOptions, Request};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::remediate::scene::Scene;
use crate::support::{Fleet, Relay, Running, World, scenarios};

scenarios![
    a_boot_so_short_that_ready_stays_true,
    a_ready_that_nobody_renews_any_more,
    a_graceful_shutdown_of_the_node,
    a_lease_that_is_renewed_later_than_ready,
    a_new_boot_id_beside_an_old_ready,
    a_new_boot_that_is_not_ready,
    a_ready_that_comes_late_is_waited_for,
    a_flap_begins_the_soak_anew,
    a_flap_of_a_daemon_sets_pod,
    a_verify_command_has_the_last_word,
    a_verify_command_that_never_succeeds,
    a_node_that_is_lost_in_the_soak,
    a_reboot_of_its_own_is_not_repeated,
    a_second_reboot_in_the_soak,
    a_clock_an_hour_behind,
    a_clock_an_hour_ahead,
    no_boot_id_at_all,
    a_node_that_never_returns,
    an_api_server_that_is_away_during_the_boot,
];

const LAST: &str = "sciuro.dev/last-remediation";

/// Done, with one reboot of ours, and lifted.
#[track_caller]
fn is_remediated(fleet: &Fleet<'_>, orders: u32) {
    let node = fleet.world.get_node(&fleet.node);
    let last: Value = serde_json::from_str(node["metadata"]["annotations"][LAST].as_str().unwrap()).unwrap();
    assert_eq!(last["outcome"], "remediated", "{last}");
    assert_eq!(last["bootID"], fleet.boot_id().as_str(), "{last}");
    assert_eq!(fleet.orders().0, orders, "orders of ours");
    assert_eq!(fleet.record(), Value::Null);
    assert!(!fleet.is_cordoned());
    fleet.nothing_is_left();
}

/// A person is asked for in this state, after one order; the node stays cordoned.
#[track_caller]
fn needs_a_person(fleet: &Fleet<'_>, failed: &str) {
    let record = fleet.record();
    assert_eq!(record["state"], "NeedsHuman", "{record:#}");
    assert_eq!(record["failedState"], failed, "{record:#}");
    assert_eq!(fleet.orders().0, 1);
    assert!(fleet.is_cordoned());
}

fn boots(fleet: &Fleet<'_>, boot: Boot) {
    fleet.machines.boots(&fleet.node, boot).unwrap();
}

fn a_boot_so_short_that_ready_stays_true(world: &World) {
    let fleet = Fleet::new(world);
    let before = fleet.boot_id();
    fleet.remediate(&[]).exits(0);
    assert_ne!(fleet.boot_id(), before);
    assert_eq!(fleet.orders(), (1, 1));
    is_remediated(&fleet, 1);
}

/// The machine is gone, and its Node still says True.
fn a_ready_that_nobody_renews_any_more(world: &World) {
    let fleet = Fleet::new(world);
    boots(&fleet, Boot { never_back: true, ..Boot::default() });
    fleet.remediate(&["--reboot-timeout", "3s"]).exits(6).says("did not prove a reboot within 3s");
    let node = world.get_node(&fleet.node);
    let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    assert!(conditions.any(|one| one["type"] == "Ready" && one["status"] == "True"), "{node:#}");
    needs_a_person(&fleet, "WaitBoot");
}

/// Its kubelet ends the pods first, and says that it is not Ready.
fn a_graceful_shutdown_of_the_node(world: &World) {
    let fleet = Fleet::new(world);
    boots(&fleet, Boot { shutdown: Duration::from_secs(3), ..Boot::default() });
    let run = fleet.remediate(&[]).exits(0);
    assert!(run.stderr.contains("boot id unchanged, Ready=False"), "{run:#?}");
    assert_eq!(fleet.orders(), (1, 1));
    is_remediated(&fleet, 1);
}

/// As on real machines: the condition may still be that of the boot before.
fn a_lease_that_is_renewed_later_than_ready(world: &World) {
    let fleet = Fleet::new(world);
    boots(&fleet, Boot { lease_after: Duration::from_secs(3), ..Boot::default() });
    let run = fleet.remediate(&[]).exits(0);
    assert!(run.stderr.contains("rebooted, Ready=True, its Lease not renewed yet"), "{run:#?}");
    is_remediated(&fleet, 1);
}

/// The boot id is new, but Ready is of the boot before.
fn a_new_boot_id_beside_an_old_ready(world: &World) {
    let fleet = Fleet::new(world);
    boots(&fleet, Boot { never_back: true, ..Boot::default() });
    let mut running = fleet.begin(&["--reboot-timeout", "6s"]);
    fleet.until("down", || fleet.orders() == (1, 1));
    let new = json!({"status": {"nodeInfo": {"bootID": "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11"}}});
    world.patch_status(&fleet.node, "application/merge-patch+json", &new);
    running.ends(6);
    needs_a_person(&fleet, "WaitBoot");
}

fn a_new_boot_that_is_not_ready(world: &World) {
    let fleet = Fleet::new(world);
    boots(&fleet, Boot { not_ready: Duration::from_secs(600), ..Boot::default() });
    fleet.remediate(&["--reboot-timeout", "4s"]).exits(6).says("--resume");
    assert_eq!(world.get_node(&fleet.node)["status"]["nodeInfo"]["bootID"], fleet.boot_id().as_str());
    needs_a_person(&fleet, "WaitBoot");
}

fn a_ready_that_comes_late_is_waited_for(world: &World) {
    let fleet = Fleet::new(world);
    boots(&fleet, Boot { not_ready: Duration::from_secs(2), ..Boot::default() });
    fleet.remediate(&[]).exits(0);
    is_remediated(&fleet, 1);
}

/// Not Ready and Ready again while it is watched: it has to stay so from then on.
fn a_flap_begins_the_soak_anew(world: &World) {
    let fleet = Fleet::new(world);
    let mut running = fleet.begin(&["--stable-for", "3s"]);
    fleet.until_in("Verifying");
    world.block_on(fleet.machines.set_ready(&fleet.node, false)).unwrap();
    running.says("✗");
    let ready = Instant::now();
    world.block_on(fleet.machines.set_ready(&fleet.node, true)).unwrap();
    running.ends(0);
    assert!(ready.elapsed() >= Duration::from_secs(3), "{:?}", ready.elapsed());
    is_remediated(&fleet, 1);
}

/// The node says nothing of it.
fn a_flap_of_a_daemon_sets_pod(world: &World) {
    let scene = Scene::new(world);
    scene.workload("daemonsets", "DaemonSet", "agent", 0, &json!({}));
    scene.until_running(1);
    let before = scene.facts();
    let mut command = scene.command(&["--yes", "--skip=collect", "--stable-for=3s"]);
    let mut running = Running::start(&mut command, str::to_owned);
    running.says("checks hold");
    let pod = scene.pods(&scene.node)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let is_ready = |status: &str| {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}/status", scene.namespace);
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
        world.request("PATCH", &path, "application/strategic-merge-patch+json", &ready);
    };
    is_ready("False");
    running.says("✗ DaemonSet");
    let ready = Instant::now();
    is_ready("True");
    running.ends(0);
    assert!(ready.elapsed() >= Duration::from_secs(3), "{:?}", ready.elapsed());
    scene.is_remediated(&before);
}

/// While all is well it is watched, and asked for nothing before the last word.
#[test]
fn a_quiet_soak_asks_nothing() {
    let world = &World::sandbox();
    let fleet = Fleet::new(world);
    let mut running = fleet.begin(&["--stable-for", "12s", "--lease-duration", "60s"]);
    running.says("checks hold");
    world.api().forget_requests();
    running.ends(0);
    let requests = world.api().requests_by("kubectl-sciuro/");
    let is_lease = |request: &Request| request.path.contains("/leases/");
    let mut asked: Vec<&str> = requests
        .iter()
        .take_while(|request| is_lease(request) || !request.writes())
        .filter(|request| !is_lease(request) && request.parameter("watch").is_none())
        .map(|request| request.path.as_str())
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, ["/api/v1/pods", &format!("/apis/storage.k8s.io/v1/csinodes/{}", fleet.node)]);
}

/// It is asked again until it is content.
fn a_verify_command_has_the_last_word(world: &World) {
    let fleet = Fleet::new(world);
    let asked = world.file("asked", "");
    let script = world.file(
        "verify.sh",
        "echo \"$1 $(cat \"$2\")\" >> \"$2\"\n[ \"$(wc -l < \"$2\")\" -gt 1 ] || { echo '\u{1b}[31mnot yet' >&2; exit 3; }\n",
    );
    let command = format!("sh {} {{node}} {}", script.display(), asked.display());
    let expanded = command.replace("{node}", &fleet.node);
    let plan = fleet.remediate(&["--verify-command", &command, "--dry-run"]).exits(0);
    assert!(
        plan.stdout.contains(&format!("  verify:   also by `{expanded}`, until it exits with 0\n")),
        "{plan:#?}"
    );
    fleet
        .remediate(&["--verify-command", &command])
        .exits(0)
        .says("✗ verify command sh failed (exit status: 3): ^[[31mnot yet")
        .says("✔ verify command exit 0");
    is_remediated(&fleet, 1);
    assert!(std::fs::read_to_string(asked).unwrap().starts_with(&format!("{} ", fleet.node)));

    let flags = ["--verify-command", "check {provider-id}", "--dry-run"];
    let plan = fleet.remediate(&flags).exits(3).says("would be refused (verify-command)");
    assert!(plan.stdout.contains("refused: verify-command: the node has no provider id"), "{plan:#?}");
}

fn a_verify_command_that_never_succeeds(world: &World) {
    let fleet = Fleet::new(world);
    fleet
        .remediate(&["--verify-command", "false", "--verify-timeout", "2s"])
        .exits(7)
        .says("✗ verify command false failed (exit status: 1)")
        .says("--resume");
    needs_a_person(&fleet, "Verifying");
    fleet.remediate(&["--verify-command", "'", "--abort"]).exits(2).says("has no end");
    fleet.remediate(&["--abort"]).exits(0);
}

fn a_node_that_is_lost_in_the_soak(world: &World) {
    let fleet = Fleet::new(world);
    let mut running = fleet.begin(&["--stable-for", "60s", "--verify-timeout", "2s"]);
    fleet.until_in("Verifying");
    world.block_on(fleet.machines.set_ready(&fleet.node, false)).unwrap();
    let (_, said) = running.ends(7);
    assert!(said.join("\n").contains("it stays cordoned"), "{said:#?}");
    needs_a_person(&fleet, "Verifying");
}

fn a_reboot_of_its_own_is_not_repeated(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let mut running = fleet.begin(&["--force"]);
    fleet.until_in("Draining");
    fleet.machines.reboot(&fleet.node).unwrap();
    let (_, said) = running.ends(0);
    assert!(said.contains(&"the node rebooted by itself: our reboot was skipped".to_owned()), "{said:#?}");
    assert_eq!(fleet.orders(), (0, 1));
    is_remediated(&fleet, 0);
}

fn a_second_reboot_in_the_soak(world: &World) {
    let fleet = Fleet::new(world);
    let mut running = fleet.begin(&["--stable-for", "60s"]);
    fleet.until_in("Verifying");
    fleet.machines.reboot(&fleet.node).unwrap();
    let (_, said) = running.ends(7);
    assert!(said.join("\n").contains("the node rebooted again"), "{said:#?}");
    assert_eq!(fleet.orders(), (1, 2));
    needs_a_person(&fleet, "Verifying");
}

fn clock_ahead(world: &World, hours: i64) {
    let options = KubeletOptions {
        lease_period: Some(Duration::from_secs(1)),
        clock_ahead: SignedDuration::from_hours(hours),
        ..KubeletOptions::names(["w1", "w2", "w3"].map(|short| world.name(short)))
    };
    let kubelet = world.block_on(Kubelet::start(world.config(), options)).unwrap();
    let fleet = Fleet::of(world, kubelet.machines());
    world.keep(kubelet);
    fleet.remediate(&[]).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
    is_remediated(&fleet, 1);
}

fn a_clock_an_hour_behind(world: &World) {
    clock_ahead(world, -1);
}

fn a_clock_an_hour_ahead(world: &World) {
    clock_ahead(world, 1);
}

fn no_boot_id_at_all(world: &World) {
    let fleet = Fleet::new(world);
    world.block_on(fleet.machines.claim_boot_id(&fleet.node, "")).unwrap();
    let run = fleet.remediate(&[]).exits(3).says("is refused (no-boot-id)");
    let all = [run.stdout.as_str(), run.stderr.as_str()].concat();
    assert!(all.contains("no reboot could be proven"), "{all}");
    assert!(!fleet.is_cordoned());
    fleet.never_rebooted();
}

fn a_node_that_never_returns(world: &World) {
    let fleet = Fleet::new(world);
    boots(&fleet, Boot { never_back: true, ..Boot::default() });
    let run = fleet.remediate(&["--reboot-timeout", "3s"]).exits(6);
    for next in ["--resume --retry-reboot", "--resume\n", "--abort"] {
        let next = format!("kubectl sciuro remediate {} {next}", fleet.node);
        assert!(run.stderr.contains(next.trim_end()), "{run:#?}");
    }
    needs_a_person(&fleet, "WaitBoot");
    // Somebody presses its button: whoever goes on then finds the proof, and tells nobody to reboot once more.
    boots(&fleet, Boot::default());
    fleet.machines.press_power(&fleet.node).unwrap();
    fleet.remediate(&["--resume"]).exits(0);
    is_remediated(&fleet, 1);
}

/// For longer than the node's Lease lasts.
fn an_api_server_that_is_away_during_the_boot(world: &World) {
    let fleet = Fleet::new(world);
    let relay = Relay::to(&world.server_url());
    boots(&fleet, Boot { silence: Duration::from_secs(2), ..Boot::default() });
    let mut running = fleet.begin(&["--server", relay.url()]);
    fleet.until_in("WaitBoot");
    relay.cut();
    let away = Instant::now();
    let before = fleet.record()["preBootID"].clone();
    fleet.until("back with a new boot", || {
        world.get_node(&fleet.node)["status"]["nodeInfo"]["bootID"] != before
    });
    std::thread::sleep(Duration::from_secs(6).saturating_sub(away.elapsed())); // two durations of the Lease
    relay.mend();
    running.ends(0);
    assert_eq!(fleet.orders(), (1, 1));
    is_remediated(&fleet, 1);
}
