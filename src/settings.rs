//! Flags, environment and configuration file become settings, once: flag > environment > file.
//!
//! A value from the environment or the file is put on the command line of a second parse, unless the flag
//! was typed. So every source is read by the same parsers, and a flag is described in one place (`cli`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches};
use serde_saphyr::Spanned;

use crate::cli::{Cli, Command};
use crate::core::secrets;
use crate::error::{Error, Result};
use crate::trusted_file;

mod check;
mod remediate;
mod status;
mod sync;
mod typed;

pub use check::CheckSettings;
pub use remediate::{
    CollectSettings, DrainSettings, RebootSettings, RemediateSettings, Targets, Task, VerifySettings,
};
pub use status::{Column, SortBy, StatusFormat, StatusSettings};
pub use sync::{Address, Canary, LeaseSettings, SourceApi, SourceGroup, SourceSettings, SyncSettings};

/// Flags that lose data, lift a protection, install something or say what this one run is for: they come from the command
/// line, never from a file that was written for another day.
const COMMAND_LINE_ONLY: [&str; 19] = [
    "yes",
    "confirm",
    "override",
    "purge",
    "force-clear",
    "force",
    "delete-emptydir-data",
    "disable-eviction",
    "grace-period",
    "skip",
    "until",
    "resume",
    "abort",
    "retry-reboot",
    "help",
    "config",
    "install",
    "uninstall",
    "dir",
];

/// A selector in the file, for `sync` and `status`, does not say which nodes to take down.
const TYPED_TARGETS: (&str, &str) = ("remediate", "selector");

/// What goes on, or is undone, does so by the method that it was begun with, unless another one is typed.
const METHOD: &str = "reboot-method";

fn of_a_record(name: &str, typed: &ArgMatches) -> bool {
    name == "remediate" && (typed.get_flag("resume") || typed.get_flag("abort"))
}

/// Upstream Sciuro's variables and the flags that they mean.
pub const UPSTREAM_VARIABLES: [(&str, &str); 15] = [
    ("SCIURO_ALERTMANAGER_URL", "alertmanager"),
    ("SCIURO_PROMETHEUS_URLS", "prometheus"),
    ("SCIURO_CEL_EXPRESSION", "match-expr"),
    ("SCIURO_METRICS_ADDR", "metrics-addr"),
    ("SCIURO_ALERT_RECEIVER", "receiver"),
    ("SCIURO_ALERT_SILENCED", "silenced"),
    ("SCIURO_LINGER_DURATION", "linger"),
    ("SCIURO_NODE_CONDITION_PREFIX", "prefix"),
    ("SCIURO_ALERT_CACHE_TTL", "interval"),
    ("SCIURO_NODE_RESYNC", "heartbeat-interval"),
    ("SCIURO_RECONCILE_TIMEOUT", "request-timeout"),
    ("SCIURO_MAX_CONCURRENT_RECONCILES", "concurrency"),
    ("SCIURO_LEADER_NAMESPACE", "lease-namespace"),
    ("SCIURO_LEADER_ID", "lease-name"),
    ("SCIURO_DEV_MODE", "v"),
];

/// Upstream's variables that this version does not honour, and what happens instead.
const UNSUPPORTED_VARIABLES: [(&str, &str); 1] =
    [("SCIURO_NODE_FILTERS", "alerts are matched by their labels")];

/// The environment, as far as it concerns settings.
pub type Environment = BTreeMap<String, String>;

/// A finished parse, or what clap has to say instead (help, or a usage error).
#[derive(Debug)]
pub enum Failure {
    Clap(clap::Error),
    Settings(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Settings(error)
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Clap(error)
    }
}

