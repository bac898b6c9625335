//! Answers that are final, and Leases that are released whatever happens.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use ::sandbox::{Boot, Facts, Helpers};
use sciuro::cluster::{Candidate, LeaseKey, Pace};
use serde_json::{Value, json};

use crate::remediate::scene::Scene;
use crate::support::{Refuses, Run, Running, World, run, scenarios};
use crate::watch::eventually;

scenarios![
    f9_d0_a_cordon_that_a_policy_refuses_is_refused_in_the_plan,
    f9_d0_a_node_without_room_for_the_record_is_refused_in_the_plan,
    f9_d0_a_cordon_that_a_policy_refuses_after_the_plan_ends_the_run,
    f9_d0_a_signal_while_the_cordon_cannot_be_stored_gives_the_disruption_lock_back,
    f9_d0_the_disruption_lock_is_not_held_for_long,
    f9_d0_an_uncordon_that_would_be_refused_is_known_before_the_drain,
    f9_d0_an_uncordon_that_a_policy_refuses_is_said_and_tried_again,
    f9_d0_an_abort_that_a_policy_refuses_is_said_and_tried_again,
    f9_d1_an_abort_that_is_gone_on_with_says_that_it_is_done,
    f9_d0_a_node_without_room_for_the_next_record_stops_the_run,
    f9_d0_what_is_refused_after_the_order_stops_the_run_and_nothing_is_ordered_twice,
    f9_d0_a_permission_that_is_taken_away_stops_the_run,
    f9_d0_a_lease_that_may_not_be_renewed_stops_the_run,
    f9_d0_gates_that_cannot_be_asked_again_stop_the_run,
    f9_d0_a_proof_that_may_not_be_read_stops_the_run,
    f9_d0_a_lease_is_released_however_its_holder_ends,
];

/// As a script runs it.
const QUICK: [&str; 4] = ["--yes", "--skip=collect", "--lease-duration=3s", "--progress=plain"];

fn begin(scene: &Scene<'_>, more: &[&str]) -> Running {
    Running::start(&mut scene.command(&[&QUICK[..], more].concat()), str::to_owned)
}

fn remediate(scene: &Scene<'_>, more: &[&str]) -> Run {
    run(&mut scene.command(&[&QUICK[..], more].concat()))
}

/// Who holds the disruption lock.
fn lock_holder(scene: &Scene<'_>) -> String {
    let leases = "/apis/coordination.k8s.io/v1/namespaces";
    let path = format!("{leases}/{}/leases/sciuro-admission", scene.leases);
    let lease = scene.world.try_api("GET", &path, "application/json", &Value::Null);
    lease.map_or(String::new(), |lease| {
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    })
}

/// The run has ended: it holds nothing any more, and another node's remediation begins at once.
#[track_caller]
fn is_in_nobodys_way(scene: &Scene<'_>) {
    assert_eq!((lock_holder(scene), scene.lease_holder()), (String::new(), None));
    let mut flags = scene.flags();
    flags[0].clone_from(&scene.spare);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let remediate =
        |more: &[&str]| run(&mut scene.world.command(&[&["remediate", "--yes"], &*flags, more].concat()));
    let began = Instant::now();
    remediate(&["--until=cordon", "--override=last-ready", "--lease-duration=60s"]).exits(0);
    assert!(began.elapsed() < Duration::from_secs(30), "it has waited for a Lease to run out");
    remediate(&["--abort"]).exits(0);
}

/// What a remediation changes of the node.
fn face(scene: &Scene<'_>) -> Value {
    let node = scene.world.get_node(&scene.node);
    json!([node["spec"]["unschedulable"], node["metadata"]["annotations"], node["metadata"]["labels"]])
}

fn annotate(scene: &Scene<'_>, key: &str, value: &Value) {
    scene.patch(&scene.node, &json!({"metadata": {"annotations": {key: value}}}));
}

