//! What the sandbox has not: volumes that are attached, and an audit log.

use ::sandbox::kubelet::STOPS_AFTER;
use serde_json::{Value, json};

use super::super::scene::{Scene, Told};
use super::super::{nothing, within};
use crate::support::World;

/// Those of pods that leave: `safety::drain::volumes`.
#[test]
fn volumes_of_pods_that_stay_are_not_waited_for() {
    let world = World::control_plane();
    let scene = Scene::new(&world, "ours");
    let attachments = "/apis/storage.k8s.io/v1/volumeattachments";
    let attach = |node: &str, volume: &str| {
        let spec = json!({"attacher": "csi.example.com", "nodeName": node, "source": {"persistentVolumeName": volume}});
        let object = json!({"metadata": {"name": scene.name(volume)}, "spec": spec});
        world.create(attachments, &object);
    };
    let claim = json!({"metadata": {"name": scene.name("claim")}, "spec": {"accessModes": ["ReadWriteOnce"],
        "storageClassName": "none", "volumeName": "stays", "resources": {"requests": {"storage": "1Gi"}}}});
    world.create("/api/v1/namespaces/default/persistentvolumeclaims", &claim);
    let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": scene.name("claim")}});
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"volumes": [volume]}});
    scene.pod("static", &mirror);
    scene.replicas("web", 1, &nothing());
    attach(&scene.node, "stays");
    attach(&scene.spare, "elsewhere");
    scene.drain(&within(60), &Told::default()).unwrap();
}

/// kubectl asks for every pod once a second; we hear of all of them by one watch.
#[test]
fn the_server_is_asked_at_most_half_as_often_as_by_kubectl() {
    let world = World::control_plane();
    let pods: usize =
        std::env::var("SCIURO_DRAIN_PODS").ok().and_then(|pods| pods.parse().ok()).unwrap_or(10);
    let ours = Scene::new(&world, "ours");
    let theirs = Scene::new(&world, "theirs");
    for scene in [&ours, &theirs] {
        scene.replicas("web", pods, &json!({"metadata": {"annotations": {STOPS_AFTER: "5000"}}}));
    }
    let begun = std::time::Instant::now();
    let drained = ours.drain(&within(120), &Told::default()).unwrap();
    let our_wall = begun.elapsed();
    assert_eq!(drained.evicted, pods);
    let begun = std::time::Instant::now();
    let (done, said) = theirs.kubectl(&[]);
    let their_wall = begun.elapsed();
    assert!(done, "{said}");
    let asked = |agent: &str, node: &str, marker: &str| {
        let directory = std::env::var("SCIURO_CLUSTER_DIR").unwrap();
        let log = std::fs::read_to_string(std::path::Path::new(&directory).join("audit.log")).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["stage"] == "ResponseComplete" || line["stage"] == "ResponseStarted")
            .filter(|line| line["userAgent"].as_str().is_some_and(|this| this.starts_with(agent)))
            .filter(|line| {
                let uri = line["requestURI"].as_str().unwrap_or_default();
                uri.contains(node) || uri.contains(marker)
            })
            .map(|line| line["auditID"].as_str().unwrap_or_default().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    let ours_asked = asked("kubectl-sciuro", &ours.node, &ours.name("web"));
    let theirs_asked = asked("kubectl/", &theirs.node, &theirs.name("web"));
    eprintln!(
        "{pods} pods: ours {ours_asked} requests in {our_wall:?}, kubectl {theirs_asked} in {their_wall:?}"
    );
    assert!(ours_asked > pods, "the audit log tells: {ours_asked}");
    assert!(ours_asked * 2 <= theirs_asked, "{ours_asked} requests, kubectl {theirs_asked}");
}
