//! What `sync` is to do, validated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use url::Url;

use crate::cli::{DryRun, Format, MatchingArgs, OnUnavailable, SourceArgs, SyncArgs, Via};
use crate::core::alert::Priority;
use crate::core::condition::ConditionPolicy;
use crate::core::expression::Expression;
use crate::core::matcher::Matcher;
use crate::core::round::RoundPolicy;
use crate::core::selection::SelectionPolicy;
pub use crate::core::source::Canary;
use crate::error::{Error, Result};

/// Where the alerts come from.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// At least one, with at least one member each.
    pub groups: Vec<SourceGroup>,
    pub filters: Vec<Matcher>,
    pub canary: Canary,
    pub warmup: SignedDuration,
    /// The longest that one member may take, with all of its requests.
    pub timeout: Duration,
    /// Whether an expression wants to see all annotations; otherwise only those with a text are kept.
    pub keep_annotations: bool,
    /// Labels that an expression asks for.
    pub expression_labels: BTreeSet<String>,
    pub cluster_label: String,
    pub http_config: Option<PathBuf>,
    pub via: Via,
}

/// Replicas of one source.
#[derive(Debug, Clone)]
pub struct SourceGroup {
    pub api: SourceApi,
    pub members: Vec<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceApi {
    /// Alertmanager's, version 2.
    Alertmanager { receiver: String },
    /// Prometheus', version 1, which others have too.
    Prometheus,
}

impl SourceApi {
    /// Whose it is, in lower case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alertmanager { .. } => "alertmanager",
            Self::Prometheus => "prometheus",
        }
    }
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Url(Url),
    /// `svc://NAMESPACE/NAME[:PORT]`: each ready endpoint of a Service is a member.
    Service {
        /// `svc+https://`: it speaks TLS, whatever its port is called.
        tls: bool,
        namespace: String,
        name: String,
        /// A number or a name; `None` = the only one, or the one that is called `web`, `http-web` or `http`.
        port: Option<String>,
    },
    /// To be found among the Services of these namespaces.
    Auto {
        namespaces: Vec<String>,
    },
}