/// Leaves so many bytes for annotations of others.
fn fill(scene: &Scene<'_>, left: usize) {
    const KEY: &str = "example.com/inventory";
    let node = scene.world.get_node(&scene.node);
    let annotations = node["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let size = |(key, value): (&String, &Value)| key.len() + value.as_str().unwrap_or_default().len();
    let taken: usize = annotations.iter().map(size).sum();
    annotate(scene, KEY, &"x".repeat((256 << 10) - taken - KEY.len() - left).into());
}

/// Nothing was changed, and nobody was asked to reboot.
#[track_caller]
fn is_untouched(scene: &Scene<'_>, face_before: &Value, before: &Facts) {
    assert_eq!(face(scene), *face_before);
    let after = scene.facts();
    assert_eq!((after.reboots, after.orders), (before.reboots, before.orders));
    assert_eq!(scene.helpers(), [""; 0]);
}

fn f9_d0_a_cordon_that_a_policy_refuses_is_refused_in_the_plan(world: &World) {
    let scene = Scene::new(world);
    let sentence = world.refuse(&scene.node, Refuses::Cordon);
    let (face_before, before) = (face(&scene), scene.facts());
    for flags in [&["--dry-run=server"][..], &[]] {
        let run = remediate(&scene, flags).exits(3).says("refused (cordon)");
        let all = [run.stdout.as_str(), run.stderr.as_str()].concat();
        assert!(all.contains(&sentence), "{all}");
    }
    is_untouched(&scene, &face_before, &before);
    // Nobody is asked when nothing may be sent; and a node that is cordoned already is not cordoned again.
    remediate(&scene, &["--dry-run=client"]).exits(0);
    is_in_nobodys_way(&scene);
    world.lift(&scene.node);
    scene.cordon(&scene.node, true);
    world.refuse(&scene.node, Refuses::Cordon);
    remediate(&scene, &["--dry-run=server"]).exits(0);
}

fn f9_d0_a_node_without_room_for_the_record_is_refused_in_the_plan(world: &World) {
    let scene = Scene::new(world);
    fill(&scene, 100);
    let (face_before, before) = (face(&scene), scene.facts());
    let run = remediate(&scene, &[]).exits(3).says("refused (cordon)");
    assert!(run.stderr.contains("metadata.annotations: Too long"), "{run:#?}");
    is_untouched(&scene, &face_before, &before);
    is_in_nobodys_way(&scene);
}

/// A run that is past its plan: the machine is asked, and does not answer before `meanwhile` has happened.
fn past_its_plan(scene: &Scene<'_>, more: &[&str], meanwhile: impl FnOnce()) -> Running {
    scene.machines.helpers(&scene.node, Helpers::NeverStart).unwrap();
    let run = begin(scene, more);
    eventually("a pod that asks the machine", || !scene.helpers().is_empty());
    meanwhile();
    scene.machines.helpers(&scene.node, Helpers::Run).unwrap();
    run
}

fn f9_d0_a_cordon_that_a_policy_refuses_after_the_plan_ends_the_run(world: &World) {
    let scene = Scene::new(world);
    let (face_before, before) = (face(&scene), scene.facts());
    let mut sentence = String::new();
    let mut run = past_its_plan(&scene, &[], || sentence = world.refuse(&scene.node, Refuses::Cordon));
    let (_, said) = run.ends(3);
    let said = said.join("\n");
    assert!(said.contains(&sentence) && said.contains("nothing was changed"), "{said}");
    is_untouched(&scene, &face_before, &before);
    is_in_nobodys_way(&scene);
}

fn f9_d0_a_signal_while_the_cordon_cannot_be_stored_gives_the_disruption_lock_back(world: &World) {
    let scene = Scene::new(world);
    let (face_before, before) = (face(&scene), scene.facts());
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut run = past_its_plan(&scene, &["--lease-duration=60s"], || {
            world.break_admission(&scene.node);
        });
        run.says("cannot be written");
        assert_ne!(lock_holder(&scene), "");
        run.signal(signal);
        let (_, said) = run.ends(code);
        assert!(said.join("\n").contains("nothing was changed"), "{said:#?}");
        is_untouched(&scene, &face_before, &before);
        assert_eq!((lock_holder(&scene), scene.lease_holder()), (String::new(), None));
        world.mend_admission(&scene.node);
    }
    is_in_nobodys_way(&scene);
}

