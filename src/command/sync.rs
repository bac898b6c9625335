//! `kubectl sciuro sync`: one round, or one after another. Fetch and list, select, plan, write, say what was done.

mod lease;
mod looping;
mod purge;
mod refusal;
mod report;
mod trust;
mod write;

use std::sync::Arc;

use jiff::Timestamp;

pub(super) use self::lease::holder;
use self::report::Report;
use self::write::{NodePlan, Progress};
use super::clusters;
use super::names;
use super::reach::Reach;
use super::render;
use super::stop::{Stopped, until_stopped};
use crate::cli::DryRun;
use crate::cluster::{Cluster, Rule};
use crate::core::clusters::{Clusters, Doubt, Learning, Ours, Scope, ours};
use crate::core::condition::SourceState;
use crate::core::memory::Memory;
use crate::core::node::Node;
use crate::core::round::{self, Notice, Situation};
use crate::core::selection::Selection;
use crate::core::source::{Gathered, WATCHDOG, gather};
use crate::error::{Error, Exit, Result};
use crate::settings::{SourceSettings, SyncSettings};
use crate::source::Sources;
use crate::ui::Ui;

pub(super) async fn run(settings: &SyncSettings, cluster: &Arc<Cluster>, ui: &Arc<Ui>) -> Result<Exit> {
    let Some(source) = &settings.source else {
        return Box::pin(purge::run(settings, cluster, ui)).await;
    };
    if settings.loops {
        return Box::pin(looping::run(source, settings, cluster, ui)).await;
    }
    let hold = lease::take(settings, cluster, ui).await?;
    let memory = lease::remembered(hold.as_ref(), settings, cluster).await;
    let progress = Progress::default();
    let job = Job { source, settings, cluster, ui };
    let work = Box::pin(async { round(&job, sources(source, cluster, ui)?, memory, &progress).await });
    let outcome = until_stopped(hold.as_ref(), work).await;
    match outcome {
        Ok(Ok(report)) => {
            lease::release(hold, Some(&report), settings, ui).await;
            report.print(settings, ui);
            report.exit(settings)
        }
        Ok(Err(error)) => {
            lease::release(hold, None, settings, ui).await;
            Err(error)
        }
        Err(stopped) => {
            lease::release(hold, None, settings, ui).await;
            Err(stopped_error(stopped, &progress, settings, ui))
        }
    }
}

/// What is to be done, and with what.
struct Job<'j> {
    source: &'j SourceSettings,
    settings: &'j SyncSettings,
    cluster: &'j Arc<Cluster>,
    ui: &'j Ui,
}

