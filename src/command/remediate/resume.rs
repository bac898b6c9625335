//! Goes on with what another process began, or undoes it.

use std::time::Duration;

use super::locks::Locks;
use super::prompts::Prompts;
use super::report::Outcome;
use super::silence::Silencing;
use super::{Context, begin, carry_out, ending, worker};
use crate::cluster::{RemediatedNode, Rule, WatchedNode, Written, clear_command};
use crate::core::remediation::{End, Machine, Record, RecordSeen, Resume, State};
use crate::error::{Error, Exit, Result};
use crate::ui::escape;

/// How long whoever holds the Lease may take to obey an abort before we say that it does not.
const OBEYS_WITHIN: Duration = Duration::from_secs(180);

pub(super) async fn resume(name: &str, retry_reboot: bool, context: &Context<'_>) -> Result<String> {
    let Context { settings, ui, .. } = *context;
    let node = node(name, context).await?;
    heal(&node, context).await;
    say_whose(name, &record(&node)?, context);
    let locks = Locks::take(&node, context).await?;
    let silencing = Silencing::new(&node, &record(&node)?.id, context);
    let outcome = async {
        // Whoever had the Lease may have gone on until now.
        let node = self::node(name, context).await?;
        let record = record(&node)?;
        let prompts = Prompts::of(name, &node, settings, ui);
        silencing.take_over(&record).await;
        let resume = Resume {
            holder: context.holder.to_owned(),
            method: Some(settings.reboot.method),
            retry_reboot,
            confirmed_spent: settings.confirmed.contains(name),
            ready_heartbeat: node.ready().and_then(|ready| ready.last_heartbeat_time.clone()),
            silence: silencing.mark(),
            options: begin::options(settings, settings.drain.timeout, &prompts),
        };
        let id = record.id.clone();
        let machine = Machine::resume(record, resume).map_err(|refusal| {
            Error::new(Exit::Refused, format!("node/{name}: {refusal}"))
                .hint("to retry the reboot by this method: add --retry-reboot")
        })?;
        let worker = worker(context, &locks, &silencing, prompts, &id, &node, &settings.drain)?;
        Ok(carry_out(worker, machine, node, None).await)
    };
    let outcome: Result<End> = outcome.await;
    silencing.end().await;
    locks.release().await;
    ending::ending(name, outcome?, context).await
}

/// Undoes a remediation. One that another process is at work on is asked to.
pub(super) async fn abort(name: &str, context: &Context<'_>) -> Result<String> {
    let Context { settings, cluster, ui, .. } = *context;
    let node = node(name, context).await?;
    heal(&node, context).await;
    let seen = record(&node)?;
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
            ui.note(&format!("{} was asked to stop; waiting for it", escape(&seen.holder)));
            return match tokio::time::timeout(OBEYS_WITHIN, gone(views, &seen.id)).await {
                Ok(()) => Ok(aborted_by(&seen, context)),
                Err(_) => Err(busy),
            };
        }
        Err(error) => return Err(error),
    };
    let silencing = Silencing::new(&node, &seen.id, context);
    let outcome = async {
        let node = self::node(name, context).await?;
        if node.view.record == RecordSeen::None {
            return Ok(None);
        }
        let record = record(&node)?;
        let id = record.id.clone();
        silencing.remember(&record);
        let prompts = Prompts::of(name, &node, settings, ui);
        let options = begin::options(settings, settings.drain.timeout, &prompts);
        let machine = Machine::abort(record, context.holder, context.holder, options);
        let worker = worker(context, &locks, &silencing, prompts, &id, &node, &settings.drain)?;
        Ok(Some(carry_out(worker, machine, node, None).await))
    };
    let outcome: Result<Option<End>> = outcome.await;
    silencing.end().await;
    locks.release().await;
    match outcome? {
        // It is what was asked for.
        Some(End::Aborted { cordon_stays, .. }) => {
            let stays = cordon_stays.map(|why| format!("; it stays cordoned: {why}")).unwrap_or_default();
            Ok(format!("node/{name} aborted{stays}"))
        }
        Some(end) => ending::ending(name, end, context).await,
        None => {
            context.report.was_done(Outcome::NothingToDo);
            Ok(format!("node/{name}: the remediation has ended meanwhile"))
        }
    }
}

fn aborted_by(record: &Record, context: &Context<'_>) -> String {
    context.report.was_done(Outcome::Aborted);
    format!("node/{} aborted by {}", context.report.node(), escape(&record.holder))
}

async fn node(name: &str, context: &Context<'_>) -> Result<RemediatedNode> {
    let node =
        context.cluster.remediated_node(name).await.map_err(|error| error.explain("get", &Rule::NODES))?;
    let node = node.ok_or_else(|| {
        Error::in_kubectls_words(format!("Error from server (NotFound): nodes {name:?} not found"))
            .hint("kubectl get nodes")
    })?;
    context.report.saw(&node);
    Ok(node)
}

fn record(node: &RemediatedNode) -> Result<Record> {
    let name = &node.name;
    match &node.view.record {
        RecordSeen::Readable(record) => Ok((**record).clone()),
        RecordSeen::None => {
            Err(Error::new(Exit::Refused, format!("node/{name}: there is no unfinished remediation on it"))
                .hint(format!("to start one: kubectl sciuro remediate {name}")))
        }
        RecordSeen::Unreadable(why) => Err(Error::new(
            Exit::Refused,
            format!("node/{name}: the record of a remediation on it cannot be read: {why}"),
        )
        .hint(format!("if nobody is at work on the node: {}", clear_command(name)))),
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
    let state = record.failed_state.filter(|_| record.state == State::NeedsHuman).unwrap_or(record.state);
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
            WatchedNode::Unknown { .. } => false,
        })
        .await;
}
