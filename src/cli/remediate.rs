//! The flags of `remediate`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint};
use jiff::SignedDuration;
use regex::Regex;

use super::{DryRun, EXIT_CODES, Format, MatchingArgs, SourceArgs, boolean, duration, size};
use crate::core::gates::{Gate, MaxUnavailable};
use crate::core::prefix::Prefix;
use crate::core::remediation::Method;
use crate::remedy::reboot::helper::DEFAULT_IMAGE;

/// Reboot nodes one after the other: cordon, collect, drain, reboot, verify, uncordon.
///
/// Prints what it will do and asks. Each step is recorded on the node before it is done, so that a run that was stopped
/// goes on with --resume or is undone with --abort. The reboot is proven by a new boot ID; a node that does not come
/// back as it was stays cordoned.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:
  # What would happen, and would it be refused?
  kubectl sciuro remediate w1 --dry-run=client

  # All six steps, with a prompt before what cannot be taken back
  kubectl sciuro remediate w1

  # Go on with what was stopped, or undo it
  kubectl sciuro remediate w1 --resume
  kubectl sciuro remediate w1 --abort

  # Drain only: stop before the reboot
  kubectl sciuro remediate w1 --until drain

  # A node whose kubelet is dead, by its BMC
  kubectl sciuro remediate w1 --reboot-method command \\
      --reboot-command 'ipmitool -H {node}.bmc.example -f /etc/bmc power cycle'

  # All nodes of a rack, without prompts
  kubectl sciuro remediate -l rack=r7 --yes --delete-emptydir-data",
    after_help = EXIT_CODES
)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
#[allow(clippy::doc_markdown)] // the texts are help
#[allow(rustdoc::invalid_html_tags)] // as above
pub struct RemediateArgs {
    /// Nodes to remediate, one after the other
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
    /// The nodes that this label selector matches, in the order of their names
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "nodes")]
    pub selector: Option<String>,

    /// Print the plan and stop; exit 3 if it would be refused. "client" sends no eviction, "server" lets the server check each
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client", help_heading = "What to do")]
    pub dry_run: DryRun,
    /// Go on with the unfinished remediation on the node, whoever began it
    #[arg(long, conflicts_with = "abort", help_heading = "What to do")]
    pub resume: bool,
    /// Undo the unfinished remediation on the node; one that is running stops at its next safe point
    #[arg(long, help_heading = "What to do")]
    pub abort: bool,
    /// Stop after this step; the state is kept for --resume
    #[arg(long, value_name = "STEP", conflicts_with = "abort", help_heading = "What to do")]
    pub until: Option<Step>,
    /// Leave these steps out
    #[arg(long, value_name = "STEP", value_delimiter = ',', help_heading = "What to do")]
    pub skip: Vec<SkippedStep>,
    /// With --resume: reboot the machine again, by --reboot-method, once the last request can no longer take effect
    #[arg(long, requires = "resume", help_heading = "What to do")]
    pub retry_reboot: bool,
    /// Leave the node cordoned at the end
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "What to do")]
    pub keep_cordon: bool,
    /// What becomes of a node whose remediation fails before its reboot: it stays as it is, or is uncordoned
    #[arg(long, value_name = "WHAT", default_value = "keep", help_heading = "What to do")]
    pub on_failure: OnFailure,
    /// Go on with the other nodes after one has failed, and exit 1
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "What to do")]
    pub continue_on_error: bool,
    /// Answer yes to the prompts. Never stands for --force, --delete-emptydir-data, --disable-eviction, --grace-period 0,
    /// --override or --confirm
    #[arg(short, long, help_heading = "What to do")]
    pub yes: bool,
    /// Stands for typing this node's name at a prompt; may be repeated
    #[arg(long, value_name = "NODE", value_delimiter = ',', help_heading = "What to do")]
    pub confirm: Vec<String>,

    /// Gates that may not refuse; each is recorded
    #[arg(long = "override", value_name = "GATE", value_delimiter = ',', value_parser = PossibleValuesParser::new(Gate::overridable().map(Gate::name)).try_map(|name| name.parse::<Gate>()), help_heading = "Gates")]
    pub overrides: Vec<Gate>,
    /// How many nodes may be away at a time, as a share or a number; one always may
    #[arg(long, value_name = "SHARE|N", default_value_t = MaxUnavailable::Percent(20), help_heading = "Gates")]
    pub max_unavailable: MaxUnavailable,
    /// Namespace of the Leases that keep two remediations apart; everybody has to use the same
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", help_heading = "Gates")]
    pub lease_namespace: String,
    /// How long a Lease holds without being renewed, 3s at least
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s", help_heading = "Gates")]
    pub lease_duration: SignedDuration,

    #[command(flatten)]
    pub drain: DrainArgs,
    #[command(flatten)]
    pub reboot: RebootArgs,

    #[command(flatten)]
    pub collect: CollectArgs,
    /// How long the node may take to be as it was
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m", help_heading = "Collect and verify")]
    pub verify_timeout: SignedDuration,
    /// How long it has to stay so
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s", help_heading = "Collect and verify")]
    pub stable_for: SignedDuration,
    /// A command that has to succeed, too; no shell reads it, and {node}, {address} and {provider-id} are the node's
    #[arg(long, value_name = "COMMAND", help_heading = "Collect and verify")]
    pub verify_command: Option<String>,
    /// Do not ask the alert source whether the node's alerts are gone
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Collect and verify")]
    pub no_verify_alerts: bool,
    /// Silence the node's alerts at the --alertmanager while it is remediated: 15 minutes at a time, and no longer than the run
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "What to do")]
    pub silence: bool,
    /// Prefix of the condition types that are reasons to remediate
    #[arg(long, value_name = "PREFIX", default_value_t = Prefix::default(), help_heading = "Collect and verify")]
    pub prefix: Prefix,

    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub matching: MatchingArgs,

    /// How progress is shown on stderr; auto is for a person on a terminal, and plain elsewhere
    #[arg(long, value_name = "FORM", default_value = "auto")]
    pub progress: ProgressForm,
    /// Print a report of the run when it ends, however it ends; with --dry-run the plan
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,

    /// The flags of this command line, for lines that are to be typed next.
    #[arg(skip)]
    pub typed: Vec<TypedFlag>,
}

