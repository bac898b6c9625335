//! What `-o json` prints is what the shipped schemas describe.

pub(crate) mod config;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::World;

pub(crate) fn validator(schema: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(schema);
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn is_valid(schema: &str, document: &Value) -> bool {
    validator(schema).is_valid(document)
}

#[track_caller]
pub fn validates(schema: &str, document: &str) -> Value {
    let validator = validator(schema);
    let document: Value = serde_json::from_str(document).unwrap();
    let errors: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new(), "{document:#}");
    let mut strange = document.clone();
    strange["strange"] = json!(true);
    assert!(!validator.is_valid(&strange), "the schema describes every field");
    document
}

#[test]
fn sync_report() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    for node in &nodes {
        world.alert(&[("alertname", "X"), ("node", node)], "hot", true);
    }
    world.seed(&nodes[0], "Ended", "True", "[P9]", jiff::SignedDuration::from_mins(1));
    world.seed(&nodes[1], "Old", "False", "", jiff::SignedDuration::from_hours(100));
    world.seed(&nodes[2], "X", "True", "[P9] hot", jiff::SignedDuration::from_hours(1));
    let _fails = world.api().faults().on("PATCH", &format!("/api/v1/nodes/{}/status", nodes[0])).status(422);
    validates("sync-report.json", &world.sync(&["-o", "json", "--dry-run"]).exits(0).stdout);
    let report = validates("sync-report.json", &world.sync(&["-o", "json"]).exits(1).stdout);
    let kinds: Vec<&str> = report["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["change"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["transition", "add", "delete", "add", "heartbeat"]);
    assert_eq!(report["failures"].as_object().unwrap().len(), 1);
    validates(
        "sync-report.json",
        &world.sync(&["-o", "json", "--alertmanager", "http://127.0.0.1:1"]).exits(11).stdout,
    );
}

#[test]
fn status_report() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2"]);
    let minute = jiff::SignedDuration::from_mins(1);
    world.seed(&nodes[0], "Hot", "True", "[P1] hot", minute * 300);
    world.seed(&nodes[0], "NoPriority", "Unknown", "", minute);
    world.seed(&nodes[1], "Ended", "False", "", minute);
    let path = format!("/api/v1/nodes/{}", nodes[1]);
    let cordon = json!({"spec": {"unschedulable": true}});
    world.request("PATCH", &path, "application/merge-patch+json", &cordon);
    let status = |more: &[&str]| {
        let flags =
            ["status", "-o", "json", "--lease-name", &world.name("sync"), "--prefix", &world.prefix()];
        validates("status-report.json", &world.run(&[&flags, more].concat()).exits(0).stdout)
    };
    // Nobody has synced; then somebody has, long ago, and just now.
    assert!(status(&["--all"])["cannotTell"].is_string());
    for (age, is_stale) in [(minute * 200, true), (minute, false)] {
        let last_full = crate::support::seconds_ago(age);
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": world.name("sync"), "annotations": {
                "sciuro.dev/last-full": last_full, "sciuro.dev/last-by": "cron@ops1", "sciuro.dev/interval": "60s"}}});
        if is_stale {
            world.create(world.lease_path().rsplit_once('/').unwrap().0, &lease);
        } else {
            world.request("PATCH", &world.lease_path(), "application/merge-patch+json", &lease);
            world.seed_confirmed(&nodes[0], "Hot", "True", "[P1] hot", minute * 300);
        }
        let report = status(&["--all"]);
        assert_eq!(report["items"][0]["stale"], is_stale, "{report:#}");
        assert_eq!(report["cannotTell"].is_string(), is_stale, "{report:#}");
        assert_eq!(report["lastFullSync"], last_full);
        assert!(report["items"].as_array().unwrap().iter().any(|item| item["status"] == "False"));
    }
    assert_eq!(status(&["--condition", "^Nothing$"])["items"], json!([]));
    let quiet = json!({"metadata": {"annotations": {"sciuro.dev/prefix": "Quiet_"}}});
    world.request("PATCH", &world.lease_path(), "application/merge-patch+json", &quiet);
    let untyped = world.run(&["status", "-o", "json", "--lease-name", &world.name("sync")]).exits(0);
    assert_eq!(validates("status-report.json", &untyped.stdout)["leasePrefix"], "Quiet_");
    let item = status(&[&nodes[0]])["items"][0].clone();
    for (field, wrong) in [
        ("strange", json!(true)),
        ("priority", json!(1000)),
        ("nodeStatus", json!("Fine")),
        ("roles", json!([""])),
        ("lastHeartbeatTime", json!("yesterday")),
        ("node", Value::Null),
    ] {
        let mut report = status(&[]);
        report["items"] = json!([item]);
        report["items"][0][field] = wrong;
        assert!(!is_valid("status-report.json", &report), "{field}");
    }
}

