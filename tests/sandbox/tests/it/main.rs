//! The doubles, and wherever there is something real beside them, the same scenario there: with `SCIURO_CLUSTER_DIR`
//! and `ALERTMANAGER_URL` set, as `tests/cluster/up` prints them, every scenario that takes a [`Cluster`] also runs on
//! the real control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::too_many_lines, reason = "tables are long")]

mod alertmanager;
mod evictions;
mod faults;
mod kubelet;
mod objects;
mod patches;
mod pods;
mod watches;
mod webhooks;

use std::path::PathBuf;

use http::{Method, Request};
use kube::client::Body;
use sandbox::{ApiServer, Kubelet, Webhook};
use serde_json::{Value, json};

/// An API server that a scenario runs on.
pub struct Cluster {
    pub name: &'static str,
    pub config: kube::Config,
    client: kube::Client,
    /// Nothing else is named like this.
    pub prefix: String,
    double: Option<ApiServer>,
}

impl Cluster {
    /// The double, and the real one if there is one.
    pub async fn all(scenario: &str) -> Vec<Self> {
        let double = ApiServer::start().await;
        let mut all = vec![Self::new("sandbox", scenario, double.config(), Some(double))];
        if let Some(dir) = std::env::var_os("SCIURO_CLUSTER_DIR") {
            let config = Kubelet::config(&PathBuf::from(dir).join("kubeconfig")).await.unwrap();
            all.push(Self::new("real", scenario, config, None));
        }
        all
    }

    fn new(name: &'static str, scenario: &str, config: kube::Config, double: Option<ApiServer>) -> Self {
        _ = rustls::crypto::ring::default_provider().install_default();
        let mut raw = config.clone();
        raw.default_retry = false;
        let prefix = format!("{scenario}-{}", std::process::id());
        Self { name, config, client: kube::Client::try_from(raw).unwrap(), prefix, double }
    }

    /// One request; what comes back may be an error.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: impl Into<Vec<u8>>,
    ) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let response = self.client.send(request.body(Body::from(body.into())).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect_bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call(Method::GET, path, JSON, "").await;
        assert_eq!(status, 200, "{}: GET {path}: {value}", self.name);
        value
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::POST, path, JSON, body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::PUT, path, JSON, body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> u16 {
        self.call(Method::DELETE, path, JSON, "").await.0
    }

    pub async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::PATCH, path, STRATEGIC, body.to_string()).await
    }

    /// Has this webhook asked about these operations and resources where the CEL expression holds; returns the path of its
    /// configuration.
    pub async fn asks(&self, webhook: &Webhook, rules: &[(&str, &str)], scope: &str) -> String {
        let configurations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
        if let Some(double) = &self.double {
            double.asks(webhook, rules);
        } else {
            let configuration = webhook.configuration(&self.prefix, rules, scope);
            let (code, answer) = self.post(configurations, &configuration).await;
            assert_eq!(code, 201, "{answer}");
        }
        format!("{configurations}/{}", self.prefix)
    }

    /// Creates a node; returns its path.
    pub async fn node(&self, suffix: &str, status: &Value) -> String {
        let name = format!("{}-{suffix}", self.prefix);
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "status": status,
            "metadata": {"name": name, "labels": {"scenario": self.prefix, "suffix": suffix}},
        });
        let (code, answer) = self.post(NODES, &node).await;
        assert_eq!(code, 201, "{}: {answer}", self.name);
        format!("{NODES}/{name}")
    }
}

pub const NODES: &str = "/api/v1/nodes";
pub const JSON: &str = "application/json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const MERGE: &str = "application/merge-patch+json";

/// A full condition. Types of tests begin with T, so that what controllers add is told apart.
pub fn condition(kind: &str, status: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "Test", "message": "m",
        "lastHeartbeatTime": "2020-03-18T13:17:58Z", "lastTransitionTime": "2020-03-18T12:33:45Z",
    })
}

/// `T1=True T2=False`, in the order in which they are there.
pub fn conditions(node: &Value) -> String {
    let all = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let own = all.iter().filter(|one| one["type"].as_str().unwrap().starts_with('T'));
    let own: Vec<String> = own
        .map(|one| format!("{}={}", one["type"].as_str().unwrap(), one["status"].as_str().unwrap()))
        .collect();
    own.join(" ")
}
