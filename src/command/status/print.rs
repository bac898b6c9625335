//! The rows as a table, as names or as a document, and the sentence below them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::document::{Document, item};
use super::freshness::LastSync;
use super::table::{Layout, without_rows};
use crate::cli::Format;
use crate::command::render;
use crate::core::alert::Priority;
use crate::core::prefix::Prefix;
use crate::core::report::{Row, ShownNode, human_duration};
use crate::core::standing::Standing;
use crate::error::{Error, Exit, Result};
use crate::settings::{StatusFormat, StatusSettings};
use crate::ui::Ui;

const KIND: &str = "StatusReport";

pub(super) fn rows(
    rows: &[Row<'_>],
    unfinished: &[&ShownNode],
    prefix: &Prefix,
    settings: &StatusSettings,
    last_sync: &LastSync,
    now: Timestamp,
    ui: &Ui,
) -> Result<()> {
    let document = || Document::new(rows, unfinished, settings, last_sync, now);
    match &settings.output {
        Some(StatusFormat::Json) => ui.document(&render::document(KIND, &document(), Format::Json)),
        Some(StatusFormat::Yaml) => ui.document(&render::document(KIND, &document(), Format::Yaml)),
        Some(StatusFormat::JsonPath { text, template }) => {
            let printed = template.print(&render::value(KIND, &document()));
            let printed = printed.map_err(|error| {
                Error::new(Exit::Failed, format!("error executing jsonpath {text:?}: {error}"))
            })?;
            ui.verbatim(&printed);
        }
        Some(StatusFormat::CustomColumns(columns)) => {
            let items: Vec<Value> = rows.iter().map(|row| item(row)).collect();
            let lines = columns.lines(&items, !settings.no_headers);
            lines.map_err(|error| Error::new(Exit::Failed, error))?.iter().for_each(|line| ui.result(line));
        }
        Some(StatusFormat::Name) => {
            let mut seen = BTreeSet::new();
            for row in rows.iter().filter(|row| seen.insert(&row.node.node.name)) {
                ui.result(&format!("node/{}", row.node.node.name));
            }
        }
        None | Some(StatusFormat::Wide) if rows.is_empty() && unfinished.is_empty() => {}
        None | Some(StatusFormat::Wide) => {
            let remediation = settings.is_wide() || !unfinished.is_empty();
            let layout = Layout { settings, prefix, remediation, now };
            let mut table = layout.table();
            for row in rows {
                table.push(layout.of_condition(row));
            }
            for node in without_rows(unfinished, rows) {
                table.push(layout.of_remediation(node));
            }
            ui.table(&table, !settings.no_headers);
        }
    }
    Ok(())
}

/// What stands below the rows.
pub(super) struct Summary {
    /// `2 conditions firing on 2 of 40 nodes (P1: 1, P8: 1); last full sync 31s ago by cron@ops1`
    pub(super) note: Option<String>,
    /// What cannot be told.
    pub(super) warning: Option<String>,
}

impl Summary {
    pub(super) fn print(&self, ui: &Ui) {
        if let Some(note) = &self.note {
            ui.note(note);
        }
        if let Some(warning) = &self.warning {
            ui.warning(warning);
        }
    }
}

/// What is known besides the rows.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    /// How many.
    pub(super) nodes: usize,
    /// How many remediations have not ended.
    pub(super) unfinished: usize,
    /// Why it cannot be told what else fires.
    pub(super) doubt: Option<&'s str>,
}

pub(super) fn summary(
    rows: &[Row<'_>],
    seen: Seen<'_>,
    settings: &StatusSettings,
    last_sync: &LastSync,
    now: Timestamp,
) -> Summary {
    let firing: Vec<&Row<'_>> = rows.iter().filter(|row| row.standing == Standing::Firing).collect();
    let mut parts = Vec::new();
    if !firing.is_empty() {
        parts.push(firing_part(&firing, seen.nodes));
    }
    parts.extend([true, false].into_iter().filter_map(|owned| unknown_part(rows, owned)));
    let more = if parts.is_empty() { "cannot tell" } else { "cannot tell what else fires" };
    let warning = seen.doubt.map(|doubt| format!("{more}: {doubt}"));
    let says = last_sync.says(settings, now);
    let unfinished = (seen.unfinished > 0).then(|| render::count(seen.unfinished, "unfinished remediation"));
    if parts.is_empty() {
        let says = if says.is_empty() { String::new() } else { format!(" ({})", says.join("; ")) };
        let also = unfinished.as_ref().map_or_else(String::new, |unfinished| format!("; {unfinished}"));
        let nothing = format!("No firing node conditions found{says}{also}.");
        let note = if warning.is_none() { Some(nothing) } else { unfinished };
        return Summary { note, warning };
    }
    parts.extend(unfinished);
    if let Some(full) = last_sync.last_full(now).filter(|_| settings.condition.is_none()) {
        let by = last_sync.by().map_or_else(String::new, |by| format!(" by {by}"));
        parts.push(format!("last full sync {} ago{by}", human_duration(now.duration_since(full.at))));
    }
    parts.extend(says);
    Summary { note: Some(parts.join("; ")), warning }
}

/// Why nothing is known of the conditions of others, only they could say.
fn unknown_part(rows: &[Row<'_>], owned: bool) -> Option<String> {
    let unknown = || rows.iter().filter(|row| row.standing == Standing::Unknown && row.owned == owned);
    let why = if owned { ": alerts unavailable" } else { "" };
    let since = unknown().filter_map(|row| row.condition.last_transition).min();
    let since = since.map_or_else(String::new, |since| format!(" since {}", since.strftime("%H:%MZ")));
    let count = unknown().count();
    (count > 0).then(|| format!("{count} unknown{why}{since}"))
}

fn firing_part(firing: &[&Row<'_>], nodes: usize) -> String {
    let mut by_priority: BTreeMap<(bool, Option<Priority>), usize> = BTreeMap::new();
    for row in firing {
        *by_priority.entry((row.priority.is_none(), row.priority)).or_default() += 1;
    }
    let counts: Vec<String> = by_priority
        .into_iter()
        .map(|((_, priority), count)| match priority {
            Some(priority) => format!("{priority}: {count}"),
            None => format!("-: {count}"),
        })
        .collect();
    let on: BTreeSet<&String> = firing.iter().map(|row| &row.node.node.name).collect();
    format!(
        "{} firing on {} of {} ({})",
        render::count(firing.len(), "condition"),
        on.len(),
        render::count(nodes, "node"),
        counts.join(", ")
    )
}
