//! What is believed of an answer, and what is said of one that is none.

use ::sandbox::{Alertmanager, Fault, Prometheus};
use http::header::LOCATION;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{Run, World, scenarios};

const JSON: &str = "application/json";

scenarios![t15_d9_another_clusters_watchdog_is_none_of_this_one];

fn firing(world: &World, node: &str, alertname: &str) -> bool {
    world.condition(node, alertname).is_some_and(|condition| condition["status"] == "True")
}

/// As some proxies and relatives write it: each null costs nothing but itself.
#[test]
fn t15_d8_a_null_costs_nothing_but_itself() {
    let world = World::sandbox();
    let (node, test) = (world.node("w1"), world.id());
    let labels =
        |name: &str| json!({"alertname": name, "node": node, "test": test, "cluster": null, "rack": null});
    let am = world.alertmanager();
    let answers = |path: &str, body: Value| am.faults().on("GET", path).body(JSON, body.to_string());
    answers("/api/v2/status", Value::Null);
    answers("/api/v2/receivers", json!([null, {"name": null}, {"name": "node-condition-k8s"}]));
    answers(
        "/api/v2/alerts",
        json!([null, {"labels": labels("Hot"), "annotations": {"summary": null, "message": "it is hot"},
            "receivers": [null, {"name": null}, {"name": "node-condition-k8s"}]}]),
    );
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_Hot True (added)");
    assert_eq!(world.condition(&node, "Hot").unwrap()["message"], "[P9] it is hot");

    let prometheus = Prometheus::start_blocking();
    let starts = prometheus.faults().on("GET", "/api/v1/status/runtimeinfo");
    starts.body(JSON, r#"{"status": null, "data": {"startTime": null}}"#);
    prometheus.set_alerts(vec![
        Value::Null,
        json!({"labels": labels("Cold"), "annotations": {"summary": null, "description": "it is cold"},
            "state": null, "activeAt": null, "value": null}),
    ]);
    prometheus.set_more(json!({"warnings": [null], "infos": null, "error": null}));
    world.sync(&["--prometheus", &prometheus.url()]).exits(0).says("1 alert, 1 matched");
    assert_eq!(world.condition(&node, "Cold").unwrap()["message"], "[P9] it is cold");
    assert!(!firing(&world, &node, "Hot"));
}

/// An Alertmanager that answers so at this path.
fn answering(path: &str, answer: impl FnOnce(Fault) -> Fault) -> Alertmanager {
    let am = Alertmanager::start_blocking();
    answer(am.faults().on("GET", path));
    am
}

const LOGIN: &str =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><title>\n Log in to \u{1b}[31mExample</title></head>";

/// A session that has ended, or none: whoever guards the source shows a page for people.
#[test]
fn t15_d8_a_page_where_people_log_in_is_recognised() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9]", SignedDuration::from_mins(1));
    let login = answering("/login", |fault| fault.body("text/html; charset=utf-8", LOGIN));
    let am =
        answering("*", |fault| fault.status(302).header(LOCATION, &format!("{}/login?to=x", login.url())));
    let am = &am.url();
    let (to, other) = (am.replace("http://", ""), login.url().replace("http://", ""));
    for (flag, resource) in [("--alertmanager", "v2/status"), ("--prometheus", "v1/rules")] {
        world
            .sync(&[flag, am])
            .exits(11)
            .prints("")
            .says(&format!(
                r#"error: cannot use http://{other}/login (redirected from http://{to}/api/{resource}): the answer is an HTML page ("Log in to \u{{1b}}[31mExample"), not JSON"#
            ))
            .says(&format!("hint: credentials are sent to http://{to} only, not to http://{other}, to which it redirects\n"))
            .says("hint: a name and a password are written https://NAME:PASSWORD@HOST");
    }
    // Without a redirect, and without being called HTML.
    let plain = answering("/api/v2/alerts", |fault| fault.body("text/plain", "\n <HTML>"));
    world
        .sync(&["--alertmanager", &plain.url()])
        .exits(11)
        .says("/api/v2/alerts: the answer is an HTML page, not JSON\n")
        .never_says("redirected");
    assert!(firing(&world, &node, "X"));
}

