//! Evictions, in the answers that a drain has to tell apart.

use std::time::Duration;

use http::Method;
use sandbox::{Kubelet, KubeletOptions};
use serde_json::{Value, json};

use crate::{Cluster, JSON, MERGE, NODES};

const NAMESPACES: &str = "/api/v1/namespaces";

/// A namespace of its own and two machines.
struct Scene {
    cluster: Cluster,
    kubelet: Kubelet,
    nodes: [String; 2],
    namespace: String,
}

impl Scene {
    async fn all(scenario: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for cluster in Cluster::all(scenario).await {
            let nodes = ["a", "b"].map(|suffix| format!("{}-{suffix}", cluster.prefix));
            let kubelet =
                Kubelet::start(cluster.config.clone(), KubeletOptions::names(nodes.clone())).await.unwrap();
            for node in &nodes {
                let label = json!({"metadata": {"labels": {"scene": cluster.prefix}}});
                assert_eq!(cluster.patch(&format!("{NODES}/{node}"), &label).await.0, 200);
            }
            let namespace = cluster.prefix.clone();
            cluster
                .post(
                    NAMESPACES,
                    &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
                )
                .await;
            if cluster.name == "real" {
                let account = format!("{NAMESPACES}/{namespace}/serviceaccounts/default");
                until("a service account", async || {
                    cluster.call(Method::GET, &account, JSON, "").await.0 == 200
                })
                .await;
            }
            all.push(Self { cluster, kubelet, nodes, namespace });
        }
        all
    }

    fn pods(&self) -> String {
        format!("{NAMESPACES}/{}/pods", self.namespace)
    }

    fn spec(&self) -> Value {
        json!({"nodeSelector": {"scene": self.cluster.prefix}, "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "c", "image": "registry.example/c:1"}]})
    }

    async fn deployment(&self, name: &str, replicas: u32) {
        let labels = json!({"app": name});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": self.spec()}},
        });
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", self.namespace);
        let (code, answer) = self.cluster.post(&path, &deployment).await;
        assert_eq!(code, 201, "{}: {answer}", self.cluster.name);
    }

    async fn budget(&self, name: &str, spec: &Value) -> String {
        let path = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", self.namespace);
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
            "spec": spec});
        let (code, answer) = self.cluster.post(&path, &budget).await;
        assert_eq!(code, 201, "{}: {answer}", self.cluster.name);
        format!("{path}/{name}")
    }

    /// The Ready pods of an app that do not end.
    async fn ready(&self, app: &str) -> Vec<Value> {
        let list = self.cluster.get(&format!("{}?labelSelector=app%3D{app}", self.pods())).await;
        let mut pods = list["items"].as_array().unwrap().clone();
        pods.retain(|pod| {
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
        });
        pods
    }

    async fn evict(&self, pod: &str, options: &Value) -> (u16, Value) {
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.namespace}, "deleteOptions": options});
        self.cluster.post(&format!("{}/{pod}/eviction", self.pods()), &body).await
    }

    async fn end(self) {
        self.cluster.delete(&format!("{NAMESPACES}/{}", self.namespace)).await;
        let pods = self.pods();
        until("no pods", async || {
            self.cluster.call(Method::GET, &pods, JSON, "").await.1["items"]
                .as_array()
                .is_none_or(Vec::is_empty)
        })
        .await;
        for node in &self.nodes {
            self.cluster.delete(&format!("{NODES}/{node}")).await;
        }
        self.kubelet.stop().await;
    }
}

async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..750 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not in 15 s: {what}");
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

