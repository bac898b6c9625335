//! Goes on with what another process began, or undoes it.

use std::time::Duration;

use super::locks::Locks;
use super::next::{Lines, Next};
use super::preflight::{self, Ahead, Preflight};
use super::prompts::Prompts;
use super::report::Outcome;
use super::run::Run;
use super::silence::Silencing;
use super::{Context, begin, carry_out, drain_plan, ending, plan};
use crate::cluster::{RemediatedNode, Rule, WatchedNode, Written, clear_hint};
use crate::command::stop::until_stopped;
use crate::core::node::TRUE;
use crate::core::remediation::{End, Machine, Method, Record, RecordSeen, Refusal, Resume, State};
use crate::error::{Error, Exit, Result};
use crate::settings::{DrainSettings, RemediateSettings};

/// How long whoever holds the Lease may take to obey an abort before we say that it does not.
const OBEYS_WITHIN: Duration = Duration::from_secs(180);

/// As a new run does it: everything is looked at, the plan is shown, and a person is asked, before anything is done that
/// takes the node down. What the record says is anybody's.
pub(super) async fn resume(name: &str, retry_reboot: bool, context: &Context<'_>) -> Result<String> {
    let node = preflight::read(context).await?;
    heal(&node, context).await;
    say_whose(name, &record(&node, context)?, context);
    let mut locks = Locks::take_ours(&node, context).await?;
    let silencing = Silencing::new(&node, &record(&node, context)?.id, context);
    let outcome = Box::pin(go_on(retry_reboot, &mut locks, &silencing, context)).await;
    silencing.end().await;
    locks.release().await;
    outcome?.explain(name, context).await
}

/// An end, and what a person has consented to on the way.
struct Ended {
    end: End,
    /// It was an undoing that was gone on with.
    undoes: bool,
    method: Method,
    drain: DrainSettings,
}

impl Ended {
    async fn explain(self, name: &str, context: &Context<'_>) -> Result<String> {
        if let (true, End::Aborted { cordon_stays, .. }) = (self.undoes, &self.end) {
            return Ok(aborted(name, cordon_stays.as_deref()));
        }
        let settings = context.settings.by(self.method);
        ending::ending(name, self.end, &self.drain, &Context { settings: &settings, ..*context }).await
    }
}

async fn go_on(
    retry_reboot: bool,
    locks: &mut Locks,
    silencing: &Silencing<'_>,
    context: &Context<'_>,
) -> Result<Ended> {
    // Whoever had the Lease may have gone on until now.
    let node = preflight::read(context).await?;
    let Going { mut machine, settings } = going(&node, retry_reboot, context)?;
    let context = &Context { settings: &settings, ..*context };
    let Context { ui, report, .. } = *context;
    let ahead = Ahead::of(&machine, &node);
    let goes_down = ahead.takes_down();
    // Not: one that is undone for what has happened since.
    let undoes = matches!(&node.view.record, RecordSeen::Readable(record)
        if record.state == State::Aborted || record.failed_state == Some(State::Aborted));
    locks.add_medik8s(&node, goes_down, context).await?;
    let locks = &*locks;
    let found = super::look(async { Ok(node.clone()) }, ahead, context);
    let mut found = until_stopped(Some(&locks.node), Box::pin(found)).await??;
    plan::show(&found, &settings, ui);
    let prompts = Prompts::new(&found, &settings, ui);
    let lines = Lines::of(context, &settings.drain);
    if let Err(refused) = found.refused(&settings, prompts.can_ask()) {
        report.refused(&found);
        let granted = allowed(&found, context).await?;
        let lines = Lines { drain: &granted, ..lines };
        let helps = found.is_refused_for_consent_only();
        let next: &[Next] = if helps { &[Next::Continue, Next::Undo] } else { &[Next::Undo] };
        return Err(lines.hint(refused, next));
    }
    let mut drain = settings.drain.clone();
    if goes_down {
        prompts.refuse_without_answers()?;
        let consent = async {
            prompts.plan().await?;
            super::drain_flags(&mut found, &prompts, context).await
        };
        let declined = |error: Error| {
            let is_refused = error.exit == Exit::Refused;
            lines.hint(error, if is_refused { &[Next::Undo] } else { &[Next::Continue, Next::Undo] })
        };
        drain = consent.await.map_err(declined)?;
    }
    let record = machine.record().clone();
    silencing.take_over(&record).await;
    machine.silenced(silencing.mark());
    machine.overrides(found.lifted().map(|refusal| refusal.gate.name().to_owned()));
    let mut worker = super::worker(context, locks, silencing, prompts, &record.id, &node, &drain)?;
    worker.reboot = goes_down.then(|| begin::reboot(&settings, &node)).transpose()?;
    worker.drain.said = found.drain.warnings.iter().map(|warning| warning.text.clone()).collect();
    let end = carry_out(&worker, Run::new(&worker, machine, node)).await;
    Ok(Ended { end, undoes, method: settings.reboot.method, drain })
}

