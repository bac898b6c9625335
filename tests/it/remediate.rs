//! `kubectl sciuro remediate` from its plan to its end.

mod asked;
pub(crate) mod scene;
mod stopped;
mod terminal;
mod tiers;

use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use self::scene::Scene;
use crate::permissions::control_plane::{kubeconfig_of_the_account, kubectl};
use crate::support::{Run, World, run, scenarios};
use crate::watch::eventually;

scenarios!(a_node_goes_through_all_six_steps, what_somebody_else_cordoned_stays_cordoned);

/// On the real control plane through kubectl, by an account that has what deploy/ gives it, and no more.
fn a_node_goes_through_all_six_steps(world: &World) {
    let mut scene = Scene::with_everything(world);
    "kube-system".clone_into(&mut scene.leases);
    let account = world.doubles.is_none().then(|| Account::new(world));
    let before = scene.facts();
    let typed = ["--yes", "--force", "--delete-emptydir-data"];
    let mut command = scene.command(&typed);
    if let Some(account) = &account {
        command = through_kubectl(&command);
        command.env("KUBECONFIG", &account.kubeconfig);
        account.may_remediate(&scene);
    }
    let ended = run(&mut command).exits(0).never_says("orbidden");

    scene.is_remediated(&before);
    assert_eq!(scene.apps(&scene.node), ["agent", "static"]);
    assert_eq!(scene.apps(&scene.spare), ["agent", "cache", "db", "web", "web"], "the bare pod is gone");
    let said: Vec<_> = scene.events().into_iter().collect();
    let expected = [
        "Collecting",
        "Cordoning",
        "Draining",
        "RebootIntent",
        "Remediated",
        "Uncordoning",
        "Verifying",
        "WaitBoot",
    ];
    assert_eq!(said, expected.map(|state| format!("Sciuro{state}")));
    has_what_is_needed(&scene);
    insta::allow_duplicates! {
        insta::assert_snapshot!("six_steps", transcript(&scene, &typed, &ended));
    }
}

/// The bundle's members.
#[track_caller]
fn has_what_is_needed(scene: &Scene<'_>) {
    let bundle = scene.bundle();
    let names: Vec<_> = bundle.keys().map(String::as_str).collect();
    let has = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
    let pods = format!("pods/{}/", scene.namespace);
    for prefix in ["manifest.json", "node/", "events.", &pods, "remediation.json", "after/node/"] {
        assert!(has(prefix), "no {prefix} in {names:#?}");
    }
    for app in ["agent", "cache", "db", "proxy", "shell", "web"] {
        let is_of = |name: &&str| name.starts_with(&format!("{pods}{app}")) && name.ends_with("/pod.yaml");
        assert!(names.iter().any(is_of), "{app}: {names:#?}");
    }
    let record: Value = serde_json::from_str(&bundle["remediation.json"]).expect("JSON");
    assert_eq!(record["state"], "Collecting");
    let manifest: Value = serde_json::from_str(&bundle["manifest.json"]).expect("JSON");
    let listed: Vec<_> = manifest["files"].as_array().expect("files").iter().collect();
    assert!(listed.len() >= names.len() - 1, "{listed:#?}");
}

