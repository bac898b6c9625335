//! What makes a source silent for ever: a receiver that no route names, a filter on what its API leaves out.

use std::process::Command;

use ::sandbox::{Alertmanager, Prometheus};
use jiff::SignedDuration;
use tempfile::TempDir;

use crate::sources::real::{alertmanager_of, free_port, prometheus};
use crate::support::{World, scenarios};
use crate::watch::eventually;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

scenarios![
    t15_d11_an_empty_receiver_that_no_route_names_clears_nothing,
    t15_d11_a_filter_on_an_external_label_is_told_and_clears_nothing,
    t15_d11_a_label_that_only_some_rules_have_is_told,
    t15_d11_an_expression_on_an_external_label_is_told_and_clears_nothing,
    t15_d11_single_quotes_in_a_filter_are_told,
];

/// A double, or a server with its folder, for as long as it is wanted.
struct Source {
    url: String,
    #[expect(dead_code, reason = "goes with it")]
    kept: Box<dyn std::any::Any>,
}

/// An Alertmanager with two receivers, of which one has no route.
fn unrouted(world: &World) -> Source {
    if world.doubles.is_some() {
        let double = Alertmanager::start_blocking();
        double.set_receivers(["default", "node-condition-k8s"]);
        double.set_routes(Vec::new());
        return Source { url: double.url(), kept: Box::new(double) };
    }
    let directory = TempDir::new().expect("a folder");
    let config = "route: {receiver: default}\nreceivers: [{name: default}, {name: node-condition-k8s}]\n";
    let server = alertmanager_of(directory.path(), config, free_port());
    let url = format!("{}/-/ready", server.url);
    eventually("an Alertmanager", || world.block_on(reqwest::get(&url)).is_ok());
    Source { url: server.url.clone(), kept: Box::new((server, directory)) }
}

/// A Prometheus with an external label `cluster`, and an alert about this node that has none.
fn external(world: &World, node: &str) -> Source {
    external_and(world, node, &[])
}

/// The same, and alerts that have a label `cluster` of their own.
fn external_and(world: &World, node: &str, labelled: &[(&str, &str)]) -> Source {
    if world.doubles.is_some() {
        let double = Prometheus::start_blocking();
        double.set_external_labels(&[("cluster", "a.k8s"), ("replica", "0")]);
        double.fire(&[("alertname", "Hot"), ("node", node), ("test", world.id())], &[]);
        for (name, cluster) in labelled {
            let labels = [("alertname", *name), ("node", node), ("test", world.id()), ("cluster", *cluster)];
            double.fire(&labels, &[]);
        }
        return Source { url: double.url(), kept: Box::new(double) };
    }
    let directory = TempDir::new().expect("a folder");
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("a file");
    file(
        "prometheus.yaml",
        "global: {evaluation_interval: 1s, external_labels: {cluster: a.k8s, replica: '0'}}\nrule_files: [rules.yaml]\n",
    );
    let rule = |name: &str, more: &str| {
        let test = world.id();
        format!("{{alert: {name}, expr: vector(1), labels: {{node: {node}, test: {test}{more}}}}}")
    };
    let own = labelled.iter().map(|(name, cluster)| rule(name, &format!(", cluster: {cluster}")));
    let rules: Vec<String> = own.chain([rule("Hot", "")]).collect();
    file("rules.yaml", &format!("groups: [{{name: g, rules: [{}]}}]\n", rules.join(", ")));
    let server = prometheus(directory.path(), free_port());
    let fires = format!("{}/api/v1/alerts", server.url);
    eventually("an alert", || {
        world.block_on(async {
            let Ok(answer) = reqwest::get(&fires).await else { return false };
            answer.text().await.is_ok_and(|alerts| alerts.matches("firing").count() > labelled.len())
        })
    });
    Source { url: server.url.clone(), kept: Box::new((server, directory)) }
}

