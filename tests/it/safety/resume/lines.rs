//! Every line that an ending prints is typed as it stands, on a terminal, and does what it says: whatever the method, wherever
//! the run ended and however. No machine reboots twice for it.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ::sandbox::{Boot, Helpers};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::hold;
use crate::remediate::terminal::Terminal;
use crate::support::{Carrier, Fleet, Running, World, run, seconds_ago};

const METHODS: [&str; 5] = ["pod", "signal", "ssh", "command", "manual"];

/// How a run ends, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// `--until`.
    Stopped(&'static str),
    /// By SIGINT in this state.
    Interrupted(&'static str),
    /// At the question before the reboot.
    Declined,
    DrainFailed,
    /// A gate refuses right before the request.
    GateShut,
    /// Whoever carries the request fails.
    RequestFailed,
    /// The request was acknowledged, and the machine does not come back, or never went down.
    BootFailed,
    VerifyFailed,
    /// Another process has gone on, and has stopped.
    TakenOverAndIdle,
    /// Another process is at work.
    TakenOver,
}

use Ending::{
    BootFailed, Declined, DrainFailed, GateShut, Interrupted, RequestFailed, Stopped, TakenOver,
    TakenOverAndIdle, VerifyFailed,
};

const ENDINGS: [Ending; 16] = [
    Stopped("cordon"),
    Stopped("collect"),
    Stopped("drain"),
    Stopped("reboot"),
    Stopped("verify"),
    Interrupted("Draining"),
    Interrupted("WaitBoot"),
    Interrupted("Verifying"),
    Declined,
    DrainFailed,
    GateShut,
    RequestFailed,
    BootFailed,
    VerifyFailed,
    TakenOverAndIdle,
    TakenOver,
];

impl Ending {
    /// Nobody fails to ask a person.
    fn is_possible(self, method: &str) -> bool {
        (self, method) != (RequestFailed, "manual")
    }

    fn lines(self) -> &'static [&'static str] {
        match self {
            RequestFailed | BootFailed => &["to continue", "to retry the reboot", "to undo"],
            TakenOverAndIdle => &["to continue"],
            TakenOver => &["to stop it"],
            _ => &["to continue", "to undo"],
        }
    }
}

/// Where one cell after the other is played.
struct Lane<'w> {
    fleet: Fleet<'w>,
    carrier: Carrier,
    /// The person of `--reboot-method manual` does what is asked.
    person: AtomicBool,
    /// Of the pods that hold a drain, and how many there were.
    namespace: String,
    held: AtomicU32,
}

impl<'w> Lane<'w> {
    fn new(world: &'w World) -> Self {
        let fleet = Fleet::new(world);
        let carrier = Carrier::new(world, &fleet.machines);
        let namespace = world.namespace("held");
        Self { fleet, carrier, person: AtomicBool::new(false), namespace, held: AtomicU32::new(0) }
    }

    fn reboots(&self) -> u32 {
        self.fleet.orders().1
    }

    /// All that each run is given.
    fn flags(&self, method: &str) -> Vec<String> {
        let prefix = self.fleet.world.prefix();
        let mut flags = vec![
            "remediate",
            &self.fleet.node,
            "--prefix",
            &prefix,
            "--max-unavailable",
            "100%",
            "--lease-duration",
            "3s",
            "--stable-for",
            "1s",
            "--progress",
            "plain",
            "--force",
        ];
        let power = self.carrier.power();
        if method != "pod" {
            flags.extend(["--reboot-method", method]);
        }
        if method == "command" {
            flags.extend(["--reboot-command", &power]);
        }
        flags.into_iter().map(str::to_owned).collect()
    }

    fn command(&self, method: &str, more: &[&str]) -> Command {
        let flags = self.flags(method);
        let all: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let mut command = self.fleet.world.command(&all);
        match more {
            ["--until", "collect"] => {
                command.arg("--output-dir").arg(self.fleet.world.file("bundles", "").with_extension("d"))
            }
            _ => command.args(["--skip", "collect"]),
        };
        self.carrier.serves(&mut command);
        command
    }

    fn begin(&self, method: &str, more: &[&str]) -> Running {
        Running::start(&mut self.command(method, &[&["--yes"], more].concat()), str::to_owned)
    }

    fn remediate(&self, method: &str, more: &[&str], code: i32) -> String {
        run(self.command(method, more).arg("--yes")).exits(code).stderr
    }

    fn boots(&self, boot: Boot) {
        self.fleet.machines.boots(&self.fleet.node, boot).expect("a machine");
    }

    fn helpers(&self, helpers: Helpers) {
        self.fleet.machines.helpers(&self.fleet.node, helpers).expect("a machine");
    }

    fn excluded(&self, label: &Value) {
        let labels = json!({"sciuro.dev/exclude": label});
        self.fleet.patch(&self.fleet.node, &json!({"metadata": {"labels": labels}}));
    }

