//! Who can pass a pod off as a helper of ours: a tenant by labels, a kubelet by the mirror of a static pod.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{Fleet, World, scenarios, seconds_ago};
use crate::watch::eventually;

scenarios![
    c1_a_pod_with_our_labels_is_evicted_like_any_other,
    b7_what_a_kubelet_puts_in_our_helpers_place_is_not_believed,
    b7_a_kubelet_cannot_keep_an_abort_from_its_end,
    b7_a_kubelet_that_ends_no_pod_cannot_keep_an_abort_from_its_end,
    b7_a_probe_is_not_answered_by_what_a_kubelet_put_in_its_place,
];

const JSON: &str = "application/json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const HELPERS: &str = "/api/v1/namespaces/kube-system/pods";
const ID: &str = "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11";

fn labels(id: &str) -> Value {
    json!({"app.kubernetes.io/managed-by": "kubectl-sciuro", "sciuro.dev/remediation": id})
}

fn pod(name: &str, node: &str, id: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels(id)}, "spec": {"nodeName": node,
        "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "registry.example/c:1"}]}})
}

fn is_there(world: &World, path: &str) -> bool {
    world
        .try_api("GET", path, JSON, &Value::Null)
        .is_ok_and(|pod| pod["metadata"]["deletionTimestamp"].is_null())
}

