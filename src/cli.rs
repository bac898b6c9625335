//! Flags and help texts, nothing else. What they mean together is settled in `settings`.

mod check;
mod remediate;
mod sync;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use jiff::SignedDuration;
use regex::Regex;

use crate::core::alert::Priority;
use crate::core::prefix::Prefix;

pub use check::{CheckArgs, CheckedCommand};
pub use remediate::{
    AddressType, CollectArgs, DrainArgs, OnFailure, ProgressForm, RebootArgs, RebootMethod, RemediateArgs,
    SkippedStep, Step, Tier, TypedFlag,
};
pub use sync::{MatchingArgs, OnUnavailable, SourceArgs, SyncArgs, Via};

const EXIT_CODES: &str = "\
Exit codes:
  0    done, or nothing to do
  1    failed: API, network or file error; some of several nodes failed; a
       check failed; status --exit-code cannot tell
  2    usage or configuration error; nothing was changed
  3    refused by a safety gate; nothing was changed
  4    declined at a prompt, or a prompt was needed and there is no terminal
       and no --yes
  5    drain failed or timed out
  6    reboot not ordered, or not proven before its deadline
  7    verification failed; the node stays cordoned
  8    aborted: by you or another, because somebody else uncordoned the node,
       or because it was replaced
  9    busy: another holds a Lease, or an unfinished remediation is on the node
  10   --exit-code given, and something fires or is Unknown (status), or
       changes are pending (sync)
  11   no alert source could be trusted, or it is configured wrongly
  12   some alert source could not be trusted, or too many conditions would be
       cleared at once
  130, 143   interrupted by SIGINT; by SIGTERM or SIGHUP
Under systemd: SuccessExitStatus=9 12

Use \"kubectl sciuro options\" for the flags that every command takes.";

/// Closes the loop between alerts and nodes: firing alerts become Node conditions, nodes are rebooted with care.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-sciuro",
    after_help = EXIT_CODES,
    args_override_self = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    infer_long_args = false,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Status(Box<StatusArgs>),
    Sync(Box<SyncArgs>),
    Remediate(Box<RemediateArgs>),
    Check(Box<CheckArgs>),
    Version(VersionArgs),
    Completion(CompletionArgs),
    /// List the flags that every command takes.
    Options,
}

/// The flags that every command takes, before or after its name.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    /// The configuration file [default: $XDG_CONFIG_HOME/kubectl-sciuro/config.yaml]
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How much to log: 0 is quiet, 4 and more is for finding faults
    #[arg(short, long = "v", global = true, hide = true, value_name = "LEVEL", default_value_t = 0)]
    pub verbosity: u8,
    /// Form of the log lines on stderr
    #[arg(long, global = true, hide = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// When to colour
    #[arg(long, global = true, hide = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// kubectl's own flags, which kubectl refuses before a plugin's name.
#[derive(Debug, Default, Clone, Args)]
pub struct KubernetesArgs {
    /// Path to the kubeconfig file
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context to use
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig cluster to use
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The kubeconfig user to use
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Accepted as kubectl's; nodes have no namespace
    #[arg(short, long, global = true, hide = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Accepted as kubectl's; nodes have no namespace
    #[arg(short = 'A', long, global = true, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean)]
    pub all_namespaces: bool,
    /// Address and port of the Kubernetes API server
    #[arg(short, long, global = true, hide = true, value_name = "URL")]
    pub server: Option<String>,
    /// Bearer token for the API server
    #[arg(long, global = true, hide = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// User to impersonate
    #[arg(long = "as", global = true, hide = true, value_name = "USER")]
    pub impersonate: Option<String>,
    /// Group to impersonate; may be repeated
    #[arg(long = "as-group", global = true, hide = true, value_name = "GROUP")]
    pub impersonate_groups: Vec<String>,
    /// UID to impersonate
    #[arg(long = "as-uid", global = true, hide = true, value_name = "UID")]
    pub impersonate_uid: Option<String>,
    /// Extra of the user to impersonate; may be repeated
    #[arg(long = "as-user-extra", global = true, hide = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub impersonate_extra: Vec<(String, String)>,
    /// Path to a certificate file of the certificate authority
    #[arg(long, global = true, hide = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub certificate_authority: Option<String>,
    /// Path to a client certificate file for TLS
    #[arg(long, global = true, hide = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub client_certificate: Option<String>,
    /// Path to a client key file for TLS
    #[arg(long, global = true, hide = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub client_key: Option<String>,
    /// Do not check the server's certificate: insecure
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean)]
    pub insecure_skip_tls_verify: Option<bool>,
    /// Name that the server's certificate is checked against
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// How long to wait for an answer, and for each next part of it; 0 = for ever
    #[arg(long, global = true, hide = true, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub request_timeout: Option<SignedDuration>,
    /// Do not ask for compressed answers
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean)]
    pub disable_compression: Option<bool>,
    /// Treat warnings of the server as errors
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean)]
    pub warnings_as_errors: bool,
}