#[derive(Debug, Clone)]
pub struct LeaseSettings {
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub struct SyncSettings {
    /// `None` for `--purge`, which asks nobody.
    pub source: Option<SourceSettings>,
    pub selection: SelectionPolicy,
    pub round: RoundPolicy,
    pub cluster_label: String,
    /// Names of the nodes to write; empty = all.
    pub nodes: Vec<String>,
    pub selector: Option<String>,
    pub lease: Option<LeaseSettings>,
    pub loops: bool,
    pub interval: SignedDuration,
    pub metrics_addr: Option<SocketAddr>,
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
        let source =
            if args.purge { None } else { Some(SourceSettings::resolve(&args.source, &args.matching)?) };
        if args.exit_code && args.dry_run == DryRun::None {
            return Err(Error::usage("--exit-code goes with --dry-run").hint("add --dry-run=client"));
        }
        if args.loops {
            refuse_with_loop(&args)?;
        }
        if args.purge && args.output.is_some() {
            return Err(Error::usage("--output shows a round; --purge has none").hint("leave --output out"));
        }
        Ok(Self {
            source,
            selection: SelectionPolicy {
                prefix: args.prefix.clone(),
                severity_priority: severity_priority(&args.matching)?,
                expression: expression(&args.matching)?,
                node_labels: args.matching.node_labels,
                priority_label: args.matching.priority_label,
                strict: args.matching.strict,
                silenced: args.source.silenced,
                inhibited: args.source.inhibited,
                hold_pending: args.hold_pending,
                max_message: args.max_message.into(),
                max_conditions: args.max_conditions.into(),
            },
            round: RoundPolicy {
                conditions: ConditionPolicy {
                    prefix: args.prefix,
                    linger: args.linger,
                    heartbeat_interval: args.heartbeat_interval,
                    unavailable_grace: (args.on_unavailable == OnUnavailable::Unknown)
                        .then_some(args.unavailable_grace),
                    interval: args.interval,
                },
                canary: canary(&args.source.require_alert),
                max_clear: args.max_clear,
                force_clear: args.force_clear,
            },
            cluster_label: args.matching.cluster_label,
            nodes: args.nodes.iter().map(|name| node_name(name)).collect::<Result<_>>()?,
            selector: args.selector,
            lease: (!args.no_lease)
                .then_some(LeaseSettings { namespace: args.lease_namespace, name: args.lease_name }),
            loops: args.loops,
            interval: args.interval,
            metrics_addr: args.metrics_addr.as_deref().map(listen_address).transpose()?,
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

/// A loop writes all nodes, and has no end at which it could show something.
fn refuse_with_loop(args: &SyncArgs) -> Result<()> {
    let refused = [
        ("--purge", args.purge),
        ("--dry-run", args.dry_run != DryRun::None),
        ("--output", args.output.is_some()),
        ("NODE", !args.nodes.is_empty()),
        ("--selector", args.selector.is_some()),
    ];
    if let Some((flag, _)) = refused.iter().find(|(_, is_given)| *is_given) {
        return Err(
            Error::usage(format!("{flag} does not go with --loop")).hint("run it once, without --loop")
        );
    }
    if args.interval < SignedDuration::from_secs(1) {
        return Err(Error::usage("--interval must be at least 1s with --loop"));
    }
    Ok(())
}

impl SourceSettings {
    /// Checks which source flags go together.
    pub(super) fn resolve(args: &SourceArgs, matching: &MatchingArgs) -> Result<Self> {
        let mut groups = Vec::new();
        if !args.alertmanagers.is_empty() {
            groups.push(SourceGroup {
                api: alertmanager_api(args)?,
                members: addresses("--alertmanager", &args.alertmanagers, args)?,
            });
        }
        if !args.prometheuses.is_empty() {
            if args.filters.is_empty() && matching.match_expr.is_none() && !args.all_alerts {
                return Err(Error::usage(
                    "--prometheus lists all alerts, whatever they are about: say which are meant",
                )
                .hint(r#"--filter 'notify=~"(.*\s)?node-condition-k8s(\s.*)?"'"#)
                .hint("--all-alerts takes them all"));
            }
            let members = addresses("--prometheus", &args.prometheuses, args)?;
            if members.iter().any(|member| matches!(member, Address::Auto { .. })) {
                return Err(Error::usage(
                    "--prometheus auto: only --alertmanager can be found automatically",
                )
                .hint("--prometheus svc://monitoring/prometheus-operated"));
            }
            let groups_of = |members| SourceGroup { api: SourceApi::Prometheus, members };
            if args.prometheus_ha {
                groups.push(groups_of(members));
            } else {
                groups.extend(members.into_iter().map(|member| groups_of(vec![member])));
            }
        }
        if groups.is_empty() {
            return Err(Error::usage("no alert source is given").hint(
                "add --alertmanager http://alertmanager.monitoring:9093 --receiver node-condition-k8s",
            ));
        }
        Ok(Self {
            groups,
            filters: args.filters.clone(),
            canary: canary(&args.require_alert),
            warmup: args.warmup,
            timeout: Duration::from_secs(30),
            keep_annotations: matching.match_expr.is_some(),
            expression_labels: expression(matching)?.map(|one| one.labels()).unwrap_or_default(),
            cluster_label: matching.cluster_label.clone(),
            http_config: args.http_config.clone(),
            via: args.via,
        })
    }
}

fn canary(text: &str) -> Canary {
    match text {
        "" => Canary::None,
        "auto" => Canary::Auto,
        name => Canary::Named(name.to_owned()),
    }
}

pub(super) fn expression(args: &MatchingArgs) -> Result<Option<Expression>> {
    let parse = |text: &String| {
        text.parse().map_err(|why| {
            Error::usage(format!("--match-expr: {why}"))
                .hint("labels.node == FullName, for example; --help names what there is")
        })
    };
    args.match_expr.as_ref().map(parse).transpose()
}

pub(super) fn severity_priority(args: &MatchingArgs) -> Result<BTreeMap<String, Priority>> {
    args.severity_priority
        .iter()
        .map(|(severity, text)| match Priority::parse(text) {
            Some(priority) => Ok((severity.clone(), priority)),
            None => Err(Error::usage(format!(
                "--severity-priority {severity}={text}: a priority is a number from 0 to 999"
            ))),
        })
        .collect()
}

fn alertmanager_api(args: &SourceArgs) -> Result<SourceApi> {
    let Some(receiver) = args.receiver.clone().filter(|receiver| !receiver.is_empty()) else {
        return Err(Error::usage(
            "--receiver is needed with --alertmanager: it says which alerts concern nodes",
        )
        .hint("`amtool config routes` lists the receivers; add --receiver node-condition-k8s, for example"));
    };
    Ok(SourceApi::Alertmanager { receiver })
}

fn addresses(flag: &str, texts: &[String], args: &SourceArgs) -> Result<Vec<Address>> {
    texts.iter().map(|text| address(flag, text.trim(), args)).collect()
}

/// Where `auto` looks unless told otherwise.
const ALERTMANAGER_NAMESPACE: &str = "monitoring";

fn auto(args: &SourceArgs) -> Result<Address> {
    let mut namespaces = args.alertmanager_namespaces.clone();
    if namespaces.is_empty() {
        if args.http_config.is_some() {
            return Err(Error::usage(
                "--alertmanager auto with --http-config: say to whom the credentials may be sent",
            )
            .hint(format!("--alertmanager-namespace {ALERTMANAGER_NAMESPACE}")));
        }
        namespaces.push(ALERTMANAGER_NAMESPACE.to_owned());
    }
    Ok(Address::Auto { namespaces })
}

fn address(flag: &str, text: &str, args: &SourceArgs) -> Result<Address> {
    if text == "auto" {
        return auto(args);
    }
    let plain = text.strip_prefix("svc://").map(|service| (service, false));
    let service = plain.or_else(|| Some((text.strip_prefix("svc+https://")?, true)));
    if let Some((service, tls)) = service {
        return service_address(service, tls).ok_or_else(|| {
            // A login, and what follows the name, may be secrets.
            let given = if text.contains(['@', '?', '#']) { String::new() } else { format!(" {text}") };
            let form = "svc://NAMESPACE/NAME[:PORT], or svc+https:// if it speaks TLS";
            let scheme = if tls { "svc+https" } else { "svc" };
            Error::usage(format!("{flag}{given}: a Service is written {form}"))
                .hint(format!("{scheme}://monitoring/alertmanager-operated"))
        });
    }
    // The text is not repeated: it may hold a password.
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .map(Address::Url)
        .ok_or_else(|| {
            Error::usage(format!("{flag} is not the URL of an HTTP server"))
                .hint(
                    "it is written http://HOST:PORT, https://HOST/PREFIX, svc://NAMESPACE/SERVICE or svc+https://NAMESPACE/SERVICE",
                )
        })
}

fn service_address(text: &str, tls: bool) -> Option<Address> {
    let is_name = |name: &str| {
        (1..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let (namespace, rest) = text.split_once('/')?;
    let (name, port) = match rest.trim_end_matches('/').split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (rest.trim_end_matches('/'), None),
    };
    let valid = is_name(namespace) && is_name(name) && port.is_none_or(is_name);
    valid.then(|| Address::Service {
        tls,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port: port.map(str::to_owned),
    })
}

/// `:8080` is Go's way of writing "on every address".
fn listen_address(text: &str) -> Result<SocketAddr> {
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    full.parse()
        .map_err(|_| Error::usage(format!("--metrics-addr {text:?}: it is written :8080 or 127.0.0.1:8080")))
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
