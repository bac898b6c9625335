//! Pods on machines.

use std::time::Duration;

use http::Method;
use sandbox::kubelet::STOPS_AFTER;
use sandbox::{Boot, Helpers, Kubelet, KubeletOptions, MachineControl, Machines};
use serde_json::{Value, json};

use crate::{Cluster, JSON, NODES};

const PODS: &str = "/api/v1/namespaces/kube-system/pods";

/// A machine with a name of its own, and the pods that are put on it.
struct Scene {
    cluster: Cluster,
    kubelet: Kubelet,
    node: String,
}

impl Scene {
    async fn all(scenario: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for cluster in Cluster::all(scenario).await {
            let node = cluster.prefix.clone();
            let options = KubeletOptions::names([&node]);
            let kubelet = Kubelet::start(cluster.config.clone(), options).await.unwrap();
            if cluster.name == "real" {
                // The admission of pods wants it; its controller may not have come to it yet.
                let account = "/api/v1/namespaces/kube-system/serviceaccounts/default";
                until("a service account", async || {
                    cluster.call(Method::GET, account, JSON, "").await.0 == 200
                })
                .await;
            }
            all.push(Self { cluster, kubelet, node });
        }
        all
    }

    fn machines(&self) -> Machines {
        self.kubelet.machines()
    }

    /// Creates a pod there; `more` is merged into it.
    async fn pod(&self, suffix: &str, more: &Value) -> String {
        let name = format!("{}-{suffix}", self.node);
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": self.node, "containers": [{"name": "c", "image": "registry.example/c:1"}]},
        });
        merge(&mut pod, more);
        let (code, answer) = self.cluster.post(PODS, &pod).await;
        assert_eq!(code, 201, "{}: {answer}", self.cluster.name);
        format!("{PODS}/{name}")
    }

    /// Waits until the pod is so.
    async fn until(&self, pod: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        for _ in 0..500 {
            seen = self.cluster.call(Method::GET, pod, JSON, "").await.1;
            if so(&seen) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{}: {pod} not in 10 s {what}: {seen:#}", self.cluster.name);
    }

    async fn end(self) {
        self.cluster.delete(&format!("{NODES}/{}", self.node)).await;
        self.kubelet.stop().await;
    }
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            more.iter().for_each(|(key, value)| merge(into.entry(key.clone()).or_insert(Value::Null), value));
        }
        (into, more) => *into = more.clone(),
    }
}

async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not in 10 s: {what}");
}

fn ready(pod: &Value) -> &str {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|one| one["type"] == "Ready").and_then(|one| one["status"].as_str()).unwrap_or_default()
}

fn is_gone(pod: &Value) -> bool {
    pod["reason"] == "NotFound"
}

#[tokio::test]
async fn a_pod_runs_until_it_is_deleted() {
    for scene in Scene::all("lives").await {
        let pod = scene.pod("a", &json!({"metadata": {"annotations": {STOPS_AFTER: "600"}}})).await;
        let running = scene.until(&pod, "ready", |pod| ready(pod) == "True").await;
        assert_eq!(running["status"]["phase"], "Running");
        assert_eq!(running["status"]["containerStatuses"][0]["restartCount"], 0);
        assert_eq!(running["status"]["hostIP"], sandbox::kubelet::internal_ip(&scene.node).to_string());
        assert_eq!(running["spec"]["terminationGracePeriodSeconds"], 30);

        let (code, answer) = scene.cluster.call(Method::DELETE, &pod, JSON, "").await;
        assert_eq!((code, &answer["kind"]), (200, &json!("Pod")), "{}", scene.cluster.name);
        let ending = scene.cluster.get(&pod).await;
        assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30, "{}", scene.cluster.name);
        assert_eq!(ready(&ending), "True", "it still runs");
        scene.until(&pod, "gone", is_gone).await;

        // One that needs longer than its grace, which somebody then shortens.
        let slow = json!({"metadata": {"annotations": {STOPS_AFTER: "60000"}}});
        let pod = scene.pod("b", &slow).await;
        scene.until(&pod, "ready", |pod| ready(pod) == "True").await;
        scene.cluster.delete(&pod).await;
        let short = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 1}).to_string();
        let (code, _) = scene.cluster.call(Method::DELETE, &pod, JSON, short).await;
        assert_eq!(
            (code, scene.cluster.get(&pod).await["metadata"]["deletionGracePeriodSeconds"].as_i64()),
            (200, Some(1))
        );
        scene.until(&pod, "gone", is_gone).await;

        // One that a finalizer holds.
        let pod = scene.pod("c", &json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
        scene.until(&pod, "ready", |pod| ready(pod) == "True").await;
        scene.cluster.delete(&pod).await;
        let held = |pod: &Value| pod["metadata"]["deletionGracePeriodSeconds"] == 0;
        let held = scene.until(&pod, "held by its finalizer only", held).await;
        assert_eq!((ready(&held), &held["status"]["phase"]), ("False", &json!("Succeeded")));
        let free = json!({"metadata": {"finalizers": null}}).to_string();
        scene.cluster.call(Method::PATCH, &pod, crate::MERGE, free).await;
        scene.until(&pod, "gone", is_gone).await;
        scene.end().await;
    }
}

