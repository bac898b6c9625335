//! What a round did: as lines, as a document, as an exit code.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::trust::{self, say_held};
use super::write::{NodeResult, Outcome};
use crate::cli::DryRun;
use crate::command::render;
use crate::core::condition::{Change, ChangeKind, SourceState};
use crate::core::round::{Notice, Round};
use crate::core::selection::Counts;
use crate::core::source::{JudgedMember, Trust, Verdict};
use crate::error::{Error, Exit, Result};
use crate::settings::SyncSettings;
use crate::ui::Ui;

/// A finished round.
pub(super) struct Report {
    pub(super) finished: Timestamp,
    pub(super) trust: Trust,
    /// What was planned; the changes are in `written`.
    pub(super) round: Round,
    /// Clears that wait: node and condition type.
    pub(super) held: Vec<(String, String)>,
    pub(super) nodes: usize,
    pub(super) counts: Counts,
    pub(super) written: Vec<NodeResult>,
    /// Why nothing was written at all.
    pub(super) refused: Option<Error>,
}

impl Report {
    pub(super) fn failures(&self) -> impl Iterator<Item = (&str, &Error)> {
        failures(&self.written)
    }

    pub(super) fn print(&self, settings: &SyncSettings, ui: &Ui) {
        if self.refused.is_some() {
            return;
        }
        match settings.output {
            Some(format) => ui.document(&render::document("SyncReport", &self.document(settings), format)),
            None => print_changes(&self.written, settings, ui),
        }
        say_held(self, settings, ui);
        print_failures(self.failures(), ui);
        ui.note(&self.summary(settings));
    }

    /// The first that applies (spec §6.8).
    pub(super) fn exit(self, settings: &SyncSettings) -> Result<Exit> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let failed = self.failures().count();
        if failed > 0 {
            let skipped =
                self.written.iter().filter(|result| matches!(result.outcome, Outcome::Skipped)).count();
            let rest = if skipped > 0 { format!(", {skipped} were not tried") } else { String::new() };
            let planned = self.written.len();
            return Err(Error::new(
                Exit::Failed,
                format!("{failed} of {} could not be written{rest}", render::count(planned, "node")),
            )
            .hint("run the command again: what was written stays, the rest is planned anew"));
        }
        if self.counts.strict > 0 {
            let skipped = self.counts.strict;
            return Err(Error::new(
                Exit::Failed,
                format!("skipped {} with a malformed priority (--strict)", render::count(skipped, "alert")),
            ));
        }
        if self.round.state == SourceState::Down {
            return Err(trust::down(&self.trust));
        }
        let is_warming = self.trust.is_only_warming() && self.round.notices.is_empty();
        if self.round.is_braked() || self.round.state == SourceState::Partial && !is_warming {
            return Ok(Exit::SourcePartial);
        }
        let is_pending = self.written.iter().any(|result| result.changes.iter().any(is_visible));
        if settings.exit_code && is_pending {
            return Ok(Exit::Pending);
        }
        Ok(Exit::Done)
    }

    pub(super) fn summary(&self, settings: &SyncSettings) -> String {
        let done = |result: &&NodeResult| matches!(result.outcome, Outcome::Written | Outcome::Planned);
        let changes = || self.written.iter().filter(done).flat_map(|result| &result.changes);
        let visible = changes().filter(|change| is_visible(change)).count();
        let touched =
            self.written.iter().filter(done).filter(|result| result.changes.iter().any(is_visible)).count();
        let heartbeats = changes().count() - visible;
        let would = if settings.dry_run == DryRun::None { "" } else { "would be " };
        let counts = &self.counts;
        let mut summary = format!(
            "{} {would}changed on {touched} of {}, {heartbeats} confirmed; {}, {} matched",
            render::count(visible, "condition"),
            render::count(self.nodes, "node"),
            render::count(counts.alerts, "alert"),
            counts.matched
        );
        for (count, what) in [
            (counts.unmatched, "unmatched"),
            (counts.ambiguous, "ambiguous"),
            (counts.other_clusters, "of other clusters"),
            (counts.excluded, "excluded"),
            (counts.expression_errors, "not judged"),
            (counts.silenced, "silenced"),
            (counts.inhibited, "inhibited"),
        ] {
            if count > 0 {
                summary.extend([", ", &count.to_string(), " ", what]);
            }
        }
        match self.round.state {
            SourceState::Full => {}
            SourceState::Partial if self.round.is_complete() => {
                let of: Vec<&str> = self.round.notices.iter().filter_map(held_for).collect();
                summary.extend(["; PARTIAL: conditions of ", &of.join(" and "), " are not cleared"]);
            }
            SourceState::Partial => summary.push_str("; source PARTIAL: nothing is cleared"),
            SourceState::Down => summary.push_str("; source DOWN: nothing is added or cleared"),
        }
        summary
    }

    fn document(&self, settings: &SyncSettings) -> Document<'_> {
        Document {
            time: self.finished,
            dry_run: settings.dry_run != DryRun::None,
            source_state: self.round.state,
            sources: self.trust.groups.iter().map(|group| group.iter().map(member_entry).collect()).collect(),
            nodes: self.nodes,
            alerts: &self.counts,
            changes: self
                .written
                .iter()
                .flat_map(|result| result.changes.iter().map(move |change| change_entry(result, change)))
                .collect(),
            held: self
                .held
                .iter()
                .map(|(node, condition_type)| HeldEntry { node, r#type: condition_type })
                .collect(),
            failures: self.failures().map(|(node, error)| (node, error.to_string())).collect(),
        }
    }
}

