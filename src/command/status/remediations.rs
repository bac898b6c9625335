//! Remediations that have not come to their end. They are shown whatever their nodes fire: a node stays cordoned until they do.

use jiff::Timestamp;

use crate::cluster::clear_hint;
use crate::command::typed::Hidden;
use crate::core::remediation::{Record, RecordSeen, State};
use crate::core::report::{ShownNode, human_duration};
use crate::settings::StatusSettings;
use crate::ui::Ui;

/// Flags of `status` alone; all others say which cluster, and which conditions and Leases are ours.
const OF_STATUS: [&str; 13] = [
    "selector",
    "field-selector",
    "priority",
    "condition",
    "all",
    "label-columns",
    "show-labels",
    "no-headers",
    "watch",
    "exit-code",
    "lease-name",
    "sort-by",
    "output",
];

/// `drain 4m`, `verify failed 2h`, or nothing.
pub(super) fn step(node: &ShownNode, now: Timestamp) -> Option<String> {
    match &node.remediation {
        RecordSeen::None => None,
        RecordSeen::Unreadable(_) => Some("unreadable".to_owned()),
        RecordSeen::Readable(record) => {
            let failed = if has_failed(record) { " failed" } else { "" };
            Some(format!("{}{failed} {}", record.step(), age(record, now)))
        }
    }
}

/// Who, and why it goes no further.
pub(super) fn message(node: &ShownNode) -> String {
    match &node.remediation {
        RecordSeen::None => String::new(),
        RecordSeen::Unreadable(why) => format!("the record cannot be read: {why}"),
        RecordSeen::Readable(record) => match &record.last_error {
            Some(why) => format!("by {}: {why}", record.actor),
            None => format!("by {}", record.actor),
        },
    }
}

pub(super) fn has_failed(record: &Record) -> bool {
    record.state == State::NeedsHuman
}

fn age(record: &Record, now: Timestamp) -> String {
    human_duration(now.duration_since(record.since))
}

/// Each with what can be done about it.
pub(super) fn lines(nodes: &[&ShownNode], settings: &StatusSettings, now: Timestamp) -> Vec<String> {
    let mut hidden = Hidden::default();
    let mut lines = Vec::new();
    let flags = || settings.typed.iter().filter(|flag| !OF_STATUS.contains(&&*flag.name));
    for node in nodes {
        let name = &node.node.name;
        match &node.remediation {
            RecordSeen::None => {}
            RecordSeen::Unreadable(_) => {
                lines.push(format!("node/{name}: unreadable record of a remediation"));
                lines.push(format!("hint: {}", clear_hint(name)));
            }
            RecordSeen::Readable(record) => {
                let at = match (has_failed(record), age(record, now)) {
                    (true, age) => format!("{} failed {age} ago", record.step()),
                    (false, age) => format!("at {} for {age}", record.step()),
                };
                lines.push(format!("node/{name}: unfinished remediation by {}, {at}", record.actor));
                for (what, task) in [("to continue", "--resume"), ("to undo", "--abort")] {
                    let line = format!("kubectl sciuro remediate {name} {task}");
                    lines.push(format!("hint: {what}: {}", hidden.line(line, flags())));
                }
            }
        }
    }
    lines.extend(hidden.advice().map(|advice| format!("hint: {advice}")));
    lines
}

pub(super) fn tell(nodes: &[&ShownNode], settings: &StatusSettings, now: Timestamp, ui: &Ui) {
    for line in lines(nodes, settings, now) {
        ui.note(&line);
    }
}
