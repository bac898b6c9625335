//! Nodes, alerts and the binary between them.

mod alerts;
mod nodes;
mod permissions;
mod policies;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use http::Request;
use jiff::{SignedDuration, Timestamp};
use sandbox::{Alertmanager, ApiServer, Kubelet};
use sciuro::cli::KubernetesArgs;
use sciuro::cluster::Cluster;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::binary::{self, Run};
use super::forward::KubeletServers;
pub use policies::Refuses;

/// The receiver of the article's route.
const RECEIVER: &str = "node-condition-k8s";

/// Everything that a scenario touches. Its nodes, alerts, condition prefix and Lease have names of their own, so that
/// scenarios on one real control plane do not meet.
pub struct World {
    id: String,
    /// What its names begin with.
    names: String,
    directory: TempDir,
    kubeconfig: PathBuf,
    config: kube::Config,
    client: kube::Client,
    alertmanager: String,
    /// The doubles, if these are the servers.
    pub doubles: Option<(ApiServer, Alertmanager)>,
    kubelets: Mutex<Vec<Kubelet>>,
    pub(super) kubelet_servers: KubeletServers,
    /// Paths of objects that go with this world.
    leavings: Mutex<BTreeSet<String>>,
    runtime: Runtime,
}

impl World {
    pub fn sandbox() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let api = ApiServer::start_blocking();
        let alertmanager = Alertmanager::start_blocking();
        let kubeconfig = directory.path().join("kubeconfig");
        api.write_kubeconfig(&kubeconfig).expect("a kubeconfig");
        let url = alertmanager.url();
        Self::new(directory, kubeconfig, url, Some((api, alertmanager)))
    }

    pub fn control_plane() -> Self {
        // `make check` knows them by their name. A thread that a test started has none.
        let test = std::thread::current();
        if let Some(test) = test.name().filter(|name| name.contains("::")) {
            assert!(test.contains("control_plane::"), "{test} belongs into a module control_plane");
        }
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set: this test needs the real control plane, which `make test` starts")
            })
        };
        let kubeconfig = Path::new(&variable("SCIURO_CLUSTER_DIR")).join("kubeconfig");
        let directory = tempfile::tempdir().expect("a directory");
        Self::new(directory, kubeconfig, variable("ALERTMANAGER_URL"), None)
    }

    /// On another control plane, without an Alertmanager.
    pub fn on(kubeconfig: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::new(directory, kubeconfig.to_owned(), "http://alertmanager.invalid".to_owned(), None)
    }

    /// Alone on its control plane: its names are the short ones.
    #[must_use]
    pub fn with_plain_names(mut self) -> Self {
        self.names.clear();
        self
    }

    /// Whose alerts come from here.
    #[must_use]
    pub fn with_alertmanager(mut self, url: String) -> Self {
        self.alertmanager = url;
        self
    }

    fn new(
        directory: TempDir,
        kubeconfig: PathBuf,
        alertmanager: String,
        doubles: Option<(ApiServer, Alertmanager)>,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let id = format!("t{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let runtime = Runtime::new().expect("a runtime");
        let config = runtime.block_on(Kubelet::config(&kubeconfig)).expect("a kubeconfig");
        let client = runtime.block_on(async { kube::Client::try_from(config.clone()) }).expect("a client");
        Self {
            names: format!("{id}-"),
            id,
            directory,
            config,
            client,
            alertmanager,
            doubles,
            kubelets: Mutex::default(),
            kubelet_servers: KubeletServers::of(&kubeconfig),
            kubeconfig,
            leavings: Mutex::default(),
            runtime,
        }
    }

    /// The doubles of a world on the sandbox.
    pub fn api(&self) -> &ApiServer {
        &self.doubles.as_ref().expect("a sandbox").0
    }

    pub fn alertmanager(&self) -> &Alertmanager {
        &self.doubles.as_ref().expect("a sandbox").1
    }

    pub fn alertmanager_url(&self) -> &str {
        &self.alertmanager
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A connection to the API server as the binary makes it, at another URL if one is given.
    pub fn cluster(&self, url: Option<&str>) -> Arc<Cluster> {
        let args = KubernetesArgs {
            kubeconfig: Some(self.kubeconfig.clone()),
            server: url.map(str::to_owned),
            request_timeout: Some(SignedDuration::from_secs(30)),
            ..KubernetesArgs::default()
        };
        Arc::new(self.block_on(Cluster::connect(&args, |_| {})).expect("a connection"))
    }

    pub fn server_url(&self) -> String {
        self.config.cluster_url.to_string()
    }

    pub fn config(&self) -> kube::Config {
        self.config.clone()
    }

    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// For what a test lets run beside itself.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// A file in a directory of this world's own.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// The label `test` of this world's alerts.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// This world's name for a node, a Lease and so on: the same short name never means the same thing twice.
    pub fn name(&self, short: &str) -> String {
        format!("{}{short}", self.names)
    }

    /// This world's prefix of condition types.
    pub fn prefix(&self) -> String {
        format!("{}_", self.id)
    }

    pub fn condition_type(&self, alertname: &str) -> String {
        format!("{}{alertname}", self.prefix())
    }

    /// Creates an object that goes with this world.
    pub fn create(&self, collection: &str, object: &Value) {
        let created = self.request("POST", collection, "application/json", object);
        let name = created["metadata"]["name"].as_str().expect("a name");
        self.leave(format!("{collection}/{name}"));
    }

    /// Deletes this when the world ends.
    pub fn leave(&self, path: String) {
        self.leavings.lock().expect("a lock").insert(path);
    }

    /// A request to the API server, by somebody who is not the tool.
    pub fn try_api(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        self.try_as(&self.client, method, path, content_type, body)
    }

    /// A client of another account.
    pub fn client_of(&self, kubeconfig: &Path) -> kube::Client {
        let config = self.block_on(Kubelet::config(kubeconfig)).expect("a kubeconfig");
        self.block_on(async { kube::Client::try_from(config) }).expect("a client")
    }

    /// What a node's kubelet may do: its user, and what admits it (`NodeRestriction`). The double has neither.
    pub fn kubelet_of(&self, node: &str) -> kube::Client {
        if self.doubles.is_some() {
            return self.client();
        }
        self.client_as(&format!("system:node:{node}"), &["system:nodes"])
    }

    /// What the administrator does in the name of this user.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> kube::Client {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = Some(groups.iter().map(|&group| group.to_owned()).collect());
        self.block_on(async { kube::Client::try_from(config) }).expect("a client")
    }

    /// A request to the API server by another account.
    pub fn try_as(
        &self,
        client: &kube::Client,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).expect("JSON") };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(body)
            .expect("a request");
        self.block_on(client.request(request))
    }

    #[track_caller]
    pub fn request(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Value {
        self.try_api(method, path, content_type, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The binary with this world's kubeconfig and nothing else.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary::command(arguments);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.directory.path()).env("USER", "tester");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        self.tidy(binary::run(&mut self.command(arguments)))
    }

    /// The same, with more of an environment.
    pub fn run_with(&self, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Run {
        let mut command = self.command(arguments);
        change(&mut command);
        self.tidy(binary::run(&mut command))
    }

    /// Something that goes on while the binary runs.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        self.runtime.spawn(work)
    }

    /// `sync` on this world's alerts, conditions and Lease; `more` may override each of these flags.
    pub fn sync_command(&self, more: &[&str]) -> Command {
        let mut command = self.command(&["sync", "--warmup=0", "--receiver", RECEIVER]);
        if !more.iter().any(|word| ["--alertmanager", "--prometheus"].contains(word)) {
            command.args(["--alertmanager", &self.alertmanager]);
        }
        command
            .args(["--filter", &format!("test={:?}", self.id)])
            .args(["--prefix", &self.prefix(), "--lease-name", &self.name("sync")])
            .args(more);
        command
    }

    pub fn sync(&self, more: &[&str]) -> Run {
        self.tidy(binary::run(&mut self.sync_command(more)))
    }

    /// What was printed, with this world's names made short, so that it reads the same in every world.
    fn tidy(&self, mut run: Run) -> Run {
        run.stdout = self.short(&run.stdout);
        run.stderr = self.short(&run.stderr);
        run
    }

    pub fn short(&self, text: &str) -> String {
        text.replace(&format!("{}-", self.id), "")
            .replace(&self.prefix(), "AlertManager_")
            .replace(&self.id, "TEST")
            .replace(self.alertmanager.as_str(), "http://alertmanager")
    }

    pub fn lease(&self) -> Option<Value> {
        self.try_api("GET", &self.lease_path(), "application/json", &Value::Null).ok()
    }

    pub fn lease_path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{}", self.name("sync"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for kubelet in std::mem::take(self.kubelets.get_mut().expect("a lock")) {
            self.block_on(kubelet.stop());
        }
        let leavings = std::mem::take(self.leavings.get_mut().expect("a lock"));
        if self.doubles.is_none() {
            for path in leavings {
                let _gone_already = self.try_api("DELETE", &path, "application/json", &Value::Null);
            }
        }
    }
}

/// RFC 3339 with whole seconds, as Kubernetes stores times.
pub fn seconds_ago(age: SignedDuration) -> String {
    let time = Timestamp::now() - age;
    Timestamp::from_second(time.as_second()).expect("a time").to_string()
}
