//! What a person has consented to, and which method a run was begun with, is asked for again or stands in the line that
//! says how to go on.

use std::process::Command;

use serde_json::json;

use super::hold;
use crate::remediate::terminal::Terminal;
use crate::support::{Carrier, Fleet, Running, World, run, scenarios};

scenarios![
    f9_a3_what_was_consented_to_is_asked_again,
    f9_a3_the_line_carries_what_was_consented_to,
    f9_a3_without_a_terminal_the_hint_has_the_flags,
    f9_d1_the_line_goes_on_from_the_verification_by_a_pod,
    f9_d1_the_line_goes_on_from_the_verification_by_a_signal,
    f9_d1_the_line_goes_on_from_the_verification_over_ssh,
    f9_d1_the_line_goes_on_from_the_verification_by_a_command,
    f9_d1_the_line_goes_on_from_the_verification_by_hand,
    f9_d1_the_method_is_the_records,
    f9_d1_another_method_is_another_attempt,
    f9_d1_a_file_says_no_other_method,
    f9_d1_a_command_is_typed_again,
    f9_d1_an_abort_needs_no_method,
];

/// The line that a run has printed under this name, as it is typed.
#[track_caller]
pub(super) fn line(said: &str, name: &str) -> String {
    let printed =
        said.lines().filter_map(|line| line.trim_end().split_once(&format!("{name}: kubectl sciuro ")));
    let lines: Vec<&str> = printed.map(|(_, rest)| rest).collect();
    let [line] = lines[..] else { panic!("{} lines {name:?} in {said}", lines.len()) };
    line.to_owned()
}