/// What keeps conditions as they are though all sources were heard.
fn held_for(notice: &Notice) -> Option<&'static str> {
    match notice {
        Notice::NothingMatches { held: 1.. } => Some("unmatched alerts"),
        Notice::Ambiguous => Some("ambiguous alerts"),
        Notice::Unevaluated { .. } => Some("rules that were not evaluated"),
        _ => None,
    }
}

pub(super) fn failures(written: &[NodeResult]) -> impl Iterator<Item = (&str, &Error)> {
    written.iter().filter_map(|result| match &result.outcome {
        Outcome::Failed(error) => Some((result.node.as_str(), error)),
        _ => None,
    })
}

/// Each failure, and the hints, once: what one node lacks the others mostly lack too.
pub(super) fn print_failures<'f>(failures: impl Iterator<Item = (&'f str, &'f Error)>, ui: &Ui) {
    let mut hints = BTreeSet::new();
    for (node, error) in failures {
        ui.note(&format!("node/{node}: {error}"));
        hints.extend(error.lines().skip(1));
    }
    for hint in hints {
        ui.note(&hint);
    }
}

/// `node/w1 condition/AlertManager_X True (was False)`; heartbeats change nothing that a person looks for.
pub(super) fn print_changes(written: &[NodeResult], settings: &SyncSettings, ui: &Ui) {
    let suffix = match settings.dry_run {
        DryRun::None => "",
        DryRun::Client => " (dry run)",
        DryRun::Server => " (server dry run)",
    };
    for result in written {
        if !matches!(result.outcome, Outcome::Written | Outcome::Planned) {
            continue;
        }
        for change in result.changes.iter().filter(|change| is_visible(change)) {
            let Change { kind, was, condition, .. } = change;
            let what = match (kind, was) {
                (ChangeKind::Delete, _) => format!("deleted (was {})", condition.status),
                (ChangeKind::Update, _) => format!("{} (updated)", condition.status),
                (_, Some(was)) => format!("{} (was {was})", condition.status),
                (_, None) => format!("{} (added)", condition.status),
            };
            ui.result(&format!("node/{} condition/{} {what}{suffix}", result.node, condition.type_));
        }
    }
}

pub(super) fn is_visible(change: &Change) -> bool {
    change.kind != ChangeKind::Heartbeat
}

/// `kind: SyncReport`; its schema is `schemas/sync-report.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'r> {
    time: Timestamp,
    dry_run: bool,
    source_state: SourceState,
    sources: Vec<Vec<MemberEntry<'r>>>,
    nodes: usize,
    alerts: &'r Counts,
    changes: Vec<ChangeEntry<'r>>,
    held: Vec<HeldEntry<'r>>,
    failures: BTreeMap<&'r str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberEntry<'r> {
    name: &'r str,
    verdict: &'static str,
    alerts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'r str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unevaluated_rules: Vec<&'r str>,
}

fn member_entry(member: &JudgedMember) -> MemberEntry<'_> {
    let (verdict, reason, detail) = match &member.verdict {
        Verdict::Ok => ("ok", None, None),
        Verdict::Warming(_) => ("warming", None, None),
        Verdict::Warned(warnings) => ("warned", None, warnings.first().map(String::as_str)),
        Verdict::Failed(failure) => ("failed", Some(failure.reason.name()), Some(failure.what.as_str())),
    };
    let started = member.started.and_then(|time| Timestamp::from_second(time.as_second()).ok());
    MemberEntry {
        name: &member.name,
        verdict,
        alerts: member.alerts,
        started,
        reason,
        detail,
        unevaluated_rules: member.unevaluated.iter().flatten().map(|(rule, _)| rule.as_str()).collect(),
    }
}

#[derive(Serialize)]
struct HeldEntry<'r> {
    node: &'r str,
    r#type: &'r str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeEntry<'r> {
    node: &'r str,
    r#type: &'r str,
    change: ChangeKind,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'r str>,
}

fn change_entry<'r>(result: &'r NodeResult, change: &'r Change) -> ChangeEntry<'r> {
    let remains = change.kind != ChangeKind::Delete;
    ChangeEntry {
        node: &result.node,
        r#type: &change.condition.type_,
        change: change.kind,
        result: match result.outcome {
            Outcome::Planned => "planned",
            Outcome::Written => "written",
            Outcome::Gone => "gone",
            Outcome::Failed(_) => "failed",
            Outcome::Skipped => "skipped",
        },
        was: change.was.as_deref(),
        status: remains.then_some(change.condition.status.as_str()),
        message: remains.then_some(change.condition.message.as_str()),
    }
}
