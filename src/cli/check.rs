//! The flags of `check`.

use clap::Args;

use super::{Format, MatchingArgs, SourceArgs};
use crate::core::prefix::Prefix;

/// Check what the other commands need: the API server, permissions, the Lease, alert sources.
///
/// Nothing is changed. Give it the flags that sync is given. What is missing is printed with the next command to type,
/// and missing permissions as YAML for `kubectl apply`. Exits 1 if a check failed.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  # Can I use the plugin on this cluster?
  kubectl sciuro check

  # Would sync work, with this source?
  kubectl sciuro check --alertmanager svc://monitoring/alertmanager-operated --receiver node-condition-k8s

  # May the account that the CronJob runs under do all of it?
  kubectl sciuro check --as system:serviceaccount:sciuro:sciuro

  # Grant what is missing
  kubectl sciuro check -o json | jq '{apiVersion: \"v1\", kind: \"List\", items: .missing}' | kubectl apply -f -")]
pub struct CheckArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub matching: MatchingArgs,

    /// Prefix of the condition types that are ours
    #[arg(long, value_name = "PREFIX", default_value_t = Prefix::default())]
    pub prefix: Prefix,
    /// Namespace of the sync Lease
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub lease_namespace: String,
    /// Name of the sync Lease
    #[arg(long, value_name = "NAME", default_value = "sciuro-sync")]
    pub lease_name: String,
    /// Form of the result
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}
