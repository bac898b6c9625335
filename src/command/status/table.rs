//! The table: its columns, and a line for each condition, and for each remediation of a node that fires nothing.

use std::collections::BTreeSet;

use console::Style;
use jiff::Timestamp;

use super::remediations;
use crate::core::alert::Priority;
use crate::core::prefix::Prefix;
use crate::core::report::{Row, ShownNode, human_duration};
use crate::core::standing::Standing;
use crate::settings::StatusSettings;
use crate::ui::{Cell, Table};

/// In place of what a node has none of.
const NONE: &str = "-";

/// What the lines depend on besides their conditions and nodes.
#[derive(Clone, Copy)]
pub(super) struct Layout<'l> {
    pub(super) settings: &'l StatusSettings,
    pub(super) prefix: &'l Prefix,
    /// There is a column for remediations.
    pub(super) remediation: bool,
    pub(super) now: Timestamp,
}

/// What a line says besides what it says of its node.
struct Line<'l> {
    /// PRIORITY, CONDITION, STATUS and AGE.
    condition: [Cell; 4],
    reason: &'l str,
    heartbeat: &'l str,
    remediation: &'l str,
    message: &'l str,
}

impl Layout<'_> {
    pub(super) fn table(&self) -> Table {
        let settings = self.settings;
        let mut headers = ["NODE", "PRIORITY", "CONDITION", "STATUS", "AGE"].map(String::from).to_vec();
        if settings.is_wide() {
            headers.extend(["NODE-STATUS", "ROLES", "REASON", "HEARTBEAT"].map(String::from));
        }
        if self.remediation {
            headers.push("REMEDIATION".to_owned());
        }
        headers.extend(
            settings
                .label_columns
                .iter()
                .map(|label| label.rsplit('/').next().unwrap_or(label).to_uppercase()),
        );
        headers.push("MESSAGE".into());
        if settings.show_labels {
            headers.push("LABELS".into());
        }
        Table::new(&headers)
    }

    pub(super) fn of_condition(&self, row: &Row<'_>) -> Vec<Cell> {
        let age = |time: Option<Timestamp>| match time {
            Some(time) => human_duration(self.now.duration_since(time)),
            None => "<unknown>".into(),
        };
        let condition = [
            priority_cell(row.priority),
            Cell::new(shown_type(row, self.prefix, self.settings.is_wide())),
            status_cell(row),
            Cell::new(&age(row.condition.last_transition)),
        ];
        let line = Line {
            condition,
            reason: &or_none(&row.condition.reason),
            heartbeat: &age(row.condition.last_heartbeat),
            remediation: &or_none(&remediations::step(row.node, self.now).unwrap_or_default()),
            message: row.message,
        };
        self.lay_out(row.node, line)
    }

    /// Of a node that has no other line.
    pub(super) fn of_remediation(&self, node: &ShownNode) -> Vec<Cell> {
        let step = remediations::step(node, self.now);
        let line = Line {
            condition: [NONE; 4].map(Cell::new),
            reason: NONE,
            heartbeat: NONE,
            remediation: step.as_deref().unwrap_or(GONE),
            message: &remediations::message(node),
        };
        self.lay_out(node, line)
    }

    fn lay_out(&self, node: &ShownNode, line: Line<'_>) -> Vec<Cell> {
        let mut cells = vec![Cell::new(&node.node.name)];
        cells.extend(line.condition);
        if self.settings.is_wide() {
            cells.extend([
                Cell::new(&node.status()),
                Cell::new(&or_none(&node.roles().join(","))),
                Cell::new(line.reason),
                Cell::new(line.heartbeat),
            ]);
        }
        if self.remediation {
            cells.push(Cell::new(line.remediation));
        }
        let label = |label: &String| Cell::new(node.labels.get(label).map_or("", String::as_str));
        cells.extend(self.settings.label_columns.iter().map(label));
        cells.push(Cell::new(line.message));
        if self.settings.show_labels {
            let labels: Vec<String> =
                node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            cells.push(Cell::new(&or_none(&labels.join(","))));
        }
        cells
    }
}

/// Those of the nodes with an unfinished remediation that no row is of.
pub(super) fn without_rows<'n>(unfinished: &[&'n ShownNode], rows: &[Row<'_>]) -> Vec<&'n ShownNode> {
    let with: BTreeSet<&str> = rows.iter().map(|row| row.node.node.name.as_str()).collect();
    unfinished.iter().copied().filter(|node| !with.contains(node.node.name.as_str())).collect()
}

/// What is no longer there, in the line that says so.
pub(super) const GONE: &str = "<gone>";

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
    match row.standing {
        Standing::Unknown => cell.styled(Style::new().yellow()),
        Standing::Firing if row.stale.is_none() => cell.styled(Style::new().red()),
        _ => cell,
    }
}
