//! What `-o json` prints is what the shipped schemas describe.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::World;

#[track_caller]
fn validates(schema: &str, document: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(schema);
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
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
fn version() {
    let world = World::sandbox();
    validates("version.json", &world.run(&["version", "-o", "json"]).exits(0).stdout);
    validates("version.json", &world.run(&["version", "-o", "json", "--client"]).exits(0).stdout);
}
