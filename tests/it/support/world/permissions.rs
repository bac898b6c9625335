//! Who may do what, by RBAC or by the double's own rules.

use serde_json::{Value, json};

use super::World;

impl World {
    /// A user to impersonate who may do this (group, resource, verb) and nothing else.
    pub fn user_who_may(&self, rules: &[(&str, &str, &str)]) -> String {
        let user = self.name(&format!("user{}", rules.len()));
        if let Some((api, _)) = &self.doubles {
            let all = [
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
                ("policy", "poddisruptionbudgets", "list"),
                ("apps", "daemonsets", "get"),
                ("", "persistentvolumeclaims", "get"),
                ("storage.k8s.io", "volumeattachments", "list"),
                ("storage.k8s.io", "volumeattachments", "watch"),
                ("storage.k8s.io", "csinodes", "get"),
            ];
            api.allow_all();
            for (_, resource, verb) in all.iter().filter(|rule| !rules.contains(rule)) {
                api.deny(verb, resource);
            }
            return user;
        }
        let collection = "/apis/rbac.authorization.k8s.io/v1";
        let rules: Vec<Value> = rules
            .iter()
            .map(|(group, resource, verb)| json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]}))
            .collect();
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
        // The authorizer reads rules from a watch: they hold once a review says so.
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user,
            "resourceAttributes": {"resource": "nodes", "verb": "list"}}});
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let wanted = !rules.is_empty();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.request("POST", path, "application/json", &review)["status"]["allowed"].as_bool()
            != Some(wanted)
        {
            assert!(std::time::Instant::now() < deadline, "the rules of {user} do not take effect");
        }
        user
    }
}
