//! What stands between a run and its machines: programs for `ssh` and for a BMC that hand over what they are asked.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sandbox::Machines;

use super::{Moment, World};

pub struct Carrier {
    directory: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    carrying: Option<JoinHandle<()>>,
}

/// `ask WORD…` hands a question over; `kill_at MOMENT` kills whoever runs this, once; `is MOOD` after `Carrier::is`.
const COMMON: &str = r#"
ask() {
  echo "$*" > new.$$; mv new.$$ question.$$
  while [ ! -e answer.$$ ]; do sleep 0.02; done
  said=$(cat answer.$$); rm answer.$$
}
is() { [ "$(cat mood 2>/dev/null)" = "$1" ]; }
kill_at() {
  if [ "$(cat kill-at 2>/dev/null)" = "$1" ]; then echo no > kill-at; kill -KILL $PPID; exit 1; fi
}
"#;

/// The guard's arguments are the last words of what the machine's shell is told; the address stands before it.
const SSH: &str = r#"
[ "$1" != -G ] || exit 0 # only asked what it would do
for last; do before=$word; word=$last; done
eval "set -- $last"
if [ $# -lt 5 ]; then ask probe "$before"; printf '%s\n' "$said"; exit 0; fi
! is broken || { echo 'Connection reset by peer' >&2; exit 255; }
kill_at Before
ask order "$before" "$4" "$5"
kill_at After
printf 'sciuro-%s\n' "${said#* }"
exit "${said%% *}"
"#;

const POWER: &str = r#"
! is broken || { echo 'no route to BMC' >&2; exit 1; }
! is mute || exit 0
kill_at Before
ask power "$1"
kill_at After
"#;

impl Carrier {
    /// Knows the machines by their names, and by the addresses that their Nodes have now.
    pub fn new(world: &World, machines: &Machines) -> Self {
        let directory = world.file("carrier", "").with_file_name("carried");
        std::fs::create_dir_all(&directory).expect("a directory");
        for (name, body) in [("ssh", SSH), ("power", POWER)] {
            let script = directory.join(name);
            let text = format!("#!/bin/sh\ncd '{}' || exit 1\n{COMMON}{body}", directory.display());
            std::fs::write(&script, text).expect("a program");
            std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o700)).expect("a program");
        }
        let mut known = BTreeMap::new();
        for name in machines.names() {
            known.insert(name.to_owned(), name.to_owned());
            let node = world.get_node(name);
            for address in node["status"]["addresses"].as_array().into_iter().flatten() {
                known.insert(address["address"].as_str().expect("an address").to_owned(), name.to_owned());
            }
        }
        let (asked, is_over): (Arc<Mutex<Vec<String>>>, Arc<AtomicBool>) = <_>::default();
        let carrying = {
            let (directory, machines) = (directory.clone(), machines.clone());
            let (asked, is_over) = (asked.clone(), is_over.clone());
            std::thread::spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    carry(&directory, &machines, &known, &asked);
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
        };
        Self { directory, asked, is_over, carrying: Some(carrying) }
    }

    /// Whoever carries the next order is killed then.
    pub fn kills_at(&self, moment: Moment) {
        std::fs::write(self.directory.join("kill-at"), format!("{moment:?}\n")).expect("a file");
    }

    /// `broken`: requests fail. `mute`: commands are acknowledged, and nothing comes of it.
    pub fn is(&self, mood: Option<&str>) {
        std::fs::write(self.directory.join("mood"), mood.unwrap_or_default()).expect("a file");
    }

    /// For `--reboot-command`.
    pub fn power(&self) -> String {
        format!("{} {{node}}", self.directory.join("power").display())
    }

    /// Lets the command find this `ssh`.
    pub fn serves(&self, command: &mut Command) {
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", self.directory.display()));
    }

    /// What was asked of which machine: `probe w1`, `order w1`, `power w1`; an unknown address as it is.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a lock").clone()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(carrying) = self.carrying.take() {
            let _ended = carrying.join();
        }
    }
}

/// What has come as a question is done to the machine that it names.
fn carry(
    directory: &std::path::Path,
    machines: &Machines,
    known: &BTreeMap<String, String>,
    asked: &Mutex<Vec<String>>,
) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(number) = file.to_str().and_then(|name| name.strip_prefix("question.")) else { continue };
        let words = std::fs::read_to_string(entry.path()).expect("a question");
        std::fs::remove_file(entry.path()).expect("a question");
        let words: Vec<&str> = words.split_whitespace().collect();
        let machine = known.get(words[1]).map_or(words[1], String::as_str);
        asked.lock().expect("a lock").push(format!("{} {machine}", words[0]));
        let said = match words[..] {
            ["probe", _] => {
                let facts = machines.facts(machine).expect("a machine");
                format!("sciuro-boot_id={}\nsciuro-uptime={}\n", facts.boot_id, facts.uptime.as_secs())
            }
            ["order", _, boot_id, limit] => {
                let (code, said) = machines.order_reboot(machine, boot_id, limit).expect("a machine");
                format!("{code} {said}")
            }
            ["power", _] => {
                machines.reboot(machine).expect("a machine");
                String::new()
            }
            _ => panic!("{words:?}"),
        };
        let (new, answer) =
            (directory.join(format!("said.{number}")), directory.join(format!("answer.{number}")));
        std::fs::write(&new, said).expect("an answer");
        std::fs::rename(new, answer).expect("an answer");
    }
}
