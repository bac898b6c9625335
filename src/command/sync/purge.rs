//! `sync --purge`: every condition with our prefix goes.

use std::sync::Arc;

use super::report::{failures, print_changes, print_failures};
use super::write::{NodePlan, NodeResult, Progress, write};
use super::{lease, list, stopped_error};
use crate::cli::DryRun;
use crate::cluster::Cluster;
use crate::command::render;
use crate::command::stop::until_stopped;
use crate::core::condition::{Change, ChangeKind};
use crate::error::{Error, Exit, Result};
use crate::settings::SyncSettings;
use crate::ui::Ui;

pub(super) async fn run(settings: &SyncSettings, cluster: &Arc<Cluster>, ui: &Ui) -> Result<Exit> {
    let (nodes, targets) = until_stopped(None, Box::pin(list(settings, cluster))).await??;
    let plans: Vec<NodePlan<'_>> = nodes
        .iter()
        .filter(|node| targets.contains(node))
        .map(|node| NodePlan { node, changes: deletions(node, settings) })
        .filter(|plan| !plan.changes.is_empty())
        .collect();
    let conditions: usize = plans.iter().map(|plan| plan.changes.len()).sum();
    let prefix = &settings.round.conditions.prefix;
    if conditions == 0 {
        ui.note(&format!("No conditions with the prefix {prefix} found."));
        return Ok(Exit::Done);
    }
    if settings.dry_run == DryRun::Client {
        let progress = Progress::default();
        progress.plan_only(&plans);
        print_changes(&progress.take(), settings, ui);
        return Ok(if settings.exit_code { Exit::Pending } else { Exit::Done });
    }
    if settings.dry_run == DryRun::None && !settings.yes {
        for plan in &plans {
            let types: Vec<&str> =
                plan.changes.iter().map(|change| change.condition.type_.as_str()).collect();
            ui.note(&format!("node/{}: {}", plan.node.name, types.join(", ")));
        }
        let question = format!(
            "Delete {} with the prefix {prefix} from {}?",
            render::count(conditions, "condition"),
            render::count(plans.len(), "node")
        );
        ui.confirm(question, "--yes").await?;
    }
    let hold = lease::take(settings, cluster, ui).await?;
    let progress = Progress::default();
    let outcome = until_stopped(hold.as_ref(), write(cluster, &plans, settings, &progress)).await;
    lease::release(hold, None, settings, ui).await;
    if let Err(stopped) = outcome {
        return Err(stopped_error(stopped, &progress, settings, ui));
    }
    let written = progress.take();
    print_changes(&written, settings, ui);
    finish(&written, ui)
}

fn finish(written: &[NodeResult], ui: &Ui) -> Result<Exit> {
    print_failures(failures(written), ui);
    let failed = failures(written).count();
    if failed > 0 {
        return Err(Error::new(
            Exit::Failed,
            format!("{failed} of {} could not be written", render::count(written.len(), "node")),
        ));
    }
    Ok(Exit::Done)
}

fn deletions(node: &crate::core::node::Node, settings: &SyncSettings) -> Vec<Change> {
    let mut owned: Vec<_> = node
        .conditions
        .iter()
        .filter(|condition| settings.round.conditions.prefix.owns(&condition.type_))
        .collect();
    owned.sort_by(|a, b| a.type_.cmp(&b.type_));
    owned.dedup_by(|a, b| a.type_ == b.type_);
    owned
        .into_iter()
        .map(|condition| Change {
            kind: ChangeKind::Delete,
            was: Some(condition.status.clone()),
            duplicated: false,
            condition: condition.clone(),
        })
        .collect()
}