/// Twice the duration of a Lease: a webhook that is away may be back, but others are not to wait for that.
fn f9_d0_the_disruption_lock_is_not_held_for_long(world: &World) {
    let scene = Scene::new(world);
    let (face_before, before) = (face(&scene), scene.facts());
    let mut webhook = "";
    let mut run = past_its_plan(&scene, &[], || webhook = world.break_admission(&scene.node));
    let (_, said) = run.ends(3);
    let said = said.join("\n");
    assert!(
        said.contains(webhook) && said.contains("within 6s") && said.contains("nothing was changed"),
        "{said}"
    );
    is_untouched(&scene, &face_before, &before);
    is_in_nobodys_way(&scene);
}

/// A run whose drain waits until `meanwhile` has happened.
fn in_its_drain(scene: &Scene<'_>, more: &[&str], meanwhile: impl FnOnce()) -> Running {
    scene.cordon(&scene.spare, true);
    scene.workload("deployments", "Deployment", "web", 1, &json!({}));
    scene.until_running(1);
    scene.exhausted_budget("web");
    scene.cordon(&scene.spare, false);
    let run = begin(scene, more);
    scene.until_state("Draining");
    meanwhile();
    scene.remove_budget("web");
    run
}

/// The run has stopped with this code: it says why and how to go on, and is in nobody's way.
#[track_caller]
fn stops(scene: &Scene<'_>, mut run: Running, code: i32, sentence: &str) -> String {
    let (_, said) = run.ends(code);
    let said = said.join("\n");
    let resume = format!(": kubectl sciuro remediate {} --resume", scene.node);
    assert!(said.contains(sentence) && said.contains(&resume), "{said}");
    assert!(scene.is_cordoned());
    is_in_nobodys_way(scene);
    said
}

fn f9_d0_an_uncordon_that_would_be_refused_is_known_before_the_drain(world: &World) {
    let scene = Scene::new(world);
    scene.bare_pod("shell");
    scene.until_running(1);
    let before = scene.facts();
    let sentence = world.refuse(&scene.node, Refuses::Uncordon);
    stops(&scene, begin(&scene, &["--force"]), 1, &sentence);
    remediate(&scene, &["--resume", "--force"]).exits(1).says(&sentence);
    assert_eq!(scene.apps(&scene.node), ["shell"], "nothing was drained");
    assert_eq!(scene.facts().reboots, before.reboots);
    // Whoever keeps the cordon need not lift it.
    remediate(&scene, &["--resume", "--force", "--keep-cordon", "--until=drain"]).exits(0);
    world.lift(&scene.node);
    remediate(&scene, &["--resume", "--force"]).exits(0);
    scene.is_remediated(&before);
}

fn f9_d0_an_uncordon_that_a_policy_refuses_is_said_and_tried_again(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    let mut sentence = String::new();
    let run = in_its_drain(&scene, &[], || sentence = world.refuse(&scene.node, Refuses::Uncordon));
    let said = stops(&scene, run, 1, &sentence);
    assert!(said.contains("rebooted and verified"), "{said}");
    let record = scene.record().expect("a record");
    assert_eq!((&record["state"], &record["failedState"]), (&json!("NeedsHuman"), &json!("Uncordoning")));
    assert!(record["lastError"].as_str().unwrap().contains(&sentence), "{record:#}");
    assert_eq!(scene.facts().reboots, before.reboots + 1);
    remediate(&scene, &["--resume"]).exits(1).says(&sentence);
    world.lift(&scene.node);
    remediate(&scene, &["--resume"]).exits(0);
    scene.is_remediated(&before);
}

