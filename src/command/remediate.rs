//! `kubectl sciuro remediate`: cordon, collect, drain, reboot, verify, uncordon; one node after the other.

mod drain_plan;
pub(super) mod needs;
mod plan;
mod preflight;
mod prompts;
mod tell;

use std::sync::Arc;

use self::preflight::Preflight;
use self::prompts::Prompts;
use super::render;
use super::stop::until_stopped;
use crate::cli::DryRun;
use crate::cluster::{Cluster, Rule};
use crate::error::{Error, Exit, Result};
use crate::settings::{RemediateSettings, Targets, Task};
use crate::ui::{Progress, Ui};

pub(super) async fn run(settings: &RemediateSettings, cluster: &Arc<Cluster>, ui: &Arc<Ui>) -> Result<Exit> {
    if settings.task != Task::Remediate {
        return Err(not_built());
    }
    prompts::refuse_without_answers(settings, ui)?;
    let names = until_stopped(None, targets(settings, cluster)).await??;
    if names.is_empty() {
        ui.note("No nodes found.");
        return Ok(Exit::Done);
    }
    if settings.dry_run != DryRun::None {
        return until_stopped(None, Box::pin(dry_run(&names, settings, cluster, ui))).await?;
    }
    if names.len() > 1 {
        ui.note(&format!(
            "{}, one after the other: {}. Pods may move more than once.",
            render::count(names.len(), "node"),
            names.join(", ")
        ));
    }
    for name in &names {
        remediate(name, settings, cluster, ui).await?;
    }
    Ok(Exit::Done)
}

/// The nodes that are meant, by name.
async fn targets(settings: &RemediateSettings, cluster: &Cluster) -> Result<Vec<String>> {
    match &settings.targets {
        Targets::Named(names) => Ok(names.clone()),
        Targets::Selected(selector) => {
            let found = cluster.select_nodes(selector).await;
            Ok(found.map_err(|error| error.explain("list", &Rule::NODES))?.into_iter().collect())
        }
    }
}

/// Prints the plan for each node; exits 3 if one of them would be refused.
async fn dry_run(
    names: &[String],
    settings: &RemediateSettings,
    cluster: &Arc<Cluster>,
    ui: &Arc<Ui>,
) -> Result<Exit> {
    let mut found = Vec::new();
    for name in names {
        found.push(look(name, settings, cluster, ui).await?);
    }
    plan::print_all(&found, settings, ui);
    match found.iter().find_map(|preflight| preflight.refused(settings, false).err()) {
        Some(refused) => Err(refused),
        None => Ok(Exit::Done),
    }
}

async fn remediate(
    name: &str,
    settings: &RemediateSettings,
    cluster: &Arc<Cluster>,
    ui: &Arc<Ui>,
) -> Result<()> {
    let found = until_stopped(None, Box::pin(look(name, settings, cluster, ui))).await??;
    plan::show(&found, settings, ui);
    let prompts = Prompts::new(&found, settings, ui);
    found.refused(settings, prompts.can_ask())?;
    prompts.refuse_without_answers()?;
    prompts.plan().await?;
    let _drain = prompts.drain_exceptions(&found.drain).await?;
    Err(not_built())
}

async fn look(
    name: &str,
    settings: &RemediateSettings,
    cluster: &Arc<Cluster>,
    ui: &Arc<Ui>,
) -> Result<Preflight> {
    let step = Progress::new(ui.clone(), settings.progress, name).step("preflight");
    let found = preflight::look(name, settings, cluster, &step).await;
    match &found {
        Ok(_) => step.done(None),
        Err(_) => drop(step),
    }
    found
}

fn not_built() -> Error {
    Error::new(
        Exit::Failed,
        "this version plans a remediation, and does not carry it out yet; nothing was changed",
    )
    .hint("kubectl drain NODE")
}
