//! Volumes that nobody detaches. Neither the sandbox nor the control plane of the tests has a controller that does: the
//! tests play it.

use std::time::Duration;

use sciuro::remedy::drain::{DrainFailureKind, DrainOptions};
use serde_json::{Value, json};

use super::{drains, held_pod, merge_patch, times, within};
use crate::drain::scene::Told;
use crate::remediate::ground::Ground;
use crate::remediate::scene::Scene;
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios![
    f9_d2_a_pod_that_comes_back_with_its_volume_is_left,
    f9_d2_a_volume_of_a_pod_that_the_selector_leaves_out_is_not_waited_for,
    f9_d2_a_run_and_its_resumption_do_not_wait_for_volumes_that_stay,
    f9_d3_an_attachment_that_no_pod_used_is_in_the_plan_and_waited_for_shortly,
    f9_d3_a_drain_that_waits_for_a_volume_in_vain_says_how_to_go_on,
];

const ATTACHMENTS: &str = "/apis/storage.k8s.io/v1/volumeattachments";

/// A claim that is bound to a volume of this name, as far as the API goes; returns the volume's part of a pod.
fn claim(ground: &Ground<'_>, name: &str) -> Value {
    let (world, namespace, volume) = (ground.world, &ground.namespace, ground.world.name(name));
    let size = json!({"storage": "1Gi"});
    let modes = json!(["ReadWriteOnce"]);
    world.create(
        "/api/v1/persistentvolumes",
        &json!({"metadata": {"name": volume}, "spec": {"capacity": size, "accessModes": modes, "storageClassName": "none",
            "hostPath": {"path": "/none"}, "claimRef": {"namespace": namespace, "name": name}}}),
    );
    world.create(
        &format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims"),
        &json!({"metadata": {"name": name, "annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {
            "accessModes": modes, "storageClassName": "none", "volumeName": volume, "resources": {"requests": size}}}),
    );
    json!([{"name": "data", "persistentVolumeClaim": {"claimName": name}}])
}

fn attach(ground: &Ground<'_>, name: &str) -> String {
    let spec = json!({"attacher": "csi.example.com", "nodeName": ground.node,
        "source": {"persistentVolumeName": ground.world.name(name)}});
    let attachment = ground.world.name(&format!("csi-{name}"));
    ground.world.create(ATTACHMENTS, &json!({"metadata": {"name": attachment}, "spec": spec}));
    attachment
}

fn detach(ground: &Ground<'_>, attachment: &str) {
    ground.world.request("DELETE", &format!("{ATTACHMENTS}/{attachment}"), "application/json", &Value::Null);
}

/// A pod of a `StatefulSet` with a volume; it may run on any node, however it is tainted.
fn stubborn_database(scene: &Scene<'_>) {
    let volumes = claim(scene, "data");
    let more = json!({"volumes": volumes, "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/hostname": scene.node}});
    scene.workload("statefulsets", "StatefulSet", "db", 1, &more);
}

/// One whose pod may go to the other node.
fn with_volume(scene: &Scene<'_>, volumes: &Value) {
    scene.cordon(&scene.spare, true);
    scene.workload("deployments", "Deployment", "web", 1, &json!({"volumes": volumes}));
    scene.until_running(1);
    scene.cordon(&scene.spare, false);
}

fn f9_d2_a_pod_that_comes_back_with_its_volume_is_left(world: &World) {
    let scene = Scene::new(world);
    stubborn_database(&scene);
    scene.until_running(1);
    let attachment = attach(&scene, "data");
    let told = Told::default();
    let drained = drains(&scene, &within(30), &told).unwrap();
    assert_eq!(drained.kept.len(), 1, "{drained:?}");
    assert_eq!(drained.kept[0].name, "db-0");
    let (volume, namespace) = (world.name("data"), &scene.namespace);
    told.says(&format!(
        "volume attachment {attachment} (PV {volume}) is not waited for: pod {namespace}/db-0 stays"
    ));
}

