//! The permissions that a remediation takes, verb by verb.

use std::collections::BTreeSet;

use crate::cli::Tier;
use crate::cluster::{MEDIK8S_NAMESPACE, Permission, Rule, is_of_medik8s};

const fn rule(group: &'static str, resource: &'static str) -> Rule<'static> {
    Rule { group, resource, namespace: None }
}

const PODS: Rule<'static> = rule("", "pods");
const EVICTIONS: Rule<'static> = rule("", "pods/eviction");
const LOGS: Rule<'static> = rule("", "pods/log");
const KUBELET: Rule<'static> = rule("", "nodes/proxy");
const EVENTS: Rule<'static> = rule("", "events");
const BUDGETS: Rule<'static> = rule("policy", "poddisruptionbudgets");
const DAEMON_SETS: Rule<'static> = rule("apps", "daemonsets");
const CLAIMS: Rule<'static> = rule("", "persistentvolumeclaims");
const ATTACHMENTS: Rule<'static> = rule("storage.k8s.io", "volumeattachments");
const CSI_NODES: Rule<'static> = rule("storage.k8s.io", "csinodes");

const MAINTENANCES: Rule<'static> = rule("nodemaintenance.medik8s.io", "nodemaintenances");
/// Those whose health checks may replace a machine.
const MACHINES: [&str; 2] = ["machine.openshift.io", "cluster.x-k8s.io"];

/// Where kubelets renew the Leases of their nodes.
const NODE_LEASES: &str = "kube-node-lease";
/// Where events about nodes go: a cluster-scoped object has no namespace of its own.
const NODE_EVENTS: &str = "default";

/// What a run depends on.
pub(in crate::command) struct Run<'r> {
    pub(in crate::command) lease_namespace: &'r str,
    /// Where the pods that reboot machines or look at them are; `None` = the run takes none.
    pub(in crate::command) helper_namespace: Option<&'r str>,
    /// What is asked for diagnostics.
    pub(in crate::command) tiers: &'r [Tier],
    pub(in crate::command) skips_drain: bool,
    pub(in crate::command) disables_eviction: bool,
    /// The API groups that the server has: of others nothing is asked.
    pub(in crate::command) groups: &'r BTreeSet<String>,
}

pub(in crate::command) struct Need {
    pub(in crate::command) permission: Permission,
    /// Without it a run goes on, and something is missing at its end.
    pub(in crate::command) is_optional: bool,
}

pub(in crate::command) fn needs(run: &Run<'_>) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |verbs: &[&'static str], rule: &Rule<'static>, namespace: Option<&str>| {
        needs.extend(verbs.iter().map(|verb| Need {
            permission: Permission::of(verb, rule).within(namespace),
            is_optional: false,
        }));
    };
    need(&["get", "list", "watch", "patch"], &Rule::NODES, None);
    need(&["get", "create", "update"], &Rule::LEASES, Some(run.lease_namespace));
    need(&["get"], &Rule::LEASES, Some(NODE_LEASES));
    need(&["list", "watch"], &PODS, None);
    need(&["get"], &CSI_NODES, None);
    if !run.skips_drain {
        need(
            if run.disables_eviction { &["delete"] } else { &["create"] },
            if run.disables_eviction { &PODS } else { &EVICTIONS },
            None,
        );
        need(&["list"], &BUDGETS, None);
        need(&["get"], &DAEMON_SETS, None);
        need(&["list", "watch"], &ATTACHMENTS, None);
    }
    if let Some(namespace) = run.helper_namespace {
        need(&["create", "delete"], &PODS, Some(namespace));
    }
    if run.tiers.contains(&Tier::Kubelet) {
        need(&["get"], &KUBELET, None);
    }
    if run.tiers.contains(&Tier::Host) {
        need(&["get"], &LOGS, run.helper_namespace);
    }
    let optional = |verb, rule: &Rule<'static>, namespace| Need {
        permission: Permission::of(verb, rule).within(namespace),
        is_optional: true,
    };
    // Which volumes stay with pods that stay: without it as many of those of evicted pods may not be waited for.
    needs.extend((!run.skips_drain).then(|| optional("get", &CLAIMS, None)));
    // Without news of budgets a drain asks again and again.
    let asks_budgets = !run.skips_drain && !run.disables_eviction;
    needs.extend(asks_budgets.then(|| optional("watch", &BUDGETS, None)));
    // How the pod that looks at the machine has ended.
    needs.extend(run.tiers.contains(&Tier::Host).then(|| optional("get", &PODS, run.helper_namespace)));
    // Whether somebody else is at work on the node, or would replace its machine.
    if run.groups.iter().any(|group| is_of_medik8s(group)) {
        needs.push(optional("list", &MAINTENANCES, None));
        let leases = |verb| optional(verb, &Rule::LEASES, Some(MEDIK8S_NAMESPACE));
        needs.extend(["get", "create", "update"].map(leases));
    }
    for group in MACHINES.into_iter().filter(|group| run.groups.contains(*group)) {
        needs.push(optional("get", &rule(group, "machines"), None));
        needs.push(optional("list", &rule(group, "machinehealthchecks"), None));
    }
    needs.extend([
        optional("patch", &Rule::NODES_STATUS, None),
        optional("create", &EVENTS, Some(NODE_EVENTS)),
        optional("list", &EVENTS, None),
        optional("get", &LOGS, None),
    ]);
    needs
}