    /// A run that ends so; what it said.
    fn ends(&self, method: &str, ending: Ending) -> String {
        let fleet = &self.fleet;
        let held =
            matches!(ending, Interrupted("Draining") | DrainFailed | GateShut | TakenOver | TakenOverAndIdle);
        let free = held.then(|| {
            let app = format!("held{}", self.held.fetch_add(1, Ordering::SeqCst));
            hold(fleet, &self.namespace, &app, &json!([]))
        });
        self.person
            .store(matches!(ending, Stopped(_) | Interrupted("Verifying") | VerifyFailed), Ordering::SeqCst);
        let mut free = free.into_iter();
        let mut free = || free.by_ref().for_each(|free| free());
        let said = match ending {
            Stopped(step) => self.remediate(method, &["--until", step], 0),
            Interrupted(state) => {
                if state == "WaitBoot" {
                    self.boots(Boot { never_back: true, ..Boot::default() });
                }
                let soak = if state == "Verifying" { "2s" } else { "1s" };
                let mut running = self.begin(method, &["--stable-for", soak]);
                fleet.until_in(state);
                running.signal("INT");
                let said = running.ends(130).1.join("\n");
                if state == "WaitBoot" && method != "manual" {
                    let facts = || fleet.machines.facts(&fleet.node).expect("a machine");
                    fleet.until("a machine that is off", || !facts().powered);
                }
                said
            }
            Declined => {
                let mut terminal = Terminal::start(&self.command(method, &[]));
                terminal.answers(" as planned?", "y");
                terminal.answers(" now", "");
                terminal.ends(4)
            }
            DrainFailed => self.remediate(method, &["--drain-timeout", "3s"], 5),
            GateShut => {
                let mut running = self.begin(method, &[]);
                fleet.until_in("Draining");
                self.excluded(&json!(""));
                free();
                running.ends(6).1.join("\n")
            }
            RequestFailed => self.request_fails(method),
            BootFailed => {
                self.boots(Boot { never_back: true, ..Boot::default() });
                self.carrier.is(Some("mute"));
                self.remediate(method, &["--reboot-timeout", "2s"], 6)
            }
            VerifyFailed => {
                let mut running = self.begin(method, &["--verify-timeout", "4s"]);
                fleet.until_in("Verifying");
                fleet.world.block_on(fleet.machines.set_ready(&fleet.node, false)).expect("a machine");
                running.ends(7).1.join("\n")
            }
            TakenOverAndIdle | TakenOver => {
                let mut alice = self.begin(method, &[]);
                fleet.until_in("Draining");
                let record = fleet.record();
                alice.signal("STOP");
                let mut bob = self.begin(method, &["--resume", "--until", "drain"]);
                fleet.until("bob's", || fleet.record()["holder"] != record["holder"]);
                if ending == TakenOverAndIdle {
                    free();
                    bob.ends(0);
                }
                alice.signal("CONT");
                let (_, said) = alice.ends(9);
                if ending == TakenOver {
                    // It is stopped by what is typed next.
                    let line = said.iter().find_map(|line| line.split_once("to stop it: kubectl sciuro "));
                    self.types(line.expect("a line").1, 0);
                    bob.ends(8);
                }
                said.join("\n")
            }
        };
        free();
        said
    }

    fn request_fails(&self, method: &str) -> String {
        if !["pod", "signal"].contains(&method) {
            self.carrier.is(Some("broken"));
            return self.remediate(method, &["--reboot-timeout", "2s"], 6);
        }
        self.helpers(Helpers::OnlyProbes);
        let mut running = self.begin(method, &[]);
        let is_sent = || self.fleet.helpers().iter().any(|name| name.starts_with("sciuro-reboot-"));
        self.fleet.until("a request", is_sent);
        self.helpers(Helpers::NoImage("ErrImageNeverPull".into()));
        running.ends(6).1.join("\n")
    }

    /// What was in the way is no more.
    fn mends(&self, method: &str, ending: Ending, line: &str) {
        let fleet = &self.fleet;
        self.carrier.is(None);
        self.helpers(Helpers::Run);
        self.boots(Boot::default());
        self.excluded(&Value::Null);
        fleet.world.block_on(fleet.machines.set_ready(&fleet.node, true)).expect("a machine");
        let before = fleet.world.get_node(&fleet.node)["status"]["nodeInfo"]["bootID"].clone();
        if !fleet.machines.facts(&fleet.node).expect("a machine").powered {
            fleet.machines.press_power(&fleet.node).expect("a machine");
            fleet.until("a boot", || {
                fleet.world.get_node(&fleet.node)["status"]["nodeInfo"]["bootID"] != before
            });
        }
        // Nobody waits for the end of a request's window in a test: it began an hour ago.
        if ending == RequestFailed && line != "to continue" {
            let mut record = fleet.record();
            record["attempts"][0]["intentAt"] = seconds_ago(SignedDuration::from_hours(1)).into();
            let annotation = json!({"sciuro.dev/remediation": record.to_string()});
            fleet.patch(&fleet.node, &json!({"metadata": {"annotations": annotation}}));
        }
        // Somebody presses the button of a machine that was told by a command, and did nothing.
        let is_mute = (ending, method, line) == (BootFailed, "command", "to continue");
        if is_mute {
            fleet.machines.reboot(&fleet.node).expect("a machine");
        }
        self.person.store(line != "to undo", Ordering::SeqCst);
    }

