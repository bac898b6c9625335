//! One Alertmanager, API v2: is it up for long enough, does it know the receiver, what fires.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny};

use super::list::{Each, annotations, null_is_default};
use super::request::{Requests, shown};
use super::{Asked, Heard};
use crate::core::alert::{Alert, Labels};
use crate::core::source::{Answer, Failure, FailureReason};

/// Two clusters are several.
const MAX_CLUSTERS: usize = 8;

/// Asks in order, over one connection: several answers are then of the same process.
pub(super) async fn fetch(
    requests: &Requests<'_>,
    receiver: &str,
    asked: &Asked<'_>,
) -> Result<Heard, Failure> {
    let mut heard = Heard::default();
    let mut answer = Answer::default();
    match requests.get::<Status>(&requests.url("api/v2/status")).await {
        Ok((answered_at, status)) => {
            heard.peers = status.cluster.and_then(|cluster| cluster.peers).map(|peers| peers.len());
            if let Some(uptime) = status.uptime {
                super::warm_up(&mut answer, uptime, answered_at, asked.warmup);
            }
        }
        Err(error) if error.status.is_some_and(|status| status == 403 || status == 404) => {}
        Err(error) => return Err(error.into()),
    }
    check_receiver(requests, receiver).await?;
    if let Some(name) = asked.canary {
        let clusters = canaries(requests, name, asked.cluster_label).await?;
        answer.canary = Some(!clusters.is_empty());
        answer.clusters = clusters.into_iter().flatten().collect();
    }
    let mut url = requests.url("api/v2/alerts");
    url.query_pairs_mut()
        // It is a regular expression there, anchored; operators generate names like ns/name/receiver.
        .append_pair("receiver", &quote_meta(receiver))
        .extend_pairs(asked.filters.iter().map(|filter| ("filter", filter.to_string())));
    let keep_annotations = asked.keep_annotations;
    let each = Each::new(move |alert: GettableAlert| Some(alert.into_alert(keep_annotations)));
    answer.alerts = requests.get_by(&url, each).await?.1;
    heard.answer = answer;
    Ok(heard)
}

/// The alerts of an answer that is here already.
pub(crate) fn parse(answer: &[u8]) -> Result<Vec<Alert>, serde_json::Error> {
    let each = Each::new(|alert: GettableAlert| Some(alert.into_alert(true)));
    each.deserialize(&mut serde_json::Deserializer::from_reader(answer))
}

async fn check_receiver(requests: &Requests<'_>, name: &str) -> Result<(), Failure> {
    let (_, receivers): (_, Vec<Receiver>) = requests.get(&requests.url("api/v2/receivers")).await?;
    if receivers.iter().any(|receiver| receiver.name == name) {
        return Ok(());
    }
    let mut known: Vec<String> = receivers.iter().map(|receiver| format!("{:?}", receiver.name)).collect();
    known.truncate(20);
    Err(Failure {
        reason: FailureReason::ReceiverMissing,
        is_misconfigured: true,
        what: format!("{} has no receiver {name:?}; nothing was written", requests.member()),
        hints: vec![format!("its receivers are: {}", known.join(", "))],
    })
}

/// The clusters whose dead man's switch fires, `None` for one that does not say: asked for without receiver and filter, since
/// it is about the whole chain. Its name is looked at: something between us may lose the query, and answer with all alerts.
///
/// A silenced one counts: it proves as well that alerts arrive, and people silence it, alone or with everything in a
/// maintenance, so that it does not page. Resolved alerts are never listed.
async fn canaries(
    requests: &Requests<'_>,
    name: &str,
    cluster_label: &str,
) -> Result<Vec<Option<String>>, Failure> {
    let value = name.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    let mut url = requests.url("api/v2/alerts");
    url.query_pairs_mut().append_pair("filter", &format!(r#"alertname="{value}""#));
    let (name, cluster_label) = (name.to_owned(), cluster_label.to_owned());
    let mut known = BTreeSet::new();
    let each = Each::new(move |canary: Labelled| {
        let is_one = canary.labels.get("alertname") == Some(&*name);
        let cluster = canary.labels.get(&cluster_label).filter(|value| !value.is_empty()).map(str::to_owned);
        (is_one && known.len() < MAX_CLUSTERS && known.insert(cluster.clone())).then_some(cluster)
    });
    Ok(requests.get_by(&url, each).await?.1)
}

impl Requests<'_> {
    /// The member as an error names it.
    fn member(&self) -> String {
        let url = shown(&self.base);
        if url.trim_end_matches('/') == self.name.trim_end_matches('/') { url } else { self.name.to_owned() }
    }
}

/// A regular expression that matches `text` alone; the name is Go's, whose dialect it is.
fn quote_meta(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

/// `uptime` is the time of the start (`alertmanager/api/v2/api.go`).
#[derive(Deserialize)]
struct Status {
    #[serde(deserialize_with = "null_is_default")]
    uptime: Option<Timestamp>,
    cluster: Option<Cluster>,
}

/// Without clustering there are no peers; with it, they include the one that answers.
#[derive(Deserialize)]
struct Cluster {
    peers: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct Labelled {
    #[serde(deserialize_with = "null_is_default")]
    labels: Labels,
}

#[derive(Deserialize)]
struct Receiver {
    name: String,
}

/// Every field but the labels may be missing, and all may be null, as some proxies and relatives write them: 0.25 has no `mutedBy`, 0.34 has fields that nobody here knows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GettableAlert {
    #[serde(deserialize_with = "null_is_default")]
    labels: Labels,
    annotations: Option<Labels>,
    starts_at: Option<String>,
    updated_at: Option<String>,
    status: Option<AlertStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertStatus {
    silenced_by: Option<Vec<IgnoredAny>>,
    inhibited_by: Option<Vec<IgnoredAny>>,
}

impl GettableAlert {
    fn into_alert(self, keep_annotations: bool) -> Alert {
        let has_some = |list: Option<Vec<IgnoredAny>>| list.is_some_and(|list| !list.is_empty());
        let status = self.status.unwrap_or_default();
        Alert {
            labels: self.labels,
            annotations: annotations(self.annotations.unwrap_or_default(), keep_annotations),
            starts_at: self.starts_at.and_then(|text| text.parse().ok()),
            updated_at: self.updated_at.and_then(|text| text.parse().ok()),
            silenced: has_some(status.silenced_by),
            inhibited: has_some(status.inhibited_by),
            pending: false,
        }
    }
}
