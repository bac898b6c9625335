#![allow(clippy::expect_used)] // tests

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::core::node::Condition;
use crate::core::source::{Failure, FailureReason, Verdict};

fn change(kind: ChangeKind, was: Option<&str>, status: &str) -> Change {
    let condition = Condition { status: status.into(), ..Condition::default() };
    Change { kind, was: was.map(str::to_owned), duplicated: false, condition }
}

fn one_round() -> Metrics {
    let metrics = Metrics::default();
    metrics.forget_members();
    let member = |name: &str, verdict, alerts| JudgedMember {
        name: name.into(),
        verdict,
        took: Duration::from_millis(250),
        alerts,
        pending: alerts / 7,
        started: Some(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1_500_000_000)),
        unevaluated: None,
        notes: Vec::new(),
    };
    let failure = Failure {
        reason: FailureReason::ReceiverMissing,
        is_misconfigured: true,
        what: String::new(),
        hints: Vec::new(),
    };
    metrics.member("alertmanager-0", &member("http://a:9093/", Verdict::Ok, 7));
    metrics.member("alertmanager-0", &member("http://b:9093/", Verdict::Failed(failure), 0));
    metrics.selection(&Counts { alerts: 7, matched: 3, unmatched: 2, silenced: 2, ..Counts::default() });
    let changes = [
        change(ChangeKind::Add, None, "True"),
        change(ChangeKind::Transition, Some("True"), "False"),
        change(ChangeKind::Transition, Some("Maybe"), "False"),
        change(ChangeKind::Delete, Some("False"), "False"),
    ];
    metrics.patch(&changes, Patched::Written, Duration::from_millis(5));
    metrics.patch(
        &[change(ChangeKind::Heartbeat, Some("True"), "True")],
        Patched::Written,
        Duration::from_millis(3),
    );
    metrics.patch(&changes, Patched::Failed, Duration::from_secs(3));
    metrics.conditions(["True", "True", "False", "Maybe"].into_iter());
    let success = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_millis(1_600_000_000_500);
    metrics.round(SourceState::Full, Duration::from_millis(300), Some(success), false);
    metrics.round(SourceState::Partial, Duration::from_millis(300), None, true);
    metrics.leader(true);
    metrics
}

/// The whole page, so that a renamed metric is seen: dashboards and alerts hang on the names.
#[test]
fn the_page() {
    let page = one_round().encode();
    let mut lines: Vec<&str> = page.lines().collect();
    lines.sort_unstable(); // the series of a metric come in any order
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_member_that_is_gone_has_no_series() {
    let metrics = one_round();
    metrics.forget_members();
    assert!(!metrics.encode().contains("member=\"http://a:9093/\"} 1"));
    assert!(metrics.encode().contains("sciuro_source_fetch_errors_total"), "counters stay");
}

async fn get(address: std::net::SocketAddr, request: String) -> String {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    connection.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn health_readiness_and_metrics_are_served() {
    let server = Server::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let address = server.address().expect("an address");
    let health = Arc::new(Health::new(Duration::from_secs(60), || true));
    let serving = tokio::spawn(server.run(Arc::new(one_round()), health.clone()));
    let ask =
        |path: &str| get(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));

    assert!(ask("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(ask("/readyz").await.starts_with("HTTP/1.1 503"));
    health.ready(true);
    assert!(ask("/readyz").await.starts_with("HTTP/1.1 200"));
    let page = ask("/metrics").await;
    assert!(page.contains("application/openmetrics-text") && page.contains("sciuro_leader 1\n"), "{page}");
    assert!(ask("/other").await.starts_with("HTTP/1.1 404"));
    let posted = get(
        address,
        "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
    );
    assert!(posted.await.starts_with("HTTP/1.1 405"));

    let taken = Server::bind(address).await.expect_err("the port is taken").to_string();
    assert!(taken.contains("--metrics-addr: cannot listen on 127.0.0.1:"), "{taken}");
    serving.abort();
}

#[tokio::test]
async fn a_loop_that_hangs_is_not_alive() {
    let server = Server::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let address = server.address().expect("an address");
    let serving = tokio::spawn(server.run(Arc::default(), Arc::new(Health::new(Duration::ZERO, || true))));
    let answer = get(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".into()).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    serving.abort();
}
