//! What `sync` is to do, validated.

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::Url;

use crate::cli::{DryRun, Format, SyncArgs};
use crate::core::alert::Priority;
use crate::core::condition::ConditionPolicy;
use crate::core::matcher::Matcher;
use crate::core::selection::SelectionPolicy;
use crate::error::{Error, Result};

/// Where the alerts come from.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    pub url: Url,
    pub receiver: String,
    pub filters: Vec<Matcher>,
    pub warmup: SignedDuration,
    /// The longest wait for an answer or its next part.
    pub timeout: Duration,
}

#[derive(Debug, Clone)]
pub struct LeaseSettings {
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Clone)]
pub struct SyncSettings {
    /// `None` for `--purge`, which asks nobody.
    pub source: Option<SourceSettings>,
    pub selection: SelectionPolicy,
    pub conditions: ConditionPolicy,
    pub cluster_label: String,
    /// Names of the nodes to write; empty = all.
    pub nodes: Vec<String>,
    pub selector: Option<String>,
    pub lease: Option<LeaseSettings>,
    pub interval: SignedDuration,
    pub concurrency: usize,
    pub dry_run: DryRun,
    pub exit_code: bool,
    pub purge: bool,
    pub yes: bool,
    pub output: Option<Format>,
}

impl SyncSettings {
    /// Checks what no single flag can: which ones go together.
    pub fn resolve(args: SyncArgs) -> Result<Self> {
        let source = if args.purge { None } else { Some(source(&args)?) };
        if args.exit_code && args.dry_run == DryRun::None {
            return Err(Error::usage("--exit-code goes with --dry-run").hint("add --dry-run=client"));
        }
        if args.purge && args.output.is_some() {
            return Err(Error::usage("--output shows a round; --purge has none").hint("leave --output out"));
        }
        let severity_priority = args
            .severity_priority
            .iter()
            .map(|(severity, text)| match Priority::parse(text) {
                Some(priority) => Ok((severity.clone(), priority)),
                None => Err(Error::usage(format!(
                    "--severity-priority {severity}={text}: a priority is a number from 0 to 999"
                ))),
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            source,
            selection: SelectionPolicy {
                prefix: args.prefix.clone(),
                node_labels: args.node_labels,
                priority_label: args.priority_label,
                severity_priority,
                strict: args.strict,
                silenced: args.silenced,
                inhibited: args.inhibited,
                max_message: args.max_message.into(),
                max_conditions: args.max_conditions.into(),
            },
            conditions: ConditionPolicy {
                prefix: args.prefix,
                linger: args.linger,
                heartbeat_interval: args.heartbeat_interval,
            },
            cluster_label: args.cluster_label,
            nodes: args.nodes.iter().map(|name| node_name(name)).collect::<Result<_>>()?,
            selector: args.selector,
            lease: (!args.no_lease)
                .then_some(LeaseSettings { namespace: args.lease_namespace, name: args.lease_name }),
            interval: args.interval,
            concurrency: args.concurrency.into(),
            dry_run: args.dry_run,
            exit_code: args.exit_code,
            purge: args.purge,
            yes: args.yes,
            output: args.output,
        })
    }

    /// Whether only some of the nodes are written.
    pub fn is_limited(&self) -> bool {
        !self.nodes.is_empty() || self.selector.is_some()
    }
}

fn source(args: &SyncArgs) -> Result<SourceSettings> {
    let Some(url) = &args.alertmanager else {
        return Err(Error::usage("no alert source is given")
            .hint("add --alertmanager http://alertmanager.monitoring:9093 --receiver node-condition-k8s"));
    };
    let Some(receiver) = args.receiver.clone().filter(|receiver| !receiver.is_empty()) else {
        return Err(Error::usage(
            "--receiver is needed with --alertmanager: it says which alerts concern nodes",
        )
        .hint("`amtool config routes` lists the receivers; the article's is node-condition-k8s"));
    };
    let parsed =
        Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = parsed else {
        // The text is not repeated: it may hold a password.
        return Err(Error::usage("--alertmanager is not the URL of an HTTP server")
            .hint("it is written http://HOST:PORT or https://HOST/PREFIX"));
    };
    Ok(SourceSettings {
        url,
        receiver,
        filters: args.filters.clone(),
        warmup: args.warmup,
        timeout: Duration::from_secs(30),
    })
}

/// `w1`, `node/w1` and `nodes/w1` name the same node.
pub(super) fn node_name(text: &str) -> Result<String> {
    let name = text.strip_prefix("node/").or_else(|| text.strip_prefix("nodes/")).unwrap_or(text);
    let valid = !name.is_empty()
        && name.len() <= 253
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
    if valid {
        Ok(name.to_owned())
    } else {
        Err(Error::usage(format!("{name:?} is not the name of a node")).hint("kubectl get nodes"))
    }
}
