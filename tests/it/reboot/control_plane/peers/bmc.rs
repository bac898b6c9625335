//! Commands of the user's, to what stands beside a machine: its BMC, or the service that manages its power.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use sciuro::remedy::reboot::command::CommandOptions;
use sciuro::remedy::reboot::{self, Addresses, Issued, Reboot, RebootError};
use serde_json::json;

use super::{Peer, listens, on_a_free_port, program};
use crate::reboot::machine::Machine;
use crate::reboot::{ID, target};
use crate::support::World;

const INTERNAL_IP: Addresses<'_> = Addresses { kind: "InternalIP", known: None };

/// A world with a node on this machine's address.
fn world() -> (World, String) {
    let world = World::sandbox();
    let name = world.name("w1");
    let mut node = sandbox::node(&name);
    node["status"]["addresses"] = json!([{"type": "InternalIP", "address": "127.0.0.1"}]);
    node["spec"]["providerID"] = "redfish://r7/27946b59-9e44-4fa7-8e91-f3527a1ef094".into();
    world.create("/api/v1/nodes", &node);
    (world, name)
}

fn order(world: &World, node: &str, command: &str) -> Result<Issued, RebootError> {
    let cluster = world.cluster(None);
    let node = world.block_on(cluster.remediated_node(node)).unwrap().unwrap();
    let reboot = Reboot::Command(CommandOptions::new(&words(command), &node, INTERNAL_IP)?);
    let target = target(&cluster, &node.name, ID);
    assert_eq!(world.block_on(reboot::probe(&reboot, &target)), Ok(None), "a machine that nobody probes");
    world.block_on(reboot::issue(&reboot, &target, 1, &node.info.boot_id, None))
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
}

/// A BMC whose power button is the machine's.
pub(crate) fn bmc(machine: &Machine) -> (Peer, u16) {
    machine.script(
        "chassis",
        "echo \"$*\" >> asked\ncase \"$2 $3\" in 'get power') echo power:1 ;; 'set reset') ./restart ;; esac",
    );
    machine.write("password", "secret");
    let commands = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n";
    machine.write("commands", commands);
    std::fs::create_dir(machine.path("state")).unwrap();
    let start = |port: u16| {
        machine.write(
            "lan.conf",
            &format!(
                "name \"bmc\"\nset_working_mc 0x20\nstartlan 1\n addr 127.0.0.1 {port}\n priv_limit admin\n \
                 allowed_auths_admin md5\n guid a123456789abcdefa123456789abcdef\nendlan\n\
                 chassis_control \"{} 0x20\"\nuser 2 true \"sciuro\" \"secret\" admin 10\n",
                machine.path("chassis").display()
            ),
        );
        let mut simulator = Command::new(program("ipmi_sim"));
        simulator.arg("-n").arg("-c").arg(machine.path("lan.conf"));
        simulator.arg("-f").arg(machine.path("commands")).arg("-s").arg(machine.path("state"));
        Peer::start(&mut simulator, machine.path("ipmi_sim.log"))
    };
    let ready = |port: u16| {
        let mut status = Command::new(program("ipmitool"));
        let arguments = ipmitool(machine, port, "127.0.0.1", "-N 1 -R 1 chassis power status");
        status.args(words(&arguments).split_first().unwrap().1).output().unwrap().status.success()
    };
    on_a_free_port(start, ready)
}

pub(crate) fn ipmitool(machine: &Machine, port: u16, address: &str, what: &str) -> String {
    let password = machine.path("password").display().to_string();
    let program = program("ipmitool").display().to_string();
    format!("{program} -I lanplus -C 3 -H {address} -p {port} -U sciuro -f {password} {what}")
}

#[test]
fn ipmitool_resets_the_machine() {
    let machine = Machine::new();
    let (_bmc, port) = bmc(&machine);
    let (world, node) = world();
    let before = machine.boot_id();
    let issued = order(&world, &node, &ipmitool(&machine, port, "{address}", "chassis power reset")).unwrap();
    assert!(issued.output.contains("Chassis Power Control: Reset"), "{issued:?}");
    assert_eq!(machine.restarts(), 1);
    assert_ne!(machine.boot_id(), before);

    machine.write("password", "another");
    let failed =
        order(&world, &node, &ipmitool(&machine, port, "{address}", "-N 1 -R 1 chassis power reset"))
            .unwrap_err();
    assert!(failed.why.contains("ipmitool failed (exit status: 1)"), "{failed:?}");
    assert!(failed.output.contains("Unable to establish IPMI"), "{failed:?}");
    assert_eq!(machine.restarts(), 1);
}

/// Restarts the machine whenever the service says that its system is to restart.
fn power_button(machine: Arc<Machine>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let body = read_request(&mut stream);
            if body.contains("ForceRestart") {
                machine.restart();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    port
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece).unwrap();
        text.push_str(&String::from_utf8_lossy(&piece[..length]));
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if announced.is_none_or(|announced| body.len() >= announced.parse().unwrap()) {
                return body.to_owned();
            }
        }
        assert!(length > 0, "a whole request");
    }
}

/// A Redfish service for the machine, whose `ForceRestart` restarts it.
pub(crate) fn redfish(machine: &Arc<Machine>) -> (Peer, u16) {
    let button = power_button(Arc::clone(machine));
    std::fs::create_dir(machine.path("state")).unwrap();
    machine.write(
        "sushy.conf",
        &format!(
            "SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_STATE_DIR = '{}'\n\
             EXTERNAL_NOTIFICATION_URL = 'http://127.0.0.1:{button}/power'\n\
             SUSHY_EMULATOR_FAKE_SYSTEMS = [{{'uuid': '27946b59-9e44-4fa7-8e91-f3527a1ef094', 'name': 'w1', 'power_state': 'On', \
             'external_notifier': True, 'nics': []}}]\n",
            machine.path("state").display()
        ),
    );
    let start = |port: u16| {
        let mut service = Command::new(program("sushy-emulator"));
        service.args(["-i", "127.0.0.1", "-p", &port.to_string(), "--fake", "--config"]);
        Peer::start(service.arg(machine.path("sushy.conf")), machine.path("sushy.log"))
    };
    on_a_free_port(start, listens)
}

/// What tells a Redfish service to reset its system.
pub(crate) fn curl(port: u16, address: &str, kind: &str) -> String {
    let url = format!("http://{address}:{port}/redfish/v1/Systems/27946b59-9e44-4fa7-8e91-f3527a1ef094");
    let action = format!("{url}/Actions/ComputerSystem.Reset");
    let body = format!("'{{\"ResetType\":\"{kind}\"}}'");
    format!("curl --noproxy * -sS --fail -X POST -H 'Content-Type:application/json' -d {body} {action}")
}

#[test]
fn curl_restarts_the_machine_by_redfish() {
    let machine = Arc::new(Machine::new());
    let (_service, port) = redfish(&machine);
    let (world, node) = world();
    let before = machine.boot_id();
    let failed = order(&world, &node, &curl(port, "{address}", "PowerCycle")).unwrap_err();
    assert!(failed.why.starts_with("curl failed (exit status: 22): "), "{failed:?}");
    assert_eq!(machine.boot_id(), before);
    order(&world, &node, &curl(port, "{address}", "ForceRestart")).unwrap();
    assert_eq!(machine.restarts(), 1);
    assert_ne!(machine.boot_id(), before);
}