#[test]
fn remediation_plan() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2"]);
    world.seed(&nodes[0], "Hot", "True", "[P1] hot", jiff::SignedDuration::from_mins(1));
    let plan = |more: &[&str], code| {
        let flags = ["remediate", &*nodes[0], "--dry-run", "-o", "json", "--prefix", &world.prefix()];
        let run = world.run(&[&flags, more].concat()).exits(code);
        validates("remediation-plan.json", &run.stdout)
    };
    let fine = plan(&[], 0);
    assert_eq!(fine["items"][0]["refusals"], json!([]));
    assert_eq!(fine["items"][0]["reboot"]["probed"], true);
    let command = plan(&["--reboot-method", "command", "--reboot-command", "reset {node}"], 0);
    assert_eq!(command["items"][0]["reboot"]["command"], json!(["reset", "w1"]));
    let path = format!("/api/v1/nodes/{}", nodes[0]);
    let exclude = json!({"metadata": {"labels": {"sciuro.dev/exclude": ""}}});
    world.request("PATCH", &path, "application/merge-patch+json", &exclude);
    assert_eq!(plan(&[], 3)["items"][0]["refusals"][0]["flag"], "--override excluded");
    assert_eq!(plan(&["--override", "excluded"], 0)["items"][0]["overridden"], json!(["excluded"]));
    let mut strange = fine.clone();
    strange["items"][0]["reboot"]["method"] = json!("hammer");
    assert!(!is_valid("remediation-plan.json", &strange));
}

#[test]
fn check_report() {
    let world = World::sandbox();
    let fine = validates("check-report.json", &world.run(&["check", "-o", "json"]).exits(0).stdout);
    assert_eq!(fine["missing"], json!([]));
    world.user_who_may(&[]);
    let bad = validates("check-report.json", &world.run(&["check", "-o", "json"]).exits(1).stdout);
    let of = |report: &Value| -> Vec<String> {
        let place = |object: &Value| object["metadata"]["namespace"].as_str().map(str::to_owned);
        let missing = report["missing"].as_array().unwrap().iter();
        missing
            .map(|object| {
                format!("{} {}", object["kind"].as_str().unwrap(), place(object).unwrap_or_default())
            })
            .collect()
    };
    let cluster = ["ClusterRole ", "ClusterRoleBinding "];
    let [system, events, leases] = ["kube-system", "default", "kube-node-lease"]
        .map(|namespace| ["Role", "RoleBinding"].map(|kind| format!("{kind} {namespace}")));
    let cluster = cluster.map(String::from);
    assert_eq!(of(&bad), [cluster.clone(), events, leases, system.clone()].concat());
    let of_sync = world.run(&["check", "--for", "sync", "-o", "json"]).exits(1);
    assert_eq!(of(&validates("check-report.json", &of_sync.stdout)), [cluster, system].concat());
    let mut strange = bad.clone();
    strange["checks"][0]["status"] = json!("great");
    assert!(!is_valid("check-report.json", &strange));
}

#[test]
fn version() {
    let world = World::sandbox();
    validates("version.json", &world.run(&["version", "-o", "json"]).exits(0).stdout);
    validates("version.json", &world.run(&["version", "-o", "json", "--client"]).exits(0).stdout);
}
