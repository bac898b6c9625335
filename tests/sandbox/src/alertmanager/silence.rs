//! Silences.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::alert::millis;
use super::matcher::Matcher;
use crate::random::uuid;

pub(super) struct Silence {
    pub(super) id: String,
    body: Value,
    matchers: Vec<Matcher>,
    starts: Timestamp,
    ends: Timestamp,
    updated: Timestamp,
}

impl Silence {
    /// A `postableSilence`, checked.
    pub(super) fn posted(body: Value, now: Timestamp) -> Result<Self, String> {
        let time = |field: &str| {
            let text = body[field].as_str().unwrap_or_default();
            text.parse::<Timestamp>().map_err(|_| format!("{field} in body is required"))
        };
        let (starts, ends) = (time("startsAt")?, time("endsAt")?);
        if starts >= ends {
            return Err("Failed to create silence: start time must be before end time".into());
        }
        if ends < now {
            return Err("Failed to create silence: end time can't be in the past".into());
        }
        let matchers = body["matchers"].as_array().into_iter().flatten().map(|matcher| {
            let text = |field: &str| matcher[field].as_str().unwrap_or_default();
            let flag = |field: &str, default| matcher[field].as_bool().unwrap_or(default);
            Matcher::new(text("name"), text("value"), flag("isRegex", false), flag("isEqual", true))
        });
        let matchers: Vec<_> = matchers.collect::<Result<_, _>>()?;
        if matchers.is_empty() {
            return Err("invalid silence: at least one matcher required".into());
        }
        Ok(Self { id: uuid(), body, matchers, starts: starts.max(now), ends, updated: now })
    }

    /// Takes over what another one of its id says, if it is active and silences the same; otherwise it ends, and the
    /// other is a silence of its own (`canUpdate` in `alertmanager/silence`).
    pub(super) fn becomes(&mut self, other: &Self, now: Timestamp) -> bool {
        let is_same = self.body["matchers"] == other.body["matchers"];
        if self.state(now) == "active" && is_same {
            self.ends = other.ends;
            self.updated = now;
            self.body = other.body.clone();
            return true;
        }
        if self.state(now) != "expired" {
            self.expire(now);
        }
        false
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.ends = self.ends.min(now);
        self.updated = now;
    }

    pub(super) fn silences(&self, labels: &Value, now: Timestamp) -> bool {
        self.state(now) == "active" && self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    fn state(&self, now: Timestamp) -> &'static str {
        if now >= self.ends {
            "expired"
        } else if now < self.starts {
            "pending"
        } else {
            "active"
        }
    }

    /// A `gettableSilence`.
    pub(super) fn gettable(&self, now: Timestamp) -> Value {
        let mut silence = self.body.clone();
        silence["id"] = self.id.clone().into();
        silence["startsAt"] = millis(self.starts).into();
        silence["endsAt"] = millis(self.ends).into();
        silence["updatedAt"] = millis(self.updated).into();
        silence["status"] = json!({"state": self.state(now)});
        silence
    }
}
