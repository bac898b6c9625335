//! Log lines: JSON of the API's own text, or text in which nothing is obeyed.

use sciuro::core::invisible::marked;
use serde_json::{Value, json};

use crate::support::{Running, World, scenarios};

scenarios![t15_f_log_lines_have_the_apis_text];

fn t15_f_log_lines_have_the_apis_text(world: &World) {
    let holder = "eve\u{1b}[2J\u{9b}\u{202e}\u{e0041}\n{}";
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": world.name("sync")},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 600, "acquireTime": now, "renewTime": now},
    });
    world.create(world.lease_path().rsplit_once('/').expect("a path").0, &lease);
    for format in ["json", "text"] {
        let mut sync =
            Running::start(&mut world.sync_command(&["--loop", "--log-format", format]), str::to_owned);
        sync.says("is held by eve");
        let (_, lines) = sync.interrupt();
        let said = lines.iter().find(|line| line.contains("is held by eve")).expect("it was said");
        assert!(lines.iter().flat_map(|line| marked(line)).all(|(_, is_hostile)| !is_hostile), "{lines:?}");
        if format == "json" {
            let line: Value = serde_json::from_str(said).expect("JSON");
            let message = line["fields"]["message"].as_str().expect("a message");
            assert!(message.ends_with(&format!(" is held by {holder}")), "{message:?}");
        } else {
            assert!(said.ends_with("[2J\\u{9b}\\u{202e}\\u{e0041}\\n{}"), "{said:?}");
        }
    }
}