/// What the command line, the environment and the file say together, with notes about variables that were ignored.
pub fn parse(arguments: Vec<OsString>, environment: &Environment) -> Result<(Cli, Vec<String>), Failure> {
    let command = command(&arguments);
    let typed = command.clone().try_get_matches_from(&arguments)?;
    let Some((name, typed)) = typed.subcommand() else {
        return Ok((Cli::from_arg_matches(&typed)?, Vec::new()));
    };
    let file = File::load(typed.get_one::<PathBuf>("config"), environment)?;
    file.refuse_unknown_keys(&command)?;

    let mut additions = Vec::new();
    for argument in arguments_of(&command, name) {
        let is_typed = typed.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine);
        let Some(flag) = configurable(argument).filter(|_| !is_typed) else { continue };
        if (name, flag) == TYPED_TARGETS || (flag == METHOD && of_a_record(name, typed)) {
            continue;
        }
        if let Some((variable, value)) = from_environment(flag, environment) {
            // A comma may be part of a URL: only upstream's variable is a list.
            let values =
                if variable == "SCIURO_PROMETHEUS_URLS" { value.split(',').collect() } else { vec![&*value] };
            let words =
                values.into_iter().filter_map(|value| word(argument, flag, value, &variable).transpose());
            let found = words.collect::<Result<Vec<_>>>()?;
            check(&command, name, &found, &variable)?;
            additions.extend(found);
        } else if let Some(found) = file.additions(flag, argument)? {
            check(&command, name, &found.value, &found.place)?;
            additions.extend(found.value);
        }
    }
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let mut all = arguments;
    all.splice(end..end, additions.into_iter().map(OsString::from));
    let matches = command.clone().try_get_matches_from(all)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let flags = || typed::flags(arguments_of(&command, name), typed);
    match &mut cli.command {
        Command::Remediate(args) => args.typed = flags(),
        Command::Status(args) => args.typed = flags(),
        _ => {}
    }
    Ok((cli, ignored_variables(&command, environment)))
}

/// Help reads `kubectl sciuro …` when kubectl runs us, which it does under the name `kubectl-sciuro`.
fn command(arguments: &[OsString]) -> clap::Command {
    let is_plugin = arguments
        .first()
        .and_then(|program| Path::new(program).file_stem())
        .is_some_and(|name| name.to_string_lossy().starts_with("kubectl-"));
    let command = Cli::command();
    if is_plugin { command.bin_name("kubectl sciuro") } else { command }
}

fn arguments_of<'c>(command: &'c clap::Command, name: &str) -> impl Iterator<Item = &'c clap::Arg> {
    let of_subcommand = command.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
    command.get_arguments().chain(of_subcommand)
}

/// The flag's long name, if it may come from the environment or the file.
fn configurable(argument: &clap::Arg) -> Option<&str> {
    argument.get_long().filter(|flag| !COMMAND_LINE_ONLY.contains(flag))
}

fn variable_of(flag: &str) -> String {
    format!("SCIURO_{}", flag.to_uppercase().replace('-', "_"))
}

/// Our own variable, else upstream's. An empty variable is an unset one, as in upstream's manifests.
fn from_environment(flag: &str, environment: &Environment) -> Option<(String, String)> {
    // Upstream takes the Alertmanager alone if it is given both.
    let is_taken = |variable: &str| {
        variable != "SCIURO_PROMETHEUS_URLS"
            || environment.get("SCIURO_ALERTMANAGER_URL").is_none_or(String::is_empty)
    };
    let upstream = UPSTREAM_VARIABLES
        .iter()
        .filter(|(variable, ours)| *ours == flag && is_taken(variable))
        .map(|(variable, _)| (*variable).to_owned());
    let (variable, value) = std::iter::once(variable_of(flag)).chain(upstream).find_map(|variable| {
        let value = environment.get(&variable).filter(|value| !value.is_empty())?;
        Some((variable, value.clone()))
    })?;
    if variable == "SCIURO_DEV_MODE" {
        return crate::cli::boolean(&value).unwrap_or(false).then(|| (variable, "4".to_owned()));
    }
    Some((variable, value))
}

/// Reads one value by the parser of its flag, so that an error can name where it stands.
fn check(command: &clap::Command, name: &str, additions: &[String], place: &str) -> Result<()> {
    let words = [command.get_name(), name].into_iter().chain(additions.iter().map(String::as_str));
    let Err(error) = command.clone().try_get_matches_from(words) else { return Ok(()) };
    let text = secrets::without_logins(&error.to_string());
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let why = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let allowed = lines.find(|line| line.starts_with("[possible values"));
    let error = Error::usage(format!("{place}: {why}"));
    Err(allowed.into_iter().fold(error, |error, values| error.hint(values.to_owned())))
}

fn ignored_variables(command: &clap::Command, environment: &Environment) -> Vec<String> {
    let known = |variable: &str| {
        let own = command
            .get_subcommands()
            .flat_map(|sub| arguments_of(command, sub.get_name()))
            .filter_map(configurable)
            .any(|flag| variable_of(flag) == variable);
        own || variable == "SCIURO_CONFIG" || UPSTREAM_VARIABLES.iter().any(|(name, _)| *name == variable)
    };
    environment
        .keys()
        .filter(|variable| variable.starts_with("SCIURO_") && !known(variable))
        .cloned()
        .collect()
}

