//! Silences of an Alertmanager, API v2. Its peers tell each other of them: one that answers is enough.

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::list::{Each, read};
use super::request::Answered;
use super::{Prepared, Sources, configuration_failure};
use crate::core::silence::Silence;
use crate::core::source::{Failure, FailureReason};
use crate::error::Error;
use crate::settings::SourceApi;

/// The silences that are asked for, and the time by the Alertmanager's clock.
#[derive(Debug)]
pub struct Silences {
    pub found: Vec<Silence>,
    pub now: Timestamp,
}

impl Sources {
    /// Those that `keep` lets through.
    pub async fn silences(
        &self,
        keep: impl Fn(&Silence) -> bool + Clone + Send + 'static,
    ) -> Result<Silences, Failure> {
        let mut failed = nobody();
        for member in self.alertmanagers().await {
            let asked = async {
                let member = member?;
                let requests = member.requests();
                let keep = keep.clone();
                // One that is not as it should be is not ours.
                let each = Each::new(move |text: Box<RawValue>| read(&text).filter(|silence| keep(silence)));
                let Answered { value: found, at: now, .. } =
                    requests.get_by(&requests.url("api/v2/silences"), each).await?;
                Ok(Silences { found, now })
            };
            match asked.await {
                Ok(silences) => return Ok(silences),
                Err(failure) => failed = failure,
            }
        }
        Err(failed)
    }

    /// Creates it, or changes the one of its id; returns its id.
    pub async fn put_silence(&self, silence: &Silence) -> Result<String, Failure> {
        let mut failed = nobody();
        for member in self.alertmanagers().await {
            let asked = async {
                let member = member?;
                let requests = member.requests();
                let url = requests.url("api/v2/silences");
                let body = serde_json::to_vec(silence).unwrap_or_default();
                let receipt = requests.change(Method::POST, &url, body).await?;
                serde_json::from_slice::<Receipt>(&receipt).map(|receipt| receipt.id).map_err(|error| {
                    Failure {
                        reason: FailureReason::Parse,
                        is_misconfigured: false,
                        what: format!("{} does not say what became of the silence: {error}", member.name),
                        hints: Vec::new(),
                    }
                })
            };
            match asked.await {
                Ok(id) => return Ok(id),
                Err(failure) => failed = failure,
            }
        }
        Err(failed)
    }

    pub async fn expire_silence(&self, id: &str) -> Result<(), Failure> {
        let mut failed = nobody();
        for member in self.alertmanagers().await {
            let asked = async {
                let member = member?;
                let requests = member.requests();
                let mut url = requests.url("api/v2/silence");
                if let Ok(mut path) = url.path_segments_mut() {
                    path.push(id);
                }
                requests.change(Method::DELETE, &url, Vec::new()).await.map(drop).map_err(Failure::from)
            };
            match asked.await {
                Ok(()) => return Ok(()),
                Err(failure) => failed = failure,
            }
        }
        Err(failed)
    }

    async fn alertmanagers(&self) -> Vec<Result<Prepared, Failure>> {
        let members = self.members().await.into_iter();
        members
            .filter(|(api, _)| matches!(api, SourceApi::Alertmanager { .. }))
            .map(|(_, member)| member)
            .collect()
    }
}

fn nobody() -> Failure {
    configuration_failure(&Error::usage("there is no Alertmanager to be asked"))
}

#[derive(Deserialize)]
struct Receipt {
    #[serde(rename = "silenceID")]
    id: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{from_value, json, to_value};

    use super::*;
    use crate::core::matching::NODE_LABELS;
    use crate::core::node::Node;

    #[test]
    fn t15_d8_what_is_null_in_a_silence_is_not_there() {
        let ours = Silence::new("w1", "id", "me@here", Vec::new(), Timestamp::UNIX_EPOCH);
        let mut ours = to_value(&ours).unwrap();
        ours["status"] = json!({"state": "active"});
        ours["matchers"] = json!([{"name": "node", "value": "w1", "isRegex": false, "isEqual": true}]);
        let node = Node { name: "w1".to_owned(), ..Node::default() };
        for (name, matcher) in [("id", "isRegex"), ("updatedAt", "isEqual")] {
            let mut json = ours.clone();
            json[name].take();
            json["matchers"][0][matcher].take();
            let silence: Silence = from_value(json).unwrap();
            assert!(silence.is_active() && silence.is_of(&node, "id", &NODE_LABELS.map(String::from)));
        }
        for name in ["createdBy", "comment", "matchers", "status"] {
            let mut json = ours.clone();
            json[name].take();
            let silence: Silence = from_value(json).unwrap();
            let is_ours = silence.is_of(&node, "id", &NODE_LABELS.map(String::from));
            assert!(!(is_ours && silence.is_active()), "{name}");
        }
    }
}
