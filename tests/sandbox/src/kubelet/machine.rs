//! One machine: its registration, its Lease, its status, and its power.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::KubeletOptions;
use super::boot::{Boot, Clock};
use super::object::{self, Health};
use super::pods::Helpers;
use crate::http::lock;
use crate::random::fraction;
use crate::{Error, Result};

/// How long a machine tries to join before that is an error: an API server that has just begun to serve may still lack
/// the namespace of the Leases.
const JOIN: Duration = Duration::from_secs(60);

pub(super) struct Machine {
    name: String,
    client: kube::Client,
    options: Arc<KubeletOptions>,
    /// Held while the machine writes, so that its writes come one after another.
    pub(super) state: Mutex<State>,
    pub(super) power: watch::Sender<Power>,
    pub(super) clock: std::sync::Mutex<Clock>,
    /// How it comes back when it reboots.
    pub(super) boot: std::sync::Mutex<Boot>,
    /// What it does by itself.
    pub(super) tasks: std::sync::Mutex<JoinSet<()>>,
    /// Where that goes on, whoever asked for it.
    pub(super) runtime: Handle,
    /// Its static pods, by name.
    pub(super) manifests: std::sync::Mutex<BTreeMap<String, Value>>,
    /// What its pods have printed, by namespace and name.
    logs: std::sync::Mutex<BTreeMap<(String, String), String>>,
}

/// What its pods need to know of a machine.
#[derive(Clone, Debug)]
pub(super) struct Power {
    pub(super) on: bool,
    /// How often it has come up.
    pub(super) boots: u32,
    /// Its kubelet ends all pods before it goes down.
    pub(super) shuts_down: bool,
    pub(super) helpers: Helpers,
}

pub(super) struct State {
    pub(super) health: Health,
    /// The uid of its Node; `None` before there is one and after it was deleted.
    pub(super) uid: Option<String>,
    lease_version: Option<String>,
    /// Its Lease is not renewed earlier.
    pub(super) lease_from: Instant,
    /// Somebody else was seen to have written another Ready than this machine's.
    contradicted: bool,
    next_heartbeat: Instant,
}

