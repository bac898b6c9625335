//! What `remediate` is to do, validated.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use regex::Regex;

use super::sync::{SourceSettings, expression, node_name, severity_priority};
use crate::cli::{
    AddressType, CollectArgs, DrainArgs, DryRun, Format, OnFailure, ProgressForm, RebootArgs, RemediateArgs,
    SkippedStep, Step, Tier, TypedFlag,
};
use crate::core::gates::{Gate, MaxUnavailable};
use crate::core::hosts::Hosts;
use crate::core::remediation::{Method, State};
use crate::core::selection::SelectionPolicy;
use crate::error::{Error, Result};
use crate::trusted_file;

#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub struct RemediateSettings {
    pub targets: Targets,
    pub task: Task,
    pub dry_run: DryRun,
    /// Stop after this state.
    pub until: Option<State>,
    pub skip_collect: bool,
    pub skip_drain: bool,
    pub keep_cordon: bool,
    pub on_failure_uncordon: bool,
    pub continue_on_error: bool,
    pub yes: bool,
    /// Names of nodes that need not be typed.
    pub confirmed: BTreeSet<String>,
    pub overridden: BTreeSet<Gate>,
    pub max_unavailable: MaxUnavailable,
    pub lease_namespace: String,
    pub lease_duration: Duration,
    pub drain: DrainSettings,
    pub reboot: RebootSettings,
    pub collect: CollectSettings,
    pub verify: VerifySettings,
    /// Where the alerts of the nodes are; `None` = nobody is asked.
    pub source: Option<SourceSettings>,
    /// Whether the alerts of a node are silenced while it is away.
    pub silence: bool,
    /// How alerts and conditions belong together; its prefix is that of the conditions that are reasons.
    pub selection: SelectionPolicy,
    pub cluster_label: String,
    pub progress: ProgressForm,
    pub output: Option<Format>,
    /// What of all this was typed.
    pub typed: Vec<TypedFlag>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// One at least, each once, in the order in which they were given.
    Named(Vec<String>),
    Selected(String),
}

/// What is to be done with the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Remediate,
    Resume { retry_reboot: bool },
    Abort,
}

/// kubectl drain's flags, with its names.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub struct DrainSettings {
    pub ignore_daemonsets: bool,
    pub delete_emptydir_data: bool,
    pub force: bool,
    /// In seconds; `None` = each pod's own.
    pub grace_period: Option<u32>,
    /// `None` = for ever.
    pub timeout: Option<Duration>,
    pub pod_selector: Option<String>,
    pub disable_eviction: bool,
    /// `None` = wait for all.
    pub skip_wait_for_delete: Option<Duration>,
    /// `None` = all pods in one answer.
    pub chunk_size: Option<u32>,
    pub max_concurrent_evictions: usize,
}

