//! What the alert sources say of a node that is remediated.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cluster::{Cluster, LeaseKey, RemediatedNode};
use crate::command::reach::Reach;
use crate::command::render::count;
use crate::core::alert::Alert;
use crate::core::alerts_gone::AlertsGone;
use crate::core::clusters::Scope;
use crate::core::matcher::Matcher;
use crate::core::memory::Memory;
use crate::core::node::Node;
use crate::core::remediation::Reason;
use crate::core::selection::nodes_of;
use crate::core::silence::{SilenceMatcher, Silenced, matchers};
use crate::core::source::{Canary, Failure, gather};
use crate::core::verify::AlertsSeen;
use crate::error::Result;
use crate::remedy::collect::Attached;
use crate::settings::{RemediateSettings, SourceSettings};
use crate::source::{Raw, Sources};
use crate::ui::Ui;

/// How long after an answer the sources are asked again.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Nobody waits longer for what only adds to a bundle, or to a plan.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where sync keeps what it knows, unless it is told otherwise.
pub(super) const SYNC_LEASE: &str = "sciuro-sync";

/// The alert sources of one command.
pub(super) struct Alerts<'a> {
    pub(super) sources: Sources,
    source: &'a SourceSettings,
    settings: &'a RemediateSettings,
    cluster: &'a Arc<Cluster>,
}

/// What a plan says of them.
#[derive(Debug, Default)]
pub(super) struct AlertsPlan {
    /// Where the alerts have to be gone at the end.
    pub(super) verified_at: Vec<String>,
    /// What is silenced; empty = nothing.
    pub(super) silence: Vec<SilenceMatcher>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Alerts<'a> {
    /// `None` if no source is given.
    pub(super) fn of(
        settings: &'a RemediateSettings,
        cluster: &'a Arc<Cluster>,
        ui: &Arc<Ui>,
    ) -> Result<Option<Self>> {
        let Some(source) = &settings.source else { return Ok(None) };
        let reach = Reach::new(cluster.clone(), ui.clone(), source.via);
        Ok(Some(Self { sources: Sources::new(source, Arc::new(reach))?, source, settings, cluster }))
    }

    /// What will be asked of them, and whether that can succeed as things are.
    pub(super) async fn plan(&self, node: &RemediatedNode, reasons: &[Reason]) -> AlertsPlan {
        let mut plan = AlertsPlan::default();
        plan.warnings.extend(self.source.filters.iter().filter_map(Matcher::doubt));
        if self.settings.verify.alerts {
            plan.verified_at = self.sources.names();
            if let Some(mut gone) = self.gone(&node.name, reasons).await {
                match tokio::time::timeout(PATIENCE, self.look(&mut gone)).await {
                    Ok(AlertsSeen::Untrusted(why)) => plan
                        .warnings
                        .push(format!("that the alerts are gone could not be verified as it is now: {why}")),
                    Ok(AlertsSeen::Gone | AlertsSeen::Firing(_)) => {}
                    Err(_) => plan.warnings.push(no_answer()),
                }
            }
        }
        if self.settings.silence {
            match self.silenced(&node.name).await {
                Ok(Silenced { matchers, missed, alerts }) => {
                    if let Some(first) = matchers.first().filter(|_| missed > 0) {
                        plan.warnings.push(format!(
                            "{missed} of the node's {} will not be silenced: they do not match {first}",
                            count(alerts, "alert")
                        ));
                    }
                    plan.silence = matchers;
                }
                Err(why) => plan.warnings.push(format!("nothing will be silenced: {why}")),
            }
            if !self.settings.verify.alerts {
                let why = "sync takes a silenced alert for one that has ended: with --silence and --no-verify-alerts, \
                           nothing says whether the alerts are really gone";
                plan.warnings.push(why.to_owned());
            }
        }
        plan
    }

    /// `None` if there is nothing to verify.
    pub(super) async fn gone(&self, node: &str, reasons: &[Reason]) -> Option<AlertsGone> {
        if !self.settings.verify.alerts {
            return None;
        }
        let known = self.known_by_sync().await;
        let settings = self.settings;
        let (selection, label) = (&settings.selection, &settings.cluster_label);
        AlertsGone::new(node, reasons, selection, label, &self.source.filters, &self.source.canary, &known)
    }

    async fn known_by_sync(&self) -> Memory {
        let key = LeaseKey { namespace: self.settings.lease_namespace.clone(), name: SYNC_LEASE.to_owned() };
        Memory::read(&self.cluster.lease_annotations(&key).await.ok().flatten().unwrap_or_default())
    }

