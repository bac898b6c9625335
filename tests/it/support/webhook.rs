//! An admission webhook in front of a world's API server, about this world's own objects alone.

use std::ops::Deref;
use std::time::{Duration, Instant};

use sandbox::{Verdict, Webhook};
use serde_json::{Value, json};

use super::World;

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const JSON: &str = "application/json";

/// A webhook that is asked, until this is dropped.
pub struct Guard<'w> {
    world: &'w World,
    webhook: Webhook,
    path: String,
}

impl Deref for Guard<'_> {
    type Target = Webhook;

    fn deref(&self) -> &Webhook {
        &self.webhook
    }
}

impl World {
    /// Lets a webhook be asked about these operations and resources, such as `("CREATE", "pods/eviction")`, where the CEL
    /// expression `scope` holds: of a real API server others are no matter of this test. It allows everything so far.
    pub fn guard(&self, rules: &[(&str, &str)], scope: &str) -> Guard<'_> {
        let webhook = Webhook::start("guard.example.com");
        let name = self.name("guard");
        let path = format!("{CONFIGURATIONS}/{name}");
        if let Some((api, _)) = &self.doubles {
            api.asks(&webhook, rules);
        } else {
            let probe = ("CREATE", "configmaps");
            let scope = format!("(has(request.name) && request.name == {name:?}) || ({scope})");
            let rules: Vec<_> = rules.iter().copied().chain([probe]).collect();
            self.create(CONFIGURATIONS, &webhook.configuration(&name, &rules, &scope));
            let deadline = Instant::now() + Duration::from_secs(20);
            while webhook.asked().is_empty() {
                assert!(Instant::now() < deadline, "the webhook is not asked");
                let probe = json!({"metadata": {"name": name}});
                let maps = "/api/v1/namespaces/default/configmaps?dryRun=All";
                self.request("POST", maps, JSON, &probe);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Guard { world: self, webhook, path }
    }
}

impl Guard<'_> {
    /// It says no with this code and these words.
    pub fn denial(code: u16, message: &str) -> Verdict {
        Verdict::Deny(json!({"code": code, "message": message}))
    }

    /// The sentence of the API server for that.
    pub fn sentence(message: &str) -> String {
        format!("admission webhook \"guard.example.com\" denied the request: {message}")
    }
}

/// Nothing that comes after should depend on a webhook that is away.
impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.webhook.says(Verdict::Allow);
        if self.world.doubles.is_none() {
            let _gone_already = self.world.try_api("DELETE", &self.path, JSON, &Value::Null);
        }
    }
}
