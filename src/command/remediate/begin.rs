//! From the plan to the first record: the probe, and under the disruption lock the gates once more.

use jiff::Timestamp;
use uuid::Uuid;

use super::Context;
use super::admission::{self, Turn};
use super::next::{Lines, Next};
use super::preflight::Preflight;
use super::run::Run;
use super::work::Worker;
use crate::cluster::{RemediatedNode, Rule};
use crate::command::stop::{Stopped, until_stopped};
use crate::core::gates::{Refusal, Told};
use crate::core::remediation::{
    Baseline, Machine, Mark, Method, Options, Reason, Record, RecordSeen, State, VERSION,
};
use crate::error::{Error, Exit, Result};
use crate::remedy::reboot::command::CommandOptions;
use crate::remedy::reboot::helper::{HelperOptions, STARTS_WITHIN};
use crate::remedy::reboot::ssh::SshOptions;
use crate::remedy::reboot::{self, Addresses, Reboot, RebootError};
use crate::remedy::{News, Tell, baseline};
use crate::settings::{RebootSettings, RemediateSettings};

/// What a person decided about this run.
pub(super) fn options(
    settings: &RemediateSettings,
    drain_timeout: Option<std::time::Duration>,
    can_ask: bool,
) -> Options {
    Options {
        until: settings.until,
        skip_collect: settings.skip_collect,
        skip_drain: settings.skip_drain,
        keep_cordon: settings.keep_cordon,
        on_failure_uncordon: settings.on_failure_uncordon,
        asks_to_uncordon: can_ask,
        collect_timeout: settings.collect.timeout.unwrap_or_default(),
        drain_timeout: drain_timeout.unwrap_or_default(),
        reboot_timeout: settings.reboot.timeout.unwrap_or_default(),
        verify_timeout: settings.verify.timeout.unwrap_or_default(),
        ..Options::default()
    }
}

/// The chosen method, for this node.
pub(super) fn reboot(settings: &RemediateSettings, node: &RemediatedNode) -> Result<Reboot> {
    method(settings, node).map_err(|error| impossible(node, error))
}

/// What has the last word on this node, if anything has.
pub(super) fn verify_command(
    settings: &RemediateSettings,
    node: &RemediatedNode,
) -> Result<Option<CommandOptions>> {
    last_word(settings, node).map_err(|error| impossible(node, error))
}

fn impossible(node: &RemediatedNode, error: RebootError) -> Error {
    let refused = refused(&node.name, &error.why);
    error.hints.into_iter().fold(refused, Error::hint)
}

/// That, or why its placeholders cannot be filled in.
pub(super) fn last_word(
    settings: &RemediateSettings,
    node: &RemediatedNode,
) -> std::result::Result<Option<CommandOptions>, RebootError> {
    let words = &settings.verify.command;
    (!words.is_empty()).then(|| CommandOptions::new(words, node, addresses(&settings.reboot))).transpose()
}

/// The method, or why this node cannot be rebooted so.
pub(super) fn method(
    settings: &RemediateSettings,
    node: &RemediatedNode,
) -> std::result::Result<Reboot, RebootError> {
    let all = settings;
    let settings = &all.reboot;
    if let Some(error) = reboot::unsupported(&node.name, &node.info, settings.method) {
        return Err(error);
    }
    match settings.method {
        Method::Pod | Method::Signal => Ok(Reboot::Pod(helper(all))),
        Method::Ssh => {
            SshOptions::new(node, addresses(settings), settings.ssh_config.clone()).map(Reboot::Ssh)
        }
        Method::Command => {
            CommandOptions::new(&settings.command, node, addresses(settings)).map(Reboot::Command)
        }
        Method::Manual => Ok(Reboot::Manual),
    }
}

fn addresses(settings: &RebootSettings) -> Addresses<'_> {
    Addresses { kind: settings.address_type.name(), known: settings.known_addresses.as_ref() }
}

/// What of the node's own words is in this request to reboot, and in the command that verifies it.
pub(super) async fn told(reboot: Option<&Reboot>, verify: Option<&CommandOptions>) -> Told {
    let (first, second) = (reboot.map(Reboot::takes), verify.map(CommandOptions::takes));
    let all = || first.into_iter().chain(second);
    // Both are made of the same Node, and take the same type of address.
    reboot::look(all().find_map(|(address, _)| address), all().find_map(|(_, id)| id)).await
}

/// What helper pods on the node are made of.
pub(super) fn helper(settings: &RemediateSettings) -> HelperOptions {
    let settings = &settings.reboot;
    let options = HelperOptions::new(&settings.helper_namespace, &settings.helper_image);
    // Who does not wait longer for the reboot does not wait longer for who orders it.
    let starts_within = settings.timeout.unwrap_or(STARTS_WITHIN).min(STARTS_WITHIN);
    HelperOptions { starts_within, by_signal: settings.method == Method::Signal, ..options }
}

