//! Bad input gives a clear error and changes nothing. Each transcript is a snapshot that was read.

use std::time::Duration;

use ::sandbox::{Authority, Front};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{Run, World, run, scenarios};

scenarios![row_64_an_admission_policy_fails_its_node, the_api_server_is_away];

/// A world with one node that has a True condition, which no bad input may change.
fn world() -> (World, String) {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9] hot", SignedDuration::from_mins(1));
    (world, node)
}

/// What was typed, what it said, how it ended.
fn transcript(what: &str, run: &Run) -> String {
    let code = run.code.unwrap();
    format!("# {what}\n{}{}exit {code}\n\n", run.stdout, run.stderr)
}

/// Compares what the cases said; the node's condition must be as it was before all of them: neither cleared nor confirmed.
fn check(name: &str, world: &World, node: &str, cases: impl IntoIterator<Item = (&'static str, Run)>) {
    let said: String = cases.into_iter().map(|(what, run)| transcript(what, &run)).collect();
    insta::assert_snapshot!(name, said);
    let [condition] = &world.owned(node)[..] else { panic!("{:#?}", world.owned(node)) };
    assert_eq!((&condition["status"], &condition["message"]), (&json!("True"), &json!("[P9] hot")));
    assert_eq!(condition["lastHeartbeatTime"], condition["lastTransitionTime"]);
}

/// Wherever it was written: an error is in a terminal's scrollback, in a journal, in a ticket.
#[test]
fn t15_e2_a_login_in_a_url_is_in_no_error() {
    let world = World::sandbox();
    for value in [
        "svc://u:SECRET@m/x",
        "svc+https://u:SECRET@m/x",
        "svc://m/x?token=SECRET",
        "http://127.0.0.1:1/#SECRET",
        "http://u:SECRET@127.0.0.1:1/?token=SECRET",
        "ftp://u:SECRET@m/x",
    ] {
        let typed = world.command(&["sync", "--receiver", "r", "--alertmanager", value]);
        let mut variable = world.command(&["sync", "--receiver", "r"]);
        variable.env("SCIURO_ALERTMANAGER", value);
        let config = world.file("config.yaml", &format!("alertmanager: ['{value}']\n"));
        let file = world.command(&["sync", "--receiver", "r", "--config", config.to_str().unwrap()]);
        for mut command in [typed, variable, file] {
            let run = run(&mut command).never_says("SECRET");
            assert!(matches!(run.code, Some(2 | 11)), "{value}: {run:?}");
        }
    }
    let config = world.file("config.yaml", "interval: http://u:SECRET@x\n");
    let mut sync = world.command(&["sync", "--config", config.to_str().unwrap()]);
    run(&mut sync).exits(2).says("interval: invalid value 'http://***@x'").never_says("SECRET");
}

#[test]
fn a_source_that_is_none() {
    let (world, node) = world();
    let alertmanager = world.alertmanager();
    let on = |path: &str| alertmanager.faults().on("GET", path);
    let alerts = "/api/v2/alerts";
    let mut cases = Vec::new();
    let mut with = |what: &'static str, fault: ::sandbox::Fault| {
        cases.push((what, world.sync(&[])));
        fault.stop();
    };
    with("HTML instead of JSON", on(alerts).body("text/html", "<!doctype html><title>Log in</title>"));
    with("truncated JSON", on(alerts).body("application/json", r#"[{"labels": {"alertname": "X""#));
    with("a connection that breaks", on(alerts).truncate(1));
    with(
        "a JSON object",
        on(alerts).body("application/json", r#"{"status":"success","data":{"alerts":[]}}"#),
    );
    with("an alert without labels", on(alerts).body("application/json", r#"[{"annotations": {}}]"#));
    with("unauthorized", on(alerts).status(401));
    with("forbidden", on(alerts).status(403));
    with("not found", on(alerts).status(404));
    with("too busy", on(alerts).status(503));
    with("a bad request", on(alerts).status(400).message("bad matcher format: x"));
    with("an error of its own", on(alerts).status(500));
    with("no list of receivers", on("/api/v2/receivers").status(404));
    with("300 MiB", on(alerts).huge(300));
    check("source", &world, &node, cases);
}

#[test]
fn a_source_that_is_elsewhere() {
    let (world, node) = world();
    let password = "hunter2";
    let with_password = world.alertmanager_url().replace("http://", &format!("http://reader:{password}@"));
    let api = world.api().url();
    let cases = [
        ("nobody listens", world.sync(&["--alertmanager", "http://127.0.0.1:1"])),
        ("no such name", world.sync(&["--alertmanager", "http://alertmanager.invalid:9093"])),
        (
            "TLS where there is none",
            world.sync(&["--alertmanager", &world.alertmanager_url().replace("http:", "https:")]),
        ),
        (
            "a path that is not its prefix",
            world.sync(&["--alertmanager", &format!("{}/prefix", world.alertmanager_url())]),
        ),
        ("another server", world.sync(&["--alertmanager", &api])),
        ("no URL", world.sync(&["--alertmanager", "alertmanager:9093"])),
        (
            "an unknown receiver, and a password",
            world.sync(&["--alertmanager", &with_password, "--receiver", "r"]),
        ),
    ];
    for (_, run) in &cases {
        assert!(!run.stderr.contains(password), "{}", run.stderr);
    }
    let cases = cases.map(|(what, mut run)| {
        let authority = world.alertmanager_url().trim_start_matches("http://");
        run.stderr = run.stderr.replace(&api, "http://api-server").replace(authority, "alertmanager");
        // What the resolver says is the machine's business.
        if what == "no such name" {
            run.stderr = run
                .stderr
                .lines()
                .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": ") + "\n")
                .collect();
        }
        (what, run)
    });
    check("source_elsewhere", &world, &node, cases);
}

/// A hanging source is given up after `--request-timeout` has passed, not never.
#[test]
fn an_api_server_that_is_none() {
    let (world, node) = world();
    let api = world.api();
    world.alert(&[("alertname", "Y"), ("node", &node)], "", true);
    let on = |method: &str, path: &str| api.faults().on(method, path);
    let nodes = "/api/v1/nodes";
    let mut cases = Vec::new();
    let mut with = |what: &'static str, more: &[&str], fault: ::sandbox::Fault| {
        cases.push((what, world.sync(&[&["--no-lease"], more].concat())));
        fault.stop();
    };
    with(
        "HTML instead of a list",
        &[],
        on("GET", nodes).body("text/html", "<!doctype html><title>Log in</title>"),
    );
    with(
        "another list",
        &[],
        on("GET", nodes).body("application/json", r#"{"kind": "PodList", "items": []}"#),
    );
    with("a list that breaks off", &[], on("GET", nodes).truncate(100));
    with("unauthorized", &[], on("GET", nodes).status(401));
    with("an error of its own", &[], on("GET", nodes).status(500));
    with("too many requests", &[], on("GET", nodes).status(429).retry_after(0));
    with("no answer in time", &["--request-timeout", "1"], on("GET", nodes).delay(Duration::from_secs(60)));
    with("an unknown path", &["--server", &format!("{}/nowhere", api.url())], on("GET", "/none"));
    with("row 73: three times 500", &[], on("PATCH", "/api/v1/nodes/*").times(3).status(500));
    with("connections that are dropped", &[], on("PATCH", "/api/v1/nodes/*").drop_connection());
    with(
        "refused by a webhook",
        &[],
        on("PATCH", "/api/v1/nodes/*").status(422).message("admission webhook denied\u{1b}[2J it\nall"),
    );
    for (_, run) in &mut cases {
        run.stderr = run.stderr.replace(&api.url(), "http://api-server");
    }
    check("api_server", &world, &node, cases);
}

#[test]
fn row_73_a_node_that_cannot_be_written_stops_no_other() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    for node in &nodes {
        world.alert(&[("alertname", "X"), ("node", node)], "hot", true);
    }
    let path = format!("/api/v1/nodes/{}/status", nodes[1]);
    let fault = world.api().faults().on("PATCH", &path).status(500);
    world
        .sync(&[])
        .exits(1)
        .prints(
            "node/w1 condition/AlertManager_X True (added)\nnode/w3 condition/AlertManager_X True (added)",
        )
        .says("error: 1 of 3 nodes could not be written");
    assert_eq!(fault.hits(), 3, "three tries");
    fault.stop();
    let once = world.api().faults().on("PATCH", &path).times(2).status(429).retry_after(0);
    world.sync(&[]).exits(0).prints("node/w2 condition/AlertManager_X True (added)");
    assert_eq!(once.hits(), 2);
}

#[test]
fn rows_49_50_80_bodies_of_old_and_new_alertmanagers() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2", "w3", "w4"]);
    let receivers = json!([{"name": "node-condition-k8s"}]);
    let test = world.name("").trim_end_matches('-').to_owned();
    let labels = |name: &str, node: &str| json!({"alertname": name, "node": node, "test": test});
    world.alertmanager().set_alerts(vec![
        // 0.25: no mutedBy
        json!({"annotations": {}, "endsAt": "2999-01-01T00:00:00Z", "fingerprint": "0", "receivers": receivers,
               "startsAt": "2026-01-01T00:00:00.123+01:00", "updatedAt": "2026-01-01T00:00:00Z", "labels": labels("Old", &nodes[0]),
               "status": {"inhibitedBy": [], "silencedBy": [], "state": "active"}}),
        // 0.34: routeLabels, a time-muted alert (row 50), and what nobody knows yet
        json!({"labels": labels("New", &nodes[1]), "receivers": [{"name": "node-condition-k8s", "routeLabels": {"team": "k8s"}}],
               "status": {"inhibitedBy": [], "silencedBy": [], "mutedBy": ["weekend"], "state": "active"}, "later": [1, {"a": null}]}),
        // row 49
        json!({"labels": labels("Inhibited", &nodes[2]), "receivers": receivers,
               "status": {"inhibitedBy": ["1234"], "silencedBy": [], "state": "suppressed"}}),
        // the least that can be said
        json!({"labels": labels("Bare", &nodes[3]), "receivers": receivers}),
    ]);
    world.sync(&["--inhibited=false", "--dry-run"]).exits(0).says("1 inhibited");
    world.sync(&[]).exits(0).prints(
        "node/w1 condition/AlertManager_Old True (added)\nnode/w2 condition/AlertManager_New True (added)\n\
         node/w3 condition/AlertManager_Inhibited True (added)\nnode/w4 condition/AlertManager_Bare True (added)",
    );
}

#[test]
fn row_63_alerts_on_our_own_conditions_are_dropped() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node), ("condition", &world.condition_type("X"))], "", true);
    world.sync(&[]).exits(0).prints("").says("Warning: 1 alert about our own conditions: skipped");
    assert_eq!(world.owned(&node), Vec::<Value>::new());
}

