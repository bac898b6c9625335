//! Admission policies: what the server refuses although it is allowed and valid.

use serde_json::Value;

use super::resource::Resource;
use super::status::{Result, Status};

/// Of the old and the new form of an object.
type Refuses = Box<dyn Fn(&Value, &Value) -> bool + Send>;

/// A `ValidatingAdmissionPolicy` that is bound to updates of one object.
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) resource: &'static str,
    pub(super) object: String,
    pub(super) message: String,
    pub(super) refuses: Refuses,
}

/// The server asks them last, and of dry runs, too.
pub(super) fn admit(policies: &[Policy], resource: &Resource, old: &Value, new: &Value) -> Result<()> {
    let object = new["metadata"]["name"].as_str().unwrap_or_default();
    let concerned = |policy: &&Policy| policy.resource == resource.plural && policy.object == object;
    match policies.iter().filter(concerned).find(|policy| (policy.refuses)(old, new)) {
        Some(Policy { name, message, .. }) => Err(Status::policy(resource, object, name, message)),
        None => Ok(()),
    }
}

/// Annotations of an object may have so many bytes, all together (`ValidateAnnotationsSize` of apimachinery).
const MAX_ANNOTATIONS: usize = 256 << 10;

pub(super) fn check_annotations(resource: &Resource, new: &Value) -> Result<()> {
    let annotations = new["metadata"]["annotations"].as_object();
    let size = |(key, value): (&String, &Value)| key.len() + value.as_str().unwrap_or_default().len();
    if annotations.into_iter().flatten().map(size).sum::<usize>() <= MAX_ANNOTATIONS {
        return Ok(());
    }
    let detail = format!("Too long: may not be more than {MAX_ANNOTATIONS} bytes");
    let Resource { group, kind, .. } = resource;
    let object = new["metadata"]["name"].as_str().unwrap_or_default();
    Err(Status::invalid(group, kind, object, "metadata.annotations", "FieldValueTooLong", &detail))
}
