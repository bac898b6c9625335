//! What a person sees of `status`, whole: every snapshot was read as somebody on call would read it. The names of the
//! nodes are literal, since columns are laid out by their length; no two scenarios share one.

use std::process::{Command, Stdio};

use jiff::SignedDuration;
use regex::{Captures, Regex};
use serde_json::json;

use crate::status::{record_sync, status};
use crate::support::{Run, World, scenarios, seconds_ago};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

scenarios![
    the_most_urgent_come_first,
    conditions_of_every_writer_are_shown,
    an_unknown_node_is_an_error,
    nothing_fires,
    nothing_is_known_without_a_fresh_full_sync,
    an_outage_is_not_silence,
    what_nobody_confirms_is_stale,
    without_permission_it_says_so,
    an_api_server_that_is_away_is_an_error,
    a_closed_pipe_ends_quietly,
    terminals,
];

/// Command lines and what came of them.
struct Transcript<'w> {
    world: &'w World,
    text: String,
}

impl<'w> Transcript<'w> {
    fn of(world: &'w World) -> Self {
        Self { world, text: String::new() }
    }

    fn status(&mut self, arguments: &[&str]) -> &mut Self {
        let run = status(self.world, arguments);
        self.add(&arguments.join(" "), run)
    }

    fn add(&mut self, arguments: &str, Run { code, stdout, stderr }: Run) -> &mut Self {
        let code = code.map_or("a signal".into(), |code| code.to_string());
        let arguments = self.world.short(arguments);
        self.text += &timeless(&format!(
            "$ kubectl sciuro status {arguments}\n{stdout}--- stderr, exit {code}\n{stderr}\n"
        ));
        self
    }

    /// As typed on a terminal of so many columns.
    fn on_terminal(&mut self, columns: u16, environment: &str, arguments: &[&str]) -> &mut Self {
        let line = format!(
            "stty cols {columns} rows 20; {environment} exec {} status --prefix {} --lease-name {} {}",
            env!("CARGO_BIN_EXE_kubectl-sciuro"),
            self.world.prefix(),
            self.world.name("sync"),
            arguments.join(" "),
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &line])
            .env("KUBECONFIG", self.world.kubeconfig())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        let mut session = rexpect::session::spawn_command(command, Some(20_000)).unwrap();
        let latin1 = session.exp_eof().unwrap().replace('\r', ""); // which is how rexpect reads bytes
        let bytes: Vec<u8> =
            latin1.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
        let shown = String::from_utf8(bytes).unwrap().replace('\u{1b}', "␛");
        let title = format!("{columns} columns: {environment} kubectl sciuro status {}", arguments.join(" "));
        self.text += &timeless(&format!("{title}\n{shown}\n"));
        self
    }

    #[track_caller]
    fn is(&self, name: &str) {
        insta::allow_duplicates! {
            insta::assert_snapshot!(name, self.text);
        }
    }
}

