//! A Prometheus, as far as alerts go, or one of those that have its API (v1): what they say is set, not evaluated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use http::header::WWW_AUTHENTICATE;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::alertmanager::Auth;
use crate::http::{Control, Double, Faults, Reply, Request, Server, lock};

/// A Prometheus over plain HTTP on 127.0.0.1, started an hour ago and without alerts. It stops when dropped.
pub struct Prometheus {
    server: Server,
    prom: Arc<Prom>,
    control: Arc<Control>,
}

struct Prom {
    state: Mutex<State>,
}

struct State {
    prefix: String,
    auth: Option<Auth>,
    /// `None`: runtimeinfo is not served, and the answer has this status.
    started: Result<Timestamp, u16>,
    alerts: Vec<Value>,
    /// Rules by the names of their alerts: why they cannot be evaluated, as Prometheus says it.
    failing: BTreeMap<String, (String, Value)>,
    /// What is added to alerts that are sent elsewhere, and to none that is listed.
    external_labels: Value,
    /// `Some`: rules are not served, and the answer has this status.
    hidden_rules: Option<u16>,
    /// Fields of the envelope beside `status` and `data`.
    more: Value,
}

impl Prometheus {
    pub fn start_blocking() -> Self {
        let control = Arc::new(Control::default());
        let prom = Arc::new(Prom {
            state: Mutex::new(State {
                prefix: String::new(),
                auth: None,
                started: Ok(Timestamp::now() - SignedDuration::from_hours(1)),
                alerts: Vec::new(),
                failing: BTreeMap::new(),
                external_labels: json!({}),
                hidden_rules: None,
                more: json!({}),
            }),
        });
        Self { server: Server::start(prom.clone(), Arc::clone(&control)), prom, control }
    }

    /// `http://127.0.0.1:…`, and the path prefix if one was set.
    pub fn url(&self) -> String {
        format!("{}{}", self.server.url(), self.state().prefix)
    }

    /// What is to go wrong.
    pub fn faults(&self) -> &Faults {
        &self.control.faults
    }

    pub fn requests(&self) -> Vec<Request> {
        self.control.requests()
    }

    /// Serves everything below this path, as Mimir does below `/prometheus`.
    pub fn set_prefix(&self, prefix: &str) {
        prefix.trim_end_matches('/').clone_into(&mut self.state().prefix);
    }

    /// From now on 401 for who has not this token.
    pub fn require_bearer(&self, token: &str) {
        self.state().auth = Some(Auth::bearer(token));
    }

    pub fn set_started(&self, started: Timestamp) {
        self.state().started = Ok(started);
    }

    /// Others than Prometheus itself do not say when they were started, but this.
    pub fn hide_start(&self, status: u16) {
        self.state().started = Err(status);
    }

    /// These are the alerts, and their JSON is served as it is.
    pub fn set_alerts(&self, alerts: Vec<Value>) {
        self.state().alerts = alerts;
    }

    /// From now on the rule of these alerts cannot be evaluated; what it lists stays, as in Prometheus, unless it is taken away.
    /// The labels are the rule's own.
    pub fn fail_rule(&self, alertname: &str, error: &str, labels: &[(&str, &str)]) {
        self.state().failing.insert(alertname.to_owned(), (error.to_owned(), map(labels)));
    }

    pub fn set_external_labels(&self, labels: &[(&str, &str)]) {
        self.state().external_labels = map(labels);
    }

    /// Others, and Prometheus before 2.3, have no such list.
    pub fn hide_rules(&self, status: u16) {
        self.state().hidden_rules = Some(status);
    }

    /// Fields of the answer beside `status` and `data`, such as `{"warnings": […]}`.
    pub fn set_more(&self, fields: Value) {
        self.state().more = fields;
    }

    /// An alert that fires since a minute ago.
    pub fn fire(&self, labels: &[(&str, &str)], annotations: &[(&str, &str)]) {
        self.state().alerts.push(json!({
            "labels": map(labels), "annotations": map(annotations), "state": "firing",
            "activeAt": Timestamp::now() - SignedDuration::from_mins(1), "value": "1e+00",
        }));
    }

    /// Starts anew: what fired is pending, since its `for` begins again.
    pub fn restart(&self) {
        let state = &mut *self.state();
        state.started = Ok(Timestamp::now());
        for alert in &mut state.alerts {
            alert["state"] = "pending".into();
            alert["activeAt"] = json!(Timestamp::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.prom.state)
    }
}

fn map(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}

impl State {
    fn reply(&self, data: &Value) -> Reply {
        let mut answer = json!({"status": "success", "data": data});
        for (name, value) in self.more.as_object().into_iter().flatten() {
            answer[name] = value.clone();
        }
        Reply::json(200, &answer)
    }

    /// A rule for each name of an alert, in the order and with the fields of Prometheus 2.42.
    fn rules(&self) -> Vec<Value> {
        let mut by_name: BTreeMap<&str, Vec<&Value>> =
            self.failing.keys().map(|name| (name.as_str(), Vec::new())).collect();
        for alert in &self.alerts {
            by_name.entry(alert["labels"]["alertname"].as_str().unwrap_or_default()).or_default().push(alert);
        }
        let rule = |(name, alerts): (&str, Vec<&Value>)| {
            let (health, (error, labels)) = match self.failing.get(name) {
                Some(failed) => ("err", failed.clone()),
                None => ("ok", (String::new(), json!({}))),
            };
            json!({
                "state": "firing", "name": name, "query": "x", "duration": 0, "labels": labels, "annotations": {},
                "alerts": alerts, "health": health, "lastError": error, "evaluationTime": 0.1,
                "lastEvaluation": Timestamp::now(), "type": "alerting",
            })
        };
        by_name.into_iter().map(rule).collect()
    }
}

impl Double for Prom {
    fn answer(&self, request: &Request) -> Reply {
        let state = &*lock(&self.state);
        if let Some(auth) = state.auth.as_ref().filter(|auth| request.header("authorization") != auth.header)
        {
            return Reply::text(401, "Unauthorized\n").with(WWW_AUTHENTICATE, auth.challenge);
        }
        match (request.method.as_str(), request.path.strip_prefix(state.prefix.as_str())) {
            ("GET", Some("/api/v1/alerts")) => state.reply(&json!({"alerts": state.alerts})),
            ("GET", Some("/api/v1/rules")) => match state.hidden_rules {
                None => state.reply(&json!({"groups": [{"name": "g", "rules": state.rules()}]})),
                Some(status) => Reply::text(status, "no such resource\n"),
            },
            ("GET", Some("/api/v1/status/runtimeinfo")) => match state.started {
                Ok(started) => {
                    let data = json!({"startTime": started, "CWD": "/", "storageRetention": "15d"});
                    Reply::json(200, &json!({"status": "success", "data": data}))
                }
                Err(status) => Reply::text(status, "unsupported path requested\n"),
            },
            // JSON is YAML.
            ("GET", Some("/api/v1/status/config")) => {
                let yaml = json!({"global": {"external_labels": state.external_labels}}).to_string();
                Reply::json(200, &json!({"status": "success", "data": {"yaml": yaml}}))
            }
            _ => Reply::text(404, "404 page not found\n"),
        }
    }

    fn error(&self, _: &Request, code: u16, message: Option<&str>) -> Reply {
        let text = message.unwrap_or("sandbox");
        Reply::json(code, &json!({"status": "error", "errorType": "execution", "error": text}))
    }
}
