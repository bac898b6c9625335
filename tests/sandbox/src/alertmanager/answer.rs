//! The HTTP API (`alertmanager/api/v2`).

use std::sync::Mutex;

use http::header::WWW_AUTHENTICATE;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::alert::millis;
use super::matcher::{Matcher, anchored};
use super::silence::Silence;
use super::state::State;
use crate::http::{Double, Reply, Request, lock};

pub(super) struct Am {
    pub(super) state: Mutex<State>,
}

impl Double for Am {
    fn answer(&self, request: &Request) -> Reply {
        let state = &mut *lock(&self.state);
        if let Some(auth) = state.auth.as_ref().filter(|auth| request.header("authorization") != auth.header)
        {
            return Reply::text(401, "Unauthorized\n").with(WWW_AUTHENTICATE, auth.challenge);
        }
        let Some(path) = request.path.strip_prefix(state.prefix.as_str()) else { return not_found() };
        let answer = match (request.method.as_str(), path) {
            ("GET", "/-/ready" | "/-/healthy") => Ok(Reply::text(200, "OK")),
            ("GET", "/api/v2/status") => Ok(Reply::json(200, &status(state))),
            ("GET", "/api/v2/receivers") => {
                let receivers: Vec<Value> =
                    state.receivers.iter().map(|name| json!({"name": name})).collect();
                Ok(Reply::json(200, &receivers))
            }
            ("GET", "/api/v2/alerts") => alerts(state, request),
            ("POST", "/api/v2/alerts") => post_alerts(state, request),
            ("GET", "/api/v2/silences") => {
                let now = Timestamp::now();
                let silences: Vec<Value> =
                    state.silences.iter().map(|silence| silence.gettable(now)).collect();
                Ok(Reply::json(200, &silences))
            }
            ("POST", "/api/v2/silences") => post_silence(state, request),
            (method, path) => match path.strip_prefix("/api/v2/silence/") {
                Some(id) => Ok(silence(state, method, id)),
                None => return not_found(),
            },
        };
        // Errors are JSON strings.
        answer.unwrap_or_else(|error| Reply::json(400, &error))
    }

    fn error(&self, _: &Request, code: u16, message: Option<&str>) -> Reply {
        let usual = match code {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "404 page not found",
            503 => "Limit of concurrent GET requests reached (8), try again later.",
            _ => "the sandbox was told to fail",
        };
        Reply::text(code, format!("{}\n", message.unwrap_or(usual)))
    }
}

fn alerts(state: &State, request: &Request) -> Result<Reply, String> {
    let filters: Vec<Matcher> =
        request.parameters("filter").map(|filter| Matcher::parse(&filter)).collect::<Result<_, _>>()?;
    let receiver = request.parameter("receiver").filter(|receiver| !receiver.is_empty());
    let receiver = receiver
        .map(|pattern| anchored(&pattern).map_err(|error| format!("failed to parse receiver param: {error}")))
        .transpose()?;
    let wanted = |name: &str| request.parameter(name).is_none_or(|value| value != "false");
    let (active, silenced, inhibited) = (wanted("active"), wanted("silenced"), wanted("inhibited"));

    let mut alerts = state.gettable(Timestamp::now());
    alerts.retain(|alert| {
        let some = |field: &str| alert["status"][field].as_array().is_some_and(|list| !list.is_empty());
        (active || alert["status"]["state"] != "active")
            && (silenced || !some("silencedBy"))
            && (inhibited || !some("inhibitedBy"))
            && filters.iter().all(|filter| filter.matches(&alert["labels"]))
            && receiver
                .as_ref()
                .is_none_or(|receiver| state.receivers_of(alert).iter().any(|name| receiver.is_match(name)))
    });
    Ok(Reply::json(200, &alerts))
}

/// What is valid is taken in even if something else is not.
fn post_alerts(state: &mut State, request: &Request) -> Result<Reply, String> {
    let posted: Vec<Value> = serde_json::from_slice(&request.body)
        .map_err(|error| format!("parsing alerts body failed: {error}"))?;
    let mut errors = Vec::new();
    for alert in &posted {
        errors.extend(state.post(alert).err());
    }
    if errors.is_empty() { Ok(Reply::bytes(200, "application/json", "")) } else { Err(errors.join("; ")) }
}

fn post_silence(state: &mut State, request: &Request) -> Result<Reply, String> {
    let now = Timestamp::now();
    let body: Value = request.json();
    if let Some(id) = body["id"].as_str().filter(|id| !id.is_empty()) {
        let Some(old) = state.silences.iter_mut().find(|silence| silence.id == id) else {
            return Ok(not_found());
        };
        let new = Silence::posted(body.clone(), now)?;
        if old.becomes(&new, now) {
            return Ok(Reply::json(200, &json!({"silenceID": id})));
        }
    }
    let silence = Silence::posted(body, now)?;
    let id = silence.id.clone();
    state.silences.push(silence);
    Ok(Reply::json(200, &json!({"silenceID": id})))
}

fn silence(state: &mut State, method: &str, id: &str) -> Reply {
    let now = Timestamp::now();
    match (method, state.silences.iter_mut().find(|silence| silence.id == id)) {
        ("GET", Some(silence)) => Reply::json(200, &silence.gettable(now)),
        ("DELETE", Some(silence)) => {
            silence.expire(now);
            Reply::bytes(200, "application/json", "")
        }
        _ => not_found(),
    }
}

fn status(state: &State) -> Value {
    let peers: Vec<Value> = (0..state.peers)
        .map(|peer| json!({"name": format!("01SANDBOXPEER{peer:013}"), "address": format!("127.0.0.1:{}", 19094 + peer)}))
        .collect();
    let mut cluster = json!({"status": "disabled", "peers": peers});
    if let Some(own) = peers.first() {
        cluster["status"] = "ready".into();
        cluster["name"] = own["name"].clone();
    }
    json!({
        "cluster": cluster,
        "config": {"original": state.config()},
        "uptime": millis(state.started),
        "versionInfo": {
            "branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "", "version": state.version,
        },
    })
}

fn not_found() -> Reply {
    Reply::text(404, "404 page not found\n")
}