#[tokio::test]
async fn a_budget_frees_when_pods_have_come_back_elsewhere() {
    for scene in Scene::all("budget").await {
        let server = scene.cluster.name;
        scene.deployment("web", 2).await;
        let selector = json!({"matchLabels": {"app": "web"}});
        let budget = scene.budget("web", &json!({"maxUnavailable": 1, "selector": selector})).await;
        let allowed = async |wanted: i64| {
            let status = scene.cluster.get(&budget).await["status"].clone();
            status["disruptionsAllowed"] == wanted && status["observedGeneration"] == 1
        };
        until("one may go", async || allowed(1).await).await;
        let status = scene.cluster.get(&budget).await["status"].clone();
        let numbers =
            ["currentHealthy", "desiredHealthy", "expectedPods"].map(|field| status[field].as_i64().unwrap());
        assert_eq!(numbers, [2, 1, 2], "{server}: {status}");
        assert_eq!(status["conditions"][0]["reason"], "SufficientPods", "{server}");

        let pods = scene.ready("web").await;
        let hosts: std::collections::BTreeSet<_> =
            pods.iter().map(|pod| pod["spec"]["nodeName"].to_string()).collect();
        assert_eq!(hosts.len(), 2, "{server}: one on each machine");
        let (first, second) = (name(&pods[0]).to_owned(), name(&pods[1]).to_owned());

        let (code, answer) = scene.evict(&first, &json!({"dryRun": ["All"]})).await;
        assert_eq!((code, &answer["status"]), (201, &json!("Success")), "{server}: {answer}");
        assert!(allowed(1).await, "{server}: a dry run changes nothing");
        let (code, answer) = scene.evict(&first, &json!({"preconditions": {"uid": "other"}})).await;
        let uid = pods[0]["metadata"]["uid"].as_str().unwrap();
        assert_eq!((code, &answer["reason"]), (409, &json!("Conflict")), "{server}: {answer}");
        assert_eq!(
            answer["message"],
            format!(
                "Operation cannot be fulfilled on Pod \"{first}\": the UID in the precondition (other) does not match \
                the UID in record ({uid}). The object might have been deleted and then recreated"
            )
        );
        // It was counted before the pod was looked at, and that lasts for two minutes, or until the pod ends.
        let counted =
            async || scene.cluster.get(&budget).await["status"]["disruptedPods"][&first].is_string();
        until("counted", async || counted().await && allowed(0).await).await;
        assert_eq!(scene.evict(&first, &json!({"preconditions": {"uid": uid}})).await.0, 429, "{server}");

        // Nothing comes back while no machine takes it.
        for node in &scene.nodes {
            let cordon = json!({"spec": {"unschedulable": true}});
            assert_eq!(scene.cluster.patch(&format!("{NODES}/{node}"), &cordon).await.0, 200);
        }
        scene.cluster.delete(&format!("{}/{first}", scene.pods())).await;
        until("it is not counted any more", async || !counted().await && allowed(0).await).await;
        for options in [json!({"dryRun": ["All"]}), json!({})] {
            let (code, answer) = scene.evict(&second, &options).await;
            assert_eq!(code, 429, "{server}: {answer}");
            let expected = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "TooManyRequests",
                "message": "Cannot evict pod as it would violate the pod's disruption budget.", "code": 429,
                "details": {"causes": [{"reason": "DisruptionBudget",
                    "message": "The disruption budget web needs 1 healthy pods and has 1 currently"}]},
            });
            assert_eq!(answer, expected, "{server}");
        }
        let uncordon = json!({"spec": {"unschedulable": null}});
        assert_eq!(scene.cluster.patch(&format!("{NODES}/{}", scene.nodes[1]), &uncordon).await.0, 200);
        until("two are ready again", async || scene.ready("web").await.len() == 2 && allowed(1).await).await;
        let (code, answer) = scene.evict(&second, &json!({})).await;
        assert_eq!((code, &answer["code"]), (201, &json!(201)), "{server}: {answer}");
        until("it is gone", async || {
            scene.cluster.call(Method::GET, &format!("{}/{second}", scene.pods()), JSON, "").await.0 == 404
        })
        .await;
        assert_eq!(scene.evict(&second, &json!({})).await.0, 404, "{server}");
        scene.end().await;
    }
}

