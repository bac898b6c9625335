//! `kubectl sciuro remediate`: cordon, collect, drain, reboot, verify, uncordon; one node after the other.

mod admission;
mod alerts;
mod begin;
mod drain_plan;
mod ending;
mod locks;
pub(super) mod needs;
mod next;
mod plan;
mod preflight;
mod prompts;
mod rehearsal;
mod report;
mod resume;
mod run;
mod several;
mod silence;
mod steps;
mod takeover;
mod tell;
mod verifiable;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::alerts::Alerts;
use self::locks::Locks;
use self::preflight::{Ahead, Preflight};
use self::prompts::Prompts;
use self::report::{Report, Reports, StepResult};
use self::run::Run;
use self::silence::Silencing;
use self::steps::Steps;
use self::work::Worker;
use super::render;
use super::stop::until_stopped;
use crate::cli::DryRun;
use crate::cluster::{Cluster, RemediatedNode, Rule, holder_identity};
use crate::core::remediation::End;
use crate::error::{Error, Exit, Result};
use crate::settings::{DrainSettings, RemediateSettings, Targets, Task};
use crate::ui::{self, Progress, Ui};

pub(super) async fn run(settings: &RemediateSettings, cluster: &Arc<Cluster>, ui: &Arc<Ui>) -> Result<Exit> {
    let _until_its_end = ui::quiet();
    let mut reports = Reports::new(&settings.targets);
    let outcome = Box::pin(all(settings, cluster, ui, &mut reports)).await;
    if settings.dry_run == DryRun::None {
        reports.say_outcomes(ui);
        reports.print(&outcome, settings, ui);
    }
    outcome
}

/// One node after the other.
async fn all(
    settings: &RemediateSettings,
    cluster: &Arc<Cluster>,
    ui: &Arc<Ui>,
    reports: &mut Reports,
) -> Result<Exit> {
    prompts::refuse_without_answers(settings, ui)?;
    let names = until_stopped(None, targets(settings, cluster)).await??;
    if names.is_empty() {
        ui.note("No nodes found.");
        return Ok(Exit::Done);
    }
    reports.set_nodes(&names);
    let alerts = Alerts::of(settings, cluster, ui)?;
    let actor = super::sync::holder();
    let holders: Vec<String> = names.iter().map(|_| holder_identity(&actor)).collect();
    let is_one = names.len() == 1;
    let runs = reports.all().iter().zip(&holders);
    let alerts = alerts.as_ref();
    let contexts: Vec<Context<'_>> = runs
        .map(|(report, holder)| Context { settings, cluster, ui, alerts, holder, report, is_one })
        .collect();
    if !is_one && matches!(settings.targets, Targets::Named(_)) {
        until_stopped(None, several::refuse_unknown(&contexts)).await??;
    }
    if settings.dry_run != DryRun::None {
        return until_stopped(None, Box::pin(dry_run(&contexts))).await?;
    }
    let mut failed = BTreeSet::new();
    if !is_one {
        ui.note(&format!(
            "{}, one after the other: {}. Pods may move more than once.",
            render::count(names.len(), "node"),
            names.join(", ")
        ));
        if settings.task == Task::Remediate {
            failed = Box::pin(several::plan_all(&contexts, settings)).await?;
        }
    }
    for (name, context) in names.iter().zip(&contexts) {
        if failed.contains(name.as_str()) {
            continue;
        }
        context.report.begins();
        let ended = Box::pin(one(name, context)).await;
        context.report.ends(&ended);
        match ended {
            Ok(said) => said.lines().for_each(|line| ui.note(line)),
            Err(error) if settings.continue_on_error && !several::is_for_all(&error) => {
                ui.error(&error);
                failed.insert(name.as_str());
            }
            Err(error) => return Err(error),
        }
    }
    if failed.is_empty() {
        return Ok(Exit::Done);
    }
    let nodes = render::count(names.len(), "node");
    let all = names.iter().map(String::as_str).filter(|name| failed.contains(name)).collect::<Vec<_>>();
    Err(Error::new(Exit::Failed, format!("{} of {nodes} failed: {}", all.len(), all.join(", "))))
}

/// What there is for the run over a node; all but the holder and the report is shared by all nodes of one command.
struct Context<'c> {
    settings: &'c RemediateSettings,
    cluster: &'c Arc<Cluster>,
    ui: &'c Arc<Ui>,
    /// Where the nodes' alerts are, if that is known.
    alerts: Option<&'c Alerts<'c>>,
    /// Of this run alone: a Lease keeps two runs apart, also those of one process.
    holder: &'c str,
    report: &'c Report,
    /// There is no other node.
    is_one: bool,
}

async fn one(name: &str, context: &Context<'_>) -> Result<String> {
    match context.settings.task {
        Task::Remediate => remediate(name, context).await,
        Task::Resume { retry_reboot } => Box::pin(resume::resume(name, retry_reboot, context)).await,
        Task::Abort => resume::abort(name, context).await,
    }
}

