//! What a Prometheus says of its rules: what one that was not evaluated does not list may fire.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ::sandbox::{Fault, Prometheus};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sources::peak;
use crate::sources::real::{Server, free_port, prometheus};
use crate::support::{World, scenarios};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

scenarios![
    t15_d5_a_rule_over_its_limit_clears_nothing,
    t15_d5_a_rule_that_fails_after_a_restart_clears_nothing,
    t15_d5_a_rule_that_fails_and_cannot_concern_us_is_not_told,
    t15_d5_a_replica_that_evaluates_the_rule_is_believed,
];

/// A rule and what becomes of it.
enum Rule<'r> {
    /// Its alert fires on these nodes.
    Fires(&'r str, &'r [&'r String]),
    /// As many as these are more than its group may have.
    OverLimit(&'r str, &'r [&'r String]),
    /// Its expression cannot be evaluated; its alerts have this label besides.
    Broken(&'r str, (&'r str, &'r str)),
}

/// The double, or a server with its folder.
enum Source {
    Double(Prometheus),
    Real(Server, #[expect(dead_code, reason = "goes with it")] TempDir),
}

impl Source {
    fn url(&self) -> String {
        match self {
            Self::Double(double) => double.url(),
            Self::Real(server, _) => server.url.clone(),
        }
    }
}

/// A Prometheus that has evaluated these rules, with the filter's label of this world.
fn evaluated(world: &World, rules: &[Rule<'_>]) -> Source {
    if world.doubles.is_none() {
        return really_evaluated(world, rules);
    }
    let double = Prometheus::start_blocking();
    for rule in rules {
        match rule {
            Rule::Fires(name, nodes) => nodes.iter().for_each(|node| {
                double.fire(&[("alertname", name), ("node", node), ("test", world.id())], &[]);
            }),
            Rule::OverLimit(name, nodes) => {
                double.fail_rule(name, &format!("exceeded limit of 1 with {} alerts", nodes.len()), &[]);
            }
            Rule::Broken(name, label) => double.fail_rule(name, "invalid regular expression", &[*label]),
        }
    }
    Source::Double(double)
}

fn really_evaluated(world: &World, rules: &[Rule<'_>]) -> Source {
    let mut text = "groups:\n".to_owned();
    for (number, rule) in rules.iter().enumerate() {
        let of = |nodes: &[&String]| {
            let each =
                nodes.iter().map(|node| format!(r#"label_replace(vector(1), "node", "{node}", "", "")"#));
            each.chain(["vector(1) > 2".to_owned()]).collect::<Vec<_>>().join(" or ")
        };
        let test = ("test", world.id());
        let (name, limit, expression, (label, value)) = match rule {
            Rule::Fires(name, nodes) => (name, 0, of(nodes), test),
            Rule::OverLimit(name, nodes) => (name, 1, of(nodes), test),
            Rule::Broken(name, label) => {
                (name, 0, r#"label_replace(vector(1), "x", "$1", "y", "(")"#.to_owned(), *label)
            }
        };
        let _ = writeln!(
            text,
            "- name: g{number}\n  limit: {limit}\n  rules: [{{alert: '{name}', expr: '{expression}', labels: {{{label}: '{value}'}}}}]"
        );
    }
    let directory = TempDir::new().expect("a folder");
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("a file");
    file("prometheus.yaml", "global: {evaluation_interval: 1s}\nrule_files: [rules.yaml]\n");
    file("rules.yaml", &text);
    let server = prometheus(directory.path(), free_port());
    let url = format!("{}/api/v1/rules", server.url);
    let deadline = Instant::now() + Duration::from_secs(60);
    let said = || -> Option<Value> {
        let body = world.block_on(async { reqwest::get(&url).await.ok()?.text().await.ok() })?;
        serde_json::from_str(&body).ok()
    };
    while !said()
        .is_some_and(|said| said["status"] == "success" && !said.to_string().contains(r#""unknown""#))
    {
        assert!(Instant::now() < deadline, "the rules were not evaluated: {:?}", said());
        std::thread::sleep(Duration::from_millis(100));
    }
    Source::Real(server, directory)
}

fn status(world: &World, node: &str, alertname: &str) -> String {
    let condition = world.condition(node, alertname).unwrap_or_else(|| panic!("{:#?}", world.owned(node)));
    condition["status"].as_str().unwrap_or_default().to_owned()
}

fn t15_d5_a_rule_over_its_limit_clears_nothing(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    let [one, two] = [&nodes[0], &nodes[1]];
    let disk = evaluated(world, &[Rule::Fires("DiskFailing", &[one]), Rule::Fires("FanBroken", &[one, two])]);
    world.sync(&["--prometheus", &disk.url()]).exits(0).prints(
        "node/w1 condition/AlertManager_DiskFailing True (added)\nnode/w1 condition/AlertManager_FanBroken True (added)\n\
         node/w2 condition/AlertManager_FanBroken True (added)",
    );
    let disk =
        evaluated(world, &[Rule::OverLimit("DiskFailing", &[one, two]), Rule::Fires("FanBroken", &[two])]);
    world
        .sync(&["--prometheus", &disk.url()])
        .exits(12)
        .prints("node/w1 condition/AlertManager_FanBroken False (was True)")
        .says(&format!(
            "{}/ did not evaluate the rule DiskFailing, so conditions of this name are not cleared: \
             exceeded limit of 1 with 2 alerts",
            disk.url()
        ))
        .says("PARTIAL: conditions of rules that were not evaluated are not cleared");
    assert_eq!(status(world, one, "DiskFailing"), "True");
    let report = world.sync(&["--prometheus", &disk.url(), "-o", "json"]).exits(12);
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    assert_eq!(report["sources"][0][0]["unevaluatedRules"], json!(["DiskFailing"]));
    let check =
        world.run(&["check", "--prometheus", &disk.url(), "--all-alerts", "--warmup=0", "--for", "sync"]);
    let line = "1 rule not evaluated: DiskFailing: exceeded limit of 1 with 2 alerts";
    assert!(check.stdout.contains(line), "{}", check.stdout);
    let disk = evaluated(world, &[Rule::Fires("DiskFailing", &[two]), Rule::Fires("FanBroken", &[])]);
    world.sync(&["--prometheus", &disk.url()]).exits(0).never_says("did not evaluate").prints(
        "node/w1 condition/AlertManager_DiskFailing False (was True)\nnode/w2 condition/AlertManager_DiskFailing True (added)\n\
         node/w2 condition/AlertManager_FanBroken False (was True)",
    );
}

/// It keeps what it listed before it failed; a restart, or a reload that renames its labels, forgets that.
fn t15_d5_a_rule_that_fails_after_a_restart_clears_nothing(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "DiskFailing", "True", "[P9]", HOUR);
    world.seed(&node, "FanBroken", "True", "[P9]", HOUR);
    let broken = evaluated(
        world,
        &[
            Rule::Broken("DiskFailing", ("test", world.id())),
            // Of the same name, for another kind of disk: it is evaluated, and lists nothing.
            Rule::Fires("DiskFailing", &[]),
        ],
    );
    for _ in 0..2 {
        let run = world.sync(&["--prometheus", &broken.url()]).exits(12);
        run.says("did not evaluate the rule DiskFailing, so conditions of this name are not cleared: ");
    }
    assert_eq!(status(world, &node, "DiskFailing"), "True");
    assert_eq!(status(world, &node, "FanBroken"), "False");
    let at = world.lease().expect("a Lease")["metadata"]["annotations"]["sciuro.dev/last-full"].clone();
    assert!(at.as_str().is_none_or(str::is_empty), "not all was known: {at}");
}

fn t15_d5_a_rule_that_fails_and_cannot_concern_us_is_not_told(world: &World) {
    let node = world.node("w1");
    let of = |label| [Rule::Broken("DiskFailing", label), Rule::Fires("FanBroken", &[])];
    let foreign = evaluated(world, &of(("test", "another")));
    world.seed(&node, "DiskFailing", "True", "[P9]", HOUR);
    world
        .sync(&["--prometheus", &foreign.url()])
        .exits(0)
        .prints("node/w1 condition/AlertManager_DiskFailing False (was True)")
        .never_says("did not evaluate");
    // A template may become anything. Nothing is held, but it may fire unseen.
    let template = evaluated(world, &of(("test", "{{ $labels.test }}")));
    world.sync(&["--prometheus", &template.url()]).exits(0).says("did not evaluate the rule DiskFailing");
}

fn t15_d5_a_replica_that_evaluates_the_rule_is_believed(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "DiskFailing", "True", "[P9]", HOUR);
    let broken = evaluated(world, &[Rule::Broken("DiskFailing", ("test", world.id()))]);
    let sound = evaluated(world, &[Rule::Fires("DiskFailing", &[])]);
    let both = ["--prometheus", &broken.url(), "--prometheus", &sound.url()];
    world.sync(&both).exits(12).prints("");
    world
        .sync(&[&both[..], &["--prometheus-ha"]].concat())
        .exits(0)
        .prints("node/w1 condition/AlertManager_DiskFailing False (was True)")
        .never_says("did not evaluate");
}

#[test]
fn t15_d5_who_has_no_list_of_rules_is_asked_for_alerts() {
    let world = World::sandbox();
    let node = world.node("w1");
    let prometheus = Prometheus::start_blocking();
    prometheus.fire(&[("alertname", "Hot"), ("node", &node), ("test", world.id())], &[]);
    prometheus.fail_rule("DiskFailing", "unseen", &[]);
    world.seed(&node, "DiskFailing", "True", "[P9]", MINUTE);
    let sync = || world.sync(&["--prometheus", &prometheus.url(), "--dry-run"]);
    let note = "does not say which rules it could evaluate: an alert of a failed one counts as ended";
    sync().exits(12).never_says(note);
    let asked: Vec<String> =
        prometheus.requests().iter().map(|request| format!("{}?{}", request.path, request.query)).collect();
    // One list; a rule without the label of the filter is why its configuration is looked at.
    let all = ["/api/v1/status/runtimeinfo?", "/api/v1/rules?type=alert", "/api/v1/status/config?"];
    assert_eq!(asked, all);
    let on = || prometheus.faults().on("GET", "/api/v1/rules");
    // It has them, and something is wrong for now: nothing is concluded from what it lists elsewhere.
    let ways: [(&dyn Fn() -> Fault, &str); 3] = [
        (&|| on().status(500), "answered 500"),
        (&|| on().truncate(20), "the answer broke off"),
        (&|| on().body("application/json", r#"{"status":"error","error":"out of luck"}"#), "out of luck"),
    ];
    for (goes_wrong, why) in ways {
        let fault = goes_wrong();
        sync().exits(11).prints("").says(why);
        fault.stop();
    }
    let page =
        on().body("application/json", r#"{"status":"success","data":{"groupNextToken":"x","groups":[]}}"#);
    sync().exits(12).prints("").says("it gave only a part of its rules");
    page.stop();
    let planned = "node/w1 condition/AlertManager_DiskFailing False (was True) (dry run)\n\
                   node/w1 condition/AlertManager_Hot True (added) (dry run)";
    let check = || {
        let url = prometheus.url();
        world.run(&["check", "--prometheus", &url, "--all-alerts", "--warmup=0", "--for", "sync"]).stdout
    };
    assert!(!check().contains(note));
    // It has Prometheus' API, and no rules in it.
    let odd = on().body("application/json", r#"{"status":"success","data":{}}"#);
    sync().exits(0).prints(planned).says(note);
    odd.stop();
    let unknown = on().body("text/plain", "unsupported path requested: \"/api/v1/rules\"").status(400);
    sync().exits(0).prints(planned).says(note);
    unknown.stop();
    prometheus.hide_rules(404);
    sync().exits(0).prints(planned).says(note);
    assert!(check().contains(note), "{}", check());
    // Who may not see the rules, or sees something else there, does not know whether one has failed.
    for status in [400, 401, 403, 405, 410] {
        prometheus.hide_rules(status);
        sync().exits(11).prints("").says(&format!("/api/v1/rules answered {status}")).never_says(note);
    }
    let ours = "of a Prometheus, or of what has its API v1?";
    for (body, why, hint) in [
        (
            "<html><title>Log in</title>",
            r#"the answer is an HTML page ("Log in"), not JSON"#,
            "a token goes into",
        ),
        ("null", "the answer is not the expected JSON", ours),
        ("[]", "the answer is not the expected JSON", ours),
        ("", "the answer is not the expected JSON", ours),
        (r#"{"status":"success","data":{"groups":7}}"#, "the answer is not the expected JSON", ours),
        (r#"{"status":"success"}"#, "answered without a list of rules", ours),
        (r#"{"status":"success","data":null}"#, "answered without a list of rules", ours),
    ] {
        let odd = on().body("application/json", body);
        sync().exits(11).prints("").says(why).says(hint).never_says(note);
        odd.stop();
    }
    let login = Prometheus::start_blocking();
    let page = login.faults().on("GET", "/login").body("text/html", "<html><title>Log in</title>");
    let to = format!("{}/login", login.url());
    let moved = on().status(302).header(http::header::LOCATION, &to);
    sync().exits(11).prints("").says("an HTML page").says(&format!("{to} (redirected from "));
    assert!(page.hits() > 0 && moved.hits() > 0);
}

/// As Thanos, Mimir, vmalert and Grafana write it.
#[test]
fn t15_d5_rules_as_relatives_write_them() {
    let world = World::sandbox();
    let node = world.node("w1");
    let names = ["Err", "Error", "Unknown", "Ok", "NoData", "Absent", "Null", "Recorded"];
    for name in names {
        world.seed(&node, name, "True", "[P9]", HOUR);
    }
    let prometheus = Prometheus::start_blocking();
    let rule = |name: &str, health: Value| json!({"name": name, "health": health, "type": "alerting", "alerts": null});
    let rules = json!([
        // Whatever the order of the fields.
        {"health": "err", "lastError": "no store", "type": "alerting", "name": "Err", "labels": null, "partialResponseStrategy": "WARN"},
        rule("Error", json!("error")), rule("Unknown", json!("unknown")), rule("Ok", json!("ok")),
        rule("NoData", json!("nodata")), rule("Null", Value::Null), {"name": "Absent", "later": [{}]},
        // Who does not know `type=alert` lists all of them.
        {"name": "Recorded", "health": "err", "type": "recording", "labels": {}},
    ]);
    prometheus
        .set_more(json!({"data": {"groups": [{"name": "g", "rules": null}, {"rules": rules, "limit": 0}]}}));
    let mut run = world.sync(&["--prometheus", &prometheus.url()]).exits(12);
    for (name, why) in [("Err", "no store"), ("Error", "it does not say why"), ("Unknown", "not yet")] {
        run = run.says(&format!(
            "did not evaluate the rule {name}, so conditions of this name are not cleared: {why}"
        ));
    }
    for (place, name) in names.iter().enumerate() {
        let expected = if place < 3 { "True" } else { "False" };
        assert_eq!(status(&world, &node, name), expected, "{name}");
    }
}

/// `deploy/` gives the pod 256 MiB. Of many lists in one answer, together, no more is kept than of one.
#[test]
fn t15_d5_no_list_of_rules_takes_more_memory_than_there_is() {
    let world = World::sandbox();
    world.node("w1");
    let prometheus = Prometheus::start_blocking();
    let many = |one: &str| {
        let count = (60 << 20) / (one.len() + 1);
        format!(
            r#"{{"status":"success","data":{{"groups":[{{"rules":[{}]}}]}}}}"#,
            vec![one; count].join(",")
        )
    };
    let pairs: Vec<String> = (0..900).map(|number| format!("\"{number}\":\"\"")).collect();
    let numbered = (0..1_500_000).map(|number| format!(r#"{{"name":"{number}","health":"err"}}"#));
    for (what, body) in [
        ("alerts of nothing", many(r#"{"alerts":[{"labels":{}}]}"#)),
        ("labels of nothing", many(&format!(r#"{{"alerts":[{{"labels":{{{}}}}}]}}"#, pairs.join(",")))),
        ("rules that failed", many(&numbered.collect::<Vec<_>>().join(","))),
    ] {
        let answered = prometheus.faults().on("GET", "/api/v1/rules").times(1).body("application/json", body);
        let most = peak(&world, &["--prometheus", &prometheus.url(), "--all-alerts"]);
        assert_eq!(answered.hits(), 1, "{what}");
        assert!(most < 256, "{what}: {most} MiB");
    }
}
