//! Alerts and silences as the sources give them, for people who look into a failure later.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::list::{Each, read};
use super::{Prepared, Sources};
use crate::core::alert::{Alert, Labels};
use crate::core::source::Failure;
use crate::settings::SourceApi;

/// What one member gave.
#[derive(Debug)]
pub struct Raw {
    pub member: String,
    pub alerts: Vec<Value>,
    /// Those that silence one of these alerts.
    pub silences: Vec<Value>,
}

impl Sources {
    /// The alerts that `keep` lets through, whoever receives them, of each member or why there are none.
    pub async fn raw(
        &self,
        keep: impl Fn(&Alert) -> bool + Clone + Send + 'static,
    ) -> Vec<Result<Raw, Failure>> {
        let members = self.members().await;
        let asked = members.into_iter().map(|(api, member)| {
            let keep = keep.clone();
            async move {
                match api {
                    SourceApi::Alertmanager { .. } => of_alertmanager(&member?, keep).await,
                    SourceApi::Prometheus => of_prometheus(&member?, keep).await,
                }
            }
        });
        futures::future::join_all(asked).await
    }
}

/// As text until it is known to be kept: a value takes many times the memory of its text.
fn kept(text: &RawValue, keep: &impl Fn(&Alert) -> bool) -> Option<Value> {
    #[derive(Deserialize)]
    struct Labelled {
        labels: Labels,
    }
    let Labelled { labels } = read(text)?;
    keep(&Alert { labels, ..Alert::default() }).then(|| read(text)).flatten()
}

async fn of_alertmanager(
    member: &Prepared,
    keep: impl Fn(&Alert) -> bool + Clone + Send + 'static,
) -> Result<Raw, Failure> {
    let requests = member.requests();
    let each = Each::new(move |alert: Box<RawValue>| kept(&alert, &keep));
    let alerts = requests.get_by(&requests.url("api/v2/alerts"), each).await?.value;
    let silenced_by: Vec<String> = alerts
        .iter()
        .filter_map(|alert| alert["status"]["silencedBy"].as_array())
        .flatten()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    let silences = if silenced_by.is_empty() {
        Vec::new()
    } else {
        let each = Each::new(move |silence: Box<RawValue>| {
            let silence: Value = read(&silence)?;
            let is_one = silence["id"].as_str().is_some_and(|id| silenced_by.iter().any(|other| other == id));
            is_one.then_some(silence)
        });
        requests.get_by(&requests.url("api/v2/silences"), each).await?.value
    };
    Ok(Raw { member: member.name.clone(), alerts, silences })
}

async fn of_prometheus(
    member: &Prepared,
    keep: impl Fn(&Alert) -> bool + Clone + Send + 'static,
) -> Result<Raw, Failure> {
    let requests = member.requests();
    let answer: Answer = requests.get(&requests.url("api/v1/alerts")).await?.value;
    let alerts = answer.data.alerts.0.iter().filter_map(|alert| kept(alert, &keep)).collect();
    Ok(Raw { member: member.name.clone(), alerts, silences: Vec::new() })
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    alerts: Texts,
}

struct Texts(Vec<Box<RawValue>>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Each::new(Some::<Box<RawValue>>).deserialize(deserializer).map(Self)
    }
}