    /// As printed, on a terminal of its own, with yes to each question.
    fn types(&self, line: &str, code: i32) -> String {
        let words = shlex::split(line).expect("words of a shell");
        let mut command = self.fleet.world.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        self.carrier.serves(&mut command);
        Terminal::start(&command).says_yes(code)
    }

    /// What comes of the line of this name.
    fn goes(&self, method: &str, ending: Ending, name: &str) {
        let what = format!("{method} {ending:?} {name:?}");
        let before = self.reboots();
        let said = self.ends(method, ending);
        let lines = printed(&said);
        let names: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ending.lines(), "{what}: {said}");
        let line = &lines.iter().find(|(other, _)| other == name).expect("a line").1;
        assert_eq!(line.contains("--retry-reboot"), name == "to retry the reboot", "{what}: {line}");
        let fleet = &self.fleet;
        let has_rebooted = self.reboots() - before;
        if ending != TakenOver {
            self.mends(method, ending, name);
        }
        // A command that failed is not run again: it is waited for.
        let waits = (ending, method, name) == (RequestFailed, "command", "to continue");
        if name != "to stop it" {
            self.types(line, if waits { 6 } else { 0 });
        }
        let expected = if waits || name == "to stop it" {
            0
        } else if name == "to undo" {
            has_rebooted
        } else {
            1
        };
        assert_eq!(self.reboots() - before, expected, "{what}: {line}");
        if waits {
            fleet.remediate(&["--abort"]).exits(0);
            fleet.uncordon();
        }
        assert!(fleet.record().is_null(), "{what}: {:#}", fleet.record());
        // What cannot be recalled may still come.
        let cannot_recall = name == "to undo"
            && has_rebooted == 0
            && ["command", "manual"].contains(&method)
            && matches!(ending, RequestFailed | BootFailed | Interrupted("WaitBoot"));
        assert_eq!(fleet.is_cordoned(), cannot_recall, "{what}: {line}");
        fleet.uncordon();
    }

    /// Does what `manual` asks for.
    fn does_as_asked(&self, is_over: &AtomicBool) {
        let mut done = None;
        while !is_over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(50));
            let record = self.fleet.record();
            let asks = self.person.load(Ordering::SeqCst) && record["method"] == "manual";
            if asks && record["state"] == "WaitBoot" && done.as_ref() != Some(&record["id"]) {
                self.fleet.machines.reboot(&self.fleet.node).expect("a machine");
                done = Some(record["id"].clone());
            }
        }
    }
}

/// Each line that says how it goes on, by its name.
fn printed(said: &str) -> Vec<(String, String)> {
    let lines = said.lines().filter_map(|line| line.trim_end().split_once(": kubectl sciuro remediate "));
    let lines =
        lines.map(|(name, rest)| (name.trim_start_matches("hint: ").to_owned(), format!("remediate {rest}")));
    lines.filter(|(name, _)| name.starts_with("to ")).collect()
}

/// Ends whoever else is at work also if the test fails.
struct StopOnDrop<'o>(&'o AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn play(world: fn() -> World, lanes: usize, cells: Vec<(&'static str, Ending, &'static str)>) {
    let queue = Mutex::new(VecDeque::from(cells));
    let next = || queue.lock().expect("a lock").pop_front();
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                let world = world();
                let lane = Lane::new(&world);
                let is_over = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    scope.spawn(|| lane.does_as_asked(&is_over));
                    let _over = StopOnDrop(&is_over);
                    while let Some((method, ending, line)) = next() {
                        lane.goes(method, ending, line);
                    }
                });
            });
        }
    });
}

mod sandbox {
    use super::*;

    #[test]
    fn f9_every_line_is_typed() {
        let all = METHODS.into_iter().flat_map(|method| ENDINGS.map(|ending| (method, ending)));
        let possible = all.filter(|(method, ending)| ending.is_possible(method));
        let cells = possible
            .flat_map(|(method, ending)| ending.lines().iter().map(move |line| (method, ending, *line)));
        play(World::sandbox, 6, cells.collect());
    }
}

mod control_plane {
    use super::*;

    #[test]
    fn f9_some_lines_are_typed() {
        let cells = [
            ("pod", Interrupted("Verifying"), "to continue"),
            ("signal", Declined, "to continue"),
            ("ssh", RequestFailed, "to retry the reboot"),
            ("command", RequestFailed, "to continue"),
            ("command", BootFailed, "to undo"),
            ("manual", Stopped("drain"), "to continue"),
            ("manual", BootFailed, "to retry the reboot"),
            ("pod", TakenOverAndIdle, "to continue"),
            ("ssh", TakenOver, "to stop it"),
        ];
        play(World::control_plane, 2, cells.into());
    }
}
