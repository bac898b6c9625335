//! Draining a node, beside `kubectl drain`: the same pods go and stay, for the same reasons.

mod only {
    mod control_plane;
}
pub mod scene;

use std::time::Duration;

use ::sandbox::kubelet::STOPS_AFTER;
use sciuro::core::drain::{Answer, Policy};
use sciuro::remedy::drain::{DrainFailureKind, DrainOptions};
use serde_json::{Value, json};

use self::scene::{Outcome, Scene, Told, drains_alike, until};
use crate::support::{World, scenarios};

scenarios!(
    pods_go_and_daemon_sets_stay,
    pods_without_a_controller_need_force,
    empty_dirs_need_their_flag,
    finished_pods_need_no_flag,
    a_budget_that_frees_is_waited_for,
    a_budget_that_never_frees_is_named,
    two_budgets_over_a_pod_are_an_error,
    a_finalizer_holds_a_pod,
    a_pod_that_takes_its_time_is_waited_for,
    a_pod_that_comes_back_is_left,
    a_namespace_that_ends_takes_its_pods,
    deletion_asks_no_budget,
    a_selector_narrows_the_drain,
    a_rehearsal_changes_nothing,
    pods_of_an_unreachable_node_are_not_waited_for,
    a_pod_that_arrives_late_is_drained_too,
);

fn nothing() -> Value {
    json!({})
}

fn within(seconds: u64) -> DrainOptions {
    DrainOptions { timeout: Some(Duration::from_secs(seconds)), ..DrainOptions::default() }
}

fn pods_go_and_daemon_sets_stay(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.replicas("web", 3, &nothing());
        scene.daemon_set("agent", &nothing());
        scene.pod("static", &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}));
    };
    let (ours, told) = drains_alike(world, build, &within(60), &[], &Outcome::done(&["agent", "static"]));
    let drained = ours.unwrap();
    assert_eq!(drained.evicted, 3);
    let reasons: Vec<_> = drained.kept.iter().map(|kept| kept.reason).collect();
    assert!(reasons.contains(&"managed by a DaemonSet") && reasons.contains(&"static pod"), "{reasons:?}");
    told.says("Warning: ignoring DaemonSet-managed Pods: default/").says("evicting pod default/");
}

fn pods_without_a_controller_need_force(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.pod("alone", &nothing());
        scene.replicas("web", 1, &nothing());
    };
    let expected = Outcome::failed(&["alone", "web"]);
    let (ours, _) = drains_alike(world, build, &within(60), &[], &expected);
    let failure = ours.unwrap_err();
    assert_eq!(failure.kind, DrainFailureKind::Refused);
    assert!(failure.why.contains("Pods that declare no controller (use --force to override): "), "{failure}");
    assert_eq!(failure.left.len(), 1);
    assert_eq!(failure.left[0].hint, "add --force");
}

