//! A proxy before the API server that kills a process at one of its changes: before the server sees it, or after.

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use http::request::Parts;
use http::{Method, Response};
use kube::client::Body;
use serde_json::Value;

use super::World;
use super::proxy::{Passes, forward, serve};

/// One change of a run: which of its kind it is tells it from run to run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boundary {
    pub method: String,
    /// Without names: `pods/eviction`, `leases`; for a record on a Node, or its condition, the state:
    /// `nodes Draining`, `nodes/status Draining`.
    pub resource: String,
    pub nth: usize,
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}", self.method, self.resource, self.nth)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The server never sees it.
    Before,
    /// The server has done it, and nobody is told.
    After,
}

/// Passes everything on, and counts what changes something.
pub struct CrashProxy {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    client: kube::Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Vec<Boundary>,
    counts: BTreeMap<(String, String), usize>,
    /// Who holds which Lease, to tell a renewal.
    holders: BTreeMap<String, String>,
    victim: Option<(Boundary, Moment)>,
    /// Has ended before the change at which the process is killed is passed on.
    first: Option<Command>,
    child: Option<Child>,
    /// The process is gone: what it had sent before is lost too.
    killed: bool,
}

impl CrashProxy {
    pub fn start(world: &World) -> Self {
        let shared = Arc::new(Shared { client: world.client(), state: Mutex::default() });
        let url = serve(world, &shared);
        Self { url, shared }
    }

    /// For `--server`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// As [`Self::run`] with a victim; a command runs to its end before that change is passed on.
    pub fn run_after(&self, first: Command, child: Child, victim: (Boundary, Moment)) -> (bool, Option<i32>) {
        self.until_ended(State {
            first: Some(first),
            victim: Some(victim),
            child: Some(child),
            ..State::default()
        })
    }

    /// Lets a process run through here. With a victim it is killed there. Returns whether it was, and its exit code.
    pub fn run(&self, child: Child, victim: Option<(Boundary, Moment)>) -> (bool, Option<i32>) {
        self.until_ended(State { victim, child: Some(child), ..State::default() })
    }

    fn until_ended(&self, state: State) -> (bool, Option<i32>) {
        *self.shared.state.lock().expect("a lock") = state;
        loop {
            let mut state = self.shared.state.lock().expect("a lock");
            let child = state.child.as_mut().expect("a process");
            if let Some(status) = child.try_wait().expect("a status") {
                return (state.killed, status.code());
            }
            drop(state);
            std::thread::sleep(std::time::Duration::from_millis(20)); // a process has no other way to say that it ended
        }
    }

    /// The changes of the last run, in order.
    pub fn seen(&self) -> Vec<Boundary> {
        self.shared.state.lock().expect("a lock").seen.clone()
    }
}

impl Passes for Shared {
    async fn pass(&self, head: Parts, body: Vec<u8>) -> std::io::Result<Response<Body>> {
        let gone = || std::io::Error::other("the process was killed");
        let moment = self.count(&head.method, head.uri.path(), head.uri.query(), &body);
        let first = if moment.is_some() { self.state.lock().expect("a lock").first.take() } else { None };
        if let Some(first) = first {
            let status = tokio::process::Command::from(first).status().await?;
            assert!(status.success(), "{status}");
        }
        if moment == Some(Moment::Before) {
            self.kill();
        }
        if self.state.lock().expect("a lock").killed {
            return Err(gone());
        }
        let response = forward(&self.client, head, body).await?;
        // What is in conflict is sent again: then it is done.
        if moment == Some(Moment::After) && response.status() != http::StatusCode::CONFLICT {
            self.kill();
            return Err(gone());
        }
        Ok(response)
    }
}

impl Shared {
    fn kill(&self) {
        let mut state = self.state.lock().expect("a lock");
        if let Some(child) = &mut state.child {
            child.kill().expect("SIGKILL");
        }
        state.killed = true;
    }

    /// When the process is to be killed, if this is the change at which it is.
    fn count(&self, method: &Method, path: &str, query: Option<&str>, body: &[u8]) -> Option<Moment> {
        let mut resource = resource(path);
        let is_change = ![Method::GET, Method::HEAD].contains(method)
            && !resource.ends_with("reviews")
            && !query.is_some_and(|query| query.contains("dryRun=All"))
            && !String::from_utf8_lossy(body).contains(r#""dryRun":["All"]"#);
        if !is_change {
            return None;
        }
        let mut state = self.state.lock().expect("a lock");
        if resource == "leases" && is_renewal(&mut state.holders, path, body) {
            return None;
        }
        if resource.starts_with("nodes") {
            resource = format!("{resource} {}", state_of(body));
            // How often a Node has to be written until nobody was faster differs from run to run.
            state.counts.remove(&(method.to_string(), resource.clone()));
        }
        let count = state.counts.entry((method.to_string(), resource.clone())).or_default();
        *count += 1;
        let boundary = Boundary { method: method.to_string(), resource, nth: *count };
        if !state.seen.contains(&boundary) {
            state.seen.push(boundary.clone());
        }
        match &state.victim {
            Some((victim, moment)) if *victim == boundary => Some(*moment),
            _ => None,
        }
    }
}

/// Of the record, or the condition, that a patch stores; the last one takes it away.
fn state_of(body: &[u8]) -> String {
    let patch: Value = serde_json::from_slice(body).unwrap_or_default();
    let record = patch["metadata"]["annotations"]["sciuro.dev/remediation"].as_str();
    let record: Value = record.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let condition = &patch["status"]["conditions"][0]["reason"];
    record["state"].as_str().or(condition.as_str()).unwrap_or("none").to_owned()
}

fn is_renewal(holders: &mut BTreeMap<String, String>, path: &str, body: &[u8]) -> bool {
    let lease: Value = serde_json::from_slice(body).unwrap_or_default();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    let name = lease["metadata"]["name"].as_str().or(path.rsplit('/').next()).unwrap_or_default().to_owned();
    if holder.is_empty() {
        holders.remove(&name); // given back: who takes it next is no renewal
        return false;
    }
    holders.insert(name, holder.clone()) == Some(holder)
}

/// `/api/v1/namespaces/x/pods/p/eviction` → `pods/eviction`.
fn resource(path: &str) -> String {
    let mut parts = path.trim_matches('/').split('/');
    let skip = if parts.next() == Some("api") { 1 } else { 2 };
    let mut parts: Vec<&str> = parts.skip(skip).collect();
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    match parts.as_slice() {
        [plural, _, subresource, ..] => format!("{plural}/{subresource}"),
        [plural, ..] => (*plural).to_owned(),
        [] => path.to_owned(),
    }
}
