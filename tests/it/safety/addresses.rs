//! What a kubelet says of where its node is, which boot it has, and which machine a cloud would take for it: no request, and
//! no command, reaches another machine by that.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::remediate::terminal::Terminal;
use crate::support::{Carrier, Fleet, Run, World, run, scenarios};

scenarios![
    f9_b3_an_address_that_leads_elsewhere_is_used_by_nothing,
    f9_b3_a_provider_id_of_another_node_is_used_by_nothing,
    f9_b3_what_no_override_lifts_has_no_hint_to_override_it,
    f9_b3_an_address_that_a_person_knows_better_can_be_used,
    f9_b3_the_address_stands_in_plan_and_prompt,
    f9_b3_an_address_that_another_node_takes_meanwhile_is_not_used,
    f9_b3_a_run_that_goes_on_verifies_no_other_machine,
    f9_b3_a_file_of_addresses_counts_more_than_what_nodes_say,
    f9_b5_a_boot_id_that_is_claimed_does_not_lock_its_owner_out,
];

struct Liar<'w> {
    fleet: Fleet<'w>,
    carrier: Carrier,
    was_run: PathBuf,
}

impl<'w> Liar<'w> {
    fn new(world: &'w World) -> Self {
        Self::at(world, |_| {})
    }

    /// One whose machine answers at what the Node said after `change`, too.
    fn at(world: &'w World, change: impl FnOnce(&Fleet<'w>)) -> Self {
        let fleet = Fleet::new(world);
        change(&fleet);
        let carrier = Carrier::new(world, &fleet.machines);
        Self { was_run: world.file("run", "").with_extension("was-run"), fleet, carrier }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = self.fleet.command(&[&[self.fleet.node.as_str()], more].concat());
        self.carrier.serves(&mut command);
        command
    }

    fn remediate(&self, more: &[&str]) -> Run {
        run(&mut self.command(more))
    }

    /// A command with these placeholders, which leaves a file behind.
    fn touch(&self, placeholders: &str) -> String {
        format!("sh -c 'touch {}' x {placeholders}", self.was_run.display())
    }

    #[track_caller]
    fn did_nothing(&self) {
        assert_eq!(self.carrier.asked(), [""; 0]);
        assert!(!self.was_run.exists(), "the command was run");
        assert!(!self.fleet.is_cordoned());
        self.fleet.never_rebooted();
    }
}

/// The only address.
fn is_at(fleet: &Fleet<'_>, node: &str, address: &str) {
    let addresses = json!([{"type": "InternalIP", "address": address}]);
    let patch = json!({"status": {"addresses": addresses}});
    fleet.world.patch_status(node, "application/merge-patch+json", &patch);
}

fn address_of(fleet: &Fleet<'_>, node: &str) -> String {
    let node = fleet.world.get_node(node);
    let addresses = node["status"]["addresses"].as_array().expect("addresses");
    let internal = addresses.iter().find(|address| address["type"] == "InternalIP").expect("an address");
    internal["address"].as_str().expect("an address").to_owned()
}

fn f9_b3_an_address_that_leads_elsewhere_is_used_by_nothing(world: &World) {
    let liar = Liar::new(world);
    let fleet = &liar.fleet;
    let peer = address_of(fleet, &fleet.second);
    let mapped = format!("::ffff:{peer}");
    let by_command = liar.touch("{address}");
    for address in [
        &*peer,
        &mapped,
        &fleet.second,
        "db1.corp.example",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "::1",
    ] {
        is_at(fleet, &fleet.node, address);
        for method in [
            &["--reboot-method", "ssh"][..],
            &["--reboot-method", "command", "--reboot-command", &by_command],
            &["--reboot-method", "manual", "--verify-command", &by_command],
        ] {
            liar.remediate(method).exits(3).says("is refused (address)").says(address);
        }
    }
    liar.did_nothing();
    // A pod is on the node, whatever that says.
    liar.remediate(&[]).exits(0);
}

fn f9_b3_a_provider_id_of_another_node_is_used_by_nothing(world: &World) {
    let liar = Liar::new(world);
    let fleet = &liar.fleet;
    let id = format!("metal3://ns/{}", fleet.second);
    fleet.patch(&fleet.node, &json!({"spec": {"providerID": id}}));
    let command = liar.touch("{provider-id}");
    let by_command = ["--reboot-method", "command", "--reboot-command", &command];
    liar.remediate(&by_command)
        .exits(3)
        .says("is refused (address)")
        .says(&format!("its provider ID is {id}: that is a name of {}", fleet.second))
        .says("--override address");
    liar.did_nothing();
}

fn f9_b3_what_no_override_lifts_has_no_hint_to_override_it(world: &World) {
    let liar = Liar::new(world);
    is_at(&liar.fleet, &liar.fleet.node, "localhost");
    let flags = ["--reboot-method", "ssh", "--override", "address"];
    liar.remediate(&flags)
        .exits(3)
        .says("is refused (address)")
        .says("hint: --address-file FILE")
        .never_says("--override address");
    liar.did_nothing();
}

fn f9_b3_an_address_that_a_person_knows_better_can_be_used(world: &World) {
    let liar = Liar::at(world, |fleet| is_at(fleet, &fleet.node, "rack7.corp.example"));
    let fleet = &liar.fleet;
    let by_ssh = ["--reboot-method", "ssh"];
    liar.remediate(&by_ssh).exits(3).says("that is not its name").says("--override address");
    liar.did_nothing();
    liar.remediate(&[&by_ssh[..], &["--override", "address"]].concat()).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
}

