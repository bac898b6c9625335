//! The drain as the plan shows it.

use std::sync::Arc;

use serde::Serialize;

use crate::cli::DryRun;
use crate::cluster::Cluster;
use crate::core::drain::{Answer, Blocked, Policy, Verdict};
use crate::core::gates::{self, Gate};
use crate::error::Error;
use crate::remedy::drain::{self, DrainOptions, PlannedPod, Refusal, Warning};
use crate::settings::{DrainSettings, RemediateSettings};

/// What a drain would do with each pod.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DrainPlan {
    /// The server was asked about each eviction.
    pub(super) rehearsed: bool,
    pub(super) pods: Vec<PodPlan>,
    #[serde(skip)]
    pub(super) obstacles: Vec<Obstacle>,
    /// Those that are allowed by `--override`.
    #[serde(skip)]
    pub(super) overridden: Vec<gates::Refusal>,
    #[serde(skip)]
    pub(super) warnings: Vec<Warning>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodPlan {
    pub(super) namespace: String,
    pub(super) name: String,
    /// `ReplicaSet/web-5d9c`.
    pub(super) owner: Option<String>,
    pub(super) action: PodAction,
    pub(super) reason: String,
    pub(super) budget: Option<BudgetPlan>,
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) empty_dir: bool,
    /// It is blocked only as long as nobody allows its eviction.
    #[serde(skip)]
    pub(super) needs_consent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum PodAction {
    Evict,
    /// Budgets are not asked.
    Delete,
    Skip,
    Blocked,
}

impl PodAction {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Evict => "evict",
            Self::Delete => "delete",
            Self::Skip => "skip",
            Self::Blocked => "blocked",
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BudgetPlan {
    pub(super) name: String,
    pub(super) disruptions_allowed: i32,
    pub(super) current_healthy: i32,
    pub(super) desired_healthy: i32,
}

/// Why a run is not begun, beside the gates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// `unmanaged`, `budget-overlap` …
    pub(super) name: &'static str,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// What a flag allows, if one does.
    pub(super) exception: Option<Exception>,
    /// Which pods that lets go.
    pub(super) pods: Option<String>,
}

impl Obstacle {
    /// The flag that lifts it, if one does.
    pub(super) fn flag(&self) -> Option<String> {
        let exception = self.exception.map(|exception| exception.flag().to_owned());
        exception.or_else(|| self.gate().map(|gate| format!("--override {gate}")))
    }

    /// The gate that `--override` lifts, if it is one.
    pub(super) fn gate(&self) -> Option<Gate> {
        self.name.parse().ok().filter(|gate: &Gate| gate.can_be_overridden())
    }
}

/// What kubectl drain does only with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exception {
    IgnoreDaemonsets,
    DeleteEmptydirData,
    Force,
}

impl Exception {
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::IgnoreDaemonsets => "--ignore-daemonsets",
            Self::DeleteEmptydirData => "--delete-emptydir-data",
            Self::Force => "--force",
        }
    }

    pub(super) fn grant(self, flags: &mut DrainSettings) {
        match self {
            Self::IgnoreDaemonsets => flags.ignore_daemonsets = true,
            Self::DeleteEmptydirData => flags.delete_emptydir_data = true,
            Self::Force => flags.force = true,
        }
    }
}

impl DrainPlan {
    /// What a person can be asked for before the drain can begin, each once.
    pub(super) fn exceptions(&self) -> Vec<Exception> {
        let mut found: Vec<Exception> = Vec::new();
        for exception in self.obstacles.iter().filter_map(|obstacle| obstacle.exception) {
            if !found.contains(&exception) {
                found.push(exception);
            }
        }
        found
    }
}

/// How the drain would go with these flags.
pub(super) async fn rehearse(
    node: &str,
    drain: &DrainSettings,
    settings: &RemediateSettings,
    cluster: &Arc<Cluster>,
) -> DrainPlan {
    if settings.skip_drain {
        return DrainPlan::default();
    }
    let asks_server = settings.dry_run != DryRun::Client;
    let options = DrainOptions { asks_server, ..options(drain, settings) };
    let plan = match drain::rehearse(cluster, node, &options).await {
        Ok(plan) => plan,
        Err(error) => return DrainPlan { obstacles: vec![not_rehearsed(&error)], ..DrainPlan::default() },
    };
    let mut warnings = plan.warnings();
    warnings.extend(plan.unreachable.then(|| Warning::from(drain::unreachable(node))));
    if drain.disable_eviction {
        let text = "--disable-eviction: pods are deleted, disruption budgets ignored";
        warnings.push(Warning::from(text.to_owned()));
    }
    let is_overridden = |refusal: &Refusal| {
        refusal.gate.parse::<Gate>().is_ok_and(|gate| settings.overridden.contains(&gate))
    };
    let (overridden, refusals): (Vec<_>, Vec<_>) = plan.refusals().into_iter().partition(is_overridden);
    DrainPlan {
        rehearsed: asks_server,
        obstacles: refusals.into_iter().map(obstacle).collect(),
        overridden: overridden.into_iter().filter_map(lifted).collect(),
        warnings,
        pods: plan.pods.iter().map(|planned| pod(planned, drain)).collect(),
    }
}

