//! Completion: what could stand at the end of a command line, as kubectl and our own scripts ask for it.
//!
//! kubectl (1.26 and later) runs `kubectl_complete-sciuro` with the words typed after `sciuro`, the last of them
//! unfinished and possibly empty; our scripts run `kubectl-sciuro __complete` with the same words. The answer is in
//! Cobra's form: a candidate on each line, `value<TAB>description`, then a line with what the shell is to do. Whatever
//! goes wrong, there are no candidates and no message: nobody asked for one by pressing TAB.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::{Arg, CommandFactory, FromArgMatches};
use clap_complete::engine::{self, ArgValueCandidates, CompletionCandidate};

use crate::cli::{Cli, KubernetesArgs};
use crate::cluster::{Cluster, kubeconfig_names};
use crate::settings::{self, Environment, SortBy, StatusFormat};

/// The name under which kubectl looks for us on PATH.
pub(crate) const KUBECTLS_NAME: &str = "kubectl_complete-sciuro";

/// How long names may take, so that an answer is there within 1.5 seconds.
const PATIENCE: Duration = Duration::from_millis(1300);

/// Cobra's directives: the shell adds no files of its own; it adds no space, since a folder goes on.
const NO_FILES: u8 = 4;
const NO_SPACE: u8 = 2;

/// The words to complete, if that is what `arguments` ask for.
pub(crate) fn request(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let (program, words) = arguments.split_first()?;
    if Path::new(program).file_stem() == Some(OsStr::new(KUBECTLS_NAME)) {
        return Some(words.to_vec());
    }
    let (first, words) = words.split_first()?;
    (first == "__complete").then(|| words.to_vec())
}

/// Prints what could stand in place of the last word.
pub(crate) fn answer(mut words: Vec<OsString>, environment: &Environment) {
    let last = words.pop().unwrap_or_default();
    let candidates = candidates(&words, &last, environment);
    let are_folders = !candidates.is_empty() && candidates.iter().all(|candidate| candidate.ends_with('/'));
    let directive = if are_folders { NO_FILES | NO_SPACE } else { NO_FILES };
    let mut lines = candidates;
    lines.push(format!(":{directive}"));
    // A shell that has gone away needs no answer.
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
}

fn candidates(words: &[OsString], last: &OsStr, environment: &Environment) -> Vec<String> {
    let line = Arc::new(Line {
        kubernetes: kubernetes_flags(words, environment),
        words: words.iter().filter_map(|word| word.to_str().map(str::to_owned)).collect(),
    });
    let is_flag = last.as_encoded_bytes().starts_with(b"-");
    let mut command = with_candidates(Cli::command(), &line);
    let mut all = command_line(words.iter().filter(|word| !takes_no_word(&command, word)));
    // After a single dash the engine lists short flags, which say less.
    all.push(if last == "-" { "--".into() } else { last.to_owned() });
    let index = all.len() - 1;
    let folder = std::env::current_dir().ok();
    let Ok(found) = engine::complete(&mut command, all, index, folder.as_deref()) else { return Vec::new() };
    found
        .iter()
        .filter(|candidate| candidate.get_value().as_encoded_bytes().starts_with(b"-") == is_flag)
        .filter_map(|candidate| {
            let value = candidate.get_value().to_str().filter(|value| !value.contains(char::is_control))?;
            // The shells complete what stands after `--flag=`.
            let value = if is_flag { value.split_once('=').map_or(value, |(_, value)| value) } else { value };
            Some(match candidate.get_help().map(ToString::to_string) {
                Some(help) => format!("{value}\t{}", help.lines().next().unwrap_or_default()),
                None => value.to_owned(),
            })
        })
        .collect()
}

/// A flag whose value is written with `=` or not at all, such as `--dry-run`: the engine would take the next word for
/// its value.
fn takes_no_word(command: &clap::Command, word: &OsStr) -> bool {
    let Some(flag) = word.to_str().and_then(|word| word.strip_prefix("--")) else { return false };
    std::iter::once(command)
        .chain(command.get_subcommands())
        .flat_map(clap::Command::get_arguments)
        .any(|argument| argument.is_require_equals_set() && argument.get_long() == Some(flag))
}

