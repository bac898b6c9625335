//! Who may do what, by RBAC or by the double's own rules.

use serde_json::{Value, json};

use super::World;

/// What `remediate` asks for, as (group, resource, verb).
const REMEDIATE: [(&str, &str, &str); 31] = [
    ("", "nodes", "get"),
    ("", "nodes", "list"),
    ("", "nodes", "watch"),
    ("", "nodes", "patch"),
    ("", "nodes/status", "patch"),
    ("", "nodes/proxy", "get"),
    ("coordination.k8s.io", "leases", "get"),
    ("coordination.k8s.io", "leases", "create"),
    ("coordination.k8s.io", "leases", "update"),
    ("coordination.k8s.io", "leases", "watch"),
    ("", "services", "get"),
    ("", "services", "list"),
    ("discovery.k8s.io", "endpointslices", "list"),
    ("", "pods/portforward", "get"),
    ("", "pods/portforward", "create"),
    ("", "pods", "get"),
    ("", "pods", "list"),
    ("", "pods", "watch"),
    ("", "pods", "create"),
    ("", "pods", "delete"),
    ("", "pods/eviction", "create"),
    ("", "pods/log", "get"),
    ("", "events", "create"),
    ("", "events", "list"),
    ("", "persistentvolumeclaims", "get"),
    ("policy", "poddisruptionbudgets", "list"),
    ("policy", "poddisruptionbudgets", "watch"),
    ("apps", "daemonsets", "get"),
    ("storage.k8s.io", "volumeattachments", "list"),
    ("storage.k8s.io", "volumeattachments", "watch"),
    ("storage.k8s.io", "csinodes", "get"),
];

impl World {
    /// A user to impersonate who may do everything that a remediation needs, until something is [taken
    /// away](Self::takes_away).
    pub fn remediator(&self) -> String {
        match &self.doubles {
            Some(_) => self.name("remediator"),
            None => self.user_who_may(&REMEDIATE),
        }
    }

    /// From now on the [remediator](Self::remediator) may do this no more.
    pub fn takes_away(&self, user: &str, resource: &str, verb: &str) {
        self.allows(user, resource, verb, false);
    }

    /// It may again.
    pub fn gives_back(&self, user: &str, resource: &str, verb: &str) {
        self.allows(user, resource, verb, true);
    }

    fn allows(&self, user: &str, resource: &str, verb: &str, allowed: bool) {
        if let Some((api, _)) = &self.doubles {
            if allowed {
                api.allow_to(user, verb, resource);
            } else {
                api.deny_to(user, verb, resource);
            }
            return;
        }
        let rules = REMEDIATE.iter().filter(|(_, one, other)| allowed || (*one, *other) != (resource, verb));
        let patch = json!({"rules": rules.map(rule).collect::<Vec<_>>()});
        let path = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{user}");
        self.request("PATCH", &path, "application/merge-patch+json", &patch);
        let group = REMEDIATE.iter().find(|(_, one, _)| *one == resource).map_or("", |(group, ..)| group);
        self.until_reviewed(user, (group, resource, verb), allowed);
    }

    /// A user to impersonate who may do this (group, resource, verb) and nothing else.
    pub fn user_who_may(&self, rules: &[(&str, &str, &str)]) -> String {
        let user = self.name(&format!("user{}", rules.len()));
        if let Some((api, _)) = &self.doubles {
            api.allow_all();
            for (_, resource, verb) in REMEDIATE.iter().filter(|rule| !rules.contains(rule)) {
                api.deny(verb, resource);
            }
            return user;
        }
        let collection = "/apis/rbac.authorization.k8s.io/v1";
        let wanted = !rules.is_empty();
        let rules: Vec<Value> = rules.iter().map(rule).collect();
        self.create(
            &format!("{collection}/clusterroles"),
            &json!({"metadata": {"name": user}, "rules": rules}),
        );
        self.create(
            &format!("{collection}/clusterrolebindings"),
            &json!({
                "metadata": {"name": user},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            }),
        );
        self.until_reviewed(&user, ("", "nodes", "list"), wanted);
        user
    }

    /// The authorizer reads rules from a watch: they hold once a review says so.
    fn until_reviewed(&self, user: &str, (group, resource, verb): (&str, &str, &str), allowed: bool) {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user,
            "resourceAttributes": {"group": group, "resource": resource, "verb": verb}}});
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.request("POST", path, "application/json", &review)["status"]["allowed"].as_bool()
            != Some(allowed)
        {
            assert!(std::time::Instant::now() < deadline, "the rules of {user} do not take effect");
        }
    }
}

fn rule((group, resource, verb): &(&str, &str, &str)) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]})
}