impl<'j> Job<'j> {
    fn scope(&self, memory: &'j Memory) -> Scope<'j> {
        Scope {
            policy: &self.settings.selection,
            cluster_label: &self.settings.cluster_label,
            filters: &self.source.filters,
            known: &memory.clusters,
        }
    }
}

async fn round(job: &Job<'_>, sources: Sources, memory: Memory, progress: &Progress) -> Result<Report> {
    let Job { settings, cluster, .. } = *job;
    let (fetched, listed) = futures::join!(fetch(job, &sources, &memory), list(settings, cluster));
    let (nodes, targets) = listed?;
    if let Some(error) = trust::misconfigured(&fetched.trust) {
        return Err(error); // nothing that it says or does not say means anything
    }
    let is_target = |node: &Node| targets.contains(node);
    let (plans, mut report) = decide(&fetched, &memory, &nodes, is_target, job);
    if settings.dry_run == DryRun::Client {
        progress.plan_only(&plans);
    } else {
        write::write(cluster, &plans, settings, progress).await;
    }
    report.written = progress.take();
    Ok(report)
}

/// The sources, those in the cluster included.
fn sources(source: &SourceSettings, cluster: &Arc<Cluster>, ui: &Arc<Ui>) -> Result<Sources> {
    Sources::new(source, Arc::new(Reach::new(cluster.clone(), ui.clone(), source.via)))
}

/// What the sources say, and how far they are believed.
async fn fetch(job: &Job<'_>, sources: &Sources, memory: &Memory) -> Gathered {
    let settings = job.settings;
    let groups = sources.fetch(settings.round.canary.name()).await;
    let canary_was_seen = memory.canary.as_deref() == Some(WATCHDOG);
    let scope = job.scope(memory);
    let mut gathered = gather(groups, &settings.round.canary, canary_was_seen, scope.own());
    let lease = settings.lease.as_ref();
    if let Some(hint) = lease.and_then(|lease| clusters::remembered(&scope, &lease.namespace, &lease.name)) {
        let restart = if settings.loops { ", and restart this loop, which knows it, too" } else { "" };
        clusters::doubt_remembered(&mut gathered, &format!("{hint}{restart}"));
    }
    gathered
}

/// What is to be written, and the report of the round as far as it goes before that.
fn decide<'n>(
    Gathered { alerts, watchdogs, trust }: &Gathered,
    memory: &Memory,
    nodes: &'n [Node],
    is_target: impl Fn(&Node) -> bool,
    job: &Job<'_>,
) -> (Vec<NodePlan<'n>>, Report) {
    let Job { source, settings, cluster, ui } = *job;
    let now = Timestamp::from_second(cluster.now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);

    let scope = job.scope(memory);
    let learning = match trust.state {
        _ if settings.lease.is_none() => Learning::Forgetful,
        SourceState::Full => Learning::Allowed,
        _ => Learning::Incomplete,
    };
    let Ours { selection, clusters, doubt } = ours(alerts, watchdogs, nodes, &scope, learning);
    let refused = doubt.as_ref().and_then(|doubt| say_doubt(doubt, settings, ui));
    if doubt.is_none() && clusters != memory.clusters {
        say_learnt(&scope, &clusters, settings, ui);
    }
    trust::say_clock(cluster.clock_ahead(), ui);
    trust::say_sources(trust, source, ui);
    let mixes_clusters = doubt.is_some_and(|doubt| doubt.matters());
    let situation =
        Situation { nodes, selection: &selection, mixes_clusters, clusters: &clusters, trust, memory, now };
    let mut round = round::round(&situation, &settings.round);
    warn_of_odd_alerts(&selection, &round.notices, ui);

    let plans: Vec<NodePlan<'_>> = nodes
        .iter()
        .zip(std::mem::take(&mut round.changes))
        .filter(|(node, changes)| refused.is_none() && !changes.is_empty() && is_target(node))
        .map(|(node, changes)| NodePlan { node, changes })
        .collect();
    let held = std::mem::take(&mut round.held).into_iter().filter(|(place, _)| is_target(&nodes[*place]));
    let report = Report {
        finished: now,
        trust: trust.clone(),
        held: held.map(|(place, condition_type)| (nodes[place].name.clone(), condition_type)).collect(),
        round,
        nodes: nodes.len(),
        counts: selection.counts,
        written: Vec::new(),
        refused,
    };
    (plans, report)
}

/// Which of the nodes are to be written.
enum Targets {
    All,
    Named(std::collections::BTreeSet<String>),
}

impl Targets {
    fn contains(&self, node: &Node) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(&node.name),
        }
    }
}

/// All nodes, since alerts are matched with all, and which of them are to be written.
async fn list(settings: &SyncSettings, cluster: &Cluster) -> Result<(Vec<Node>, Targets)> {
    let nodes = async { cluster.list_nodes().await.map_err(|error| error.explain("list", &Rule::NODES)) };
    let selected = async {
        let Some(selector) = &settings.selector else { return Ok(None) };
        cluster.select_nodes(selector).await.map(Some).map_err(|error| error.explain("list", &Rule::NODES))
    };
    let (nodes, selected) = futures::try_join!(nodes, selected)?;
    if let Some(unknown) = settings.nodes.iter().find(|name| !nodes.iter().any(|node| node.name == **name)) {
        return Err(names::not_found(unknown, cluster).await);
    }
    let targets = match (selected, settings.nodes.is_empty()) {
        (None, true) => Targets::All,
        (Some(selected), true) => Targets::Named(selected),
        (None, false) => Targets::Named(settings.nodes.iter().cloned().collect()),
        (Some(selected), false) => {
            Targets::Named(settings.nodes.iter().filter(|name| selected.contains(*name)).cloned().collect())
        }
    };
    Ok((nodes, targets))
}