/// The Kubernetes flags typed so far, and those of the environment and the file, so that the right cluster is asked.
fn kubernetes_flags(words: &[OsString], environment: &Environment) -> KubernetesArgs {
    // A flag that waits for its value makes the line wrong; a line that is wrong elsewhere too is read as far as
    // possible.
    let but_last = words.split_last().map_or(words, |(_, before)| before);
    for words in [words, but_last] {
        if let Ok((cli, _)) = settings::parse(command_line(words), environment) {
            return cli.global.kubernetes;
        }
    }
    Cli::command()
        .ignore_errors(true)
        .try_get_matches_from(command_line(words))
        .and_then(|matches| KubernetesArgs::from_arg_matches(&matches))
        .unwrap_or_default()
}

fn command_line<'w>(words: impl IntoIterator<Item = &'w OsString>) -> Vec<OsString> {
    std::iter::once("kubectl-sciuro".into()).chain(words.into_iter().cloned()).collect()
}

/// Tells the engine where values come from, and shows the flags that help leaves to `kubectl sciuro options`.
fn with_candidates(command: clap::Command, line: &Arc<Line>) -> clap::Command {
    let argument = |line: &Arc<Line>| {
        let line = line.clone();
        move |argument: Arg| {
            let argument = argument.hide(false);
            let Some(names) = Names::of(&argument) else { return argument };
            let line = line.clone();
            argument.add(ArgValueCandidates::new(move || line.candidates(names)))
        }
    };
    command.mut_args(argument(line)).mut_subcommands(|subcommand| subcommand.mut_args(argument(line)))
}

/// What stands on the line already.
struct Line {
    kubernetes: KubernetesArgs,
    words: BTreeSet<String>,
}

impl Line {
    fn candidates(&self, names: Names) -> Vec<CompletionCandidate> {
        let (sender, receiver) = mpsc::channel();
        let kubernetes = self.kubernetes.clone();
        // On a thread that is left alone when time is up: a credential plugin blocks, and no timer stops it.
        std::thread::spawn(move || sender.send(names.find(&kubernetes)));
        let found = receiver.recv_timeout(PATIENCE).ok().flatten().unwrap_or_default();
        found
            .into_iter()
            .filter(|name| is_plain(name))
            .filter(|name| names != Names::Nodes || !self.words.contains(name))
            .map(CompletionCandidate::new)
            .collect()
    }
}

/// Shells put candidates on the command line as they are, and a condition's type may be any text that a kubelet
/// writes, such as `$(reboot)`.
fn is_plain(name: &str) -> bool {
    !name.starts_with(['-', ':']) && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-:/@+,".contains(c))
}

/// Where the values of an argument come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Contexts,
    Clusters,
    Users,
    Nodes,
    Namespaces,
    Conditions,
    /// Of `status`, which are more than an enumeration.
    Formats,
    /// To sort by, unless by a path.
    Columns,
}

impl Names {
    fn of(argument: &Arg) -> Option<Self> {
        Some(match argument.get_id().as_str() {
            "context" => Self::Contexts,
            "cluster" => Self::Clusters,
            "user" => Self::Users,
            "nodes" | "confirm" => Self::Nodes,
            "namespace" | "lease_namespace" | "helper_namespace" | "alertmanager_namespaces" => {
                Self::Namespaces
            }
            "condition" => Self::Conditions,
            "sort_by" => Self::Columns,
            "output" if argument.get_possible_values().is_empty() => Self::Formats,
            _ => return None,
        })
    }

    fn find(self, args: &KubernetesArgs) -> Option<BTreeSet<String>> {
        if self == Self::Formats {
            return Some(StatusFormat::NAMES.map(String::from).into());
        }
        if self == Self::Columns {
            return Some(SortBy::columns().map(String::from).collect());
        }
        if matches!(self, Self::Contexts | Self::Clusters | Self::Users) {
            let names = kubeconfig_names(args).ok()?;
            return Some(BTreeSet::from_iter(match self {
                Self::Contexts => names.contexts,
                Self::Clusters => names.clusters,
                _ => names.users,
            }));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            let cluster = Cluster::connect(args, |_warning| {}).await.ok()?;
            match self {
                Self::Nodes => cluster.node_names().await,
                Self::Namespaces => cluster.namespace_names().await,
                _ => cluster.condition_types().await,
            }
            .ok()
        })
    }
}
