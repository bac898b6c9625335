//! What a person is told about the sources and about what is held back.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::report::Report;
use crate::command::render;
use crate::core::condition::SourceState;
use crate::core::matcher::Matcher;
use crate::core::round::Notice;
use crate::core::source::{JudgedMember, Trust, Verdict};
use crate::error::{Error, Exit};
use crate::settings::{SourceSettings, SyncSettings};
use crate::ui::Ui;

/// How many held conditions are named.
const EXAMPLES: usize = 5;

/// Why nothing may be written at all: something is not what it was said to be.
pub(super) fn misconfigured(trust: &Trust) -> Option<Error> {
    let (_, failure) = trust.failures().find(|(_, failure)| failure.is_misconfigured)?;
    Some(with_hints(Error::new(Exit::SourceDown, &failure.what), &failure.hints))
}

/// Why no source could be trusted. Of several failures each was said before.
pub(super) fn down(trust: &Trust) -> Error {
    let mut failures = trust.failures();
    match (failures.next(), failures.next()) {
        (Some((_, failure)), None) => with_hints(Error::new(Exit::SourceDown, &failure.what), &failure.hints),
        (Some(_), Some(_)) => Error::new(Exit::SourceDown, "no alert source could be trusted"),
        (None, _) => Error::new(Exit::SourceDown, "there is no alert source: none of its endpoints is ready"),
    }
}

fn with_hints(error: Error, hints: &[String]) -> Error {
    hints.iter().fold(error, Error::hint)
}

/// A clock that is wrong, which does no harm as long as the server can be asked.
pub(super) fn say_clock(ahead: Option<SignedDuration>, ui: &Ui) {
    let Some(ahead) = ahead else { return };
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let minutes = (ahead.abs().as_secs() + 30) / 60;
    ui.warning(&format!(
        "this machine's clock is {minutes}m {side} the API server's, whose time is used instead"
    ));
}

/// What is wrong with each member, once, and what follows.
pub(super) fn say_sources(trust: &Trust, source: &SourceSettings, ui: &Ui) {
    for doubt in source.filters.iter().filter_map(Matcher::doubt) {
        ui.warning(&doubt);
    }
    let mut hints = BTreeSet::new();
    let is_alone_down = trust.state == SourceState::Down && trust.failures().count() == 1;
    for group in &trust.groups {
        let is_full = group.iter().any(|member| member.verdict == Verdict::Ok);
        for JudgedMember { name, verdict, started, notes, .. } in group {
            for note in notes {
                ui.note(&format!("note: {name} {note}"));
            }
            match verdict {
                Verdict::Ok if started.is_none() && !source.warmup.is_zero() => {
                    ui.note(&format!(
                        "note: {name} does not say since when it is up: --warmup has no effect"
                    ));
                }
                Verdict::Warming(warming) if !is_full => ui.warning(&format!(
                    "{name} started {}s ago; nothing is cleared before {} (--warmup)",
                    warming.up_for.as_secs(),
                    warming.until.strftime("%H:%M:%SZ"),
                )),
                Verdict::Warned(warnings) => {
                    let first = warnings.first().map_or("", String::as_str);
                    let effect = if is_full { "another replica is complete" } else { "nothing is cleared" };
                    ui.warning(&format!("the list of {name} is not complete; {effect}: {first}"));
                }
                // It is the error that the run ends with.
                Verdict::Failed(_) if is_alone_down => {}
                Verdict::Failed(failure) => {
                    let effect = if is_full { "; another replica answers" } else { "" };
                    ui.warning(&format!("{}{effect}", failure.what));
                    hints.extend(failure.hints.iter());
                }
                Verdict::Ok | Verdict::Warming(_) => {}
            }
        }
    }
    for hint in hints {
        ui.note(&format!("hint: {hint}"));
    }
    say_rules(trust, ui);
    if trust.has_unasked_members {
        ui.warning("a source has members that are not asked: alerts that only they know are missing");
        ui.note("hint: name each of them, or all by --alertmanager svc://NAMESPACE/SERVICE");
    }
}

/// Rules whose alerts may fire unseen.
fn say_rules(trust: &Trust, ui: &Ui) {
    let unevaluated = trust.unevaluated();
    for (rule, (member, why)) in unevaluated.iter().take(EXAMPLES) {
        ui.warning(&format!(
            "{} did not evaluate the rule {rule}, so conditions of this name are not cleared: {why}",
            member.name
        ));
    }
    if unevaluated.len() > EXAMPLES {
        ui.note(&format!("  and {} more", render::count(unevaluated.len() - EXAMPLES, "rule")));
    }
}

/// What is held back, why, and until when.
pub(super) fn say_held(report: &Report, settings: &SyncSettings, ui: &Ui) {
    let waits_for_force = settings.lease.is_none();
    for notice in &report.round.notices {
        match *notice {
            Notice::ClearsHeld { count, total, until, rounds_left } => {
                let when = if waits_for_force {
                    "without a Lease they stay True".to_owned()
                } else {
                    let rounds = usize::try_from(rounds_left).unwrap_or(usize::MAX);
                    let rounds = render::count(rounds, "more full round");
                    format!("they stay True until {}, and until {rounds} agree", until.strftime("%H:%M:%SZ"))
                };
                ui.warning(&format!(
                    "{count} of {} have lost their alerts all at once (--max-clear); {when}:",
                    render::count(total, "condition"),
                ));
            }
            Notice::ClearsUnconfirmed { count } => {
                let when = if waits_for_force { "" } else { " until a second full round agrees" };
                ui.warning(&format!(
                    "{} without alerts at the members that were asked: still True{when}:",
                    render::count(count, "condition"),
                ));
            }
            Notice::NothingMatches { .. }
            | Notice::MixedClusters
            | Notice::Unevaluated { .. }
            | Notice::Ambiguous => {}
        }
    }
    if report.held.is_empty() {
        return;
    }
    for (node, condition_type) in report.held.iter().take(EXAMPLES) {
        ui.note(&format!("  node/{node} condition/{condition_type}"));
    }
    if report.held.len() > EXAMPLES {
        ui.note(&format!("  and {} more", report.held.len() - EXAMPLES));
    }
    ui.note("hint: --force-clear clears them now, if their alerts have really ended");
}