#[derive(Debug, Clone)]
pub struct RebootSettings {
    pub method: Method,
    /// `None`: `method` is the default one, or that of a record.
    pub given_method: Option<Method>,
    /// Words, with placeholders; there is one at least if `given_method` is `Command`.
    pub command: Vec<String>,
    pub address_type: AddressType,
    /// In place of what the nodes say.
    pub known_addresses: Option<Hosts>,
    pub ssh_config: Option<PathBuf>,
    pub helper_image: String,
    pub helper_namespace: String,
    /// `None` = for ever.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone)]
pub struct CollectSettings {
    /// `None` = for ever.
    pub timeout: Option<Duration>,
    /// `None` = stdout.
    pub directory: Option<PathBuf>,
    /// `None` = of any age.
    pub since: Option<Duration>,
    /// Bytes, before compression.
    pub max_size: u64,
    pub redact: Vec<Regex>,
    /// What is asked beside the API server.
    pub tiers: Vec<Tier>,
}

#[derive(Debug, Clone)]
pub struct VerifySettings {
    /// `None` = for ever.
    pub timeout: Option<Duration>,
    pub stable_for: Duration,
    /// Words, with placeholders; empty = none.
    pub command: Vec<String>,
    /// Whether the alerts have to be gone at the source, if there is one.
    pub alerts: bool,
}

impl RemediateSettings {
    /// Checks what no single flag can: which ones go together.
    pub fn resolve(args: RemediateArgs) -> Result<Self> {
        let has_source = !args.source.alertmanagers.is_empty() || !args.source.prometheuses.is_empty();
        let source = has_source.then(|| SourceSettings::resolve(&args.source, &args.matching)).transpose()?;
        if args.silence && args.source.alertmanagers.is_empty() {
            return Err(Error::usage("--silence needs --alertmanager: that is where silences are").hint(
                "add --alertmanager http://alertmanager.monitoring:9093 --receiver node-condition-k8s",
            ));
        }
        if args.lease_duration < SignedDuration::from_secs(3) {
            return Err(Error::usage("--lease-duration must be at least 3s"));
        }
        if args.output.is_some() && args.collect.output_dir.as_os_str() == "-" {
            return Err(Error::usage("--output-dir - and --output both write to stdout")
                .hint("name a directory for the archive"));
        }
        let skips = |step| args.skip.contains(&step);
        Ok(Self {
            targets: targets(&args.nodes, args.selector)?,
            task: match (args.abort, args.resume) {
                (true, _) => Task::Abort,
                (false, true) => Task::Resume { retry_reboot: args.retry_reboot },
                (false, false) => Task::Remediate,
            },
            dry_run: args.dry_run,
            until: args.until.map(last_state),
            skip_collect: skips(SkippedStep::Collect),
            skip_drain: skips(SkippedStep::Drain),
            keep_cordon: args.keep_cordon,
            on_failure_uncordon: args.on_failure == OnFailure::Uncordon,
            continue_on_error: args.continue_on_error,
            yes: args.yes,
            confirmed: args.confirm.iter().map(|name| node_name(name)).collect::<Result<_>>()?,
            overridden: args.overrides.into_iter().collect(),
            max_unavailable: args.max_unavailable,
            lease_namespace: args.lease_namespace,
            lease_duration: args.lease_duration.unsigned_abs(),
            drain: DrainSettings::resolve(args.drain)?,
            reboot: RebootSettings::resolve(args.reboot)?,
            collect: CollectSettings::resolve(args.collect),
            verify: VerifySettings {
                timeout: limit(args.verify_timeout),
                stable_for: args.stable_for.unsigned_abs(),
                command: words("--verify-command", args.verify_command.as_deref())?,
                alerts: !args.no_verify_alerts,
            },
            source,
            silence: args.silence,
            selection: SelectionPolicy {
                prefix: args.prefix,
                severity_priority: severity_priority(&args.matching)?,
                expression: expression(&args.matching)?,
                node_labels: args.matching.node_labels,
                priority_label: args.matching.priority_label,
                strict: args.matching.strict,
                ..SelectionPolicy::default()
            },
            cluster_label: args.matching.cluster_label,
            progress: args.progress,
            output: args.output,
            typed: args.typed,
        })
    }
}

impl RemediateSettings {
    /// The same for a remediation that reboots by this method.
    #[must_use]
    pub fn by(&self, method: Method) -> Self {
        Self { reboot: RebootSettings { method, ..self.reboot.clone() }, ..self.clone() }
    }

    /// Whether the run asks this tier for diagnostics.
    pub fn collects(&self, tier: Tier) -> bool {
        !self.skip_collect && self.collect.tiers.contains(&tier)
    }