/// Without what depends on when and where the test runs. Seconds stay as wide as they are.
fn timeless(text: &str) -> String {
    let replace = |text: &str, pattern: &str, with: fn(&Captures<'_>) -> String| {
        Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
    };
    let text = replace(text, r"last full sync \d+s ago by tester@\S+", |_| {
        "last full sync 0s ago by tester@host".into()
    });
    let text = replace(&text, r#"User "[^"]+""#, |_| r#"User "reader""#.into());
    let text = replace(&text, r"\d\d:\d\dZ", |_| "02:41Z".into());
    replace(&text, r"True +\d{1,2}s +", |found| {
        let age = found[0].rfind(char::is_numeric).unwrap_or_default();
        let start = found[0][..age].rfind(' ').map_or(0, |space| space + 1);
        format!("{}{:<2$}", &found[0][..start], "0s", found[0].len() - start)
    })
}

/// Four True conditions on three nodes, and one that has ended.
fn busy(world: &World, nodes: [&str; 3]) {
    for node in nodes {
        world.node_named(node);
    }
    world.seed_confirmed(nodes[0], "UpTooLong", "True", "[P8] uptime 9 days", HOUR * 173);
    world.seed_confirmed(nodes[2], "DiskFailing", "True", "[P1] sda reallocated sectors 812", MINUTE * 12);
    world.seed_confirmed(nodes[2], "Ended", "False", "", MINUTE * 30);
    world.seed_confirmed(nodes[1], "NoPriority", "True", "somebody wrote this by hand", MINUTE * 20);
    world.seed_confirmed(nodes[1], "UpTooLong", "True", "[P8] uptime 8 days", HOUR * 100);
}

fn the_most_urgent_come_first(world: &World) {
    let nodes = ["rack1-w1", "rack1-w2", "rack1-w3"];
    busy(world, nodes);
    record_sync(world, MINUTE * 12);
    let with = |more: &[&'static str]| [&nodes[..], more].concat();
    Transcript::of(world)
        .status(&with(&[]))
        .status(&with(&["--exit-code", "--priority", "1-3"]))
        .status(&with(&["-o", "name"]))
        .status(&with(&["-o", "name", "--priority", "1-3"]))
        .is("most_urgent");
    // The prefix comes from the Lease.
    world
        .run(&["status", "--no-headers", "--lease-name", &world.name("sync"), nodes[2]])
        .exits(0)
        .prints("rack1-w3   P1   DiskFailing   True   12m   sda reallocated sectors 812");
}

fn conditions_of_every_writer_are_shown(world: &World) {
    let node = "rack2-w1";
    world.node_named(node);
    // Ours.
    world.alert(&[("alertname", "Ours"), ("node", node), ("priority", "2")], "by sync", true);
    world.sync(&[]).exits(0);
    // Upstream's way: the whole list by a JSON merge patch.
    let mut conditions = world.get_node(node)["status"]["conditions"].as_array().unwrap().clone();
    conditions.push(json!({"type": world.condition_type("Upstream"), "status": "True", "reason": "AlertIsFiring",
        "message": "[P3] by upstream", "lastHeartbeatTime": seconds_ago(MINUTE * 13), "lastTransitionTime": seconds_ago(MINUTE * 15)}));
    world.request(
        "PATCH",
        &format!("/api/v1/nodes/{node}/status?fieldManager=sciuro"),
        "application/merge-patch+json",
        &json!({"status": {"conditions": conditions}}),
    );
    // And node-problem-detector's.
    world.patch_status(node, "application/strategic-merge-patch+json", &json!({"status": {"conditions": [{
        "type": "NPDKernelDeadlock", "status": "True", "reason": "DockerHung", "message": "task docker:20744 blocked for more than 120 seconds",
        "lastHeartbeatTime": seconds_ago(HOUR * 3), "lastTransitionTime": seconds_ago(HOUR * 9)}]}}));
    Transcript::of(world).status(&[node]).status(&["--condition", "^NPD", node]).is("every_writer");
}

fn an_unknown_node_is_an_error(world: &World) {
    let node = "rack3-w1";
    world.node_named(node);
    world.seed(node, "X", "True", "[P1] hot", MINUTE * 12);
    Transcript::of(world).status(&["w99"]).status(&[node, "node/w99"]).is("unknown_node");
}

fn nothing_fires(world: &World) {
    let node = "rack4-w1";
    world.node_named(node);
    world.sync(&[]).exits(0);
    Transcript::of(world)
        .status(&[node])
        .status(&[node, "--exit-code"])
        .status(&[node, "--exit-code", "--condition", "^NPD"])
        .is("nothing_fires");
}

fn nothing_is_known_without_a_fresh_full_sync(world: &World) {
    let node = "rack5-w1";
    world.node_named(node);
    let mut transcript = Transcript::of(world);
    transcript.status(&[node]).status(&[node, "--exit-code"]);
    record_sync(world, MINUTE * 241);
    transcript.status(&[node]).status(&[node, "--exit-code"]);
    // What others write has nothing to do with sync.
    transcript.status(&[node, "--exit-code", "--condition", "^NPD"]).is("nothing_known");
}

fn an_outage_is_not_silence(world: &World) {
    let nodes = ["rack6-w1", "rack6-w2"];
    for node in nodes {
        world.node_named(node);
        world.seed(node, "DiskFailing", "Unknown", "", MINUTE * 30);
    }
    record_sync(world, MINUTE * 31);
    Transcript::of(world).status(&[nodes[0], nodes[1], "--exit-code"]).is("outage");
}

fn what_nobody_confirms_is_stale(world: &World) {
    let node = "rack7-w1";
    world.node_named(node);
    world.seed(node, "X", "True", "[P1] hot", MINUTE * 241);
    record_sync(world, HOUR * 12);
    Transcript::of(world).status(&[node]).is("stale");
}

fn without_permission_it_says_so(world: &World) {
    let node = "rack8-w1";
    world.node_named(node);
    world.seed(node, "X", "True", "[P1] hot", MINUTE * 12);
    let mut transcript = Transcript::of(world);
    let reader = world.user_who_may(&[("", "nodes", "list")]);
    transcript.status(&["--as", &reader, node]).status(&["--as", &reader, "--priority", "7", node]);
    let nobody = world.user_who_may(&[]);
    transcript.status(&["--as", &nobody, node]).is("no_permission");
}

fn an_api_server_that_is_away_is_an_error(world: &World) {
    Transcript::of(world)
        .status(&["--server", "https://127.0.0.1:1"])
        .status(&["--server", "https://127.0.0.1:1", "-w"])
        .is("api_server_away");
}

fn a_closed_pipe_ends_quietly(world: &World) {
    let nodes = ["rack9-w1", "rack9-w2", "rack9-w3"];
    busy(world, nodes);
    record_sync(world, MINUTE * 12);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (prefix, lease) = (world.prefix(), world.name("sync"));
    let arguments = [&["status", "--prefix", &prefix, "--lease-name", &lease][..], &nodes].concat();
    let child = world.command(&arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let run = Run { code: output.status.code(), stdout: String::new(), stderr };
    Transcript::of(world).add(&format!("{} | true", nodes.join(" ")), run).is("closed_pipe");
}

/// Of 40 and 80 columns, with and without colours, and none.
fn terminals(world: &World) {
    let nodes = ["rack10-w1", "rack10-w2", "rack10-w3"];
    busy(world, nodes);
    let message =
        "[P3] 过热: the temperature of the package has been above its threshold for more than 15 minutes";
    world.seed_confirmed(nodes[0], "NodeTemperatureHigh", "True", message, MINUTE * 14);
    world.seed(nodes[1], "NodeClockSkew", "Unknown", "", MINUTE * 30);
    record_sync(world, MINUTE * 12);
    let mut transcript = Transcript::of(world);
    transcript.on_terminal(80, "", &nodes);
    for environment in ["", "NO_COLOR=1", "TERM=dumb"] {
        transcript.on_terminal(40, environment, &nodes);
    }
    transcript.status(&nodes).status(&[nodes[0], nodes[1], nodes[2], "--color", "always"]);
    transcript.text = transcript.text.replace('\u{1b}', "␛");
    transcript.is("terminals");
}
