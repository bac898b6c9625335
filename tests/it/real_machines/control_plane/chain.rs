//! From a metric of a machine to a machine without that metric, with everything real in between.

use serde_json::{Value, json};

use super::machine::{Yard, within};
use crate::support::{Running, World, run};

const CONDITION: &str = "AlertManager_CalicoTooManyInterfacesEarly";

/// The status of the condition that `sync` writes.
fn condition(yard: &Yard<'_>) -> Option<String> {
    let conditions = yard.ground.world.foreign(&yard.machine.name);
    let ours = conditions.into_iter().find(|condition| condition["type"] == CONDITION)?;
    ours["status"].as_str().map(str::to_owned)
}

/// A network interface lives until the machine is switched off: the rule of `deploy/rules/calico.yaml` counts since the boot.
#[test]
fn an_alert_is_gone_because_the_machine_has_rebooted() {
    let world = World::control_plane();
    let yard = Yard::with_everything(&world);
    let node = &yard.machine.name;
    let interfaces = "ls /sys/class/net | grep -c ^cali || true";
    let targets = std::path::PathBuf::from(std::env::var("PROMETHEUS_TARGETS").expect("a real Prometheus"));
    let target = json!([{"targets": [yard.machine.node_exporter()], "labels": {"node": node}}]);
    std::fs::write(targets.join(format!("{node}.json")), target.to_string()).unwrap();
    let alertmanager = ["--alertmanager", world.alertmanager_url(), "--receiver", "node-condition-k8s"];
    let filter = format!("node={node:?}");
    let only = ["--filter", filter.as_str(), "--warmup=0"];
    let flags = [&["sync", "--loop", "--interval=1s"], &alertmanager[..], &only[..]].concat();
    let mut sync = Running::start(&mut world.command(&flags), str::to_owned);
    sync.says("leading");
    let status = || run(&mut world.command(&["status", node, "--no-headers"])).exits(0).stdout;
    assert_ne!(condition(&yard).as_deref(), Some("True"));

    yard.machine
        .ssh("for n in $(seq 80); do ip link add cali${n}a type veth peer name cali${n}b || exit; done");
    within(90, "a condition", || condition(&yard).as_deref() == Some("True"));
    let shown = status();
    assert!(shown.contains(node.as_str()) && shown.contains("CalicoTooManyInterfacesEarly"), "{shown}");

    let run = yard.remediate(&[]).exits(0);
    yard.is_remediated();
    run.says("CalicoTooManyInterfacesEarly");
    assert_eq!(yard.machine.ssh(interfaces), "0");
    within(30, "a condition that is over", || condition(&yard).as_deref() == Some("False"));
    let alerts = format!("{}/api/v2/alerts?filter=node={node:?}", world.alertmanager_url());
    let left: Value = world.block_on(async {
        serde_json::from_slice(&reqwest::get(alerts).await.unwrap().bytes().await.unwrap()).unwrap()
    });
    assert_eq!(left, json!([]));
    assert!(!status().contains("CalicoTooManyInterfacesEarly"));

    let (printed, _) = sync.interrupt();
    let printed_first = format!("node/{node} condition/{CONDITION} True (");
    assert!(printed.first().is_some_and(|line| line.starts_with(&printed_first)), "{printed:?}");
    // Not all that was printed: a page that comes late for once ends an alert, and it begins anew.
    assert_eq!(printed.last(), Some(&format!("node/{node} condition/{CONDITION} False (was True)")));
    std::fs::remove_file(targets.join(format!("{node}.json"))).unwrap();
}