fn f9_b3_the_address_stands_in_plan_and_prompt(world: &World) {
    let liar = Liar::new(world);
    let fleet = &liar.fleet;
    let address = address_of(fleet, &fleet.node);
    let by_ssh = ["--reboot-method", "ssh"];
    let plan = liar.remediate(&[&by_ssh[..], &["--dry-run"]].concat()).exits(0);
    let line = format!("  reboot:   over ssh to {address} (InternalIP); the machine is probed first\n");
    assert!(plan.stdout.contains(&line), "{plan:#?}");
    let plan = liar.remediate(&[&by_ssh[..], &["--dry-run", "-o", "json"]].concat()).exits(0);
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    assert_eq!(plan["items"][0]["reboot"]["address"], address, "{plan:#}");
    for (method, how) in [
        (&by_ssh[..], format!("over ssh to {address}")),
        (
            &["--reboot-method", "command", "--reboot-command", "false {address}"],
            format!("by the command of the plan (with {address})"),
        ),
    ] {
        let mut command = world.command(&["remediate", &fleet.node, "--prefix", &world.prefix()]);
        command
            .args(["--max-unavailable", "100%", "--skip", "collect", "--lease-duration", "3s"])
            .args(method);
        liar.carrier.serves(&mut command);
        let mut terminal = Terminal::start(&command);
        terminal.answers("as planned?", "y");
        terminal.answers(&format!("Reboot node {} now, {how}?", fleet.node), "n");
        terminal.ends(4);
        liar.remediate(&["--abort"]).exits(0);
    }
    fleet.never_rebooted();
}

fn f9_b3_an_address_that_another_node_takes_meanwhile_is_not_used(world: &World) {
    let liar = Liar::new(world);
    let fleet = &liar.fleet;
    let (address, others) = (address_of(fleet, &fleet.node), address_of(fleet, &fleet.third));
    let namespace = fleet.stubborn_pod();
    let mut command = liar.command(&["--reboot-method", "ssh", "--force"]);
    let running = std::thread::spawn(move || run(&mut command));
    fleet.until_in("Draining");
    is_at(fleet, &fleet.third, &address);
    fleet.free(&namespace);
    running.join().expect("a run").exits(6).says(&format!("that is also an address of {}", fleet.third));
    assert!(
        !liar.carrier.asked().iter().any(|asked| asked.starts_with("order")),
        "{:?}",
        liar.carrier.asked()
    );
    is_at(fleet, &fleet.third, &others);
    liar.remediate(&["--resume", "--force"]).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
}

/// The gates guard what takes a node down; this one guards the last command as well.
fn f9_b3_a_run_that_goes_on_verifies_no_other_machine(world: &World) {
    let liar = Liar::new(world);
    let fleet = &liar.fleet;
    liar.remediate(&["--verify-command", "false", "--verify-timeout", "1s"]).exits(7);
    is_at(fleet, &fleet.node, &address_of(fleet, &fleet.second));
    let check = liar.touch("{address}");
    liar.remediate(&["--resume", "--verify-command", &check]).exits(3).says("refused (address)");
    assert!(!liar.was_run.exists(), "the command was run");
    liar.remediate(&["--resume"]).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
}

fn f9_b3_a_file_of_addresses_counts_more_than_what_nodes_say(world: &World) {
    let liar = Liar::new(world);
    let fleet = &liar.fleet;
    let line = format!("{} {} # rack 7\n", address_of(fleet, &fleet.node), fleet.node);
    is_at(fleet, &fleet.node, &address_of(fleet, &fleet.second));
    let (known, unknown) = (world.file("hosts", &line), world.file("others", "10.0.0.7 another\n"));
    let with = |file: &std::path::Path| {
        liar.remediate(&["--reboot-method", "ssh", "--address-file", &file.display().to_string()])
    };
    with(&unknown)
        .exits(3)
        .says("is refused (reboot-method)")
        .says(&format!("--address-file has no line for {}", fleet.node));
    with(&unknown.with_extension("absent")).exits(2).says("cannot read the address file");
    with(&world.file("wrong", "10.0.0.7\n")).exits(2).says("hint: its lines are as those of /etc/hosts");
    liar.did_nothing();
    with(&known).exits(0).says("over ssh to").says("(the address file)");
    assert_eq!(fleet.orders(), (1, 1));
    assert!(
        liar.carrier.asked().iter().all(|asked| asked.ends_with(&fleet.node)),
        "{:?}",
        liar.carrier.asked()
    );
}

fn f9_b5_a_boot_id_that_is_claimed_does_not_lock_its_owner_out(world: &World) {
    let fleet = Fleet::new(world);
    let claimed = fleet.boot_id();
    world.block_on(fleet.machines.claim_boot_id(&fleet.second, &claimed)).expect("a kubelet");
    let run =
        fleet.remediate(&[]).exits(3).says("is refused (shared-boot-id)").says("--override shared-boot-id");
    run.says(&format!("{} and {} report the same boot id", fleet.node, fleet.second));
    fleet.never_rebooted();
    fleet.remediate(&["--override", "shared-boot-id"]).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
}
