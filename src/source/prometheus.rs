//! One Prometheus, or what has its API v1: Thanos, Mimir, vmalert, `VictoriaMetrics`.
//!
//! `/api/v1/alerts` takes no parameters, so everything comes and the filters are applied here, alert by alert.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::list::{Each, annotations};
use super::request::{Answered, Requests};
use super::{Asked, Heard};
use crate::core::alert::{Alert, Labels};
use crate::core::matcher::Matcher;
use crate::core::null::null_is_default;
use crate::core::source::{Answer, Failure, FailureReason, cluster_of_canary};

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
        Err(error) if error.status.is_some_and(|status| status.is_client_error() && status != 429) => {}
        Err(error) if error.failure.reason == FailureReason::Parse => {}
        Err(error) => return Err(error.into()),
    }
    let url = requests.url("api/v1/alerts");
    let Answered { value: list, by, .. } = requests.get_by(&url, ListSeed::new(asked)).await?;
    let by = by.unwrap_or_else(|| url.to_string());
    if list.status.as_deref() != Some("success") {
        let status = list.status.unwrap_or_else(|| "none".into());
        let text = list.error.map(|text| format!(": {}", requests.redacted(&text))).unwrap_or_default();
        return Err(Failure {
            reason: FailureReason::Parse,
            is_misconfigured: false,
            what: format!("{by} answered with the status {status:?}{text}"),
            hints: vec![format!("curl -v {url}")],
        });
    }
    let Some(alerts) = list.alerts else {
        return Err(Failure {
            reason: FailureReason::Parse,
            is_misconfigured: true,
            what: format!("{by} answered without a list of alerts"),
            hints: vec!["is this the URL of a Prometheus, or of what has its API v1?".into()],
        });
    };
    answer.alerts = alerts;
    answer.warnings = list.warnings.iter().map(|text| requests.redacted(text)).collect();
    if list.has_unknown_state {
        answer.warnings.push("alerts in a state that is neither firing nor pending".into());
    }
    answer.canary = asked.canary.map(|_| list.has_canary);
    answer.clusters = list.clusters;
    for info in list.infos {
        tracing::info!("{url} says: {}", requests.redacted(&info));
    }
    heard.answer = answer;
    Ok(heard)
}

/// The alerts of an answer that is here already.
pub(crate) fn parse(answer: &[u8]) -> Result<Vec<Alert>, serde_json::Error> {
    let seed = ListSeed {
        filters: Arc::default(),
        canary: Some("Watchdog".into()),
        cluster_label: "cluster".into(),
        keep_annotations: true,
    };
    let list = seed.deserialize(&mut serde_json::Deserializer::from_reader(answer))?;
    Ok(list.alerts.unwrap_or_default())
}

#[derive(Deserialize)]
struct RuntimeInfo {
    data: Option<StartTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartTime {
    start_time: Option<Timestamp>,
}

/// Every field but the labels may be missing; others than Prometheus have more of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAlert {
    #[serde(deserialize_with = "null_is_default")]
    labels: Labels,
    annotations: Option<Labels>,
    state: Option<String>,
    active_at: Option<String>,
}

/// The envelope, and of its alerts those that pass.
#[derive(Default)]
struct List {
    status: Option<String>,
    error: Option<String>,
    warnings: Vec<String>,
    infos: Vec<String>,
    alerts: Option<Vec<Alert>>,
    has_canary: bool,
    /// Of the canary.
    clusters: BTreeSet<String>,
    has_unknown_state: bool,
}

#[derive(Clone)]
struct ListSeed {
    filters: Arc<[Matcher]>,
    canary: Option<Arc<str>>,
    cluster_label: Arc<str>,
    keep_annotations: bool,
}

impl ListSeed {
    fn new(asked: &Asked<'_>) -> Self {
        Self {
            filters: asked.filters.into(),
            canary: asked.canary.map(Into::into),
            cluster_label: asked.cluster_label.into(),
            keep_annotations: asked.keep_annotations,
        }
    }

    fn take(&self, raw: RawAlert, list: &mut List) -> Option<Alert> {
        let pending = match raw.state.as_deref() {
            Some("firing") | None => false,
            Some("pending") => true,
            Some("inactive") => return None,
            Some(_) => {
                // It may be one that fires: what it is not must not be concluded.
                list.has_unknown_state = true;
                return None;
            }
        };
        let canary = self.canary.as_ref().filter(|_| !pending);
        if let Some(cluster) =
            canary.and_then(|name| cluster_of_canary(&raw.labels, name, &self.cluster_label))
        {
            list.has_canary = true;
            list.clusters.insert(cluster.to_owned());
        }
        let mut alert = Alert { labels: raw.labels, pending, ..Alert::default() };
        if !self.filters.iter().all(|filter| filter.matches(&alert)) {
            return None;
        }
        alert.annotations = annotations(raw.annotations.unwrap_or_default(), self.keep_annotations);
        // The start of pending, not of firing: the API has no other.
        alert.starts_at = raw.active_at.and_then(|text| text.parse().ok());
        Some(alert)
    }
}

impl<'de> DeserializeSeed<'de> for ListSeed {
    type Value = List;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<List, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ListSeed {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of Prometheus' API")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<List, A::Error> {
        let mut list = List::default();
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "status" => list.status = fields.next_value()?,
                "error" => list.error = fields.next_value()?,
                "warnings" => list.warnings = fields.next_value_seed(Each::new(Some::<String>))?,
                "infos" => list.infos = fields.next_value_seed(Each::new(Some::<String>))?,
                "data" => fields.next_value_seed(Data { seed: &self, list: &mut list })?,
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(list)
    }
}

/// The field `data`, whose field `alerts` is the list.
struct Data<'s> {
    seed: &'s ListSeed,
    list: &'s mut List,
}

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Data<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with alerts")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(field) = fields.next_key::<String>()? {
            if field == "alerts" {
                let each = Each::new(|raw: RawAlert| self.seed.take(raw, self.list));
                let alerts = fields.next_value_seed(each)?;
                self.list.alerts = Some(alerts);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
