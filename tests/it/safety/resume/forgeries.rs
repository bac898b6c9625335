//! Records that a kubelet has written on its own Node. None of them sends a request that nobody was asked for, or one to
//! another machine.

use std::process::Command;

use serde_json::{Value, json};

use crate::remediate::terminal::Terminal;
use crate::support::{Carrier, Fleet, Run, World, run, scenarios};

scenarios![
    f9_b1_a_record_of_another_machines_boot_reboots_none,
    f9_b1_a_record_of_ones_own_boot_reboots_nothing,
    f9_b1_a_record_of_a_boot_that_is_over_sends_nothing,
    f9_b1_every_gate_is_asked_again_before_the_request,
    f9_b1_a_gate_refuses_before_the_drain_goes_on,
    f9_b2_an_attempt_by_another_method_is_malformed,
    f9_b2_a_pods_intent_of_another_process_is_admitted_again,
    f9_b2_a_signals_intent_of_another_process_is_admitted_again,
    f9_b2_an_intent_over_ssh_of_another_process_is_admitted_again,
    f9_b2_a_person_is_asked_about_an_intent_of_another_process,
    f9_b2_without_a_terminal_nobody_consents,
    f9_b2_a_command_that_may_have_been_sent_is_not_sent_again,
    f9_b2_no_run_of_ours_writes_these,
    f9_b2_overrides_in_a_record_lift_nothing,
    f9_b2_times_in_a_record_bind_nobody,
    f9_b2_a_record_that_changes_at_the_prompt_is_not_acted_on,
];

/// What a kubelet can make of its own Node.
struct Forger<'w> {
    fleet: Fleet<'w>,
    carrier: Carrier,
    was_run: std::path::PathBuf,
}

impl<'w> Forger<'w> {
    fn new(world: &'w World) -> Self {
        let fleet = Fleet::new(world);
        let carrier = Carrier::new(world, &fleet.machines);
        Self { fleet, carrier, was_run: world.file("run", "").with_extension("was-run") }
    }

    /// A record as a run of ours would have written it, but for this.
    fn writes(&self, changes: &Value) {
        let node = self.fleet.world.get_node(&self.fleet.node);
        let mut record = json!({
            "v": 1, "id": "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11", "state": "Draining",
            "since": "2026-11-22T10:00:00Z", "timeout": 900, "actor": "alice@ops", "holder": "alice@ops#1",
            "method": "pod", "nodeUID": node["metadata"]["uid"],
            "preBootID": node["status"]["nodeInfo"]["bootID"], "wasUnschedulable": false,
            "marks": [{"type": "cordon"}], "attempts": [],
        });
        for (field, value) in changes.as_object().expect("fields") {
            record[field] = value.clone();
        }
        self.fleet.patch(&self.fleet.node, &json!({"spec": {"unschedulable": true}}));
        let text = record.to_string();
        let fleet = &self.fleet;
        let written = fleet.machines.annotate(&fleet.node, "sciuro.dev/remediation", Some(&text));
        fleet.world.block_on(written).expect("a kubelet");
    }

    fn boots_as(&self, node: &str, boot_id: &str) {
        self.fleet.world.block_on(self.fleet.machines.claim_boot_id(node, boot_id)).expect("a kubelet");
    }

    /// `InternalIP`.
    fn is_at(&self, address: &str) {
        let addresses = json!([{"type": "InternalIP", "address": address}]);
        self.fleet.world.patch_status(
            &self.fleet.node,
            "application/merge-patch+json",
            &json!({"status": {"addresses": addresses}}),
        );
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = self.fleet.command(&[&[self.fleet.node.as_str()], more].concat());
        self.carrier.serves(&mut command);
        command
    }

    fn resume(&self, more: &[&str]) -> Run {
        run(&mut self.command(&[&["--resume"], more].concat()))
    }

    /// By a command that leaves a file behind.
    fn resume_by_command(&self, more: &[&str]) -> Run {
        let touch = format!("touch {}", self.was_run.display());
        let flags = ["--reboot-method", "command", "--reboot-command", &touch];
        self.resume(&[&flags[..], more].concat())
    }

    /// No machine was told anything, and what there is of the record is as it was written.
    #[track_caller]
    fn did_nothing(&self) {
        assert_eq!(self.carrier.asked(), [""; 0]);
        self.sent_nothing();
    }

    #[track_caller]
    fn sent_nothing(&self) {
        assert!(!self.was_run.exists(), "the command was run");
        self.fleet.never_rebooted();
    }