#[tokio::test]
async fn what_is_wrongly_set_up_and_what_no_budget_holds() {
    for scene in Scene::all("evict").await {
        let server = scene.cluster.name;
        let mut spec = scene.spec();
        spec["nodeName"] = scene.nodes[0].clone().into();
        let pod = async |name: &str, metadata: Value| {
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
            pod["metadata"]["name"] = name.into();
            let (code, answer) = scene.cluster.post(&scene.pods(), &pod).await;
            assert_eq!(code, 201, "{server}: {answer}");
        };
        pod("twice", json!({"labels": {"app": "twice", "one": "x", "two": "y"}})).await;
        pod("held", json!({"labels": {"app": "held"}, "finalizers": ["example.com/hold"]})).await;
        pod("sick", json!({"labels": {"app": "sick"}, "annotations": {"sandbox/never-ready": "true"}})).await;
        scene.budget("one", &json!({"minAvailable": 1, "selector": {"matchLabels": {"one": "x"}}})).await;
        let expression = json!([{"key": "two", "operator": "In", "values": ["y"]}]);
        scene
            .budget("two", &json!({"maxUnavailable": 1, "selector": {"matchExpressions": expression}}))
            .await;
        scene
            .budget(
                "sick",
                &json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "sick"}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow"}),
            )
            .await;
        until("ready", async || {
            scene.ready("twice").await.len() == 1 && scene.ready("held").await.len() == 1
        })
        .await;
        let sick = format!("{}/sick", scene.pods());
        until("it runs", async || scene.cluster.get(&sick).await["status"]["phase"] == "Running").await;

        let (code, answer) = scene.evict("twice", &json!({})).await;
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        assert_eq!((code, &answer["message"]), (500, &json!(why)), "{server}: {answer}");
        assert_eq!((&answer["reason"], &answer["code"]), (&Value::Null, &json!(500)), "{server}");

        assert_eq!(scene.evict("sick", &json!({})).await.0, 201, "{server}");
        until("it is gone", async || scene.cluster.call(Method::GET, &sick, JSON, "").await.0 == 404).await;

        let (code, _) = scene.evict("held", &json!({"gracePeriodSeconds": 1})).await;
        assert_eq!(code, 201, "{server}");
        let held = scene.cluster.get(&format!("{}/held", scene.pods())).await;
        let conditions = held["status"]["conditions"].as_array().unwrap();
        let target = conditions.iter().find(|one| one["type"] == "DisruptionTarget").unwrap();
        assert_eq!(target["reason"], "EvictionByEvictionAPI", "{server}");

        // A namespace that ends: its pods end by themselves.
        scene.cluster.delete(&format!("{NAMESPACES}/{}", scene.namespace)).await;
        until("it ends", async || {
            let namespace = scene.cluster.get(&format!("{NAMESPACES}/{}", scene.namespace)).await;
            namespace["status"]["phase"] == "Terminating"
        })
        .await;
        let (code, answer) = scene.evict("held", &json!({})).await;
        let expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": format!("pods \"held\" is forbidden: unable to create new content in namespace {0} because it is \
                being terminated", scene.namespace),
            "details": {"name": "held", "kind": "pods", "causes": [{"reason": "NamespaceTerminating",
                "message": format!("namespace {} is being terminated", scene.namespace), "field": "metadata.namespace"}]},
        });
        assert_eq!((code, answer), (403, expected), "{server}");
        let free = json!({"metadata": {"finalizers": null}}).to_string();
        scene.cluster.call(Method::PATCH, &format!("{}/held", scene.pods()), MERGE, free).await;
        let namespace = format!("{NAMESPACES}/{}", scene.namespace);
        until("it is gone", async || scene.cluster.call(Method::GET, &namespace, JSON, "").await.0 == 404)
            .await;
        scene.end().await;
    }
}
