//! Volumes are waited for, also by an account that may not read each PVC.

use std::time::Duration;

use sciuro::core::drain::Policy;
use sciuro::remedy::drain::DrainOptions;
use serde_json::{Value, json};

use crate::drain::scene::{Scene, Told, until};
use crate::support::{World, scenarios};

const ATTACHMENTS: &str = "/apis/storage.k8s.io/v1/volumeattachments";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

scenarios![
    d9_a_claim_that_is_gone_switches_nothing_else_off,
    f9_d9_a_permission_that_is_missing_is_known_before_and_refuses_nothing,
];

fn f9_d9_a_permission_that_is_missing_is_known_before_and_refuses_nothing(world: &World) {
    let node = world.nodes(&["w1", "w2"]).swap_remove(0);
    let user = world.remediator();
    let plan = || {
        let flags = ["--dry-run", "--max-unavailable=100%", "--reboot-method=manual", "--as", &user];
        world.run(&[&["remediate", &node][..], &flags].concat()).exits(0).stdout
    };
    let check = || world.run(&["check", "--for=remediate", "--as", &user]).stdout;
    assert!(
        !plan().contains("persistentvolumeclaims")
            && check().contains("may get persistentvolumeclaims: remediate\n")
    );
    world.takes_away(&user, "persistentvolumeclaims", "get");
    let told = plan();
    assert!(
        told.contains("Warning: you may not get persistentvolumeclaims; the run does without\n"),
        "{told}"
    );
    let told = check();
    assert!(told.contains("may get persistentvolumeclaims: not granted; needed by remediate\n"), "{told}");
}

/// A static pod, which stays, with a volume of this claim.
fn stays(scene: &Scene<'_>, app: &str) {
    let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": scene.name(app)}});
    scene.pod(
        app,
        &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"volumes": [volume]}}),
    );
}

/// The volume of this claim, attached to the node.
fn claim(scene: &Scene<'_>, app: &str) {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "volumeName": scene.name(app),
        "resources": {"requests": {"storage": "1Gi"}}});
    scene.world.create(CLAIMS, &json!({"metadata": {"name": scene.name(app)}, "spec": spec}));
    attach(scene, app);
}

fn attach(scene: &Scene<'_>, app: &str) {
    let spec = json!({"attacher": "csi.example.com", "nodeName": scene.node,
        "source": {"persistentVolumeName": scene.name(app)}});
    scene.world.create(ATTACHMENTS, &json!({"metadata": {"name": scene.name(app)}, "spec": spec}));
}

/// Drains the node: the volume `goes` is awaited, until somebody detaches it. Returns what was told.
fn drains_once_it_is_detached(scene: &Scene<'_>) -> Told {
    let policy = Policy { force: true, ..Policy::default() };
    let options = DrainOptions { policy, timeout: Some(Duration::from_secs(60)), ..DrainOptions::default() };
    let told = Told::default();
    std::thread::scope(|threads| {
        let drained = threads.spawn(|| scene.drain(&options, &told));
        let awaited = format!("waiting for volumes to be detached: {}", scene.name("goes"));
        until("a drain that waits for the volume", || {
            assert!(!drained.is_finished(), "it does not wait: {:#?}", told.lines());
            told.lines().iter().any(|line| line.contains(&awaited))
        });
        let path = format!("{ATTACHMENTS}/{}", scene.name("goes"));
        scene.world.request("DELETE", &path, "application/json", &Value::Null);
        drained.join().unwrap().unwrap();
    });
    told
}

fn d9_a_claim_that_is_gone_switches_nothing_else_off(world: &World) {
    let scene = Scene::new(world, "ours");
    stays(&scene, "gone"); // there is no such claim
    stays(&scene, "kept");
    claim(&scene, "kept");
    scene.pod("leaves", &json!({}));
    attach(&scene, "goes");
    let told = drains_once_it_is_detached(&scene);
    told.says(&format!("Warning: cannot read PVC default/{}: ", scene.name("gone")));
}

/// Its volume cannot be told from those of pods that left: as many may stay attached.
#[test]
fn sandbox_d9_a_claim_that_cannot_be_read_switches_nothing_else_off() {
    for code in [403, 500] {
        let world = World::sandbox();
        let scene = Scene::new(&world, "ours");
        stays(&scene, "unread");
        claim(&scene, "unread");
        stays(&scene, "kept");
        claim(&scene, "kept");
        scene.pod("leaves", &json!({}));
        attach(&scene, "goes");
        let path = format!("{CLAIMS}/{}", scene.name("unread"));
        world.api().faults().on("GET", &path).status(code);
        let told = drains_once_it_is_detached(&scene);
        told.says(&format!("Warning: cannot read PVC default/{}: ", scene.name("unread")));
    }
}
