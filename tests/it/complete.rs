//! Completion: the names that a cluster has, as kubectl and shells ask for them.

mod shells;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Run, World, command, is_current, run, scenarios};

scenarios![
    nodes_by_name_without_those_on_the_line,
    condition_types_that_nodes_have,
    a_hostile_condition_type_is_not_offered,
    namespaces,
];

fn complete(world: &World, words: &[&str]) -> Run {
    world.run(&[&["__complete"], words].concat()).exits(0)
}

fn nodes_by_name_without_those_on_the_line(world: &World) {
    let nodes = world.nodes(&["w1", "w2", "x1"]);
    let w = world.name("w");
    complete(world, &["status", &w]).prints("w1\nw2\n:4");
    complete(world, &["sync", "--dry-run", &w]).prints("w1\nw2\n:4");
    complete(world, &["status", "-o", "wide", &nodes[0], &w]).prints("w2\n:4");
}

fn condition_types_that_nodes_have(world: &World) {
    let node = world.node("w1");
    for name in ["Hot", "Dusty"] {
        world.seed(&node, name, "True", "[P9]", jiff::SignedDuration::from_mins(1));
    }
    let prefix = world.prefix();
    let both = "AlertManager_Dusty\nAlertManager_Hot\n:4";
    complete(world, &["status", "--condition", &prefix]).prints(both);
    // The shells put `--condition=` before them.
    complete(world, &["status", &format!("--condition={prefix}")]).prints(both);
}

/// A kubelet writes what it likes there, and a shell would run it.
fn a_hostile_condition_type_is_not_offered(world: &World) {
    let node = world.node("w1");
    for name in ["Fine", "$(reboot)", "`reboot`", "a;reboot", "a\nb", "a b"] {
        world.patch_status(
            &node,
            "application/strategic-merge-patch+json",
            &json!({"status": {"conditions": [{"type": world.condition_type(name), "status": "True"}]}}),
        );
    }
    complete(world, &["status", "--condition", &world.prefix()]).prints("AlertManager_Fine\n:4");
}

fn namespaces(world: &World) {
    for flag in ["-n", "--namespace", "--lease-namespace"] {
        complete(world, &["status", flag, "kube-sy"]).prints("kube-system\n:4");
    }
}

#[test]
fn node_names_are_asked_for_and_nothing_else() {
    let world = World::sandbox();
    world.node("w1");
    complete(&world, &["status", ""]).prints("w1\n:4");
    let requests = world.api().requests_by("kubectl-sciuro/");
    assert_eq!(requests.len(), 1, "{requests:#?}");
    assert!(requests[0].header("accept").contains("as=PartialObjectMetadataList"), "{requests:#?}");
}

#[test]
fn what_the_kubeconfig_has_is_read_and_no_server_asked() {
    let world = World::sandbox();
    let kubeconfig = world.file(
        "other",
        "{kind: Config, apiVersion: v1, current-context: '', contexts: [{name: b, context: {cluster: c, user: u}}, {name: a, context: \
         {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}",
    );
    let kubeconfig = kubeconfig.to_str().unwrap();
    for (flag, names) in [("--context", "a\nb\n:4"), ("--cluster", "c\n:4"), ("--user", "u\n:4")] {
        complete(&world, &["status", "--kubeconfig", kubeconfig, flag, ""]).prints(names);
        complete(&world, &["--kubeconfig", kubeconfig, flag, ""]).prints(names);
    }
    assert!(world.api().requests_by("kubectl-sciuro/").is_empty());
}

#[test]
fn the_line_the_environment_and_the_file_say_which_cluster() {
    let world = World::sandbox();
    let node = world.node("w1");
    let offered = format!("{node}\n:4");
    let kubeconfig = world.kubeconfig().to_str().unwrap();
    let plain = |words: &[&str]| command([&["__complete"], words].concat());
    run(&mut plain(&["status", "--kubeconfig", kubeconfig, ""])).exits(0).prints(&offered);
    run(&mut plain(&["--kubeconfig", kubeconfig, "status", "--priority", "rubbish", ""])).prints(&offered);
    run(plain(&["status", ""]).env("SCIURO_KUBECONFIG", kubeconfig)).prints(&offered);
    let config = world.file("config.yaml", &format!("kubeconfig: {kubeconfig}\n"));
    run(&mut plain(&["status", "--config", config.to_str().unwrap(), ""])).prints(&offered);
    let other = World::sandbox();
    complete(&other, &["status", "-s", &world.api().url(), "--token=sandbox", ""]).prints(&offered);
}

