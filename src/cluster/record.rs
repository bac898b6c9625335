//! The record of a remediation as an annotation of its Node: read with suspicion, written so that nothing of a later version
//! is lost.

use serde_json::{Map, Value};

use super::error::ApiError;
use crate::core::remediation::{Record, RecordSeen, VERSION};

pub(super) const ANNOTATION: &str = "sciuro.dev/remediation";
pub(super) const LAST: &str = "sciuro.dev/last-remediation";

/// Ours is a few kB, and all annotations of an object together may have 256.
const MAX_RECORD: usize = 64 << 10;

/// The command that removes a record that no run can act on, and when to type it.
pub fn clear_hint(node: &str) -> String {
    format!("if no remediation is running on the node: kubectl annotate node {node} {ANNOTATION}-")
}

/// The record as it is stored in place of `stored`, with what a later version may have added to that.
pub(super) fn text(record: &Record, stored: Option<&str>) -> Result<String, ApiError> {
    let mut new = serde_json::to_value(record).map_err(unexpected)?;
    let stored = stored.and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(stored) = stored.filter(|stored| stored["id"] == record.id.as_str()) {
        let known = serde_json::from_value::<Record>(stored.clone()).and_then(serde_json::to_value);
        if let Ok(known) = known {
            keep_unknown(&mut new, &stored, &known);
        }
    }
    let text = new.to_string();
    if text.len() > MAX_RECORD {
        return Err(ApiError::Unexpected(format!(
            "the record of the remediation would have {} kB, and {} are allowed",
            text.len() >> 10,
            MAX_RECORD >> 10
        )));
    }
    Ok(text)
}

pub(super) fn unexpected(error: impl std::fmt::Display) -> ApiError {
    ApiError::Unexpected(error.to_string())
}

/// Takes over into `new` what is `stored` and not `known`: what our reading of it left out. Elements of lists are the same
/// if they stand at the same place, and are equal or have the same number.
fn keep_unknown(new: &mut Value, stored: &Value, known: &Value) {
    match (new, stored, known) {
        (Value::Object(new), Value::Object(stored), Value::Object(known)) => {
            keep_fields(new, stored, known);
        }
        (Value::Array(new), Value::Array(stored), Value::Array(known)) => {
            for ((new, stored), known) in new.iter_mut().zip(stored).zip(known) {
                let same_number = !new["n"].is_null() && new["n"] == known["n"];
                if same_number || new == known {
                    keep_unknown(new, stored, known);
                }
            }
        }
        _ => {}
    }
}

fn keep_fields(new: &mut Map<String, Value>, stored: &Map<String, Value>, known: &Map<String, Value>) {
    for (name, stored) in stored {
        match (known.get(name), new.get_mut(name)) {
            (Some(known), Some(new)) => keep_unknown(new, stored, known),
            (None, None) if !stored.is_null() => drop(new.insert(name.clone(), stored.clone())),
            _ => {}
        }
    }
}

/// What the annotation says. Any kubelet can write it: what is not exactly as we write it is not acted on.
pub(super) fn read(annotation: Option<&str>) -> RecordSeen {
    match annotation {
        None => RecordSeen::None,
        Some(text) => parse(text).map_or_else(RecordSeen::Unreadable, RecordSeen::Readable),
    }
}