/// Show the firing conditions of all nodes, most urgent first.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:
  # What is firing?
  kubectl sciuro status

  # With reasons, roles and heartbeats
  kubectl sciuro status -o wide

  # The most urgent nodes, for a script
  kubectl sciuro status --priority 1-3 -o name

  # What changes, until Ctrl-C
  kubectl sciuro status -w

  # Only what the alerts say
  kubectl sciuro status -o jsonpath='{range .items[*]}{.message}{\"\\n\"}{end}'

  # Your own columns, what changed last first
  kubectl sciuro status -o custom-columns=NODE:.node,WHY:.message --sort-by age

  # What node-problem-detector says
  kubectl sciuro status --condition '^(KernelDeadlock|ReadonlyFilesystem)$'",
    after_help = EXIT_CODES
)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub struct StatusArgs {
    /// Nodes to show [default: all]
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
    /// Only the nodes that this label selector matches
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only the nodes that this field selector matches
    #[arg(long, value_name = "SELECTOR")]
    pub field_selector: Option<String>,
    /// Only these priorities: one, or a range such as 1-3
    #[arg(long, value_name = "RANGE", value_parser = priorities)]
    pub priority: Option<RangeInclusive<Priority>>,
    /// Only conditions whose type matches, whoever writes them [default: those that sync writes]
    #[arg(long, value_name = "REGEX")]
    pub condition: Option<Regex>,
    /// Also conditions that do not fire, and those of others
    #[arg(long)]
    pub all: bool,
    /// Labels to show in columns of their own
    #[arg(short = 'L', long, value_name = "LABEL", value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// Show all labels of the node in the last column
    #[arg(long)]
    pub show_labels: bool,
    /// Print no headers
    #[arg(long)]
    pub no_headers: bool,
    /// Go on and show what changes: in place on a terminal, as further rows in a pipe
    #[arg(short, long, conflicts_with = "exit_code")]
    pub watch: bool,
    /// Exit 10 if something fires or is Unknown, 1 if that cannot be told
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean)]
    pub exit_code: bool,

    #[arg(
        long,
        value_name = "PREFIX",
        help = "Prefix of the condition types that sync writes [default: what the sync Lease says, else \"AlertManager_\"]"
    )]
    pub prefix: Option<Prefix>,
    /// Namespace of the sync Lease
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub lease_namespace: String,
    /// Name of the sync Lease
    #[arg(long, value_name = "NAME", default_value = "sciuro-sync")]
    pub lease_name: String,

    /// Sort by a column, such as age, or by a path in the document, such as .lastHeartbeatTime [default: most urgent first]
    #[arg(long, value_name = "COLUMN|JSONPATH")]
    pub sort_by: Option<String>,
    /// Form of the result: wide, json, yaml, name, jsonpath=TEMPLATE or custom-columns=HEADER:PATH,...
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,

    /// The flags of this command line, for lines that are to be typed next.
    #[arg(skip)]
    pub typed: Vec<TypedFlag>,
}

/// Show the version of this plugin and of the server.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Only the plugin's version; needs no cluster
    #[arg(long)]
    pub client: bool,
    /// Form of the result
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Print what makes a shell, or kubectl, complete command lines.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  # Complete `kubectl sciuro`, through kubectl's own completion
  kubectl sciuro completion kubectl --install

  # Complete `kubectl-sciuro` in this bash
  source <(kubectl-sciuro completion bash)")]
pub struct CompletionArgs {
    /// A shell, whose script completes `kubectl-sciuro`; or kubectl, which completes `kubectl sciuro`
    #[arg(value_name = "FOR")]
    pub completes: Completes,
    /// Make the link `kubectl_complete-sciuro`, by which kubectl asks
    #[arg(long)]
    pub install: bool,
    /// Remove that link, before the plugin itself is uninstalled
    #[arg(long, conflicts_with = "install")]
    pub uninstall: bool,
    /// Folder for the link; kubectl looks for it on PATH [default: the folder of kubectl-sciuro]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Completes {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Kubectl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    None,
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// Go's way of writing durations, `1h30m`, `300ms` or `.5h`; a bare number is seconds, as kubectl takes it.
fn duration(text: &str) -> Result<SignedDuration, String> {
    const ALLOWED: &str = "a duration is written 30s, 5m or 1h30m, up to 87600h";
    const LONGEST: SignedDuration = SignedDuration::from_hours(87_600);
    let parsed = match text.parse::<u32>() {
        Ok(seconds) => SignedDuration::from_secs(seconds.into()),
        Err(_) if text.starts_with('.') => format!("0{text}").parse().map_err(|_| ALLOWED.to_owned())?,
        Err(_) => text.parse().map_err(|_| ALLOWED.to_owned())?,
    };
    if parsed.is_negative() || parsed > LONGEST { Err(ALLOWED.to_owned()) } else { Ok(parsed) }
}

/// As Kubernetes writes quantities of bytes.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("", 1),
    ];
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    unit.and_then(|(number, bytes)| number.parse::<u64>().ok()?.checked_mul(*bytes))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size is written 512Mi, 2Gi or 1000000".to_owned())
}

/// Go's way of writing truth (`strconv.ParseBool`), which kubectl's flags and upstream's variables take.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("it is true or false".to_owned()),
    }
}

/// As clap's own range, except that what is no number at all is told the same.
fn number<N: TryFrom<u32>, const LEAST: u32, const MOST: u32>(text: &str) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| format!("it is a number from {LEAST} to {MOST}"))
}

/// `2`, `P2` or `1-3`.
fn priorities(text: &str) -> Result<RangeInclusive<Priority>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (Priority::parse(first), Priority::parse(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("it is a number from 0 to 999, or a range such as 1-3".to_owned()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is written key=value")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_written_as_kubernetes_writes_them() {
        for (text, bytes) in [("1", 1), ("64Ki", 65_536), ("512Mi", 536_870_912), ("2G", 2_000_000_000)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for text in ["", "0", "-1", "1.5Gi", "512MB", "Mi", "99999999999Gi"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
