//! One machine: its registration, its Lease, its status.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::KubeletOptions;
use super::object::{self, Health};
use crate::random::fraction;
use crate::{Error, Result, random};

/// How long a machine tries to join before that is an error: an API server that has just begun to serve may still lack
/// the namespace of the Leases.
const JOIN: Duration = Duration::from_secs(60);

pub(super) struct Machine {
    name: String,
    client: kube::Client,
    options: Arc<KubeletOptions>,
    /// Held while the machine writes, so that its writes come one after another.
    state: Mutex<State>,
}

struct State {
    health: Health,
    /// The uid of its Node; `None` before there is one and after it was deleted.
    uid: Option<String>,
    lease_version: Option<String>,
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
                contradicted: false,
                next_heartbeat: Instant::now(),
            }),
        }
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
            if state.uid.is_some() {
                _ = self.renew(&mut state).await;
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
            state.health.since = Timestamp::now();
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
        let joined = Timestamp::now() - Duration::from_secs(1);
        state.health = Health::new(self.options.quick(), joined);
        let node = object::node(&self.name, &random::uuid(), &state.health, &self.options);
        match self.write(Method::POST, "/api/v1/nodes", JSON, &node).await {
            Ok(metadata) if self.options.quick() => {
                state.uid = Some(metadata.uid);
                // Spread, so that not all of them beat at once.
                state.next_heartbeat = Instant::now() + self.options.heartbeat_period.mul_f64(fraction());
                return self.renew(state).await;
            }
            Ok(metadata) => state.uid = Some(metadata.uid),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
            Err(error) => return Err(error),
        }
        if self.options.owns_images {
            self.patch_status(state, &object::discovery_patch(self.options.images)).await?;
        }
        state.health.ready = true;
        state.health.since = Timestamp::now();
        self.write_conditions(state).await?;
        self.renew(state).await
    }

    async fn report(&self, state: &mut State) -> kube::Result<()> {
        if state.contradicted {
            self.write_conditions(state).await
        } else if Instant::now() >= state.next_heartbeat {
            self.patch_status(state, &object::heartbeat_patch(Timestamp::now())).await
        } else {
            Ok(())
        }
    }

    async fn write_conditions(&self, state: &mut State) -> kube::Result<()> {
        let conditions = state.health.conditions(Timestamp::now());
        self.patch_status(state, &object::conditions_patch(&conditions)).await
    }

    async fn patch_status(&self, state: &mut State, patch: &Value) -> kube::Result<()> {
        let path = format!("/api/v1/nodes/{}/status", self.name);
        let metadata = self.write(Method::PATCH, &path, STRATEGIC_MERGE_PATCH, patch).await?;
        state.uid = Some(metadata.uid);
        state.contradicted = false;
        state.next_heartbeat = Instant::now() + self.options.heartbeat_period.mul_f64(0.5 + fraction());
        Ok(())
    }

    /// Renews the Lease as a kubelet does: an update of the version it wrote last.
    async fn renew(&self, state: &mut State) -> kube::Result<()> {
        let path = format!("{LEASES}/{}", self.name);
        let uid = state.uid.as_deref().unwrap_or_default();
        let mut lease = object::lease(&self.name, uid, Timestamp::now());
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
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, kind)
            .body(body)
            .map_err(kube::Error::HttpError)?;
        Ok(self.client.request::<Slim>(request).await?.metadata)
    }
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const JSON: &str = "application/json";
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
