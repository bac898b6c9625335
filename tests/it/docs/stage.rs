//! Runs the binary on the sandbox and keeps what a person types and sees, without what differs from run to run.

use std::fmt::Write;
use std::io::Read;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde_json::json;

use crate::remediate::transcript::laid_out;
use crate::support::World;

/// What the reader of a transcript has set; the address is that of the sandbox.
pub(super) const ENVIRONMENT: [(&str, &str); 2] =
    [("SCIURO_ALERTMANAGER", "http://alertmanager:9093"), ("SCIURO_RECEIVER", "node-condition-k8s")];

pub(super) struct Stage {
    pub(super) world: World,
    text: String,
}

impl Stage {
    /// Nodes whose kubelets run, and an Alertmanager that has been up for a day.
    pub(super) fn new(nodes: &[&str]) -> Self {
        let stage = Self::empty();
        _ = stage.world.machines(nodes);
        stage
    }

    /// Without nodes.
    pub(super) fn empty() -> Self {
        let world = World::sandbox().with_plain_names();
        world.alertmanager().set_started(Timestamp::now() - SignedDuration::from_mins(30 * 60 + 30));
        Self { world, text: String::new() }
    }

    /// A line as it is typed, which ends with this code, and what is shown then.
    pub(super) fn types(&mut self, line: &str, code: i32) {
        let shown = run(&mut self.command(line), code);
        self.adds(line, &shown);
    }

    pub(super) fn adds(&mut self, line: &str, shown: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        _ = writeln!(self.text, "$ {line}\n{}", shown.trim_end());
    }

    /// A line that is not shown.
    pub(super) fn quietly(&self, line: &str) {
        run(&mut self.command(line), 0);
    }

    pub(super) fn command(&self, line: &str) -> Command {
        let words = shlex::split(line).expect("a line");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ["kubectl", "sciuro", arguments @ ..] = &words[..] else { panic!("not ours: {line}") };
        let mut command = self.world.command(arguments);
        command
            .envs(ENVIRONMENT)
            .env("SCIURO_ALERTMANAGER", self.world.alertmanager_url())
            .env("PATH", "/nonexistent") // what else is installed makes no difference
            .env("SCIURO_STABLE_FOR", "1s"); // nobody waits a minute for the pages
        command
    }

    /// What a node has in its status, as `jq` shows it.
    pub(super) fn conditions(&mut self, node: &str) {
        let line = format!(
            "kubectl get node {node} -o json | jq '.status.conditions[] | select(.type | startswith(\"AlertManager_\"))'"
        );
        let conditions =
            self.world.get_node(node)["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_ours = |condition: &&serde_json::Value| {
            condition["type"].as_str().is_some_and(|name| name.starts_with("AlertManager_"))
        };
        let shown: Vec<String> =
            conditions.iter().filter(is_ours).map(|condition| format!("{condition:#}")).collect();
        self.adds(&line, &shown.join("\n"));
    }

    /// A remark between commands.
    pub(super) fn says(&mut self, text: &str) {
        _ = writeln!(self.text, "\n# {text}");
    }

    pub(super) fn label(&self, node: &str, name: &str, value: &str) {
        let patch = json!({"metadata": {"labels": {name: value}}});
        self.world.request("PATCH", &format!("/api/v1/nodes/{node}"), "application/merge-patch+json", &patch);
    }

    pub(super) fn text(self) -> String {
        let text = self.timeless(&self.text);
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// Without what depends on when and where this runs.
    pub(super) fn timeless(&self, text: &str) -> String {
        let server = self.world.server_url();
        let mut text = text
            .replace(self.world.alertmanager_url(), "http://alertmanager:9093")
            .replace(server.trim_end_matches('/'), "https://10.0.0.1:6443");
        for (pattern, with) in [
            (r"by tester@[^\s,]+", "by cron@ops1"),
            (r"last full sync(:?) \d+s ago", "last full sync$1 12s ago"),
            (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-11-23T09:41:07Z"),
            (r"\b\d{8}T\d{6}Z", "20261123T094107Z"),
            (r"\(\d+(\.\d+)?m?s\)", "(…)"),
            // How long it waits, and for what, differs.
            (r"(?m)^  [\d.]+m?s .*\n", ""),
            (r"True((?:\x1b\[0m)?)     \d+s ", "True$1     0s "),
            (r" for \d+m?s:", " for 14m:"),
            (r"Ready for \d+m?s", "Ready for 9d"),
            (r" in /\S+/sciuro-", " in /home/me/sciuro-"),
            (r"\b\d+ files\b", "24 files"),
            (r", \d+ not to be had \(errors.txt\)", ""),
            (r"\bweb-[a-z0-9]{6,10}\b", "web-7d5b9c6f4d"),
            (r"\bweb-7d5b9c6f4d-[a-z0-9]{5}\b", "web-7d5b9c6f4d-x2x7k"),
        ] {
            text = Regex::new(pattern).expect("a pattern").replace_all(&text, with).into_owned();
        }
        laid_out(&text)
    }
}

/// What is shown on both streams, in its order.
pub(super) fn run(command: &mut Command, code: i32) -> String {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
    let mut child = command.spawn().expect("the binary starts");
    // Our ends of the pipe are the command's.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut shown = String::new();
    reader.read_to_string(&mut shown).expect("UTF-8");
    let status = child.wait().expect("an end");
    assert_eq!(status.code(), Some(code), "{shown}");
    shown
}
