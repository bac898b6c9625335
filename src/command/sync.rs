//! `kubectl sciuro sync`: one round. Fetch and list, select, plan, write, say what was done.

mod lease;
mod purge;
mod report;
mod write;

use std::sync::Arc;

use jiff::Timestamp;

use self::report::Report;
use self::write::{NodePlan, Progress};
use super::render;
use super::stop::{Stopped, until_stopped};
use crate::cli::DryRun;
use crate::cluster::{Cluster, Rule};
use crate::core::condition::{SourceState, plan};
use crate::core::node::Node;
use crate::core::selection::{Selection, mixed_clusters, select};
use crate::error::{Error, Exit, Result};
use crate::settings::{SourceSettings, SyncSettings};
use crate::source::{Alertmanager, Answer};
use crate::ui::Ui;

pub(super) async fn run(settings: &SyncSettings, cluster: &Arc<Cluster>, ui: &Ui) -> Result<Exit> {
    let Some(source) = &settings.source else { return purge::run(settings, cluster, ui).await };
    let hold = lease::take(settings, cluster, ui).await?;
    let progress = Progress::default();
    let outcome =
        until_stopped(hold.as_ref(), Box::pin(round(source, settings, cluster, ui, &progress))).await;
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

async fn round(
    source: &SourceSettings,
    settings: &SyncSettings,
    cluster: &Cluster,
    ui: &Ui,
    progress: &Progress,
) -> Result<Report> {
    let (fetched, listed) = futures::join!(fetch(source, ui), list(settings, cluster));
    let (nodes, targets) = listed?;
    let (alerts, mut state, untrusted) = fetched?;
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);

    let selection = select(&alerts, &nodes, &settings.selection, &settings.cluster_label);
    drop(alerts);
    refuse_mixed_clusters(&selection, source, settings)?;
    let matches_nothing = selection.matches_nothing() && has_true_conditions(&nodes, settings);
    if matches_nothing && state == SourceState::Full {
        state = SourceState::Partial;
    }
    warn_of_odd_alerts(&selection, matches_nothing, ui);

    let plans: Vec<NodePlan<'_>> = nodes
        .iter()
        .zip(&selection.firing)
        .filter(|(node, _)| targets.contains(node))
        .map(|(node, firing)| NodePlan {
            node,
            changes: plan(node, firing, state, now, &settings.conditions),
        })
        .filter(|plan| !plan.changes.is_empty())
        .collect();
    if settings.dry_run == DryRun::Client {
        progress.plan_only(&plans);
    } else {
        write::write(cluster, &plans, settings, progress).await;
    }
    Ok(Report {
        finished: now,
        state,
        untrusted,
        matches_nothing,
        nodes: nodes.len(),
        counts: selection.counts,
        written: progress.take(),
    })
}

/// The alerts, how far they can be trusted, and why not further. A source that is configured wrongly ends the
/// round: nothing that it says or does not say means anything.
async fn fetch(
    settings: &SourceSettings,
    ui: &Ui,
) -> Result<(Vec<crate::core::alert::Alert>, SourceState, Option<Error>)> {
    let answer = match Alertmanager::new(settings) {
        Ok(source) => source.fetch().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(Answer { alerts, warming, notes }) => {
            for note in notes {
                ui.note(&format!("note: {note}"));
            }
            let Some(warming) = warming else { return Ok((alerts, SourceState::Full, None)) };
            ui.warning(&format!(
                "alertmanager started {}s ago; nothing is cleared before {} (--warmup)",
                warming.up_for.as_secs(),
                warming.until.strftime("%H:%M:%SZ"),
            ));
            Ok((alerts, SourceState::Partial, None))
        }
        Err(error) if error.is_misconfigured => Err(error.into()),
        Err(error) => Ok((Vec::new(), SourceState::Down, Some(error.into()))),
    }
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
        return Err(Error::in_kubectls_words(format!(
            "Error from server (NotFound): nodes {unknown:?} not found"
        ))
        .hint("kubectl get nodes"));
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

fn refuse_mixed_clusters(
    selection: &Selection,
    source: &SourceSettings,
    settings: &SyncSettings,
) -> Result<()> {
    let Some(clusters) = mixed_clusters(selection, &source.filters, &settings.cluster_label) else {
        return Ok(());
    };
    let label = &settings.cluster_label;
    let names: Vec<String> = clusters.iter().map(|cluster| format!("{cluster:?}")).collect();
    let example = clusters.first().map_or("a.k8s", String::as_str);
    Err(Error::usage(format!(
        "alerts of several clusters ({label} {}) match nodes here; nothing was written",
        names.join(", ")
    ))
    .hint(format!("choose this cluster's: --filter '{label}=\"{example}\"'")))
}

fn has_true_conditions(nodes: &[Node], settings: &SyncSettings) -> bool {
    nodes
        .iter()
        .flat_map(|node| &node.conditions)
        .any(|condition| condition.is_true() && settings.conditions.prefix.owns(&condition.type_))
}

fn warn_of_odd_alerts(selection: &Selection, matches_nothing: bool, ui: &Ui) {
    let counts = &selection.counts;
    if matches_nothing {
        ui.warning("alerts fire, but none of them names a node here; nothing is cleared. Some of them:");
        for alert in &selection.unmatched_examples {
            ui.note(&format!("  {alert}"));
        }
    }
    for (count, noun, what) in [
        (counts.malformed_priority, "alert", "with a malformed priority (0 to 999 is allowed)"),
        (counts.no_alertname, "alert", "without alertname: skipped"),
        (counts.ambiguous, "alert", "that more than one node answers to: not applied"),
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