fn parse(text: &str) -> Result<Box<Record>, String> {
    const LONGEST_REASON: usize = 200;
    if text.len() > MAX_RECORD {
        return Err(format!("it has {} kB, and {} are allowed", text.len() >> 10, MAX_RECORD >> 10));
    }
    let why =
        |error: serde_json::Error| -> String { error.to_string().chars().take(LONGEST_REASON).collect() };
    let value: Value = serde_json::from_str(text).map_err(why)?;
    match &value["v"] {
        Value::Null => return Err("it has no version".to_owned()),
        version if *version != VERSION => {
            let version: String = version.to_string().chars().take(LONGEST_REASON).collect();
            return Err(format!("its version is {version}, and this program reads version {VERSION}"));
        }
        _ => {}
    }
    let record: Record = serde_json::from_value(value).map_err(why)?;
    // Helper pods are named after it.
    if uuid::Uuid::try_parse(&record.id).map(|id| id.to_string()).as_ref() != Ok(&record.id) {
        return Err("its id is not a UUID".to_owned());
    }
    Ok(Box::new(record))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    const ID: &str = "6f1c9f0e-8a2b-4c6d-9e1f-0a2b3c4d5e6f";

    fn stored() -> Value {
        json!({
            "v": 1, "id": ID, "state": "RebootIntent", "since": "2026-11-22T10:00:00Z", "timeout": 60,
            "actor": "ops@host", "holder": "ops@host#1", "method": "pod", "reason": [],
            "nodeUID": "u", "preBootID": "b", "wasUnschedulable": false,
            "baseline": {"daemonsets": ["a/b"], "allocatable": {"cpu": "4"}, "csiDrivers": [], "rack": "r7"},
            "marks": [{"type": "cordon", "color": "red"}, {"type": "silence", "id": "s1", "by": "am"}],
            "attempts": [{"n": 1, "method": "pod", "intentAt": "2026-11-22T10:00:00Z", "trace": "t1"}],
            "domain": {"zone": "z1"}, "lastError": null,
        })
    }

    fn readable(value: &Value) -> Record {
        *parse(&value.to_string()).unwrap()
    }

    fn why(value: &Value) -> String {
        parse(&value.to_string()).unwrap_err()
    }

    #[test]
    fn what_a_later_version_added_is_kept() {
        let mut record = readable(&stored());
        record.state = crate::core::remediation::State::WaitBoot;
        record.attempts[0].outcome = Some(crate::core::remediation::AttemptOutcome::Issued);
        let mut next = record.attempts[0].clone();
        next.n = 2;
        record.attempts.push(next);
        record.marks.remove(0);
        let new: Value = serde_json::from_str(&text(&record, Some(&stored().to_string())).unwrap()).unwrap();
        assert_eq!(new["domain"], json!({"zone": "z1"}));
        assert_eq!(new["baseline"]["rack"], "r7");
        assert_eq!(
            (&new["attempts"][0]["trace"], &new["attempts"][0]["outcome"]),
            (&json!("t1"), &json!("issued"))
        );
        assert_eq!(new["attempts"][1]["trace"], Value::Null);
        assert_eq!(new["marks"], json!([{"type": "silence", "id": "s1"}]), "another mark stands there now");
        assert!(!new.as_object().unwrap().contains_key("lastError"), "known, and not set");
        assert_eq!(readable(&new), record);
    }

    #[test]
    fn a_remediation_takes_nothing_from_another_one() {
        let record = readable(&stored());
        let other = json!({"v": 1, "id": "another", "domain": 1}).to_string();
        for before in [None, Some(other.as_str()), Some("garbage"), Some("[]")] {
            let new: Value = serde_json::from_str(&text(&record, before).unwrap()).unwrap();
            assert_eq!(new["domain"], Value::Null);
        }
    }

    #[test]
    fn what_is_not_as_we_write_it_is_unreadable() {
        let with = |field: &str, value: Value| {
            let mut record = stored();
            record[field] = value;
            record
        };
        for (record, expected) in [
            (json!(null), "no version"),
            (json!([]), "no version"),
            (with("v", Value::Null), "no version"),
            (with("v", json!(2)), "its version is 2"),
            (with("v", json!("1")), "its version is \"1\""),
            (with("state", json!("Exploding")), "unknown variant `Exploding`"),
            (with("method", json!("hammer")), "unknown variant `hammer`"),
            (with("marks", json!([{"type": "curse"}])), "unknown variant `curse`"),
            (with("since", json!("yesterday")), "failed to parse"),
            (with("timeout", json!(-1)), "-1"),
            (with("id", json!("../../pods")), "not a UUID"),
            (with("id", json!(ID.to_uppercase())), "not a UUID"),
            (with("holder", json!("x".repeat(MAX_RECORD))), "64 are allowed"),
        ] {
            let why = why(&record);
            assert!(why.contains(expected), "{expected}: {why}");
            assert!(why.len() < 300, "{why}");
        }
        assert!(parse("").is_err() && parse("{\"v\":1").is_err());
        assert!(why(&with("state", json!("x".repeat(5000)))).len() < 300);
        assert_eq!(read(None), RecordSeen::None);
    }
}
