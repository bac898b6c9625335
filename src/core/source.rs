//! What the alert sources said, and how far it can be trusted together (spec §6.3).
//!
//! Sources form groups: the members of a group are replicas of each other, groups hold different alerts.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::alert::{Alert, Labels};
use super::condition::SourceState;

/// The dead man's switch that kube-prometheus and the Prometheus Operator's charts come with.
pub const WATCHDOG: &str = "Watchdog";

/// The members of one group, each with what it said.
#[derive(Debug)]
pub struct Group {
    pub members: Vec<Member>,
    /// The members say that there are more of them than were asked: what those know is missing.
    pub has_unasked_members: bool,
}

#[derive(Debug)]
pub struct Member {
    /// Its URL without credentials, or `svc://…` with the pod's name.
    pub name: String,
    /// How long it took to answer, or to fail.
    pub took: Duration,
    pub answer: Result<Answer, Failure>,
}

/// What a member answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub alerts: Vec<Alert>,
    /// Set while it has been up too briefly for its silence to be believed.
    pub warming: Option<Warming>,
    /// Warnings beside the list: something is missing from it (a Thanos with partial responses).
    pub warnings: Vec<String>,
    /// Whether the canary fires there, whoever's it is; `None` if it was not asked for.
    pub canary: Option<bool>,
    /// The values of the cluster label on the alerts that are the canary: each cluster has its own. Without the label: empty.
    pub clusters: BTreeSet<String>,
    /// When it started, by our clock.
    pub started: Option<Timestamp>,
    /// Alert names of rules that it could not evaluate, and why: what it does not list of them may fire nevertheless. `None`
    /// if it does not say.
    pub unevaluated: Option<BTreeMap<String, String>>,
    /// What a person should know of it, said after its name, and what does not lessen how far it is believed.
    pub notes: Vec<String>,
}

impl Answer {
    /// Whether the canary fires there for this cluster: another's proves nothing about our rules. One without the label is
    /// taken for ours, and so is any while it is not known which cluster this is.
    pub fn sees_canary(&self, own: Option<&str>) -> Option<bool> {
        let is_ours = |cluster: &String| cluster.is_empty() || own.is_none_or(|own| own == cluster);
        self.canary.map(|fires| fires && (self.clusters.is_empty() || self.clusters.iter().any(is_ours)))
    }
}

/// Whether these are labels of the canary `name`, and of which cluster it is: empty if it does not say. Asking for it by name
/// is not enough: what is between us may lose the query, and answer with all alerts.
pub fn cluster_of_canary<'l>(labels: &'l Labels, name: &str, cluster_label: &str) -> Option<&'l str> {
    (labels.get("alertname") == Some(name)).then(|| labels.get(cluster_label).unwrap_or_default())
}

/// A source that started a short while ago: what it lists fires, what it does not list may not have reached it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warming {
    pub up_for: SignedDuration,
    /// When, by our clock, its silence will be believed.
    pub until: Timestamp,
}

/// Why a member gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: FailureReason,
    /// It is there but not what it was said to be: asking again will not help.
    pub is_misconfigured: bool,
    /// What failed and why, in lower case, without credentials.
    pub what: String,
    /// The next thing to try.
    pub hints: Vec<String>,
}

/// The label `reason` of `sciuro_source_fetch_errors_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    Timeout,
    Http,
    Parse,
    Warnings,
    ReceiverMissing,
    CanaryMissing,
    TooLarge,
}

impl FailureReason {
    /// As the metric spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Http => "http",
            Self::Parse => "parse",
            Self::Warnings => "warnings",
            Self::ReceiverMissing => "receiver_missing",
            Self::CanaryMissing => "canary_missing",
            Self::TooLarge => "too_large",
        }
    }
}

/// The alert that always fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canary {
    /// [`WATCHDOG`], once a full round saw it in every group.
    Auto,
    Named(String),
    None,
}

impl Canary {
    /// What the members are to be asked for.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Auto => Some(WATCHDOG),
            Self::Named(name) => Some(name),
            Self::None => None,
        }
    }
}

/// How far a member is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// What it does not list does not fire.
    Ok,
    /// What it lists fires; of the rest it knows nothing yet.
    Warming(Warming),
    /// What it lists fires; something is missing, it says itself.
    Warned(Vec<String>),
    Failed(Failure),
}

