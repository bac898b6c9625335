//! The Alertmanager: version 2 of its API, with alerts in memory and nobody who is notified.

mod alert;
mod answer;
mod matcher;
mod silence;
mod state;

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};

use self::answer::Am;
pub(crate) use self::state::Auth;
use self::state::{Shown, State};
use crate::http::{Control, Faults, Request, Server, lock};

/// An Alertmanager over plain HTTP on 127.0.0.1. It stops when dropped.
///
/// It begins with the receivers `default` and `node-condition-k8s`, with the article's route between them, and as one
/// that was started an hour ago. HA peers are several of these: peers do not share alerts.
pub struct Alertmanager {
    server: Server,
    am: Arc<Am>,
    control: Arc<Control>,
}

/// Alerts whose label matches go to this receiver, and no further.
#[derive(Clone, Debug)]
pub struct Route {
    pub label: String,
    /// Has to match all of the label's value.
    pub pattern: String,
    pub receiver: String,
    /// Whether the routes after this one are tried as well.
    pub proceed: bool,
}

impl Alertmanager {
    pub async fn start() -> Self {
        std::future::ready(Self::start_blocking()).await
    }

    /// The same, for tests that are not async.
    pub fn start_blocking() -> Self {
        let control = Arc::new(Control::default());
        let am = Arc::new(Am { state: Mutex::new(State::default()) });
        Self { server: Server::start(am.clone(), Arc::clone(&control)), am, control }
    }

    /// `http://127.0.0.1:…`, and the route prefix if one was set.
    pub fn url(&self) -> String {
        format!("{}{}", self.server.url(), lock(&self.am.state).prefix)
    }

    /// What is to go wrong.
    pub fn faults(&self) -> &Faults {
        &self.control.faults
    }

    /// Serves everything below this path, as with `--web.route-prefix=/alertmanager`.
    pub fn set_prefix(&self, prefix: &str) {
        prefix.trim_end_matches('/').clone_into(&mut self.state().prefix);
    }

    /// From now on 401 for who has not this token.
    pub fn require_bearer(&self, token: &str) {
        self.state().auth = Some(Auth::bearer(token));
    }

    /// From now on 401 for who has not this name and password.
    pub fn require_basic(&self, user: &str, password: &str) {
        self.state().auth = Some(Auth::basic(user, password));
    }

    /// When it was started, which is what `.uptime` of its status says.
    pub fn set_started(&self, started: Timestamp) {
        self.state().started = started;
    }

    /// How many peers its cluster has, itself included; 0 switches clustering off, as it is at first.
    pub fn set_peers(&self, peers: usize) {
        self.state().peers = peers;
    }

    pub fn set_version(&self, version: &str) {
        version.clone_into(&mut self.state().version);
    }

    /// The receivers, in the order of the configuration. The first takes what no route takes.
    pub fn set_receivers<S: Into<String>>(&self, receivers: impl IntoIterator<Item = S>) {
        self.state().receivers = receivers.into_iter().map(Into::into).collect();
    }

    pub fn set_routes(&self, routes: Vec<Route>) {
        self.state().routes = routes;
    }

    /// These are the alerts, and their JSON is served as it is: of older versions and newer ones, suppressed, broken.
    /// Filters and the receiver look into it as far as it goes; one without `receivers` is routed by its labels.
    pub fn set_alerts(&self, alerts: Vec<Value>) {
        self.state().alerts = alerts.into_iter().map(Shown::Verbatim).collect();
    }

    /// A firing alert, as if it was posted; it fires until it is resolved. Returns its fingerprint.
    pub fn fire(&self, labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> String {
        let map = |pairs: &[(&str, &str)]| -> Value {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
        };
        let far = "2999-01-01T00:00:00Z";
        let alert = json!({"labels": map(labels), "annotations": map(annotations), "endsAt": far, "startsAt": Timestamp::now()});
        self.state().post(&alert).unwrap_or_else(|error| bad_alert(&error))
    }

    /// The posted alerts with all of these labels end now.
    pub fn resolve(&self, labels: &[(&str, &str)]) {
        self.state().resolve(labels);
    }

    /// Forgets all alerts, as a restart does.
    pub fn clear(&self) {
        self.state().alerts.clear();
    }

    /// Silences all alerts with this label; returns the silence's id.
    pub fn silence(&self, label: &str, value: &str) -> String {
        self.state().silence(label, value).unwrap_or_else(|error| bad_alert(&error))
    }

    pub fn requests(&self) -> Vec<Request> {
        self.control.requests()
    }

    pub fn forget_requests(&self) {
        self.control.forget_requests();
    }

    /// Whether requests are recorded. They are; who runs for long and never looks should turn it off.
    pub fn record(&self, on: bool) {
        self.control.record(on);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.am.state)
    }
}

#[expect(clippy::panic, reason = "a test that fires an impossible alert is wrong")]
fn bad_alert(error: &str) -> ! {
    panic!("the sandbox's Alertmanager refuses this: {error}")
}
