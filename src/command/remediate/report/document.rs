//! The reports as a document; its schema is `schemas/remediation-report.json`.

use std::sync::PoisonError;

use jiff::Timestamp;
use serde::Serialize;

use super::{Ending, Outcome, PodName, Report, Reports, StepTaken};
use crate::cli::Format;
use crate::command::remediate::plan::Refused;
use crate::command::render;
use crate::core::remediation::{Attempt, Method, State};
use crate::core::verify::Check;
use crate::error::{Exit, Result};
use crate::settings::Task;

/// `kind: RemediationReport`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// The remediation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    task: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    began: Option<Timestamp>,
    ended: Timestamp,
    outcome: Outcome,
    exit_code: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_step: Option<&'static str>,
    /// Of the record that is left on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cordoned: Option<bool>,
    /// Why it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    stays_cordoned: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refusals: Vec<Refused>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_permissions: Vec<String>,
    steps: Vec<StepTaken>,
    pods: Pods,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Method>,
    attempts: Vec<Attempt>,
    #[serde(rename = "bootID", skip_serializing_if = "Option::is_none")]
    boot_id: Option<BootIds>,
    checks: Vec<CheckSeen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
    left_to_do: Vec<String>,
}

#[derive(Serialize)]
struct BootIds {
    before: String,
    /// The one by which the reboot was proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

#[derive(Default, Serialize)]
struct Pods {
    evicted: Vec<PodName>,
    kept: Vec<PodKept>,
    left: Vec<PodLeft>,
}

#[derive(Serialize)]
struct PodKept {
    namespace: String,
    name: String,
    reason: &'static str,
}

#[derive(Serialize)]
struct PodLeft {
    namespace: String,
    name: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<String>,
    hint: String,
}

#[derive(Serialize)]
struct CheckSeen {
    name: String,
    passed: bool,
    message: String,
}

const KIND: &str = "RemediationReport";

/// `kind: RemediationReportList`; its items are documents of their own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    began: Timestamp,
    ended: Timestamp,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    items: Vec<serde_json::Value>,
}

/// `outcome`: of the whole command.
pub(super) fn of(reports: &Reports, outcome: &Result<Exit>, task: Task, format: Format) -> String {
    if let ([report], true) = (reports.all(), reports.is_one) {
        return render::document(KIND, &Item::new(report, Some(outcome), task), format);
    }
    let items = reports.all().iter().map(|report| render::value(KIND, &Item::new(report, None, task)));
    let list = List {
        began: reports.began,
        ended: Timestamp::now(),
        exit_code: exit(outcome) as u8,
        message: outcome.as_ref().err().map(|error| error.why().to_owned()),
        items: items.collect(),
    };
    render::document("RemediationReportList", &list, format)
}

fn exit(outcome: &Result<Exit>) -> Exit {
    outcome.as_ref().map_or_else(|error| error.exit, |exit| *exit)
}

impl Item {
    /// `outcome`: of the command, if that is this node's alone.
    fn new(report: &Report, outcome: Option<&Result<Exit>>, task: Task) -> Self {
        let mut facts = std::mem::take(&mut *report.facts());
        let failed_before_it_began = || match outcome {
            Some(Err(error)) => Some(Ending::of(Err(error))),
            _ => None,
        };
        let ending = facts.ending.take().or_else(failed_before_it_began);
        let outcome = Outcome::of_run(facts.outcome, ending.as_ref());
        let ending = ending.unwrap_or_else(|| Ending {
            at: Timestamp::now(),
            exit: Exit::Done,
            message: format!("node/{}: not started", report.node),
            hints: Vec::new(),
        });
        // What others do meanwhile is not known.
        let is_ours = !matches!(outcome, Outcome::TakenOver | Outcome::Replaced);
        let record = facts.record.as_ref();
        let before = record.map(|record| &record.pre_boot_id);
        let before = before.or(facts.node.as_ref().map(|node| &node.boot_id)).filter(|id| !id.is_empty());
        let after = record.and_then(|record| record.proven_boot_id.clone());
        let failed = record.filter(|_| matches!(outcome, Outcome::Failed | Outcome::Undone));
        let left = facts.left.into_iter().map(|pod| PodLeft {
            namespace: pod.namespace,
            name: pod.name,
            reason: pod.reason,
            budget: pod.budget,
            hint: pod.hint,
        });
        let kept = facts.kept.into_iter();
        let kept = kept.map(|pod| PodKept { namespace: pod.namespace, name: pod.name, reason: pod.reason });
        let mut left_to_do = facts.hints;
        left_to_do.extend(ending.hints);
        Self {
            node: report.node.clone(),
            uid: facts.node.as_ref().map(|node| node.uid.clone()),
            id: record.map(|record| record.id.clone()),
            task: name(task),
            began: facts.began,
            ended: ending.at,
            outcome,
            exit_code: ending.exit as u8,
            message: ending.message,
            failed_step: failed.and_then(|record| record.failed_state).and_then(State::step),
            state: record.filter(|_| is_ours && !facts.is_over).map(|record| record.state),
            cordoned: facts.node.as_ref().filter(|_| is_ours).and_then(|node| node.is_cordoned),
            stays_cordoned: facts.cordon_stays,
            refusals: facts.refusals,
            missing_permissions: facts.missing_permissions,
            steps: facts.steps,
            pods: Pods { evicted: facts.evicted, kept: kept.collect(), left: left.collect() },
            method: record.map(|record| record.method),
            attempts: record.map(|record| record.attempts.clone()).unwrap_or_default(),
            boot_id: before.map(|before| BootIds { before: before.clone(), after }),
            checks: report.checks.lock().unwrap_or_else(PoisonError::into_inner).iter().map(check).collect(),
            bundle: record.and_then(|record| record.bundle.clone()),
            left_to_do,
        }
    }
}

fn check(check: &Check) -> CheckSeen {
    CheckSeen { name: check.name.clone(), passed: check.passed, message: check.why.clone() }
}

fn name(task: Task) -> &'static str {
    match task {
        Task::Remediate => "remediate",
        Task::Resume { .. } => "resume",
        Task::Abort => "abort",
    }
}