impl Verdict {
    /// Why its silence is not believed, unless it only started a short while ago.
    pub fn failure_reason(&self) -> Option<FailureReason> {
        match self {
            Self::Ok | Self::Warming(_) => None,
            Self::Warned(_) => Some(FailureReason::Warnings),
            Self::Failed(failure) => Some(failure.reason),
        }
    }
}

/// A member and what is made of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedMember {
    pub name: String,
    pub verdict: Verdict,
    pub took: Duration,
    /// How many alerts it lists.
    pub alerts: usize,
    /// How many of them are pending.
    pub pending: usize,
    pub started: Option<Timestamp>,
    /// See [`Answer`].
    pub unevaluated: Option<BTreeMap<String, String>>,
    /// See [`Answer`].
    pub notes: Vec<String>,
}

/// How far the sources can be trusted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    pub state: SourceState,
    /// Each group's members, in the order given.
    pub groups: Vec<Vec<JudgedMember>>,
    /// The canary fires in every group.
    pub sees_canary: bool,
    /// There are members that were not asked.
    pub has_unasked_members: bool,
}

impl Trust {
    pub fn members(&self) -> impl Iterator<Item = &JudgedMember> {
        self.groups.iter().flatten()
    }

    pub fn failures(&self) -> impl Iterator<Item = (&str, &Failure)> {
        self.members().filter_map(|member| match &member.verdict {
            Verdict::Failed(failure) => Some((member.name.as_str(), failure)),
            _ => None,
        })
    }

    /// The alert names that nothing can be concluded from if they are not listed: of each a member that says so, and why.
    pub fn unevaluated(&self) -> BTreeMap<&str, (&JudgedMember, &str)> {
        self.groups.iter().flat_map(|group| unevaluated(group)).collect()
    }

    /// Nothing is wrong but that some started a short while ago.
    pub fn is_only_warming(&self) -> bool {
        let is_warming = |group: &Vec<JudgedMember>| {
            !group.is_empty() && group.iter().all(|member| matches!(member.verdict, Verdict::Warming(_)))
        };
        self.state == SourceState::Partial
            && self.groups.iter().all(|group| group_state(group) == SourceState::Full || is_warming(group))
    }
}

/// The alerts of all sources, and what to think of them.
#[derive(Debug)]
pub struct Gathered {
    pub alerts: Vec<Alert>,
    /// The clusters whose canary fires somewhere.
    pub watchdogs: BTreeSet<String>,
    pub trust: Trust,
}

/// Judges each answer and unites those that are believed (spec §6.2.3, §6.3). `canary_was_seen` is what earlier
/// rounds remember of [`WATCHDOG`], `own` this cluster's value of the cluster label, if it is known.
pub fn gather(groups: Vec<Group>, canary: &Canary, canary_was_seen: bool, own: Option<&str>) -> Gathered {
    let required = match canary {
        Canary::Auto => canary_was_seen.then_some(WATCHDOG),
        Canary::Named(name) => Some(name.as_str()),
        Canary::None => None,
    };
    let mut alerts = Vec::new();
    let mut watchdogs = BTreeSet::new();
    let mut trust = Trust {
        state: SourceState::Down,
        sees_canary: !groups.is_empty(),
        has_unasked_members: groups.iter().any(|group| group.has_unasked_members),
        groups: Vec::with_capacity(groups.len()),
    };
    for group in groups {
        let mut united = Union::default();
        let mut sees_canary = false;
        let members = group.members.into_iter().map(|member| {
            let clusters = member.answer.iter().flat_map(|answer| &answer.clusters);
            watchdogs.extend(clusters.filter(|cluster| !cluster.is_empty()).cloned());
            let is_seen = member.answer.as_ref().is_ok_and(|answer| answer.sees_canary(own) == Some(true));
            let (judged, answered) = judge(member, required, own);
            sees_canary |= is_seen && judged.verdict == Verdict::Ok;
            for alert in answered {
                united.add(alert);
            }
            judged
        });
        trust.groups.push(members.collect());
        trust.sees_canary &= sees_canary;
        alerts.append(&mut united.alerts);
    }
    let states: Vec<SourceState> = trust.groups.iter().map(|group| group_state(group)).collect();
    let are_all = |state| states.iter().all(|other| *other == state);
    trust.state = if are_all(SourceState::Down) {
        SourceState::Down // no group at all is no source
    } else if are_all(SourceState::Full) {
        SourceState::Full
    } else {
        SourceState::Partial
    };
    Gathered { alerts, watchdogs, trust }
}

