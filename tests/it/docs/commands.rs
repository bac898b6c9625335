//! Command lines of the pages: ours are parsed as the program parses them, others are looked at as far as this checkout knows.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use sciuro::cli;
use sciuro::settings::{self, Environment, Failure};
use sciuro::settings::{CheckSettings, RemediateSettings, StatusSettings, SyncSettings};

use super::markdown::root;
use crate::support::World;

/// Programs of which no more is known here than that their lines are bash, and the files of this checkout that they name.
const OTHERS: [&str; 18] = [
    "eval",
    "git",
    "cd",
    "mkdir",
    "rm",
    "tar",
    "install",
    "jq",
    "man",
    "grep",
    "sudo",
    "podman",
    "curl",
    "source",
    "sha256sum",
    "amtool",
    "promtool",
    "journalctl",
];
const KUBECTL: [&str; 13] = [
    "apply", "get", "delete", "describe", "create", "krew", "annotate", "label", "plugin", "diff", "logs",
    "wait", "scale",
];
/// What only the reader has.
const NOT_OURS: [&str; 4] = ["kustomization.yaml", "namespace.yaml", "rules.yaml", "krew-manifest.yaml"];

pub(super) fn problems(block: &str, environment: &mut Environment) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(error) = not_bash(block) {
        found.push(format!("bash: {error}"));
    }
    for line in block.replace("\\\n", " ").lines() {
        for words in commands_of(line) {
            found.extend(problem(words, environment).map(|problem| format!("{}: {problem}", line.trim())));
        }
    }
    found
}

/// The lines that were typed.
pub(super) fn problems_of_transcript(block: &str, environment: &Environment) -> Vec<String> {
    let typed: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    // The stage says where alerts come from.
    let mut environment = environment.clone();
    for (name, value) in super::stage::ENVIRONMENT {
        environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    problems(&typed.join("\n"), &mut environment)
}

pub(super) fn problems_of_crontab(block: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        match &fields[..] {
            [times @ .., command] if times.len() == 5 => {
                found.extend(problems(command, &mut Environment::new()));
            }
            _ => found.push(format!("{line}: five times and a command")),
        }
    }
    found
}