/// The mirror of a static pod that says what our helper would say, by the kubelet of the fleet's first node.
fn mirror(fleet: &Fleet<'_>, name: &str, id: &str, says: &str) -> String {
    let (world, node) = (fleet.world, fleet.node.as_str());
    let kubelet = world.kubelet_of(node);
    let uid = world.get_node(node)["metadata"]["uid"].clone();
    let mut mirror = pod(name, node, id);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": true}]);
    world.try_as(&kubelet, "POST", HELPERS, JSON, &mirror).unwrap();
    let path = format!("{HELPERS}/{name}");
    world.leave(path.clone());
    eventually("a mirror pod that runs", || {
        world.request("GET", &path, JSON, &Value::Null)["status"]["phase"] == "Running"
    });
    let state = json!({"terminated": {"exitCode": 0, "message": says}});
    let containers = json!([{"name": "c", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
    let status = json!({"status": {"phase": "Succeeded", "containerStatuses": containers}});
    world.try_as(&kubelet, "PATCH", &format!("{path}/status"), STRATEGIC, &status).unwrap();
    path
}

fn is_told(said: &str, name: &str) {
    let told =
        format!("pod kube-system/{name} has our helper's name but was not created by us; left untouched");
    assert!(said.contains(&told), "{said}");
}

/// In any namespace; and in the helpers' own unless its name follows from its id.
fn c1_a_pod_with_our_labels_is_evicted_like_any_other(world: &World) {
    let fleet = Fleet::new(world);
    let app = format!("/api/v1/namespaces/{}/pods", world.namespace("app"));
    let helpers = world.namespace("helpers");
    let ours = format!("/api/v1/namespaces/{helpers}/pods");
    let probe = format!("sciuro-probe-{}", &ID[..8]);
    world.create(&app, &pod("stays-until-the-reboot", &fleet.node, ID));
    world.create(&app, &pod(&probe, &fleet.node, ID));
    world.create(&ours, &pod("sciuro-probe-ffffffff", &fleet.node, ID));
    world.create(&ours, &pod(&probe, &fleet.node, ID));
    let flags = ["--force", "--helper-namespace", &helpers];
    let plan = fleet.remediate(&[&flags[..], &["--dry-run", "-o", "json"]].concat()).exits(0);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let mut actions: Vec<(String, &Value)> = plan["items"][0]["drain"]["pods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| {
            (
                format!(
                    "{}/{}",
                    world.short(pod["namespace"].as_str().unwrap()),
                    pod["name"].as_str().unwrap()
                ),
                &pod["action"],
            )
        })
        .collect();
    actions.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        (format!("app/{probe}"), &json!("evict")),
        ("app/stays-until-the-reboot".to_owned(), &json!("evict")),
        (format!("helpers/{probe}"), &json!("skip")),
        ("helpers/sciuro-probe-ffffffff".to_owned(), &json!("evict")),
    ];
    assert_eq!(actions, expected);

    fleet.remediate(&flags).exits(0);
    assert!(!is_there(world, &format!("{app}/stays-until-the-reboot")));
    assert!(!is_there(world, &format!("{app}/{probe}")));
}

/// It was there before the order, and says that the machine was told to reboot.
fn b7_what_a_kubelet_puts_in_our_helpers_place_is_not_believed(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let mut running = fleet.begin(&["--force", "--reboot-timeout", "25s"]);
    fleet.until_in("Draining");
    let id = fleet.record()["id"].as_str().unwrap().to_owned();
    let name = format!("sciuro-reboot-{}-1", &id[..8]);
    let forged = mirror(&fleet, &name, &id, "issued\n");
    fleet.free(&namespace);
    let (_, said) = running.ends(0);
    is_told(&said.join("\n"), &name);
    assert_eq!(fleet.orders(), (1, 1), "by a pod of ours");
    assert!(is_there(world, &forged));
    assert_eq!(fleet.helpers(), [name], "ours are gone");
}

/// An order of long ago is recorded, and what the kubelet puts in the place of any helper is left: nothing waits for it,
/// whether it has our labels or not.
fn b7_a_kubelet_cannot_keep_an_abort_from_its_end(world: &World) {
    let fleet = Fleet::new(world);
    fleet.begin(&["--until", "cordon", "--force"]).ends(0);
    let mut record = fleet.record();
    record["state"] = "RebootIntent".into();
    let long_ago = seconds_ago(SignedDuration::from_hours(1));
    record["attempts"] = json!([{"n": 1, "method": "pod", "intentAt": long_ago, "notAfterUptime": u64::MAX}]);
    let record_of = json!({"metadata": {"annotations": {"sciuro.dev/remediation": record.to_string()}}});
    fleet.patch(&fleet.node, &record_of);
    let id = record["id"].as_str().unwrap();
    let in_places =
        [("reboot", "-1", id), ("collect", "-before", id), ("probe", "", ID)].map(|(job, n, label)| {
            let name = format!("sciuro-{job}-{}{n}", &id[..8]);
            let path = mirror(&fleet, &name, label, "issued\n");
            (name, path)
        });
    let run = fleet.remediate(&["--abort"]).exits(0);
    for (name, path) in &in_places {
        is_told(&run.stderr, name);
        assert!(is_there(world, path), "{name}");
    }
    assert!(!fleet.is_cordoned() && fleet.record().is_null());
    assert_eq!(fleet.orders(), (0, 0));
}

/// Our helper was deleted, and its kubelet holds it.
fn b7_a_kubelet_that_ends_no_pod_cannot_keep_an_abort_from_its_end(world: &World) {
    let fleet = Fleet::new(world);
    fleet.begin(&["--until", "cordon", "--force"]).ends(0);
    let id = fleet.record()["id"].as_str().unwrap().to_owned();
    let name = format!("sciuro-probe-{}", &id[..8]);
    let path = format!("{HELPERS}/{name}");
    world.create(HELPERS, &pod(&name, &fleet.node, &id));
    let kubelet = world.kubelet_of(&fleet.node);
    let hold = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        world
            .try_as(&kubelet, "PATCH", &format!("{path}/status"), "application/merge-patch+json", &patch)
            .unwrap();
    };
    hold(json!(["example.com/never"]));
    let run = fleet.remediate(&["--abort"]).exits(0);
    let told = format!(
        "the pod kube-system/{name} was deleted and is still there after 40s: its kubelet does not confirm it"
    );
    assert!(run.stderr.contains(&told), "{}", run.stderr);
    assert!(!fleet.is_cordoned() && fleet.record().is_null());
    hold(Value::Null);
}

fn b7_a_probe_is_not_answered_by_what_a_kubelet_put_in_its_place(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let mut running = fleet.begin(&["--force", "--reboot-timeout", "25s"]);
    fleet.until_in("Draining");
    let id = fleet.record()["id"].as_str().unwrap().to_owned();
    let name = format!("sciuro-probe-{}", &id[..8]);
    // Another boot: were it believed, nothing would be rebooted.
    mirror(&fleet, &name, &id, &format!("boot_id={ID}\nuptime=17\n"));
    fleet.free(&namespace);
    let (_, said) = running.ends(0);
    is_told(&said.join("\n"), &name);
    assert_eq!(fleet.orders(), (1, 1));
}
