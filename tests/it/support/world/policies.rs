//! What an administrator forbids by an admission policy or a webhook: only for one Node, so that scenarios do not meet.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::World;

/// The policy's own sentence.
const FREEZE: &str = "change freeze until Monday";
/// An update with this annotation is refused as well: whether a policy is in force yet has to be found out.
const PROBE: &str = "sciuro-test/policy-probe";

/// What is refused of a Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuses {
    Cordon,
    Uncordon,
    /// Whatever of a remediation is noted on it.
    Record,
}

impl Refuses {
    fn expression(self) -> &'static str {
        match self {
            Self::Cordon => "has(object.spec.unschedulable) && !has(oldObject.spec.unschedulable)",
            Self::Uncordon => "!has(object.spec.unschedulable) && has(oldObject.spec.unschedulable)",
            Self::Record => {
                "object.metadata.?annotations['sciuro.dev/remediation'] != \
                 oldObject.metadata.?annotations['sciuro.dev/remediation']"
            }
        }
    }

    fn is_so(self, old: &Value, new: &Value) -> bool {
        let cordoned = |node: &Value| node["spec"]["unschedulable"] == true;
        let record = |node: &Value| node["metadata"]["annotations"]["sciuro.dev/remediation"].clone();
        match self {
            Self::Cordon => cordoned(new) && !cordoned(old),
            Self::Uncordon => cordoned(old) && !cordoned(new),
            Self::Record => record(old) != record(new),
        }
    }
}

impl World {
    /// From now on the API server refuses this of the node, until the policy is [lifted](Self::lift) or the world ends.
    /// Returns what it says.
    pub fn refuse(&self, node: &str, what: Refuses) -> String {
        let name = policy(node);
        let sentence =
            format!("ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {FREEZE}");
        if let Some((api, _)) = &self.doubles {
            let refuses = move |old: &Value, new: &Value| what.is_so(old, new);
            api.store().refuse(&name, ("nodes", node), FREEZE, refuses);
            return sentence;
        }
        let group = "/apis/admissionregistration.k8s.io/v1";
        let probe = format!("has(object.metadata.annotations) && '{PROBE}' in object.metadata.annotations");
        let expression = format!("!({}) && !({probe})", what.expression());
        self.create(
            &format!("{group}/validatingadmissionpolicies"),
            &json!({"metadata": {"name": name}, "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["UPDATE"], "resources": ["nodes"], "resourceNames": [node]}]},
                "validations": [{"expression": expression, "message": FREEZE}]}}),
        );
        self.create(
            &format!("{group}/validatingadmissionpolicybindings"),
            &json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}),
        );
        self.until_probed(
            node,
            "a policy in force",
            |answer| matches!(answer, Err(kube::Error::Api(status)) if status.message.contains(FREEZE)),
        );
        sentence
    }

    /// The policy of this node is no more.
    pub fn lift(&self, node: &str) {
        let name = policy(node);
        if let Some((api, _)) = &self.doubles {
            api.store().allow(&name);
            return;
        }
        for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{name}");
            self.request("DELETE", &path, "application/json", &Value::Null);
        }
        self.until_probed(node, "a policy that is gone", Result::is_ok);
    }

    /// From now on each change of the node fails, as where a webhook is away that must be asked. Returns what is said.
    pub fn break_admission(&self, node: &str) -> &'static str {
        const WEBHOOK: &str = "away.sciuro.example";
        if let Some((api, _)) = &self.doubles {
            let message = format!("failed calling webhook {WEBHOOK:?}: connection refused");
            api.faults().on("PATCH", &format!("/api/v1/nodes/{node}")).status(500).message(&message);
            return WEBHOOK;
        }
        self.create(
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
            &json!({"metadata": {"name": policy(node)}, "webhooks": [{
                "name": WEBHOOK, "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
                "clientConfig": {"url": "https://127.0.0.1:1/"}, "timeoutSeconds": 1,
                "matchConditions": [{"name": "ours", "expression": format!("object.metadata.name == '{node}'")}],
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"]}],
            }]}),
        );
        self.until_probed(
            node,
            "a webhook that is asked",
            |answer| matches!(answer, Err(kube::Error::Api(status)) if status.message.contains(WEBHOOK)),
        );
        WEBHOOK
    }

    /// The webhook is asked no more.
    pub fn mend_admission(&self, node: &str) {
        if let Some((api, _)) = &self.doubles {
            api.faults().clear();
            return;
        }
        let kind = "validatingwebhookconfigurations";
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{}", policy(node));
        self.request("DELETE", &path, "application/json", &Value::Null);
        self.until_probed(node, "a webhook that is asked no more", Result::is_ok);
    }

    fn until_probed(&self, node: &str, what: &str, so: impl Fn(&Result<Value, kube::Error>) -> bool) {
        let path = format!("/api/v1/nodes/{node}?dryRun=All");
        let patch = json!({"metadata": {"annotations": {PROBE: ""}}});
        let deadline = Instant::now() + Duration::from_secs(20);
        while !so(&self.try_api("PATCH", &path, "application/merge-patch+json", &patch)) {
            assert!(Instant::now() < deadline, "not in 20 s: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn policy(node: &str) -> String {
    format!("freeze-{node}")
}
