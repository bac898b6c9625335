//! The rows as a table, as names or as a document, and the sentence below them.

use std::collections::{BTreeMap, BTreeSet};

use console::Style;
use jiff::Timestamp;
use serde_json::Value;

use super::document::{Document, item};
use super::freshness::LastSync;
use crate::cli::Format;
use crate::command::render;
use crate::core::alert::Priority;
use crate::core::prefix::Prefix;
use crate::core::report::{Row, human_duration};
use crate::error::{Error, Exit, Result};
use crate::settings::{StatusFormat, StatusSettings};
use crate::ui::{Cell, Table, Ui};

const KIND: &str = "StatusReport";

pub(super) fn rows(
    rows: &[Row<'_>],
    prefix: &Prefix,
    settings: &StatusSettings,
    last_sync: &LastSync,
    now: Timestamp,
    ui: &Ui,
) -> Result<()> {
    let document = || Document::new(rows, settings, last_sync, now);
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
        None | Some(StatusFormat::Wide) if rows.is_empty() => {}
        None | Some(StatusFormat::Wide) => {
            ui.table(&table(rows, prefix, settings, now), !settings.no_headers);
        }
    }
    Ok(())
}

fn table(rows: &[Row<'_>], prefix: &Prefix, settings: &StatusSettings, now: Timestamp) -> Table {
    let mut table = Table::new(&headers(settings));
    for row in rows {
        table.push(cells(row, prefix, settings, now));
    }
    table
}

pub(super) fn headers(settings: &StatusSettings) -> Vec<String> {
    let mut headers =
        vec!["NODE".to_owned(), "PRIORITY".into(), "CONDITION".into(), "STATUS".into(), "AGE".into()];
    if settings.is_wide() {
        headers.extend(["NODE-STATUS", "ROLES", "REASON", "HEARTBEAT", "REMEDIATION"].map(String::from));
    }
    headers.extend(
        settings.label_columns.iter().map(|label| label.rsplit('/').next().unwrap_or(label).to_uppercase()),
    );
    headers.push("MESSAGE".into());
    if settings.show_labels {
        headers.push("LABELS".into());
    }
    headers
}

/// As many as there are [headers].
pub(super) fn cells(row: &Row<'_>, prefix: &Prefix, settings: &StatusSettings, now: Timestamp) -> Vec<Cell> {
    let is_wide = settings.is_wide();
    let age = |time: Option<Timestamp>| match time {
        Some(time) => human_duration(now.duration_since(time)),
        None => "<unknown>".into(),
    };
    let mut cells = vec![
        Cell::new(&row.node.node.name),
        priority_cell(row.priority),
        Cell::new(shown_type(row, prefix, is_wide)),
        status_cell(row),
        Cell::new(&age(row.condition.last_transition)),
    ];
    if is_wide {
        cells.extend([
            Cell::new(&row.node.status()),
            Cell::new(&or_none(&row.node.roles().join(","))),
            Cell::new(&or_none(&row.condition.reason)),
            Cell::new(&age(row.condition.last_heartbeat)),
            Cell::new(&or_none(row.node.remediation.as_deref().map_or("", |_| "recorded"))),
        ]);
    }
    let label = |label: &String| Cell::new(row.node.labels.get(label).map_or("", String::as_str));
    cells.extend(settings.label_columns.iter().map(label));
    cells.push(Cell::new(row.message));
    if settings.show_labels {
        let labels: Vec<String> =
            row.node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        cells.push(Cell::new(&or_none(&labels.join(","))));
    }
    cells
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// Without our prefix, unless all is wanted.
pub(super) fn shown_type<'r>(row: &'r Row<'_>, prefix: &Prefix, is_wide: bool) -> &'r str {
    let full = row.condition.type_.as_str();
    if is_wide || !prefix.owns(full) { full } else { &full[prefix.as_str().len()..] }
}

fn priority_cell(priority: Option<Priority>) -> Cell {
    let Some(priority) = priority else { return Cell::new("-") };
    let cell = Cell::new(&priority.to_string());
    match priority.number() {
        0 | 1 => cell.styled(Style::new().red().bold()),
        2 => cell.styled(Style::new().red()),
        3 => cell.styled(Style::new().yellow()),
        _ => cell,
    }
}

fn status_cell(row: &Row<'_>) -> Cell {
    let status = or_none(&row.condition.status);
    let cell = match row.stale {
        Some(age) => Cell::new(&format!("{status} (stale {})", human_duration(age))),
        None => Cell::new(&status),
    };
    match row.condition.status.as_str() {
        "Unknown" => cell.styled(Style::new().yellow()),
        "True" if row.stale.is_none() => cell.styled(Style::new().red()),
        _ => cell,
    }
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

/// With `doubt`, why it cannot be told what else fires.
pub(super) fn summary(
    rows: &[Row<'_>],
    nodes: usize,
    settings: &StatusSettings,
    last_sync: &LastSync,
    doubt: Option<&str>,
    now: Timestamp,
) -> Summary {
    let firing: Vec<&Row<'_>> = rows.iter().filter(|row| row.condition.is_true()).collect();
    let unknown: Vec<&Row<'_>> = rows.iter().filter(|row| row.condition.status == "Unknown").collect();
    let mut parts = Vec::new();
    if !firing.is_empty() {
        parts.push(firing_part(&firing, nodes));
    }
    if !unknown.is_empty() {
        let since = unknown.iter().filter_map(|row| row.condition.last_transition).min();
        let since = since.map_or_else(String::new, |since| format!(" since {}", since.strftime("%H:%MZ")));
        parts.push(format!("{} unknown: alerts unavailable{since}", unknown.len()));
    }
    let more = if parts.is_empty() { "cannot tell" } else { "cannot tell what else fires" };
    let warning = doubt.map(|doubt| format!("{more}: {doubt}"));
    let says = last_sync.says(settings, now);
    if parts.is_empty() {
        let nothing = "No firing node conditions found";
        let nothing =
            if says.is_empty() { format!("{nothing}.") } else { format!("{nothing} ({}).", says.join("; ")) };
        return Summary { note: warning.is_none().then_some(nothing), warning };
    }
    if let Some(full) = last_sync.last_full(now).filter(|_| settings.condition.is_none()) {
        let by = last_sync.by().map_or_else(String::new, |by| format!(" by {by}"));
        parts.push(format!("last full sync {} ago{by}", human_duration(now.duration_since(full.at))));
    }
    parts.extend(says);
    Summary { note: Some(parts.join("; ")), warning }
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
