//! Everything that can be known before the first change.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::alerts::AlertsPlan;
use super::drain_plan::{self, DrainPlan, Obstacle};
use super::needs::{self, needs};
use super::next::{Lines, Next};
use super::rehearsal::{self, Cordon};
use super::verifiable;
use super::{Context, begin};
use crate::cli::{DryRun, Tier};
use crate::cluster::{ApiError, ClaimsElsewhere, Cluster, RemediatedNode, Rule, clear_hint};
use crate::command::names;
use crate::core::gates::{FleetNode, Gate, Refusal, Situation, Told, refusals};
use crate::core::node::TRUE;
use crate::core::remediation::{Machine, Mark, Method, Reason, RecordSeen, State};
use crate::error::{Error, Exit, Result};
use crate::remedy::drain::Warning;
use crate::remedy::reboot::command::CommandOptions;
use crate::remedy::reboot::helper::HelperOptions;
use crate::remedy::reboot::pod;
use crate::remedy::reboot::{Reboot, RebootError};
use crate::settings::{RemediateSettings, Task};

/// What a run has before it.
#[derive(Debug, Clone)]
pub(super) struct Ahead {
    /// The first state whose work is to be done.
    pub(super) from: State,
    /// The boot that a request to reboot would end, if it is not the one that the node reports.
    pub(super) boot_id: Option<String>,
    /// The node's cordon is that of the remediation.
    pub(super) has_cordoned: bool,
}

impl Ahead {
    /// All six steps.
    pub(super) const ALL: Self = Self { from: State::Cordoning, boot_id: None, has_cordoned: false };

    pub(super) fn of(machine: &Machine, node: &RemediatedNode) -> Self {
        let record = machine.record();
        Self {
            from: machine.goes_on_from(),
            boot_id: Some(machine.boot_to_end(&node.view).to_owned()),
            has_cordoned: !record.was_unschedulable && record.marks.contains(&Mark::Cordon),
        }
    }

