use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Route;
use super::alert::{Alert, fingerprint};
use super::matcher::anchored;
use super::silence::Silence;

/// What an Alertmanager knows.
pub(super) struct State {
    pub(super) prefix: String,
    pub(super) auth: Option<Auth>,
    pub(super) started: Timestamp,
    pub(super) peers: usize,
    pub(super) version: String,
    pub(super) receivers: Vec<String>,
    pub(super) routes: Vec<Route>,
    pub(super) alerts: Vec<Shown>,
    pub(super) silences: Vec<Silence>,
}

/// An alert, by where it comes from.
pub(super) enum Shown {
    Posted(Alert),
    /// What a test wants to be served, whatever it is.
    Verbatim(Value),
}

/// The value that an `Authorization` header must have.
pub(crate) struct Auth {
    pub(crate) header: String,
    pub(crate) challenge: &'static str,
}

impl Auth {
    pub(crate) fn bearer(token: &str) -> Self {
        Self { header: format!("Bearer {token}"), challenge: "Bearer" }
    }

    pub(crate) fn basic(user: &str, password: &str) -> Self {
        Self {
            header: format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))),
            challenge: "Basic",
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            auth: None,
            started: Timestamp::now() - SignedDuration::from_hours(1),
            peers: 0,
            version: "0.31.1".into(),
            receivers: vec!["default".into(), "node-condition-k8s".into()],
            routes: vec![Route {
                label: "notify".into(),
                pattern: r"(?:.*\s+)?node-condition-k8s(?:\s+.*)?".into(),
                receiver: "node-condition-k8s".into(),
                proceed: false,
            }],
            alerts: Vec::new(),
            silences: Vec::new(),
        }
    }
}

impl State {
    /// Takes a `postableAlert` in; returns its fingerprint.
    pub(super) fn post(&mut self, alert: &Value) -> Result<String, String> {
        let alert = Alert::posted(alert, Timestamp::now())?;
        let fingerprint = alert.fingerprint();
        for shown in &mut self.alerts {
            if let Shown::Posted(old) = shown
                && old.fingerprint() == fingerprint
            {
                *shown = Shown::Posted(alert.merged(old));
                return Ok(fingerprint);
            }
        }
        self.alerts.push(Shown::Posted(alert));
        Ok(fingerprint)
    }

    pub(super) fn resolve(&mut self, labels: &[(&str, &str)]) {
        for shown in &mut self.alerts {
            if let Shown::Posted(alert) = shown
                && labels.iter().all(|(name, value)| alert.labels[*name] == **value)
            {
                alert.ends = Timestamp::now();
            }
        }
    }

    pub(super) fn silence(&mut self, label: &str, value: &str) -> Result<String, String> {
        let now = Timestamp::now();
        let silence = json!({
            "matchers": [{"name": label, "value": value, "isRegex": false, "isEqual": true}],
            "startsAt": now, "endsAt": now + SignedDuration::from_hours(1), "createdBy": "sandbox", "comment": "",
        });
        let silence = Silence::posted(silence, now)?;
        let id = silence.id.clone();
        self.silences.push(silence);
        Ok(id)
    }

    /// All alerts that are not resolved, as they are got, by fingerprint.
    pub(super) fn gettable(&self, now: Timestamp) -> Vec<Value> {
        let mut alerts: Vec<Value> = self
            .alerts
            .iter()
            .filter_map(|shown| match shown {
                Shown::Verbatim(alert) => Some(alert.clone()),
                Shown::Posted(alert) if alert.ends < now => None,
                Shown::Posted(alert) => {
                    let silences =
                        self.silences.iter().filter(|silence| silence.silences(&alert.labels, now));
                    let silenced: Vec<String> = silences.map(|silence| silence.id.clone()).collect();
                    Some(alert.gettable(&self.routed(&alert.labels), &silenced, &[]))
                }
            })
            .collect();
        alerts.sort_by_cached_key(|alert| match alert["fingerprint"].as_str() {
            Some(fingerprint) => fingerprint.to_owned(),
            None => fingerprint(&alert["labels"]),
        });
        alerts
    }

    /// The receivers of an alert.
    pub(super) fn receivers_of(&self, alert: &Value) -> Vec<String> {
        match alert["receivers"].as_array() {
            Some(list) => list.iter().filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect(),
            None => self.routed(&alert["labels"]),
        }
    }

    /// Depth first and the first that matches, as a routing tree of one level does it.
    fn routed(&self, labels: &Value) -> Vec<String> {
        let mut receivers = Vec::new();
        for route in &self.routes {
            let value = labels[&route.label].as_str().unwrap_or_default();
            if anchored(&route.pattern).is_ok_and(|pattern| pattern.is_match(value)) {
                receivers.push(route.receiver.clone());
                if !route.proceed {
                    break;
                }
            }
        }
        if receivers.is_empty() {
            receivers.extend(self.receivers.first().cloned());
        }
        receivers
    }

    /// The configuration as YAML, which `/status` shows.
    pub(super) fn config(&self) -> String {
        let mut config = String::from("global:\n  resolve_timeout: 5m\nroute:\n");
        let default = self.receivers.first().map_or("", String::as_str);
        _ = writeln!(config, "  receiver: {default}\n  routes:");
        for Route { label, pattern, receiver, proceed } in &self.routes {
            _ = writeln!(
                config,
                "  - receiver: {receiver}\n    matchers:\n    - {label}=~{pattern:?}\n    continue: {proceed}"
            );
        }
        config.push_str("receivers:\n");
        for receiver in &self.receivers {
            _ = writeln!(config, "- name: {receiver}");
        }
        config
    }
}
