//! Machine health checks: controllers that replace a machine whose node is away for too long.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::api::Cluster;
use super::budgets::WireSelector;
use super::remediated::RemediatedNode;
use crate::core::drain::Selector;

/// An API that has Machines, and how a Node says which is its own.
struct Api {
    group: &'static str,
    /// Newest first.
    versions: &'static [&'static str],
    annotation: &'static str,
    /// Where the namespace is if the annotation does not have it.
    namespace: Option<&'static str>,
}

const APIS: [Api; 2] = [
    Api {
        group: "machine.openshift.io",
        versions: &["machine.openshift.io/v1beta1"],
        annotation: "machine.openshift.io/machine",
        namespace: None,
    },
    Api {
        group: "cluster.x-k8s.io",
        versions: &["cluster.x-k8s.io/v1beta2", "cluster.x-k8s.io/v1beta1"],
        annotation: "cluster.x-k8s.io/machine",
        namespace: Some("cluster.x-k8s.io/cluster-namespace"),
    },
];

/// On a `MachineHealthCheck`: it does nothing. Both APIs read it.
const PAUSED: &str = "cluster.x-k8s.io/paused";
/// On a Machine of the Cluster API: none of them acts on it.
const SKIPPED: &str = "cluster.x-k8s.io/skip-remediation";

impl Cluster {
    /// A warning for each health check that may replace the node's machine while it reboots, and one if that may not be read.
    /// Where the API is not installed there is none.
    pub async fn machine_health_checks(&self, node: &RemediatedNode) -> Vec<String> {
        let mut warnings = Vec::new();
        for api in &APIS {
            let Some((namespace, machine)) = api.machine(&node.annotations) else { continue };
            if self.api_groups().await.is_ok_and(|groups| !groups.contains(api.group)) {
                continue; // rules are asked before anything else: it would only be said that it may not be read
            }
            for version in api.versions {
                let base = format!("/apis/{version}/namespaces/{namespace}");
                let machine = self.read_if_there::<Machine>(&format!("{base}/machines/{machine}")).await;
                let checks = self.read_if_there::<Checks>(&format!("{base}/machinehealthchecks")).await;
                let (machine, checks) = match (machine, checks) {
                    (Ok(Some(machine)), Ok(Some(checks))) => (machine, checks),
                    (Err(error), _) | (_, Err(error)) => {
                        let what = "cannot tell whether a MachineHealthCheck may replace the node's machine";
                        warnings.push(format!("{what}: {error}"));
                        break;
                    }
                    _ => continue,
                };
                let group = api.group;
                warnings.extend(checks.items.into_iter().filter(|check| check.may_act_on(&machine)).map(|check| {
                    let name = check.metadata.name;
                    format!(
                        "the MachineHealthCheck {namespace}/{name} selects the node's Machine {}, and may replace it while \
                         it reboots; to stop it: kubectl annotate machinehealthchecks.{group} -n {namespace} {name} {PAUSED}=",
                        machine.metadata.name
                    )
                }));
                break;
            }
        }
        warnings
    }
}

impl Api {
    /// Namespace and name. A kubelet can write both: they have to be names, since they become a path.
    fn machine<'n>(&self, annotations: &'n BTreeMap<String, String>) -> Option<(&'n str, &'n str)> {
        let machine = annotations.get(self.annotation)?;
        let (namespace, name) = match self.namespace {
            Some(annotation) => (annotations.get(annotation)?.as_str(), machine.as_str()),
            None => machine.split_once('/')?,
        };
        (is_name(namespace) && is_name(name)).then_some((namespace, name))
    }
}

#[derive(Deserialize)]
struct Machine {
    metadata: Meta,
}

#[derive(Deserialize)]
struct Meta {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Checks {
    #[serde(default)]
    items: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    selector: WireSelector,
}

impl Check {
    fn may_act_on(&self, machine: &Machine) -> bool {
        !self.metadata.annotations.contains_key(PAUSED)
            && !machine.metadata.annotations.contains_key(SKIPPED)
            && Selector::from(self.spec.selector.clone()).matches(&machine.metadata.labels)
    }
}

/// A label of DNS, or several.
fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_node_says_which_machine_is_its_own() {
        let [openshift, cluster_api] = &APIS;
        let of = |api: &Api, pairs: &[(&str, &str)]| {
            api.machine(&annotations(pairs)).map(|(a, b)| (a.to_owned(), b.to_owned()))
        };
        let found = Some(("ns".to_owned(), "m-1".to_owned()));
        assert_eq!(of(openshift, &[("machine.openshift.io/machine", "ns/m-1")]), found);
        let both = [("cluster.x-k8s.io/machine", "m-1"), ("cluster.x-k8s.io/cluster-namespace", "ns")];
        assert_eq!(of(cluster_api, &both), found);
        assert_eq!(of(cluster_api, &both[..1]), None);
        for odd in ["m-1", "ns/../../secrets/x", "ns/m?x=1", "/m", "ns/"] {
            assert_eq!(of(openshift, &[("machine.openshift.io/machine", odd)]), None, "{odd}");
        }
    }

    #[test]
    fn one_that_is_paused_or_selects_others_does_not_act() {
        let acts = |check: Value, machine: Value| {
            let check: Check = serde_json::from_value(check).unwrap();
            check.may_act_on(&serde_json::from_value(machine).unwrap())
        };
        let check = |more: Value| json!({"metadata": {"name": "c", "annotations": more}, "spec": {"selector": {"matchLabels": {"role": "worker"}}}});
        let machine = |role: &str| json!({"metadata": {"name": "m", "labels": {"role": role}}});
        assert!(acts(check(json!({})), machine("worker")));
        assert!(!acts(check(json!({})), machine("infra")));
        assert!(!acts(check(json!({PAUSED: ""})), machine("worker")));
        let skipped =
            json!({"metadata": {"name": "m", "labels": {"role": "worker"}, "annotations": {SKIPPED: ""}}});
        assert!(!acts(check(json!({})), skipped));
        assert!(acts(json!({"metadata": {"name": "all"}}), machine("worker")), "an empty selector takes all");
    }
}
