//! Helper pods, with a test in the kubelet's place.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sciuro::core::helper::Job;
use sciuro::core::remediation::{Attempt, Method, Recall};
use sciuro::remedy::reboot::helper::{DEFAULT_IMAGE, HelperOptions};
use sciuro::remedy::reboot::{self, Issued, Probed, Reboot, RebootError, Target};

use serde_json::{Value, json};
use uuid::Uuid;

use super::Silent;
use super::{OTHER_BOOT, target};
use crate::drain::scene::Told;
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios![
    the_probe_answers_and_goes,
    an_order_is_given_once,
    the_guard_refuses,
    what_is_not_ours_is_left_alone,
    what_a_record_may_not_say,
    an_order_is_taken_back,
    a_node_is_probed_and_rebooted,
    a_signal_that_was_not_sent_is_no_order,
];

const PODS: &str = "/api/v1/namespaces/kube-system/pods";
pub(super) const JSON: &str = "application/json";
pub(super) const BOOT: &str = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11";

pub(super) fn options(namespace: &str) -> HelperOptions {
    HelperOptions::new(namespace, DEFAULT_IMAGE)
}

fn helpers() -> HelperOptions {
    options("kube-system")
}

fn by_pod() -> Reboot {
    Reboot::Pod(helpers())
}

pub(super) fn by_signal(namespace: &str) -> Reboot {
    Reboot::Pod(HelperOptions { by_signal: true, ..options(namespace) })
}

fn find(world: &World, name: &str) -> Option<Value> {
    world.try_api("GET", &format!("{PODS}/{name}"), JSON, &Value::Null).ok()
}

pub(super) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// Runs `tool` while the pods of this name end with this exit code and this message, as a kubelet reports it, and go when
/// they are deleted. Returns the pods that were seen, as they were created.
fn while_pods_end<T: Send>(
    world: &World,
    name: &str,
    code: i32,
    message: &str,
    tool: impl FnOnce() -> T + Send,
) -> (T, Vec<Value>) {
    let mut seen: Vec<Value> = Vec::new();
    let result = beside_a_kubelet(tool, || play_kubelet(world, name, code, message, &mut seen));
    (result, seen)
}

fn beside_a_kubelet<T: Send>(tool: impl FnOnce() -> T + Send, mut kubelet: impl FnMut()) -> T {
    thread::scope(|scope| {
        let tool = scope.spawn(tool);
        while !tool.is_finished() {
            kubelet();
            thread::sleep(Duration::from_millis(50));
        }
        tool.join().unwrap()
    })
}