#[tokio::test]
async fn a_mirror_pod_comes_back() {
    for scene in Scene::all("mirror").await {
        scene.machines().run_static(&scene.node, "kube-system", "agent").await.unwrap();
        let pod = format!("{PODS}/agent-{}", scene.node);
        let first = scene.until(&pod, "ready", |pod| ready(pod) == "True").await;
        scene.cluster.delete(&pod).await;
        let uid = &first["metadata"]["uid"];
        scene.until(&pod, "back", |pod| ready(pod) == "True" && pod["metadata"]["uid"] != *uid).await;
        scene.kubelet.stop().await;
        let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}).to_string();
        scene.cluster.call(Method::DELETE, &pod, JSON, now).await;
        scene.cluster.delete(&format!("{NODES}/{}", scene.node)).await;
    }
}

#[tokio::test]
async fn pods_survive_a_reboot_or_fail() {
    for scene in Scene::all("reboots").await {
        let stays = scene.pod("stays", &json!({})).await;
        let fails = scene.pod("fails", &json!({"spec": {"restartPolicy": "Never"}})).await;
        for pod in [&stays, &fails] {
            scene.until(pod, "ready", |pod| ready(pod) == "True").await;
        }
        let node = format!("{NODES}/{}", scene.node);
        let before = scene.cluster.get(&node).await["status"]["nodeInfo"]["bootID"].clone();
        let machines = scene.machines();
        assert_eq!(json!(machines.facts(&scene.node).unwrap().boot_id), before);
        machines.reboot(&scene.node).unwrap();
        let restarted =
            |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"] == 1 && ready(pod) == "True";
        let restarted = scene.until(&stays, "restarted", restarted).await;
        let last = &restarted["status"]["containerStatuses"][0]["lastState"]["terminated"];
        assert_eq!((&last["exitCode"], &last["reason"]), (&json!(255), &json!("Unknown")));
        scene.until(&fails, "failed", |pod| pod["status"]["phase"] == "Failed").await;
        let facts = machines.facts(&scene.node).unwrap();
        let after = scene.cluster.get(&node).await;
        assert_eq!(json!(facts.boot_id), after["status"]["nodeInfo"]["bootID"]);
        assert_ne!(before, after["status"]["nodeInfo"]["bootID"]);
        assert_eq!((facts.reboots, facts.powered), (1, true));
        assert!(facts.uptime < Duration::from_secs(60));

        // A pod that is deleted while the machine is off stays until it is back.
        machines.power_off(&scene.node).unwrap();
        machines.silence(&scene.node).await.unwrap();
        scene.cluster.delete(&stays).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(
            scene.cluster.get(&stays).await["status"]["phase"],
            "Running",
            "nobody is there to end it"
        );
        machines.power_on(&scene.node).await.unwrap();
        scene.until(&stays, "gone", is_gone).await;
        scene.cluster.delete(&fails).await;
        scene.end().await;
    }
}

