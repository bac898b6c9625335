//! YAML and JSON of the pages: configuration files, excerpts of our own files, and what others read.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::markdown::root;
use crate::schemas::{config, validator};
use crate::support::World;

pub(super) fn problems(kind: &str, text: &str) -> Vec<String> {
    match kind.split_once('=').unwrap_or((kind, "")) {
        ("", "") if serde_json::from_str::<Value>(text).is_ok() => Vec::new(),
        ("", "") if text.trim_start().starts_with('{') => vec!["not JSON".to_owned()],
        ("config", "") => not_a_configuration(text),
        ("excerpt", path) => not_in(path, text),
        // What tools say is asked on the real control plane.
        // "others": of a kind that only its own controller brings along.
        ("manifest" | "rules" | "alertmanager" | "others", "") => not_yaml(text),
        _ => vec![format!("no kind of document: {kind:?}")],
    }
}

fn not_yaml(text: &str) -> Vec<String> {
    let parsed: Result<Vec<Value>, _> = serde_saphyr::from_multiple(text);
    parsed.err().map(|error| error.to_string()).into_iter().collect()
}

fn not_a_configuration(text: &str) -> Vec<String> {
    let document: Value = match serde_saphyr::from_str(text) {
        Ok(document) => document,
        Err(error) => return vec![error.to_string()],
    };
    let schema = validator("config.json");
    let errors = schema.iter_errors(&document).map(|error| error.to_string());
    errors.chain(config::refusal_of("sync", text)).collect()
}

/// The lines stand in the file one after the other, indented or not, its comments left out.
fn not_in(path: &str, text: &str) -> Vec<String> {
    let file = std::fs::read_to_string(root().join(path)).unwrap_or_default();
    let trimmed = |text: &str| {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.map(|line| line.split(" # ").next().unwrap_or_default().trim()).collect::<Vec<_>>().join("\n")
    };
    if trimmed(&file).contains(&trimmed(text)) { Vec::new() } else { vec![format!("not in {path}")] }
}

/// Asks the tool that reads it; false if there is none.
#[track_caller]
pub(super) fn is_accepted(world: &World, kind: &str, text: &str) -> bool {
    let file = world.file("block.yaml", text);
    let file = file.to_str().expect("UTF-8");
    let mut command = match kind {
        "rules" => tool("promtool", &["check", "rules", file]),
        "alertmanager" => tool("amtool", &["check-config", file]),
        "manifest" => tool("kubectl", &["apply", "--dry-run=server", "-f", file]),
        _ => return false,
    };
    let output = command.env("KUBECONFIG", world.kubeconfig()).output().expect("a tool on PATH");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}\n{said}");
    true
}

fn tool(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null());
    command
}
