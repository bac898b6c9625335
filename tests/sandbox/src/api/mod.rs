//! The API server.

mod admission;
mod controllers;
mod defaults;
mod deletion;
mod discovery;
mod eviction;
mod log;
mod managed;
mod policy;
mod port_forward;
mod resource;
mod route;
mod selector;
mod status;
mod store;
mod strategic;
mod typed;
mod verbs;
mod view;
mod watch;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use self::route::{Info, Route};
use self::status::Status;
pub use self::store::Store;
use crate::http::{Control, Double, Faults, Reply, Request, Server, Target, lock};
use crate::kubelet::port_forward::Targets;
use crate::webhook::Webhook;

/// The real server's limit of a request body.
const MAX_BODY: usize = 3 << 20;

/// The namespaces that are there from the start, as on a real cluster.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// An API server over plain HTTP on 127.0.0.1 that keeps its objects in memory. It stops when dropped.
pub struct ApiServer {
    server: Server,
    api: Arc<Api>,
    control: Arc<Control>,
}

struct Api {
    store: Arc<Mutex<Store>>,
    hooks: Mutex<Vec<Hook>>,
    denied: Mutex<Vec<Denial>>,
    webhooks: Mutex<Vec<admission::Registered>>,
    bookmarks: Mutex<Duration>,
    forwards: Targets,
    control: Arc<Control>,
}

/// What somebody may not do.
#[derive(PartialEq, Eq)]
struct Denial {
    verb: String,
    resource: String,
    /// Who is impersonated; `None`: everybody.
    user: Option<String>,
}

/// What a test does before a request is answered.
struct Hook {
    target: Target,
    times: u32,
    action: Box<dyn FnMut(&mut Store) + Send>,
}

impl ApiServer {
    /// Starts an API server with the usual namespaces and nothing else.
    pub async fn start() -> Self {
        std::future::ready(Self::start_blocking()).await
    }

    /// The same, for tests that are not async.
    pub fn start_blocking() -> Self {
        let control = Arc::new(Control::default());
        let mut store = Store::default();
        for name in NAMESPACES {
            store.put(json!({
                "kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}, "status": {"phase": "Active"},
            }));
        }
        let api = Arc::new(Api {
            store: Arc::new(Mutex::new(store)),
            hooks: Mutex::default(),
            denied: Mutex::default(),
            webhooks: Mutex::default(),
            bookmarks: Mutex::new(Duration::from_secs(5)),
            forwards: Targets::default(),
            control: Arc::clone(&control),
        });
        let double: Arc<dyn Double> = api.clone();
        Self { server: Server::start(double, Arc::clone(&control)), api, control }
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// A kubeconfig for this server, in YAML.
    pub fn kubeconfig(&self) -> String {
        let url = self.url();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sandbox\n\
            clusters:\n- name: sandbox\n  cluster:\n    server: {url}\n\
            users:\n- name: sandbox\n  user:\n    token: sandbox\n\
            contexts:\n- name: sandbox\n  context:\n    cluster: sandbox\n    user: sandbox\n"
        )
    }

    pub fn write_kubeconfig(&self, file: &Path) -> std::io::Result<()> {
        std::fs::write(file, self.kubeconfig())
    }

    /// The same for a client in this process.
    #[expect(clippy::expect_used, reason = "it is our own URL")]
    pub fn config(&self) -> kube::Config {
        kube::Config::new(self.url().parse().expect("a URL"))
    }

