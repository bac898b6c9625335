//! `kubectl sciuro status`: list the nodes, read the sync Lease, pick the rows, print them, say how sure it is.

mod document;
mod freshness;
mod print;
mod sort;

use jiff::Timestamp;

use self::freshness::LastSync;
use crate::cluster::{Cluster, Rule};
use crate::core::prefix::Prefix;
use crate::core::report::{Filter, ShownNode, rows};
use crate::error::{Error, Exit, Result};
use crate::settings::StatusSettings;
use crate::ui::Ui;

pub(super) async fn run(settings: &StatusSettings, cluster: &Cluster, ui: &Ui) -> Result<Exit> {
    let (nodes, last_sync) = futures::join!(list(settings, cluster), LastSync::read(settings, cluster));
    let nodes = nodes?;
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
    let filter = Filter {
        prefix: prefix(settings, &last_sync),
        condition: settings.condition.clone(),
        all: settings.all,
        priorities: settings.priorities.clone(),
    };
    let mut rows = rows(&nodes, &filter, last_sync.last_full(), now);
    if let Some(by) = &settings.sort_by {
        sort::sort(&mut rows, by, &filter.prefix)?;
    }
    print::rows(&rows, &filter.prefix, settings, &last_sync, now, ui)?;
    print::summary(&rows, nodes.len(), settings, &last_sync, now, ui);
    Ok(exit(&rows, settings, &last_sync, now))
}

async fn list(settings: &StatusSettings, cluster: &Cluster) -> Result<Vec<ShownNode>> {
    let only = match (settings.nodes.as_slice(), &settings.field_selector) {
        ([name], None) => Some(format!("metadata.name={name}")),
        (_, given) => given.clone(),
    };
    let listed = cluster.list_shown_nodes(settings.selector.as_deref(), only.as_deref()).await;
    let mut nodes = listed.map_err(|error| error.explain("list", &Rule::NODES))?;
    if settings.nodes.is_empty() {
        return Ok(nodes);
    }
    nodes.retain(|node| settings.nodes.contains(&node.node.name));
    match settings.nodes.iter().find(|name| !nodes.iter().any(|node| node.node.name == **name)) {
        None => Ok(nodes),
        Some(unknown) => Err(Error::in_kubectls_words(format!(
            "Error from server (NotFound): nodes {unknown:?} not found"
        ))
        .hint("kubectl get nodes")),
    }
}

/// What was typed, else what the last sync wrote with.
fn prefix(settings: &StatusSettings, last_sync: &LastSync) -> Prefix {
    settings.prefix.clone().or_else(|| last_sync.prefix()).unwrap_or_default()
}

fn exit(
    rows: &[crate::core::report::Row<'_>],
    settings: &StatusSettings,
    last_sync: &LastSync,
    now: Timestamp,
) -> Exit {
    if !settings.exit_code {
        return Exit::Done;
    }
    if rows.iter().any(|row| row.condition.status != crate::core::node::FALSE) {
        Exit::Pending
    } else if last_sync.doubt(now).is_some() {
        Exit::Failed
    } else {
        Exit::Done
    }
}
