//! Alerts, from how they are posted to how they are got.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::fnv;

/// How long an alert lasts that nobody repeats: `resolve_timeout`.
const RESOLVE_TIMEOUT: SignedDuration = SignedDuration::from_mins(5);

/// An alert that was posted.
#[derive(Clone)]
pub(super) struct Alert {
    pub(super) labels: Value,
    annotations: Value,
    starts: Timestamp,
    pub(super) ends: Timestamp,
    updated: Timestamp,
    generator: String,
    /// Its end is only when it is forgotten if nobody repeats it.
    timeout: bool,
}

impl Alert {
    /// A `postableAlert`, checked.
    pub(super) fn posted(alert: &Value, now: Timestamp) -> Result<Self, String> {
        let time = |field: &str| match alert[field].as_str() {
            // The zero time of Go, and so no time.
            None | Some("" | "0001-01-01T00:00:00Z" | "0001-01-01T00:00:00.000Z") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| format!("{field} is not a time: {text}")),
        };
        let (starts, ends): (Option<Timestamp>, Option<Timestamp>) = (time("startsAt")?, time("endsAt")?);
        let starts = starts.or(ends).unwrap_or(now);
        if ends.is_some_and(|ends| ends < starts) {
            return Err("start time must be before end time".into());
        }
        let labels = strings(&alert["labels"])?;
        if labels.is_empty() {
            return Err("at least one label pair required".into());
        }
        if labels.contains_key("") {
            return Err("invalid label set: invalid name \"\"".into());
        }
        Ok(Self {
            labels: labels.into(),
            annotations: strings(&alert["annotations"])?.into(),
            starts,
            ends: ends.unwrap_or(now + RESOLVE_TIMEOUT),
            updated: now,
            generator: alert["generatorURL"].as_str().unwrap_or_default().to_owned(),
            timeout: ends.is_none(),
        })
    }

    /// This alert as it continues an older one of the same labels.
    pub(super) fn merged(mut self, old: &Self) -> Self {
        let overlap = self.ends > old.starts && self.ends < old.ends
            || self.starts > old.starts && self.starts < old.ends;
        if overlap {
            self.starts = self.starts.min(old.starts);
            if self.ends > self.updated && old.ends > self.ends && !old.timeout {
                self.ends = old.ends;
            }
        }
        self
    }

    pub(super) fn fingerprint(&self) -> String {
        fingerprint(&self.labels)
    }

    /// A `gettableAlert`.
    pub(super) fn gettable(&self, receivers: &[String], silenced: &[String], inhibited: &[String]) -> Value {
        let state = if silenced.is_empty() && inhibited.is_empty() { "active" } else { "suppressed" };
        let mut alert = json!({
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": millis(self.starts),
            "endsAt": millis(self.ends),
            "updatedAt": millis(self.updated),
            "fingerprint": self.fingerprint(),
            "receivers": receivers.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "status": {"state": state, "silencedBy": silenced, "inhibitedBy": inhibited, "mutedBy": []},
        });
        if !self.generator.is_empty() {
            alert["generatorURL"] = self.generator.clone().into();
        }
        alert
    }
}

/// FNV-1a over the sorted labels, each name and each value followed by 0xFF.
pub(super) fn fingerprint(labels: &Value) -> String {
    let mut labels: Vec<(&str, &str)> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    labels.sort_unstable();
    let bytes = labels.iter().flat_map(|(name, value)| {
        let end = std::iter::once(0xff);
        name.bytes().chain(end.clone()).chain(value.bytes()).chain(end)
    });
    format!("{:016x}", fnv::hash(bytes))
}

/// As Alertmanager spells times.
pub(super) fn millis(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// A map of strings without the empty ones.
fn strings(value: &Value) -> Result<Map<String, Value>, String> {
    let map = match value {
        Value::Object(map) => map.clone(),
        Value::Null => Map::new(),
        other => return Err(format!("{other} is not a set of labels")),
    };
    if let Some((name, value)) = map.iter().find(|(_, value)| !value.is_string()) {
        return Err(format!("the value of {name} is not a string but {value}"));
    }
    Ok(map.into_iter().filter(|(_, value)| value != "").collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_alertmanagers() {
        // The empty set's is FNV's offset; the second was given by Alertmanager 0.31.1 for an alert of these labels.
        assert_eq!(fingerprint(&json!({})), "cbf29ce484222325");
        assert_eq!(fingerprint(&json!({"alertname": "NodeOnFire", "node": "worker1a"})), "144a0036be52a865");
    }
}