/// What was in its way is the record's last error, and no result.
fn f9_d1_an_abort_that_is_gone_on_with_says_that_it_is_done(world: &World) {
    let scene = Scene::new(world);
    remediate(&scene, &["--until=cordon"]).exits(0);
    let sentence = world.refuse(&scene.node, Refuses::Uncordon);
    remediate(&scene, &["--abort"]).exits(1).says(&sentence);
    world.lift(&scene.node);
    let run = remediate(&scene, &["--resume"]).exits(0).says(&format!("node/{} aborted\n", scene.node));
    assert!(!run.stderr.contains("error: "), "{}", run.stderr);
    scene.is_over("aborted");
    assert!(!scene.is_cordoned());
}

fn f9_d0_an_abort_that_a_policy_refuses_is_said_and_tried_again(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    remediate(&scene, &["--until=cordon"]).exits(0);
    let sentence = world.refuse(&scene.node, Refuses::Uncordon);
    remediate(&scene, &["--abort"]).exits(1).says(&sentence);
    assert_eq!(scene.record().expect("a record")["failedState"], "Aborted");
    assert!(scene.is_cordoned());
    is_in_nobodys_way(&scene);
    world.lift(&scene.node);
    remediate(&scene, &["--abort"]).exits(0);
    scene.is_over("aborted");
    assert!(!scene.is_cordoned());
    assert_eq!(scene.facts().reboots, before.reboots);
}

fn f9_d0_a_node_without_room_for_the_next_record_stops_the_run(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    let run = in_its_drain(&scene, &[], || fill(&scene, 10));
    stops(&scene, run, 1, "metadata.annotations: Too long");
    assert_eq!(scene.record().expect("a record")["state"], "Draining");
    assert_eq!(scene.facts().reboots, before.reboots);
    annotate(&scene, "example.com/inventory", &Value::Null);
    remediate(&scene, &["--resume"]).exits(0);
    scene.is_remediated(&before);
}

/// A command of the user's, for which nobody knows whether it may be sent again.
fn f9_d0_what_is_refused_after_the_order_stops_the_run_and_nothing_is_ordered_twice(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    let directory = world.file("power", "").parent().unwrap().to_owned();
    let script =
        "#!/bin/sh\ncd \"${0%/*}\" && echo once >> asked && while [ ! -e go ]; do sleep 0.05; done\n";
    let power = world.file("power", script);
    std::fs::set_permissions(&power, std::fs::Permissions::from_mode(0o700)).unwrap();
    let command = format!("--reboot-command={}", power.display());
    let flags = ["--reboot-method=command", &command];
    let run = begin(&scene, &flags);
    eventually("an order", || directory.join("asked").exists());
    let sentence = world.refuse(&scene.node, Refuses::Record);
    scene.machines.reboot(&scene.node).unwrap();
    world.file("go", "");
    stops(&scene, run, 1, &sentence);
    assert_eq!(scene.record().expect("a record")["state"], "RebootIntent");
    world.lift(&scene.node);
    remediate(&scene, &[&["--resume"], &flags[..]].concat()).exits(0);
    scene.is_remediated(&before);
    assert_eq!(std::fs::read_to_string(directory.join("asked")).unwrap(), "once\n");
}

fn f9_d0_a_permission_that_is_taken_away_stops_the_run(world: &World) {
    let scene = Scene::new(world);
    let user = world.remediator();
    let before = scene.facts();
    let run = in_its_drain(&scene, &["--as", &user], || world.takes_away(&user, "nodes", "patch"));
    stops(&scene, run, 1, "cannot patch resource \"nodes\"");
    assert_eq!(scene.record().expect("a record")["state"], "Draining");
    assert_eq!(scene.facts().reboots, before.reboots);
    world.gives_back(&user, "nodes", "patch");
    remediate(&scene, &["--resume", "--as", &user]).exits(0);
    scene.is_remediated(&before);
}

