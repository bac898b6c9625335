//! `kubectl sciuro status`: list the nodes, read the sync Lease, pick the rows, print them, say how sure it is.

mod document;
mod freshness;
mod print;
mod remediations;
mod sort;
mod table;
mod watch;

use jiff::Timestamp;

use self::freshness::LastSync;
use self::print::Seen;
use super::names;
use crate::cluster::{Cluster, Rule};
use crate::core::prefix::Prefix;
use crate::core::report::{Filter, Row, ShownNode, rows, unfinished};
use crate::core::standing::Standing;
use crate::error::{Exit, Result};
use crate::settings::StatusSettings;
use crate::ui::Ui;

pub(super) async fn run(settings: &StatusSettings, cluster: &Cluster, ui: &Ui) -> Result<Exit> {
    if settings.watch {
        return watch::run(settings, cluster, ui).await;
    }
    let (nodes, last_sync) = futures::join!(list(settings, cluster), LastSync::read(settings, cluster));
    let nodes = nodes?;
    let now = now(cluster);
    let filter = filter(settings, &last_sync);
    let mut rows = rows(&nodes, &filter, last_sync.last_full(now), now);
    if let Some(by) = &settings.sort_by {
        sort::sort(&mut rows, by, &filter.prefix)?;
    }
    let unfinished = unfinished(&nodes);
    print::rows(&rows, &unfinished, &filter.prefix, settings, &last_sync, now, ui)?;
    let doubt = last_sync.doubt(now);
    let seen = Seen { nodes: nodes.len(), unfinished: unfinished.len(), doubt: doubt.as_deref() };
    print::summary(&rows, seen, settings, &last_sync, now).print(ui);
    remediations::tell(&unfinished, settings, now, ui);
    Ok(exit(&rows, settings, &last_sync, now))
}

/// In whole seconds, as Kubernetes writes times, and not by a clock that is wrong.
fn now(cluster: &Cluster) -> Timestamp {
    Timestamp::from_second(cluster.now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn filter(settings: &StatusSettings, last_sync: &LastSync) -> Filter {
    Filter {
        prefix: prefix(settings, last_sync),
        default_too: settings.prefix.is_none(),
        condition: settings.condition.clone(),
        all: settings.all,
        priorities: settings.priorities.clone(),
    }
}

async fn list(settings: &StatusSettings, cluster: &Cluster) -> Result<Vec<ShownNode>> {
    let only = field_selector(settings);
    let listed = cluster.list_shown_nodes(settings.selector.as_deref(), only.as_deref()).await;
    let mut nodes = listed.map_err(|error| error.explain("list", &Rule::NODES))?;
    nodes.retain(|node| is_meant(&node.node.name, settings));
    refuse_unknown(settings, cluster, |name| nodes.iter().any(|node| node.node.name == name)).await?;
    Ok(nodes)
}

/// A single node is chosen by the server.
fn field_selector(settings: &StatusSettings) -> Option<String> {
    match (settings.nodes.as_slice(), &settings.field_selector) {
        ([name], None) => Some(format!("metadata.name={name}")),
        (_, given) => given.clone(),
    }
}

fn is_meant(node: &String, settings: &StatusSettings) -> bool {
    settings.nodes.is_empty() || settings.nodes.contains(node)
}

async fn refuse_unknown(
    settings: &StatusSettings,
    cluster: &Cluster,
    exists: impl Fn(&str) -> bool,
) -> Result<()> {
    match settings.nodes.iter().find(|name| !exists(name)) {
        None => Ok(()),
        Some(unknown) => Err(names::not_found(unknown, cluster).await),
    }
}

/// What was typed, else what the last sync wrote with.
fn prefix(settings: &StatusSettings, last_sync: &LastSync) -> Prefix {
    settings.prefix.clone().or_else(|| last_sync.prefix().cloned()).unwrap_or_default()
}

fn exit(rows: &[Row<'_>], settings: &StatusSettings, last_sync: &LastSync, now: Timestamp) -> Exit {
    if !settings.exit_code {
        return Exit::Done;
    }
    if rows.iter().any(|row| row.standing != Standing::Fine) {
        Exit::Pending
    } else if last_sync.doubt(now).is_some() {
        Exit::Failed
    } else {
        Exit::Done
    }
}
