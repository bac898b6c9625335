//! A run is killed by whoever carries its order to the machine, ssh or a command: before the order is carried out, and after
//! that, before its answer is taken. Somebody goes on, and no attempt reboots the machine twice.

use serde_json::Value;

use crate::support::{Carrier, Fleet, Moment, Run, World, run, scenarios};

scenarios![
    ssh_before_the_order_arrives,
    ssh_after_the_order_arrived,
    a_command_before_it_acts,
    a_command_after_it_acted,
];

/// A run is killed there; then `and_then` goes on with more flags.
fn killed(
    world: &World,
    method: &str,
    moment: Moment,
    and_then: impl FnOnce(&Fleet<'_>, &dyn Fn(&[&str]) -> Run),
) {
    let fleet = Fleet::new(world);
    let carrier = Carrier::new(world, &fleet.machines);
    carrier.kills_at(moment);
    let power = carrier.power();
    let go = |more: &[&str]| {
        let mut flags = vec![fleet.node.as_str(), "--reboot-method", method];
        if method == "command" {
            flags.extend(["--reboot-command", &power]);
        }
        let mut command = fleet.command(&[&flags[..], more].concat());
        carrier.serves(&mut command);
        run(&mut command)
    };
    let killed = go(&[]);
    assert_eq!(killed.code, None, "killed by a signal: {killed:#?}");
    let record = fleet.record();
    assert_eq!(record["state"], "RebootIntent", "{record:#}");
    assert_eq!(record["attempts"][0]["outcome"], Value::Null, "{record:#}");
    and_then(&fleet, &go);
    let facts = fleet.machines.facts(&fleet.node).expect("a machine");
    assert_eq!(facts.reboots, 1);
    assert_eq!(world.get_node(&fleet.node)["status"]["nodeInfo"]["bootID"], facts.boot_id.as_str());
    assert_eq!(fleet.record(), Value::Null);
    assert!(!fleet.is_cordoned());
    fleet.nothing_is_left();
}

/// The guard makes it harmless to send it again.
fn ssh_before_the_order_arrives(world: &World) {
    killed(world, "ssh", Moment::Before, |fleet, go| {
        assert_eq!(fleet.orders(), (0, 0));
        go(&["--resume"]).exits(0);
        assert_eq!(fleet.orders(), (1, 1));
    });
}

fn ssh_after_the_order_arrived(world: &World) {
    killed(world, "ssh", Moment::After, |fleet, go| {
        assert_eq!(fleet.orders().0, 1);
        go(&["--resume"]).exits(0);
        assert_eq!(fleet.orders().1, 1);
    });
}

/// Nobody knows whether it acted: it is sent again only once a person has said that it did not.
fn a_command_before_it_acts(world: &World) {
    killed(world, "command", Moment::Before, |fleet, go| {
        go(&["--resume", "--reboot-timeout", "2s"]).exits(6);
        go(&["--resume", "--retry-reboot"]).exits(6).says("--confirm");
        assert_eq!(fleet.orders(), (0, 0), "nothing was sent again");
        let confirm = format!("--confirm={}", fleet.node);
        go(&["--resume", "--retry-reboot", &confirm]).exits(0);
    });
}

fn a_command_after_it_acted(world: &World) {
    killed(world, "command", Moment::After, |_, go| drop(go(&["--resume"]).exits(0)));
}
