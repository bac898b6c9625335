//! What `check` is to look at, validated.

use super::sync::{SourceSettings, expression, severity_priority};
use crate::cli::{CheckArgs, CheckedCommand, Format, Tier};
use crate::cluster::LeaseKey;
use crate::core::remediation::Method;
use crate::core::selection::SelectionPolicy;
use crate::error::Result;
use crate::remedy::reboot::helper::HelperOptions;

#[derive(Debug, Clone)]
pub struct CheckSettings {
    /// `None`: no source is configured.
    pub source: Option<SourceSettings>,
    pub selection: SelectionPolicy,
    pub cluster_label: String,
    pub lease: LeaseKey,
    pub commands: Vec<CheckedCommand>,
    /// How `remediate` is to reboot nodes.
    pub method: Method,
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
            method: args.reboot_method.into(),
            helper_namespace: args.helper_namespace,
            helper_image: args.helper_image,
            collects: args.collect,
            output: args.output,
        })
    }

    /// The pods that `remediate` would put on a node, of which some need less than others.
    pub fn helpers(&self) -> Vec<HelperOptions> {
        let privileged = HelperOptions::new(&self.helper_namespace, &self.helper_image);
        let by_signal = self.method == Method::Signal;
        let reboots = self.method.uses_pod().then(|| HelperOptions { by_signal, ..privileged.clone() });
        let collects = self.collects.contains(&Tier::Host).then_some(privileged);
        let mut helpers: Vec<_> = reboots.into_iter().chain(collects).collect();
        helpers.dedup();
        helpers
    }

    pub fn covers(&self, command: CheckedCommand) -> bool {
        self.commands.contains(&command)
    }
}
