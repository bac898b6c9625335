//! A namespace that is deleted ends when everything in it has: pods take their grace.

use serde_json::{Value, json};

use super::{change, is_ending};
use crate::api::deletion;
use crate::api::resource::{RESOURCES, Resource};
use crate::api::store::Store;

pub(super) fn settle(store: &mut Store) {
    for namespace in store.select("namespaces", None) {
        if !is_ending(&namespace) {
            continue;
        }
        let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
        let mut left = 0;
        for resource in RESOURCES.iter().filter(|resource| resource.namespaced) {
            for object in store.select(resource.plural, Some(name)) {
                left += usize::from(!end(store, resource, name, &object));
            }
        }
        if left == 0 {
            store.remove("namespaces", "", name);
        }
    }
}

/// Whether it is gone.
fn end(store: &mut Store, resource: &Resource, namespace: &str, object: &Value) -> bool {
    if is_ending(object) {
        return false;
    }
    if let Some(ending) = deletion::begin(resource, object, &json!({})) {
        change(store, resource.plural, object, |object| *object = ending);
        return false;
    }
    store.remove(resource.plural, namespace, object["metadata"]["name"].as_str().unwrap_or_default());
    true
}