fn empty_dirs_need_their_flag(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.replicas("cache", 1, &json!({"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}]}}));
        scene.pod("alone", &nothing());
    };
    let (ours, _) = drains_alike(world, build, &within(60), &[], &Outcome::failed(&["alone", "cache"]));
    let why = ours.unwrap_err().why;
    assert!(why.contains("no controller") && why.contains("Pods with local storage"), "{why}");

    let policy = Policy { delete_emptydir_data: true, force: true, ..Policy::default() };
    let build = |scene: &Scene<'_>| {
        scene.replicas("scratch", 1, &json!({"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}]}}));
        scene.pod("single", &nothing());
    };
    let options = DrainOptions { policy, ..within(60) };
    let scene_two = Scene::new(world, "allowed");
    build(&scene_two);
    let told = Told::default();
    scene_two.drain(&options, &told).unwrap();
    told.says("deleting Pods with local storage: default/")
        .says("deleting Pods that declare no controller: default/");
    assert!(scene_two.pods("single").is_empty());
}

fn finished_pods_need_no_flag(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.pod(
            "job",
            &json!({"spec": {"restartPolicy": "Never", "volumes": [{"name": "scratch", "emptyDir": {}}]}}),
        );
        let path = format!("{}/{}/status", scene::PODS, scene.name("job"));
        let over = json!({"status": {"phase": "Succeeded"}});
        scene.world.request("PATCH", &path, "application/merge-patch+json", &over);
    };
    drains_alike(world, build, &within(60), &[], &Outcome::done(&[])).0.unwrap();
}

fn a_budget_that_frees_is_waited_for(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.replicas("web", 3, &nothing());
        scene.budget("one-by-one", "web", &json!({"maxUnavailable": 1}));
        scene.cordon(&scene.spare, false); // here they start anew
    };
    let (ours, _) = drains_alike(world, build, &within(120), &["--timeout=120s"], &Outcome::done(&[]));
    assert_eq!(ours.unwrap().evicted, 3);
}

fn a_budget_that_never_frees_is_named(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.replicas("db", 2, &nothing());
        scene.budget("db", "db", &json!({"minAvailable": 2}));
        scene.replicas("web", 1, &nothing());
    };
    let expected = Outcome::failed(&["db", "db"]);
    let (ours, told) = drains_alike(world, build, &within(3), &["--timeout=3s"], &expected);
    let failure = ours.unwrap_err();
    assert_eq!(failure.kind, DrainFailureKind::TimedOut);
    assert_eq!(failure.left.len(), 2);
    let budget = world.name("ours-db");
    for left in &failure.left {
        assert_eq!(left.budget.as_deref(), Some(format!("default/{budget}").as_str()));
        assert_eq!(
            left.reason,
            format!("The disruption budget {budget} needs 2 healthy pods and has 2 currently")
        );
        assert_eq!(left.hint, format!("kubectl describe poddisruptionbudget {budget} -n default"));
    }
    let named = format!(
        "The disruption budget {budget} needs 2 healthy pods and has 2 currently (namespace default)"
    );
    told.says(&named);
    let times = told.lines().iter().filter(|line| line.contains(&named)).count();
    assert_eq!(times, 1, "once every 30 s");
}

fn two_budgets_over_a_pod_are_an_error(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.replicas("db", 1, &nothing());
        scene.budget("one", "db", &json!({"maxUnavailable": 1}));
        scene.budget("two", "db", &json!({"maxUnavailable": 1}));
        scene.replicas("web", 1, &nothing());
    };
    let (ours, _) = drains_alike(world, build, &within(60), &["--timeout=60s"], &Outcome::failed(&["db"]));
    let failure = ours.unwrap_err();
    assert_eq!(failure.kind, DrainFailureKind::Failed, "nobody waits for what does not change: {failure:?}");
    assert!(failure.left[0].reason.contains("more than one PodDisruptionBudget"), "{failure:?}");
    assert_eq!(failure.left[0].hint, "kubectl get poddisruptionbudgets -n default");
}

fn a_finalizer_holds_a_pod(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.pod("held", &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    };
    let options = DrainOptions { policy: Policy { force: true, ..Policy::default() }, ..within(3) };
    let flags = ["--force", "--timeout=3s"];
    let (ours, _) = drains_alike(world, build, &options, &flags, &Outcome::failed(&["held"]));
    let failure = ours.unwrap_err();
    assert_eq!(failure.kind, DrainFailureKind::TimedOut);
    assert!(failure.left[0].reason.ends_with("these finalizers hold it: example.com/hold"), "{failure:?}");
    release(world, "ours");
    release(world, "theirs");
}

/// Takes the finalizer of the pod `held` away, if there is one.
fn release(world: &World, tag: &str) {
    let path = format!("{}/{}", scene::PODS, world.name(&format!("{tag}-held")));
    let free = json!({"metadata": {"finalizers": null}});
    let _no_such_pod = world.try_api("PATCH", &path, "application/merge-patch+json", &free);
}

fn pods_of_an_unreachable_node_are_not_waited_for(world: &World) {
    let scene = Scene::unreachable(world, "ours");
    scene.put_pod("stuck", &json!({"spec": {"terminationGracePeriodSeconds": 1}}));
    let options = DrainOptions { policy: Policy { force: true, ..Policy::default() }, ..within(60) };
    assert!(scene.rehearse(&options).unreachable);
    let told = Told::default();
    let drained = scene.drain(&options, &told).unwrap();
    assert_eq!(drained.kept[0].reason, "has been ending for too long");
    told.says("is unreachable: pods that have been ending for more than 1s, and volumes, are not waited for");
    let path = format!("{}/{}?gracePeriodSeconds=0", scene::PODS, scene.name("stuck"));
    world.request("DELETE", &path, "application/json", &Value::Null);
}