    /// Asks again and again, and tells what it hears. It has no end.
    pub(super) async fn follow(&self, mut gone: AlertsGone, tell: &watch::Sender<Option<AlertsSeen>>) {
        loop {
            tell.send_replace(Some(self.look(&mut gone).await));
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn look(&self, gone: &mut AlertsGone) -> AlertsSeen {
        let asked = self.sources.fetch(self.source.canary.name());
        match futures::join!(asked, self.cluster.list_nodes()) {
            (groups, Ok(nodes)) => gone.look(groups, &nodes),
            (_, Err(error)) => AlertsSeen::Untrusted(format!("the nodes cannot be listed: {error}")),
        }
    }

    /// What a silence for this node has to match, or why there is none.
    pub(super) async fn silenced(&self, node: &str) -> std::result::Result<Silenced, String> {
        let asked = async {
            futures::join!(self.sources.fetch(None), self.cluster.list_nodes(), self.known_by_sync())
        };
        let (groups, nodes, known) = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| no_answer())?;
        let nodes = nodes.map_err(|error| format!("the nodes cannot be listed: {error}"))?;
        let place = nodes.iter().position(|one| one.name == node).ok_or("the node is not listed")?;
        let gathered = gather(groups, &Canary::None, false, None);
        // Which labels its alerts have is not known from those that could not be had.
        if let Some((_, failure)) = gathered.trust.failures().next()
            && gathered.trust.failures().count() == gathered.trust.members().count()
        {
            return Err(failure.what.clone());
        }
        let scope = Scope {
            policy: &self.settings.selection,
            cluster_label: &self.settings.cluster_label,
            filters: &self.source.filters,
            known: &known.clusters,
        };
        matchers(&gathered.alerts, &nodes, place, scope)
    }

    /// The node's alerts as the sources give them, for a bundle.
    pub(super) async fn raw(&self, node: &str) -> Vec<Attached> {
        let failed =
            |why: String| vec![Attached { name: "alerts/alerts.json".to_owned(), content: Err(why) }];
        let asked = async {
            let nodes = self.cluster.list_nodes().await;
            let nodes = nodes.map_err(|error| format!("the nodes cannot be listed: {error}"))?;
            let place = nodes.iter().position(|one| one.name == node).ok_or("the node is not listed")?;
            let names = names(&nodes[place]);
            let may_name = move |alert: &Alert| {
                alert.labels.iter().any(|(_, value)| {
                    let value = value.to_lowercase();
                    names.iter().any(|name| value.contains(name.as_str()))
                })
            };
            let mut members = self.sources.raw(may_name).await;
            for member in members.iter_mut().flatten() {
                let alerts: Vec<Alert> = member.alerts.iter().map(labelled).collect();
                let mut places = nodes_of(&alerts, &nodes, &self.settings.selection).into_iter();
                member.alerts.retain(|_| places.next().is_some_and(|places| places.contains(&place)));
            }
            Ok::<_, String>(members)
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(members)) => attached(members),
            Ok(Err(why)) => failed(why),
            Err(_) => failed(no_answer()),
        }
    }
}

/// What an alert about the node has in some label, in lower case; not every alert that has is about it.
fn names(node: &Node) -> Vec<String> {
    let short = node.name.split('.').next().unwrap_or(&node.name).to_owned();
    let provider = node.provider_id.as_ref().and_then(|id| id.rsplit('/').next()).map(str::to_owned);
    let all = [short]
        .into_iter()
        .chain(node.hostname.clone())
        .chain(node.addresses.iter().cloned())
        .chain(provider);
    all.map(|name| name.to_lowercase()).filter(|name| !name.is_empty()).collect()
}

fn labelled(alert: &Value) -> Alert {
    let labels = alert["labels"].as_object().into_iter().flatten();
    let labels = labels.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
    Alert { labels, ..Alert::default() }
}

fn attached(members: Vec<std::result::Result<Raw, Failure>>) -> Vec<Attached> {
    let mut attached = Vec::new();
    let (mut alerts, mut silences) = (Vec::new(), Vec::new());
    for (place, member) in members.into_iter().enumerate() {
        match member {
            Ok(Raw { member, alerts: of_alerts, silences: of_silences }) => {
                alerts.push(json!({"source": member, "alerts": of_alerts}));
                silences.push(json!({"source": member, "silences": of_silences}));
            }
            Err(failure) => {
                attached.push(Attached { name: format!("alerts/{place}.json"), content: Err(failure.what) });
            }
        }
    }
    if !alerts.is_empty() {
        let file =
            |name: &str, content| Attached { name: format!("alerts/{name}.json"), content: Ok(content) };
        attached.extend([file("alerts", Value::Array(alerts)), file("silences", Value::Array(silences))]);
    }
    attached
}

fn no_answer() -> String {
    format!("no answer within {}s", PATIENCE.as_secs())
}