/// What the server says is most of what there is to know: cut, escaped, and without what it repeats of us.
#[test]
fn t15_d8_the_servers_own_words_are_shown() {
    let world = World::sandbox();
    world.node("w1");
    let am = world.alertmanager();
    let said = |path: &str, answer: &dyn Fn(Fault) -> Fault| {
        let fault = answer(am.faults().on("GET", path));
        let run =
            world.sync(&["--alertmanager", &am.url().replace("http://", "http://me:s3cr3t@")]).exits(11);
        fault.stop();
        run.never_says("s3cr3t")
    };
    let of = |status: u16, content_type: &'static str, body: &'static str| {
        move |fault: Fault| fault.status(status).body(content_type, body)
    };
    for path in ["/api/v2/status", "/api/v2/receivers", "/api/v2/alerts"] {
        let asked = format!("error: http://alertmanager{path} answered");
        said(path, &of(401, "text/plain", "no org id\n"))
            .says(&format!("{asked} 401 Unauthorized: no org id\n"))
            .says("hint: a name and a password are written https://NAME:PASSWORD@HOST");
        said(path, &of(401, "text/plain", "Unauthorized\n")).says(&format!("{asked} 401 Unauthorized\n"));
        said(path, &of(422, JSON, r#"{"error":"tenant \u001b[2Jof s3cr3t"}"#))
            .says(&format!("{asked} 422 Unprocessable Entity: tenant ^[[2Jof <secret>\n"));
        said(path, &of(500, "text/html", "<html><title>Sorry</title>"))
            .says("Server Error, an HTML page: Sorry\n");
        said(path, &|fault| fault.status(500).body("text/plain", "x".repeat(5000)))
            .says(&format!("{asked} 500 Internal Server Error: {}…\n", "x".repeat(200)));
        // It is not waited for.
        said(path, &|fault| fault.status(500).body("text/plain", "half").stalls()).says("Error: half\n");
    }
}

/// Who answered is who is named: the configured one is right.
#[test]
fn t15_d8_after_a_redirect_the_host_that_answered_is_named() {
    let world = World::sandbox();
    world.node("w1");
    let redirected = |to: &str| {
        let am = answering("/api/v2/alerts", |fault| fault.status(307).header(LOCATION, to));
        let run = world.sync(&["--alertmanager", &am.url()]).exits(11);
        let from = format!(" (redirected from {}/api/v2/alerts)", am.url());
        let short = |text: &str| text.replace(&from, " (redirected)").replace(&am.url(), "http://am");
        Run { stderr: short(&run.stderr), ..run }
    };
    let other = |answer: &dyn Fn(Fault) -> Fault| {
        let other = answering("/elsewhere", answer);
        let run = redirected(&format!("{}/elsewhere", other.url()));
        Run { stderr: run.stderr.replace(&other.url(), "http://other"), ..run }
    };
    other(&|fault| fault.status(403).message("not you"))
        .says("error: http://other/elsewhere (redirected) answered 403 Forbidden: not you\n")
        .says("hint: credentials are sent to http://am only, not to http://other, to which it redirects\n");
    other(&|fault| fault.status(404))
        .says("error: http://other/elsewhere (redirected) answered 404 Not Found\n")
        .says("hint: curl -vL http://am/api/v2/alerts\n");
    other(&|fault| fault.body(JSON, "{"))
        .says("error: cannot use http://other/elsewhere (redirected): the answer is not the expected JSON");
    redirected("http://127.0.0.1:1/x")
        .says("error: cannot reach http://127.0.0.1:1/x (redirected): Connection refused");

    let prometheus = Prometheus::start_blocking();
    let failed = answering("/elsewhere", |fault| fault.body(JSON, r#"{"status":"error","error":"no"}"#));
    let to = format!("{}/elsewhere", failed.url());
    prometheus.faults().on("GET", "/api/v1/rules").status(307).header(LOCATION, &to);
    world.sync(&["--prometheus", &prometheus.url()]).exits(11).says(&format!(
        r#"error: {to} (redirected from {}/api/v1/rules) answered with the status "error": no"#,
        prometheus.url()
    ));
}

/// What is between us may lose the query. Then all alerts are the answer, and some of them have names much like it.
#[test]
fn t15_d9_alerts_of_other_names_are_no_watchdog() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9]", SignedDuration::from_mins(1));
    let others = ["X", "watchdog", "Watchdogs", "Watchdog ", "DeadWatchdog"];
    let listed: Vec<Value> = others
        .iter()
        .map(|name| json!({"labels": {"alertname": name, "name": "Watchdog"}, "state": "firing"}))
        .chain([json!({"labels": {"notalertname": "Watchdog"}, "state": "firing"})])
        .collect();
    let am = world.alertmanager();
    am.faults().on("GET", "/api/v2/alerts").query("alertname").body(JSON, json!(listed).to_string());
    let prometheus = Prometheus::start_blocking();
    prometheus.set_alerts(listed);
    for source in [&[][..], &["--prometheus", &prometheus.url()]] {
        let sync = |more: &[&str]| world.sync(&[source, more].concat());
        sync(&["--require-alert=Watchdog"]).exits(11).prints("").says("the alert Watchdog does not fire at ");
        assert!(firing(&world, &node, "X"));
    }
    let checked = ["--receiver=node-condition-k8s", "--warmup=0", "--require-alert=Watchdog", "--for=sync"];
    let check = world.run(&[&["check", "--alertmanager", &am.url()], &checked[..]].concat());
    assert!(check.stdout.contains("canary Watchdog: does not fire"), "{check:?}");
    // What was no watchdog is not remembered as one.
    world.sync(&["--prometheus", &prometheus.url(), "--force-clear"]).exits(0);
    assert_eq!(world.lease().unwrap()["metadata"]["annotations"].get("sciuro.dev/canary"), None);
    world.sync(&[]).exits(0);
    assert_eq!(world.lease().unwrap()["metadata"]["annotations"].get("sciuro.dev/canary"), None);
}

/// For the list of alerts that means another receiver's, and other clusters'.
#[test]
fn t15_d9_a_query_that_was_lost_condemns_no_node() {
    let world = World::sandbox();
    let (node, test) = (world.node("w1"), world.id());
    world.seed(&node, "X", "True", "[P9]", SignedDuration::from_mins(1));
    let alert = |name: &str, cluster: &str, receiver: &str| {
        json!({"labels": {"alertname": name, "node": node, "test": test, "cluster": cluster},
            "receivers": [{"name": "default"}, {"name": receiver}]})
    };
    let answered = |alerts: Value, filter: &str| {
        let am = world.alertmanager();
        let fault = am.faults().on("GET", "/api/v2/alerts").query("receiver").body(JSON, alerts.to_string());
        let run = world.sync(&["--filter", filter]);
        fault.stop();
        run
    };
    let ours = alert("X", "a", "node-condition-k8s");
    for (other, filter) in [
        (alert("Foreign", "a", "node-condition-k8s-2"), r#"cluster="a""#),
        (alert("Foreign", "b", "node-condition-k8s"), r#"cluster="a""#),
        (alert("Foreign", "b", "node-condition-k8s"), r#"cluster!="b""#),
    ] {
        answered(json!([ours, other]), filter)
            .exits(11)
            .prints("")
            .says(r#"error: http://alertmanager/ lists alerts that were not asked for, such as "Foreign": the query of the URL was lost"#)
            .says("hint: is there a proxy or a cache in between");
        assert_eq!(world.owned(&node).len(), 1);
    }
    answered(json!([ours]), r#"cluster="a""#).exits(0).prints("").says("1 alert, 1 matched");
    // One that does not say to whom it goes is believed.
    let mut silent = ours;
    silent["receivers"].take();
    answered(json!([silent]), r#"cluster="a""#).exits(0).prints("");
}

/// Each cluster's shows that its own rules are evaluated, and no other's.
fn t15_d9_another_clusters_watchdog_is_none_of_this_one(world: &World) {
    let (node, watchdog) = (world.node("w1"), world.name("alive"));
    let alive = |cluster: &str, fires: bool| {
        world.alert(&[("alertname", &watchdog), ("cluster", cluster)], "", fires);
    };
    let hot = |fires: bool| {
        world.alert(&[("alertname", "Hot"), ("node", &node), ("cluster", "a")], "hot", fires);
    };
    let sync = |more: &[&str]| world.sync(&[&["--require-alert", &watchdog], more].concat());
    alive("a", true);
    hot(true);
    sync(&[]).exits(0).prints("node/w1 condition/AlertManager_Hot True (added)");
    // This cluster's Prometheus has died, and its alerts have run out.
    alive("b", true);
    alive("a", false);
    hot(false);
    let lease = world.name("sync");
    let missing = r#"error: the alert alive does not fire at http://alertmanager/ for the cluster "a", though it always should (it does for other clusters: "b")"#;
    let remembered = "that this cluster is \"a\" is remembered in the annotation sciuro.dev/cluster of Lease kube-system/sync; to \
                      correct it: kubectl annotate -n kube-system lease/sync sciuro.dev/cluster-";
    sync(&[]).exits(11).prints("").says(missing).says(remembered);
    sync(&["--filter", r#"cluster="a""#]).exits(11).prints("").says(missing).never_says("sciuro.dev/cluster");
    assert!(firing(world, &node, "Hot"));
    // A round that is not believed says nothing of which cluster this is.
    sync(&["--filter", r#"cluster="a.k8""#]).exits(11).prints("").says(r#"for the cluster "a.k8""#);
    sync(&[]).exits(11).says(missing);
    let flags = ["--receiver=node-condition-k8s", "--warmup=0", "--for=sync", "--lease-name", &lease];
    let source = ["--alertmanager", world.alertmanager_url(), "--require-alert", &watchdog];
    let check = world.run(&[&["check"], &source[..], &flags].concat());
    assert!(check.stdout.contains("canary alive: does not fire"), "{check:?}");
    assert!(check.stdout.contains(remembered), "{check:?}");
    alive("a", true);
    sync(&[]).exits(0).prints("node/w1 condition/AlertManager_Hot False (was True)");
    // One that does not say whose it is, is ours.
    alive("a", false);
    world.alert(&[("alertname", &watchdog)], "", true);
    sync(&[]).exits(0);
}
