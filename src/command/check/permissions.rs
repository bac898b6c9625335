//! Which permission each command needs, whether it is granted, and what would grant it.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all};
use serde_json::{Value, json};

use super::line::Line;
use crate::cli::{CheckedCommand, Via};
use crate::cluster::{ApiError, Cluster, PORT_FORWARD_VERBS, Permission, Rule};
use crate::command::remediate::needs;
use crate::settings::{Address, CheckSettings};

/// The name of what is printed to be applied: no other Role is overwritten by it.
const ROLE: &str = "sciuro-missing";

/// A permission, and the commands that need it.
struct Need {
    permission: Permission,
    by: String,
    /// They can do without.
    is_optional: bool,
}

impl Need {
    fn new(permission: Permission, by: &str) -> Self {
        Self { permission, by: by.to_owned(), is_optional: false }
    }
}

/// What the server said of each, and who asks.
pub(super) struct Asked {
    answers: Vec<(Need, Result<bool, ApiError>)>,
    user: Option<String>,
}

pub(super) async fn check(settings: &CheckSettings, cluster: &Cluster) -> Asked {
    // If they cannot be told, nothing else works.
    let groups = tokio::time::timeout(super::PATIENCE, cluster.api_groups()).await;
    let groups = groups.ok().and_then(Result::ok).unwrap_or_default();
    let answers = join_all(needs(settings, cluster, &groups).into_iter().map(|need| async {
        let asked = tokio::time::timeout(super::PATIENCE, cluster.may(&need.permission)).await;
        let answer = asked.unwrap_or_else(|_| Err(ApiError::Broken("it takes too long".to_owned())));
        (need, answer)
    }));
    let user = tokio::time::timeout(super::PATIENCE, cluster.user_name());
    let (answers, user) = join(answers, user).await;
    Asked { answers, user: user.ok().and_then(Result::ok).flatten() }
}

fn needs(settings: &CheckSettings, cluster: &Cluster, groups: &BTreeSet<String>) -> Vec<Need> {
    let is_covered = |need: &Need| {
        settings.commands.iter().any(|command| need.by.split(", ").any(|by| by.starts_with(command.name())))
    };
    let mut needs: Vec<Need> = of_sync_and_status(settings, cluster).into_iter().filter(is_covered).collect();
    if settings.covers(CheckedCommand::Remediate) {
        add_those_of_remediate(settings, groups, &mut needs);
    }
    needs
}

fn add_those_of_remediate(settings: &CheckSettings, groups: &BTreeSet<String>, needs: &mut Vec<Need>) {
    const REMEDIATE: &str = "remediate";
    let run = needs::Run {
        lease_namespace: &settings.lease.namespace,
        helper_namespace: (!settings.helpers().is_empty()).then_some(settings.helper_namespace.as_str()),
        tiers: &settings.collects,
        skips_drain: false,
        disables_eviction: false,
        groups,
    };
    for needs::Need { permission, is_optional } in needs::needs(&run) {
        match needs.iter_mut().find(|need| need.permission == permission) {
            Some(need) => need.by = format!("{}, {REMEDIATE}", need.by),
            None => needs.push(Need { is_optional, ..Need::new(permission, REMEDIATE) }),
        }
    }
}

