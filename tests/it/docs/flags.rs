//! The tables of docs/configuration.md, from the texts of the flags.

use std::fmt::Write;

use clap::{Arg, ArgAction, CommandFactory};
use sciuro::cli::Cli;
use sciuro::settings::UPSTREAM_VARIABLES;

use crate::man::exit_code_rows;
use crate::schemas::config;

/// Of one command; of all, if it is none.
pub(super) fn table(name: &str) -> String {
    let mut cli = Cli::command();
    cli.build();
    let command = if name == "all" { &cli } else { cli.find_subcommand(name).expect("a command") };
    let own = |argument: &&Arg| {
        argument.get_long().is_some_and(|long| long != "help") && argument.is_global_set() == (name == "all")
    };
    let flags: Vec<&Arg> = command.get_arguments().filter(own).collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for flag in &flags {
        let heading = flag.get_help_heading();
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings.sort_by_key(Option::is_some); // those without one first, as in --help
    let mut text = String::new();
    for heading in headings {
        if let Some(heading) = heading {
            _ = write!(text, "**{heading}**\n\n");
        }
        text += "| Flag | Default | |\n|---|---|---|\n";
        for flag in flags.iter().filter(|flag| flag.get_help_heading() == heading) {
            text += &row(flag);
        }
        text.push('\n');
    }
    text
}

fn row(flag: &Arg) -> String {
    let long = flag.get_long().unwrap_or_default();
    let mut shown = flag.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let value =
        flag.get_value_names().and_then(|names| names.first()).filter(|_| flag.get_action().takes_values());
    _ = match value.map(clap::builder::Str::as_str) {
        // A truth value may be left out.
        Some("BOOL") | None => write!(shown, "`--{long}`"),
        Some(value) if flag.is_require_equals_set() => write!(shown, "`--{long}[={value}]`"),
        Some(value) => write!(shown, "`--{long} {value}`"),
    };
    for alias in flag.get_visible_aliases().unwrap_or_default() {
        _ = write!(shown, ", `--{alias}`");
    }
    if !config::keys().iter().any(|key| key == long) {
        shown += " †";
    }
    let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, told) = match help.split_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), Some(default.trim_end_matches(']').to_owned())),
        None => (help, None),
    };
    let defaults = flag.get_default_values().iter().map(|value| value.to_string_lossy().into_owned());
    let default = told.unwrap_or_else(|| {
        let is_bare = matches!(flag.get_action(), ArgAction::SetTrue | ArgAction::SetFalse);
        let all = if is_bare { String::new() } else { defaults.collect::<Vec<_>>().join(",") };
        if all.is_empty() { String::new() } else { format!("`{all}`") }
    });
    let allowed: Vec<String> =
        flag.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    let is_boolean = matches!(flag.get_action(), ArgAction::SetTrue | ArgAction::SetFalse);
    let allowed =
        if allowed.is_empty() || is_boolean { String::new() } else { format!(" ({})", allowed.join(", ")) };
    format!("| {} | {} | {}{allowed} |\n", cell(&shown), cell(&default), cell(&help))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").replace('<', "&lt;")
}

pub(super) fn upstream() -> String {
    let mut text = "| Upstream's variable | The same as |\n|---|---|\n".to_owned();
    for (variable, flag) in UPSTREAM_VARIABLES {
        let remark = match variable {
            "SCIURO_PROMETHEUS_URLS" => "; not if an Alertmanager is set, too",
            "SCIURO_DEV_MODE" => " 4",
            _ => "",
        };
        let flag = if flag == "v" { "-v".to_owned() } else { format!("--{flag}") };
        _ = writeln!(text, "| `{variable}` | `{flag}`{remark} |");
    }
    text
}

pub(super) fn exit_codes() -> String {
    let mut text = "| Code | Meaning |\n|---|---|\n".to_owned();
    for (codes, meaning) in exit_code_rows(&Cli::command()).0 {
        _ = writeln!(text, "| {codes} | {} |", cell(&meaning));
    }
    text
}

/// The examples in the help texts, as they are typed.
pub(super) fn examples() -> Vec<String> {
    let cli = Cli::command();
    let helps =
        cli.get_subcommands().filter_map(|command| command.get_before_help().map(ToString::to_string));
    helps.map(|help| help.trim_start_matches("Examples:\n").to_owned()).collect()
}
