//! Alertmanagers.

use std::time::Duration;

use jiff::Timestamp;
use sandbox::{Alertmanager, Route};
use serde_json::{Value, json};

/// An Alertmanager that a scenario runs on.
struct Am {
    name: &'static str,
    url: String,
    /// The value of a label that all alerts of this run have.
    run: String,
    _double: Option<Alertmanager>,
}

impl Am {
    async fn all(scenario: &str) -> Vec<Self> {
        _ = rustls::crypto::ring::default_provider().install_default();
        let run = format!("{scenario}-{}", std::process::id());
        let double = Alertmanager::start().await;
        let mut all =
            vec![Self { name: "sandbox", url: double.url(), run: run.clone(), _double: Some(double) }];
        if let (Some(_), Ok(url)) =
            (std::env::var_os("SCIURO_CLUSTER_DIR"), std::env::var("ALERTMANAGER_URL"))
        {
            all.push(Self { name: "real", url, run, _double: None });
        }
        all
    }

    async fn request(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method.parse().unwrap(), format!("{}/api/v2{path}", self.url));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    async fn post(&self, alerts: Value) -> (u16, Value) {
        let mut alerts = alerts;
        for alert in alerts.as_array_mut().unwrap() {
            alert["labels"]["run"] = self.run.clone().into();
        }
        self.request("POST", "/alerts", &alerts).await
    }

    /// The alerts of this run that a query finds.
    async fn get(&self, query: &str) -> Vec<Value> {
        let ours = format!("filter=run%3D%22{}%22", self.run);
        let (code, answer) = self.request("GET", &format!("/alerts?{ours}&{query}"), &Value::Null).await;
        assert_eq!(code, 200, "{}: {query}: {answer}", self.name);
        answer.as_array().unwrap().clone()
    }

    /// The values of one of their labels, sorted.
    async fn labels(&self, label: &str, query: &str) -> String {
        let alerts = self.get(query).await;
        let mut labels: Vec<_> =
            alerts.iter().map(|alert| alert["labels"][label].as_str().unwrap_or("-").to_owned()).collect();
        labels.sort();
        labels.join(" ")
    }
}