/// What happens instead of what an ignored variable asks for, if it is one of upstream's that matter.
pub fn instead_of(variable: &str) -> Option<&'static str> {
    UNSUPPORTED_VARIABLES.iter().find(|(name, _)| *name == variable).map(|(_, instead)| *instead)
}

/// The configuration file: each key is a flag's name.
#[derive(Debug, Default)]
struct File {
    path: PathBuf,
    values: BTreeMap<String, Spanned<serde_json::Value>>,
}

/// Words for the command line, and where their values stand.
struct Found {
    value: Vec<String>,
    place: String,
}

impl File {
    /// The file that `--config` or `SCIURO_CONFIG` names, which must be there, or the default one, which may be.
    fn load(typed: Option<&PathBuf>, environment: &Environment) -> Result<Self> {
        let set = |variable: &str| environment.get(variable).filter(|value| !value.is_empty());
        let named = typed.cloned().or_else(|| set("SCIURO_CONFIG").map(PathBuf::from));
        let fallback = || {
            let directory = set("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(Path::new(set("HOME")?).join(".config")))?;
            Some(directory.join("kubectl-sciuro").join("config.yaml"))
        };
        let is_named = named.is_some();
        let Some(path) = named.or_else(fallback) else { return Ok(Self::default()) };
        let text = match trusted_file::open(&path).and_then(std::io::read_to_string) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(trusted_file::unread("cannot read the configuration file", &path, &error));
            }
        };
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let values = serde_saphyr::from_str(&text).map_err(|error| {
            let why = error.to_string();
            let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Error::usage(format!("cannot read the configuration file {}: {why}", path.display()))
                .hint("it is YAML; each key is a flag's name without the dashes, such as `receiver: node-condition-k8s`")
        })?;
        Ok(Self { path, values })
    }

    fn place(&self, key: &str, value: &Spanned<serde_json::Value>) -> String {
        format!("{}:{}: {key}", self.path.display(), value.referenced.line())
    }

    fn refuse_unknown_keys(&self, command: &clap::Command) -> Result<()> {
        let mut known: Vec<&str> = command
            .get_subcommands()
            .flat_map(|sub| arguments_of(command, sub.get_name()))
            .filter_map(configurable)
            .collect();
        known.sort_unstable();
        known.dedup();
        let Some((key, value)) = self.values.iter().find(|(key, _)| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let place = self.place(key, value);
        Err(if COMMAND_LINE_ONLY.contains(&key.as_str()) {
            Error::usage(format!("{place}: --{key} is taken from the command line only"))
        } else {
            Error::usage(format!("{place}: unknown key")).hint(format!("allowed are: {}", known.join(", ")))
        })
    }

    fn additions(&self, flag: &str, argument: &clap::Arg) -> Result<Option<Found>> {
        let Some(entry) = self.values.get(flag) else { return Ok(None) };
        let place = self.place(flag, entry);
        let is_list = matches!(argument.get_action(), ArgAction::Append);
        let scalars = match &entry.value {
            serde_json::Value::Array(values) if is_list => values.iter().map(scalar).collect(),
            value => scalar(value).map(|text| vec![text]),
        };
        let Some(scalars) = scalars else {
            let expected = if is_list { "a value or a list of values" } else { "one value" };
            return Err(Error::usage(format!("{place}: expected {expected}")));
        };
        let words = scalars.iter().filter_map(|text| word(argument, flag, text, &place).transpose());
        let value = words.collect::<Result<_>>()?;
        Ok(Some(Found { value, place }))
    }
}

/// What stands on the command line for a value: a flag that takes none is there, or is not.
fn word(argument: &clap::Arg, flag: &str, value: &str, place: &str) -> Result<Option<String>> {
    if !matches!(argument.get_action(), ArgAction::SetTrue) {
        return Ok(Some(format!("--{flag}={value}")));
    }
    let is_set = crate::cli::boolean(value)
        .map_err(|allowed| Error::usage(format!("{place}: invalid value '{value}': {allowed}")))?;
    Ok(is_set.then(|| format!("--{flag}")))
}

fn scalar(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