    /// A pod on the first node that a drain evicts.
    fn pod(&self) -> String {
        let namespace = self.fleet.world.namespace("app");
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let spec = json!({"nodeName": self.fleet.node, "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "registry.example/c:1"}]});
        self.fleet.world.create(&pods, &json!({"metadata": {"name": "web"}, "spec": spec}));
        format!("{pods}/web")
    }

    #[track_caller]
    fn runs(&self, pod: &str) {
        let pod = self.fleet.world.request("GET", pod, "application/json", &Value::Null);
        assert_eq!(pod["metadata"]["deletionTimestamp"], Value::Null, "{pod:#}");
    }
}

fn boot_id_of(fleet: &Fleet<'_>, node: &str) -> String {
    fleet.machines.facts(node).expect("a machine").boot_id
}

fn address_of(fleet: &Fleet<'_>, node: &str) -> String {
    let node = fleet.world.get_node(node);
    let addresses = node["status"]["addresses"].as_array().expect("addresses");
    let internal = addresses.iter().find(|address| address["type"] == "InternalIP").expect("an address");
    internal["address"].as_str().expect("an address").to_owned()
}

fn f9_b1_a_record_of_another_machines_boot_reboots_none(world: &World) {
    let forger = Forger::new(world);
    let fleet = &forger.fleet;
    let other = boot_id_of(fleet, &fleet.second);
    forger.is_at(&address_of(fleet, &fleet.second));
    forger.boots_as(&fleet.node, &other);
    for state in ["Cordoning", "Draining", "RebootIntent"] {
        let attempts = if state == "RebootIntent" {
            json!([{"n": 1, "method": "ssh", "intentAt": "2026-11-22T10:00:00Z", "notAfterUptime": u64::MAX}])
        } else {
            json!([])
        };
        forger.writes(&json!({"state": state, "method": "ssh", "preBootID": other, "attempts": attempts}));
        for more in [&["--reboot-method", "ssh"][..], &["--reboot-method", "ssh", "--retry-reboot"]] {
            forger.resume(more).exits(3).says(&fleet.second);
            forger.did_nothing();
        }
    }
}

fn f9_b1_a_record_of_ones_own_boot_reboots_nothing(world: &World) {
    let forger = Forger::new(world);
    let ours = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
    forger.is_at("localhost");
    forger.boots_as(&forger.fleet.node, ours.trim());
    forger.writes(&json!({"method": "ssh", "preBootID": ours.trim()}));
    forger.resume(&["--reboot-method", "ssh"]).exits(3).says("self");
    forger.did_nothing();
}

/// The Node says another boot than the record: then it has rebooted, and nothing is left to be sent.
fn f9_b1_a_record_of_a_boot_that_is_over_sends_nothing(world: &World) {
    let forger = Forger::new(world);
    let other = boot_id_of(&forger.fleet, &forger.fleet.second);
    forger.is_at(&address_of(&forger.fleet, &forger.fleet.second));
    let pod = forger.pod();
    forger.writes(&json!({"method": "ssh", "preBootID": other}));
    forger.resume(&["--reboot-method", "ssh"]).exits(0).never_says("► drain");
    forger.runs(&pod);
    forger.did_nothing();
}

/// Another machine is given this boot ID during the drain.
fn f9_b1_every_gate_is_asked_again_before_the_request(world: &World) {
    let forger = Forger::new(world);
    let fleet = &forger.fleet;
    let namespace = fleet.stubborn_pod();
    let own = boot_id_of(fleet, &fleet.third);
    let mut running = fleet.begin(&["--force"]);
    fleet.until_in("Draining");
    forger.boots_as(&fleet.third, &fleet.boot_id());
    fleet.free(&namespace);
    let (_, said) = running.ends(6);
    assert!(said.join("\n").contains(&fleet.third), "{said:#?}");
    fleet.never_rebooted();
    // Nor does anybody go on with it, until that is over.
    forger.resume(&[]).exits(3).says(&fleet.third);
    fleet.never_rebooted();
    forger.boots_as(&fleet.third, &own);
    forger.resume(&[]).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
}

/// As of a fresh run: nothing is evicted from a node that may not go.
fn f9_b1_a_gate_refuses_before_the_drain_goes_on(world: &World) {
    let forger = Forger::new(world);
    let pod = forger.pod();
    forger.fleet.patch(&forger.fleet.node, &json!({"metadata": {"labels": {"sciuro.dev/exclude": ""}}}));
    forger.writes(&json!({}));
    let run = forger.resume(&["--force"]).exits(3).says("refused: excluded").says("--override excluded");
    run.never_says("► drain");
    forger.runs(&pod);
    forger.did_nothing();
}

/// On an excluded node with a pod.
fn f9_b2_an_attempt_by_another_method_is_malformed(world: &World) {
    let forger = Forger::new(world);
    let pod = forger.pod();
    forger.fleet.patch(&forger.fleet.node, &json!({"metadata": {"labels": {"sciuro.dev/exclude": ""}}}));
    let attempts = json!([{"n": 1, "method": "ssh", "intentAt": "2026-11-22T10:00:00Z"}]);
    forger.writes(&json!({"state": "RebootIntent", "method": "command", "attempts": attempts}));
    for more in [&[][..], &["--override", "excluded"], &["--retry-reboot", "--confirm", &forger.fleet.node]] {
        let run = forger.resume_by_command(&[&["--force"], more].concat()).exits(3);
        run.says("not one of ours").says("kubectl annotate node");
        forger.did_nothing();
    }
    forger.runs(&pod);
}

fn f9_b2_a_pods_intent_of_another_process_is_admitted_again(world: &World) {
    admitted_again(world, "pod");
}

fn f9_b2_a_signals_intent_of_another_process_is_admitted_again(world: &World) {
    admitted_again(world, "signal");
}

fn f9_b2_an_intent_over_ssh_of_another_process_is_admitted_again(world: &World) {
    admitted_again(world, "ssh");
}

/// Drained first, and the gates and the machine are asked.
fn admitted_again(world: &World, method: &str) {
    let forger = Forger::new(world);
    let fleet = &forger.fleet;
    let pod = forger.pod();
    let attempts =
        json!([{"n": 1, "method": method, "intentAt": "2026-11-22T10:00:00Z", "notAfterUptime": u64::MAX}]);
    let excluded = |label: Value| {
        fleet.patch(&fleet.node, &json!({"metadata": {"labels": {"sciuro.dev/exclude": label}}}));
    };
    excluded("".into());
    forger.writes(&json!({"state": "RebootIntent", "method": method, "attempts": attempts}));
    forger.resume(&["--force"]).exits(3).says("refused: excluded");
    forger.runs(&pod);
    forger.did_nothing();

    excluded(Value::Null);
    forger.resume(&["--force"]).exits(0).says("✔ drain");
    let gone = world.try_api("GET", &pod, "application/json", &Value::Null);
    assert!(gone.is_err(), "{gone:#?}");
    assert_eq!(fleet.orders().1, 1);
    let asked = ["probe", "order"].map(|what| format!("{what} {}", fleet.node));
    assert_eq!(forger.carrier.asked(), if method == "ssh" { &asked[..] } else { &[] });
}

fn f9_b2_a_person_is_asked_about_an_intent_of_another_process(world: &World) {
    let forger = Forger::new(world);
    let attempts =
        json!([{"n": 1, "method": "pod", "intentAt": "2026-11-22T10:00:00Z", "notAfterUptime": u64::MAX}]);
    forger.writes(&json!({"state": "RebootIntent", "attempts": attempts}));
    let asks = |answers: &[&str]| {
        let mut command = forger.fleet.world.command(&["remediate", &forger.fleet.node, "--resume"]);
        command.args(["--prefix", &world.prefix(), "--max-unavailable", "100%", "--lease-duration", "3s"]);
        command.args(["--stable-for", "1s", "--skip", "collect"]);
        let mut terminal = Terminal::start(&command);
        for (question, answer) in [" as planned?", "now, by a pod on it?"].iter().zip(answers) {
            terminal.answers(question, answer);
        }
        terminal.ends(4)
    };
    asks(&[""]);
    forger.did_nothing();
    asks(&["y", ""]);
    forger.did_nothing();
}

fn f9_b2_without_a_terminal_nobody_consents(world: &World) {
    let forger = Forger::new(world);
    forger.writes(&json!({}));
    let arguments = ["remediate", &forger.fleet.node, "--resume"];
    run(&mut world.command(&arguments)).exits(4).says("hint: add --yes");
    forger.did_nothing();
}

fn f9_b2_a_command_that_may_have_been_sent_is_not_sent_again(world: &World) {
    let forger = Forger::new(world);
    for outcome in [Value::Null, "notIssued".into(), "issued".into()] {
        let attempts =
            json!([{"n": 1, "method": "command", "intentAt": "2026-11-22T10:00:00Z", "outcome": outcome}]);
        forger.writes(&json!({"state": "RebootIntent", "method": "command", "attempts": attempts}));
        forger.resume_by_command(&["--reboot-timeout", "1s"]).exits(6);
        forger.resume_by_command(&["--retry-reboot"]).exits(6).says("--confirm");
        forger.did_nothing();
    }
}

/// Whatever is typed beside `--resume`.
fn f9_b2_no_run_of_ours_writes_these(world: &World) {
    let forger = Forger::new(world);
    let boot_id = forger.fleet.boot_id();
    let attempt = |n: u32, method: &str, outcome: Value| json!({"n": n, "method": method, "intentAt": "2026-11-22T10:00:00Z", "outcome": outcome});
    for forged in [
        json!({"method": "command", "attempts": [attempt(1, "command", Value::Null)]}),
        json!({"method": "command", "attempts": [attempt(1, "command", "issued".into())]}),
        json!({"method": "command", "state": "Cordoning", "attempts": [attempt(1, "command", "rebooted".into())]}),
        json!({"method": "command", "state": "NeedsHuman", "failedState": "Draining",
            "attempts": [attempt(1, "command", Value::Null)]}),
        json!({"method": "command", "state": "RebootIntent", "attempts": [attempt(2, "command", Value::Null)]}),
        json!({"method": "command", "state": "RebootIntent",
            "attempts": [attempt(1, "command", Value::Null), attempt(1, "command", "spent".into())]}),
        json!({"state": "Verifying", "provenBootID": boot_id}),
        json!({"state": "Uncordoning", "provenBootID": "nobody's"}),
        json!({"preBootID": "nobody's"}),
        json!({"preBootID": "00000000-0000-0000-0000-000000000000"}),
        json!({"state": "NeedsHuman"}),
        json!({"state": "NeedsHuman", "failedState": "NeedsHuman"}),
    ] {
        forger.writes(&forged);
        for more in [&[][..], &["--retry-reboot", "--confirm", &forger.fleet.node]] {
            forger.resume_by_command(more).exits(3).says("not one of ours");
            forger.did_nothing();
            assert!(forger.fleet.is_cordoned(), "{forged:#}");
        }
    }
}

fn f9_b2_overrides_in_a_record_lift_nothing(world: &World) {
    let forger = Forger::new(world);
    forger.fleet.patch(&forger.fleet.node, &json!({"metadata": {"labels": {"sciuro.dev/exclude": ""}}}));
    forger.writes(&json!({"overrides": ["excluded", "self", "max-unavailable"]}));
    forger.resume(&[]).exits(3).says("refused: excluded");
    forger.did_nothing();
}

/// Neither one that is over long since, nor one without end.
fn f9_b2_times_in_a_record_bind_nobody(world: &World) {
    let forger = Forger::new(world);
    let fleet = &forger.fleet;
    for (reboots, (since, timeout)) in (1..).zip([
        ("1970-01-01T00:00:00Z", 1),
        ("2999-01-01T00:00:00Z", u64::MAX),
        ("2026-11-22T10:00:00Z", 0),
    ]) {
        forger.writes(&json!({"since": since, "timeout": timeout}));
        forger.resume(&[]).exits(0);
        assert_eq!(fleet.orders(), (reboots, reboots));
    }
    let namespace = fleet.stubborn_pod();
    forger.writes(&json!({"since": "2999-01-01T00:00:00Z", "timeout": 0}));
    forger.resume(&["--force", "--drain-timeout", "1s"]).exits(5);
    fleet.free(&namespace);
}

/// What was read when the plan was made is what is acted on.
fn f9_b2_a_record_that_changes_at_the_prompt_is_not_acted_on(world: &World) {
    let forger = Forger::new(world);
    let pod = forger.pod();
    forger.writes(&json!({"reason": []}));
    let mut command = world.command(&["remediate", &forger.fleet.node, "--resume", "--force"]);
    command.args(["--prefix", &world.prefix(), "--max-unavailable", "100%", "--lease-duration", "3s"]);
    let mut terminal = Terminal::start(&command);
    terminal.asks(" as planned?");
    let attempts =
        json!([{"n": 1, "method": "pod", "intentAt": "2026-11-22T10:00:00Z", "notAfterUptime": u64::MAX}]);
    forger.writes(&json!({"state": "RebootIntent", "holder": "mallory@ops#2", "attempts": attempts}));
    terminal.types("y\r");
    terminal.ends(9);
    forger.runs(&pod);
    forger.did_nothing();
}
