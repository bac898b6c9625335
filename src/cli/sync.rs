//! The flags of `sync`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use jiff::SignedDuration;

use super::{DryRun, EXIT_CODES, Format, boolean, duration, key_value, number};
use crate::core::matcher::Matcher;
use crate::core::prefix::Prefix;

/// Write firing alerts into Node conditions, once or as a loop.
///
/// Reads alerts from Alertmanager or Prometheus, finds the node that each speaks of, and keeps one
/// condition for each alert name: True while it fires, False when it has ended, gone after --linger. All other
/// conditions stay untouched.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:
  # What would change?
  kubectl sciuro sync --alertmanager http://alertmanager:9093 \\
      --receiver node-condition-k8s --dry-run=client

  # Write it, from cron every minute
  kubectl sciuro sync --alertmanager http://alertmanager:9093 \\
      --receiver node-condition-k8s

  # Only the alerts of this cluster, on an Alertmanager that serves several
  kubectl sciuro sync --alertmanager http://alertmanager:9093 \\
      --receiver node-condition-k8s --filter 'cluster=\"a.k8s\"'

  # Delete every condition that was written under a former prefix
  kubectl sciuro sync --purge --prefix Old_",
    after_help = EXIT_CODES
)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub struct SyncArgs {
    /// Nodes to write; alerts are still matched with all nodes [default: all]
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
    /// Write only the nodes that this label selector matches
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,

    #[command(flatten)]
    pub source: SourceArgs,
    /// An alert that is pending again keeps its condition, with --prometheus
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Alert source")]
    pub hold_pending: bool,

    #[command(flatten)]
    pub matching: MatchingArgs,

    /// Prefix of the condition types that are written
    #[arg(long, value_name = "PREFIX", default_value_t = Prefix::default(), help_heading = "Conditions")]
    pub prefix: Prefix,
    /// How long a condition stays False before it is deleted; 0 = for ever
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "96h", help_heading = "Conditions")]
    pub linger: SignedDuration,
    /// How often a True condition is confirmed, a False one at six times that; 0 = never
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m", help_heading = "Conditions")]
    pub heartbeat_interval: SignedDuration,
    /// What becomes of True conditions that no source confirms: Unknown after --unavailable-grace, or nothing
    #[arg(long, value_name = "WHAT", default_value = "unknown", help_heading = "Conditions")]
    pub on_unavailable: OnUnavailable,
    /// How long a True condition may go unconfirmed
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m", help_heading = "Conditions")]
    pub unavailable_grace: SignedDuration,
    /// Share of the True conditions, in percent, beyond which clearing ten or more at once waits for a second look;
    /// 100 = never
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = number::<u8, 0, 100>, help_heading = "Conditions")]
    pub max_clear: u8,
    /// Clear what --max-clear, or a source whose other members are not asked, would hold back
    #[arg(long, help_heading = "Conditions")]
    pub force_clear: bool,
    /// Longest message, in characters
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = number::<u16, 16, 32_768>, help_heading = "Conditions")]
    pub max_message: u16,
    /// How many conditions a node may get
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = number::<u16, 1, 1_000>, help_heading = "Conditions")]
    pub max_conditions: u16,
    /// Delete every condition with this prefix
    #[arg(long, help_heading = "Conditions")]
    pub purge: bool,

    /// Go on until stopped, a round each --interval; of several such processes one writes
    #[arg(long = "loop", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Writing")]
    pub loops: bool,
    /// How often a round is made with --loop; without it, how often this command is run
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s", help_heading = "Writing")]
    pub interval: SignedDuration,
    /// Where --loop serves /metrics, /healthz and /readyz, such as :8080 [default: nowhere]
    #[arg(long, value_name = "ADDRESS", help_heading = "Writing")]
    pub metrics_addr: Option<String>,
    /// Nodes written at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = number::<u16, 1, 256>, help_heading = "Writing")]
    pub concurrency: u16,
    /// Namespace of the Lease
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", help_heading = "Writing")]
    pub lease_namespace: String,
    /// Name of the Lease that keeps two runs apart
    #[arg(long, value_name = "NAME", default_value = "sciuro-sync", help_heading = "Writing")]
    pub lease_name: String,
    /// Take no Lease: whoever else writes is not kept off
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Writing")]
    pub no_lease: bool,
    /// Print what would change: "client" sends nothing, "server" lets the server check it
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client", help_heading = "Writing")]
    pub dry_run: DryRun,
    /// With --dry-run: exit 10 if changes are pending
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Writing")]
    pub exit_code: bool,
    /// Answer yes to the prompt of --purge
    #[arg(short, long, help_heading = "Writing")]
    pub yes: bool,

    /// Form of the result
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Where alerts come from: the same for every command that reads them.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown)] // the texts are help
#[allow(rustdoc::broken_intra_doc_links)] // help texts: [:PORT] is no link
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub struct SourceArgs {
    /// Alertmanager: a URL, whose path prefix is kept, svc://NAMESPACE/SERVICE[:PORT] in the cluster (svc+https:// with
    /// TLS), or auto; may be repeated for the members of one cluster of Alertmanagers
    #[arg(long = "alertmanager", value_name = "URL", help_heading = "Alert source")]
    pub alertmanagers: Vec<String>,
    /// Namespaces that --alertmanager auto searches; needed with --http-config [default: monitoring]
    #[arg(
        long = "alertmanager-namespace",
        value_name = "NAMESPACE",
        value_delimiter = ',',
        help_heading = "Alert source"
    )]
    pub alertmanager_namespaces: Vec<String>,
    /// The receiver whose alerts count, with --alertmanager
    #[arg(long, value_name = "NAME", help_heading = "Alert source")]
    pub receiver: Option<String>,
    /// Prometheus: a URL, or svc://NAMESPACE/SERVICE[:PORT] in the cluster (svc+https:// with TLS); may be repeated
    #[arg(long = "prometheus", value_name = "URL", help_heading = "Alert source")]
    pub prometheuses: Vec<String>,
    /// All of --prometheus evaluate the same rules: one of them is enough
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Alert source")]
    pub prometheus_ha: bool,
    /// Only alerts that match, in Alertmanager's syntax; may be repeated
    #[arg(long = "filter", value_name = "MATCHER", help_heading = "Alert source")]
    pub filters: Vec<Matcher>,
    /// Take all alerts of a Prometheus, without --filter or --match-expr
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Alert source")]
    pub all_alerts: bool,
    /// An alert that always fires: while it is missing, its source is not believed. "auto" is Watchdog once it was seen;
    /// empty = none
    #[arg(long, value_name = "ALERTNAME", default_value = "auto", help_heading = "Alert source")]
    pub require_alert: String,
    /// How long a source must have been up before its silence is believed
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m", help_heading = "Alert source")]
    pub warmup: SignedDuration,
    /// Credentials, TLS and proxy for the sources, in Prometheus' http_config format; read anew for each round
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Alert source")]
    pub http_config: Option<PathBuf>,
    /// How svc:// is reached: through the API server from outside, directly in a pod of the cluster
    #[arg(long, value_name = "WAY", default_value = "auto", help_heading = "Alert source")]
    pub via: Via,
    /// Silenced alerts count too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Alert source")]
    pub silenced: bool,
    /// Inhibited alerts count
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Alert source")]
    pub inhibited: bool,
}