    /// The objects, locked: nothing is answered while this is held, so do not hold it across an await.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.api.store)
    }

    /// What is to go wrong.
    pub fn faults(&self) -> &Faults {
        &self.control.faults
    }

    /// Does something before the next such request is answered, as if somebody else had just been faster. The method
    /// may be `*`, the path may end in `*`.
    pub fn before(&self, method: &str, path: &str, action: impl FnMut(&mut Store) + Send + 'static) {
        self.hook(method, path, 1, Box::new(action));
    }

    /// The same before every such request.
    pub fn before_each(&self, method: &str, path: &str, action: impl FnMut(&mut Store) + Send + 'static) {
        self.hook(method, path, u32::MAX, Box::new(action));
    }

    fn hook(&self, method: &str, path: &str, times: u32, action: Box<dyn FnMut(&mut Store) + Send>) {
        lock(&self.api.hooks).push(Hook { target: Target::new(method, path), times, action });
    }

    /// From now on nobody may do this: `deny("patch", "nodes/status")`. Access reviews say so, too.
    pub fn deny(&self, verb: &str, resource: &str) {
        lock(&self.api.denied).push(Denial::new(verb, resource, None));
    }

    /// The same of one user, who is impersonated.
    pub fn deny_to(&self, user: &str, verb: &str, resource: &str) {
        lock(&self.api.denied).push(Denial::new(verb, resource, Some(user)));
    }

    /// From now on the user may do this again.
    pub fn allow_to(&self, user: &str, verb: &str, resource: &str) {
        let denial = Denial::new(verb, resource, Some(user));
        lock(&self.api.denied).retain(|denied| *denied != denial);
    }

    /// Everybody may do everything again.
    pub fn allow_all(&self) {
        lock(&self.api.denied).clear();
    }

    /// From now on this webhook is asked about these operations and resources: `("CREATE", "pods/eviction")`.
    pub fn asks(&self, webhook: &Webhook, rules: &[(&str, &str)]) {
        let rules =
            rules.iter().map(|(verb, resource)| ((*verb).to_owned(), (*resource).to_owned())).collect();
        lock(&self.api.webhooks).push(admission::Registered { webhook: webhook.clone(), rules });
    }

    /// How often watches get bookmarks: every 5 s, unless a test is in a hurry.
    pub fn bookmark_every(&self, period: Duration) {
        *lock(&self.api.bookmarks) = period;
    }

    /// Where a pod's port is: port-forwards to it lead there. Any other port refuses connections.
    pub fn forward(&self, pod: &str, port: u16, to: SocketAddr) {
        lock(&self.api.forwards).insert((pod.to_owned(), port), to);
    }

    /// Breaks the connections of all running watches and port-forwards.
    pub fn drop_watches(&self) {
        self.control.cut.send_replace(());
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.control.requests()
    }

    /// Those of clients whose User-Agent begins so.
    pub fn requests_by(&self, agent: &str) -> Vec<Request> {
        self.control
            .requests()
            .into_iter()
            .filter(|request| request.user_agent().starts_with(agent))
            .collect()
    }

    /// Those that would change something (no dry runs), by method and path: `PATCH /api/v1/nodes/w1/status`.
    pub fn writes_by(&self, agent: &str) -> Vec<String> {
        let requests = self.requests_by(agent).into_iter().filter(Request::writes);
        requests.map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    /// Forgets all requests so far.
    pub fn forget_requests(&self) {
        self.control.forget_requests();
    }

    /// Whether requests are recorded. They are; who runs for long and never looks should turn it off.
    pub fn record(&self, on: bool) {
        self.control.record(on);
    }
}

impl Double for Api {
    fn prepare(&self, request: &Request) {
        let mut hooks = lock(&self.hooks);
        for hook in hooks.iter_mut().filter(|hook| hook.times > 0 && hook.target.matches(request)) {
            hook.times -= u32::from(hook.times != u32::MAX);
            (hook.action)(&mut lock(&self.store));
        }
    }

    fn answer(&self, request: &Request) -> Reply {
        if request.body.len() > MAX_BODY {
            return Status::request_too_large(MAX_BODY).reply();
        }
        match Route::of(request) {
            Route::Version => Reply::json(200, &discovery::version()),
            Route::Health => Reply::text(200, "ok"),
            Route::Discovery => discovery::document(&request.path)
                .map_or_else(not_found, |document| Reply::json(200, &document)),
            Route::SelfSubjectAccessReview => self.review(request),
            Route::SelfSubjectReview => review_of_user(request),
            Route::Objects(info) => self.objects(info, request).unwrap_or_else(|status| status.reply()),
            Route::UnknownResource => Status::no_such_resource().reply(),
            Route::UnknownPath => not_found(),
        }
    }