/// A refusal that is none, as gates tell it.
fn lifted(refusal: Refusal) -> Option<gates::Refusal> {
    let gate = refusal.gate.parse().ok()?;
    Some(gates::Refusal { gate, reason: refusal.text, hint: Some(refusal.hint), can_be_overridden: true })
}

/// What could not be looked at now would fail in the middle.
fn not_rehearsed(error: &Error) -> Obstacle {
    let mut lines = error.lines();
    let reason = lines.next().unwrap_or_default();
    let hint = lines.next().map(|hint| hint.trim_start_matches("hint: ").to_owned());
    Obstacle { name: "not-rehearsed", reason, hint, exception: None, pods: None }
}

fn obstacle(refusal: Refusal) -> Obstacle {
    let exceptions = [Exception::IgnoreDaemonsets, Exception::DeleteEmptydirData, Exception::Force];
    let (flag, pods) = refusal.consent.unzip();
    let exception = exceptions.into_iter().find(|exception| flag == Some(exception.flag()));
    Obstacle { name: refusal.gate, reason: refusal.text, hint: Some(refusal.hint), exception, pods }
}

fn pod(planned: &PlannedPod, drain: &DrainSettings) -> PodPlan {
    let PlannedPod { pod, needs, verdict, budgets, rehearsed, returns } = planned;
    let own_grace = pod.grace_seconds;
    let grace = drain.grace_period.map(i64::from).or(own_grace);
    let blocked: Vec<&str> = planned.blocked().map(Blocked::gate).collect();
    let (action, reason) = match verdict {
        _ if !blocked.is_empty() => (PodAction::Blocked, blocked.join(", ")),
        Verdict::Evict(_) => {
            let action = if drain.disable_eviction { PodAction::Delete } else { PodAction::Evict };
            (action, answer(rehearsed.as_ref(), *returns))
        }
        Verdict::Skip(skip) => (PodAction::Skip, skip.reason().to_owned()),
        Verdict::Blocked(blocked) => (PodAction::Blocked, blocked.gate().to_owned()),
    };
    PodPlan {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        owner: pod.owner.as_ref().map(|owner| format!("{}/{}", owner.kind, owner.name)),
        action,
        reason,
        budget: budgets.first().map(|budget| BudgetPlan {
            name: budget.name.clone(),
            disruptions_allowed: budget.allowed,
            current_healthy: budget.healthy,
            desired_healthy: budget.desired,
        }),
        grace_period_seconds: if matches!(verdict, Verdict::Evict(_)) { grace } else { own_grace },
        empty_dir: !pod.empty_dirs.is_empty(),
        needs_consent: !needs.is_empty() && !matches!(verdict, Verdict::Blocked(_)),
    }
}

/// What the server said to an eviction, in a word or two: its sentence is a warning of its own.
fn answer(answer: Option<&Answer>, returns: bool) -> String {
    match answer {
        None | Some(Answer::Accepted) if returns => "may come back: evicted twice at most".to_owned(),
        None | Some(Answer::Accepted) => String::new(),
        Some(Answer::Gone) => "gone already".to_owned(),
        Some(Answer::NamespaceEnds) => "its namespace is being deleted".to_owned(),
        Some(Answer::Budget { .. }) => "its budget does not allow it now".to_owned(),
        Some(Answer::Refused { .. }) => "would be refused".to_owned(),
        Some(Answer::Denied { by, .. }) => format!("denied now by {by}"),
        Some(Answer::Transient { .. }) => "not rehearsed".to_owned(),
        Some(Answer::NotRehearsed(why) | Answer::Conflict(why)) => format!("not rehearsed: {why}"),
        Some(Answer::Throttled { .. }) => "not rehearsed: the server takes no more requests now".to_owned(),
    }
}

/// As the drain takes them.
pub(super) fn options(drain: &DrainSettings, settings: &RemediateSettings) -> DrainOptions {
    DrainOptions {
        policy: Policy {
            ignore_daemonsets: drain.ignore_daemonsets,
            delete_emptydir_data: drain.delete_emptydir_data,
            force: drain.force,
            skip_wait_for_delete: drain
                .skip_wait_for_delete
                .map_or(0, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX)),
        },
        grace_period: drain.grace_period,
        timeout: drain.timeout,
        pod_selector: drain.pod_selector.clone(),
        helper_namespace: settings.reboot.helper_namespace.clone(),
        disable_eviction: drain.disable_eviction,
        chunk_size: drain.chunk_size,
        max_concurrent_evictions: drain.max_concurrent_evictions,
        ..DrainOptions::default()
    }
}