/// A new remediation, from its plan to its end.
async fn remediate(name: &str, context: &Context<'_>) -> Result<String> {
    let Context { settings, ui, .. } = *context;
    // A person reads it again before the answer.
    let mut found = planned(context, context.is_one || !settings.yes).await?;
    let prompts = Prompts::new(&found, settings, ui);
    prompts.plan().await?;
    let drain = drain_flags(&mut found, &prompts, context).await?;

    let locks = Locks::take(&found.node, context).await?;
    let id = begin::new_id();
    let silencing = Silencing::new(&found.node, &id, context);
    let begun = async {
        silencing.begin().await;
        let mut worker = worker(context, &locks, &silencing, prompts, &id, &found.node, &drain)?;
        worker.reboot = Some(begin::reboot(settings, &found.node)?);
        worker.drain.said = found.drain.warnings.iter().map(|warning| warning.text.clone()).collect();
        worker.steps.begin(if settings.reboot.method.is_guarded() { "probe" } else { "admission" });
        let options = begin::options(settings, drain.timeout, worker.prompts.can_ask());
        let run = Box::pin(begin::first_record(&worker, &found, options, context)).await?;
        Ok(carry_out(&worker, run).await)
    };
    let outcome: Result<End> = begun.await;
    silencing.end().await;
    locks.release().await;
    ending::ending(name, outcome?, &drain, context).await
}

/// What is to be done with a node, and nothing refuses. `shows`: also if it was shown before.
async fn planned(context: &Context<'_>, shows: bool) -> Result<Preflight> {
    let Context { settings, ui, report, .. } = *context;
    let found = look(preflight::unclaimed(context), Ahead::ALL, context);
    let found = until_stopped(None, Box::pin(found)).await??;
    let prompts = Prompts::new(&found, settings, ui);
    let refused = found.refused(settings, prompts.can_ask()).inspect_err(|_| report.refused(&found));
    if shows || refused.is_err() {
        plan::show(&found, settings, ui);
    }
    refused?;
    prompts.refuse_without_answers()?;
    Ok(found)
}

/// The flags of the drain, with what a person allows besides. What they lead to is planned again, shown and judged as before.
async fn drain_flags(
    found: &mut Preflight,
    prompts: &Prompts<'_>,
    context: &Context<'_>,
) -> Result<DrainSettings> {
    let Context { settings, cluster, ui, .. } = *context;
    let mut flags = settings.drain.clone();
    while !found.drain.exceptions().is_empty() {
        prompts.drain_exceptions(&found.drain, &mut flags).await?;
        let again = drain_plan::rehearse(&found.node.name, &flags, settings, cluster);
        let again = until_stopped(None, Box::pin(again)).await?;
        let before = std::mem::replace(&mut found.drain, again);
        plan::show_drain(found, &before, ui);
        found.refused(settings, true).inspect_err(|_| context.report.refused(found))?;
    }
    Ok(flags)
}

/// Without a way to tell the machine to reboot, as long as it is not given one.
fn worker<'w>(
    context: &Context<'w>,
    locks: &'w Locks,
    silencing: &'w Silencing<'w>,
    prompts: Prompts<'w>,
    id: &str,
    node: &RemediatedNode,
    drain: &DrainSettings,
) -> Result<Worker<'w>> {
    let Context { settings, cluster, ui, alerts, holder, report, .. } = *context;
    Ok(Worker {
        cluster,
        settings,
        locks,
        alerts,
        silencing,
        prompts,
        reboot: None,
        verify_command: begin::verify_command(settings, node)?,
        drain: drain_plan::options(drain, settings),
        steps: Steps::new(Progress::new(ui.clone(), settings.progress, &node.name), report),
        node: node.name.clone(),
        id: id.to_owned(),
        holder: holder.to_owned(),
        report,
    })
}

/// Lets a run go on to its end.
async fn carry_out(worker: &Worker<'_>, run: Run<'_>) -> End {
    let run = async {
        let end = Box::pin(run.until_its_end()).await;
        worker.silencing.stop();
        end
    };
    let (end, ()) = futures::join!(run, worker.silencing.extend(&worker.locks.node));
    // Whoever has taken the run over has its silence, and may be collecting.
    if matches!(end, End::Lost { .. }) {
        worker.silencing.leave();
    } else {
        worker.end_collecting().await;
    }
    worker.report.came_to(&end);
    match &end {
        End::Remediated { .. } | End::Stopped { .. } | End::Aborted { .. } | End::Undone { .. } => {
            worker.steps.done(None);
        }
        _ => worker.steps.stopped(),
    }
    end
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
async fn dry_run(contexts: &[Context<'_>]) -> Result<Exit> {
    let [Context { settings, ui, .. }, ..] = contexts else { return Ok(Exit::Done) };
    let mut found = Vec::new();
    for context in contexts {
        found.push(match settings.task {
            Task::Resume { retry_reboot } => resume::dry_run(retry_reboot, context).await?,
            _ => look(preflight::unclaimed(context), Ahead::ALL, context).await?,
        });
    }
    plan::print_all(&found, settings, ui);
    match found.iter().find_map(|preflight| preflight.refused(settings, false).err()) {
        Some(refused) => Err(refused),
        None => Ok(Exit::Done),
    }
}

async fn look(
    node: impl Future<Output = Result<RemediatedNode>>,
    ahead: Ahead,
    context: &Context<'_>,
) -> Result<Preflight> {
    let Context { settings, ui, report, .. } = *context;
    report.step_begins("preflight");
    let step = Progress::new(ui.clone(), settings.progress, report.node()).step("preflight");
    let found = Box::pin(preflight::look(node, ahead, context)).await;
    if found.is_ok() {
        report.step_ends(StepResult::Done, None);
        step.done(None);
    }
    found
}
