//! Which resources there are, for clients that ask.

use serde_json::{Value, json};

use super::resource::{RESOURCES, Resource};

const ACCESS_REVIEWS: &str = "authorization.k8s.io";
const REVIEWS: &str = "authentication.k8s.io";

/// The document of a path under `/api` or `/apis`; `None` if there is no such group or version.
pub(super) fn document(path: &str) -> Option<Value> {
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match path[..] {
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => {
            let groups: Vec<Value> = groups().into_iter().map(group).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] if groups().contains(&name) => {
            let mut group = group(name);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            Some(group)
        }
        ["api", "v1"] => Some(resources("")),
        ["apis", name, "v1"] if groups().contains(&name) => Some(resources(name)),
        _ => None,
    }
}

pub(super) fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.3-sandbox", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "linux/amd64",
    })
}

/// Every served group but the core's.
fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> =
        RESOURCES.iter().map(|resource| resource.group).chain([ACCESS_REVIEWS, REVIEWS]).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| !group.is_empty());
    groups
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resources(group: &str) -> Value {
    let mut resources = Vec::new();
    for resource in RESOURCES.iter().filter(|resource| resource.group == group) {
        resources.push(entry(resource, ""));
        if resource.status {
            resources.push(entry(resource, "/status"));
        }
    }
    if group == ACCESS_REVIEWS {
        resources.push(json!({
            "name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview",
            "namespaced": false, "kind": "SelfSubjectAccessReview", "verbs": ["create"],
        }));
    }
    if group == REVIEWS {
        resources.push(json!({
            "name": "selfsubjectreviews", "singularName": "selfsubjectreview",
            "namespaced": false, "kind": "SelfSubjectReview", "verbs": ["create"],
        }));
    }
    if group.is_empty() {
        resources.push(json!({
            "name": "pods/portforward", "singularName": "", "namespaced": true,
            "kind": "PodPortForwardOptions", "verbs": ["create", "get"],
        }));
        resources.push(json!({
            "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1",
            "kind": "Eviction", "verbs": ["create"],
        }));
        resources.push(json!({
            "name": "pods/log", "singularName": "", "namespaced": true, "kind": "Pod", "verbs": ["get"],
        }));
    }
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources})
}

fn entry(resource: &Resource, subresource: &str) -> Value {
    let verbs: &[&str] = match subresource {
        "" => &["create", "delete", "get", "list", "patch", "update", "watch"],
        _ => &["get", "patch", "update"],
    };
    json!({
        "name": format!("{}{subresource}", resource.plural),
        "singularName": if subresource.is_empty() { resource.singular } else { "" },
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": verbs, "shortNames": resource.short,
    })
}
