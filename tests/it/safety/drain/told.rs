//! What a person is told of a drain, and when.

use ::sandbox::kubelet::STOPS_AFTER;
use sciuro::remedy::drain::{DrainFailureKind, DrainOptions};
use serde_json::{Value, json};

use super::{drains, replicas, times, within};
use crate::drain::scene::Told;
use crate::remediate::scene::Scene;
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios![
    f9_d10_the_plans_warnings_have_hints,
    f9_d10_a_pod_without_an_owner_that_arrives_late_is_told_at_once,
    f9_d10_deleting_is_not_called_evicting,
    f9_d10_the_longest_name_of_a_node_has_diagnostics,
    f9_d10_a_collect_without_diagnostics_has_not_succeeded,
    f9_d11_that_nothing_fires_is_a_warning,
    f9_d11_a_verification_that_cannot_succeed_is_a_warning_of_the_plan,
];

fn f9_d10_the_plans_warnings_have_hints(world: &World) {
    let scene = Scene::new(world);
    replicas(&scene, "web", 2);
    scene.budget("web", &json!({"minAvailable": 1}));
    let pod = scene.pods(&scene.node)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/status", scene.namespace);
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    world.request("PATCH", &path, "application/strategic-merge-patch+json", &unready);
    let namespace = &scene.namespace;
    let patch = format!(
        "hint: kubectl patch poddisruptionbudget web -n {namespace} --type merge -p '{{\"spec\":{{\"unhealthyPodEvictionPolicy\":\"AlwaysAllow\"}}}}'"
    );
    let budget = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/web");
    eventually("a budget that allows nothing", || {
        let budget = world.request("GET", &budget, "application/json", &Value::Null);
        budget["status"]["disruptionsAllowed"] == 0
    });
    let run = scene.remediate(&["--dry-run=server"]).exits(0);
    let describe = format!("hint: kubectl describe poddisruptionbudget web -n {namespace}");
    // The budget is met as soon as the other pod alone is healthy: then the one that is not may go.
    assert!(run.stdout.contains(&patch) || run.stdout.contains(&describe), "{}", run.stdout);
}

fn f9_d10_a_pod_without_an_owner_that_arrives_late_is_told_at_once(world: &World) {
    let scene = Scene::new(world);
    let slow = json!({"metadata": {"name": "slow", "labels": {"app": "slow"}, "annotations": {STOPS_AFTER: "3000"}},
        "spec": {"nodeName": scene.node, "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
    world.create(&format!("/api/v1/namespaces/{}/pods", scene.namespace), &slow);
    scene.until_running(1);
    // Owned by something that is no workload, so that only the late one needs --force.
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": scene.node, "controller": true,
        "uid": world.get_node(&scene.node)["metadata"]["uid"]}]);
    let pod = format!("/api/v1/namespaces/{}/pods/slow", scene.namespace);
    super::merge_patch(&scene, &pod, &json!({"metadata": {"ownerReferences": owner}}));
    let told = Told::default();
    let options = DrainOptions { policy: sciuro::core::drain::Policy::default(), ..within(60) };
    std::thread::scope(|threads| {
        let drained = threads.spawn(|| drains(&scene, &options, &told));
        eventually("an eviction", || times(&told, "evicting pod ") == 1);
        scene.bare_pod("late");
        let line = format!(
            "pod {}/late arrived during the drain: cannot delete Pods that declare no controller (use --force to override)",
            scene.namespace
        );
        eventually("word of the pod", || times(&told, &line) == 1);
        assert!(!drained.is_finished(), "the other pod has not ended yet");
        let failure = drained.join().unwrap().unwrap_err();
        assert_eq!((failure.kind, failure.left.len()), (DrainFailureKind::Failed, 1));
    });
}

fn f9_d10_deleting_is_not_called_evicting(world: &World) {
    let scene = Scene::new(world);
    scene.bare_pod("web");
    scene.until_running(1);
    let before = scene.facts();
    let flags = ["--force", "--disable-eviction"];
    let plan = scene.remediate(&[&flags[..], &["--dry-run=server"]].concat()).exits(0);
    let warning = "Warning: --disable-eviction: pods are deleted, disruption budgets ignored";
    assert_eq!(plan.stdout.matches(warning).count(), 1, "{}", plan.stdout);
    assert!(plan.stdout.contains(" delete ") && !plan.stdout.contains(" evict "), "{}", plan.stdout);
    let run = scene.remediate(&[&flags[..], &["--yes", "--skip=collect"]].concat()).exits(0);
    run.says(warning)
        .says(&format!("deleting pod {}/web", scene.namespace))
        .never_says("evicting")
        .never_says("evicted");
    scene.is_remediated(&before);
}

