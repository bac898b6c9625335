//! One Alertmanager, API v2: is it up for long enough, does it know the receiver, what fires.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny};

use super::list::{Each, annotations};
use super::own_config;
use super::request::{Answered, Requests, shown};
use super::{Asked, Heard};
use crate::core::alert::{Alert, Labels};
use crate::core::matcher::Matcher;
use crate::core::null::null_is_default;
use crate::core::source::{Answer, Failure, FailureReason, cluster_of_canary};

/// More clusters do not share an Alertmanager.
const MAX_CLUSTERS: usize = 1_000;

/// Asks in order, over one connection: several answers are then of the same process.
pub(super) async fn fetch(
    requests: &Requests<'_>,
    receiver: &str,
    asked: &Asked<'_>,
) -> Result<Heard, Failure> {
    let mut heard = Heard::default();
    let mut answer = Answer::default();
    let mut routed = None;
    match requests.get::<Option<Status>>(&requests.url("api/v2/status")).await {
        Ok(Answered { value: status, at, .. }) => {
            let Status { uptime, cluster, config } = status.unwrap_or_default();
            let config = config.and_then(|config| config.original);
            routed = config.and_then(|text| own_config::routed(&text));
            heard.peers = cluster.and_then(|cluster| cluster.peers).map(|peers| peers.len());
            if let Some(uptime) = uptime {
                super::warm_up(&mut answer, uptime, at, asked.warmup);
            }
        }
        Err(error) if error.status.is_some_and(|status| status == 403 || status == 404) => {}
        Err(error) => return Err(error.into()),
    }
    check_receiver(requests, receiver).await?;
    if let Some(name) = asked.canary {
        let clusters = canaries(requests, name, asked.cluster_label).await?;
        answer.canary = Some(!clusters.is_empty());
        answer.clusters = clusters.into_iter().collect();
    }
    let mut url = requests.url("api/v2/alerts");
    url.query_pairs_mut()
        // It is a regular expression there, anchored; operators generate names like ns/name/receiver.
        .append_pair("receiver", &quote_meta(receiver))
        .extend_pairs(asked.filters.iter().map(|filter| ("filter", filter.to_string())));
    let keep_annotations = asked.keep_annotations;
    let question = Question::new(receiver, asked.filters);
    let each = Each::within(asked.room.clone(), move |alert: GettableAlert| {
        Some(question.check(alert, keep_annotations))
    });
    let Answered { value: listed, by, .. } = requests.get_by(&url, each).await?;
    answer.alerts = listed.into_iter().collect::<Result<_, _>>().map_err(|other: String| Failure {
        reason: FailureReason::Parse,
        is_misconfigured: true,
        what: format!(
            "{} lists alerts that were not asked for, such as {other:?}: the query of the URL was lost",
            by.unwrap_or_else(|| requests.member())
        ),
        hints: vec!["is there a proxy or a cache in between that ignores what follows the '?'".to_owned()],
    })?;
    if answer.alerts.is_empty() && routed.is_some_and(|routed| !routed.contains(receiver)) {
        answer
            .warnings
            .push(format!("no route names the receiver {receiver:?}, so no alert ever reaches it"));
    }
    heard.answer = answer;
    Ok(heard)
}

/// The alerts of an answer that is here already.
pub(crate) fn parse(answer: &[u8]) -> Result<Vec<Alert>, serde_json::Error> {
    let each = Each::new(|alert: GettableAlert| Some(alert.into_alert(true)));
    each.deserialize(&mut serde_json::Deserializer::from_reader(answer))
}

async fn check_receiver(requests: &Requests<'_>, name: &str) -> Result<(), Failure> {
    let each = Each::new(|receiver: Receiver| receiver.name);
    let Answered { value: receivers, by, .. } =
        requests.get_by(&requests.url("api/v2/receivers"), each).await?;
    if receivers.iter().any(|receiver| receiver == name) {
        return Ok(());
    }
    let member = by.unwrap_or_else(|| requests.member());
    let known: Vec<String> = receivers.iter().take(20).map(|receiver| format!("{receiver:?}")).collect();
    Err(Failure {
        reason: FailureReason::ReceiverMissing,
        is_misconfigured: true,
        what: format!("{member} has no receiver {name:?}; nothing was written"),
        hints: vec![format!("its receivers are: {}", known.join(", "))],
    })
}

/// The clusters whose dead man's switch fires, as [`cluster_of_canary`] has them: asked for without receiver and filter, since it
/// is about the whole chain.
///
/// A silenced one counts: it proves as well that alerts arrive, and people silence it, alone or with everything in a
/// maintenance, so that it does not page. Resolved alerts are never listed.
async fn canaries(requests: &Requests<'_>, name: &str, cluster_label: &str) -> Result<Vec<String>, Failure> {
    let mut url = requests.url("api/v2/alerts");
    url.query_pairs_mut().append_pair("filter", &Matcher::equal("alertname", name).to_string());
    let (name, cluster_label) = (name.to_owned(), cluster_label.to_owned());
    let mut known = BTreeSet::new();
    let each = Each::new(move |canary: Labelled| {
        let cluster = cluster_of_canary(&canary.labels, &name, &cluster_label)?.to_owned();
        (known.len() < MAX_CLUSTERS && known.insert(cluster.clone())).then_some(cluster)
    });
    Ok(requests.get_by(&url, each).await?.value)
}

/// What the list of alerts was asked for, as far as both sides surely read it alike.
#[derive(Clone)]
struct Question {
    receiver: String,
    filters: Vec<Matcher>,
}

impl Question {
    fn new(receiver: &str, filters: &[Matcher]) -> Self {
        // Regular expressions are of two dialects.
        let filters = filters.iter().filter(|filter| !filter.is_regex()).cloned().collect();
        Self { receiver: receiver.to_owned(), filters }
    }

    /// The name of one that was not asked for is the error: it may be another cluster's, and about no node.
    fn check(&self, listed: GettableAlert, keep_annotations: bool) -> Result<Alert, String> {
        let is_received = |receivers: &Vec<Option<Receiver>>| {
            receivers.iter().flatten().any(|receiver| receiver.name.as_ref() == Some(&self.receiver))
        };
        let is_received = listed.receivers.as_ref().is_none_or(is_received);
        let alert = listed.into_alert(keep_annotations);
        if is_received && self.filters.iter().all(|filter| filter.matches(&alert)) {
            return Ok(alert);
        }
        Err(alert.label("alertname").unwrap_or_default().to_owned())
    }
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
#[derive(Default, Deserialize)]
struct Status {
    uptime: Option<Timestamp>,
    cluster: Option<Cluster>,
    config: Option<Config>,
}

/// As it is in force.
#[derive(Deserialize)]
struct Config {
    original: Option<String>,
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
    name: Option<String>,
}

/// Every field but the labels may be missing, and all may be null, as some proxies and relatives write them: 0.25 has no
/// `mutedBy`, 0.34 has fields that nobody here knows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GettableAlert {
    #[serde(deserialize_with = "null_is_default")]
    labels: Labels,
    annotations: Option<Labels>,
    starts_at: Option<String>,
    updated_at: Option<String>,
    status: Option<AlertStatus>,
    receivers: Option<Vec<Option<Receiver>>>,
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
