//! An admission webhook: over TLS for a real API server, and asked directly by the double of one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::front::{Authority, Identity, acceptor};
use crate::http::{Control, Double, Reply, Request, Server, lock};

/// How long an API server waits for it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// What it says to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Allow,
    /// With this `status`: `{"code": 429, "message": "…"}`.
    Deny(Value),
    /// It does not answer in time.
    Slow,
    /// Nothing listens at its port.
    Away,
}

/// It goes away when the last clone is dropped.
#[derive(Clone)]
pub struct Webhook(Arc<Inner>);

struct Inner {
    name: String,
    authority: String,
    identity: Identity,
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    server: Mutex<Option<Server>>,
}

/// What it says to requests about objects whose name begins so.
#[derive(Default)]
struct Script {
    /// The next so many that are no dry runs.
    first: Vec<(String, usize, Verdict)>,
    then: Vec<(String, Verdict)>,
    asked: Vec<(String, bool)>,
}

impl Script {
    fn decide(&mut self, name: &str, dry_run: bool) -> Verdict {
        self.asked.push((name.to_owned(), dry_run));
        let first =
            self.first.iter_mut().find(|(about, left, _)| *left > 0 && name.starts_with(about.as_str()));
        if let Some((_, left, verdict)) = first.filter(|_| !dry_run) {
            *left -= 1;
            return verdict.clone();
        }
        let then = self.then.iter().rev().find(|(about, _)| name.starts_with(about.as_str()));
        then.map_or(Verdict::Allow, |(_, verdict)| verdict.clone())
    }
}

impl Webhook {
    /// One that allows everything so far.
    pub fn start(name: &str) -> Self {
        let authority = Authority::new("webhook");
        let identity = authority.issue(&["127.0.0.1"]);
        let script = Arc::new(Mutex::new(Script::default()));
        let server = serve((Ipv4Addr::LOCALHOST, 0).into(), &identity, &script);
        let (name, authority, address) = (name.to_owned(), authority.certificate, server.address());
        Self(Arc::new(Inner { name, authority, identity, address, script, server: Mutex::new(Some(server)) }))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// From now on it says this to whatever is asked.
    pub fn says(&self, verdict: Verdict) {
        let mut server = lock(&self.0.server);
        if verdict == Verdict::Away {
            *server = None;
        } else {
            server.get_or_insert_with(|| serve(self.0.address, &self.0.identity, &self.0.script));
        }
        drop(server);
        lock(&self.0.script).then = vec![(String::new(), verdict)];
    }

    /// The same about objects whose name begins so.
    pub fn says_about(&self, name: &str, verdict: Verdict) {
        lock(&self.0.script).then.push((name.to_owned(), verdict));
    }

    /// To the next so many requests about objects whose name begins so, if they are no dry runs, it says this, and only
    /// then what it says otherwise.
    pub fn says_first(&self, name: &str, times: usize, verdict: &Verdict) {
        lock(&self.0.script).first.push((name.to_owned(), times, verdict.clone()));
    }

    /// The objects that it was asked about, and whether as a dry run.
    pub fn asked(&self) -> Vec<(String, bool)> {
        lock(&self.0.script).asked.clone()
    }

    /// The `ValidatingWebhookConfiguration` for a real API server: for these operations and resources, such as `CREATE` and
    /// `pods/eviction`, where the CEL expression `scope` holds.
    pub fn configuration(&self, name: &str, rules: &[(&str, &str)], scope: &str) -> Value {
        let rule = |(operation, resource): &(&str, &str)| json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": [operation], "resources": [resource]});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": self.0.name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Fail", "timeoutSeconds": TIMEOUT.as_secs(),
                "clientConfig": {"url": self.url(), "caBundle": BASE64_STANDARD.encode(&self.0.authority)},
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
                "matchConditions": [{"name": "scope", "expression": scope}],
            }],
        })
    }

    fn url(&self) -> String {
        format!("https://{}/", self.0.address)
    }

    /// What an API server hears of it when it asks about an object.
    pub(crate) fn ask(&self, name: &str, dry_run: bool) -> Verdict {
        lock(&self.0.script).decide(name, dry_run)
    }

    /// In the words of Go's HTTP client.
    pub(crate) fn failure(&self, why: &Verdict) -> String {
        let (Inner { name, address, .. }, url, seconds) = (&*self.0, self.url(), TIMEOUT.as_secs());
        let why = match why {
            Verdict::Away => format!("dial tcp {address}: connect: connection refused"),
            _ => "context deadline exceeded".to_owned(),
        };
        format!(
            "failed calling webhook {name:?}: failed to call webhook: Post \"{url}?timeout={seconds}s\": {why}"
        )
    }
}

fn serve(address: SocketAddr, identity: &Identity, script: &Arc<Mutex<Script>>) -> Server {
    let double: Arc<dyn Double> = Arc::new(Reviews(Arc::clone(script)));
    Server::start_at(address, Some(acceptor(identity, None)), double, Arc::new(Control::default()))
}

struct Reviews(Arc<Mutex<Script>>);

impl Double for Reviews {
    fn answer(&self, request: &Request) -> Reply {
        let review = request.json();
        let asked = &review["request"];
        let name = asked["name"].as_str().unwrap_or_default();
        let verdict = lock(&self.0).decide(name, asked["dryRun"] == true);
        let mut response = json!({"uid": asked["uid"], "allowed": verdict == Verdict::Allow});
        let slow = verdict == Verdict::Slow;
        if let Verdict::Deny(status) = verdict {
            response["status"] = status;
        }
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        let reply = Reply::json(200, &review);
        if slow { reply.late(2 * TIMEOUT) } else { reply }
    }

    fn error(&self, _: &Request, code: u16, message: Option<&str>) -> Reply {
        Reply::text(code, message.unwrap_or("a fault that was asked for"))
    }
}