    /// Whether pods may be evicted and the machine told to reboot. Gates guard that, and nothing else: a node that has
    /// rebooted is verified and uncordoned whatever becomes of the others.
    pub(super) fn takes_down(&self) -> bool {
        self.from <= State::Draining
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct Preflight {
    pub(super) node: RemediatedNode,
    pub(super) ahead: Ahead,
    pub(super) is_control_plane: bool,
    /// The conditions that fire.
    pub(super) reasons: Vec<Reason>,
    /// The gates that refuse.
    pub(super) refusals: Vec<Refusal>,
    /// The gates that would, and may not.
    pub(super) overridden: Vec<Refusal>,
    pub(super) permissions: Permissions,
    pub(super) drain: DrainPlan,
    /// How the node is rebooted, if it is and can be.
    pub(super) reboot: Option<Reboot>,
    /// The command that has the last word, if one has.
    pub(super) verify_command: Option<CommandOptions>,
    /// Why the node cannot be cordoned, rebooted by this method, or verified by this command.
    pub(super) unusable: Vec<Obstacle>,
    /// What is asked of the alert sources, if there are any.
    pub(super) alerts: AlertsPlan,
    /// What could not be looked at, and what is odd.
    pub(super) warnings: Vec<Warning>,
}

/// What the user may not do of what a run does.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    pub(super) missing: Vec<String>,
    /// Of what can be done without.
    pub(super) missed: Vec<String>,
    /// Why it is not known, if it is not.
    pub(super) unknown: Option<String>,
}

/// The node for a new run.
pub(super) async fn unclaimed(context: &Context<'_>) -> Result<RemediatedNode> {
    let node = read(context).await?;
    refuse_unfinished(&node, context).map(|()| node)
}

pub(super) async fn read(context: &Context<'_>) -> Result<RemediatedNode> {
    let Context { cluster, report, .. } = *context;
    let name = report.node();
    let node = cluster.remediated_node(name).await.map_err(|error| error.explain("get", &Rule::NODES))?;
    let Some(node) = node else { return Err(names::not_found(name, cluster).await) };
    report.saw(&node);
    Ok(node)
}

pub(super) async fn look(
    node: impl Future<Output = Result<RemediatedNode>>,
    ahead: Ahead,
    context: &Context<'_>,
) -> Result<Preflight> {
    let Context { settings, cluster, alerts, holder, report, .. } = *context;
    let name = report.node();
    let goes_down = ahead.takes_down();
    let permissions = async { Ok(permissions(settings, &ahead, cluster).await) };
    let helper = async { Ok(if goes_down { helper(name, settings, cluster).await } else { None }) };
    let drain = async {
        Ok(if goes_down {
            drain_plan::rehearse(name, &settings.drain, settings, cluster).await
        } else {
            DrainPlan::default()
        })
    };
    let (node, others, permissions, drain, helper) =
        futures::try_join!(node, Others::look(name, cluster), permissions, drain, helper)?;
    let (reboot, unusable) = match begin::method(settings, &node) {
        _ if !goes_down => (None, None),
        Ok(reboot) => (Some(reboot), helper),
        Err(error) => (None, Some(obstacle("reboot-method", error))),
    };
    let (verify_command, unverifiable) = match begin::last_word(settings, &node) {
        _ if ahead.from > State::Verifying => (None, None),
        Ok(command) => (command, None),
        Err(error) => (None, Some(obstacle("verify-command", error))),
    };
    let told = begin::told(reboot.as_ref(), verify_command.as_ref()).await;
    let boot_id = ahead.boot_id.as_deref().unwrap_or(&node.view.boot_id);
    let (mut refusals, mut overridden) = others.judge(&node, boot_id, &told, settings);
    if !goes_down {
        // What verifies the node may lead to another one.
        refusals.retain(|refusal| refusal.gate == Gate::Address);
        overridden.retain(|refusal| refusal.gate == Gate::Address);
    }
    let mut warnings: Vec<String> =
        others.elsewhere.unread.iter().map(|what| format!("not looked at: {what}")).collect();
    warnings.extend(
        node.view.keep_cordoned.then(|| {
            "the annotation sciuro.dev/keep-cordoned is there: the node will stay cordoned".to_owned()
        }),
    );
    warnings.extend(cluster.machine_health_checks(&node).await);
    let reasons = reasons(&node, settings);
    // A run that goes on has cordoned it.
    let cordon = match settings.dry_run {
        _ if settings.task != Task::Remediate => Cordon::Fine,
        DryRun::Client => Cordon::Fine,
        _ => rehearsal::cordon(&node, &reasons, &overridden, holder, settings, cluster).await,
    };
    let cordon = match cordon {
        Cordon::Fine => None,
        Cordon::Refused(obstacle) => Some(obstacle),
        Cordon::NotRehearsed(why) => {
            warnings.push(why);
            None
        }
    };
    let asks_sources = alerts.is_some() && settings.verify.alerts;
    let doubts = verifiable::doubts(&node, &reasons, settings, cluster, asks_sources).await;
    let warnings = warnings.into_iter().map(Warning::from).chain(doubts).collect();
    let alerts = match alerts.filter(|_| ahead.from <= State::Verifying) {
        Some(alerts) => alerts.plan(&node, &reasons).await,
        None => AlertsPlan::default(),
    };
    Ok(Preflight {
        is_control_plane: others.fleet.iter().any(|node| node.name == name && node.control_plane),
        reasons,
        node,
        ahead,
        refusals,
        overridden,
        permissions,
        drain,
        reboot,
        verify_command,
        unusable: cordon.into_iter().chain(unusable).chain(unverifiable).collect(),
        alerts,
        warnings,
    })
}

/// What the gates look at beside the node itself.
pub(super) struct Others {
    fleet: Vec<FleetNode>,
    elsewhere: ClaimsElsewhere,
    own_node: Option<String>,
    own_boot_id: Option<String>,
}

impl Others {
    pub(super) async fn look(name: &str, cluster: &Cluster) -> Result<Self> {
        let (fleet, elsewhere) = futures::join!(cluster.list_fleet(), cluster.claims_elsewhere(name));
        Ok(Self {
            fleet: fleet.map_err(|error| error.explain("list", &Rule::NODES))?,
            elsewhere,
            // What a manifest sets from spec.nodeName.
            own_node: std::env::var("NODE_NAME").ok().filter(|_| cluster.is_in_cluster()),
            own_boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .ok()
                .map(|id| id.trim().to_owned()),
        })
    }