#[test]
fn an_alertmanager_that_says_nothing_of_its_start_is_believed() {
    let (world, node) = world();
    let hidden = world.alertmanager().faults().on("GET", "/api/v2/status").status(403);
    world
        .sync(&["--warmup", "5m"])
        .exits(0)
        .prints("node/w1 condition/AlertManager_X False (was True)")
        .says("does not say since when it is up: --warmup has no effect");
    hidden.stop();
    world.seed(&node, "X", "True", "[P9] hot", SignedDuration::from_hours(1));
    world.alertmanager().set_started(Timestamp::now() - SignedDuration::from_mins(6));
    world.sync(&["--warmup", "5m"]).exits(0).prints("node/w1 condition/AlertManager_X False (was True)");
}

#[test]
fn a_kubeconfig_that_is_none() {
    let (world, node) = world();
    let good = std::fs::read_to_string(world.kubeconfig()).unwrap();
    let token = "s3cr3t-token";
    let broken = world
        .file("broken", &format!("apiVersion: v1\nusers:\n- name: u\n  user:\n    token: {token}\n   bad"));
    let no_context =
        world.file("no-context", &good.replace("current-context: sandbox", "current-context: ''"));
    let no_cluster = world.file("no-cluster", &good.replace("    cluster: sandbox\n", "    cluster: gone\n"));
    let empty = world.file("empty", "");
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let missing = path(&empty).replace("empty", "missing");
    let cases = [
        ("a missing file", world.sync(&["--kubeconfig", &missing])),
        ("a broken file", world.sync(&["--kubeconfig", &path(&broken)])),
        ("an empty file", world.sync(&["--kubeconfig", &path(&empty)])),
        ("no current context", world.sync(&["--kubeconfig", &path(&no_context)])),
        ("a context without its cluster", world.sync(&["--kubeconfig", &path(&no_cluster)])),
        ("an unknown context", world.sync(&["--context", "prod"])),
        ("an unknown cluster", world.sync(&["--cluster", "prod"])),
        ("an unknown user", world.sync(&["--user", "root"])),
        ("a server that is no URL", world.sync(&["--server", "http://[::1"])),
        (
            "a CA file that is missing",
            world.sync(&["--server", "https://127.0.0.1:1", "--certificate-authority", &missing]),
        ),
        ("no kubeconfig at all", {
            let mut command = world.sync_command(&[]);
            crate::support::run(command.env_remove("KUBECONFIG"))
        }),
    ];
    let directory = empty.parent().unwrap().to_str().unwrap();
    let cases = cases.map(|(what, mut run)| {
        assert!(!run.stderr.contains(token), "{}", run.stderr);
        run.stderr = run.stderr.replace(directory, "$DIR");
        (what, run)
    });
    check("kubeconfig", &world, &node, cases);
}

