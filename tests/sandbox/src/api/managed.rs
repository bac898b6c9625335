//! `metadata.managedFields`, coarsely: who wrote last, how and when, but not which fields.

use serde_json::{Value, json};

use crate::http::Request;
use crate::time;

/// Notes the writer of this request.
pub(super) fn record(object: &mut Value, request: &Request, subresource: &str) {
    let agent = request.user_agent().split('/').next().unwrap_or_default();
    let manager = request.parameter("fieldManager").unwrap_or_else(|| agent.to_owned());
    let entries = &mut object["metadata"]["managedFields"];
    if entries.is_null() {
        *entries = json!([]);
    }
    let Some(entries) = entries.as_array_mut() else { return };
    entries.retain(|entry| {
        entry["manager"] != manager || entry["subresource"].as_str().unwrap_or_default() != subresource
    });
    let mut entry = json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": time::now(),
        "fieldsType": "FieldsV1", "fieldsV1": {},
    });
    if !subresource.is_empty() {
        entry["subresource"] = subresource.into();
    }
    entries.push(entry);
}