/// The verdict, and the alerts that count.
fn judge(member: Member, required: Option<&str>, own: Option<&str>) -> (JudgedMember, Vec<Alert>) {
    let Member { name, took, answer } = member;
    let answer = answer.and_then(|answer| match required {
        Some(canary) if answer.sees_canary(own) != Some(true) => {
            Err(canary_missing(&name, canary, own, &answer.clusters))
        }
        _ => Ok(answer),
    });
    let (verdict, Answer { alerts, started, unevaluated, notes, .. }) = match answer {
        Err(failure) => (Verdict::Failed(failure), Answer::default()),
        Ok(mut answer) => {
            let warnings = std::mem::take(&mut answer.warnings);
            let verdict = match answer.warming {
                _ if !warnings.is_empty() => Verdict::Warned(warnings),
                Some(warming) => Verdict::Warming(warming),
                None => Verdict::Ok,
            };
            (verdict, answer)
        }
    };
    let pending = alerts.iter().filter(|alert| alert.pending).count();
    let count = alerts.len();
    (JudgedMember { name, verdict, took, alerts: count, pending, started, unevaluated, notes }, alerts)
}

fn canary_missing(member: &str, canary: &str, own: Option<&str>, others: &BTreeSet<String>) -> Failure {
    let whose = own.filter(|_| !others.is_empty()).map(|own| format!(" for the cluster {own:?}"));
    let whose = whose.unwrap_or_default();
    let others: Vec<String> = others.iter().take(3).map(|cluster| format!("{cluster:?}")).collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(" (it does for other clusters: {})", others.join(", "))
    };
    Failure {
        reason: FailureReason::CanaryMissing,
        is_misconfigured: false,
        what: format!("the alert {canary} does not fire at {member}{whose}, though it always should{others}"),
        hints: vec![
            "does its Prometheus reach it? what it does not list may fire nevertheless".to_owned(),
            format!("--require-alert '' does without {canary}"),
        ],
    }
}

fn group_state(members: &[JudgedMember]) -> SourceState {
    members.iter().fold(SourceState::Down, |state, member| match (state, &member.verdict) {
        (SourceState::Full, _) | (_, Verdict::Ok) => SourceState::Full,
        (state, Verdict::Failed(_)) => state,
        (_, Verdict::Warming(_) | Verdict::Warned(_)) => SourceState::Partial,
    })
}

/// What no member of the group that is believed has evaluated. One that does not say is no evidence against another that does.
fn unevaluated(group: &[JudgedMember]) -> impl Iterator<Item = (&str, (&JudgedMember, &str))> {
    let saying = || {
        let believed = group.iter().filter(|member| member.verdict == Verdict::Ok);
        believed.filter_map(|member| Some((member, member.unevaluated.as_ref()?)))
    };
    let all = saying().flat_map(|(member, rules)| {
        rules.iter().map(move |(name, why)| (name.as_str(), (member, why.as_str())))
    });
    all.filter(move |(name, _)| saying().all(|(_, rules)| rules.contains_key(*name)))
}

/// The alerts of one group, each once.
#[derive(Default)]
struct Union {
    alerts: Vec<Alert>,
    /// Fingerprint → place. They are no secret hash: whoever writes labels can make two sets collide, so the labels
    /// decide, and of colliding sets only the first is recognised.
    places: HashMap<u64, usize>,
}

impl Union {
    fn add(&mut self, alert: Alert) {
        match self.places.entry(alert.fingerprint()) {
            Entry::Vacant(free) => {
                free.insert(self.alerts.len());
                self.alerts.push(alert);
            }
            Entry::Occupied(known) => {
                let known = &mut self.alerts[*known.get()];
                if known.labels == alert.labels {
                    merge(known, alert);
                } else {
                    self.alerts.push(alert);
                }
            }
        }
    }
}

/// What any replica knows is known, whatever the order in which they are heard. An alert that fires for one of them
/// fires; so a silence or an inhibiting alert that one of them has applies, too: a replica without it has missed it.
fn merge(known: &mut Alert, other: Alert) {
    let starts = [known.starts_at, other.starts_at].into_iter().flatten().min();
    // The newest description; of equally new ones any, but always the same.
    let is_newer = other.updated_at.cmp(&known.updated_at);
    if is_newer.then_with(|| known.annotations.cmp(&other.annotations)).is_gt() {
        known.annotations = other.annotations;
    }
    known.starts_at = starts;
    known.updated_at = known.updated_at.max(other.updated_at);
    known.silenced |= other.silenced;
    known.inhibited |= other.inhibited;
    known.pending &= other.pending;
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
