//! What a request is about.

use super::resource::Resource;
use super::status::Status;
use crate::http::Request;

/// Who everybody is here.
pub(super) const USER: &str = "sandbox";

pub(super) enum Route {
    Version,
    /// `/readyz` and the like.
    Health,
    /// A discovery document; the path says which.
    Discovery,
    SelfSubjectAccessReview,
    /// Who asks?
    SelfSubjectReview,
    Objects(Info),
    UnknownResource,
    UnknownPath,
}

/// The attributes of a request for objects, as an authorizer sees them.
pub(super) struct Info {
    pub(super) verb: &'static str,
    pub(super) resource: &'static Resource,
    /// `None`: of the whole cluster.
    pub(super) namespace: Option<String>,
    /// Empty: a collection.
    pub(super) name: String,
    authorized_name: String,
    /// Empty: the object itself.
    pub(super) subresource: String,
}

impl Route {
    pub(super) fn of(request: &Request) -> Self {
        let path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
        match path[..] {
            ["version"] => Self::Version,
            ["readyz" | "livez" | "healthz", ..] => Self::Health,
            ["api" | "apis"] | ["api", "v1"] | ["apis", _] | ["apis", _, _] => Self::Discovery,
            ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => {
                Self::SelfSubjectAccessReview
            }
            ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => Self::SelfSubjectReview,
            ["api", version, ref rest @ ..] => {
                Info::of(request, "", version, rest).map_or(Self::UnknownResource, Self::Objects)
            }
            ["apis", group, version, ref rest @ ..] => {
                Info::of(request, group, version, rest).map_or(Self::UnknownResource, Self::Objects)
            }
            _ => Self::UnknownPath,
        }
    }
}

impl Info {
    fn of(request: &Request, group: &str, version: &str, rest: &[&str]) -> Option<Self> {
        let (namespace, rest) = match rest {
            // A namespace's own subresources look like resources in it.
            ["namespaces", namespace, rest @ ..] if !matches!(rest, [] | ["status" | "finalize"]) => {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (plural, "", ""),
            [plural, name] => (plural, *name, ""),
            [plural, name, subresource] => (plural, *name, *subresource),
            // What follows is the kubelet's.
            [plural @ "nodes", name, "proxy", ..] => (plural, *name, "proxy"),
            _ => return None,
        };
        let resource = Resource::find(group, version, plural)?;
        if namespace.is_some() != resource.namespaced && (namespace.is_some() || !name.is_empty()) {
            return None;
        }
        let known = match subresource {
            "" => true,
            "status" => resource.status,
            "proxy" => resource.plural == "nodes",
            "portforward" | "eviction" | "log" => resource.plural == "pods",
            _ => false,
        };
        if !known {
            return None;
        }
        let watch = request.parameter("watch").is_some_and(|watch| watch == "true" || watch == "1");
        let verb = match (request.method.as_str(), name.is_empty()) {
            ("GET", true) if watch => "watch",
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            ("DELETE", false) => "delete",
            _ => "",
        };
        // A list of one name is a request for that name, to an authorizer.
        let selected = request.parameter("fieldSelector").unwrap_or_default();
        let selected = selected.strip_prefix("metadata.name=").unwrap_or_default();
        let authorized_name = if name.is_empty() { selected } else { name }.to_owned();
        let (name, subresource) = (name.to_owned(), subresource.to_owned());
        Some(Self { verb, resource, namespace, name, authorized_name, subresource })
    }

    /// `nodes/status`, as rules name it.
    pub(super) fn rule_resource(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.plural.to_owned(),
            subresource => format!("{}/{subresource}", self.resource.plural),
        }
    }

    pub(super) fn forbidden(&self, user: &str) -> Status {
        let object = match self.authorized_name.as_str() {
            "" => self.resource.full_name(),
            name => format!("{} \"{name}\"", self.resource.full_name()),
        };
        let scope = match &self.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let message = format!(
            "{object} is forbidden: User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {scope}",
            self.verb,
            self.rule_resource(),
            self.resource.group,
        );
        Status::forbidden(message, self.resource, &self.authorized_name)
    }

    /// As the API server refuses a WebSocket to whom `create` is not allowed.
    pub(super) fn forbidden_silently(&self) -> Status {
        let message = format!("{} \"{}\" is forbidden: ", self.resource.full_name(), self.authorized_name);
        Status::forbidden(message, self.resource, &self.authorized_name)
    }
}