/// Asks everything once more, and stores the first record; then, or when that was not to be, the run goes on to its end.
pub(super) async fn first_record<'w>(
    worker: &'w Worker<'w>,
    found: &Preflight,
    options: Options,
    context: &Context<'_>,
) -> Result<Run<'w>> {
    let begun = until_stopped(Some(&worker.locks.node), Box::pin(ask_again(worker, found, context))).await;
    if let Err(Stopped::Signal(_)) = begun {
        worker.end_probe().await;
    }
    let (turn, record, node) = begun??;
    let mut run = Run::new(worker, Machine::start(record, options), node);
    Box::pin(run.until_recorded(&turn)).await;
    turn.end().await;
    Ok(run)
}

/// Whether the machine is the right one and, from our turn on, whether the gates let it go.
async fn ask_again(
    worker: &Worker<'_>,
    found: &Preflight,
    context: &Context<'_>,
) -> Result<(Turn, Record, RemediatedNode)> {
    worker.sweep().await;
    let boot_id = found.node.view.boot_id.clone();
    if worker.settings.reboot.method.is_guarded() {
        worker.steps.tell(News::Line("asks the machine whether it is the right one"));
    }
    worker.probe(&boot_id).await.map_err(|failure| refused_late(worker, &failure.why))?;
    let baseline = baseline::take(worker.cluster, &found.node).await;
    let baseline = baseline
        .map_err(|error| error.explain("list", &Rule { group: "", resource: "pods", namespace: None }))?;
    let turn = worker.turn().await?;
    let looked = turn.allows(Box::pin(look_again(worker, found, baseline, context))).await;
    let (record, node) = looked.unwrap_or_else(|| Err(refused_late(worker, &turn.too_short())))?;
    Ok((turn, record, node))
}

async fn look_again(
    worker: &Worker<'_>,
    found: &Preflight,
    baseline: Baseline,
    context: &Context<'_>,
) -> Result<(Record, RemediatedNode)> {
    let cluster = worker.cluster;
    let (node, others, told) = futures::join!(
        cluster.remediated_node(&worker.node),
        super::preflight::Others::look(&worker.node, cluster),
        told(worker.reboot.as_ref(), worker.verify_command.as_ref())
    );
    let node = node
        .map_err(|error| error.explain("get", &Rule::NODES))?
        .ok_or_else(|| Error::new(Exit::Aborted, format!("node/{} is gone", worker.node)))?;
    if node.view.record != RecordSeen::None {
        return Err(super::preflight::refuse_unfinished(&node, context)
            .err()
            .unwrap_or_else(|| refused_late(worker, "busy")));
    }
    if node.view.uid != found.node.view.uid || node.view.boot_id != found.node.view.boot_id {
        return Err(refused_late(
            worker,
            "it is not as it was planned with: it was replaced or has rebooted",
        ));
    }
    let (refusals, mut overridden) = others?.judge(&node, &node.view.boot_id, &told, worker.settings);
    admission::refuse(&refusals).map_err(|error| refused_late(worker, &error.to_string()))?;
    overridden.extend(found.drain.overridden.iter().cloned());
    overridden.dedup_by_key(|refusal| refusal.gate);
    let draft = Draft {
        id: &worker.id,
        holder: &worker.holder,
        method: worker.settings.reboot.method,
        reasons: &found.reasons,
        overridden: &overridden,
    };
    let record = draft.record(&node, baseline, worker.silencing.mark(), cluster.now());
    Ok((record, node))
}

/// What a record says that is new.
pub(super) struct Draft<'d> {
    pub(super) id: &'d str,
    pub(super) holder: &'d str,
    pub(super) method: Method,
    pub(super) reasons: &'d [Reason],
    pub(super) overridden: &'d [Refusal],
}

impl Draft<'_> {
    pub(super) fn record(
        &self,
        node: &RemediatedNode,
        baseline: Baseline,
        silence: Option<Mark>,
        now: Timestamp,
    ) -> Record {
        Record {
            v: VERSION,
            id: self.id.to_owned(),
            state: State::Cordoning,
            failed_state: None,
            since: now,
            timeout: 0,
            actor: actor(self.holder).to_owned(),
            holder: self.holder.to_owned(),
            method: self.method,
            reason: self.reasons.to_vec(),
            overrides: self.overridden.iter().map(|refusal| refusal.gate.name().to_owned()).collect(),
            node_uid: node.view.uid.clone(),
            pre_boot_id: node.view.boot_id.clone(),
            proven_boot_id: None,
            baseline,
            was_unschedulable: node.view.unschedulable,
            marks: silence.into_iter().collect(),
            attempts: Vec::new(),
            bundle: None,
            last_error: None,
        }
    }
}

fn actor(holder: &str) -> &str {
    holder.rsplit_once('#').map_or(holder, |(actor, _)| actor)
}

pub(super) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn refused(node: &str, why: &str) -> Error {
    Error::new(Exit::Refused, format!("node/{node}: {why}; nothing was changed"))
}

/// After the plan was accepted.
fn refused_late(worker: &Worker<'_>, why: &str) -> Error {
    let lines = Lines {
        node: &worker.node,
        settings: worker.settings,
        record: None,
        drain: &worker.settings.drain,
        forgets_until: false,
    };
    lines.hint(refused(&worker.node, why), &[Next::Check])
}