fn t15_d11_an_empty_receiver_that_no_route_names_clears_nothing(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "Hot", "True", "[P9]", MINUTE);
    let source = unrouted(world);
    let sync = |receiver: &str| world.sync(&["--alertmanager", &source.url, "--receiver", receiver]);
    sync("node-condition-k8s").exits(12).prints("").says(
        "nothing is cleared: no route names the receiver \"node-condition-k8s\", so no alert ever reaches it",
    );
    let check = [
        "check",
        "--for",
        "sync",
        "--alertmanager",
        &source.url,
        "--receiver",
        "node-condition-k8s",
        "--warmup=0",
    ];
    let run = world.run(&check);
    assert!(run.stdout.contains("no route names the receiver \"node-condition-k8s\""), "{}", run.stdout);
    // One that has a route is empty because nothing fires.
    sync("default")
        .exits(0)
        .prints("node/w1 condition/AlertManager_Hot False (was True)")
        .never_says("no route");
}

fn t15_d11_a_filter_on_an_external_label_is_told_and_clears_nothing(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "Cold", "True", "[P9]", MINUTE);
    let source = external(world, &node);
    let sync = |filter: &str| world.sync(&["--prometheus", &source.url, "--filter", filter]);
    let told = "cluster is one of its external labels, which its API leaves out: --filter cluster";
    // Whatever the value: a mistyped one or another cluster's finds nothing either.
    for filter in [
        r#"cluster="a.k8s""#,
        r#"cluster="a.k8""#,
        r#"cluster="b.k8s""#,
        r#"cluster=~"a[.].*""#,
        r#"cluster=~"b.+""#,
        r#"cluster!="""#,
    ] {
        sync(filter).exits(12).prints("").says(told).says("nothing is cleared");
    }
    let check = [
        "check",
        "--for",
        "sync",
        "--prometheus",
        &source.url,
        "--filter",
        r#"cluster="a.k8s""#,
        "--warmup=0",
    ];
    assert!(world.run(&check).stdout.contains(told), "{}", world.run(&check).stdout);
    let learnt = world.lease().map(|lease| lease["metadata"]["annotations"]["sciuro.dev/cluster"].clone());
    assert!(learnt.as_ref().and_then(|value| value.as_str()).is_none_or(str::is_empty), "{learnt:?}");
    // What alerts without the label satisfy lets them through.
    let both = "node/w1 condition/AlertManager_Cold False (was True)\nnode/w1 condition/AlertManager_Hot True (added)";
    sync(r#"cluster!="b.k8s""#).exits(0).prints(both).never_says("external");
}