#[test]
fn flags_that_are_none() {
    let (world, node) = world();
    let cases = [
        ("an unknown flag", world.sync(&["--recevier", "x"])),
        ("no receiver", world.run(&["sync", "--alertmanager", "http://127.0.0.1:1"])),
        ("no source", world.run(&["sync"])),
        ("row 83: a Prometheus without a filter", world.run(&["sync", "--prometheus", "http://127.0.0.1:1"])),
        ("a Service that is none", world.sync(&["--alertmanager", "svc://monitoring"])),
        ("an automatic Prometheus", world.sync(&["--prometheus", "auto"])),
        ("an expression", world.sync(&["--match-expr", "labels.node == "])),
        ("a percentage", world.sync(&["--max-clear", "101"])),
        ("an address to listen on", world.sync(&["--loop", "--metrics-addr", "8080"])),
        ("a loop that shows a document", world.sync(&["--loop", "-o", "json"])),
        ("an unknown command", world.run(&["snyc"])),
        ("a prefix that would own Ready", world.sync(&["--prefix", "Ready"])),
        ("a short prefix", world.sync(&["--prefix", "R"])),
        ("a duration", world.sync(&["--linger", "4 days"])),
        ("a negative duration", world.sync(&["--linger=-1h"])),
        ("a concurrency", world.sync(&["--concurrency", "0"])),
        ("a matcher", world.sync(&["--filter", "cluster"])),
        ("a severity without a priority", world.sync(&["--severity-priority", "critical"])),
        ("a severity with a bad priority", world.sync(&["--severity-priority", "critical=high"])),
        ("a dry-run mode", world.sync(&["--dry-run=maybe"])),
        ("an exit code without a dry run", world.sync(&["--exit-code"])),
        ("a purge as a document", world.sync(&["--purge", "-o", "json"])),
        ("a node that cannot be one", world.sync(&["../etc"])),
        ("a selector", world.sync(&["-l", "a in (b"])),
    ];
    check("flags", &world, &node, cases);
}