    /// The gates that refuse, and those that would if they were not overridden.
    /// `boot_id`: the boot that the request to reboot would end.
    pub(super) fn judge(
        &self,
        node: &RemediatedNode,
        boot_id: &str,
        told: &Told,
        settings: &RemediateSettings,
    ) -> (Vec<Refusal>, Vec<Refusal>) {
        let claims: Vec<String> = node.view.claims.iter().chain(&self.elsewhere.claims).cloned().collect();
        let situation = self.situation(node, boot_id, &claims, told, settings);
        refusals(&situation, &BTreeSet::new())
            .into_iter()
            .partition(|refusal| !(refusal.can_be_overridden && settings.overridden.contains(&refusal.gate)))
    }

    fn situation<'s>(
        &'s self,
        node: &'s RemediatedNode,
        boot_id: &'s str,
        claims: &'s [String],
        told: &'s Told,
        settings: &RemediateSettings,
    ) -> Situation<'s> {
        Situation {
            nodes: &self.fleet,
            target: &node.name,
            method: settings.reboot.method,
            max_unavailable: settings.max_unavailable,
            claims,
            boot_id,
            own_node: self.own_node.as_deref(),
            own_boot_id: self.own_boot_id.as_deref(),
            told,
        }
    }
}

impl Preflight {
    /// Whether flags that a person could have consented to are all that is missing.
    pub(super) fn is_refused_for_consent_only(&self) -> bool {
        let needs_consent = |obstacle: &Obstacle| obstacle.exception.is_some();
        self.refusals.is_empty()
            && self.permissions.missing.is_empty()
            && self.unusable.is_empty()
            && self.drain.obstacles.iter().all(needs_consent)
    }

    /// The command that reboots the node, if one does.
    pub(super) fn command(&self) -> Option<&CommandOptions> {
        match &self.reboot {
            Some(Reboot::Command(command)) => Some(command),
            _ => None,
        }
    }

    /// The gates that would refuse, and may not.
    pub(super) fn lifted(&self) -> impl Iterator<Item = &Refusal> {
        self.overridden.iter().chain(&self.drain.overridden)
    }

    /// Fails with exit code 3 if something refuses; what a person can be asked for does not, if one can be asked.
    pub(super) fn refused(&self, settings: &RemediateSettings, can_ask: bool) -> Result<()> {
        let obstacles = self.unusable.iter().chain(&self.drain.obstacles);
        let obstacles = obstacles.filter(|obstacle| !(can_ask && obstacle.exception.is_some()));
        let obstacles: Vec<_> = obstacles.collect();
        let mut names: Vec<&str> = self.refusals.iter().map(|refusal| refusal.gate.name()).collect();
        names.extend(obstacles.iter().map(|obstacle| obstacle.name));
        names.extend((!self.permissions.missing.is_empty()).then_some("permissions"));
        if names.is_empty() {
            return Ok(());
        }
        names.dedup();
        let would = if settings.dry_run == DryRun::None { "is" } else { "would be" };
        let what =
            format!("node/{}: {would} refused ({}); nothing was changed", self.node.name, names.join(", "));
        let gates = self.refusals.iter().filter(|refusal| refusal.can_be_overridden);
        let gates = gates.map(|refusal| refusal.gate).chain(obstacles.iter().filter_map(|one| one.gate()));
        let mut liftable: Vec<&str> = gates.map(Gate::name).collect();
        liftable.dedup();
        let mut error = Error::new(Exit::Refused, what);
        let overrides = (!liftable.is_empty()).then(|| format!("--override {}", liftable.join(",")));
        let consents = if can_ask { Vec::new() } else { self.drain.exceptions() };
        let consents = consents.into_iter().map(|exception| exception.flag().to_owned());
        let flags: Vec<String> = overrides.into_iter().chain(consents).collect();
        if !flags.is_empty() {
            error = error.hint(format!("to go on nevertheless: add {}", flags.join(" ")));
        }
        if !self.permissions.missing.is_empty() {
            let tiers: Vec<&str> = settings.collect.tiers.iter().map(|tier| tier.name()).collect();
            let tiers =
                if tiers.is_empty() { String::new() } else { format!(" --collect {}", tiers.join(",")) };
            let method = match settings.reboot.method {
                Method::Pod => String::new(),
                method => format!(" --reboot-method {}", method.name()),
            };
            error = error.hint(format!("what to grant: kubectl sciuro check --for remediate{method}{tiers}"));
        }
        Err(error)
    }
}