/// What is read of any answer.
#[derive(Deserialize)]
struct Slim {
    metadata: SlimMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimMetadata {
    uid: String,
    resource_version: String,
}

impl Machine {
    pub(super) fn new(name: &str, client: &kube::Client, options: &Arc<KubeletOptions>) -> Self {
        Self {
            name: name.to_owned(),
            client: client.clone(),
            options: Arc::clone(options),
            state: Mutex::new(State {
                health: Health::new(false, Timestamp::now()),
                uid: None,
                lease_version: None,
                lease_from: Instant::now(),
                contradicted: false,
                next_heartbeat: Instant::now(),
            }),
            power: watch::Sender::new(Power { on: true, boots: 0, shuts_down: false, helpers: Helpers::Run }),
            clock: std::sync::Mutex::default(),
            boot: std::sync::Mutex::default(),
            tasks: std::sync::Mutex::default(),
            runtime: Handle::current(),
            manifests: std::sync::Mutex::default(),
            logs: std::sync::Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn options(&self) -> &KubeletOptions {
        &self.options
    }

    pub(super) fn power(&self) -> watch::Receiver<Power> {
        self.power.subscribe()
    }

    pub(super) fn keep_log(&self, namespace: &str, pod: &str, log: String) {
        lock(&self.logs).insert((namespace.to_owned(), pod.to_owned()), log);
    }

    pub(super) fn log(&self, namespace: &str, pod: &str) -> Option<String> {
        lock(&self.logs).get(&(namespace.to_owned(), pod.to_owned())).cloned()
    }

    /// Ends what it does by itself.
    pub(super) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
    }

    /// Registers and becomes Ready.
    pub(super) async fn join(&self) -> Result<()> {
        let deadline = Instant::now() + JOIN;
        loop {
            let mut state = self.state.lock().await;
            let Err(error) = self.register(&mut state).await else { return Ok(()) };
            if Instant::now() > deadline {
                return Err(Error::while_doing(format_args!("node {} cannot register", self.name), &error));
            }
            drop(state);
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Renews and reports until it is aborted. What fails is tried again at the next turn.
    pub(super) async fn run(self: Arc<Self>, period: Duration) {
        sleep(period.mul_f64(fraction())).await;
        loop {
            let mut state = self.state.lock().await;
            if !self.power.borrow().on {
                // Silence.
            } else if state.uid.is_some() {
                if Instant::now() >= state.lease_from {
                    _ = self.renew(&mut state).await;
                }
                _ = self.report(&mut state).await;
            } else if self.options.register_again {
                _ = self.register(&mut state).await;
            }
            drop(state);
            sleep(period.mul_f64(0.98 + 0.04 * fraction())).await; // leases are renewed with 4 % jitter
        }
    }

    pub(super) async fn set_ready(&self, ready: bool) -> Result<()> {
        let mut state = self.state.lock().await;
        if state.health.ready != ready {
            state.health.ready = ready;
            state.health.why = object::NO_RUNTIME;
            state.health.since = self.now();
        }
        if !self.power.borrow().on {
            return Ok(());
        }
        self.write_conditions(&mut state).await.map_err(|error| {
            Error::while_doing(format_args!("node {} cannot write its status", self.name), &error)
        })
    }

    /// What the watch shows of this machine's Node: its uid and its Ready; `None` when it was deleted.
    pub(super) async fn observe(&self, node: Option<(&str, &str)>) {
        let mut state = self.state.lock().await;
        match node {
            Some((uid, ready)) => {
                state.contradicted = ready != if state.health.ready { "True" } else { "False" };
                state.uid = Some(uid.to_owned());
            }
            None => state.uid = None,
        }
    }

    async fn register(&self, state: &mut State) -> kube::Result<()> {
        // A second ago, so that the first patch changes the time of every condition, as it does on a real machine.
        let joined = self.now() - Duration::from_secs(1);
        state.health = Health::new(self.options.quick(), joined);
        let boot_id = lock(&self.clock).boot_id.clone();
        let node = object::node(&self.name, &boot_id, &state.health, &self.options);
        match self.write(Method::POST, "/api/v1/nodes", JSON, &node).await {
            Ok(metadata) if self.options.quick() => {
                state.uid = Some(metadata.uid);
                // Spread, so that not all of them beat at once.
                state.next_heartbeat = Instant::now() + self.options.heartbeat_period.mul_f64(fraction());
                return self.renew(state).await;
            }
            Ok(metadata) => state.uid = Some(metadata.uid),
            // A kubelet that was restarted, or so it seems: the machine still is in the same boot.
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                let node = self.send(Method::GET, &self.path(), &Value::Null).await?;
                if let Some(boot_id) = node["status"]["nodeInfo"]["bootID"].as_str() {
                    boot_id.clone_into(&mut lock(&self.clock).boot_id);
                }
            }
            Err(error) => return Err(error),
        }
        if self.options.owns_images {
            self.patch_status(state, &object::discovery_patch(self.options.images)).await?;
        }
        state.health.ready = true;
        state.health.since = self.now();
        self.write_conditions(state).await?;
        self.renew(state).await
    }

    async fn report(&self, state: &mut State) -> kube::Result<()> {
        if state.contradicted {
            self.write_conditions(state).await
        } else if Instant::now() >= state.next_heartbeat {
            self.patch_status(state, &object::heartbeat_patch(self.now())).await
        } else {
            Ok(())
        }
    }

    pub(super) async fn write_conditions(&self, state: &mut State) -> kube::Result<()> {
        let conditions = state.health.conditions(self.now());
        self.patch_status(state, &object::conditions_patch(&conditions)).await
    }

    /// By its own clock.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now() + self.options.clock_ahead
    }

    fn path(&self) -> String {
        format!("/api/v1/nodes/{}", self.name)
    }

    pub(super) async fn patch_status(&self, state: &mut State, patch: &Value) -> kube::Result<()> {
        let path = format!("{}/status", self.path());
        let metadata = self.write(Method::PATCH, &path, STRATEGIC_MERGE_PATCH, patch).await?;
        state.uid = Some(metadata.uid);
        state.contradicted = false;
        state.next_heartbeat = Instant::now() + self.options.heartbeat_period.mul_f64(0.5 + fraction());
        Ok(())
    }

    /// Renews the Lease as a kubelet does: an update of the version it wrote last.
    pub(super) async fn renew(&self, state: &mut State) -> kube::Result<()> {
        let path = format!("{LEASES}/{}", self.name);
        let uid = state.uid.as_deref().unwrap_or_default();
        let mut lease = object::lease(&self.name, uid, self.now());
        let written = if let Some(version) = state.lease_version.take() {
            lease["metadata"]["resourceVersion"] = version.into();
            self.write(Method::PUT, &path, JSON, &lease).await
        } else {
            self.write(Method::POST, LEASES, JSON, &lease).await
        };
        let written = match written {
            // Somebody else wrote it, or there is one from before: that one is renewed then.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let live = self.request(Method::GET, &path, JSON, Vec::new()).await?;
                lease["metadata"]["resourceVersion"] = live.resource_version.into();
                self.write(Method::PUT, &path, JSON, &lease).await?
            }
            written => written?,
        };
        state.lease_version = Some(written.resource_version);
        Ok(())
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> kube::Result<SlimMetadata> {
        self.request(method, path, kind, body.to_string().into_bytes()).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> kube::Result<SlimMetadata> {
        Ok(self.client.request::<Slim>(request(method, path, kind, body)?).await?.metadata)
    }

    /// Any other request of its kubelet. Patches are strategic.
    pub(super) async fn send(&self, method: Method, path: &str, body: &Value) -> kube::Result<Value> {
        let kind = if method == Method::PATCH { STRATEGIC_MERGE_PATCH } else { JSON };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.client.request(request(method, path, kind, body)?).await
    }
}

fn request(method: Method, path: &str, kind: &str, body: Vec<u8>) -> kube::Result<Request<Vec<u8>>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, kind)
        .body(body)
        .map_err(kube::Error::HttpError)
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const JSON: &str = "application/json";
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