fn not_bash(block: &str) -> Option<String> {
    let mut bash =
        Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash");
    bash.stdin.take().expect("a pipe").write_all(block.as_bytes()).expect("written");
    let output = bash.wait_with_output().expect("an end");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// kubectl's own commands that can be tried without changing anything.
pub(super) fn for_kubectl(block: &str) -> Vec<Vec<String>> {
    let joined = block.replace("\\\n", " ");
    let all = joined.lines().flat_map(commands_of);
    all.filter(|words| {
        let is_tried =
            ["apply", "create", "delete", "get"].iter().any(|verb| words.iter().any(|word| word == verb));
        words[0] == "kubectl"
            && words[1] != "sciuro"
            && is_tried
            && words.last().is_some_and(|last| last != "-")
    })
    .collect()
}

/// It parses the flags, and finds and reads the files.
#[track_caller]
pub(super) fn is_known_to_kubectl(world: &World, words: &[String]) {
    let mut kubectl = Command::new("kubectl");
    kubectl.args(&words[1..]).env("KUBECONFIG", world.kubeconfig()).current_dir(root()).stdin(Stdio::null());
    if !words.iter().any(|word| word == "get") {
        kubectl.arg("--dry-run=client");
    }
    let output = kubectl.output().expect("kubectl");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The commands of a line, in words.
fn commands_of(line: &str) -> Vec<Vec<String>> {
    // A substitution is a command of its own.
    let line = if line.contains("$(") || line.contains("<(") {
        line.replace("$(", " ; ").replace("<(", " ; ").replace(')', " ; ")
    } else {
        line.to_owned()
    };
    let words = shlex::split(&line).unwrap_or_default();
    let ends = |word: &String| ["|", ";", "&&", "||", "&"].contains(&word.as_str());
    words.split(ends).map(<[String]>::to_vec).filter(|words| !words.is_empty()).collect()
}

fn problem(mut words: Vec<String>, environment: &mut Environment) -> Option<String> {
    if words[0] == "export" {
        environment.extend(words[1..].iter().filter_map(|word| word.split_once('=')).map(owned));
        return None;
    }
    let mut its = environment.clone();
    while let Some(assignment) = words.first().filter(|word| is_assignment(word)).cloned() {
        its.extend(assignment.split_once('=').map(owned));
        words.remove(0);
    }
    if let Some(at) = words.iter().position(|word| word.starts_with('>') || word.starts_with("2>")) {
        words.truncate(at);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match &words[..] {
        [] => None,
        ["kubectl", "sciuro", rest @ ..] | ["kubectl-sciuro", rest @ ..] => not_ours(rest, &its),
        ["kubectl", rest @ ..] => {
            let verb = rest.iter().find(|word| !word.starts_with('-') && !is_namespace(rest, word));
            let is_known = verb.is_some_and(|verb| KUBECTL.contains(verb));
            (!is_known).then(|| format!("kubectl {verb:?} is not known here")).or_else(|| missing(rest))
        }
        ["make", targets @ ..] => targets.iter().find_map(|target| no_target(target)),
        ["cargo", sub, rest @ ..] => no_flag_of_cargo(sub, rest),
        [program, rest @ ..] if program.contains('/') => {
            (!root().join(program).exists()).then(|| format!("no {program}")).or_else(|| missing(rest))
        }
        [program, rest @ ..] if OTHERS.contains(program) => missing(rest),
        [program, ..] => Some(format!("nothing is known of {program:?}; see tests/it/docs/commands.rs")),
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    })
}

/// The value of `-n`.
fn is_namespace(words: &[&str], word: &str) -> bool {
    words.windows(2).any(|pair| pair[0] == "-n" && std::ptr::eq(pair[1], word))
}

/// What the program says to a command line before it speaks to anybody.
fn not_ours(words: &[&str], environment: &Environment) -> Option<String> {
    let words = std::iter::once("kubectl-sciuro").chain(words.iter().copied()).map(Into::into).collect();
    let cli = match settings::parse(words, environment) {
        Ok((cli, _)) => cli,
        Err(Failure::Clap(help)) if !help.use_stderr() => return None,
        Err(Failure::Clap(error)) => return Some(error.to_string()),
        Err(Failure::Settings(error)) => return Some(error.to_string()),
    };
    let resolved = match cli.command {
        cli::Command::Sync(args) => SyncSettings::resolve(*args).map(drop),
        cli::Command::Status(args) => StatusSettings::resolve(*args).map(drop),
        cli::Command::Remediate(args) => RemediateSettings::resolve(*args).map(drop),
        cli::Command::Check(args) => CheckSettings::resolve(*args).map(drop),
        _ => Ok(()),
    };
    resolved.err().map(|error| error.lines().collect::<Vec<_>>().join("; "))
}

/// A path of this checkout that is not there: in a folder of ours, or with our kinds of ending.
fn missing(words: &[&str]) -> Option<String> {
    let is_path = |word: &&&str| {
        let first = word.split('/').next().unwrap_or_default();
        let ends = Path::new(word).extension().is_some_and(|end| end == "yaml" || end == "md");
        let is_ours =
            word.contains('/') && ["deploy", "docs", "schemas", "man", "packaging", "tests"].contains(&first);
        (is_ours || (ends && !word.contains('/'))) && !NOT_OURS.contains(word)
    };
    let gone = words.iter().filter(is_path).find(|path| !root().join(path).exists());
    gone.map(|path| format!("no {path} here"))
}

fn no_target(target: &str) -> Option<String> {
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("a Makefile");
    let is_there = makefile.lines().any(|line| line.split(':').next() == Some(target));
    (!is_there).then(|| format!("no target {target}"))
}

fn no_flag_of_cargo(sub: &str, words: &[&str]) -> Option<String> {
    let help = Command::new(env!("CARGO")).args([sub, "--help"]).output().expect("cargo");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let ours = words.iter().take_while(|word| **word != "--");
    let unknown = ours.filter(|word| word.starts_with("--")).find(|flag| {
        let name = flag.split('=').next().unwrap_or(flag);
        !help.contains(name)
    });
    unknown.map(|flag| format!("cargo {sub} has no {flag}"))
}