#[test]
fn a_configuration_file_that_is_none() {
    let (world, node) = world();
    let case = |what: &'static str, text: &str| {
        let file = world.file("config.yaml", text);
        let mut run = world.sync(&["--config", file.to_str().unwrap()]);
        run.stderr = run.stderr.replace(file.to_str().unwrap(), "config.yaml");
        (what, run)
    };
    let cases = [
        case("an unknown key", "linger: 1h\n\nrecevier: x\n"),
        case("a wrong type", "# comment\nlinger:\n  hours: 1\n"),
        case("a list where one value goes", "linger: [1h, 2h]\n"),
        case("a number out of range", "linger: 1h\nconcurrency: 1000\n"),
        case("a word where a number goes", "concurrency: many\n"),
        case("a bad duration", "linger: soon\n"),
        case("a bad truth value", "strict: perhaps\n"),
        case("what only the command line may say", "purge: true\n"),
        case("broken YAML", "linger: 'x\n"),
        case("the same key twice", "linger: 1h\nlinger: 2h\n"),
        case("a list", "- linger\n"),
        ("a missing file", world.sync(&["--config", "/nonexistent/config.yaml"])),
        ("a bad variable", {
            let mut run = crate::support::run(world.sync_command(&[]).env("SCIURO_CONCURRENCY", "lots"));
            run.stderr = run.stderr.replace(world.alertmanager_url(), "http://alertmanager");
            run
        }),
    ];
    check("configuration_file", &world, &node, cases);
}

/// Secrets are read when they are needed, and nothing is written without them.
#[test]
fn files_of_secrets_and_certificates_that_are_none() {
    let (world, node) = world();
    let empty = world.file("empty", "");
    let directory = empty.parent().unwrap().to_str().unwrap().to_owned();
    let case = |what: &'static str, text: &str| {
        let config = world.file("http.yaml", text);
        (what, world.sync(&["--http-config", config.to_str().unwrap()]))
    };
    let cases = [
        ("a missing file", world.sync(&["--http-config", &format!("{directory}/missing")])),
        ("a directory", world.sync(&["--http-config", &directory])),
        case("an unknown key", "basic_auth:\n  user: reader\n"),
        case("a secret that is missing", "authorization: {credentials_file: missing}\n"),
        case("a secret that cannot be read", "basic_auth: {username: reader, password_file: .}\n"),
        case("an authority that is missing", "tls_config: {ca_file: missing}\n"),
        case("a certificate without its key", "tls_config: {cert_file: empty}\n"),
    ];
    let cases = cases.map(|(what, mut run)| {
        run.stderr = run.stderr.replace(&directory, "$DIR");
        (what, run)
    });
    check("secrets", &world, &node, cases);
}

