//! What a program is told of a run at its end, however that came: `-o json|yaml` without `--dry-run`.

mod document;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

use super::plan::{self, Refused};
use super::preflight::Preflight;
use crate::cluster::RemediatedNode;
use crate::core::drain::Left;
use crate::core::remediation::{End, Record, RecordSeen, RecordWrite, Write};
use crate::core::verify::Check;
use crate::error::{Error, Exit, Result};
use crate::remedy::drain::KeptPod;
use crate::settings::{RemediateSettings, Targets};
use crate::ui::Ui;

/// The reports of one command.
pub(super) struct Reports {
    began: Timestamp,
    /// One node was named, and nothing selected: its report is the document.
    is_one: bool,
    all: Vec<Report>,
}

impl Reports {
    pub(super) fn new(targets: &Targets) -> Self {
        let named = if let Targets::Named(names) = targets { names.as_slice() } else { &[] };
        let mut this = Self { began: Timestamp::now(), is_one: named.len() == 1, all: Vec::new() };
        this.set_nodes(named);
        this
    }

    /// Once it is known which ones are meant.
    pub(super) fn set_nodes(&mut self, names: &[String]) {
        self.all = names.iter().map(|name| Report::new(name)).collect();
    }

    /// In the order in which they are remediated.
    pub(super) fn all(&self) -> &[Report] {
        &self.all
    }

    /// What became of each node, if there are several.
    pub(super) fn say_outcomes(&self, ui: &Ui) {
        for report in self.all.iter().filter(|_| self.all.len() > 1) {
            ui.note(&format!("node/{}: {}", report.node, report.outcome()));
        }
    }

    /// `outcome`: of the whole command.
    pub(super) fn print(&self, outcome: &Result<Exit>, settings: &RemediateSettings, ui: &Ui) {
        if let Some(format) = settings.output {
            ui.document(&document::of(self, outcome, settings.task, format));
        }
    }
}

/// What becomes known of the run over one node.
pub(super) struct Report {
    node: String,
    facts: Mutex<Facts>,
    /// What the verification has seen last.
    pub(super) checks: Mutex<Vec<Check>>,
}

#[derive(Default)]
struct Facts {
    began: Option<Timestamp>,
    /// As it was seen, or written, last.
    node: Option<SeenNode>,
    /// As it was stored last.
    record: Option<Record>,
    /// The record is off the node.
    is_over: bool,
    refusals: Vec<Refused>,
    missing_permissions: Vec<String>,
    steps: Vec<StepTaken>,
    current: Option<(StepTaken, Instant)>,
    evicted: Vec<PodName>,
    kept: Vec<KeptPod>,
    left: Vec<Left>,
    /// Next commands that were told on the way.
    hints: Vec<String>,
    outcome: Option<Outcome>,
    cordon_stays: Option<String>,
    ending: Option<Ending>,
    is_unknown: bool,
}

struct SeenNode {
    uid: String,
    boot_id: String,
    /// `None`: that is not known.
    is_cordoned: Option<bool>,
}

/// One step, as it is shown on stderr.
#[derive(Clone, Serialize)]
struct StepTaken {
    name: &'static str,
    began: Timestamp,
    /// A clock that is set meanwhile does not change them.
    seconds: f64,
    result: StepResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum StepResult {
    Done,
    Failed,
    /// Something else has ended the run.
    Stopped,
}

#[derive(Serialize)]
struct PodName {
    namespace: String,
    name: String,
}

/// How the run over a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Outcome {
    Remediated,
    /// `--until`.
    Stopped,
    Declined,
    /// A person is needed, or something could not be asked.
    Failed,
    /// It failed, and what was done was taken back.
    Undone,
    Aborted,
    Replaced,
    TakenOver,
    Interrupted,
    Refused,
    Busy,
    /// There was nothing left to abort.
    NothingToDo,
    /// Another node has ended the command.
    NotBegun,
}

impl Outcome {
    fn of(end: &End) -> Self {
        match end {
            End::Remediated { .. } => Self::Remediated,
            End::Stopped { .. } => Self::Stopped,
            End::Declined => Self::Declined,
            End::NeedsHuman { .. } | End::Refused { during: Some(_), .. } => Self::Failed,
            End::Undone { .. } => Self::Undone,
            End::Aborted { .. } => Self::Aborted,
            End::Replaced => Self::Replaced,
            End::Lost { .. } => Self::TakenOver,
            End::Unreadable { .. } | End::Refused { during: None, .. } => Self::Refused,
            End::Interrupted { .. } => Self::Interrupted,
        }
    }

    /// As far as it is known.
    fn of_run(ended: Option<Self>, ending: Option<&Ending>) -> Self {
        match (ended, ending) {
            (Some(outcome), _) => outcome,
            (None, None) => Self::NotBegun,
            (None, Some(ending)) if ending.exit != Exit::Done => Self::of_exit(ending.exit),
            (None, Some(_)) => Self::Remediated,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Remediated => "remediated",
            Self::Stopped => "stopped",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Undone => "failed, undone",
            Self::Aborted => "aborted",
            Self::Replaced => "replaced",
            Self::TakenOver => "taken over",
            Self::Interrupted => "interrupted",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::NothingToDo => "nothing to do",
            Self::NotBegun => "not started",
        }
    }