fn f9_d10_the_longest_name_of_a_node_has_diagnostics(world: &World) {
    let namespace = world.namespace("shop");
    let prefix = world.name("a.");
    let name = format!("{prefix}{}", "b".repeat(253 - prefix.len()));
    let mut node = ::sandbox::node(&name);
    node["metadata"]["labels"] = json!({}); // a label's value has 63 bytes at most
    world.create("/api/v1/nodes", &node);
    let home = world.file("home", "");
    let directory = home.parent().unwrap().join("bundles");
    let (leases, bundles) =
        (format!("--lease-namespace={namespace}"), format!("--output-dir={}", directory.display()));
    let flags =
        ["--yes", "--until=collect", "--reboot-method=manual", "--override=last-ready,max-unavailable"];
    world.run(&[&["remediate", &name][..], &flags, &[&leases, &bundles]].concat()).exits(0);
    let files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let file = files[0].to_str().unwrap();
    assert!(file.starts_with(&format!("sciuro-{prefix}bbb")) && file.ends_with("Z.tar.gz"), "{file}");
    world.run(&["remediate", &name, "--abort", "--yes", &leases]).exits(0);
}

/// It is not waited for, but not called done, either.
fn f9_d10_a_collect_without_diagnostics_has_not_succeeded(world: &World) {
    let scene = Scene::new(world);
    let file = world.file("in-the-way", "");
    let directory = format!("--output-dir={}/bundles", file.display());
    let run = scene.remediate(&["--yes", "--until=collect", &directory, "-o=json"]).exits(0);
    let run = run.says("✗ collect").says("the diagnostics cannot be written: ").never_says("✔ collect");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let steps = report["steps"].as_array().unwrap();
    let collect = steps.iter().find(|step| step["name"] == "collect").unwrap();
    assert_eq!(collect["result"], "failed", "{report:#}");
}

fn f9_d11_that_nothing_fires_is_a_warning(world: &World) {
    let scene = Scene::new(world);
    let prefix = format!("--prefix={}", world.prefix());
    let warning = format!(
        "Warning: nothing fires on node/{}: no condition {}* is True\n  hint: kubectl sciuro status\n",
        scene.node,
        world.prefix()
    );
    let run = scene.remediate(&["--dry-run=client", &prefix]).exits(0);
    assert!(run.stdout.contains(&warning), "{}", run.stdout);
    world.seed(&scene.node, "Hot", "True", "[P1] hot", jiff::SignedDuration::from_mins(1));
    let run = scene.remediate(&["--dry-run=client", &prefix]).exits(0);
    assert!(!run.stdout.contains("Warning: nothing fires"), "{}", run.stdout);
    // Somebody has refreshed it a minute ago, and may do so after the boot.
    let unknown = format!(
        "Warning: whether a sync runs is not known (there is no Lease {}/sciuro-sync): unless it clears {}, the verification will fail\n  hint: run kubectl sciuro sync, ",
        scene.leases,
        world.condition_type("Hot")
    );
    assert!(run.stdout.contains(&unknown), "{}", run.stdout);
}

fn f9_d11_a_verification_that_cannot_succeed_is_a_warning_of_the_plan(world: &World) {
    let scene = Scene::new(world);
    let prefix = format!("--prefix={}", world.prefix());
    let said = |more: &[&str], why: Option<&str>| {
        let run = scene.remediate(&[&["--dry-run=client", prefix.as_str()], more].concat()).exits(0);
        let Some(why) = why else {
            return assert!(!run.stdout.contains("Warning: "), "{}", run.stdout);
        };
        let warning = format!(
            "Warning: the verification will fail: sync does not seem to run ({why}), no alert source is given, and so {} stays True\n  hint: run kubectl sciuro sync, or name the source of the alerts: --alertmanager URL\n",
            world.condition_type("HotByItself")
        );
        assert!(run.stdout.contains(&warning), "no {warning:?} in {}", run.stdout);
    };
    world.seed(&scene.node, "HotByItself", "True", "[P1] hot", jiff::SignedDuration::from_mins(30));
    let lease = format!("{}/sciuro-sync", scene.leases);
    let none = format!("there is no Lease {lease}");
    said(&[], Some(&none));
    said(&["--until=drain"], None);
    let source = format!("--alertmanager={}", world.alertmanager_url());
    said(&[&source, "--receiver=node-condition-k8s", "--warmup=0"], None);
    said(&[&source, "--receiver=node-condition-k8s", "--no-verify-alerts"], Some(&none));

    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", scene.leases);
    let last_full = |age: i64| crate::support::seconds_ago(jiff::SignedDuration::from_mins(age));
    let object =
        json!({"metadata": {"name": "sciuro-sync", "annotations": {"sciuro.dev/last-full": last_full(90)}}});
    world.create(&leases, &object);
    said(&[], Some("the last complete sync was 90m ago"));
    // Whoever holds sync's token can write that, and it counts for nothing.
    let future = json!({"metadata": {"annotations": {"sciuro.dev/last-full": last_full(-600)}}});
    super::merge_patch(&scene, &format!("{leases}/sciuro-sync"), &future);
    said(&[], Some(&format!("Lease {lease} records no complete sync")));
    let fresh = json!({"metadata": {"annotations": {"sciuro.dev/last-full": last_full(0)}}});
    super::merge_patch(&scene, &format!("{leases}/sciuro-sync"), &fresh);
    said(&[], None);
}