fn a_pod_that_arrives_late_is_drained_too(world: &World) {
    let scene = Scene::new(world, "ours");
    let slow = json!({"metadata": {"annotations": {STOPS_AFTER: "3000"}}});
    scene.replicas("slow", 1, &slow);
    let options = DrainOptions { policy: Policy { force: true, ..Policy::default() }, ..within(60) };
    let told = Told::default();
    std::thread::scope(|threads| {
        let drained = threads.spawn(|| scene.drain(&options, &told));
        until("an eviction", || {
            scene.pods("slow").iter().any(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
        });
        scene.put_pod("late", &nothing());
        assert_eq!(drained.join().unwrap().unwrap().evicted, 2);
    });
    assert!(scene.pods("late").is_empty());
}

fn a_pod_that_takes_its_time_is_waited_for(world: &World) {
    let slow = json!({"metadata": {"annotations": {STOPS_AFTER: "1500"}}});
    let build = |scene: &Scene<'_>| scene.replicas("slow", 2, &slow);
    let begun = std::time::Instant::now();
    drains_alike(world, build, &within(60), &[], &Outcome::done(&[])).0.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1500));
}

/// kubectl looks at the first list alone. Ours evicts what comes back once more, then lets it be.
fn a_pod_that_comes_back_is_left(world: &World) {
    let build = |scene: &Scene<'_>| {
        let here = json!({"kubernetes.io/hostname": scene.node});
        let more = json!({"spec": {"tolerations": [{"operator": "Exists"}], "nodeSelector": here}, "metadata": {"annotations": {STOPS_AFTER: "1000"}}});
        scene.replicas("stubborn", 1, &more);
    };
    let (ours, _) = drains_alike(world, build, &within(60), &["--timeout=60s"], &Outcome::done(&[]));
    let drained = ours.unwrap();
    assert!(drained.evicted <= 2, "{drained:?}");
}