/// Types it.
pub(super) fn typed(world: &World, line: &str) -> Command {
    let words = shlex::split(line).expect("words of a shell");
    world.command(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A pod that is evicted with two flags only, under a budget that does not allow it now; returns what lets it go.
fn precious_pod<'f>(fleet: &'f Fleet<'_>) -> impl FnOnce() + 'f {
    let namespace = fleet.world.namespace("app");
    hold(fleet, &namespace, "cache", &json!([{"name": "scratch", "emptyDir": {}}]))
}

/// A person's command, without any consent.
fn by_a_person(fleet: &Fleet<'_>, more: &[&str]) -> Command {
    let mut command = fleet.world.command(&["remediate", &fleet.node, "--prefix", &fleet.world.prefix()]);
    command.args(["--max-unavailable", "100%", "--lease-duration", "3s", "--stable-for", "1s"]);
    command.args(["--skip", "collect", "--progress", "plain"]).args(more);
    command
}

const EMPTY_DIR: &str = "lose the data in their emptyDir volumes?";
const UNMANAGED: &str = "which no controller starts again?";

/// Says yes to the plan and both exceptions.
fn consents(terminal: &mut Terminal) {
    for question in [" as planned?", EMPTY_DIR, UNMANAGED] {
        terminal.answers(question, "y");
    }
}

/// Stopped in the drain by Ctrl-C, after consent; what was shown.
fn stopped_in_the_drain(fleet: &Fleet<'_>) -> String {
    let mut terminal = Terminal::start(&by_a_person(fleet, &[]));
    consents(&mut terminal);
    terminal.sees("The disruption budget cache");
    terminal.ctrl_c();
    terminal.ends(130)
}

fn f9_a3_what_was_consented_to_is_asked_again(world: &World) {
    let fleet = Fleet::new(world);
    let free = precious_pod(&fleet);
    stopped_in_the_drain(&fleet);
    free();
    let mut terminal = Terminal::start(&by_a_person(&fleet, &["--resume"]));
    consents(&mut terminal);
    terminal.answers("now, by a pod on it?", "yes");
    terminal.ends(0);
    assert_eq!(fleet.orders(), (1, 1));
}

fn f9_a3_the_line_carries_what_was_consented_to(world: &World) {
    let fleet = Fleet::new(world);
    let free = precious_pod(&fleet);
    let shown = stopped_in_the_drain(&fleet);
    let line = line(&shown, "to continue");
    free();
    let mut terminal = Terminal::start(&typed(world, &line));
    terminal.answers(" as planned?", "y");
    terminal.answers("now, by a pod on it?", "yes");
    let shown = terminal.ends(0);
    assert!(!shown.contains(EMPTY_DIR) && !shown.contains(UNMANAGED), "{shown}");
    assert_eq!(fleet.orders(), (1, 1));
}

fn f9_a3_without_a_terminal_the_hint_has_the_flags(world: &World) {
    let fleet = Fleet::new(world);
    let free = precious_pod(&fleet);
    stopped_in_the_drain(&fleet);
    let refused = run(&mut by_a_person(&fleet, &["--resume", "--yes"])).exits(3);
    let line = line(&refused.stderr, "to continue");
    assert!(fleet.is_cordoned());
    fleet.never_rebooted();
    free();
    run(typed(world, &line).arg("--yes")).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
}

fn f9_d1_the_line_goes_on_from_the_verification_by_a_pod(world: &World) {
    goes_on_from_the_verification(world, "pod");
}

fn f9_d1_the_line_goes_on_from_the_verification_by_a_signal(world: &World) {
    goes_on_from_the_verification(world, "signal");
}

fn f9_d1_the_line_goes_on_from_the_verification_over_ssh(world: &World) {
    goes_on_from_the_verification(world, "ssh");
}

fn f9_d1_the_line_goes_on_from_the_verification_by_a_command(world: &World) {
    goes_on_from_the_verification(world, "command");
}

fn f9_d1_the_line_goes_on_from_the_verification_by_hand(world: &World) {
    goes_on_from_the_verification(world, "manual");
}

fn goes_on_from_the_verification(world: &World, method: &str) {
    let fleet = Fleet::new(world);
    let carrier = Carrier::new(world, &fleet.machines);
    let power = carrier.power();
    let mut flags = vec![fleet.node.as_str(), "--reboot-method", method, "--stable-for", "60s"];
    if method == "command" {
        flags.extend(["--reboot-command", &power]);
    }
    let mut command = fleet.command(&flags);
    carrier.serves(&mut command);
    let mut running = Running::start(&mut command, str::to_owned);
    if method == "manual" {
        fleet.until_in("WaitBoot");
        fleet.machines.reboot(&fleet.node).expect("a machine");
    }
    fleet.until_in("Verifying");
    running.signal("INT");
    let (_, said) = running.ends(130);
    let line = line(&said.join("\n"), "to continue");
    assert!(!line.contains("--retry-reboot"), "{line}");
    run(typed(world, &line).args(["--yes", "--stable-for", "1s"])).exits(0);
    assert_eq!(fleet.orders().1, 1);
    assert!(!fleet.is_cordoned() && fleet.record().is_null());
}

fn f9_d1_the_method_is_the_records(world: &World) {
    let fleet = Fleet::new(world);
    let carrier = Carrier::new(world, &fleet.machines);
    let remediate = |more: &[&str]| {
        let mut command = fleet.command(&[&[fleet.node.as_str()], more].concat());
        carrier.serves(&mut command);
        run(&mut command)
    };
    for (reboots, (method, by)) in (1..).zip([("signal", "by a signal"), ("ssh", "over ssh")]) {
        remediate(&["--until", "drain", "--reboot-method", method]).exits(0);
        remediate(&["--resume"]).exits(0).says(by);
        assert_eq!(fleet.orders().1, reboots);
    }
}

fn f9_d1_another_method_is_another_attempt(world: &World) {
    let fleet = Fleet::new(world);
    fleet.remediate(&["--until", "drain"]).exits(0);
    let run = fleet.remediate(&["--resume", "--reboot-method", "manual"]).exits(3);
    // The way to go on is not one that reboots it again.
    let line = line(&run.stderr, "to continue");
    assert!(!line.contains("--retry-reboot") && !line.contains("--reboot-method"), "{line}");
    crate::support::run(typed(world, &line).arg("--yes")).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
}

/// Only what is typed is another method.
fn f9_d1_a_file_says_no_other_method(world: &World) {
    let fleet = Fleet::new(world);
    fleet.remediate(&["--until", "drain", "--reboot-method", "signal"]).exits(0);
    let config = world.file("sciuro.yaml", "reboot-method: ssh\n");
    let mut command = fleet.command(&[&fleet.node, "--resume", "--config", config.to_str().expect("UTF-8")]);
    run(command.env("SCIURO_REBOOT_METHOD", "manual")).exits(0).says("by a signal");
    assert_eq!(fleet.orders().1, 1);
}

/// It is never taken from the record, and the line that goes on has it, quoted as a shell wants it.
fn f9_d1_a_command_is_typed_again(world: &World) {
    let fleet = Fleet::new(world);
    let carrier = Carrier::new(world, &fleet.machines);
    let quoted = format!("sh -c '{}'", carrier.power());
    let flags = ["--until", "drain", "--reboot-method", "command", "--reboot-command", &quoted];
    let stopped = fleet.remediate(&flags).exits(0);
    fleet.remediate(&["--resume"]).exits(2).says("--reboot-command");
    let line = line(&stopped.stderr, "to continue");
    assert!(!line.contains("--until"), "{line}");
    run(typed(world, &line).arg("--yes")).exits(0);
    assert_eq!((fleet.orders().1, carrier.asked().len()), (1, 1));

    let secret = format!("{} -P hunter2", carrier.power());
    let flags = ["--until", "drain", "--reboot-method", "command", "--reboot-command", &secret];
    let stopped = fleet.remediate(&flags).exits(0);
    let ending = stopped.stderr.split("stopped after").nth(1).expect("an end").to_owned();
    assert!(!ending.contains("hunter2") && ending.contains("add --reboot-command"), "{ending}");
    fleet.remediate(&["--abort"]).exits(0);
}

/// What a command has set in motion cannot be recalled, whatever is typed.
fn f9_d1_an_abort_needs_no_method(world: &World) {
    let fleet = Fleet::new(world);
    let flags = ["--reboot-method", "command", "--reboot-command", "true", "--reboot-timeout", "1s"];
    let failed = fleet.remediate(&flags).exits(6);
    let line = line(&failed.stderr, "to undo");
    assert!(!line.contains("reboot"), "{line}");
    run(typed(world, &line).arg("--yes")).exits(0).says("it stays cordoned");
    assert!(fleet.is_cordoned());
}
