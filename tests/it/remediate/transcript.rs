//! All six steps, and what docs/remediate.md shows of them: the names, the defaults, and the account that deploy/ makes.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::scene::Scene;
use crate::permissions::control_plane::{apply, kubeconfig_of_the_account};
use crate::support::{Run, World, run};
use crate::watch::eventually;

const TYPED: [&str; 5] = ["remediate", "worker1a", "--yes", "--force", "--delete-emptydir-data"];

mod sandbox {
    use super::{TYPED, a_node_goes_through_all_six_steps_of, in_a_directory};
    use crate::remediate::scene::Scene;
    use crate::support::World;

    /// It need not look at the node for a minute, too.
    #[test]
    fn a_node_goes_through_all_six_steps() {
        let world = World::sandbox().with_plain_names();
        let scene = Scene::with_everything(&world);
        let mut command = in_a_directory(world.command(&TYPED), &scene);
        command.arg("--stable-for=1s");
        a_node_goes_through_all_six_steps_of(scene, command);
    }
}

mod control_plane {
    use super::{TYPED, a_node_goes_through_all_six_steps_of, account, in_a_directory, through_kubectl};
    use crate::remediate::scene::Scene;
    use crate::support::{Cluster, World};

    /// Through kubectl, by an account that has what deploy/ gives it and no more, with the flags that it shows and no
    /// others: other tests' nodes would be in the way.
    #[test]
    fn a_node_goes_through_all_six_steps() {
        let cluster = Cluster::start();
        let world = World::on(&cluster.kubeconfig()).with_plain_names();
        let scene = Scene::with_everything(&world);
        let mut command = in_a_directory(through_kubectl(&world.command(&TYPED)), &scene);
        command.env("KUBECONFIG", account(&world));
        a_node_goes_through_all_six_steps_of(scene, command);
    }
}

/// Where the bundle goes when nobody says where.
fn in_a_directory(mut command: Command, scene: &Scene<'_>) -> Command {
    std::fs::DirBuilder::new().mode(0o700).create(scene.directory()).expect("a directory");
    command.current_dir(scene.directory());
    command
}

fn a_node_goes_through_all_six_steps_of(mut scene: Scene<'_>, mut command: Command) {
    "kube-system".clone_into(&mut scene.leases);
    let before = scene.facts();
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
        insta::assert_snapshot!("six_steps", transcript(&ended));
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
fn transcript(run: &Run) -> String {
    let mut text = run.stderr.clone();
    for (pattern, with) in [
        // How long it waits, and for what, differs.
        (r"(?m)^(Warning: The disruption budget|  \d+/\d+, waits|  [\d.]+m?s ).*\n", ""),
        (r"\d{8}T\d{6}Z", "20261123T094107Z"),
        (r"\(\d+(\.\d+)?m?s\)", "(…)"),
        (r" in /\S+/sciuro-", " in /home/me/sciuro-"),
        (r"Ready for \d+m?s", "Ready for 9d"),
        (r"\d+ files", "24 files"),
        (r", \d+ not to be had \(errors.txt\)", ""),
        (r"\b(web|cache)-[a-z0-9]{6,10}\b(-[a-z0-9]{5}\b)?", "$1-7d5b9c6f4d$2"),
        (r"-7d5b9c6f4d-[a-z0-9]{5}\b", "-7d5b9c6f4d-x2x7k"),
        (r"agent-[a-z0-9]{5}\b", "agent-q4zkm"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
    }
    format!("$ kubectl sciuro {}\n{}", TYPED.join(" "), laid_out(&text))
}

/// Columns as wide as the names need that stand here, and what happens at the same time in the order of its names.
pub(crate) fn laid_out(text: &str) -> String {
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

/// A kubeconfig of the account that deploy/remediate-rbac.yaml creates, once it may what that says.
fn account(world: &World) -> std::path::PathBuf {
    apply(world, "remediate-rbac.yaml");
    let kubeconfig = kubeconfig_of_the_account(world, "sciuro", "sciuro-remediate");
    // The authorizer reads rules from a watch.
    eventually("what the manifest allows", || {
        let mut command = world.command(&TYPED);
        command.arg("--dry-run");
        let plan = run(command.env("KUBECONFIG", &kubeconfig));
        plan.code == Some(0) && !plan.stdout.contains("you may not")
    });
    kubeconfig
}