fn of_sync_and_status(settings: &CheckSettings, cluster: &Cluster) -> Vec<Need> {
    let lease = &settings.lease;
    let on_lease = |verb| Permission::of(verb, &Rule::LEASES).within(Some(&lease.namespace)).on(&lease.name);
    let create_lease = Permission::of("create", &Rule::LEASES).within(Some(&lease.namespace));
    let mut needs = vec![
        Need::new(Permission::of("list", &Rule::NODES), "status, sync"),
        Need::new(Permission::of("watch", &Rule::NODES), "status -w, sync --loop"),
        Need::new(Permission::of("patch", &Rule::NODES_STATUS), "sync"),
        Need::new(on_lease("get"), "status, sync"),
        Need::new(create_lease, "sync"),
        Need::new(on_lease("update"), "sync"),
    ];
    let Some(source) = &settings.source else { return needs };
    let through_server = match source.via {
        Via::Auto => !cluster.is_in_cluster(),
        Via::Direct => false,
        Via::PortForward => true,
    };
    let mut services: Vec<(&str, Option<&str>)> = source
        .groups
        .iter()
        .flat_map(|group| &group.members)
        .flat_map(|member| match member {
            Address::Url(_) => Vec::new(),
            Address::Service { namespace, name, .. } => vec![(namespace.as_str(), Some(name.as_str()))],
            // What it is called is not known yet.
            Address::Auto { namespaces } => {
                namespaces.iter().map(|namespace| (namespace.as_str(), None)).collect()
            }
        })
        .collect();
    services.sort_unstable();
    services.dedup();
    for (namespace, name) in services {
        let namespace = Some(namespace);
        let get = Permission::of("get", &Rule::SERVICES).within(namespace);
        if let Some(name) = name {
            needs.push(Need::new(get.on(name), "sync, remediate, svc://"));
        } else {
            let list = Permission::of("list", &Rule::SERVICES).within(namespace);
            needs.push(Need::new(list, "sync, remediate, --alertmanager auto"));
            needs.push(Need::new(get, "sync, remediate, --alertmanager auto"));
        }
        let slices = Permission::of("list", &Rule::ENDPOINT_SLICES).within(namespace);
        needs.push(Need::new(slices, "sync, remediate, svc://"));
        if through_server {
            needs.extend(PORT_FORWARD_VERBS.map(|verb| {
                let forward = Permission::of(verb, &Rule::PORT_FORWARD).within(namespace);
                Need::new(forward, "sync, remediate, port-forward")
            }));
        }
    }
    needs
}

impl Asked {
    /// The lines, and the objects that would grant what is missing. A Lease that exists need not be created.
    pub(super) fn finish(self, lease_exists: bool) -> (Vec<Line>, Vec<Value>) {
        let mut missing = Vec::new();
        let mut lines = Vec::new();
        for (need, answer) in self.answers {
            let Need { permission, by, is_optional } = need;
            let name = format!("may {permission}");
            lines.push(match answer {
                Ok(true) => Line::ok(name, by),
                Ok(false)
                    if lease_exists
                        && !by.contains("remediate")
                        && permission.verb == "create"
                        && permission.resource == "leases" =>
                {
                    Line::ok(name, format!("not needed, the Lease is there ({by})"))
                }
                Ok(false) => {
                    let line = Line::failed(name, format!("not granted; needed by {by}"));
                    missing.push(permission);
                    if is_optional { line.softened() } else { line }
                }
                Err(error) => {
                    let reviews = Rule {
                        group: "authorization.k8s.io",
                        resource: "selfsubjectaccessreviews",
                        namespace: None,
                    };
                    Line::of_api(name, &error, "create", &reviews)
                }
            });
        }
        (lines, manifests(&missing, self.user.as_deref()))
    }
}

/// A `ClusterRole` or `Role` for each place, bound to the user if the server says who that is.
fn manifests(missing: &[Permission], user: Option<&str>) -> Vec<Value> {
    type Of<'p> = (&'p str, &'p str, Option<&'p str>);
    let mut places: BTreeMap<Option<&str>, BTreeMap<Of<'_>, Vec<&str>>> = BTreeMap::new();
    for permission in missing {
        let place = places.entry(permission.namespace.as_deref()).or_default();
        let of = (permission.group, permission.resource, permission.name.as_deref());
        place.entry(of).or_default().push(permission.verb);
    }
    let mut objects = Vec::new();
    for (namespace, rules) in places {
        let rules: Vec<Value> = rules
            .into_iter()
            .map(|((group, resource, name), verbs)| {
                let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
                if let Some(name) = name {
                    rule["resourceNames"] = json!([name]);
                }
                rule
            })
            .collect();
        let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        let object = |kind: &str| {
            let mut object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": ROLE}});
            if let Some(namespace) = namespace {
                object["metadata"]["namespace"] = namespace.into();
            }
            object
        };
        let mut role = object(kind);
        role["rules"] = rules.into();
        objects.push(role);
        if let Some(user) = user {
            let mut binding = object(&format!("{kind}Binding"));
            binding["roleRef"] = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": ROLE});
            binding["subjects"] = json!([subject(user)]);
            objects.push(binding);
        }
    }
    objects
}

fn subject(user: &str) -> Value {
    match user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':')) {
        Some((namespace, name)) => json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}),
        None => json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}),
    }
}
