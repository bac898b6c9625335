//! The manual pages in `man/`: the texts of the flags, and what is the same for every command.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use sciuro::cli::Cli;

use crate::support::is_current;

/// When the form of the pages changed last. The day on which they are made would make them stale the next day.
const DATE: &str = "2026-11-23";

const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "SCIURO_FLAG",
        "The value of a flag that is not given: --lease-name is SCIURO_LEASE_NAME. Flags that lose data, lift a protection or say \
         what one run is for are taken from the command line only.",
    ),
    ("SCIURO_CONFIG", "The configuration file, as --config."),
    (
        "KUBECONFIG",
        "The kubeconfig files, separated by colons and merged; --kubeconfig names one, which is not merged.",
    ),
    ("XDG_CONFIG_HOME, HOME", "Where the configuration file is looked for."),
    (
        "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
        "Proxies on the way to the API server and to alert sources, and what is reached without.",
    ),
    ("NO_COLOR, TERM", "Nothing is coloured if NO_COLOR is set or TERM is dumb, unless by --color always."),
];

const FILES: [(&str, &str); 3] = [
    (
        "$XDG_CONFIG_HOME/kubectl-sciuro/config.yaml",
        "The configuration file, if --config names no other; XDG_CONFIG_HOME is ~/.config if it is not set. YAML; each key is \
         a flag's name without the dashes. A flag and a variable come before it.",
    ),
    ("~/.kube/config", "The kubeconfig, if neither --kubeconfig nor KUBECONFIG names another."),
    ("/var/run/secrets/kubernetes.io/serviceaccount/", "The account of the pod, if there is no kubeconfig."),
];

#[test]
fn pages_are_up_to_date() {
    let mut root = Cli::command().bin_name("kubectl sciuro");
    root.build();
    is_current("man/kubectl-sciuro.1", &page(&root, &root));
    for command in root.get_subcommands() {
        let name = command.get_name();
        // What only this page lists, the others hide.
        let command = command.clone().mut_args(|flag| {
            let is_global = flag.is_global_set();
            flag.hide(is_global && name != "options")
        });
        is_current(&format!("man/kubectl-sciuro-{name}.1"), &page(&root, &command));
    }
}

fn page(root: &Command, command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("[OPTIONS]", "[flags]");
    let man = Man::new(command.clone().override_usage(usage));
    let name = command.get_display_name().unwrap_or("kubectl-sciuro").to_owned();
    let mut page = Vec::new();
    let source = format!("kubectl-sciuro {}", env!("CARGO_PKG_VERSION"));
    let title = [name.to_uppercase(), "1".into(), DATE.into(), source, "kubectl sciuro".into()];
    Roff::new().control("TH", title.iter().map(String::as_str)).to_writer(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    let is_root = command.has_subcommands();
    if is_root {
        page.extend(section("COMMANDS", &|roff| commands(roff, root)));
    }
    man.render_options_section(&mut page).unwrap();
    if command.get_name() != "options" {
        let rest = "The flags that every command takes, kubectl's own among them, are described in ";
        let text = |roff: &mut Roff| {
            roff.text([roman(rest), bold("kubectl-sciuro-options"), roman("(1).")]);
        };
        page.extend(section("OTHER OPTIONS", &text));
    }
    if let Some(examples) = command.get_before_help() {
        page.extend(section("EXAMPLES", &|roff| verbatim(roff, &examples.to_string())));
    }
    page.extend(section("EXIT STATUS", &|roff| exit_codes(roff, root)));
    page.extend(section("ENVIRONMENT", &|roff| list(roff, &ENVIRONMENT)));
    page.extend(section("FILES", &|roff| list(roff, &FILES)));
    page.extend(section("SEE ALSO", &|roff| see_also(roff, root, &name)));
    tidy(&String::from_utf8(page).unwrap())
}

fn section(title: &str, write: &dyn Fn(&mut Roff)) -> Vec<u8> {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    write(&mut roff);
    let mut text = Vec::new();
    roff.to_writer(&mut text).unwrap();
    text
}

fn item(roff: &mut Roff, term: &str, text: &str) {
    roff.control("TP", []).text([bold(term)]).text([roman(text)]);
}

fn list(roff: &mut Roff, items: &[(&str, &str)]) {
    for (term, text) in items {
        item(roff, term, text);
    }
}

fn commands(roff: &mut Roff, root: &Command) {
    for command in root.get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        item(roff, &format!("kubectl sciuro {}", command.get_name()), &about);
    }
}

/// `Examples:` and what follows, as it is typed.
fn verbatim(roff: &mut Roff, examples: &str) {
    roff.control("nf", []);
    for line in examples.lines().skip(1) {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []);
}

fn exit_codes(roff: &mut Roff, root: &Command) {
    let (rows, rest) = exit_code_rows(root);
    for (codes, meaning) in rows {
        item(roff, &codes, &meaning);
    }
    roff.control("PP", []).text([roman(rest)]);
}

/// The table of exit codes in the help, in which a line may go on in the next one, and the line after it.
pub(crate) fn exit_code_rows(root: &Command) -> (Vec<(String, String)>, String) {
    let help = root.get_after_help().unwrap().to_string();
    let (table, _) = help.split_once("\n\n").unwrap();
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut rest = String::new();
    for line in table.lines().skip(1) {
        match (line.strip_prefix("       "), line.strip_prefix("  ").and_then(|row| row.split_once("   "))) {
            (Some(more), _) => rows.last_mut().unwrap().1.extend([" ", more]),
            (None, Some((codes, meaning))) => rows.push((codes.trim().to_owned(), meaning.trim().to_owned())),
            (None, None) => rest += line,
        }
    }
    (rows, rest)
}

fn see_also(roff: &mut Roff, root: &Command, name: &str) {
    let pages = root.get_subcommands().map(|command| format!("kubectl-sciuro-{}", command.get_name()));
    let mut pages: Vec<_> = std::iter::once("kubectl-sciuro".into()).chain(pages).collect();
    pages.push("kubectl".into());
    pages.retain(|page| page != name);
    let mut line = Vec::new();
    for page in &pages {
        line.extend([bold(page), roman("(1)"), roman(if Some(page) == pages.last() { "" } else { ", " })]);
    }
    roff.text(line);
}

/// What mandoc and man warn of is taken out: a preamble for each part, spaces at the end, two breaks around nothing.
fn tidy(page: &str) -> String {
    let lines =
        page.lines().filter(|line| !line.starts_with(".ie \\n(.g") && !line.starts_with(".el .ds Aq"));
    let lines: Vec<_> = lines.map(str::trim_end).collect();
    (lines.join("\n") + "\n").replace("\\*(Aq", "\\(aq").replace(".br\n\n.br\n", ".br\n")
}
