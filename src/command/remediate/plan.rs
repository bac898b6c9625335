//! What would be done with a node, as a person or a program reads it before anything is changed.

use jiff::Timestamp;
use serde::Serialize;

use super::drain_plan::{DrainPlan, PodPlan};
use super::preflight::Preflight;
use crate::cli::Tier;
use crate::cluster::{RemediatedNode, SpeltCondition};
use crate::command::render;
use crate::core::gates::Refusal;
use crate::core::node::TRUE;
use crate::core::remediation::{Method, Reason, State};
use crate::core::report::human_duration;
use crate::remedy::drain::Warning;
use crate::remedy::reboot::command::CommandOptions;
use crate::remedy::reboot::{Reboot as Way, helper};
use crate::settings::RemediateSettings;
use crate::ui::{Cell, Table, Ui};

/// `kind: RemediationPlan`; its schema is `schemas/remediation-plan.json`.
#[derive(Serialize)]
struct Document<'p> {
    items: Vec<Item<'p>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'p> {
    node: &'p str,
    steps: Vec<&'static str>,
    /// Where diagnostics come from beside the API server.
    collects: Vec<&'static str>,
    reasons: &'p [Reason],
    roles: Vec<&'p str>,
    ready: bool,
    unschedulable: bool,
    /// The field managers that own the cordon.
    cordoned_by: &'p [String],
    stays_cordoned: bool,
    os_image: &'p str,
    kernel_version: &'p str,
    kubelet_version: &'p str,
    reboot: Reboot<'p>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify_command: Option<Vec<String>>,
    drain: &'p DrainPlan,
    /// Where the alerts that caused the run have to be gone at its end.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    alerts_gone_at: &'p [String],
    /// The matchers of the silence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silence: Vec<String>,
    refusals: Vec<Refused>,
    /// The gates that would refuse if they were not overridden.
    overridden: Vec<&'static str>,
    missing_permissions: &'p [String],
    warnings: Vec<&'p str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reboot<'p> {
    method: Method,
    /// The machine is asked for its boot id and its uptime before anything is changed.
    probed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    /// Where ssh connects to.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'p str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refused {
    name: &'static str,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// What lifts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<String>,
    /// The pods that a person may let go.
    #[serde(skip)]
    consent: Option<String>,
}

/// The plans as the result.
pub(super) fn print_all(all: &[Preflight], settings: &RemediateSettings, ui: &Ui) {
    if let Some(format) = settings.output {
        let items = all.iter().map(|found| Item::new(found, settings)).collect();
        ui.document(&render::document("RemediationPlan", &Document { items }, format));
        return;
    }
    for (place, found) in all.iter().enumerate() {
        if place > 0 {
            ui.result("");
        }
        let warn = |line: &str| ui.result(&format!("Warning: {line}"));
        write(found, settings, false, &|line| ui.result(line), &warn, &|table| ui.table(table, true));
    }
}

/// The plan for the person who is asked next.
pub(super) fn show(found: &Preflight, settings: &RemediateSettings, ui: &Ui) {
    let warn = |line: &str| ui.warning(line);
    let asks = !settings.yes && ui.can_ask();
    write(found, settings, asks, &|line| ui.note(line), &warn, &|table| ui.table_note(table));
}

/// How the drain goes with what the person has allowed since `before`.
pub(super) fn show_drain(found: &Preflight, before: &DrainPlan, ui: &Ui) {
    ui.table_note(&pods(&found.drain.pods, true));
    for warning in found.drain.warnings.iter().filter(|warning| !before.warnings.contains(warning)) {
        say_warning(warning.parts(), &|line| ui.warning(line), &|line| ui.note(line));
    }
    say_refusals(refusals(found), true, &|line| ui.note(line));
}

impl<'p> Item<'p> {
    fn new(found: &'p Preflight, settings: &'p RemediateSettings) -> Self {
        let node = &found.node;
        Self {
            node: &node.name,
            steps: steps(found, settings),
            collects: [Tier::Kubelet, Tier::Host]
                .into_iter()
                .filter(|tier| settings.collects(*tier))
                .map(Tier::name)
                .collect(),
            reasons: &found.reasons,
            roles: roles(node),
            ready: node.ready().is_some_and(|ready| ready.status == TRUE),
            unschedulable: node.view.unschedulable,
            cordoned_by: if node.view.unschedulable { &node.cordoned_by } else { &[] },
            stays_cordoned: stays_cordoned(found, settings),
            os_image: &node.info.os_image,
            kernel_version: &node.info.kernel_version,
            kubelet_version: &node.info.kubelet_version,
            reboot: Reboot::new(found, settings),
            verify_command: found.verify_command.as_ref().map(CommandOptions::masked),
            drain: &found.drain,
            alerts_gone_at: &found.alerts.verified_at,
            silence: found.alerts.silence.iter().map(ToString::to_string).collect(),
            refusals: refusals(found),
            overridden: found.lifted().map(|refusal| refusal.gate.name()).collect(),
            missing_permissions: &found.permissions.missing,
            warnings: warnings(found).into_iter().map(|(text, _)| text).collect(),
        }
    }
}

impl<'p> Reboot<'p> {
    fn new(found: &'p Preflight, settings: &'p RemediateSettings) -> Self {
        let reboot = &settings.reboot;
        let by_pod = reboot.method.uses_pod();
        Self {
            method: reboot.method,
            probed: reboot.method.is_guarded(),
            image: by_pod.then_some(reboot.helper_image.as_str()),
            namespace: by_pod.then_some(reboot.helper_namespace.as_str()),
            command: found.command().map(CommandOptions::masked),
            address: match &found.reboot {
                Some(Way::Ssh(ssh)) => Some(&ssh.address.text),
                _ => None,
            },
        }
    }
}

/// What is still to be done.
fn steps(found: &Preflight, settings: &RemediateSettings) -> Vec<&'static str> {
    let all = [
        ("cordon", State::Cordoning, false),
        ("collect", State::Collecting, settings.skip_collect),
        ("drain", State::Draining, settings.skip_drain),
        ("reboot", State::RebootIntent, false),
        ("wait for the boot", State::WaitBoot, found.ahead.takes_down()),
        ("verify", State::Verifying, false),
        ("uncordon", State::Uncordoning, settings.keep_cordon),
        ("undo", State::Aborted, found.ahead.from != State::Aborted),
    ];
    let is_ahead = |state: State| {
        let last = if state == State::RebootIntent { State::WaitBoot } else { state };
        state >= found.ahead.from && settings.until.is_none_or(|until| last <= until)
    };
    all.into_iter()
        .filter(|(_, state, skipped)| !skipped && is_ahead(*state))
        .map(|(name, ..)| name)
        .collect()
}

