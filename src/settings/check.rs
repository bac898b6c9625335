//! What `check` is to look at, validated.

use super::sync::{SourceSettings, expression, severity_priority};
use crate::cli::{CheckArgs, CheckedCommand, Format, Tier};
use crate::cluster::LeaseKey;
use crate::core::selection::SelectionPolicy;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct CheckSettings {
    /// `None`: no source is configured.
    pub source: Option<SourceSettings>,
    pub selection: SelectionPolicy,
    pub cluster_label: String,
    pub lease: LeaseKey,
    pub commands: Vec<CheckedCommand>,
    pub helper_namespace: String,
    pub helper_image: String,
    /// What `remediate` is to ask for diagnostics.
    pub collects: Vec<Tier>,
    pub output: Option<Format>,
}

impl CheckSettings {
    pub fn resolve(args: CheckArgs) -> Result<Self> {
        let has_source = !args.source.alertmanagers.is_empty() || !args.source.prometheuses.is_empty();
        let source =
            if has_source { Some(SourceSettings::resolve(&args.source, &args.matching)?) } else { None };
        Ok(Self {
            source,
            selection: SelectionPolicy {
                prefix: args.prefix,
                severity_priority: severity_priority(&args.matching)?,
                expression: expression(&args.matching)?,
                node_labels: args.matching.node_labels,
                priority_label: args.matching.priority_label,
                strict: args.matching.strict,
                silenced: args.source.silenced,
                inhibited: args.source.inhibited,
                ..SelectionPolicy::default()
            },
            cluster_label: args.matching.cluster_label,
            lease: LeaseKey { namespace: args.lease_namespace, name: args.lease_name },
            commands: args.commands,
            helper_namespace: args.helper_namespace,
            helper_image: args.helper_image,
            collects: args.collect,
            output: args.output,
        })
    }

    pub fn covers(&self, command: CheckedCommand) -> bool {
        self.commands.contains(&command)
    }
}