/// Says what is wrong. A one-shot is refused by what is returned; a loop goes on with what it can do safely.
fn say_doubt(doubt: &Doubt, settings: &SyncSettings, ui: &Ui) -> Option<Error> {
    let (what, hints) = clusters::explain(doubt, &settings.cluster_label);
    if !doubt.matters() || matches!(doubt, Doubt::Unproven { why: Learning::Incomplete, .. }) {
        ui.warning(&what);
        for hint in hints {
            ui.note(&format!("hint: {hint}"));
        }
        return None;
    }
    let effect = if settings.loops { "nothing is added or cleared" } else { "nothing was written" };
    let error = hints.iter().fold(Error::usage(format!("{what}; {effect}")), Error::hint);
    if settings.loops {
        ui.error(&error);
        return None;
    }
    Some(error)
}

/// A person should see it when the first value of the label is believed.
fn say_learnt(scope: &Scope<'_>, clusters: &Clusters, settings: &SyncSettings, ui: &Ui) {
    if let (None, Some(own)) = (scope.own(), clusters.own_value(scope.cluster_label)) {
        let label = scope.cluster_label;
        let lease = settings.lease.as_ref().map_or("", |lease| &lease.name);
        ui.note(&format!("note: {label} {own:?} is taken for this cluster; the Lease {lease} keeps it"));
    }
}

fn warn_of_odd_alerts(selection: &Selection, notices: &[Notice], ui: &Ui) {
    let counts = &selection.counts;
    let held = notices.iter().find_map(|notice| match notice {
        Notice::NothingMatches { held } => Some(*held),
        _ => None,
    });
    if let Some(held) = held {
        let effect = match held {
            0 => String::new(),
            held => format!("; {} of the same name not cleared", render::count(held, "condition")),
        };
        ui.warning(&format!("alerts fire, but none of them names a node here{effect}. Some of them:"));
        for alert in &selection.unmatched_examples {
            ui.note(&format!("  {alert}"));
        }
    }
    if counts.ambiguous > 0 {
        let verb = if counts.ambiguous == 1 { "names" } else { "name" };
        ui.warning(&format!(
            "{} {verb} more than one node or machine: not applied, and conditions of the same type on these nodes are kept",
            render::count(counts.ambiguous, "alert")
        ));
        for alert in &selection.ambiguous_examples {
            ui.note(&format!("  {alert}"));
        }
        if !selection.doubted.is_empty() {
            ui.note("hint: keep the other machine's alerts out, as by --filter 'node!=\"NAME\"'");
        }
    }
    for (count, noun, what) in [
        (counts.malformed_priority, "alert", "with a malformed priority (0 to 999 is allowed)"),
        (counts.no_alertname, "alert", "without alertname: skipped"),
        (
            counts.expression_errors,
            "alert",
            "that --match-expr cannot judge, as when a label is missing: not applied",
        ),
        (counts.feedback, "alert", "about our own conditions: skipped"),
        (counts.dropped, "condition", "beyond --max-conditions: left out"),
    ] {
        if count > 0 {
            ui.warning(&format!("{} {what}", render::count(count, noun)));
        }
    }
}

fn stopped_error(stopped: Stopped, progress: &Progress, settings: &SyncSettings, ui: &Ui) -> Error {
    let written = progress.take();
    if settings.output.is_none() {
        report::print_changes(&written, settings, ui);
    }
    let nodes = render::count(written.len(), "node");
    let said = format!("{nodes} written, each completely; run the command again for the rest");
    Error::from(stopped).hint(said)
}