fn stays_cordoned(found: &Preflight, settings: &RemediateSettings) -> bool {
    let node = &found.node.view;
    let is_anothers = node.unschedulable && !found.ahead.has_cordoned;
    is_anothers || node.keep_cordoned || settings.keep_cordon || settings.until.is_some()
}

fn roles(node: &RemediatedNode) -> Vec<&str> {
    let roles = node.labels.keys().filter_map(|label| label.strip_prefix("node-role.kubernetes.io/"));
    roles.filter(|role| !role.is_empty()).collect()
}

pub(super) fn refusals(found: &Preflight) -> Vec<Refused> {
    let of_gate =
        |refusal: &'_ Refusal| refusal.can_be_overridden.then(|| format!("--override {}", refusal.gate));
    let gates = found.refusals.iter().map(|refusal| Refused {
        name: refusal.gate.name(),
        reason: refusal.reason.clone(),
        hint: refusal.hint.clone(),
        flag: of_gate(refusal),
        consent: None,
    });
    let others = found.unusable.iter().chain(&found.drain.obstacles).map(|obstacle| Refused {
        name: obstacle.name,
        reason: obstacle.reason.clone(),
        hint: obstacle.hint.clone(),
        flag: obstacle.flag(),
        consent: obstacle.pods.clone(),
    });
    gates.chain(others).collect()
}

