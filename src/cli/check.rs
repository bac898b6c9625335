//! The flags of `check`.

use clap::{Args, ValueEnum};

use super::{Format, MatchingArgs, RebootMethod, SourceArgs, Tier};
use crate::core::prefix::Prefix;
use crate::remedy::reboot::helper::DEFAULT_IMAGE;

/// Check what the other commands need: the API server, permissions, the Lease, alert sources.
///
/// Nothing is changed. Give it the flags that sync is given. What is missing is printed with the next command to type,
/// and missing permissions as YAML for `kubectl apply`. Exits 1 if a check failed.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  # Can I use the plugin on this cluster?
  kubectl sciuro check

  # Would sync work, with this source?
  kubectl sciuro check --receiver node-condition-k8s \\
      --alertmanager svc://monitoring/alertmanager-operated

  # May the account that the CronJob runs under do all that sync does?
  kubectl sciuro check --for sync --as system:serviceaccount:sciuro:sciuro

  # May I remediate nodes, and is the pod that reboots them admitted?
  kubectl sciuro check --for remediate

  # Grant what is missing
  kubectl sciuro check -o json \\
    | jq '{apiVersion: \"v1\", kind: \"List\", items: .missing}' \\
    | kubectl apply -f -")]
pub struct CheckArgs {
    /// The commands whose needs are looked at
    #[arg(
        long = "for",
        value_name = "COMMAND",
        value_delimiter = ',',
        default_value = "status,sync,remediate"
    )]
    pub commands: Vec<CheckedCommand>,

    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub matching: MatchingArgs,

    /// Prefix of the condition types that sync writes
    #[arg(long, value_name = "PREFIX", default_value_t = Prefix::default())]
    pub prefix: Prefix,
    /// Namespace of the Leases
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub lease_namespace: String,
    /// Name of the sync Lease
    #[arg(long, value_name = "NAME", default_value = "sciuro-sync")]
    pub lease_name: String,
    /// What remediate is to reboot nodes by
    #[arg(long, value_name = "METHOD", default_value = "pod")]
    pub reboot_method: RebootMethod,
    /// Image of the pod that reboots a node [default: busybox 1.37.0 of Docker Hub, by its digest]
    #[arg(long, value_name = "IMAGE", default_value = DEFAULT_IMAGE, hide_default_value = true)]
    pub helper_image: String,
    /// Namespace of that pod
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub helper_namespace: String,
    /// What remediate is to collect besides what the API server has
    #[arg(long, value_name = "TIER", value_delimiter = ',')]
    pub collect: Vec<Tier>,
    /// Form of the result
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// A command that needs something of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckedCommand {
    Status,
    Sync,
    Remediate,
}

impl CheckedCommand {
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Sync => "sync",
            Self::Remediate => "remediate",
        }
    }
}