/// What a person saw, without what differs from run to run.
fn transcript(scene: &Scene<'_>, typed: &[&str], run: &Run) -> String {
    let mut text = run.stderr.replace(&format!("{}/", scene.directory().display()), "");
    for (pattern, with) in [
        // How long it waits, and for what, differs.
        (r"(?m)^(Warning: The disruption budget|  \d+/\d+, waits|  [\d.]+m?s ).*\n", ""),
        (r"\d{8}T\d{6}Z", "20261123T094107Z"),
        (r"\(\d+(\.\d+)?m?s\)", "(0.2s)"),
        (r"Ready for \d+m?s", "Ready for 9d"),
        (r"\d+ files", "24 files"),
        (r", \d+ not to be had \(errors.txt\)", ""),
        (r"\b(web|cache)-[a-z0-9]{6,10}\b(-[a-z0-9]{5}\b)?", "$1-7d5b9c6f4d$2"),
        (r"-7d5b9c6f4d-[a-z0-9]{5}\b", "-7d5b9c6f4d-x2x7k"),
        (r"agent-[a-z0-9]{5}\b", "agent-q4zkm"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
    }
    let text = scene.world.short(&text);
    format!("$ kubectl sciuro remediate worker1a {}\n{}", typed.join(" "), laid_out(&text))
}

/// Columns as wide as the names need that stand here, and what happens at the same time in the order of its names.
fn laid_out(text: &str) -> String {
    let gap = Regex::new(" {2,}").unwrap();
    let mut lines: Vec<String> = Vec::new();
    let (mut together, mut table): (Vec<String>, Vec<Vec<String>>) = (Vec::new(), Vec::new());
    for line in text.lines().chain([""]) {
        let is_row = line.starts_with("NAMESPACE ") || line.starts_with("shop ");
        let is_pod = line.contains(" evict") && !is_row;
        let is_parallel = is_pod || line.starts_with("  ✔") || line.contains(" files in ");
        if !is_parallel {
            // All pods are asked for before the first is told to be gone; the checks are in their order.
            together.sort_by_key(|line| {
                let pod = if line.contains(" evict") { line.clone() } else { String::new() };
                (line.starts_with("  pod ") || line.contains(" files in "), pod)
            });
            lines.append(&mut together);
        }
        if is_row {
            table.push(gap.split(line).map(str::to_owned).collect());
            continue;
        }
        let columns = table.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| table.iter().filter_map(|row| row.get(column)).map(String::len).max();
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        for row in table.drain(..) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            lines.push(cells.collect::<Vec<_>>().join("   ").trim_end().to_owned());
        }
        if is_parallel { together.push(line.to_owned()) } else { lines.push(line.to_owned()) }
    }
    lines.join("\n")
}

fn what_somebody_else_cordoned_stays_cordoned(world: &World) {
    let scene = Scene::new(world);
    scene.bare_pod("shell");
    scene.until_running(1);
    scene.cordon(&scene.node, true);
    let before = scene.facts();
    scene.remediate(&["--yes", "--force"]).exits(0).says("it had been cordoned before");
    scene.is_over("remediated");
    assert!(scene.is_cordoned());
    assert_eq!(scene.facts().reboots, before.reboots + 1);
}

/// The same with kubectl before it, which finds us on the PATH.
fn through_kubectl(command: &Command) -> Command {
    let ours = Path::new(command.get_program()).parent().expect("a directory");
    let path = std::env::var("PATH").expect("a PATH");
    let mut kubectl = Command::new("kubectl");
    kubectl.arg("sciuro").args(command.get_args()).env("PATH", format!("{}:{path}", ours.display()));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => kubectl.env(name, value),
            None => kubectl.env_remove(name),
        };
    }
    kubectl
}

/// What deploy/remediate-rbac.yaml creates, under names of this world's own.
struct Account<'w> {
    world: &'w World,
    manifest: std::path::PathBuf,
    kubeconfig: std::path::PathBuf,
}

impl<'w> Account<'w> {
    fn new(world: &'w World) -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/remediate-rbac.yaml");
        let manifest = std::fs::read_to_string(manifest).expect("a manifest");
        let name = format!("sciuro-remediate-{}", world.id());
        let manifest = manifest.replace("sciuro-remediate", &name);
        // The namespace is everybody's.
        let (namespace, rest) = manifest.split_once("\n---\n").expect("several objects");
        let (namespace, manifest) = (world.file("namespace.yaml", namespace), world.file("rbac.yaml", rest));
        for file in [&namespace, &manifest] {
            kubectl(world, &["apply", "-f", file.to_str().unwrap()]);
        }
        let kubeconfig = kubeconfig_of_the_account(world, &name);
        Self { world, manifest, kubeconfig }
    }

    /// The authorizer reads rules from a watch.
    fn may_remediate(&self, scene: &Scene<'_>) {
        eventually("what the manifest allows", || {
            let plan = run(scene
                .command(&["--dry-run", "--force", "--delete-emptydir-data"])
                .env("KUBECONFIG", &self.kubeconfig));
            plan.code == Some(0) && !plan.stdout.contains("you may not")
        });
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        kubectl(self.world, &["delete", "--ignore-not-found", "-f", self.manifest.to_str().unwrap()]);
    }
}