fn play_kubelet(world: &World, name: &str, code: i32, message: &str, seen: &mut Vec<Value>) {
    let Some(found) = find(world, name) else { return };
    if found["metadata"]["deletionTimestamp"].is_string() {
        let now = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
        let _gone = world.try_api("DELETE", &format!("{PODS}/{name}"), JSON, &now);
    } else if !seen.iter().any(|pod| pod["metadata"]["uid"] == found["metadata"]["uid"]) {
        let now = Timestamp::now().to_string();
        let ended = json!({"exitCode": code, "message": message, "reason": "Completed", "startedAt": now, "finishedAt": now});
        let status = json!({"status": {"phase": if code == 0 { "Succeeded" } else { "Failed" }, "containerStatuses": [{
            "name": found["spec"]["containers"][0]["name"], "image": "x", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": ended}}]}});
        let path = format!("{PODS}/{name}/status");
        world.request("PATCH", &path, "application/strategic-merge-patch+json", &status);
        seen.push(found);
    }
}

fn the_probe_answers_and_goes(world: &World) {
    let (node, id, cluster) = (world.bare_node("w1"), new_id(), world.cluster(None));
    let name = format!("sciuro-probe-{}", &id[..8]);
    let answer = format!("boot_id={BOOT}\nuptime=17\n");
    for _ in 0..2 {
        let (probed, pods) = while_pods_end(world, &name, 0, &answer, || {
            world.block_on(reboot::probe(&by_pod(), &target(&cluster, &node, &id)))
        });
        assert_eq!(probed, Ok(Some(Probed { boot_id: BOOT.into(), uptime: 17 })));
        assert_eq!(pods.len(), 1);
        assert_eq!(pods[0]["spec"]["nodeName"], node.as_str());
        assert!(find(world, &name).is_none(), "it is gone");
    }
    let (probed, _) = while_pods_end(world, &name, 127, "nsenter: not found", || {
        world.block_on(reboot::probe(&by_pod(), &target(&cluster, &node, &id)))
    });
    let why = "the probe on the node failed (exit 127): nsenter: not found";
    assert_eq!(probed, Err(error(why)));
    assert!(find(world, &name).is_none(), "it is gone");
}

fn error(why: &str) -> RebootError {
    RebootError { why: why.into(), hints: Vec::new(), other_boot: false, output: String::new() }
}

fn issue(world: &World, node: &str, id: &str, n: u32) -> Result<Issued, RebootError> {
    let cluster = world.cluster(None);
    world.block_on(reboot::issue(&by_pod(), &target(&cluster, node, id), n, BOOT, Some(137)))
}

fn clean_up(world: &World, node: &str, id: &str) -> Result<(), RebootError> {
    let cluster = world.cluster(None);
    world.block_on(reboot::clean_up(&helpers(), &target(&cluster, node, id)))
}

fn an_order_is_given_once(world: &World) {
    let (node, id) = (world.bare_node("w1"), new_id());
    let name = Job::Reboot(1).name(&id);
    assert_eq!(name, format!("sciuro-reboot-{}-1", &id[..8]));
    let (issued, pods) = while_pods_end(world, &name, 0, "issued\n", || issue(world, &node, &id, 1));
    assert_eq!(issued, Ok(Issued { output: String::new() }));
    let arguments = pods[0]["spec"]["containers"][0]["args"].as_array().unwrap();
    assert_eq!(arguments[1..], [json!(BOOT), json!("137")]);
    let uid = |pod: Option<Value>| pod.map(|pod| pod["metadata"]["uid"].clone());
    let first = uid(find(world, &name));
    assert!(first.is_some(), "it stays, so that whoever resumes finds it");

    assert_eq!(issue(world, &node, &id, 1), Ok(Issued { output: String::new() }), "the answer of the first");
    assert_eq!(uid(find(world, &name)), first, "and no second pod");
    assert_eq!(clean_up(world, &node, &id), Ok(()));
    assert!(find(world, &name).is_none());
    assert_eq!(clean_up(world, &node, &id), Ok(()), "nothing is left to do");
}

fn the_guard_refuses(world: &World) {
    let (node, id) = (world.bare_node("w1"), new_id());
    let answer = |n: u32, code: i32, message: &str| {
        let name = Job::Reboot(n).name(&id);
        while_pods_end(world, &name, code, message, || issue(world, &node, &id, n)).0.unwrap_err()
    };
    let other = answer(1, 10, &format!("other boot {OTHER_BOOT}"));
    assert!(other.other_boot && other.why.contains(OTHER_BOOT), "{other:?}");
    let late = answer(2, 11, "too late 138");
    assert!(!late.other_boot && late.why.contains("too late 138"), "{late:?}");
    assert_eq!(clean_up(world, &node, &id), Ok(()));
}

fn what_is_not_ours_is_left_alone(world: &World) {
    let (node, id) = (world.bare_node("w1"), new_id());
    let other_node = world.bare_node("w2");
    let name = Job::Reboot(1).name(&id);
    let pod = |node: &str, manager: &str, of: &str| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "kube-system",
                "labels": {"app.kubernetes.io/managed-by": manager, "sciuro.dev/remediation": of}},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "x"}]}})
    };
    for (theirs, is_told) in [
        (pod(&node, "Helm", &id), true),
        (pod(&node, "kubectl-sciuro", OTHER_BOOT), true),
        (pod(&other_node, "kubectl-sciuro", &id), false), // nobody looks there
    ] {
        world.create(PODS, &theirs);
        let (told, cluster) = (Told::default(), world.cluster(None));
        let target = Target { tell: &told, ..target(&cluster, &node, &id) };
        assert_eq!(world.block_on(reboot::clean_up(&helpers(), &target)), Ok(()));
        assert_eq!(told.lines().iter().any(|line| line.contains("was not created by us")), is_told);
        assert!(find(world, &name).is_some());
        world.request("DELETE", &format!("{PODS}/{name}"), JSON, &json!({"gracePeriodSeconds": 0}));
    }
}

fn what_a_record_may_not_say(world: &World) {
    let node = world.bare_node("w1");
    let cluster = world.cluster(None);
    let bad = target(&cluster, &node, "../../nodes/w1");
    assert_eq!(world.block_on(reboot::probe(&by_pod(), &bad)), Err(error("the id in the record is no UUID")));
    let id = new_id();
    let target = target(&cluster, &node, &id);
    let issued = world.block_on(reboot::issue(&by_pod(), &target, 1, "$(reboot)", Some(9)));
    assert_eq!(issued, Err(error("the boot id in the record is no UUID")));
    let issued = world.block_on(reboot::issue(&by_pod(), &target, 1, BOOT, None));
    assert_eq!(issued, Err(error("the attempt has no limit of uptime")));
    assert!(find(world, &Job::Reboot(1).name(&id)).is_none());
}