#[test]
fn commands_flags_and_values() {
    let world = World::sandbox();
    let commands = complete(&world, &[""]).stdout;
    assert!(commands.starts_with("status\tShow the firing conditions"), "{commands}");
    assert!(!commands.contains("__complete") && !commands.contains("--"), "{commands}");
    let flags = complete(&world, &["status", "-"]).stdout;
    for flag in ["--condition\t", "--kubeconfig\t", "--help\t"] {
        assert!(flags.lines().any(|line| line.starts_with(flag)), "{flag} is not in {flags}");
    }
    complete(&world, &["status", "-o", ""]).prints("custom-columns\njson\njsonpath\nname\nwide\nyaml\n:4");
    let columns =
        "age\ncondition\nheartbeat\nmessage\nnode\nnode-status\npriority\nreason\nremediation\nroles\nstatus";
    complete(&world, &["status", "--sort-by", ""]).prints(&format!("{columns}\n:4"));
    complete(&world, &["status", "--sort-by=no"]).prints("node\nnode-status\n:4");
    complete(&world, &["sync", "--dry-run="]).prints("none\nclient\nserver\n:4");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    complete(&world, &["status", "--kubeconfig", folder]).prints(&format!("{folder}/\n:6"));
}

/// Whatever is wrong, the person at the keyboard is neither told nor kept waiting.
#[test]
fn errors_are_silence() {
    let world = World::sandbox();
    world.node("w1");
    let broken = world.file("broken", "{");
    let plugin = world.file(
        "plugin",
        "{kind: Config, apiVersion: v1, current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], clusters: \
         [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {exec: {apiVersion: \
         client.authentication.k8s.io/v1, command: sleep, args: ['60'], interactiveMode: Never}}}]}",
    );
    let silent = |words: &[&str]| {
        let started = Instant::now();
        let run = complete(&world, words).prints(":4");
        assert_eq!(run.stderr, "");
        // 1.5 s are promised; a busy machine gets some more to start the process.
        assert!(started.elapsed() < Duration::from_millis(2500), "{words:?} took {:?}", started.elapsed());
    };
    silent(&["status", "--server", "http://127.0.0.1:1", ""]);
    silent(&["status", "--kubeconfig", broken.to_str().unwrap(), ""]);
    silent(&["status", "--kubeconfig", "/does/not/exist", "--context", ""]);
    silent(&["status", "--kubeconfig", plugin.to_str().unwrap(), ""]);
    silent(&["status", "--context", "no-such", ""]);
    let _slow = world.api().faults().on("GET", "/api/v1/nodes").delay(Duration::from_secs(60));
    silent(&["status", ""]);
    silent(&["status", "--condition", ""]);
}

#[test]
fn the_link_for_kubectl_completes() {
    let world = World::sandbox();
    world.node("w1");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let install = || world.run(&["completion", "kubectl", "--install", "--dir", folder]);
    let link = Path::new(folder).join("kubectl_complete-sciuro");
    install().exits(0).says("is not on PATH").prints(&format!("{} created", link.display()));
    install().exits(0).prints(&format!("{} unchanged", link.display()));
    let answer = std::process::Command::new(&link)
        .args(["status", ""])
        .env("KUBECONFIG", world.kubeconfig())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(answer.stdout).unwrap(), format!("{}\n:4\n", world.name("w1")));

    let uninstall = || world.run(&["completion", "kubectl", "--uninstall", "--dir", folder]);
    uninstall().exits(0).prints(&format!("{} removed", link.display()));
    assert!(link.symlink_metadata().is_err());
    uninstall().exits(0).prints(&format!("{} is not there", link.display()));
    std::fs::write(&link, "mine").unwrap();
    uninstall().exits(1).says("is not a link to");
    install().exits(1).says("is there already").says("--dir DIR");
    assert_eq!(std::fs::read_to_string(&link).unwrap(), "mine");
    world
        .run(&["completion", "kubectl", "--install", "--dir", "/does/not/exist"])
        .exits(1)
        .says("cannot make the link")
        .says("--dir DIR");
    world.run(&["completion", "bash", "--install"]).exits(2).says("--install makes the link for kubectl");
    world.run(&["completion", "kubectl"]).exits(0).never_says("error");
}

#[test]
fn completions_are_up_to_date() {
    for (shell, file) in [
        ("bash", "kubectl-sciuro.bash"),
        ("zsh", "_kubectl-sciuro"),
        ("fish", "kubectl-sciuro.fish"),
        ("powershell", "_kubectl-sciuro.ps1"),
    ] {
        is_current(&format!("completions/{file}"), &run(&mut command(["completion", shell])).exits(0).stdout);
    }
}

/// The file for packages, which know no links.
#[test]
fn the_script_for_kubectl_completes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions/kubectl_complete-sciuro");
    let program = Path::new(env!("CARGO_BIN_EXE_kubectl-sciuro"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let answer =
        std::process::Command::new(script).args(["status", "--dry"]).env("PATH", path).output().unwrap();
    assert_eq!(String::from_utf8(answer.stdout).unwrap(), ":4\n");
}