fn a_namespace_that_ends_takes_its_pods(world: &World) {
    let scene = Scene::new(world, "ours");
    let namespace = scene.name("ending");
    world.create("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}));
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    if world.doubles.is_none() {
        let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        until("a service account", || {
            world.try_api("GET", &account, "application/json", &Value::Null).is_ok()
        });
    }
    let pod = json!({"metadata": {"name": "p", "annotations": {STOPS_AFTER: "1000"}}, "spec": {"nodeName": scene.node,
        "automountServiceAccountToken": false, "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
    world.request("POST", &pods, "application/json", &pod);
    let path = format!("{pods}/p");
    until("a running pod", || {
        world.request("GET", &path, "application/json", &Value::Null)["status"]["phase"] == "Running"
    });
    world.request("DELETE", &format!("/api/v1/namespaces/{namespace}"), "application/json", &Value::Null);
    let options = DrainOptions { policy: Policy { force: true, ..Policy::default() }, ..within(60) };
    scene.drain(&options, &Told::default()).unwrap();
    assert!(world.try_api("GET", &path, "application/json", &Value::Null).is_err());
}

fn deletion_asks_no_budget(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.replicas("db", 2, &nothing());
        scene.budget("db", "db", &json!({"maxUnavailable": 0}));
    };
    let options = DrainOptions { disable_eviction: true, grace_period: Some(1), ..within(60) };
    let flags = ["--disable-eviction", "--grace-period=1", "--timeout=60s"];
    let (ours, told) = drains_alike(world, build, &options, &flags, &Outcome::done(&[]));
    assert_eq!(ours.unwrap().evicted, 2);
    told.says("deleted");
}

fn a_selector_narrows_the_drain(world: &World) {
    let build = |scene: &Scene<'_>| {
        scene.replicas("web", 1, &nothing());
        scene.pod("alone", &nothing());
    };
    let options = DrainOptions { pod_selector: Some("app=web".into()), ..within(60) };
    let expected = Outcome::done(&["alone"]);
    drains_alike(world, build, &options, &["--pod-selector=app=web"], &expected).0.unwrap();
}

fn a_rehearsal_changes_nothing(world: &World) {
    let scene = Scene::new(world, "ours");
    scene.replicas("web", 2, &nothing());
    scene.replicas("db", 2, &nothing());
    scene.budget("db", "db", &json!({"minAvailable": 1}));
    scene.replicas("frozen", 1, &nothing());
    scene.budget("frozen", "frozen", &json!({"maxUnavailable": 0}));
    scene.replicas("twice", 1, &nothing());
    scene.budget("one", "twice", &json!({"maxUnavailable": 1}));
    scene.budget("two", "twice", &json!({"maxUnavailable": 1}));
    scene.pod("alone", &nothing());
    let plan = scene.rehearse(&DrainOptions::default());
    assert_eq!(plan.pods.len(), 7);
    let rehearsed = |app: &str| {
        let of_app = plan.pods.iter().filter(|planned| planned.pod.labels["app"] == app);
        of_app.map(|planned| planned.rehearsed.clone()).collect::<Vec<_>>()
    };
    assert_eq!(rehearsed("web"), [Some(Answer::Accepted), Some(Answer::Accepted)]);
    assert_eq!(rehearsed("db"), [Some(Answer::Accepted), Some(Answer::Accepted)], "each is judged alone");
    assert!(matches!(&rehearsed("frozen")[..], [Some(Answer::Budget { .. })]), "{:?}", rehearsed("frozen"));
    assert!(matches!(&rehearsed("twice")[..], [Some(Answer::Refused { .. })]), "{:?}", rehearsed("twice"));
    assert_eq!(rehearsed("alone"), [Some(Answer::Accepted)], "as if it were allowed");
    let mut gates: Vec<_> = plan.refusals().iter().map(|refusal| refusal.gate).collect();
    gates.sort_unstable();
    assert_eq!(gates, ["budget-misconfigured", "budget-overlap", "unmanaged"]);
    let warnings = plan.warnings();
    assert!(
        warnings.iter().any(|line| line.text.contains("allows 1 now, and covers 2 pods here")),
        "{warnings:?}"
    );
    for app in ["web", "db", "frozen", "twice", "alone"] {
        for pod in scene.pods(app) {
            assert!(pod["metadata"]["deletionTimestamp"].is_null(), "{pod}");
        }
    }
}

#[test]
fn answers_that_may_pass_are_outlasted() {
    let world = World::sandbox();
    let scene = Scene::new(&world, "ours");
    scene.replicas("web", 3, &nothing());
    let evictions = "/api/v1/namespaces/default/pods/*";
    let faults = world.api().faults();
    let throttled = faults.on("POST", evictions).times(1).status(429).retry_after(1);
    let broken = faults.on("POST", evictions).times(1).status(500).message("etcdserver: leader changed");
    let cut = faults.on("POST", evictions).times(1).drop_connection();
    let watch = faults.on("GET", "/api/v1/pods").query("watch=").times(1).status(410);
    let told = Told::default();
    assert_eq!(scene.drain(&within(60), &told).unwrap().evicted, 3);
    for fault in [throttled, broken, cut, watch] {
        assert!(fault.hits() >= 1);
    }
    told.says("trying again: Internal error occurred: etcdserver: leader changed");
}

/// It is asked again, until the limit.
#[test]
fn a_webhook_that_refuses_is_named_and_the_others_go() {
    let world = World::sandbox();
    let scene = Scene::new(&world, "ours");
    scene.replicas("web", 1, &nothing());
    scene.pod("precious", &nothing());
    let path = format!("{}/{}/eviction", scene::PODS, scene.name("precious"));
    let why = "admission webhook \"guard.example.com\" denied the request: not today";
    world.api().faults().on("POST", &path).status(403).message(why);
    let options = DrainOptions { policy: Policy { force: true, ..Policy::default() }, ..within(5) };
    let failure = scene.drain(&options, &Told::default()).unwrap_err();
    assert_eq!(failure.kind, DrainFailureKind::TimedOut);
    assert_eq!((failure.left.len(), failure.left[0].reason.as_str()), (1, why));
    assert_eq!(
        failure.left[0].hint,
        "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"
    );
    assert!(scene.pods("web").iter().all(|pod| pod["spec"]["nodeName"] != scene.node.as_str()));
}