/// The flags of the drain with all that a person could allow. What one of them was not reached for may need another.
async fn allowed(found: &Preflight, context: &Context<'_>) -> Result<DrainSettings> {
    let Context { settings, cluster, .. } = *context;
    let mut flags = settings.drain.clone();
    let mut exceptions = found.drain.exceptions();
    while !exceptions.is_empty() {
        for exception in exceptions {
            exception.grant(&mut flags);
        }
        let again = drain_plan::rehearse(&found.node.name, &flags, settings, cluster);
        exceptions = until_stopped(None, Box::pin(again)).await?.exceptions();
    }
    Ok(flags)
}

/// What is gone on with, and by which method.
struct Going {
    machine: Machine,
    settings: RemediateSettings,
}

fn going(node: &RemediatedNode, retry_reboot: bool, context: &Context<'_>) -> Result<Going> {
    let (name, settings) = (&node.name, context.settings);
    let record = record(node, context)?;
    let method = settings.reboot.given_method.unwrap_or(record.method);
    let can_ask = !settings.yes && context.ui.can_ask();
    let resume = Resume {
        holder: context.holder.to_owned(),
        method: settings.reboot.given_method,
        retry_reboot,
        confirmed_spent: settings.confirmed.contains(name),
        ready_heartbeat: node.ready().and_then(|ready| ready.last_heartbeat_time.clone()),
        not_ready: node.ready().is_none_or(|ready| ready.status != TRUE),
        reasons: preflight::reasons(node, settings),
        options: begin::options(settings, settings.drain.timeout, can_ask),
    };
    let machine = Machine::resume(record, &node.view, resume).map_err(|refusal| {
        let error = Error::new(Exit::Refused, format!("node/{name}: {refusal}; nothing was changed"));
        let lines = Lines::of(context, &settings.drain);
        match refusal {
            Refusal::OtherMethod { .. } => lines.hint(error, &[Next::Continue, Next::Retry]),
            Refusal::PastStep { .. } => {
                Lines { forgets_until: true, ..lines }.hint(error, &[Next::Continue, Next::Undo])
            }
            Refusal::Malformed { .. } => lines.hint(error, &[Next::Undo]).hint(clear_hint(name)),
        }
    })?;
    let settings = settings.by(method);
    if machine.may_request() && method == Method::Command && settings.reboot.command.is_empty() {
        let what =
            format!("node/{name}: this remediation reboots by a command, and --reboot-command is missing");
        return Err(Error::usage(what).hint("add --reboot-command and the command that it was started with"));
    }
    Ok(Going { machine, settings })
}

/// What a resume would do.
pub(super) async fn dry_run(retry_reboot: bool, context: &Context<'_>) -> Result<Preflight> {
    let node = preflight::read(context).await?;
    let Going { machine, settings } = going(&node, retry_reboot, context)?;
    let ahead = Ahead::of(&machine, &node);
    super::look(async { Ok(node) }, ahead, &Context { settings: &settings, ..*context }).await
}