/// A label that some rules set themselves hides the alerts of the others.
fn t15_d11_a_label_that_only_some_rules_have_is_told(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "Cold", "True", "[P9]", MINUTE);
    let source = external_and(world, &node, &[("Own", "a.k8s")]);
    world
        .sync(&["--prometheus", &source.url, "--filter", r#"cluster="a.k8s""#])
        .exits(12)
        .prints("node/w1 condition/AlertManager_Own True (added)")
        .says("cluster is one of its external labels, which its API leaves out: --filter cluster")
        .says("nothing is cleared");
}

/// Who may not look at the configuration, or has none to show, cannot know.
#[test]
fn t15_d11_external_labels_that_cannot_be_read_are_not_believed() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "Cold", "True", "[P9]", MINUTE);
    let prometheus = Prometheus::start_blocking();
    let fire = |name: &str, labels: &[(&str, &str)]| {
        let all = [&[("alertname", name), ("node", &node), ("test", world.id())], labels].concat();
        prometheus.fire(&all, &[]);
    };
    fire("Hot", &[]);
    let sync = |more: &[&str]| world.sync(&[&["--prometheus", &prometheus.url()], more].concat());
    let filter = ["--filter", r#"cluster="a.k8s""#];
    let expression = ["--match-expr", r#"labels["cluster"] == "a.k8s" && labels.node == FullName"#];
    let on = || prometheus.faults().on("GET", "/api/v1/status/config");
    for fault in [
        on().status(403),
        on().status(404),
        on().body("text/html", "<html>"),
        on().body("application/json", r#"{"status":"success","data":{"yaml":"global: ["}}"#),
    ] {
        for asked in [&filter, &expression] {
            sync(asked)
                .exits(12)
                .prints("")
                .says("no alert or rule has the label cluster, and whether it is one of its external labels, which its API leaves out, cannot be read")
                .says("nothing is cleared");
        }
        fault.stop();
    }
    assert_eq!(world.condition(&node, "Cold").expect("a condition")["status"], "True");
    // That an alert has it shows that it is none of them.
    let _hidden = on().status(404);
    fire("Own", &[("cluster", "a.k8s")]);
    sync(&filter).exits(0).prints(
        "node/w1 condition/AlertManager_Cold False (was True)\nnode/w1 condition/AlertManager_Own True (added)",
    );
}

fn t15_d11_an_expression_on_an_external_label_is_told_and_clears_nothing(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "Cold", "True", "[P9]", MINUTE);
    let source = external(world, &node);
    let sync = |expression: &str| world.sync(&["--prometheus", &source.url, "--match-expr", expression]);
    let told =
        "cluster is one of its external labels, which its API leaves out: --match-expr does not find it";
    for expression in [
        r#""cluster" in labels && labels.cluster == "a.k8s" && labels.node == FullName"#,
        r#"has(labels.cluster) && labels["cluster"] == "a.k8s" && labels.node == FullName"#,
        r#"labels["cluster"] == "a.k8s" && labels.node == FullName"#,
    ] {
        sync(expression).exits(12).prints("").says(told).says("nothing is cleared");
    }
    let right = r#"labels.node == FullName && labels.test != "cluster""#;
    let both = "node/w1 condition/AlertManager_Cold False (was True)\nnode/w1 condition/AlertManager_Hot True (added)";
    sync(right).exits(0).prints(both).never_says("external");
}

fn t15_d11_single_quotes_in_a_filter_are_told(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "Hot"), ("node", &node), ("rack", "r1")], "", true);
    let told =
        r#"--filter rack="'r1'": the single quotes are part of the value; without them it is rack="r1""#;
    world.sync(&["--filter", "rack='r1'"]).exits(0).prints("").says(told);
    let more = [
        "--alertmanager",
        world.alertmanager_url(),
        "--receiver",
        "node-condition-k8s",
        "--filter",
        "rack='r1'",
    ];
    let check = world.run(&[&["check", "--for", "sync", "--warmup=0"], &more[..]].concat());
    assert!(check.stdout.contains(told), "{}", check.stdout);
    let mut plan: Command = world.command(&["remediate", &node, "--dry-run"]);
    let plan = crate::support::run(plan.args(more));
    assert!(
        plan.stdout.contains("the single quotes are part of the value"),
        "{}\n{}",
        plan.stdout,
        plan.stderr
    );
    let hot = "node/w1 condition/AlertManager_Hot True (added)";
    world.sync(&["--filter", r#"rack="r1""#]).exits(0).prints(hot).never_says("single quotes");
}

/// A configuration is text in the answer, and YAML: neither takes more memory than there is.
#[test]
fn t15_d11_no_configuration_takes_more_memory_than_there_is() {
    let world = World::sandbox();
    world.node("w1");
    let routes = vec!["- {receiver: a}"; (3 << 20) / 16].join("\\n");
    for (what, yaml) in
        [("long", "x".repeat(60 << 20)), ("many routes", format!("route:\\n routes:\\n {routes}"))]
    {
        let body = format!(r#"{{"config":{{"original":"{yaml}"}},"uptime":"2020-01-01T00:00:00Z"}}"#);
        let answered =
            world.alertmanager().faults().on("GET", "/api/v2/status").times(1).body("application/json", body);
        let most = super::sources::peak(&world, &[]);
        assert_eq!(answered.hits(), 1, "{what}");
        assert!(most < 256, "{what}: {most} MiB");
    }
}
