//! Admission webhooks that are away, slow, or say "not yet".

use std::time::Duration;

use ::sandbox::Verdict;
use sciuro::remedy::drain::DrainFailureKind;
use serde_json::json;

use super::{drains, times, within};
use crate::drain::scene::Told;
use crate::remediate::ground::Ground;
use crate::remediate::scene::Scene;
use crate::support::{Guard, World, scenarios};
use crate::watch::eventually;

scenarios![
    f9_d4_a_webhook_that_is_away_for_a_while_is_waited_for,
    f9_d4_a_webhook_that_is_slower_than_its_timeout_is_asked_again,
    f9_d4_a_helper_pod_waits_for_a_webhook,
    f9_d4_nodes_and_leases_wait_for_a_webhook,
    f9_d5_a_webhook_that_says_not_yet_is_asked_again,
    f9_d6_too_many_requests_of_a_webhook_are_its_pods_own,
    f9_d6_what_a_webhook_says_is_in_the_plan,
];

const EVICTIONS: [(&str, &str); 1] = [("CREATE", "pods/eviction")];

/// Pods of these apps, one of each, on the node.
fn pods<'w>(world: &'w World, apps: &[&str]) -> Scene<'w> {
    let scene = Scene::new(world);
    for app in apps {
        scene.bare_pod(app);
    }
    scene.until_running(apps.len());
    scene
}

/// What has no namespace has no such field at all.
fn in_namespace(namespace: &str) -> String {
    format!("(has(request.namespace) && request.namespace == {namespace:?})")
}

/// About the pods of this scene.
fn of_namespace(ground: &Ground<'_>) -> String {
    in_namespace(&ground.namespace)
}

/// Lets it be back once it was missed.
fn back_when(guard: &Guard<'_>, was_missed: impl Fn() -> bool + Send, work: impl FnOnce() + Send) {
    guard.says(Verdict::Away);
    let webhook = (**guard).clone();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            eventually("somebody who misses the webhook", was_missed);
            std::thread::sleep(Duration::from_secs(3)); // longer than the retries of one request
            webhook.says(Verdict::Allow);
        });
        work();
    });
}

fn f9_d4_a_webhook_that_is_away_for_a_while_is_waited_for(world: &World) {
    let scene = pods(world, &["one", "two", "three"]);
    let guard = world.guard(&EVICTIONS, &of_namespace(&scene));
    let told = Told::default();
    let why = "failed calling webhook \"guard.example.com\"";
    back_when(
        &guard,
        || times(&told, why) > 0,
        || assert_eq!(drains(&scene, &within(60), &told).unwrap().evicted, 3),
    );
    assert_eq!(times(&told, why), 1, "told at once, and once for all pods: {:#?}", told.lines());
    told.says("trying again: Internal error occurred: failed calling webhook \"guard.example.com\": ");
}

fn f9_d4_a_webhook_that_is_slower_than_its_timeout_is_asked_again(world: &World) {
    let scene = pods(world, &["one"]);
    let guard = world.guard(&EVICTIONS, &of_namespace(&scene));
    guard.says_first("", 2, &Verdict::Slow);
    let told = Told::default();
    assert_eq!(drains(&scene, &within(60), &told).unwrap().evicted, 1);
    told.says("failed calling webhook \"guard.example.com\"").says("context deadline exceeded");
}

/// Its own pod may have been the first to be evicted: it is away when the reboot is asked for, as before for the probe.
fn f9_d4_a_helper_pod_waits_for_a_webhook(world: &World) {
    let scene = Scene::new(world);
    let namespace = world.namespace("helpers");
    let rules = [("CREATE", "pods"), ("DELETE", "pods")];
    let guard = world.guard(&rules, &in_namespace(&namespace));
    let before = scene.facts();
    // More often than one request is sent; the second four are of the deletion.
    guard.says_first("sciuro-probe", 4, &Verdict::Slow);
    guard.says_first("sciuro-reboot", 4, &Verdict::Slow);
    let flag = format!("--helper-namespace={namespace}");
    let run = scene.remediate(&["--yes", "--skip=collect", &flag]).exits(0);
    let asked =
        |name: &str| guard.asked().iter().filter(|(asked, dry)| asked.starts_with(name) && !dry).count();
    assert!(asked("sciuro-probe") >= 5 && asked("sciuro-reboot") >= 5, "{:?}", guard.asked());
    scene.is_remediated(&before);
    let why = "admission webhook \"guard.example.com\" cannot be called, trying again: ";
    assert_eq!(run.stderr.matches(why).count(), 1, "{}", run.stderr);
}