/// A flag as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedFlag {
    /// Its long name, without the dashes.
    pub name: String,
    /// Under which help lists it.
    pub heading: Option<String>,
    /// `--force`, or `--ssh-config` and a path: unquoted.
    pub words: Vec<String>,
}

/// `kubectl drain`'s own flags, with its names.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
#[allow(clippy::doc_markdown)] // the texts are help
pub struct DrainArgs {
    /// Leave the pods of DaemonSets; they end with the reboot
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Drain")]
    pub ignore_daemonsets: bool,
    /// Evict pods with emptyDir volumes too: their data is lost
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Drain")]
    pub delete_emptydir_data: bool,
    /// Evict pods without a controller too: nobody makes them anew
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Drain")]
    pub force: bool,
    /// Seconds that a pod gets to end; negative = its own, 0 = none
    #[arg(long, value_name = "SECONDS", default_value_t = -1, allow_hyphen_values = true, help_heading = "Drain")]
    pub grace_period: i64,
    /// How long the drain may take; 0 = for ever
    #[arg(long, visible_alias = "timeout", value_name = "DURATION", value_parser = duration, default_value = "15m", help_heading = "Drain")]
    pub drain_timeout: SignedDuration,
    /// Only the pods that this label selector matches are evicted
    #[arg(long, value_name = "SELECTOR", help_heading = "Drain")]
    pub pod_selector: Option<String>,
    /// Delete pods instead of evicting them: disruption budgets are not asked
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Drain")]
    pub disable_eviction: bool,
    /// Do not wait for pods that have been ending for more than so many seconds; 0 = wait
    #[arg(long, value_name = "SECONDS", default_value_t = 0, help_heading = "Drain")]
    pub skip_wait_for_delete_timeout: u32,
    /// Pods that are listed in one answer; 0 = all
    #[arg(long, value_name = "N", default_value_t = 500, help_heading = "Drain")]
    pub chunk_size: u32,
    /// Evictions that are asked for at the same time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000), help_heading = "Drain")]
    pub max_concurrent_evictions: u16,
}