/// The Lease runs out by itself then: nobody can give it back.
fn f9_d0_a_lease_that_may_not_be_renewed_stops_the_run(world: &World) {
    let scene = Scene::new(world);
    let user = world.remediator();
    let before = scene.facts();
    let mut run = in_its_drain(&scene, &["--as", &user], || world.takes_away(&user, "leases", "update"));
    let (_, said) = run.ends(1);
    let said = said.join("\n");
    assert!(said.contains("cannot update resource \"leases\"") && said.contains("--resume"), "{said}");
    assert!(scene.is_cordoned());
    assert_eq!(scene.facts().reboots, before.reboots);
    world.gives_back(&user, "leases", "update");
    remediate(&scene, &["--resume", "--as", &user]).exits(0);
    scene.is_remediated(&before);
}

/// The disruption lock cannot be read: nobody waits for a turn that never comes.
fn f9_d0_gates_that_cannot_be_asked_again_stop_the_run(world: &World) {
    let scene = Scene::new(world);
    let user = world.remediator();
    let before = scene.facts();
    let flags = ["--as", &user, "--lease-duration=60s"];
    let run = in_its_drain(&scene, &flags, || world.takes_away(&user, "leases", "get"));
    stops(&scene, run, 6, "cannot get resource \"leases\"");
    assert_eq!(scene.facts().reboots, before.reboots);
    world.gives_back(&user, "leases", "get");
    remediate(&scene, &["--resume", "--as", &user]).exits(0);
    scene.is_remediated(&before);
}

/// The Lease that the kubelet renews.
fn f9_d0_a_proof_that_may_not_be_read_stops_the_run(world: &World) {
    let scene = Scene::new(world);
    let user = world.remediator();
    let before = scene.facts();
    scene.machines.boots(&scene.node, Boot { never_back: true, ..Boot::default() }).unwrap();
    let run = begin(&scene, &["--as", &user]);
    scene.until_state("WaitBoot");
    world.takes_away(&user, "leases", "get");
    eventually("a machine that is off", || !scene.facts().powered);
    world.block_on(scene.machines.power_on(&scene.node)).unwrap();
    let said = stops(&scene, run, 6, "cannot get resource \"leases\"");
    assert!(said.contains("kube-node-lease"), "{said}");
    world.gives_back(&user, "leases", "get");
    remediate(&scene, &["--resume", "--as", &user]).exits(0);
    scene.is_remediated(&before);
}

#[test]
fn sandbox_f9_d0_pods_that_may_not_be_read_any_more_stop_the_verification() {
    let world = &World::sandbox();
    let scene = Scene::new(world);
    let user = world.remediator();
    let before = scene.facts();
    let run = begin(&scene, &["--as", &user, "--stable-for=60s"]);
    scene.until_state("Verifying");
    for verb in ["list", "watch"] {
        world.takes_away(&user, "pods", verb);
    }
    world.api().drop_watches();
    stops(&scene, run, 7, "cannot list resource \"pods\"");
    assert_eq!(scene.facts().reboots, before.reboots + 1);
}

/// On the sandbox, whose watches can be cut: a real one goes on for half a minute.
#[test]
fn sandbox_f9_d0_a_node_that_may_not_be_read_any_more_stops_the_run() {
    let world = &World::sandbox();
    let scene = Scene::new(world);
    let user = world.remediator();
    // What waits for the boot asks for nothing but the Node, and has no reason of its own to end.
    scene.machines.boots(&scene.node, Boot { never_back: true, ..Boot::default() }).unwrap();
    let run = begin(&scene, &["--as", &user]);
    scene.until_state("WaitBoot");
    for verb in ["get", "list", "watch"] {
        world.takes_away(&user, "nodes", verb);
    }
    world.api().drop_watches();
    stops(&scene, run, 1, "cannot list resource \"nodes\"");
}