/// Each with the next command, if there is one.
fn warnings(found: &Preflight) -> Vec<(&str, Option<&str>)> {
    let plain = found.alerts.warnings.iter().chain(found.permissions.unknown.iter());
    let plain = plain.map(|text| (text.as_str(), None));
    found
        .warnings
        .iter()
        .map(Warning::parts)
        .chain(plain)
        .chain(found.drain.warnings.iter().map(Warning::parts))
        .collect()
}

fn say_warning((text, hint): (&str, Option<&str>), warn: &dyn Fn(&str), say: &dyn Fn(&str)) {
    warn(text);
    if let Some(hint) = hint {
        say(&format!("  hint: {hint}"));
    }
}

/// `asks`: a person is asked next.
fn write(
    found: &Preflight,
    settings: &RemediateSettings,
    asks: bool,
    say: &dyn Fn(&str),
    warn: &dyn Fn(&str),
    show: &dyn Fn(&Table),
) {
    let node = &found.node;
    let now = Timestamp::now();
    say(&format!("node/{}: {}", node.name, steps(found, settings).join(", ")));
    let fact = |name: &str, what: &str| say(&format!("  {name:<9} {what}"));
    match found.reasons.split_first() {
        None => fact("why:", "nothing fires"),
        Some((first, others)) => {
            fact("why:", &reason(first, node, now));
            for other in others {
                fact("", &reason(other, node, now));
            }
        }
    }
    let roles = roles(node);
    fact("roles:", &if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") });
    fact("state:", &state(node, now));
    fact("cordon:", &cordon(found, settings));
    fact(
        "system:",
        &[&*node.info.os_image, &node.info.kernel_version, &node.info.kubelet_version].join(", "),
    );
    if found.ahead.takes_down() {
        fact("reboot:", &reboot(found, settings));
    }
    if let Some(command) = &found.verify_command {
        fact("verify:", &format!("also by `{}`, until it exits with 0", command.shown()));
    }
    if !found.alerts.verified_at.is_empty() {
        fact("alerts:", &format!("have to be gone at {}", found.alerts.verified_at.join(", ")));
    }
    if let Some((first, _)) = found.alerts.silence.split_first() {
        fact("silence:", &format!("what has {first}, until the end of the run"));
    }
    let tiers = [
        (Tier::Kubelet, "what its kubelet serves".to_owned()),
        (Tier::Host, format!("what a privileged pod in {} sees on it", settings.reboot.helper_namespace)),
    ];
    let collects = tiers.into_iter().filter(|(tier, _)| settings.collects(*tier)).map(|(_, what)| what);
    let collects = collects.collect::<Vec<_>>().join(", and ");
    if !collects.is_empty() {
        fact("collect:", &format!("also {collects}"));
    }
    if !found.drain.pods.is_empty() {
        say("");
        show(&pods(&found.drain.pods, asks));
    }
    for warning in warnings(found) {
        say_warning(warning, warn, say);
    }
    for missed in &found.permissions.missed {
        warn(&format!("you may not {missed}; the run does without"));
    }
    for refusal in found.lifted() {
        say(&format!("overridden: {refusal}"));
    }
    say_refusals(refusals(found), asks, say);
    for missing in &found.permissions.missing {
        say(&format!("refused: permissions: you may not {missing}"));
    }
}

fn say_refusals(refusals: Vec<Refused>, asks: bool, say: &dyn Fn(&str)) {
    for Refused { name, reason, hint, consent, .. } in refusals {
        if let Some(pods) = consent.filter(|_| asks) {
            say(&format!("needs consent: {name}: {pods}"));
            continue;
        }
        say(&format!("refused: {name}: {reason}"));
        if let Some(hint) = hint {
            say(&format!("  hint: {hint}"));
        }
    }
}

fn reason(reason: &Reason, node: &RemediatedNode, now: Timestamp) -> String {
    let message = node.condition(&reason.condition_type).map_or("", |condition| condition.message.as_str());
    let message = message.lines().next().unwrap_or_default();
    let since =
        reason.last_transition.map(|time| format!(" for {}", human_duration(now.duration_since(time))));
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{}{}{message}", reason.condition_type, since.unwrap_or_default())
}

fn state(node: &RemediatedNode, now: Timestamp) -> String {
    let Some(ready) = node.ready() else { return "it has no condition Ready".to_owned() };
    let state = if ready.status == TRUE { "Ready" } else { "NotReady" };
    let since =
        |condition: &SpeltCondition| condition.last_transition_time.as_ref()?.parse::<Timestamp>().ok();
    match since(ready) {
        Some(time) => format!("{state} for {}", human_duration(now.duration_since(time))),
        None => state.to_owned(),
    }
}

fn cordon(found: &Preflight, settings: &RemediateSettings) -> String {
    let node = &found.node;
    let by = match &*node.cordoned_by {
        [] => String::new(),
        managers => format!(" by {}", managers.join(", ")),
    };
    let stays = stays_cordoned(found, settings);
    match (node.view.unschedulable, found.ahead.has_cordoned) {
        (true, true) if stays => "cordoned by this remediation, and stays so".to_owned(),
        (true, true) => "cordoned by this remediation, and uncordoned at the end".to_owned(),
        (true, false) => format!("already cordoned{by}: will stay cordoned"),
        (false, true) => "was cordoned by this remediation; it is not any more".to_owned(),
        (false, false) if stays => "will be cordoned, and stay so".to_owned(),
        (false, false) => "will be cordoned, and uncordoned at the end".to_owned(),
    }
}

fn reboot(found: &Preflight, settings: &RemediateSettings) -> String {
    let Reboot { method, image, namespace, address, .. } = Reboot::new(found, settings);
    match method {
        Method::Pod | Method::Signal => format!(
            "by {}a pod on it ({} in {}); the machine is probed first",
            if method == Method::Signal { "a signal to its systemd, from " } else { "" },
            helper::shown(image.unwrap_or_default()),
            namespace.unwrap_or_default()
        ),
        Method::Ssh => {
            let from = match settings.reboot.known_addresses {
                Some(_) => "the address file",
                None => settings.reboot.address_type.name(),
            };
            let address = address.unwrap_or("an address that it lacks");
            format!("over ssh to {address} ({from}); the machine is probed first")
        }
        Method::Command => match found.command() {
            Some(command) => format!("by `{}`, once; machine not probed", command.shown()),
            None => "by a command; machine not probed".to_owned(),
        },
        Method::Manual => "by you, when you are asked to; machine not probed".to_owned(),
    }
}

fn pods(pods: &[PodPlan], asks: bool) -> Table {
    let headers = [
        "NAMESPACE",
        "POD",
        "OWNER",
        "ACTION",
        "BUDGET",
        "ALLOWED",
        "HEALTHY",
        "GRACE",
        "EMPTYDIR",
        "REASON",
    ];
    let mut table = Table::new(&headers.map(String::from));
    for pod in pods {
        let or_dash = |text: Option<String>| Cell::new(text.as_deref().unwrap_or("-"));
        let budget = pod.budget.as_ref();
        table.push(vec![
            Cell::new(&pod.namespace),
            Cell::new(&pod.name),
            or_dash(pod.owner.clone()),
            Cell::new(if asks && pod.needs_consent { "ask" } else { pod.action.name() }),
            or_dash(budget.map(|budget| budget.name.clone())),
            or_dash(budget.map(|budget| budget.disruptions_allowed.to_string())),
            or_dash(budget.map(|budget| format!("{}/{}", budget.current_healthy, budget.desired_healthy))),
            or_dash(pod.grace_period_seconds.map(|seconds| format!("{seconds}s"))),
            or_dash(pod.empty_dir.then(|| "yes".to_owned())),
            Cell::new(&pod.reason),
        ]);
    }
    table
}