#[tokio::test]
async fn alerts_are_filtered_and_routed() {
    for am in Am::all("filter").await {
        let (code, answer) = am
            .post(json!([
                {"labels": {"alertname": "A", "node": "w1", "notify": "node-condition-k8s"}, "annotations": {"summary": "s"}},
                {"labels": {"alertname": "B", "node": "w2", "notify": "chat-k8s node-condition-k8s", "empty": ""}},
                {"labels": {"alertname": "C", "notify": "chat-node-condition-k8s"}},
                {"labels": {"node": "w1"}},
            ]))
            .await;
        assert_eq!((code, answer), (200, Value::Null), "{}", am.name);

        for (query, expected) in [
            ("", "- A B C"),
            ("receiver=node-condition-k8s", "A B"),
            ("receiver=default", "- C"),
            ("receiver=node-cond", ""),
            ("receiver=node.*", "A B"),
            ("receiver=", "- A B C"),
            ("receiver=unknown", ""),
            ("filter=node%3D%22w1%22", "- A"),
            ("filter=node%3Dw1&filter=alertname%3D%22A%22", "A"),
            ("filter=node%3D~%22w.%22", "- A B"),
            ("filter=node%3D~%22w%22", ""),
            ("filter=node!%3D%22w1%22", "B C"),
            ("filter=node!~%22w.*%22", "C"),
            ("filter=alertname%3D%22%22", "-"),
            ("active=false", ""),
            ("silenced=false&inhibited=false&active=true&unprocessed=false", "- A B C"),
        ] {
            assert_eq!(am.labels("alertname", query).await, expected, "{}: {query}", am.name);
        }
        for query in
            ["receiver=(", "filter=%7B%7D", "filter=x", "filter=node%3D~%22(%22", "filter=node%3D%22w1"]
        {
            let (code, answer) = am.request("GET", &format!("/alerts?{query}"), &Value::Null).await;
            assert_eq!((code, answer.is_string()), (400, true), "{}: {query}: {answer}", am.name);
        }

        let alert = &am.get("filter=alertname%3D%22A%22").await[0];
        assert_eq!(
            alert["status"],
            json!({"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []})
        );
        assert_eq!(alert["receivers"], json!([{"name": "node-condition-k8s"}]));
        assert_eq!(alert["annotations"], json!({"summary": "s"}));
        for time in ["startsAt", "endsAt", "updatedAt"] {
            assert!(alert[time].as_str().unwrap().parse::<Timestamp>().is_ok());
        }
        let fingerprints: Vec<_> =
            am.get("").await.iter().map(|alert| alert["fingerprint"].clone()).collect();
        assert!(fingerprints.is_sorted_by_key(Value::to_string), "{}: {fingerprints:?}", am.name);
    }
}

#[tokio::test]
async fn fingerprints_are_the_same_everywhere() {
    let mut seen = Vec::new();
    for am in Am::all("fingerprint").await {
        am.post(json!([{"labels": {"alertname": "Größe", "b": "2", "a": "1"}}])).await;
        seen.push(am.get("").await[0]["fingerprint"].clone());
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:?}");
}

#[tokio::test]
async fn resolved_alerts_and_refused_ones() {
    for am in Am::all("resolved").await {
        let labels = json!({"alertname": "A"});
        am.post(json!([{"labels": labels}])).await;
        assert_eq!(am.labels("alertname", "").await, "A", "{}", am.name);
        let now = Timestamp::now();
        let ended = json!([{"labels": labels, "startsAt": now - Duration::from_secs(60), "endsAt": now}]);
        am.post(ended).await;
        assert_eq!(am.labels("alertname", "").await, "", "{}", am.name);

        let wrong =
            json!({"labels": {"alertname": "W"}, "startsAt": now, "endsAt": now - Duration::from_secs(1)});
        let (code, answer) = am.post(json!([wrong, {"labels": {"alertname": "R"}}])).await;
        assert_eq!((code, answer), (400, json!("start time must be before end time")), "{}", am.name);
        assert_eq!(am.labels("alertname", "").await, "R", "{}: what is right is taken", am.name);
        let (code, answer) = am.request("POST", "/alerts", &json!([{"labels": {"empty": ""}}])).await;
        assert_eq!((code, answer), (400, json!("at least one label pair required")), "{}", am.name);
    }
}

#[tokio::test]
async fn silences_suppress() {
    for am in Am::all("silence").await {
        am.post(json!([{"labels": {"alertname": "A"}}, {"labels": {"alertname": "B"}}])).await;
        let now = Timestamp::now();
        let silence = json!({
            "matchers": [
                {"name": "run", "value": am.run, "isRegex": false, "isEqual": true},
                {"name": "alertname", "value": "A|X", "isRegex": true, "isEqual": true},
            ],
            "startsAt": now, "endsAt": now + Duration::from_secs(600), "createdBy": "test", "comment": "c",
        });
        let (code, answer) = am.request("POST", "/silences", &silence).await;
        assert_eq!(code, 200, "{}: {answer}", am.name);
        let id = answer["silenceID"].as_str().unwrap();
        assert_eq!(am.labels("alertname", "").await, "A B", "{}", am.name);
        assert_eq!(am.labels("alertname", "silenced=false").await, "B", "{}", am.name);
        assert_eq!(am.labels("alertname", "active=false").await, "A", "{}", am.name);
        let alert = &am.get("filter=alertname%3DA").await[0];
        assert_eq!(
            (&alert["status"]["state"], &alert["status"]["silencedBy"]),
            (&json!("suppressed"), &json!([id]))
        );

        assert_eq!(
            am.request("GET", &format!("/silence/{id}"), &Value::Null).await.1["status"]["state"],
            "active"
        );
        assert_eq!(am.request("DELETE", &format!("/silence/{id}"), &Value::Null).await.0, 200);
        assert_eq!(am.labels("alertname", "silenced=false").await, "A B", "{}", am.name);
        let gone = am.request("GET", "/silence/11111111-1111-4111-8111-111111111111", &Value::Null).await.0;
        assert_eq!(gone, 404, "{}", am.name);
    }
}

#[tokio::test]
async fn its_own_status() {
    for am in Am::all("own").await {
        let (_, status) = am.request("GET", "/status", &Value::Null).await;
        assert!(
            status["uptime"].as_str().unwrap().parse::<Timestamp>().unwrap() < Timestamp::now(),
            "{}",
            am.name
        );
        assert_eq!(status["cluster"]["status"], "disabled", "{}: {status}", am.name);
        assert_eq!(status["cluster"]["peers"], json!([]));
        assert!(status["config"]["original"].as_str().unwrap().contains("node-condition-k8s"));
        assert!(status["versionInfo"]["version"].is_string());
        let (_, receivers) = am.request("GET", "/receivers", &Value::Null).await;
        assert_eq!(receivers, json!([{"name": "default"}, {"name": "node-condition-k8s"}]), "{}", am.name);
    }
}

#[tokio::test]
async fn what_a_test_sets_is_served_as_it_is() {
    let double = Alertmanager::start().await;
    let am = Am { name: "sandbox", url: double.url(), run: String::new(), _double: None };
    let old = json!({"labels": {"alertname": "Old"}, "fingerprint": "b", "receivers": [{"name": "default"}],
        "status": {"state": "suppressed", "silencedBy": [], "inhibitedBy": ["x"]}});
    let new =
        json!({"labels": {"notify": "node-condition-k8s"}, "fingerprint": "a", "routeLabels": {"x": "y"}});
    double.set_alerts(vec![old.clone(), new.clone()]);
    let get = async |query: &str| am.request("GET", &format!("/alerts?{query}"), &Value::Null).await.1;
    assert_eq!(get("").await, json!([new, old]));
    assert_eq!(get("inhibited=false").await, json!([new]));
    assert_eq!(get("receiver=default").await, json!([old]));
    assert_eq!(get("receiver=node-condition-k8s").await, json!([new]));

    double.set_peers(2);
    double.set_started("2020-03-18T13:17:58Z".parse().unwrap());
    let (_, status) = am.request("GET", "/status", &Value::Null).await;
    assert_eq!(
        (&status["cluster"]["status"], &status["uptime"]),
        (&json!("ready"), &json!("2020-03-18T13:17:58.000Z"))
    );
    assert_eq!(status["cluster"]["peers"].as_array().unwrap().len(), 2);

    double.clear();
    double.set_receivers(["one", "two"]);
    let route = |label: &str, proceed| Route {
        label: label.into(),
        pattern: "1".into(),
        receiver: "two".into(),
        proceed,
    };
    double.set_routes(vec![route("x", true), Route { receiver: "one".into(), ..route("y", false) }]);
    double.fire(&[("alertname", "A"), ("x", "1"), ("y", "1")], &[("summary", "s")]);
    assert_eq!(get("").await[0]["receivers"], json!([{"name": "two"}, {"name": "one"}]));
    double.silence("alertname", "A");
    assert_eq!(get("silenced=false").await, json!([]));
    double.resolve(&[("alertname", "A")]);
    assert_eq!(get("").await, json!([]));
}

#[tokio::test]
async fn prefix_and_credentials() {
    let double = Alertmanager::start().await;
    let root = double.url();
    double.set_prefix("/alertmanager/");
    double.require_basic("user", "secret");
    assert_eq!(double.url(), format!("{root}/alertmanager"));
    let client = || {
        _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().unwrap()
    };
    let code = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    let ready = format!("{}/-/ready", double.url());
    assert_eq!(code(client().get(&ready)).await, 401);
    assert_eq!(code(client().get(&ready).basic_auth("user", Some("wrong"))).await, 401);
    assert_eq!(code(client().get(&ready).basic_auth("user", Some("secret"))).await, 200);
    double.require_bearer("token");
    assert_eq!(code(client().get(&ready).bearer_auth("token")).await, 200);
    assert_eq!(code(client().get(format!("{root}/-/ready")).bearer_auth("token")).await, 404);
    assert_eq!(double.requests()[2].header("authorization"), "Basic dXNlcjpzZWNyZXQ=");
}
