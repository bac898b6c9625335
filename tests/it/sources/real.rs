//! The same on real servers of the test's own: two Alertmanagers in a cluster, a Prometheus that is restarted.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sciuro::core::source::Answer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Setup, alertmanagers, names, only, prometheuses};

/// A server of the control plane's kind, ended by its pid.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn binary(name: &str) -> PathBuf {
    let cluster = std::env::var("SCIURO_CLUSTER_DIR")
        .expect("SCIURO_CLUSTER_DIR: this test needs the real control plane, which `make test` starts");
    Path::new(&cluster).join("bin").join(name)
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(name: &str, arguments: &[String], port: u16) -> Server {
    let mut command = Command::new(binary(name));
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    Server { child: command.spawn().unwrap(), url: format!("http://127.0.0.1:{port}") }
}

/// Asks until the answer is as wanted.
#[track_caller]
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn get(setup: &Setup, url: &str) -> Option<Value> {
    let body = setup.runtime.block_on(async { reqwest::get(url).await.ok()?.text().await.ok() })?;
    serde_json::from_str(&body).ok()
}

fn post(setup: &Setup, url: &str, body: &Value) {
    setup.runtime.block_on(async {
        let request = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string());
        request.send().await.and_then(reqwest::Response::error_for_status).unwrap();
    });
}

const CONFIG: &str = "route:\n  receiver: default\n  routes: [{receiver: node-condition-k8s, matchers: ['notify=\"node-condition-k8s\"']}]\n\
                  receivers: [{name: default}, {name: node-condition-k8s}]\n";

pub(crate) fn alertmanager(directory: &Path, port: u16, cluster_port: u16, peer: u16) -> Server {
    let gossip = [
        format!("--cluster.listen-address=127.0.0.1:{cluster_port}"),
        format!("--cluster.advertise-address=127.0.0.1:{cluster_port}"),
        format!("--cluster.peer=127.0.0.1:{peer}"),
        "--cluster.gossip-interval=50ms".into(),
        "--cluster.pushpull-interval=1s".into(),
        "--cluster.settle-timeout=1s".into(),
    ];
    start_alertmanager(directory, CONFIG, port, &gossip)
}

/// Alone, with this configuration.
pub(crate) fn alertmanager_of(directory: &Path, config: &str, port: u16) -> Server {
    start_alertmanager(directory, config, port, &["--cluster.listen-address=".into()])
}