/// Somebody's remediation is on the node already.
pub(super) fn refuse_unfinished(node: &RemediatedNode, context: &Context<'_>) -> Result<()> {
    let name = &node.name;
    match &node.view.record {
        RecordSeen::None => Ok(()),
        RecordSeen::Readable(record) => {
            let error = Error::new(
                Exit::Busy,
                format!(
                    "node/{name}: {} began a remediation, which is in {:?} since {}",
                    record.actor, record.state, record.since
                ),
            );
            let lines = Lines::of(context, &context.settings.drain);
            let lines = Lines { record: Some((**record).clone()), forgets_until: true, ..lines };
            Err(lines.hint(error, &[Next::Continue, Next::Undo]))
        }
        RecordSeen::Unreadable(why) => Err(Error::new(
            Exit::Refused,
            format!("node/{name}: the record of a remediation on it cannot be read: {why}"),
        )
        .hint(format!("what it says: {}", node.record_json().unwrap_or_default()))
        .hint(clear_hint(name))),
    }
}

/// The conditions of ours that are True.
pub(super) fn reasons(node: &RemediatedNode, settings: &RemediateSettings) -> Vec<Reason> {
    node.conditions
        .iter()
        .filter(|condition| settings.selection.prefix.owns(&condition.kind) && condition.status == TRUE)
        .map(|condition| Reason {
            condition_type: condition.kind.clone(),
            reason: condition.reason.clone(),
            last_transition: condition.last_transition_time.as_ref().and_then(|time| time.parse().ok()),
        })
        .collect()
}

/// Whether the pods that the run puts on the node would be admitted. That their image is there, the probe shows.
async fn helper(name: &str, settings: &RemediateSettings, cluster: &Cluster) -> Option<Obstacle> {
    if settings.dry_run == DryRun::Client {
        return None;
    }
    let reboots = settings.reboot.method.uses_pod().then(|| begin::helper(settings));
    let collects = settings.collects(Tier::Host);
    let privileged = collects.then(|| HelperOptions { by_signal: false, ..begin::helper(settings) });
    let mut all: Vec<HelperOptions> = reboots.into_iter().chain(privileged).collect();
    all.dedup();
    for options in all {
        if let Err(error) = pod::rehearse(cluster, &options, name).await {
            return Some(obstacle("helper", error));
        }
    }
    None
}

fn obstacle(name: &'static str, error: RebootError) -> Obstacle {
    Obstacle { name, hint: error.hints.into_iter().next(), reason: error.why, exception: None, pods: None }
}

async fn permissions(settings: &RemediateSettings, ahead: &Ahead, cluster: &Cluster) -> Permissions {
    let goes_down = ahead.takes_down();
    let run = needs::Run {
        lease_namespace: &settings.lease_namespace,
        helper_namespace: (goes_down && settings.uses_pod())
            .then_some(settings.reboot.helper_namespace.as_str()),
        tiers: if settings.skip_collect || !goes_down { &[] } else { &settings.collect.tiers },
        skips_drain: settings.skip_drain || !goes_down,
        disables_eviction: settings.drain.disable_eviction,
        // What else is installed the plan looks at itself, and says what it may not read.
        groups: &BTreeSet::new(),
    };
    let answers = join_all(needs(&run).into_iter().map(|need| async {
        let answer = cluster.may(&need.permission).await;
        (need, answer)
    }));
    let mut found = Permissions::default();
    for (need, answer) in answers.await {
        match answer {
            Ok(true) => {}
            Ok(false) if need.is_optional => found.missed.push(need.permission.to_string()),
            Ok(false) => found.missing.push(need.permission.to_string()),
            Err(error) => found.unknown = Some(unknown(&error)),
        }
    }
    found
}

fn unknown(error: &ApiError) -> String {
    format!("it is not known what is allowed: {error}")
}