    /// Whether a pod of ours is put on the node.
    pub fn uses_pod(&self) -> bool {
        self.reboot.method.uses_pod() || self.collects(Tier::Host)
    }
}

impl DrainSettings {
    fn resolve(args: DrainArgs) -> Result<Self> {
        let grace_period = u32::try_from(args.grace_period).ok();
        if args.grace_period >= 0 && grace_period.is_none() {
            return Err(Error::usage(format!("--grace-period {}: it is too long", args.grace_period)));
        }
        let skip_wait = Duration::from_secs(args.skip_wait_for_delete_timeout.into());
        Ok(Self {
            ignore_daemonsets: args.ignore_daemonsets,
            delete_emptydir_data: args.delete_emptydir_data,
            force: args.force,
            grace_period,
            timeout: limit(args.drain_timeout),
            pod_selector: args.pod_selector,
            disable_eviction: args.disable_eviction,
            skip_wait_for_delete: Some(skip_wait).filter(|time| !time.is_zero()),
            chunk_size: Some(args.chunk_size).filter(|size| *size > 0),
            max_concurrent_evictions: args.max_concurrent_evictions.into(),
        })
    }
}

impl CollectSettings {
    fn resolve(args: CollectArgs) -> Self {
        Self {
            timeout: limit(args.collect_timeout),
            directory: (args.output_dir.as_os_str() != "-").then_some(args.output_dir),
            since: limit(args.since),
            max_size: args.max_size,
            redact: args.redact,
            tiers: args.collect,
        }
    }
}

impl RebootSettings {
    fn resolve(args: RebootArgs) -> Result<Self> {
        let given_method = args.reboot_method.map(Method::from);
        let command = words("--reboot-command", args.reboot_command.as_deref())?;
        if given_method == Some(Method::Command) && command.is_empty() {
            return Err(Error::usage("--reboot-method command needs --reboot-command")
                .hint("--reboot-command 'ipmitool -H {node}.bmc.example -f /etc/bmc power cycle'"));
        }
        // ssh says itself that a file is missing, and does not look who may write to one that is named. Whatever the method
        // is: a remediation that is resumed goes on with the one that it was begun with.
        if let Some(file) = args.ssh_config.as_ref().filter(|file| file.exists()) {
            trusted_file::open(file)
                .map_err(|error| trusted_file::unread("cannot read --ssh-config", file, &error))?;
        }
        Ok(Self {
            method: given_method.unwrap_or(Method::Pod),
            given_method,
            command,
            address_type: args.ssh_address,
            known_addresses: args.address_file.as_deref().map(hosts).transpose()?,
            ssh_config: args.ssh_config,
            helper_image: args.helper_image,
            helper_namespace: args.helper_namespace,
            timeout: limit(args.reboot_timeout),
        })
    }
}

fn targets(nodes: &[String], selector: Option<String>) -> Result<Targets> {
    if let Some(selector) = selector {
        return Ok(Targets::Selected(selector));
    }
    let mut names: Vec<String> = Vec::new();
    for text in nodes {
        let name = node_name(text)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(Error::usage("no node is given")
            .hint("kubectl sciuro remediate NODE")
            .hint("kubectl sciuro status"));
    }
    Ok(Targets::Named(names))
}

/// The state that a step ends with.
fn last_state(step: Step) -> State {
    match step {
        Step::Cordon => State::Cordoning,
        Step::Collect => State::Collecting,
        Step::Drain => State::Draining,
        Step::Reboot => State::WaitBoot,
        Step::Verify => State::Verifying,
    }
}

/// 0 is no limit, as kubectl has it.
fn limit(duration: SignedDuration) -> Option<Duration> {
    Some(duration.unsigned_abs()).filter(|duration| !duration.is_zero())
}

/// As a shell splits words, and without one.
fn hosts(file: &Path) -> Result<Hosts> {
    let text = trusted_file::open(file).and_then(std::io::read_to_string);
    let text = text.map_err(|error| trusted_file::unread("cannot read the address file", file, &error))?;
    Hosts::parse(&text).map_err(|why| {
        Error::usage(format!("--address-file {}: {why}", file.display()))
            .hint("its lines are as those of /etc/hosts: 10.0.0.7 worker1a")
    })
}

fn words(flag: &str, text: Option<&str>) -> Result<Vec<String>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(words),
        Some(_) => Err(Error::usage(format!("{flag} is empty"))),
        None => Err(Error::usage(format!("{flag}: a quote or a backslash has no end"))),
    }
}