/// What is kept of the node before it is rebooted.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown)] // the texts are help
pub struct CollectArgs {
    /// More diagnostics than the API server has: "kubelet" asks the node's kubelet (needs nodes/proxy, which lets its holder
    /// run anything in any container), "host" the machine, by a privileged pod on it
    #[arg(long, value_name = "TIER", value_delimiter = ',', help_heading = "Collect and verify")]
    pub collect: Vec<Tier>,
    /// How long collecting may take
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m", help_heading = "Collect and verify")]
    pub collect_timeout: SignedDuration,
    /// Logs from this long ago on; 0 = from their beginning
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h", help_heading = "Collect and verify")]
    pub since: SignedDuration,
    /// What may be in the archive, before it is compressed
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "512Mi", help_heading = "Collect and verify")]
    pub max_size: u64,
    /// Take what this regular expression matches out of the diagnostics too; may be repeated
    #[arg(long, value_name = "REGEX", help_heading = "Collect and verify")]
    pub redact: Vec<Regex>,
    /// Where the archive with the diagnostics goes; - is stdout, where it ends before the drain
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath, help_heading = "Collect and verify")]
    pub output_dir: PathBuf,
}

/// Where diagnostics come from, beside the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    Kubelet,
    Host,
}

impl Tier {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Host => "host",
        }
    }
}

/// How the machine is rebooted.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown)] // the texts are help
pub struct RebootArgs {
    /// How to reboot: a privileged pod, a signal to systemd, ssh, your command, or by hand [default: pod; the record's with
    /// --resume]
    #[arg(long, value_name = "METHOD", help_heading = "Reboot")]
    pub reboot_method: Option<RebootMethod>,
    /// The command of --reboot-method command; {node}, {address} and {provider-id} stand for the node's, and no shell reads it
    #[arg(long, value_name = "COMMAND", help_heading = "Reboot")]
    pub reboot_command: Option<String>,
    /// Which of the node's addresses ssh and {address} take
    #[arg(long, value_name = "TYPE", default_value = "InternalIP", help_heading = "Reboot")]
    pub ssh_address: AddressType,
    /// Addresses of nodes, as lines of /etc/hosts, for ssh and {address}, in place of what nodes say
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Reboot")]
    pub address_file: Option<PathBuf>,
    /// Configuration file for ssh, instead of your own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Reboot")]
    pub ssh_config: Option<PathBuf>,
    /// Image of the pod that reboots the node [default: busybox 1.37.0 of Docker Hub, by its digest]
    #[arg(long, value_name = "IMAGE", default_value = DEFAULT_IMAGE, hide_default_value = true, help_heading = "Reboot")]
    pub helper_image: String,
    /// Namespace of that pod; it has to admit privileged pods, for a signal too
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", help_heading = "Reboot")]
    pub helper_namespace: String,
    /// How long the machine may take until it is proven to have rebooted
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "15m", help_heading = "Reboot")]
    pub reboot_timeout: SignedDuration,
}

/// A step after which a run can stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    Cordon,
    Collect,
    Drain,
    Reboot,
    Verify,
}

/// A step that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SkippedStep {
    Collect,
    Drain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    Keep,
    Uncordon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RebootMethod {
    Pod,
    Signal,
    Ssh,
    Command,
    Manual,
}

impl From<RebootMethod> for Method {
    fn from(method: RebootMethod) -> Self {
        match method {
            RebootMethod::Pod => Self::Pod,
            RebootMethod::Signal => Self::Signal,
            RebootMethod::Ssh => Self::Ssh,
            RebootMethod::Command => Self::Command,
            RebootMethod::Manual => Self::Manual,
        }
    }
}

/// The types of `status.addresses`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AddressType {
    #[value(name = "InternalIP")]
    InternalIp,
    #[value(name = "ExternalIP")]
    ExternalIp,
    #[value(name = "Hostname")]
    Hostname,
    #[value(name = "InternalDNS")]
    InternalDns,
    #[value(name = "ExternalDNS")]
    ExternalDns,
}

impl AddressType {
    /// As Kubernetes spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InternalIp => "InternalIP",
            Self::ExternalIp => "ExternalIP",
            Self::Hostname => "Hostname",
            Self::InternalDns => "InternalDNS",
            Self::ExternalDns => "ExternalDNS",
        }
    }
}

/// What shows progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressForm {
    Auto,
    Plain,
    Json,
    None,
}
