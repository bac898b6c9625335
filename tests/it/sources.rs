//! What each source answers, member by member. How it is spoken to: `http_config`; through a port-forward: `forwarded`; real servers: `real`.

mod forwarded;
mod http_config;
pub(crate) mod real;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sandbox::{Alertmanager, Prometheus};
use sciuro::core::source::{Answer, Failure, FailureReason, Group};
use sciuro::settings::{Address, Canary, SourceApi, SourceGroup, SourceSettings};
use sciuro::source::{NoCluster, Sources};
use serde_json::json;
use tempfile::TempDir;
use url::Url;

const SECRET: &str = "s3cr3t-hunter2";

/// Sources, and the directory of their configuration.
struct Setup {
    settings: SourceSettings,
    directory: TempDir,
    runtime: tokio::runtime::Runtime,
}

fn alertmanagers(urls: &[&str]) -> SourceGroup {
    group(SourceApi::Alertmanager { receiver: "node-condition-k8s".into() }, urls)
}

fn prometheuses(urls: &[&str]) -> SourceGroup {
    group(SourceApi::Prometheus, urls)
}

fn group(api: SourceApi, urls: &[&str]) -> SourceGroup {
    SourceGroup { api, members: urls.iter().map(|url| Address::Url(Url::parse(url).unwrap())).collect() }
}

