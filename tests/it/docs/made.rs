//! What stands in the pages and is made: tables from the flags, and runs on the sandbox.

use std::path::Path;

use super::flags;
use super::stage::Stage;

const CALICO: [(&str, &str); 3] =
    [("alertname", "CalicoTooManyInterfacesEarly"), ("node", "worker1a"), ("priority", "6")];
const CALICO_SAYS: &str = "Kubernetes node worker1a has too many Calico interfaces";

pub(super) fn part(name: &str) -> String {
    match name.split_once(' ').unwrap_or((name, "")) {
        ("flags", command) => flags::table(command),
        ("upstream-variables", "") => flags::upstream(),
        ("exit-codes", "") => flags::exit_codes(),
        ("six-steps", "") => six_steps(),
        ("first-round", "") => first_round(),
        ("life-of-a-condition", "") => life_of_a_condition(),
        ("own-columns", "") => own_columns(),
        ("check", "") => check(),
        ("wrong-receiver", "") => wrong_receiver(),
        ("refused", "") => refused(),
        ("dry-run", "") => dry_run(),
        _ => panic!("no part is called {name}"),
    }
}

/// The run that tests/it/remediate/transcript.rs makes, on the real control plane as well.
fn six_steps() -> String {
    let path = "tests/it/remediate/snapshots/it__remediate__transcript__six_steps.snap";
    let snapshot =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a snapshot");
    snapshot.split_once("\n---\n").expect("a snapshot").1.to_owned()
}

/// Alerts on a few nodes.
fn trouble() -> Stage {
    let stage = Stage::new(&["worker1a", "worker1b", "worker2a", "worker3b"]);
    stage.world.alert(&CALICO, CALICO_SAYS, true);
    let disk = [("alertname", "DiskFailing"), ("instance", "worker3b:9100"), ("priority", "1")];
    stage.world.alert(&disk, "sda reallocated sectors 812", true);
    stage
}

fn first_round() -> String {
    let mut stage = trouble();
    stage.types("kubectl sciuro sync --dry-run", 0);
    stage.types("kubectl sciuro sync", 0);
    stage.types("kubectl sciuro status", 0);
    stage.text()
}

fn life_of_a_condition() -> String {
    let mut stage = Stage::new(&["worker1a", "worker1b", "worker2a"]);
    stage.world.alert(&CALICO, CALICO_SAYS, true);
    stage.types("kubectl sciuro sync", 0);
    stage.conditions("worker1a");
    stage.types("kubectl sciuro sync", 0);
    stage.says("worker1a is rebooted, and its alert ends");
    stage.world.alert(&CALICO, CALICO_SAYS, false);
    stage.types("kubectl sciuro sync", 0);
    stage.conditions("worker1a");
    stage.text()
}

fn own_columns() -> String {
    let mut stage = trouble();
    stage.quietly("kubectl sciuro sync");
    stage.types("kubectl sciuro status --no-headers -o custom-columns=NODE:.node,P:.priority,WHY:.message --sort-by .node", 0);
    let template = r#"'{range .items[?(@.priority<=3)]}{.node}{"\t"}{.message}{"\n"}{end}'"#;
    stage.types(&format!("kubectl sciuro status -o jsonpath={template}"), 0);
    stage.types("kubectl sciuro status --priority 1-3 -o name", 0);
    stage.text()
}

fn check() -> String {
    let mut stage = trouble();
    stage.quietly("kubectl sciuro sync");
    stage.world.api().deny("patch", "nodes/status");
    stage.types("kubectl sciuro check --for sync", 1);
    stage.text()
}

fn wrong_receiver() -> String {
    let mut stage = trouble();
    stage.types("kubectl sciuro sync --receiver node-condition-k8", 11);
    stage.text()
}

fn refused() -> String {
    let mut stage = Stage::new(&["worker1a", "worker1b", "worker2a"]);
    stage.label("worker1a", "sciuro.dev/exclude", "true");
    stage.types("kubectl sciuro remediate worker1a --yes", 3);
    stage.text()
}

fn dry_run() -> String {
    let mut stage = Stage::new(&["worker1a", "worker1b", "worker2a"]);
    stage.world.alert(&CALICO, CALICO_SAYS, true);
    stage.quietly("kubectl sciuro sync");
    stage.types("kubectl sciuro remediate worker1a --dry-run=server", 0);
    stage.text()
}