/// Also of one that comes while the drain waits for its volume.
fn f9_d2_a_volume_of_a_pod_that_the_selector_leaves_out_is_not_waited_for(world: &World) {
    let scene = Scene::new(world);
    let (stays, moves) = (claim(&scene, "stays"), claim(&scene, "moves"));
    let pod = |name: &str, volumes: &Value| {
        let pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"nodeName": scene.node,
            "automountServiceAccountToken": false, "volumes": volumes,
            "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
        world.create(&format!("/api/v1/namespaces/{}/pods", scene.namespace), &pod);
    };
    pod("left-out", &stays);
    pod("web", &moves);
    scene.until_running(2);
    attach(&scene, "stays");
    attach(&scene, "moves");
    let options = DrainOptions { pod_selector: Some("app=web".into()), ..within(30) };
    let told = Told::default();
    std::thread::scope(|threads| {
        let drained = threads.spawn(|| drains(&scene, &options, &told));
        eventually("a drain that waits for a volume", || {
            times(&told, &format!("waiting for volumes to be detached: {}", world.name("csi-moves"))) == 1
        });
        assert!(!drained.is_finished());
        pod("comes", &moves);
        assert_eq!(drained.join().unwrap().unwrap().evicted, 1);
    });
    let namespace = &scene.namespace;
    told.says(&format!("is not waited for: pod {namespace}/left-out stays"));
    told.says(&format!("is not waited for: pod {namespace}/comes stays"));
}

fn f9_d2_a_run_and_its_resumption_do_not_wait_for_volumes_that_stay(world: &World) {
    let scene = Scene::new(world);
    stubborn_database(&scene);
    held_pod(&scene);
    scene.until_running(2);
    attach(&scene, "data");
    let before = scene.facts();
    let run = scene.remediate(&["--yes", "--force", "--skip=collect", "--drain-timeout=4s"]).exits(5);
    assert!(!run.stderr.contains("volumes are still attached"), "{}", run.stderr);
    scene.remove_budget("held");
    let run = scene.remediate(&["--yes", "--force", "--resume", "--drain-timeout=30s"]).exits(0);
    run.says("db-0 stays");
    scene.is_remediated(&before);
}

fn f9_d3_an_attachment_that_no_pod_used_is_in_the_plan_and_waited_for_shortly(world: &World) {
    let scene = Scene::new(world);
    let used = claim(&scene, "used");
    with_volume(&scene, &used);
    let (used, orphan) = (attach(&scene, "used"), attach(&scene, "orphan"));
    let error =
        json!({"status": {"attached": true, "detachError": {"message": "rpc error: no such volume"}}});
    merge_patch(&scene, &format!("{ATTACHMENTS}/{orphan}/status"), &error);
    let orphan_shown = format!("{orphan} (PV {}): rpc error: no such volume", world.name("orphan"));
    let run = scene.remediate(&["--dry-run=server"]).exits(0);
    let warning = format!(
        "Warning: no pod on the node uses volume attachment {orphan_shown}; the drain waits 30s for it\n  hint: kubectl get volumeattachment {orphan} -o yaml\n"
    );
    assert!(run.stdout.contains(&warning), "{}", run.stdout);
    assert!(!run.stdout.contains(&used), "{}", run.stdout);

    let told = Told::default();
    std::thread::scope(|threads| {
        let drained = threads.spawn(|| drains(&scene, &within(60), &told));
        eventually("a drain that waits for both", || {
            times(&told, "waiting for volumes to be detached: ") == 1
        });
        std::thread::sleep(Duration::from_millis(1_500)); // longer than for what no pod used
        assert!(!drained.is_finished(), "it does not wait for the volume of a pod that has left");
        detach(&scene, &used);
        drained.join().unwrap().unwrap();
    });
    told.says(&format!(
        "Warning: not waiting longer for volumes that no pod has used since the drain began: {orphan_shown}"
    ));
}

fn f9_d3_a_drain_that_waits_for_a_volume_in_vain_says_how_to_go_on(world: &World) {
    let scene = Scene::new(world);
    let used = claim(&scene, "used");
    with_volume(&scene, &used);
    let used = attach(&scene, "used");
    let before = scene.facts();
    let run = scene.remediate(&["--yes", "--skip=collect", "--drain-timeout=3s"]).exits(5);
    let node = &scene.node;
    run.says(&format!("volumes are still attached to node {node}: {used} (PV {})", world.name("used"))).says(
        &format!(
            "to continue without waiting for them: kubectl sciuro remediate {node} --resume --skip drain"
        ),
    );
    scene.remediate(&["--yes", "--resume", "--skip=drain"]).exits(0);
    scene.is_remediated(&before);
}

#[test]
fn sandbox_f9_d3_what_cannot_be_attributed_is_waited_for() {
    let world = World::sandbox();
    let scene = Scene::new(&world);
    let used = claim(&scene, "used");
    with_volume(&scene, &used);
    attach(&scene, "used");
    world.api().deny("get", "persistentvolumeclaims");
    let told = Told::default();
    let failure = drains(&scene, &within(3), &told).unwrap_err();
    assert_eq!(failure.kind, DrainFailureKind::Volumes);
    told.says("Warning: cannot read PVC ");
}