impl Setup {
    fn new(groups: Vec<SourceGroup>) -> Self {
        Self {
            settings: SourceSettings {
                groups,
                filters: Vec::new(),
                canary: Canary::None,
                warmup: SignedDuration::from_mins(5),
                timeout: Duration::from_secs(30),
                keep_annotations: false,
                expression_labels: std::collections::BTreeSet::new(),
                cluster_label: "cluster".into(),
                http_config: None,
                via: sciuro::cli::Via::Auto,
            },
            directory: tempfile::tempdir().unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    fn filter(mut self, matcher: &str) -> Self {
        self.settings.filters.push(matcher.parse().unwrap());
        self
    }

    fn http_config(mut self, text: &str) -> Self {
        self.settings.http_config = Some(self.file("http.yaml", text));
        self
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn sources(&self) -> Sources {
        Sources::new(&self.settings, Arc::new(NoCluster)).unwrap()
    }

    fn fetch_by(&self, sources: &Sources, canary: Option<&str>) -> Vec<Group> {
        self.runtime.block_on(sources.fetch(canary))
    }

    fn fetch(&self) -> Vec<Group> {
        self.fetch_by(&self.sources(), None)
    }

    /// What the only member of the only group said.
    fn only(&self) -> Result<Answer, Failure> {
        only(self.fetch())
    }
}

fn only(groups: Vec<Group>) -> Result<Answer, Failure> {
    groups.into_iter().next().unwrap().members.into_iter().next().unwrap().answer
}

fn names(answer: &Answer) -> Vec<&str> {
    answer.alerts.iter().filter_map(|alert| alert.label("alertname")).collect()
}

const NOTIFY: (&str, &str) = ("notify", "node-condition-k8s");

fn firing_alertmanager() -> Alertmanager {
    let am = Alertmanager::start_blocking();
    let annotations = [("summary", "hot"), ("description", "very"), ("runbook", "http://r")];
    am.fire(&[("alertname", "Hot"), ("node", "w1"), NOTIFY], &annotations);
    am
}

#[test]
fn an_alertmanager_is_asked_in_order_over_one_connection() {
    let am = firing_alertmanager();
    am.fire(&[("alertname", "Other"), ("node", "w1")], &[]);
    am.fire(&[("alertname", "Watchdog")], &[]);
    am.set_prefix("/alertmanager/");
    let setup = Setup::new(vec![alertmanagers(&[&am.url()])]).filter(r#"node=~"w.*""#);
    let sources = setup.sources();
    let answer = only(setup.fetch_by(&sources, Some("Watchdog"))).unwrap();
    assert_eq!(names(&answer), ["Hot"]);
    assert_eq!(answer.alerts[0].annotations.len(), 1, "the summary alone");
    assert!(answer.alerts[0].starts_at.is_some());
    assert_eq!((answer.canary, answer.warming), (Some(true), None));
    let up_for = Timestamp::now().duration_since(answer.started.unwrap());
    assert!((up_for - SignedDuration::from_hours(1)).abs() < SignedDuration::from_mins(1), "{up_for}");
    let paths: Vec<String> =
        am.requests().iter().map(|request| format!("{}?{}", request.path, request.query)).collect();
    assert_eq!(
        paths,
        [
            "/alertmanager/api/v2/status?",
            "/alertmanager/api/v2/receivers?",
            "/alertmanager/api/v2/alerts?filter=alertname%3D%22Watchdog%22",
            "/alertmanager/api/v2/alerts?receiver=node-condition-k8s&filter=node%3D%7E%22w.*%22",
        ]
    );
    assert!(am.requests().iter().all(|request| request.user_agent().starts_with("kubectl-sciuro/")));
    assert!(am.requests().iter().all(|request| request.header("accept-encoding").is_empty()));
    am.silence("alertname", "Watchdog");
    let answer = only(setup.fetch_by(&sources, Some("Watchdog"))).unwrap();
    assert_eq!(answer.canary, Some(true), "a silenced one proves as much");
    let answer = only(setup.fetch_by(&sources, Some(r#"Dead "man""#))).unwrap();
    assert_eq!(answer.canary, Some(false));
}

#[test]
fn row_38_a_silence_is_told() {
    let am = firing_alertmanager();
    am.silence("alertname", "Hot");
    let answer = Setup::new(vec![alertmanagers(&[&am.url()])]).only().unwrap();
    assert!(answer.alerts[0].silenced && !answer.alerts[0].inhibited);
}

#[test]
fn row_39_a_young_alertmanager_says_so() {
    let am = Alertmanager::start_blocking();
    am.set_started(Timestamp::now() - SignedDuration::from_mins(1));
    let answer = Setup::new(vec![alertmanagers(&[&am.url()])]).only().unwrap();
    let warming = answer.warming.unwrap();
    assert!((warming.up_for - SignedDuration::from_mins(1)).abs() < SignedDuration::from_secs(30));
    let until = warming.until.duration_since(Timestamp::now());
    assert!((until - SignedDuration::from_mins(4)).abs() < SignedDuration::from_secs(30), "{until}");
}

#[test]
fn row_41_a_receiver_that_is_not_there() {
    let am = Alertmanager::start_blocking();
    am.set_receivers(["default", "ns/name/other"]);
    let failure = Setup::new(vec![alertmanagers(&[&am.url()])]).only().unwrap_err();
    assert_eq!((failure.reason, failure.is_misconfigured), (FailureReason::ReceiverMissing, true));
    assert_eq!(failure.hints, [r#"its receivers are: "default", "ns/name/other""#]);
}

#[test]
fn row_84_peers_that_are_not_asked() {
    let (one, two) = (Alertmanager::start_blocking(), Alertmanager::start_blocking());
    let has_unasked = |urls: &[&str]| Setup::new(vec![alertmanagers(urls)]).fetch()[0].has_unasked_members;
    assert!(!has_unasked(&[&one.url()]), "without a cluster");
    one.set_peers(2);
    two.set_peers(2);
    assert!(has_unasked(&[&one.url()]));
    assert!(!has_unasked(&[&one.url(), &two.url()]));
}

#[test]
fn a_hidden_start_is_no_failure() {
    let am = firing_alertmanager();
    am.faults().on("GET", "/api/v2/status").forbid();
    let prometheus = Prometheus::start_blocking();
    prometheus.hide_start(400);
    for group in Setup::new(vec![alertmanagers(&[&am.url()]), prometheuses(&[&prometheus.url()])]).fetch() {
        let answer = group.members[0].answer.as_ref().unwrap();
        assert_eq!((answer.warming, answer.started), (None, None));
    }
}

#[test]
fn rows_36_37_one_member_fails_and_the_other_answers() {
    let am = firing_alertmanager();
    let broken = Alertmanager::start_blocking();
    let fault = broken.faults().on("GET", "/api/v2/alerts").status(500);
    let groups = Setup::new(vec![alertmanagers(&[&broken.url(), &am.url()])]).fetch();
    let [first, second] = &groups[0].members[..] else { panic!("{groups:?}") };
    assert_eq!(first.answer.as_ref().unwrap_err().reason, FailureReason::Http);
    assert_eq!(names(second.answer.as_ref().unwrap()), ["Hot"]);
    assert_eq!(fault.hits(), 1, "what 500 says is believed");
}

#[test]
fn busy_servers_are_asked_three_times() {
    let am = firing_alertmanager();
    let fault = am.faults().on("GET", "/api/v2/alerts").times(2).status(503);
    assert_eq!(names(&Setup::new(vec![alertmanagers(&[&am.url()])]).only().unwrap()), ["Hot"]);
    assert_eq!(fault.hits(), 2);
}

#[test]
fn a_hung_member_costs_the_others_nothing() {
    let (am, hung) = (firing_alertmanager(), Alertmanager::start_blocking());
    hung.faults().on("GET", "*").delay(Duration::from_hours(1));
    let mut setup = Setup::new(vec![alertmanagers(&[&am.url(), &hung.url()])]);
    setup.settings.timeout = Duration::from_secs(1);
    let groups = setup.fetch();
    assert_eq!(names(groups[0].members[0].answer.as_ref().unwrap()), ["Hot"]);
    let failure = groups[0].members[1].answer.as_ref().unwrap_err();
    assert_eq!(failure.reason, FailureReason::Timeout);
    assert!(failure.what.ends_with("/api/v2/status did not answer within 1s"), "{failure:?}");
}

#[test]
fn t15_d8_a_host_that_hangs_after_a_redirect_is_named() {
    let (am, hung) = (Alertmanager::start_blocking(), Alertmanager::start_blocking());
    hung.faults().on("GET", "/x").delay(Duration::from_hours(1));
    let to = format!("{}/x", hung.url());
    am.faults().on("GET", "/api/v2/alerts").status(302).header(http::header::LOCATION, &to);
    let mut setup = Setup::new(vec![alertmanagers(&[&am.url()])]);
    setup.settings.timeout = Duration::from_secs(1);
    let failure = setup.only().unwrap_err();
    let from = format!("{}/api/v2/alerts", am.url());
    assert_eq!(failure.what, format!("{to} (redirected from {from}) did not answer within 1s"));
}

/// A server that sends a byte now and then satisfies any limit for one read; the limit is for the member.
#[test]
fn an_answer_that_drips() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let mut setup = Setup::new(vec![prometheuses(&[&url])]);
    setup.settings.timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let failure = setup.only().unwrap_err();
    assert_eq!(failure.reason, FailureReason::Timeout);
    assert!(failure.what.contains("the answer was not complete within 1s"), "{failure:?}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn what_is_no_list_of_alerts() {
    let prometheus = Prometheus::start_blocking();
    let am = Alertmanager::start_blocking();
    let of_prometheus = |fault: sandbox::Fault| {
        let failure = Setup::new(vec![prometheuses(&[&prometheus.url()])]).only().unwrap_err();
        fault.stop();
        let what = failure.what.replace(&prometheus.url(), "http://prometheus");
        (failure.reason, failure.is_misconfigured, what)
    };
    prometheus.hide_rules(404);
    let on = || prometheus.faults().on("GET", "/api/v1/alerts");
    let json = "application/json";
    let asked = "http://prometheus/api/v1/alerts";
    let parse = |is_misconfigured, what: &str| {
        (
            FailureReason::Parse,
            is_misconfigured,
            format!("cannot use {asked}: the answer is not the expected JSON: {what}"),
        )
    };
    assert_eq!(
        of_prometheus(on().body(json, r#"{"status":"success","data":{"alerts":[{"labels":{"a":"#)),
        parse(true, "EOF while parsing a value at line 1 column 53")
    );
    assert_eq!(
        of_prometheus(on().body(json, "[]")),
        parse(true, "invalid type: sequence, expected an answer of Prometheus' API at line 1 column 1")
    );
    assert_eq!(
        of_prometheus(on().body(json, r#"{"status":"success","data":{}}"#)),
        (FailureReason::Parse, true, format!("{asked} answered without a list of alerts"))
    );
    assert_eq!(
        of_prometheus(on().body(json, r#"{"status":"error","errorType":"internal","error":"out of luck"}"#)),
        (FailureReason::Parse, false, format!(r#"{asked} answered with the status "error": out of luck"#))
    );
    assert_eq!(
        of_prometheus(on().huge(70)),
        (FailureReason::TooLarge, false, format!("cannot use {asked}: the answer is larger than 64 MiB"))
    );
    assert_eq!(
        of_prometheus(on().truncate(10)),
        (
            FailureReason::Http,
            false,
            format!("cannot use {asked}: the answer broke off: end of file before message length reached")
        )
    );
    let gzip = on().body(json, "\u{1f}").header(http::header::CONTENT_ENCODING, "gzip");
    assert_eq!(
        of_prometheus(gzip),
        (
            FailureReason::Parse,
            false,
            format!(r#"cannot use {asked}: the answer is compressed ("gzip"), which was not asked for"#)
        )
    );
    // An Alertmanager is no Prometheus, nor the other way round.
    let failure = Setup::new(vec![prometheuses(&[&am.url()])]).only().unwrap_err();
    assert!(
        failure.is_misconfigured && failure.what.ends_with("/api/v1/alerts answered 404 Not Found"),
        "{failure:?}"
    );
    let failure = Setup::new(vec![alertmanagers(&[&prometheus.url()])]).only().unwrap_err();
    assert!(
        failure.is_misconfigured && failure.what.ends_with("/api/v2/receivers answered 404 Not Found"),
        "{failure:?}"
    );
}

#[test]
fn rows_46_47_a_prometheus_and_what_is_pending_after_its_restart() {
    let prometheus = Prometheus::start_blocking();
    prometheus
        .fire(&[("alertname", "Hot"), ("node", "w1"), NOTIFY], &[("summary", "hot"), ("description", "d")]);
    prometheus.fire(&[("alertname", "Elsewhere")], &[]);
    prometheus.fire(&[("alertname", "Watchdog")], &[]);
    let mut setup = Setup::new(vec![prometheuses(&[&prometheus.url()])])
        .filter(r#"notify=~"(.*\s)?node-condition-k8s(\s.*)?""#);
    let sources = setup.sources();
    let answer = only(setup.fetch_by(&sources, Some("Watchdog"))).unwrap();
    assert_eq!(names(&answer), ["Hot"], "the filter is applied here");
    assert_eq!(answer.canary, Some(true), "the filter is not for the canary");
    assert_eq!(answer.alerts[0].annotations.len(), 1, "the summary alone");
    assert!(!answer.alerts[0].pending && answer.alerts[0].starts_at.is_some());
    prometheus.restart();
    let answer = only(setup.fetch_by(&sources, Some("Watchdog"))).unwrap();
    assert!(answer.alerts[0].pending && answer.warming.is_some());
    assert_eq!(answer.canary, Some(false), "a pending one does not fire");
    setup.settings.keep_annotations = true;
    assert_eq!(setup.only().unwrap().alerts[0].annotations.len(), 2);
}

/// Bodies as the others write them.
#[test]
fn rows_43_44_relatives_of_prometheus() {
    let prometheus = Prometheus::start_blocking();
    let fetch = |canary| {
        let setup = Setup::new(vec![prometheuses(&[&prometheus.url()])]);
        only(setup.fetch_by(&setup.sources(), canary)).unwrap()
    };
    // Thanos: a store did not answer, and each alert has a field more.
    prometheus.set_alerts(vec![
        json!({"labels": {"alertname": "A"}, "state": "firing", "partialResponseStrategy": "WARN"}),
    ]);
    prometheus.set_more(json!({"warnings": ["No StoreAPIs matched for this query"]}));
    let answer = fetch(None);
    assert_eq!(
        (names(&answer), answer.warnings.as_slice()),
        (vec!["A"], &["No StoreAPIs matched for this query".to_owned()][..])
    );
    // VictoriaMetrics without a vmalert.
    prometheus.hide_start(400);
    prometheus.set_alerts(Vec::new());
    prometheus.set_more(json!({}));
    let answer = fetch(Some("Watchdog"));
    assert_eq!((answer.alerts.len(), answer.canary), (0, Some(false)));
    // vmalert
    prometheus.set_alerts(vec![
        json!({"state": "firing", "name": "B", "value": "1", "labels": {"alertname": "B", "alertgroup": "g"}, "annotations": {},
               "activeAt": "2026-01-01T00:00:00.123456789Z", "id": "1", "rule_id": "2", "group_id": "3", "expression": "up", "source": "s",
               "restored": false, "stabilizing": false}),
        json!({"state": "inactive", "labels": {"alertname": "C"}}),
    ]);
    let answer = fetch(None);
    assert_eq!(names(&answer), ["B"]);
    assert!(answer.warnings.is_empty() && answer.alerts[0].starts_at.is_some());
    // Mimir: a prefix, and null where nothing is.
    prometheus.set_prefix("/prometheus");
    prometheus.hide_start(404);
    prometheus.set_alerts(vec![
        json!({"labels": {"alertname": "D"}, "annotations": null, "state": "firing", "value": 1}),
    ]);
    prometheus.set_more(
        json!({"errorType": "", "error": "", "warnings": null, "infos": ["n"], "later": {"a": [1]}}),
    );
    assert_eq!(names(&fetch(None)), ["D"]);
    prometheus.set_more(json!({"data": {"groups": [], "alerts": null}}));
    assert_eq!(fetch(None).alerts.len(), 0);
    // A state that nobody knows yet may be one that fires.
    prometheus.set_more(json!({}));
    prometheus.set_alerts(vec![json!({"labels": {"alertname": "E"}, "state": "resolving"})]);
    assert_eq!(fetch(None).warnings.len(), 1);
}