/// An order that nobody has got to yet is gone, and then its time has to be over.
fn an_order_is_taken_back(world: &World) {
    let (node, id, cluster) = (world.bare_node("w1"), new_id(), world.cluster(None));
    let name = Job::Reboot(1).name(&id);
    let begun = Timestamp::now();
    let recalled = |method: Method, intent_at: Timestamp, pre_boot_id: &str| {
        let attempt = Attempt { n: 1, method, intent_at, not_after_uptime: Some(137), outcome: None };
        let seen = world.block_on(cluster.remediated_node(&node)).unwrap().unwrap();
        let (_views, views) = tokio::sync::watch::channel(sciuro::cluster::WatchedNode::Here(Box::new(seen)));
        let target = target(&cluster, &node, &id);
        world.block_on(reboot::recall(&helpers(), &target, &attempt, pre_boot_id, views, &Silent))
    };
    let boot_id = world.get_node(&node)["status"]["nodeInfo"]["bootID"].as_str().unwrap().to_owned();
    let long_ago = begun - jiff::SignedDuration::from_secs(151);
    let (issued, _) = while_pods_end(world, &name, 0, "issued", || issue(world, &node, &id, 1));
    assert!(issued.is_ok());
    let started = Instant::now();
    assert_eq!(recalled(Method::Pod, long_ago, &boot_id), Ok(Recall::Spent));
    assert!(find(world, &name).is_none() && started.elapsed() < Duration::from_secs(100));

    // One that has not started yet ends with its kubelet's word only.
    let labels = json!({"app.kubernetes.io/managed-by": "kubectl-sciuro", "sciuro.dev/remediation": id});
    let waiting = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [{"name": "reboot", "image": "x"}]}});
    world.create(PODS, &waiting);
    let mut seen = vec![find(world, &name).unwrap()];
    let outcome = beside_a_kubelet(
        || recalled(Method::Pod, long_ago, &boot_id),
        || play_kubelet(world, &name, 0, "", &mut seen),
    );
    assert_eq!(outcome, Ok(Recall::Spent));
    assert!(find(world, &name).is_none());

    assert_eq!(recalled(Method::Pod, begun, OTHER_BOOT), Ok(Recall::Rebooted), "the node is in another boot");
    assert_eq!(recalled(Method::Manual, long_ago, &boot_id), Ok(Recall::CannotBe));
}

/// With the kubelet's double in the kubelet's place: it keeps the guard's rule, and its machine reboots.
fn a_node_is_probed_and_rebooted(world: &World) {
    for (node, reboot) in [("w1", by_pod()), ("w2", by_signal("kube-system"))] {
        let (node, id, cluster) = (world.node(node), new_id(), world.cluster(None));
        let boot_id =
            || world.get_node(&node)["status"]["nodeInfo"]["bootID"].as_str().unwrap_or_default().to_owned();
        let before = boot_id();
        let target = target(&cluster, &node, &id);
        let probe = || world.block_on(reboot::probe(&reboot, &target)).unwrap().unwrap();
        let probed = probe();
        assert_eq!(probed.boot_id, before);
        let issue = |n: u32, boot_id: &str, limit: u64| {
            world.block_on(reboot::issue(&reboot, &target, n, boot_id, Some(limit)))
        };
        assert!(issue(1, OTHER_BOOT, probed.uptime + 120).unwrap_err().other_boot);
        assert!(issue(2, &before, 0).unwrap_err().why.contains("too late"));
        assert_eq!(boot_id(), before);
        assert!(issue(3, &before, probed.uptime + 120).is_ok());
        eventually("another boot", || boot_id() != before);
        assert_eq!(
            issue(3, &before, probed.uptime + 120),
            Ok(Issued { output: String::new() }),
            "no second order"
        );
        world.block_on(reboot::clean_up(&helpers(), &target)).unwrap();
    }
}

/// Its first container lets the order pass, and then the second says that it could not be carried out.
fn a_signal_that_was_not_sent_is_no_order(world: &World) {
    let (node, id, cluster) = (world.bare_node("w1"), new_id(), world.cluster(None));
    let name = Job::Reboot(1).name(&id);
    let ended = |code: i32, message: &str| json!({"terminated": {"exitCode": code, "message": message}});
    let container = |name: &str, state: Value| json!([{"name": name, "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
    let mut seen = 0;
    let issued = beside_a_kubelet(
        || {
            let target = target(&cluster, &node, &id);
            world.block_on(reboot::issue(&by_signal("kube-system"), &target, 1, BOOT, Some(137)))
        },
        || {
            let Some(pod) = find(world, &name).filter(|_| seen < 2) else { return };
            for containers in ["initContainers", "containers"] {
                let arguments = pod["spec"][containers][0]["args"].as_array().unwrap();
                assert_eq!(arguments[1..], [json!(BOOT), json!("137")]);
            }
            let status = if seen == 0 {
                json!({"phase": "Pending", "initContainerStatuses": container("guard", ended(0, "issued\n"))})
            } else {
                let why = "systemd was not sent the signal: kill: Operation not permitted\n";
                json!({"phase": "Failed", "containerStatuses": container("reboot", ended(12, why))})
            };
            let path = format!("{PODS}/{name}/status");
            world.request(
                "PATCH",
                &path,
                "application/strategic-merge-patch+json",
                &json!({"status": status}),
            );
            seen += 1;
        },
    );
    let why = "the guard on the machine failed (exit 12): systemd was not sent the signal: kill: Operation not permitted";
    assert_eq!(issued, Err(error(why)));
}
