//! The result, as lines or as a document.

use serde::Serialize;
use serde_json::Value;

use super::line::{Line, Mark};
use crate::command::render;
use crate::document;
use crate::settings::CheckSettings;
use crate::ui::{Ui, Verdict};

/// `kind: CheckReport`; its schema is `schemas/check-report.json`.
#[derive(Serialize)]
struct Document<'r> {
    checks: &'r [Line],
    /// Objects that would grant the permissions that are missing.
    missing: &'r [Value],
}

pub(super) fn print(lines: &[Line], missing: &[Value], settings: &CheckSettings, ui: &Ui) {
    if let Some(format) = settings.output {
        ui.document(&render::document("CheckReport", &Document { checks: lines, missing }, format));
        return;
    }
    for line in lines {
        let verdict = match line.mark {
            Mark::Ok => Verdict::Good,
            Mark::Warning => Verdict::Doubtful,
            Mark::Failed => Verdict::Bad,
        };
        ui.verdict(verdict, &format!("{}: {}", line.name, line.message));
        line.hints.iter().for_each(|hint| ui.result(&format!("  hint: {hint}")));
    }
    if !missing.is_empty() {
        ui.result("");
        ui.result("# What is missing, for somebody who may grant it: kubectl apply -f FILE");
        for object in missing {
            ui.result("---");
            ui.document(&document::yaml(object));
        }
    }
}