    fn error(&self, request: &Request, code: u16, message: Option<&str>) -> Reply {
        match (code, message, Route::of(request)) {
            (403, None, Route::Objects(info)) => info.forbidden(user(request)).reply(),
            // Priority and fairness, which is no part of the API.
            (429, None, _) => Reply::text(429, "Too many requests, please try again later.\n"),
            _ => Status::of(code, message).reply(),
        }
    }
}

impl Denial {
    fn new(verb: &str, resource: &str, user: Option<&str>) -> Self {
        Self { verb: verb.to_owned(), resource: resource.to_owned(), user: user.map(str::to_owned) }
    }
}

impl Api {
    fn objects(&self, info: Info, request: &Request) -> status::Result<Reply> {
        if self.denies(request, info.verb, &info.rule_resource()) {
            return Err(info.forbidden(user(request)));
        }
        if info.subresource == "portforward" {
            // Kubernetes 1.35 and later want both permissions of a WebSocket, and do not say which one is missing.
            if self.denies(request, "create", &info.rule_resource()) {
                return Err(info.forbidden_silently());
            }
            return port_forward::start(
                &lock(&self.store),
                &info,
                request,
                &self.forwards,
                self.control.cut.subscribe(),
            );
        }
        if info.subresource == "proxy" {
            return proxy(&lock(&self.store), &info, request);
        }
        if info.verb == "watch" {
            let bookmarks = *lock(&self.bookmarks);
            return watch::start(&self.store, info, request, bookmarks, self.control.cut.subscribe());
        }
        if let Some(refusal) = admission::refusal(&lock(&self.webhooks), &info, request) {
            return Ok(refusal);
        }
        verbs::answer(&mut lock(&self.store), &info, request)
    }

    fn denies(&self, request: &Request, verb: &str, resource: &str) -> bool {
        let is_theirs = |denial: &Denial| denial.user.as_ref().is_none_or(|denied| denied == user(request));
        lock(&self.denied)
            .iter()
            .any(|denial| denial.verb == verb && denial.resource == resource && is_theirs(denial))
    }

    fn review(&self, request: &Request) -> Reply {
        if !request.content_type().contains("json") {
            return Status::unsupported_body().reply();
        }
        let mut review = request.json();
        if !review.is_object() {
            return Status::bad_request("the request body is not a SelfSubjectAccessReview").reply();
        }
        let asked = &review["spec"]["resourceAttributes"];
        let text = |field: &str| asked[field].as_str().unwrap_or_default();
        let resource = match text("subresource") {
            "" => text("resource").to_owned(),
            subresource => format!("{}/{subresource}", text("resource")),
        };
        let allowed = !self.denies(request, text("verb"), &resource);
        review["kind"] = "SelfSubjectAccessReview".into();
        review["apiVersion"] = "authorization.k8s.io/v1".into();
        review["metadata"] = json!({});
        review["status"] = json!({"allowed": allowed});
        Reply::json(201, &review)
    }
}

/// What the node's kubelet says.
fn proxy(store: &Store, info: &Info, request: &Request) -> status::Result<Reply> {
    if store.get("nodes", "", &info.name).is_none() {
        return Err(Status::not_found(info.resource, &info.name));
    }
    let path = request.path.split_once("/proxy/").map_or("", |(_, path)| path);
    Ok(crate::kubelet::served::answer(&info.name, path, request).unwrap_or_else(not_found))
}

/// Whoever is impersonated, else the one user that there is.
fn user(request: &Request) -> &str {
    let impersonated = request.header("impersonate-user");
    if impersonated.is_empty() { route::USER } else { impersonated }
}

fn review_of_user(request: &Request) -> Reply {
    let name = user(request);
    Reply::json(
        201,
        &json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
        "status": {"userInfo": {"username": name, "groups": ["system:authenticated"]}}}),
    )
}

fn not_found() -> Reply {
    Reply::text(404, "404 page not found\n")
}

/// A Node as a kubelet registers it, Ready and with everything that nodes have: to be [put](Store::put) into a store
/// where no [`Kubelet`](crate::Kubelet) is needed.
pub fn node(name: &str) -> Value {
    crate::kubelet::registered(name)
}
