//! `metadata.managedFields`, coarsely: who wrote last, how and when, and of the fields only who has set
//! `spec.unschedulable`.

use serde_json::{Value, json};

use crate::http::Request;
use crate::time;

/// Notes the writer of this request, which makes `object` of `old`.
pub(super) fn record(object: &mut Value, old: Option<&Value>, request: &Request, subresource: &str) {
    let agent = request.user_agent().split('/').next().unwrap_or_default();
    let manager = request.parameter("fieldManager").unwrap_or_else(|| agent.to_owned());
    let cordon = |object: &Value| object["spec"]["unschedulable"].clone();
    // A field is whose last changed it.
    let (now, before) = (cordon(object), old.map_or(Value::Null, cordon));
    let entries = &mut object["metadata"]["managedFields"];
    if entries.is_null() {
        *entries = json!([]);
    }
    let Some(entries) = entries.as_array_mut() else { return };
    let mut fields = json!({});
    if now != before {
        for entry in entries.iter_mut() {
            entry["fieldsV1"] = json!({});
        }
        if !now.is_null() {
            fields = json!({"f:spec": {"f:unschedulable": {}}});
        }
    }
    let is_same = |entry: &Value| {
        entry["manager"] == manager && entry["subresource"].as_str().unwrap_or_default() == subresource
    };
    if let Some(same) = entries.iter().position(is_same) {
        let had = entries.remove(same)["fieldsV1"].take();
        if now == before {
            fields = had;
        }
    }
    let mut entry = json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": time::now(),
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    });
    if !subresource.is_empty() {
        entry["subresource"] = subresource.into();
    }
    entries.push(entry);
}
