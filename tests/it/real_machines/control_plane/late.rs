//! The pod with the order starts when nobody waits for it any more.

use serde_json::Value;

use super::machine::{Yard, within};
use crate::support::{Boundary, World};

const JSON: &str = "application/json";

/// A run that has died with its order on the way to a kubelet that hangs.
fn order_to_a_kubelet_that_hangs(world: &World) -> Yard<'_> {
    let mut yard = Yard::new(world);
    yard.machine.spoil();
    let order = Boundary { method: "POST".into(), resource: "pods".into(), nth: 3 };
    yard.killed_after("systemctl kill --signal=STOP kubelet", &order);
    assert_eq!(yard.ground.record().unwrap()["state"], "RebootIntent");
    assert!(yard.ground.helpers().iter().any(|name| name.contains("sciuro-reboot-")));
    assert_eq!(yard.machine.boots(), 0);
    yard
}

/// What the pod with the order said, and with which exit code.
fn answer(yard: &Yard<'_>) -> (i64, String) {
    let name = yard.ground.helpers()[0].trim_matches('"').to_owned();
    let path = format!("/api/v1/namespaces/kube-system/pods/{name}");
    let terminated = || {
        let pod = yard.ground.world.request("GET", &path, JSON, &Value::Null);
        pod["status"]["containerStatuses"][0]["state"]["terminated"].clone()
    };
    within(60, "an answer", || terminated().is_object());
    let terminated = terminated();
    (terminated["exitCode"].as_i64().unwrap(), terminated["message"].as_str().unwrap().trim().to_owned())
}

#[test]
fn an_order_that_starts_too_late() {
    let world = World::control_plane();
    let yard = order_to_a_kubelet_that_hangs(&world);
    let record = yard.ground.record().unwrap();
    let limit = record["attempts"][0]["notAfterUptime"].as_u64().unwrap();
    within(130, "an order that is too old", || {
        let uptime = yard.machine.ssh("cat /proc/uptime");
        uptime.split('.').next().unwrap().parse::<u64>().unwrap() > limit
    });
    yard.machine.ssh("systemctl kill --signal=CONT kubelet");
    let (code, said) = answer(&yard);
    assert_eq!(code, 11, "{said}");
    assert!(said.starts_with("too late "), "{said}");
    yard.ground.remediate(&["--yes", "--abort"]).exits(0);
    assert_eq!(yard.machine.boots(), 0);
    assert!(!yard.ground.is_cordoned());
}

#[test]
fn an_order_that_starts_after_another_boot() {
    let world = World::control_plane();
    let yard = order_to_a_kubelet_that_hangs(&world);
    yard.machine.power("cycle");
    let (code, said) = answer(&yard);
    assert_eq!((code, said), (10, format!("other boot {}", yard.machine.boot_id())));
    yard.remediate(&["--resume"]).exits(0);
    yard.is_remediated();
}