#[test]
fn tls_that_does_not_fit() {
    let (world, node) = world();
    let authority = Authority::new("ca");
    world.file("ca.crt", &authority.certificate);
    world.file("other.crt", &Authority::new("another").certificate);
    let front =
        |names: &[&str], clients| Front::tls(world.alertmanager_url(), &authority.issue(names), clients);
    let (fits, elsewhere) = (front(&["localhost"], None), front(&["alertmanager.example"], None));
    let mutual = front(&["localhost"], Some(&authority));
    let case = |what: &'static str, front: &Front, scheme: &str, ca: &str| {
        let server = format!("localhost:{}", front.address().port());
        let config = world.file("http.yaml", &format!("tls_config: {{ca_file: {ca}}}\n"));
        let url = format!("{scheme}://{server}");
        let mut run = world.sync(&["--http-config", config.to_str().unwrap(), "--alertmanager", &url]);
        run.stderr = run.stderr.replace(&server, "alertmanager");
        (what, run)
    };
    let cases = [
        case("signed by another", &fits, "https", "other.crt"),
        case("for another name", &elsewhere, "https", "ca.crt"),
        case("a certificate of the client is asked for", &mutual, "https", "ca.crt"),
        case("plain HTTP where TLS is spoken", &fits, "http", "ca.crt"),
    ];
    check("tls", &world, &node, cases);
    case("all fits", &fits, "https", "ca.crt").1.exits(0);
}

/// Row 64: a 422 that is not about the uid is an error of that node, with its text.
fn row_64_an_admission_policy_fails_its_node(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    for node in &nodes {
        world.alert(&[("alertname", "X"), ("node", node)], "hot", true);
    }
    let message = "conditions of this node are frozen";
    if world.doubles.is_some() {
        let path = format!("/api/v1/nodes/{}/status", nodes[0]);
        let _stays = world.api().faults().on("PATCH", &path).status(422).message(message);
    } else {
        freeze(world, &nodes[0], message);
    }
    world
        .sync(&[])
        .exits(1)
        .prints("node/w2 condition/AlertManager_X True (added)")
        .says("node/w1: Error from server (Invalid)")
        .says(message)
        .says("error: 1 of 2 nodes could not be written");
}

/// A `ValidatingAdmissionPolicy` on one node's status, in force when this returns.
fn freeze(world: &World, node: &str, message: &str) {
    let collection = "/apis/admissionregistration.k8s.io/v1";
    let name = world.name("frozen");
    world.create(
        &format!("{collection}/validatingadmissionpolicies"),
        &json!({"metadata": {"name": name}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
                "resources": ["nodes/status"]}]},
            "matchConditions": [{"name": "node", "expression": format!("object.metadata.name == '{node}'")}],
            "validations": [{"expression": "!object.status.conditions.exists(c, c.type.endsWith('_X') || c.type.endsWith('Probe'))",
                "message": message}],
        }}),
    );
    world.create(
        &format!("{collection}/validatingadmissionpolicybindings"),
        &json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}),
    );
    let probe = json!({"status": {"conditions": [{"type": "Probe", "status": "True"}]}});
    let path = format!("/api/v1/nodes/{node}/status?dryRun=All");
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while world.try_api("PATCH", &path, "application/strategic-merge-patch+json", &probe).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the policy does not take effect");
    }
}

/// The double speaks no TLS.
mod control_plane_only {
    use super::*;

    mod control_plane {
        use super::*;

        #[test]
        fn an_api_server_whose_certificate_is_signed_by_another() {
            let world = World::control_plane();
            let node = world.node("w1");
            world.alert(&[("alertname", "X"), ("node", &node)], "", true);
            let other = world.file("other.crt", &Authority::new("another").certificate);
            world
                .sync(&["--certificate-authority", other.to_str().unwrap()])
                .exits(1)
                .prints("")
                .says("invalid peer certificate: UnknownIssuer");
            assert_eq!(world.condition(&node, "X"), None);
        }
    }
}

fn the_api_server_is_away(world: &World) {
    world
        .sync(&["--server", "https://127.0.0.1:1"])
        .exits(1)
        .prints("")
        .says("The connection to the server https://127.0.0.1:1/ was refused - did you specify the right host or port?")
        .says("hint: kubectl cluster-info");
}