#[tokio::test]
async fn helper_pods_look_and_reboot_once() {
    for scene in Scene::all("helper").await {
        let (machines, node) = (scene.machines(), scene.node.clone());
        let helper = |action: &str, args: &[String]| {
            json!({"metadata": {"labels": {"sciuro.dev/remediation": "x"}}, "spec": {"restartPolicy": "Never",
                "containers": [{"name": action, "image": "busybox", "command": ["sh", "-c"], "args": args}]}})
        };
        let over = |pod: &Value| {
            ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
        };
        let end = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();

        let pod = scene.pod("probe", &helper("probe", &["script".into()])).await;
        let probe = scene.until(&pod, "over", over).await;
        let facts = machines.facts(&node).unwrap();
        let message = end(&probe)["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("boot_id={}\nuptime=8640", facts.boot_id)), "{message}");

        let uptime = facts.uptime.as_secs();
        let order = |boot_id: &str, not_after: u64| ["script".into(), boot_id.into(), not_after.to_string()];
        let cases = [
            ("other", order("no-such-boot", uptime + 60), 10, "other boot"),
            ("late", order(&facts.boot_id, uptime.saturating_sub(1000)), 11, "too late"),
            ("good", order(&facts.boot_id, uptime + 60), 0, "issued"),
            ("again", order(&facts.boot_id, u64::MAX), 10, "other boot"),
        ];
        for (suffix, args, code, message) in cases {
            let pod = scene.pod(suffix, &helper("reboot", &args)).await;
            let ended = end(&scene.until(&pod, "over", over).await);
            assert_eq!(ended["exitCode"], code, "{suffix}: {ended}");
            assert!(ended["message"].as_str().unwrap().starts_with(message), "{ended}");
            if code == 0 {
                until("rebooted", async || machines.facts(&node).unwrap().boot_id != facts.boot_id).await;
            }
        }
        assert_eq!(machines.facts(&node).unwrap().reboots, 1);

        // What may keep a helper from its work, and then an hour is over.
        machines.helpers(&node, Helpers::NoImage("ErrImageNeverPull".into())).unwrap();
        let facts = machines.facts(&node).unwrap();
        let args = order(&facts.boot_id, facts.uptime.as_secs() + 120);
        let pod = scene.pod("noimage", &helper("reboot", &args)).await;
        let waits = |pod: &Value| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImageNeverPull"
        };
        scene.until(&pod, "waits", waits).await;
        machines.helpers(&node, Helpers::Late(Duration::from_secs(3600))).unwrap();
        assert_eq!(end(&scene.until(&pod, "over", over).await)["exitCode"], 11);
        assert_eq!(machines.facts(&node).unwrap().reboots, 1);

        for suffix in ["probe", "other", "late", "good", "again", "noimage"] {
            scene.cluster.delete(&format!("{PODS}/{node}-{suffix}")).await;
        }
        scene.end().await;
    }
}

#[tokio::test]
async fn machines_are_handled_from_outside() {
    let scene = Scene::all("outside").await.remove(0);
    let (machines, node) = (scene.machines(), scene.node.clone());
    let control = MachineControl::start(&machines);
    let address = sandbox::kubelet::internal_ip(&node).to_string();
    let post = async |path: String| -> Value {
        let answer =
            reqwest::Client::new().post(format!("{}/machines/{path}", control.url())).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
    };
    let facts = async || -> Value {
        let answer = reqwest::get(format!("{}/machines/{address}", control.url())).await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };
    let before = facts().await;
    assert_eq!(
        (&before["name"], &before["reboots"], &before["powered"]),
        (&json!(node), &json!(0), &json!(true))
    );
    assert_eq!(post(format!("{node}/off")).await["powered"], false);
    assert_eq!(post(format!("{node}/on")).await["name"], node);
    until("on", async || facts().await["powered"] == true).await;
    let booted = facts().await;
    assert_ne!(booted["bootID"], before["bootID"]);

    let id = booted["bootID"].as_str().unwrap();
    post(format!("{address}/advance?seconds=3600")).await;
    assert_eq!(post(format!("{address}/order?boot-id=other&not-after=9999")).await["code"], 10);
    assert_eq!(post(format!("{address}/order?boot-id={id}&not-after=120")).await["code"], 11);
    let issued = json!({"code": 0, "said": "issued\n"});
    assert_eq!(post(format!("{address}/order?boot-id={id}&not-after=3720")).await, issued);
    until("rebooted", async || facts().await["reboots"] == 1 && facts().await["powered"] == true).await;
    assert_eq!(post("nobody/reboot".into()).await, Value::Null);
    scene.end().await;
}