/// Which alert speaks of which node.
#[derive(Debug, Args)]
#[allow(clippy::doc_markdown)] // the texts are help
pub struct MatchingArgs {
    /// Labels that name a node, in order [default: node, nodename, kubernetes_node, node_name, hostname, Hostname, host, each after
    /// its own exported_ form]
    #[arg(long = "node-label", value_name = "LABEL", value_delimiter = ',', help_heading = "Matching", hide_default_value = true, default_values_t = crate::core::matching::NODE_LABELS.map(String::from))]
    pub node_labels: Vec<String>,
    /// Label that tells clusters apart
    #[arg(long, value_name = "LABEL", default_value = "cluster", help_heading = "Matching")]
    pub cluster_label: String,
    /// Label that carries the priority, 0 to 999
    #[arg(long, value_name = "LABEL", default_value = "priority", help_heading = "Matching")]
    pub priority_label: String,
    /// Priority of alerts that carry none, by severity, such as critical=1,warning=5 [default: 9 for all]
    #[arg(long, value_name = "SEVERITY=PRIORITY", value_delimiter = ',', value_parser = key_value, help_heading = "Matching")]
    pub severity_priority: Vec<(String, String)>,
    /// Skip alerts with a malformed priority, and exit 1
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set, value_parser = boolean, help_heading = "Matching")]
    pub strict: bool,
    /// CEL expression that decides alone whether an alert speaks of a node: over labels, annotations, FullName, ShortName
    #[arg(long, value_name = "CEL", help_heading = "Matching")]
    pub match_expr: Option<String>,
}

/// What becomes of a condition that no source confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnUnavailable {
    Unknown,
    Hold,
}

/// How a source in the cluster is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Via {
    Auto,
    Direct,
    PortForward,
}
