//! Alerts and silences in the Alertmanager.

use jiff::SignedDuration;
use serde_json::json;

use super::{RECEIVER, World, seconds_ago};

impl World {
    /// Posts an alert that fires, or has ended, for the receiver of nodes.
    pub fn alert(&self, labels: &[(&str, &str)], summary: &str, fires: bool) {
        let mut all = json!({"test": self.id, "notify": RECEIVER});
        for (name, value) in labels {
            all[*name] = (*value).into();
        }
        let ends_at = if fires {
            seconds_ago(SignedDuration::from_hours(-1))
        } else {
            seconds_ago(SignedDuration::ZERO)
        };
        let mut alert =
            json!({"labels": all, "startsAt": seconds_ago(SignedDuration::from_mins(5)), "endsAt": ends_at});
        if !summary.is_empty() {
            alert["annotations"] = json!({"summary": summary});
        }
        let body = serde_json::to_vec(&json!([alert])).expect("JSON");
        self.block_on(async {
            let url = format!("{}/api/v2/alerts", self.alertmanager);
            let posted =
                reqwest::Client::new().post(url).header("content-type", "application/json").body(body);
            posted.send().await.and_then(reqwest::Response::error_for_status).expect("a posted alert");
        });
    }

    /// Silences the alerts with this label for an hour.
    pub fn silence(&self, label: &str, value: &str) {
        self.silence_by(label, value, "test", "maintenance");
    }

    /// The same by somebody, for some reason. Returns its id.
    pub fn silence_by(&self, label: &str, value: &str, creator: &str, comment: &str) -> String {
        let silence = json!({
            "matchers": [{"name": label, "value": value, "isRegex": false, "isEqual": true}],
            "startsAt": seconds_ago(SignedDuration::from_mins(1)),
            "endsAt": seconds_ago(SignedDuration::from_hours(-1)),
            "createdBy": creator, "comment": comment,
        });
        self.block_on(async {
            let url = format!("{}/api/v2/silences", self.alertmanager);
            let posted = reqwest::Client::new()
                .post(url)
                .header("content-type", "application/json")
                .body(silence.to_string());
            let posted = posted.send().await.and_then(reqwest::Response::error_for_status);
            let answer = posted.expect("a posted silence").text().await.expect("an answer");
            let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
            answer["silenceID"].as_str().expect("an id").to_owned()
        })
    }
}