fn f9_d4_nodes_and_leases_wait_for_a_webhook(world: &World) {
    let scene = Scene::new(world);
    let rules = [("UPDATE", "nodes"), ("CREATE", "leases"), ("UPDATE", "leases"), ("CREATE", "events")];
    let (node, namespace) = (&scene.node, &scene.namespace);
    let scope = format!(
        "{} || (has(request.name) && request.name == {node:?} && has(request.options.fieldManager) && \
         request.options.fieldManager == \"kubectl-sciuro\") || (request.resource.resource == \"events\" && \
         object.involvedObject.name == {node:?})",
        in_namespace(namespace)
    );
    let guard = world.guard(&rules, &scope);
    let before = scene.facts();
    for name in [node.as_str(), "sciuro-node-", "sciuro-admission"] {
        guard.says_first(name, 4, &Verdict::Slow);
    }
    let run = scene.remediate(&["--yes", "--skip=collect"]).exits(0);
    scene.is_remediated(&before);
    let why = "admission webhook \"guard.example.com\" cannot be called, trying again: ";
    assert_eq!(run.stderr.matches(why).count(), 1, "{}", run.stderr);
}

fn f9_d5_a_webhook_that_says_not_yet_is_asked_again(world: &World) {
    let codes = [400, 403, 404, 409, 500];
    let pod = |code: u16| format!("kafka-{code}");
    let names = codes.map(pod);
    let scene = pods(world, &names.each_ref().map(String::as_str));
    let guard = world.guard(&EVICTIONS, &of_namespace(&scene));
    let message = |code: u16| format!("the pod will be rolled by its operator ({code})");
    for code in codes {
        guard.says_first(&pod(code), 2, &Guard::denial(code, &message(code)));
    }
    let told = Told::default();
    assert_eq!(drains(&scene, &within(60), &told).unwrap().evicted, codes.len());
    for code in codes {
        let sentence = Guard::sentence(&message(code));
        assert_eq!(times(&told, &sentence), 1, "{:#?}", told.lines());
        told.says(&format!("/kafka-{code} yet, asking again in 2s: {sentence}"));
        assert_eq!(guard.asked().iter().filter(|(name, _)| *name == pod(code)).count(), 3);
    }
}

/// As `KubeVirt` does it, whose virtual machines move first.
fn f9_d6_too_many_requests_of_a_webhook_are_its_pods_own(world: &World) {
    let scene = pods(world, &["virt-launcher-a", "virt-launcher-b", "web"]);
    let guard = world.guard(&EVICTIONS, &of_namespace(&scene));
    let message = "Eviction triggered evacuation of VMI \"vms/a\"";
    let status = json!({"code": 429, "message": message, "reason": "TooManyRequests",
        "details": {"retryAfterSeconds": 20}});
    guard.says_about("virt-launcher", Verdict::Deny(status));
    let told = Told::default();
    let failure = drains(&scene, &within(3), &told).unwrap_err();
    assert_eq!(failure.kind, DrainFailureKind::TimedOut);
    let left: Vec<_> = failure.left.iter().map(|left| (left.name.as_str(), left.reason.clone())).collect();
    let sentence = Guard::sentence(message);
    let expected = [("virt-launcher-a", sentence.clone()), ("virt-launcher-b", sentence.clone())];
    assert_eq!(left, expected, "the other pod is gone");
    assert_eq!(times(&told, &sentence), 1, "{:#?}", told.lines());
    told.says(&format!("yet, asking again in 20s: {sentence}"));
    let of_pods = guard.asked().iter().filter(|(name, _)| name.starts_with("virt")).count();
    assert_eq!(of_pods, 2, "it has asked for patience");
}

fn f9_d6_what_a_webhook_says_is_in_the_plan(world: &World) {
    let scene = pods(world, &["kafka-0", "kafka-1", "web"]);
    let guard = world.guard(&EVICTIONS, &of_namespace(&scene));
    guard.says_about("kafka", Guard::denial(429, "not yet"));
    let run = scene.remediate(&["--dry-run=server", "--force"]).exits(0);
    let sentence = Guard::sentence("not yet");
    assert_eq!(run.stdout.matches(&sentence).count(), 1, "{}", run.stdout);
    let namespace = &scene.namespace;
    let warning = format!(
        "Warning: pods {namespace}/kafka-0, {namespace}/kafka-1: their eviction is denied now, and would be asked for again: {sentence}\n  hint: kubectl get validatingwebhookconfigurations,"
    );
    assert!(run.stdout.contains(&warning), "{}", run.stdout);
    assert_eq!(run.stdout.matches("denied now by admission webhook \"guard.example.com\"").count(), 2);
}
