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
use crate::core::alert::Alert;
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
    if !list.unseen.is_empty() {
        explain_absence(requests, asked, &list.unseen, &mut answer).await;
    }
    answer.canary = asked.canary.map(|_| list.has_canary);
    answer.clusters = list.clusters;
    for info in list.infos {
        tracing::info!("{url} says: {}", requests.redacted(&info));
    }
    heard.answer = answer;
    Ok(heard)
}

/// The rules with their alerts in one answer, so that both are of the same moment. Who does not serve that, because of its age
/// or of a proxy in between, is asked for the alerts alone.
async fn list(requests: &Requests<'_>, asked: &Asked<'_>) -> Result<(Url, List), Failure> {
    let mut url = requests.url("api/v1/rules");
    url.set_query(Some("type=alert"));
    match requests.get_by(&url, Reader::new(asked)).await {
        Ok(answered) if answered.value.unevaluated.is_some() || !answered.value.is_success() => {
            return checked(requests, url, answered);
        }
        Ok(_) => {}
        Err(error) if is_not_served(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let url = requests.url("api/v1/alerts");
    let answered = requests.get_by(&url, Reader::new(asked)).await?;
    checked(requests, url, answered)
}

fn checked(requests: &Requests<'_>, url: Url, answered: Answered<List>) -> Result<(Url, List), Failure> {
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
            what: format!("{by} answered without a list of alerts"),
            hints: vec!["is this the URL of a Prometheus, or of what has its API v1?".into()],
        });
    }
    Ok((url, list))
}

/// Labels are asked for that none of its alerts and rules has. If they are those that it adds to what it sends to an Alertmanager,
/// its API never has them. Who does not say which these are is no worse for it.
async fn explain_absence(
    requests: &Requests<'_>,
    asked: &Asked<'_>,
    unseen: &BTreeSet<String>,
    answer: &mut Answer,
) {
    let config = requests.get::<Config>(&requests.url("api/v1/status/config")).await.ok();
    let text = config.and_then(|config| config.value.data?.yaml);
    let external: BTreeMap<_, _> =
        text.and_then(|text| own_config::external_labels(&text)).unwrap_or_default();
    let external = external.into_iter().filter(|(name, _)| unseen.contains(name));
    let sent = Alert { labels: external.collect(), ..Alert::default() };
    for (name, _) in sent.labels.iter() {
        let what = format!("{name} is one of its external labels, which its API leaves out");
        let of_name = asked.filters.iter().filter(|filter| filter.name == name && !filter.takes_absent());
        // One that means another value means labels of its series.
        for filter in of_name.filter(|filter| filter.matches(&sent)) {
            answer.warnings.push(format!("{what}: --filter {filter} lets no alert through"));
        }
        if asked.expression_labels.contains(name) {
            answer.notes.push(format!("{what}: --match-expr does not find it"));
        }
    }
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