/// Undoes a remediation. One that another process is at work on is asked to.
pub(super) async fn abort(name: &str, context: &Context<'_>) -> Result<String> {
    let Context { settings, cluster, ui, .. } = *context;
    let node = preflight::read(context).await?;
    heal(&node, context).await;
    let seen = record(&node, context)?;
    say_whose(name, &seen, context);
    let views = cluster.watch_remediated_node(name);
    let asked = cluster.request_abort(&node, &seen.id).await;
    if asked.map_err(|error| error.explain("patch", &Rule::NODES))? == Written::Gone {
        return Err(Error::new(
            Exit::Refused,
            format!("node/{name}: the remediation has just come to its end"),
        )
        .hint(format!("kubectl sciuro status {name}")));
    }
    let taken = Locks::take_ours(&node, context);
    let locks = tokio::select! {
        locks = taken => locks,
        () = gone(views.clone(), &seen.id) => return Ok(aborted_by(&seen, context)),
    };
    let locks = match locks {
        Ok(locks) => locks,
        // Its holder lives, and was asked.
        Err(busy) if busy.exit == Exit::Busy => {
            ui.note(&format!("{} was asked to stop; waiting for it", seen.holder));
            return match tokio::time::timeout(OBEYS_WITHIN, gone(views, &seen.id)).await {
                Ok(()) => Ok(aborted_by(&seen, context)),
                Err(_) => Err(busy),
            };
        }
        Err(error) => return Err(error),
    };
    let silencing = Silencing::new(&node, &seen.id, context);
    let outcome = async {
        let node = preflight::read(context).await?;
        if node.view.record == RecordSeen::None {
            return Ok(None);
        }
        let record = record(&node, context)?;
        let id = record.id.clone();
        silencing.remember(&record);
        let prompts = Prompts::of(name, &node, settings, ui);
        let options = begin::options(settings, settings.drain.timeout, prompts.can_ask());
        let machine = Machine::abort(record, context.holder, context.holder, options);
        let worker = super::worker(context, &locks, &silencing, prompts, &id, &node, &settings.drain)?;
        Ok(Some(carry_out(&worker, Run::new(&worker, machine, node)).await))
    };
    let outcome: Result<Option<End>> = outcome.await;
    silencing.end().await;
    locks.release().await;
    match outcome? {
        // It is what was asked for.
        Some(End::Aborted { cordon_stays, .. }) => Ok(aborted(name, cordon_stays.as_deref())),
        Some(end) => ending::ending(name, end, &settings.drain, context).await,
        None => {
            context.report.was_done(Outcome::NothingToDo);
            Ok(format!("node/{name}: the remediation has ended meanwhile"))
        }
    }
}

fn aborted(name: &str, cordon_stays: Option<&str>) -> String {
    let stays = cordon_stays.map(|why| format!("; it stays cordoned: {why}")).unwrap_or_default();
    format!("node/{name} aborted{stays}")
}

fn aborted_by(record: &Record, context: &Context<'_>) -> String {
    context.report.was_done(Outcome::Aborted);
    format!("node/{} aborted by {}", context.report.node(), record.holder)
}

fn record(node: &RemediatedNode, context: &Context<'_>) -> Result<Record> {
    let name = &node.name;
    match &node.view.record {
        RecordSeen::Readable(record) => Ok((**record).clone()),
        RecordSeen::None => {
            let what = format!("node/{name}: there is no unfinished remediation on it");
            let lines = Lines::of(context, &context.settings.drain);
            Err(lines.hint(Error::new(Exit::Refused, what), &[Next::Start]))
        }
        RecordSeen::Unreadable(why) => Err(Error::new(
            Exit::Refused,
            format!("node/{name}: the record of a remediation on it cannot be read: {why}"),
        )
        .hint(clear_hint(name))),
    }
}

/// What a run could not take away at its end because nobody answered.
async fn heal(node: &RemediatedNode, context: &Context<'_>) {
    if node.view.record == RecordSeen::None && node.says_under_way() {
        context.cluster.set_remediation_condition(node, None).await;
        context
            .ui
            .note(&format!("node/{}: took away the condition SciuroRemediation, which was left", node.name));
    }
}

fn say_whose(name: &str, record: &Record, context: &Context<'_>) {
    let state = record.stands();
    context.ui.note(&format!(
        "node/{name}: {} began this remediation; it is in {state:?} since {}",
        record.actor, record.since
    ));
    if let Some(why) = &record.last_error {
        context.ui.note(&format!("node/{name}: {why}"));
    }
}

/// Returns once the record `id` is no longer on the node.
async fn gone(mut views: super::work::Views, id: &str) {
    let _ = views
        .wait_for(|view| match view {
            WatchedNode::Here(node) => {
                !matches!(&node.view.record, RecordSeen::Readable(record) if record.id == id)
            }
            WatchedNode::Gone => true,
            WatchedNode::Unknown { .. } | WatchedNode::Denied { .. } => false,
        })
        .await;
}
