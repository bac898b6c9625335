//! One Prometheus, or what has its API v1: Thanos, Mimir, vmalert, `VictoriaMetrics`.
//!
//! Its rules have their alerts, and say whether they could be evaluated: an alert that a rule in error does not list may
//! fire. Nothing is filtered there, so everything comes and the filters are applied here, alert by alert.

mod answer;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use self::answer::{List, Reader};
use super::request::{Answered, RequestError, Requests, shown};
use super::{Asked, Heard, own_config};
use crate::core::source::{Answer, Failure, FailureReason};

pub(crate) use answer::parse;

pub(super) async fn fetch(requests: &Requests<'_>, asked: &Asked<'_>) -> Result<Heard, Failure> {
    let mut heard = Heard::default();
    let mut answer = Answer::default();
    match requests.get::<RuntimeInfo>(&requests.url("api/v1/status/runtimeinfo")).await {
        Ok(Answered {
            value: RuntimeInfo { data: Some(StartTime { start_time: Some(start) }) }, at, ..
        }) => {
            super::warm_up(&mut answer, start, at, asked.warmup);
        }
        Ok(_) => {} // it does not say
        // Only Prometheus itself surely has it. Others say 404, 400 (VictoriaMetrics), or show their front page; whether
        // they are what they are said to be, the list of alerts tells.
        Err(error) if is_not_served(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let (url, list) = list(requests, asked).await?;
    answer.unevaluated = list
        .unevaluated
        .map(|rules| rules.into_iter().map(|(name, why)| (name, requests.redacted(&why))).collect());
    answer.alerts = list.alerts;
    answer.warnings = list.warnings.iter().map(|text| requests.redacted(text)).collect();
    if list.has_unknown_state {
        answer.warnings.push("alerts in a state that is neither firing nor pending".into());
    }
    if list.has_more {
        answer.warnings.push("it gave only a part of its rules".into());
    }
    let absent = Absent { unseen: list.unseen, lacked: list.lacked };
    if !(absent.unseen.is_empty() && absent.lacked.is_empty()) {
        explain_absence(requests, asked, &absent, &mut answer).await;
    }
    if answer.unevaluated.is_none() {
        answer.notes.push(
            "does not say which rules it could evaluate: an alert of a failed one counts as ended".into(),
        );
    }
    answer.canary = asked.canary.map(|_| list.has_canary);
    answer.clusters = list.clusters;
    for info in list.infos {
        tracing::info!("{url} says: {}", requests.redacted(&info));
    }
    heard.answer = answer;
    Ok(heard)
}

/// The rules with their alerts in one answer, so that both are of the same moment. Who has no rules there, because of its age or
/// of what it is, is asked for the alerts alone. Who has them and does not show them could hide one that failed.
async fn list(requests: &Requests<'_>, asked: &Asked<'_>) -> Result<(Url, List), Failure> {
    let mut url = requests.url("api/v1/rules");
    url.set_query(Some("type=alert"));
    match requests.get_by(&url, Reader::new(asked)).await {
        Ok(Answered {
            value: List { unevaluated: None, status: Some(status), has_data: true, .. }, ..
        }) if status == "success" => {}
        Ok(answered) => return checked(requests, url, answered, "rules"),
        Err(error) if has_no_such_path(&error) => {}
        Err(mut error) => {
            if error.status.is_some_and(|status| status.is_client_error()) {
                let hint = "the rules are needed: one that could not be evaluated lists no alert";
                error.failure.hints.push(hint.into());
            }
            return Err(error.into());
        }
    }
    let url = requests.url("api/v1/alerts");
    let answered = requests.get_by(&url, Reader::new(asked)).await?;
    checked(requests, url, answered, "alerts")
}

fn checked(
    requests: &Requests<'_>,
    url: Url,
    answered: Answered<List>,
    asked_for: &str,
) -> Result<(Url, List), Failure> {
    let Answered { value: list, by, .. } = answered;
    let by = by.unwrap_or_else(|| shown(&url));
    if !list.is_success() {
        let status = list.status.unwrap_or_else(|| "none".into());
        let text = list.error.map(|text| format!(": {}", requests.redacted(&text))).unwrap_or_default();
        return Err(Failure {
            reason: FailureReason::Parse,
            is_misconfigured: false,
            what: format!("{by} answered with the status {status:?}{text}"),
            hints: vec![format!("curl -v {}", shown(&url))],
        });
    }
    if !list.has_alerts {
        return Err(Failure {
            reason: FailureReason::Parse,
            is_misconfigured: true,
            what: format!("{by} answered without a list of {asked_for}"),
            hints: vec!["is this the URL of a Prometheus, or of what has its API v1?".into()],
        });
    }
    Ok((url, list))
}

/// Labels are asked for that its alerts and rules lack. If they are those that it adds to what it sends to an Alertmanager, its API
/// leaves them out, and what is asked for them finds nothing, whatever the value. Who does not say which these are, is believed
/// once an alert or a rule has the label.
async fn explain_absence(requests: &Requests<'_>, asked: &Asked<'_>, list: &Absent, answer: &mut Answer) {
    const OF_ITS_OWN: &str = "one of its external labels, which its API leaves out";
    let external = external_labels(requests).await;
    let why = |name: &String| {
        match &external {
        Ok(external) => external.contains_key(name).then(|| format!("{name} is {OF_ITS_OWN}")),
        Err(why) => list.unseen.contains(name).then(|| {
            format!("no alert or rule has the label {name}, and whether it is {OF_ITS_OWN}, cannot be read ({why})")
        }),
    }
    };
    for name in list.lacked.union(&list.unseen) {
        let Some(why) = why(name) else { continue };
        let of_name = asked.filters.iter().filter(|filter| filter.name == *name && !filter.takes_absent());
        let effect =
            if list.unseen.contains(name) { "lets no alert" } else { "lets only alerts with their own" };
        answer.warnings.extend(of_name.map(|filter| format!("{why}: --filter {filter} {effect} through")));
        // Other labels that an expression asks for are mostly those of series: absent whenever nothing fires.
        let is_doubted = external.is_ok() || name == asked.cluster_label;
        if asked.expression_labels.contains(name) && is_doubted {
            answer.warnings.push(format!("{why}: --match-expr does not find it"));
        }
    }
}

/// Labels that are asked for.
struct Absent {
    /// None of its alerts and rules has them.
    unseen: BTreeSet<String>,
    /// Some lack them.
    lacked: BTreeSet<String>,
}

async fn external_labels(requests: &Requests<'_>) -> Result<BTreeMap<String, String>, String> {
    let config = requests.get::<Config>(&requests.url("api/v1/status/config")).await;
    let text = config.map_err(|error| error.failure.what)?.value.data.and_then(|data| data.yaml);
    text.and_then(|text| own_config::external_labels(&text)).ok_or_else(|| "it is not shown".to_owned())
}

/// The path is unknown there, as servers say it: 404, and 400 of `VictoriaMetrics`. Anything else may hide the rules that failed.
fn has_no_such_path(error: &RequestError) -> bool {
    error.status.is_some_and(|status| {
        status == 404 || status == 400 && error.failure.what.contains("unsupported path")
    })
}

/// It is not there, or not for us, or something else is there.
fn is_not_served(error: &RequestError) -> bool {
    error.status.is_some_and(|status| status.is_client_error() && status != 429)
        || error.failure.reason == FailureReason::Parse
}

#[derive(Deserialize)]
struct RuntimeInfo {
    data: Option<StartTime>,
}

#[derive(Deserialize)]
struct Config {
    data: Option<ConfigText>,
}

#[derive(Deserialize)]
struct ConfigText {
    yaml: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartTime {
    start_time: Option<Timestamp>,
}
