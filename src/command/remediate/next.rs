//! The command lines that a person may type next. Each can be typed as it stands: it has the flags again that this one was
//! given, as far as the next one needs them.
//!
//! Consent to prompts, `--yes` and `--confirm`, is nothing that a line hands on: the person is asked again.

use super::Context;
use super::drain_plan::Exception;
use crate::cli::TypedFlag;
use crate::command::typed::Hidden;
use crate::core::remediation::Record;
use crate::error::Error;
use crate::settings::{DrainSettings, RemediateSettings};

/// What one line is for, or a person's consent to it.
const OF_ONE_LINE: [&str; 9] = [
    "selector",
    "dry-run",
    "resume",
    "abort",
    "retry-reboot",
    "continue-on-error",
    "output",
    "yes",
    "confirm",
];

/// Where things of the remediation are, and what becomes of them at its end.
const ALWAYS: [&str; 5] = ["lease-namespace", "lease-duration", "helper-namespace", "keep-cordon", "silence"];

/// What the next line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    Undo,
    /// By another person, who is at work on it.
    Stop,
    Retry,
    StartOver,
    /// Another remediation.
    Start,
    /// Whether a remediation would be refused.
    Check,
}

impl Next {
    fn name(self) -> &'static str {
        match self {
            Self::Continue => "to continue",
            Self::Undo => "to undo",
            Self::Stop => "to stop it",
            Self::Retry => "to retry the reboot",
            Self::StartOver => "to start over",
            Self::Start => "to start one",
            Self::Check => "to check again",
        }
    }

    fn task(self) -> &'static str {
        match self {
            Self::Continue => " --resume",
            Self::Undo | Self::Stop => " --abort",
            Self::Retry => " --resume --retry-reboot",
            Self::StartOver | Self::Start => "",
            Self::Check => " --dry-run=client",
        }
    }

    fn undoes(self) -> bool {
        matches!(self, Self::Undo | Self::Stop)
    }
}

/// What the lines are made of.
pub(super) struct Lines<'l> {
    pub(super) node: &'l str,
    pub(super) settings: &'l RemediateSettings,
    /// As it was seen or stored last.
    pub(super) record: Option<Record>,
    /// With what a person has consented to.
    pub(super) drain: &'l DrainSettings,
    /// `--until` was for this run alone.
    pub(super) forgets_until: bool,
}

impl<'l> Lines<'l> {
    /// By what is known of the node's remediation by now.
    pub(super) fn of(context: &'l Context<'_>, drain: &'l DrainSettings) -> Self {
        let Context { settings, report, .. } = *context;
        Self { node: report.node(), settings, record: report.record(), drain, forgets_until: false }
    }

    /// As hints of this error.
    pub(super) fn hint(&self, error: Error, all: &[Next]) -> Error {
        self.say(all).into_iter().fold(error, Error::hint)
    }

    /// One for each, and what has to be added to them, if something could not be shown.
    pub(super) fn say(&self, all: &[Next]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut hidden = Hidden::default();
        for next in all {
            let mut line = format!("{}: kubectl sciuro remediate {}{}", next.name(), self.node, next.task());
            if *next == Next::Retry && self.may_come_late() {
                lines
                    .push("the last request may still take effect: make sure that it did nothing".to_owned());
                line = format!("{line} --confirm {}", self.node);
            }
            lines.push(hidden.line(line, &self.flags(*next)));
        }
        lines.extend(hidden.advice());
        lines
    }

    /// Whether there is something to retry.
    pub(super) fn has_sent(&self) -> bool {
        self.record.as_ref().is_some_and(|record| !record.attempts.is_empty())
    }

    /// Only a person knows whether a command, or another person, has done something.
    fn may_come_late(&self) -> bool {
        let last = self.record.as_ref().and_then(|record| record.attempts.last());
        last.is_some_and(|last| !last.method.is_guarded() && !last.is_spent())
    }

    fn flags(&self, next: Next) -> Vec<TypedFlag> {
        let granted = self.granted();
        let is_replaced = |flag: &TypedFlag| granted.iter().any(|other| other.name == flag.name);
        let typed = self.settings.typed.iter().filter(|flag| !is_replaced(flag));
        typed.chain(&granted).filter(|flag| self.has(flag, next)).cloned().collect()
    }

    /// Whether this line has this flag.
    fn has(&self, flag: &TypedFlag, next: Next) -> bool {
        let record = self.record.as_ref().filter(|_| next == Next::Continue);
        let takes_down = record.map_or(!next.undoes(), Record::may_request);
        let is_by_another = record
            .is_some_and(|record| self.settings.reboot.given_method.is_some_and(|by| by != record.method));
        let name = flag.name.as_str();
        if OF_ONE_LINE.contains(&name) || ALWAYS.contains(&name) {
            return ALWAYS.contains(&name);
        }
        match (flag.heading.as_deref(), name) {
            (_, "until") => !next.undoes() && !self.forgets_until,
            // The command that verifies has them, and the gate that judges it.
            (Some("Gates"), "override") if !self.settings.verify.command.is_empty() => !next.undoes(),
            (Some("Reboot"), "helper-image" | "reboot-timeout" | "ssh-address" | "address-file")
            | (Some("What to do" | "Collect and verify"), _) => !next.undoes(),
            (Some("Reboot"), _) => takes_down && !is_by_another,
            (Some("Drain" | "Gates"), _) => takes_down,
            _ => true,
        }
    }

    /// The flags that a person has consented to.
    fn granted(&self) -> Vec<TypedFlag> {
        let (before, now) = (&self.settings.drain, self.drain);
        [
            (Exception::IgnoreDaemonsets, before.ignore_daemonsets, now.ignore_daemonsets),
            (Exception::DeleteEmptydirData, before.delete_emptydir_data, now.delete_emptydir_data),
            (Exception::Force, before.force, now.force),
        ]
        .into_iter()
        .filter(|(_, before, now)| !before && *now)
        .map(|(exception, ..)| TypedFlag {
            name: exception.flag().trim_start_matches('-').to_owned(),
            heading: Some("Drain".to_owned()),
            words: vec![exception.flag().to_owned()],
        })
        .collect()
    }
}