/// Nobody answers the cordon: a signal does not wait for that, and what became of it is not known.
#[test]
fn sandbox_f9_d0_a_signal_while_the_cordon_hangs_gives_the_disruption_lock_back() {
    let world = &World::sandbox();
    let scene = Scene::new(world);
    let node = format!("/api/v1/nodes/{}", scene.node);
    let hang = || world.api().faults().on("PATCH", &node).delay(Duration::from_secs(3600));
    let mut hangs = None;
    let mut run = past_its_plan(&scene, &["--lease-duration=60s"], || hangs = Some(hang()));
    eventually("a cordon under way", || hangs.as_ref().unwrap().hits() > 0);
    run.signal("TERM");
    run.ends(143);
    hangs.unwrap().stop();
    is_in_nobodys_way(&scene);
}

fn holder(world: &World) -> String {
    let lease = world.lease();
    lease.map_or(String::new(), |lease| {
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    })
}

/// Done, failed, dropped half-way, or in a panic.
fn f9_d0_a_lease_is_released_however_its_holder_ends(world: &World) {
    let cluster = world.cluster(None);
    let key = LeaseKey { namespace: "kube-system".into(), name: world.name("sync") };
    world.leave(world.lease_path());
    let candidate =
        Candidate::new(cluster.clone(), key, "first".into()).with_pace(Pace::of(Duration::from_secs(60)));
    let taken = || async { candidate.take(|other, _| panic!("{other} has it")).await.unwrap() };
    let all_released = || world.block_on(cluster.leases_released());

    world.block_on(async { taken().await.release(BTreeMap::new()).await.unwrap() });
    assert_eq!(holder(world), "");
    world.block_on(async { drop(taken().await) });
    all_released();
    assert_eq!(holder(world), "");
    world.block_on(async {
        let forever = async {
            let _hold = taken().await;
            std::future::pending::<()>().await;
        };
        let dropped = tokio::time::timeout(Duration::from_secs(1), forever).await;
        assert!(dropped.is_err());
    });
    all_released();
    assert_eq!(holder(world), "");
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.block_on(async {
            let _hold = taken().await;
            panic!("as a bug would");
        });
    }));
    assert!(panics.is_err());
    all_released();
    assert_eq!(holder(world), "");
    // The next one need not wait.
    let began = Instant::now();
    drop(world.block_on(taken()));
    assert!(began.elapsed() < Duration::from_secs(10));
    all_released();
}

/// The server makes it ours after we have stopped waiting for its answer.
#[test]
fn sandbox_f9_d0_a_lease_that_is_taken_while_a_signal_comes_is_released() {
    let world = &World::sandbox();
    let scene = Scene::new(world);
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", scene.leases);
    let mut run = {
        let slow = world.api().faults().on("POST", &leases).answers_after(Duration::from_secs(1));
        let run = begin(&scene, &[]);
        eventually("a Lease that is being taken", || slow.hits() > 0);
        run
    };
    run.signal("TERM");
    run.ends(143);
    assert_eq!(scene.lease_holder(), None);
    is_in_nobodys_way(&scene);
}

/// The same of `sync`, whose Lease is another run's business within seconds.
#[test]
fn sandbox_f9_d0_the_lease_of_sync_is_released_whatever_ends_it() {
    let world = &World::sandbox();
    world.node("w1");
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let slow = world.api().faults().on("POST", leases).answers_after(Duration::from_secs(1));
    let mut run = Running::start(&mut world.sync_command(&[]), str::to_owned);
    eventually("a Lease that is being taken", || slow.hits() > 0);
    run.signal("TERM");
    run.ends(143);
    slow.stop();
    assert_eq!(holder(world), "");
}