#[tokio::test]
async fn machines_come_back_as_they_are_told() {
    for scene in Scene::all("boots").await {
        let (machines, node) = (scene.machines(), scene.node.clone());
        let path = format!("{NODES}/{node}");
        let status = async || {
            let node = scene.cluster.get(&path).await;
            let conditions = node["status"]["conditions"].as_array().unwrap().clone();
            let ready = conditions.iter().find(|one| one["type"] == "Ready").unwrap()["status"].clone();
            (ready, node["status"]["nodeInfo"]["bootID"].clone())
        };
        let (_, before) = status().await;
        let pace = Duration::from_millis(300);
        machines.boots(&node, Boot { not_ready: pace, again: 1, pace, ..Boot::default() }).unwrap();
        machines.reboot(&node).unwrap();
        until("not ready in another boot", async || {
            let (ready, boot) = status().await;
            ready == "False" && boot != before
        })
        .await;
        until("two reboots", async || {
            let facts = machines.facts(&node).unwrap();
            facts.reboots == 2 && facts.powered && status().await == (json!("True"), json!(facts.boot_id))
        })
        .await;

        machines.boots(&node, Boot { never_back: true, ..Boot::default() }).unwrap();
        machines.reboot(&node).unwrap();
        until("off", async || !machines.facts(&node).unwrap().powered).await;
        let (_, last) = status().await;
        machines.power_on(&node).await.unwrap();
        assert_ne!(status().await.1, last);

        machines.annotate(&node, "example.com/forged", Some("x")).await.unwrap();
        assert_eq!(scene.cluster.get(&path).await["metadata"]["annotations"]["example.com/forged"], "x");
        let events = scene.cluster.get("/api/v1/namespaces/default/events").await;
        let told = |event: &&Value| event["reason"] == "Rebooted" && event["involvedObject"]["name"] == node;
        assert_eq!(events["items"].as_array().unwrap().iter().filter(told).count(), 3);
        scene.end().await;
    }
}

/// What the real ones of `tests/machines` were seen to do, too.
#[tokio::test]
async fn a_graceful_shutdown_says_so_and_fails_the_pods() {
    for scene in Scene::all("graceful").await {
        let (machines, node) = (scene.machines(), scene.node.clone());
        let pod = scene.pod("a", &json!({})).await;
        scene.until(&pod, "ready", |pod| ready(pod) == "True").await;
        let shutdown = Duration::from_secs(1);
        machines.boots(&node, Boot { shutdown, never_back: true, ..Boot::default() }).unwrap();
        machines.reboot(&node).unwrap();
        until("off", async || !machines.facts(&node).unwrap().powered).await;
        let seen = scene.cluster.get(&format!("{NODES}/{node}")).await;
        let mut conditions = seen["status"]["conditions"].as_array().unwrap().iter();
        let said = conditions.find(|one| one["type"] == "Ready").unwrap();
        assert_eq!((&said["status"], &said["message"]), (&json!("False"), &json!("node is shutting down")));
        machines.power_on(&node).await.unwrap();
        let failed = scene.until(&pod, "failed", |pod| pod["status"]["phase"] == "Failed").await;
        assert_eq!(failed["status"]["reason"], "Terminated", "{}", scene.cluster.name);
        let seen = scene.cluster.get(&format!("{NODES}/{node}")).await;
        let mut conditions = seen["status"]["conditions"].as_array().unwrap().iter();
        assert_eq!(conditions.find(|one| one["type"] == "Ready").unwrap()["status"], "True");
        scene.cluster.delete(&pod).await;
        scene.end().await;
    }
}

#[tokio::test]
async fn after_a_boot_ready_comes_before_the_lease() {
    for scene in Scene::all("lease").await {
        let (machines, node) = (scene.machines(), scene.node.clone());
        let lease = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}");
        let renewed = async || scene.cluster.get(&lease).await["spec"]["renewTime"].clone();
        let old = renewed().await;
        machines.boots(&node, Boot { lease_after: Duration::from_secs(2), ..Boot::default() }).unwrap();
        let boot_id = machines.facts(&node).unwrap().boot_id;
        machines.reboot(&node).unwrap();
        until("another boot id in the API", async || {
            let seen = scene.cluster.get(&format!("{NODES}/{node}")).await;
            seen["status"]["nodeInfo"]["bootID"] != json!(boot_id)
        })
        .await;
        assert_eq!(renewed().await, old, "{}: not yet", scene.cluster.name);
        until("a renewal", async || renewed().await != old).await;
        scene.end().await;
    }
}