/// The same, over TLS, with this certificate and key in PEM.
pub(crate) fn tls_alertmanager(directory: &Path, certificate: &str, key: &str, port: u16) -> Server {
    for (name, text) in [
        ("tls.crt", certificate),
        ("tls.key", key),
        ("web.yaml", "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n"),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let web = format!("--web.config.file={}", directory.join("web.yaml").display());
    start_alertmanager(directory, CONFIG, port, &["--cluster.listen-address=".into(), web])
}

fn start_alertmanager(directory: &Path, config: &str, port: u16, more: &[String]) -> Server {
    let file = directory.join("alertmanager.yaml");
    std::fs::write(&file, config).unwrap();
    let mut arguments = vec![
        format!("--config.file={}", file.display()),
        format!("--storage.path={}", directory.join(port.to_string()).display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    arguments.extend_from_slice(more);
    start("alertmanager", &arguments, port)
}

/// With `prometheus.yaml` of this folder.
pub(crate) fn prometheus(directory: &Path, port: u16) -> Server {
    let arguments = [
        format!("--config.file={}", directory.join("prometheus.yaml").display()),
        format!("--storage.tsdb.path={}", directory.join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--rules.alert.resend-delay=1s".into(),
    ];
    start("prometheus", &arguments, port)
}

fn sorted_names(answer: &Answer) -> Vec<String> {
    let mut names: Vec<String> = names(answer).into_iter().map(str::to_owned).collect();
    names.sort_unstable();
    names
}

fn answers(setup: &Setup) -> Vec<Result<Answer, String>> {
    let mut groups = setup.fetch();
    groups.remove(0).members.into_iter().map(|member| member.answer.map_err(|failure| failure.what)).collect()
}

mod control_plane {
    use super::*;

    #[test]
    fn rows_36_37_38_39_84_two_alertmanagers_with_differing_alerts_and_a_gossiped_silence() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = TempDir::new().unwrap();
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let a = alertmanager(directory.path(), ports[0], ports[1], ports[3]);
        let b = alertmanager(directory.path(), ports[2], ports[3], ports[1]);
        let mut setup = Setup::new(vec![alertmanagers(&[&a.url, &b.url])]);
        setup.settings.warmup = jiff::SignedDuration::ZERO;
        for server in [&a, &b] {
            until("the two find each other", || {
                let status = get(&setup, &format!("{}/api/v2/status", server.url))?;
                (status["cluster"]["peers"].as_array()?.len() == 2 && status["cluster"]["status"] == "ready")
                    .then_some(())
            });
        }
        let alert = |name: &str| json!([{"labels": {"alertname": name, "node": "w1", "notify": "node-condition-k8s"}, "annotations": {"summary": "s"}}]);
        post(&setup, &format!("{}/api/v2/alerts", a.url), &alert("OnlyA"));
        post(&setup, &format!("{}/api/v2/alerts", a.url), &alert("Quiet"));
        post(&setup, &format!("{}/api/v2/alerts", b.url), &alert("OnlyB"));
        let added = Command::new(binary("amtool"))
            .args(["silence", "add", "alertname=Quiet", "--author=t", "--comment=c", "--duration=1h"])
            .arg(format!("--alertmanager.url={}", b.url))
            .output()
            .unwrap();
        assert!(added.status.success(), "{added:?}");
        // Alerts are not gossiped; the silence is, and holds where the alert is.
        until("the silence reaches the other", || {
            let answers = answers(&setup);
            let quiet = answers[0]
                .as_ref()
                .ok()?
                .alerts
                .iter()
                .find(|alert| alert.label("alertname") == Some("Quiet"))?;
            quiet.silenced.then_some(())
        });
        let both = answers(&setup);
        let [Ok(of_a), Ok(of_b)] = &both[..] else { panic!("{both:?}") };
        let mut names_of_a = names(of_a);
        names_of_a.sort_unstable();
        assert_eq!((names_of_a, names(of_b)), (vec!["OnlyA", "Quiet"], vec!["OnlyB"]));
        let only_a = of_a.alerts.iter().find(|alert| alert.label("alertname") == Some("OnlyA")).unwrap();
        assert!(!only_a.silenced && only_a.starts_at.is_some());
        // One of two asked.
        assert!(!setup.fetch()[0].has_unasked_members);
        assert!(Setup::new(vec![alertmanagers(&[&a.url])]).fetch()[0].has_unasked_members);
        // Both started a moment ago.
        setup.settings.warmup = jiff::SignedDuration::from_mins(5);
        assert!(answers(&setup).iter().all(|answer| answer.as_ref().unwrap().warming.is_some()));
        // One fails, the other answers.
        drop(a);
        let both = answers(&setup);
        assert!(both[0].as_ref().unwrap_err().contains("Connection refused"), "{both:?}");
        assert_eq!(names(both[1].as_ref().unwrap()), ["OnlyB"]);
    }

    #[test]
    fn rows_46_47_a_prometheus_that_is_restarted_and_a_rule_that_fails() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = TempDir::new().unwrap();
        let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        file("prometheus.yaml", "global: {evaluation_interval: 1s}\nrule_files: [rules.yaml]\n");
        file(
            "rules.yaml",
            r#"
groups:
- name: g
  rules:
  - {alert: Now, expr: vector(1), labels: {node: w1, notify: node-condition-k8s}, annotations: {summary: "v is {{ $value }}", runbook: r}}
  - {alert: Later, expr: vector(1), for: 5s, labels: {notify: node-condition-k8s}}
  - {alert: Other, expr: vector(1)}
  - {alert: Broken, expr: 'label_replace(vector(1), "x", "$1", "y", "(")'}
"#,
        );
        let port = free_port();
        let server = prometheus(directory.path(), port);
        let mut setup = Setup::new(vec![prometheuses(&[&server.url])]).filter("notify=node-condition-k8s");
        setup.settings.timeout = Duration::from_secs(5);
        let sources = setup.sources();
        let is_firing = |name: &str| {
            let answer = only(setup.fetch_by(&sources, Some("Other"))).ok()?;
            let alert = answer.alerts.iter().find(|alert| alert.label("alertname") == Some(name))?;
            Some((!alert.pending, sorted_names(&answer)))
        };
        let (_, names) = until("the alerts fire", || is_firing("Later").filter(|(firing, _)| *firing));
        assert_eq!(names, ["Later", "Now"], "the filter leaves Other out, and Broken makes nothing");
        let answer = only(setup.fetch_by(&sources, Some("Other"))).unwrap();
        assert!(answer.warming.is_some() && answer.warnings.is_empty());
        assert_eq!(answer.canary, Some(true));
        let now = answer.alerts.iter().find(|alert| alert.label("alertname") == Some("Now")).unwrap();
        assert_eq!((now.annotation("summary"), now.annotation("runbook")), (Some("v is 1"), None));
        assert!(now.starts_at.is_some());
        let unevaluated = answer.unevaluated.unwrap();
        assert_eq!(unevaluated.keys().collect::<Vec<_>>(), ["Broken"], "t15_d5");
        assert!(unevaluated["Broken"].contains("label_replace"), "{unevaluated:?}");
        drop(server);
        let _server = prometheus(directory.path(), port);
        // For 5 s it is pending again: less than 10 minutes of `for` are not restored.
        until("it is pending after the restart", || is_firing("Later").filter(|(firing, _)| !firing));
        until("it fires again", || is_firing("Later").filter(|(firing, _)| *firing));
    }

    #[test]
    fn the_prometheus_of_the_control_plane() {
        let url = std::env::var("PROMETHEUS_URL").expect("PROMETHEUS_URL");
        let answer = Setup::new(vec![prometheuses(&[&url])]).only().unwrap();
        assert!(answer.started.is_some() && answer.warnings.is_empty());
    }
}
