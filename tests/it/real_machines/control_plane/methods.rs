//! All six steps by each method, with everything on the node that runs on nodes.

use std::sync::Arc;

use regex::Regex;

use super::machine::{Yard, power_program, within};
use crate::reboot::control_plane::peers::bmc::{bmc, curl, ipmitool, redfish};
use crate::reboot::machine::Machine as Beside;
use crate::support::{Run, World};

/// What is beside the machine and has its hand on its power. A BMC answers before the machine is off.
fn beside(yard: &Yard<'_>) -> Beside {
    let beside = Beside::new();
    let power = power_program().display().to_string();
    let name = &yard.machine.name;
    beside.script("restart", &format!("setsid '{power}' {name} cycle </dev/null >power.log 2>&1 &"));
    beside
}

#[track_caller]
fn goes_through_all_six_steps(yard: &Yard<'_>, run: Run) {
    let run = run.exits(0);
    yard.is_remediated();
    // The server said 429 until the other pod of the Deployment was Ready elsewhere.
    let run = run.says("The disruption budget web needs 1 healthy pods and has 1 currently");
    for step in ["cordon", "collect", "drain", "reboot", "verify", "uncordon"] {
        let line = Regex::new(&format!(r"(?m)^✔ {step}\b.*\(\d+(\.\d)?m?s")).unwrap();
        assert!(line.is_match(&run.stderr), "{step}: {}", run.stderr);
    }
    works_again(yard);
}

/// What could go elsewhere is there, and the node has its own again.
fn works_again(yard: &Yard<'_>) {
    let ground = &yard.ground;
    assert_eq!(ground.apps(&ground.spare), ["agent", "cache", "db", "deaf", "disk", "web", "web"]);
    assert_eq!(ground.apps(&ground.node), ["agent"]);
    within(30, "pods that are Ready", || {
        let pods = [ground.pods(&ground.spare), ground.pods(&ground.node)].concat();
        pods.iter().all(|pod| pod["status"]["containerStatuses"][0]["ready"] == true)
    });
}

#[test]
fn by_a_pod() {
    let world = World::control_plane();
    let yard = Yard::with_everything(&world);
    goes_through_all_six_steps(&yard, yard.remediate(&[]));
}

/// PID 1 is the machine's own systemd, and the kubelet goes down with the rest.
#[test]
fn by_a_signal() {
    let world = World::control_plane();
    let yard = Yard::with_everything(&world);
    goes_through_all_six_steps(&yard, yard.remediate(&["--reboot-method=signal"]));
}

#[test]
fn over_ssh() {
    let world = World::control_plane();
    let yard = Yard::with_everything(&world);
    let config = format!("--ssh-config={}", std::env::var("SCIURO_SSH_CONFIG").unwrap());
    goes_through_all_six_steps(&yard, yard.remediate(&["--reboot-method=ssh", &config]));
}

#[test]
fn by_ipmitool() {
    let world = World::control_plane();
    let yard = Yard::with_everything(&world);
    let beside = beside(&yard);
    let (_bmc, port) = bmc(&beside);
    let command = format!("--reboot-command={}", ipmitool(&beside, port, "127.0.0.1", "chassis power reset"));
    goes_through_all_six_steps(&yard, yard.remediate(&["--reboot-method=command", &command]));
}

/// Somebody else has cordoned it: it stays so.
#[test]
fn by_redfish_on_a_node_that_somebody_cordoned() {
    let world = World::control_plane();
    let yard = Yard::with_everything(&world);
    let beside = Arc::new(beside(&yard));
    let (_service, port) = redfish(&beside);
    yard.ground.cordon(&yard.ground.node, true);
    let command = format!("--reboot-command={}", curl(port, "127.0.0.1", "ForceRestart"));
    let run = yard.remediate(&["--reboot-method=command", &command]).exits(0);
    run.says("it had been cordoned before");
    assert_eq!(yard.machine.boots(), 1);
    assert!(yard.ground.is_cordoned());
    yard.ground.is_over("remediated");
    works_again(&yard);
}
