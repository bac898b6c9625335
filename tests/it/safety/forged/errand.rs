//! What somebody lets the program do on a node, at random.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::programs::Programs;
use crate::support::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Fresh,
    Resume,
    Retry,
    Abort,
    /// `--dry-run=server`
    Plan,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "flags are independent of each other")]
pub(super) struct Errand {
    pub(super) task: Task,
    pub(super) method: &'static str,
    /// The words of `power`, which reboots.
    pub(super) words: &'static str,
    pub(super) address: &'static str,
    /// The words of `look`, which verifies.
    pub(super) verifies: Option<&'static str>,
    /// All gates that a person can override, but `address`: by that they would take another machine's on themselves.
    pub(super) overrides: bool,
    pub(super) collects: bool,
    pub(super) silences: bool,
    /// The machine reboots if ssh or `power` is called.
    pub(super) obeys: bool,
}

impl Errand {
    /// By this method, and nothing else.
    pub(super) fn new(task: Task, method: &'static str) -> Self {
        Self {
            task,
            method,
            words: "{node}",
            address: "InternalIP",
            verifies: None,
            overrides: false,
            collects: false,
            silences: false,
            obeys: true,
        }
    }
}

/// `kind`: the type of address that is taken; `unfinished`: a record is on the node.
pub(super) fn errands(
    method: &'static str,
    kind: &'static str,
    unfinished: bool,
) -> impl Strategy<Value = Errand> {
    let task = if unfinished {
        prop_oneof![5 => Just(Task::Resume), 3 => Just(Task::Retry), 2 => Just(Task::Abort), 1 => Just(Task::Fresh)].boxed()
    } else {
        prop_oneof![6 => Just(Task::Fresh), 1 => Just(Task::Plan)].boxed()
    };
    let words = prop_oneof![
        1 => Just("{node}"),
        2 => Just("-H {address} cycle"),
        3 => Just("{provider-id}"),
        1 => Just("{node} https://{address}/x --id={provider-id}"),
    ];
    let verifies = option::weighted(0.3, select(&["{node}", "{address}", "{provider-id}"][..]));
    let flags = (
        prop::bool::weighted(0.4),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.7),
    );
    (task, words, verifies, flags).prop_map(
        move |(task, words, verifies, (overrides, collects, silences, obeys))| Errand {
            task,
            method,
            words,
            address: kind,
            verifies,
            overrides,
            collects,
            silences,
            obeys,
        },
    )
}

/// Runs are stopped after that, whatever they wait for.
const LONGEST: Duration = Duration::from_secs(25);
const GATES: &str =
    "control-plane,max-unavailable,last-ready,foreign-owner,kubelet-unreachable,excluded,self,shared-boot-id";

/// Where things are.
pub(super) struct Places<'p> {
    pub(super) world: &'p World,
    pub(super) server: &'p str,
    pub(super) leases: &'p str,
    pub(super) programs: &'p Programs,
}

impl Errand {
    pub(super) fn command(&self, node: &str, places: &Places<'_>) -> Command {
        let Places { world, server, leases, programs } = *places;
        let mut command = world.command(&[
            "remediate",
            node,
            "--yes",
            "--force",
            "--server",
            server,
            "--prefix",
            &world.prefix(),
        ]);
        command.args(["--lease-namespace", leases, "--lease-duration", "15s", "--max-unavailable", "100%"]);
        command.args(["--stable-for", "1s", "--verify-timeout", "5s", "--drain-timeout", "5s"]);
        command.args(["--reboot-method", self.method, "--ssh-address", self.address]);
        // Nobody waits for a boot that nothing has begun.
        let is_told = ["ssh", "command"].contains(&self.method);
        let reboots = self.method != "manual" && (self.obeys || !is_told);
        command.args(["--reboot-timeout", if reboots { "20s" } else { "1s" }]);
        if self.method == "command" {
            command.args(["--reboot-command", &format!("power {}", self.words)]);
        }
        if let Some(words) = self.verifies {
            command.args(["--verify-command", &format!("look {words}")]);
        }
        if self.overrides {
            command.args(["--override", GATES]);
        }
        // One that was in Collecting collects whatever is skipped.
        command.arg("--output-dir").arg(world.file("bundles", "").with_extension("d"));
        if self.collects {
            command.args(["--collect", "kubelet,host", "--collect-timeout", "3s"]);
        } else {
            command.args(["--skip", "collect"]);
        }
        if self.silences {
            let filter = format!("test={:?}", world.id());
            command.args([
                "--alertmanager",
                world.alertmanager_url(),
                "--receiver",
                "node-condition-k8s",
                "--filter",
                &filter,
            ]);
            command.args(["--silence", "--no-verify-alerts"]);
        }
        match self.task {
            Task::Fresh => {}
            Task::Plan => _ = command.arg("--dry-run=server"),
            Task::Resume => _ = command.arg("--resume"),
            Task::Retry => _ = command.args(["--resume", "--retry-reboot", "--confirm", node]),
            Task::Abort => _ = command.arg("--abort"),
        }
        programs.serves(&mut command);
        command
    }
}

/// What came of it: exit code, and all that it printed.
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) said: String,
}

/// Lets it run to its end. `ordered` is called when a program was told to reboot the machine.
pub(super) fn run(mut command: Command, programs: &Programs, ordered: impl Fn()) -> Ended {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut stderr = child.stderr.take().expect("a pipe");
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _broken = std::io::Read::read_to_end(&mut stderr, &mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let began = Instant::now();
    let mut stops = ["INT", "KILL"].iter().zip([LONGEST, 2 * LONGEST]).peekable();
    let code = loop {
        if programs.ordered() {
            ordered();
        }
        if let Some(status) = child.try_wait().expect("a status") {
            break status.code();
        }
        if stops.peek().is_some_and(|(_, after)| began.elapsed() > *after)
            && let Some((signal, _)) = stops.next()
        {
            kill(&child, signal);
        }
        std::thread::sleep(Duration::from_millis(20)); // a process has no other way to say that it ended
    };
    Ended { code, said: said.join().expect("what it said") }
}

fn kill(child: &Child, signal: &str) {
    let _gone_already = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
}
