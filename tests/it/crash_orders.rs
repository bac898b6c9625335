//! A run is killed by whoever carries its order to the machine, ssh or a command: before the order is carried out, and after
//! that, before its answer is taken. Somebody goes on, and no attempt reboots the machine twice.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Fleet, Moment, Run, World, run, scenarios};

scenarios![
    ssh_before_the_order_arrives,
    ssh_after_the_order_arrived,
    a_command_before_it_acts,
    a_command_after_it_acted,
];

/// Between the run and its machine: a program that hands over what it is asked, waits for the answer and says it.
struct Carrier {
    directory: PathBuf,
}

/// `ask WORD…` hands a question to the machine; `kill_at MOMENT` kills whoever runs this, once.
const COMMON: &str = r#"
ask() {
  echo "$*" > question.new; mv question.new question
  while [ ! -e answer ]; do sleep 0.02; done
  said=$(cat answer); rm answer
}
kill_at() { if [ "$(cat kill-at)" = "$1" ]; then echo no > kill-at; kill -KILL $PPID; exit 1; fi; }
"#;

/// The guard's arguments are the last words of what the machine's shell is told.
const SSH: &str = r#"
[ "$1" != -G ] || exit 0 # only asked what it would do
for last; do :; done
eval "set -- $last"
if [ $# -lt 5 ]; then ask probe; printf '%s\n' "$said"; exit 0; fi
kill_at Before
ask order "$4" "$5"
kill_at After
printf 'sciuro-%s\n' "${said#* }"
exit "${said%% *}"
"#;

const POWER: &str = "
kill_at Before
ask power
kill_at After
";

impl Carrier {
    fn new(world: &World, moment: Moment) -> Self {
        let directory =
            world.file("kill-at", &format!("{moment:?}\n")).parent().expect("a directory").to_owned();
        for (name, body) in [("ssh", SSH), ("power", POWER)] {
            let script = format!("#!/bin/sh\ncd '{}' || exit 1\n{COMMON}{body}", directory.display());
            let script = world.file(name, &script);
            std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o700)).expect("a program");
        }
        Self { directory }
    }

    /// What comes as a question is done to the machine.
    fn carry(&self, fleet: &Fleet<'_>, is_over: &AtomicBool) {
        let (question, answer) = (self.directory.join("question"), self.directory.join("answer"));
        while !is_over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
            let Ok(words) = std::fs::read_to_string(&question) else { continue };
            std::fs::remove_file(&question).expect("a question");
            let said = match words.split_whitespace().collect::<Vec<_>>()[..] {
                ["probe"] => {
                    let facts = fleet.machines.facts(&fleet.node).expect("a machine");
                    format!("sciuro-boot_id={}\nsciuro-uptime={}\n", facts.boot_id, facts.uptime.as_secs())
                }
                ["order", boot_id, limit] => {
                    let (code, said) =
                        fleet.machines.order_reboot(&fleet.node, boot_id, limit).expect("a machine");
                    format!("{code} {said}")
                }
                ["power"] => {
                    fleet.machines.reboot(&fleet.node).expect("a machine");
                    String::new()
                }
                _ => panic!("{words}"),
            };
            let new = self.directory.join("answer.new");
            std::fs::write(&new, said).expect("an answer");
            std::fs::rename(new, &answer).expect("an answer");
        }
    }

    /// A run with this program for `ssh` and for the command.
    fn command(&self, fleet: &Fleet<'_>, method: &str, more: &[&str]) -> Command {
        let power = format!("{} {{node}}", self.directory.join("power").display());
        let mut flags = vec![fleet.node.as_str(), "--reboot-method", method];
        if method == "command" {
            flags.extend(["--reboot-command", &power]);
        }
        let mut command = fleet.command(&[&flags[..], more].concat());
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", self.directory.display()));
        command
    }
}

/// A run is killed there; then `and_then` goes on with more flags.
fn killed(
    world: &World,
    method: &str,
    moment: Moment,
    and_then: impl FnOnce(&Fleet<'_>, &dyn Fn(&[&str]) -> Run),
) {
    let fleet = Fleet::new(world);
    let carrier = Carrier::new(world, moment);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| carrier.carry(&fleet, &is_over));
        let over = StopOnDrop(&is_over);
        let go = |more: &[&str]| run(&mut carrier.command(&fleet, method, more));
        let killed = go(&[]);
        assert_eq!(killed.code, None, "killed by a signal: {killed:#?}");
        let record = fleet.record();
        assert_eq!(record["state"], "RebootIntent", "{record:#}");
        assert_eq!(record["attempts"][0]["outcome"], Value::Null, "{record:#}");
        and_then(&fleet, &go);
        drop(over);
    });
    let facts = fleet.machines.facts(&fleet.node).expect("a machine");
    assert_eq!(facts.reboots, 1);
    assert_eq!(world.get_node(&fleet.node)["status"]["nodeInfo"]["bootID"], facts.boot_id.as_str());
    assert_eq!(fleet.record(), Value::Null);
    assert!(!fleet.is_cordoned());
    fleet.nothing_is_left();
}

/// Ends the carrier also if the test fails, which would otherwise wait for it for ever.
struct StopOnDrop<'o>(&'o AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
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