    /// Of a run that did not come to an end of its own.
    fn of_exit(exit: Exit) -> Self {
        match exit {
            Exit::Refused | Exit::Usage => Self::Refused,
            Exit::Declined => Self::Declined,
            Exit::Aborted => Self::Aborted,
            Exit::Busy => Self::Busy,
            Exit::Interrupted | Exit::Terminated => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

struct Ending {
    at: Timestamp,
    exit: Exit,
    message: String,
    hints: Vec<String>,
}

impl Ending {
    fn of(outcome: std::result::Result<&str, &Error>) -> Self {
        let at = Timestamp::now();
        match outcome {
            Ok(said) => {
                let mut lines = said.lines().map(str::to_owned);
                let message = lines.next().unwrap_or_default();
                Self { at, exit: Exit::Done, message, hints: lines.collect() }
            }
            Err(error) => {
                Self { at, exit: error.exit, message: error.why().to_owned(), hints: error.hints().to_vec() }
            }
        }
    }
}

impl Report {
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), facts: Mutex::default(), checks: Mutex::default() }
    }

    /// The node's name.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    pub(super) fn begins(&self) {
        self.facts().began = Some(Timestamp::now());
    }

    /// It was only looked at: its turn comes later, if it comes.
    pub(super) fn waits(&self) {
        let mut facts = self.facts();
        facts.began = None;
        facts.steps.clear();
    }

    /// There is no such node.
    pub(super) fn is_unknown(&self, error: &Error) {
        let mut facts = self.facts();
        facts.is_unknown = true;
        facts.ending = Some(Ending::of(Err(error)));
    }

    fn outcome(&self) -> &'static str {
        let facts = self.facts();
        if facts.is_unknown {
            "not found"
        } else {
            Outcome::of_run(facts.outcome, facts.ending.as_ref()).word()
        }
    }

    /// The node, with the record that is on it.
    pub(super) fn saw(&self, node: &RemediatedNode) {
        let mut facts = self.facts();
        facts.see(node);
        if let RecordSeen::Readable(record) = &node.view.record {
            facts.record = Some((**record).clone());
        }
    }

    /// What was written on the node, and how the node is after that.
    pub(super) fn stored(&self, node: &RemediatedNode, write: &Write) {
        let mut facts = self.facts();
        facts.see(node);
        match &write.record {
            RecordWrite::Put(record) => facts.record = Some((**record).clone()),
            RecordWrite::Finish(_) => facts.is_over = true,
        }
    }

    pub(super) fn refused(&self, found: &Preflight) {
        let mut facts = self.facts();
        facts.refusals = plan::refusals(found);
        facts.missing_permissions.clone_from(&found.permissions.missing);
    }

    pub(super) fn step_begins(&self, name: &'static str) {
        let step = StepTaken {
            name,
            began: Timestamp::now(),
            seconds: 0.0,
            result: StepResult::Stopped,
            message: None,
        };
        self.facts().current = Some((step, Instant::now()));
    }

    pub(super) fn step_ends(&self, result: StepResult, message: Option<&str>) {
        self.facts().end_step(result, message);
    }

    pub(super) fn evicted(&self, namespace: &str, name: &str) {
        let pod = PodName { namespace: namespace.to_owned(), name: name.to_owned() };
        self.facts().evicted.push(pod);
    }

    pub(super) fn drained(&self, kept: Vec<KeptPod>) {
        self.facts().kept = kept;
    }

    pub(super) fn not_drained(&self, left: &[Left]) {
        self.facts().left = left.to_vec();
    }

    pub(super) fn hint(&self, hint: &str) {
        self.facts().hints.push(hint.to_owned());
    }

    /// The record, as it was seen or stored last.
    pub(super) fn record(&self) -> Option<Record> {
        let facts = self.facts();
        facts.record.clone().filter(|_| !facts.is_over)
    }

    /// The machine has come to its end.
    pub(super) fn came_to(&self, end: &End) {
        let mut facts = self.facts();
        facts.outcome = Some(Outcome::of(end));
        facts.cordon_stays = match end {
            End::Remediated { why, .. } => why.clone(),
            End::Undone { cordon_stays, .. } | End::Aborted { cordon_stays, .. } => cordon_stays.clone(),
            _ => None,
        };
    }

    /// Another process has done it.
    pub(super) fn was_done(&self, outcome: Outcome) {
        let mut facts = self.facts();
        facts.outcome = Some(outcome);
        facts.is_over = true;
        if let Some(node) = &mut facts.node {
            node.is_cordoned = None;
        }
    }

    /// What the person is told, and the exit code.
    pub(super) fn ends(&self, outcome: &Result<String>) {
        let ending = Ending::of(outcome.as_deref());
        let mut facts = self.facts();
        facts.end_step(if ending.exit == Exit::Done { StepResult::Done } else { StepResult::Failed }, None);
        facts.ending = Some(ending);
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    fn see(&mut self, node: &RemediatedNode) {
        self.node = Some(SeenNode {
            uid: node.view.uid.clone(),
            boot_id: node.view.boot_id.clone(),
            is_cordoned: Some(node.view.unschedulable),
        });
    }

    fn end_step(&mut self, result: StepResult, message: Option<&str>) {
        if let Some((step, began)) = self.current.take() {
            let seconds = (began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
            self.steps.push(StepTaken { seconds, result, message: message.map(str::to_owned), ..step });
        }
    }
}
