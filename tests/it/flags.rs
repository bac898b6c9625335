//! Flags, variables and the configuration file, as the servers see them.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Behind, Run, World, command, run};

/// What the API server got with the list of nodes.
fn listed(world: &World) -> ::sandbox::Request {
    let requests = world.api().requests_by("kubectl-sciuro/");
    requests.into_iter().rev().find(|request| request.path == "/api/v1/nodes").expect("a list of nodes")
}

#[test]
fn requests_carry_our_name() {
    let world = World::sandbox();
    world.sync(&[]).exits(0);
    let agent = format!("kubectl-sciuro/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(listed(&world).user_agent(), agent);
    assert!(world.alertmanager().requests().iter().any(|request| request.user_agent() == agent));
}

#[test]
fn kubernetes_flags_work_before_and_after_the_command() {
    let world = World::sandbox();
    let behind = Behind::tls(&world, None);
    let kubeconfig = behind.kubeconfig("token: sandbox");
    let flags = [
        "--as",
        "jane",
        "--as-group",
        "ops",
        "--as-group=oncall",
        "--as-uid",
        "7",
        "--as-user-extra",
        "scope=a",
        "-n",
        "x",
        "-A",
    ];
    let sync = [
        "sync",
        "--alertmanager",
        world.alertmanager_url(),
        "--receiver",
        "node-condition-k8s",
        "--no-lease",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
    ];
    for arguments in [[&flags[..], &sync].concat(), [&sync[..], &flags].concat()] {
        world.api().forget_requests();
        world.run(&arguments).exits(0);
        let request = listed(&world);
        assert_eq!(request.header("impersonate-user"), "jane");
        assert_eq!(request.header("impersonate-uid"), "7");
        assert_eq!(request.header("impersonate-extra-scope"), "a");
        assert!(["ops", "oncall"].contains(&request.header("impersonate-group")));
        assert_eq!(request.header("authorization"), "Bearer sandbox");
    }
    world.run(&[&sync[..], &["--token", "t0ken", "--disable-compression"]].concat()).exits(0);
    assert_eq!(listed(&world).header("authorization"), "Bearer t0ken");
    assert_eq!(listed(&world).header("accept-encoding"), "");
}

#[test]
fn kubeconfigs_are_merged_and_exec_plugins_run() {
    let world = World::sandbox();
    let credential = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-a-plugin"}}"#;
    let credential = world.file("credential", credential);
    let user = format!(
        "users:\n- name: plugin\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      \
         command: cat\n      args: [{credential:?}]\n      interactiveMode: Never\n"
    );
    let user = world.file("user", &format!("apiVersion: v1\nkind: Config\n{user}"));
    let missing = user.with_file_name("missing");
    let behind = Behind::tls(&world, None);
    let kubeconfig = behind.kubeconfig("token: sandbox");
    let paths = std::env::join_paths([&missing, &user, &kubeconfig]).unwrap();
    run(world.sync_command(&["--user", "plugin"]).env("KUBECONFIG", paths)).exits(0);
    assert_eq!(listed(&world).header("authorization"), "Bearer from-a-plugin");
}

#[test]
fn warnings_of_the_server_are_shown_once_and_may_be_errors() {
    let world = World::sandbox();
    let _stays = world.api().faults().on("*", "/*").warning("nodes will be old-fashioned soon");
    let shown = world.sync(&[]).exits(0);
    assert_eq!(shown.stderr.matches("Warning: nodes will be old-fashioned soon").count(), 1, "{shown:?}");
    world.sync(&["--warnings-as-errors"]).exits(1).says("error: 1 warning received");
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    let with_prefix = |file: Option<&str>, variable: Option<&str>, flag: Option<&str>| -> Run {
        let mut sync = world.command(&["sync", "--warmup=0", "--dry-run"]);
        sync.env("SCIURO_ALERTMANAGER", world.alertmanager_url())
            .env("SCIURO_RECEIVER", "node-condition-k8s");
        if let Some(file) = file {
            let path = world.file(
                "config.yaml",
                &format!("# ours\nprefix: {file}\nfilter: [\"node=~\\\".+\\\"\"]\nconcurrency: 2\n"),
            );
            sync.env("SCIURO_CONFIG", path);
        }
        variable.map(|value| sync.env("SCIURO_PREFIX", value));
        flag.map(|value| sync.args(["--prefix", value]));
        run(&mut sync).exits(0)
    };
    let ends = |run: Run, prefix: &str| {
        assert!(run.stdout.contains(&format!("condition/{prefix}X True")), "{run:?}");
    };
    ends(with_prefix(None, None, None), "AlertManager_");
    ends(with_prefix(Some("File_"), None, None), "File_");
    ends(with_prefix(Some("File_"), Some("Variable_"), None), "Variable_");
    ends(with_prefix(Some("File_"), Some("Variable_"), Some("Flag_")), "Flag_");
    ends(with_prefix(Some("File_"), Some(""), None), "File_");
}

/// What lifts a protection, or says which nodes are meant, was not written down for another day.
#[test]
fn what_takes_a_node_down_is_typed() {
    let world = World::sandbox();
    for flag in [
        "yes",
        "confirm",
        "override",
        "force",
        "delete-emptydir-data",
        "disable-eviction",
        "grace-period",
        "skip",
    ] {
        let file = world.file("config.yaml", &format!("{flag}: x\n"));
        run(world.command(&["remediate", "w1"]).env("SCIURO_CONFIG", file))
            .exits(2)
            .says(&format!("--{flag} is taken from the command line only"));
    }
    let file = world.file("config.yaml", "selector: rack=r7\n");
    run(world.command(&["remediate"]).env("SCIURO_CONFIG", file).env("SCIURO_SELECTOR", "rack=r7"))
        .exits(2)
        .says("no node is given");
}

#[test]
fn flags_that_do_not_go_together() {
    let refused = |arguments: &[&str]| run(&mut command([&["remediate"], arguments].concat())).exits(2);
    refused(&["w1", "-l", "a=b"]).says("cannot be used with");
    refused(&["w1", "--abort", "--resume"]).says("cannot be used with");
    refused(&["w1", "--retry-reboot"]).says("--resume");
    refused(&["w1", "--override", "no-boot-id"])
        .says("possible values: self, shared-boot-id, address, excluded");
    refused(&["w1", "--reboot-method", "sysrq"]).says("possible values: pod, signal, ssh, command, manual");
    refused(&["w1", "--reboot-method", "command"]).says("needs --reboot-command");
    refused(&["w1", "--reboot-command", "a 'b"]).says("a quote or a backslash has no end");
    refused(&["w1", "--lease-duration", "2s"]).says("at least 3s");
    refused(&["w1", "--max-unavailable", "101%"]).says("it is a share such as 20%");
    refused(&["w1", "--output-dir", "-", "-o", "json"]).says("both write to stdout");
    refused(&["W_1"]).says("is not the name of a node");
}

#[test]
fn the_default_file_is_read_from_the_configuration_directory() {
    let world = World::sandbox();
    let directory = world.kubeconfig().with_file_name("xdg");
    std::fs::create_dir_all(directory.join("kubectl-sciuro")).unwrap();
    std::fs::write(directory.join("kubectl-sciuro/config.yaml"), "prefix: R\n").unwrap();
    run(world.sync_command(&[]).env("XDG_CONFIG_HOME", &directory)).exits(0); // the flag beats it
    let mut sync = world.command(&["sync", "--purge"]);
    run(sync.env("XDG_CONFIG_HOME", &directory)).exits(2).says("config.yaml:1: prefix: invalid value 'R'");
}

#[test]
fn upstreams_variables_work_unchanged() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    let mut sync = world.command(&["sync", "--warmup=0"]);
    for (name, value) in [
        ("SCIURO_ALERTMANAGER_URL", world.alertmanager_url()),
        ("SCIURO_ALERT_RECEIVER", "node-condition-k8s"),
        ("SCIURO_ALERT_SILENCED", "0"),
        ("SCIURO_ALERT_CACHE_TTL", "60s"),
        ("SCIURO_LINGER_DURATION", ".5h"),
        ("SCIURO_NODE_CONDITION_PREFIX", "Upstream_"),
        ("SCIURO_NODE_RESYNC", "2m"),
        ("SCIURO_RECONCILE_TIMEOUT", "45s"),
        ("SCIURO_MAX_CONCURRENT_RECONCILES", "1"),
        ("SCIURO_LEADER_NAMESPACE", "default"),
        ("SCIURO_LEADER_ID", "upstream"),
        ("SCIURO_METRICS_ADDR", "0.0.0.0:8080"),
        ("SCIURO_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("SCIURO_CEL_EXPRESSION", r#"labels["node"] == FullName"#),
    ] {
        sync.env(name, value);
    }
    let said = run(&mut sync).exits(0);
    assert!(said.stdout.contains("condition/Upstream_X True (added)"), "{said:?}");
    assert!(!said.stderr.contains("SCIURO_PORT_8080_TCP"), "{said:?}");
    let lease = world.request(
        "GET",
        "/apis/coordination.k8s.io/v1/namespaces/default/leases/upstream",
        "application/json",
        &Value::Null,
    );
    assert_eq!(lease["metadata"]["annotations"]["sciuro.dev/heartbeat-interval"], "120s");
    assert_eq!(lease["metadata"]["annotations"]["sciuro.dev/interval"], "60s");

    let said = run(sync.env("SCIURO_DEV_MODE", "1")).exits(0);
    assert!(said.stderr.contains("ignored environment variable SCIURO_PORT_8080_TCP"), "{said:?}");
}

/// An Alertmanager behind a path, a password in its URL: the path is kept, the password is sent and never shown.
#[test]
fn a_path_prefix_and_a_password_reach_the_alertmanager() {
    let world = World::sandbox();
    world.alertmanager().require_basic("reader", "hunter2");
    world.alertmanager().set_prefix("/am");
    let url = world.alertmanager().url().replace("http://", "http://reader:hunter2@");
    world.sync(&["--alertmanager", &url, "-v", "6"]).exits(0).never_says("hunter2");
    assert!(world.alertmanager().requests().iter().all(|request| request.path.starts_with("/am/api/v2/")));
}

#[test]
fn a_proxy_is_used_unless_the_servers_are_exempt() {
    let world = World::sandbox();
    // Nothing listens there, so what goes through it fails.
    let with = |name: &str, no_proxy: &str| {
        run(world.sync_command(&["--no-lease"]).env(name, "http://127.0.0.1:1").env("NO_PROXY", no_proxy))
    };
    with("HTTP_PROXY", "127.0.0.1").exits(0);
    with("HTTP_PROXY", "elsewhere.example").exits(1).says("through the proxy 127.0.0.1:1: ");
    with("HTTPS_PROXY", "").exits(0); // neither server speaks TLS
    let kubeconfig = std::fs::read_to_string(world.kubeconfig()).unwrap();
    let proxied = kubeconfig.replace("    server:", "    proxy-url: http://127.0.0.1:1\n    server:");
    let proxied = world.file("proxied", &proxied);
    world.sync(&["--no-lease", "--kubeconfig", proxied.to_str().unwrap()]).exits(1);
}

/// As kubectl: a document that was cut is no answer. `/dev/full` is a disk without room.
#[test]
#[cfg(target_os = "linux")]
fn t15_f_a_document_that_cannot_be_written_is_an_error() {
    let world = World::sandbox();
    world.node("w1");
    for command in [
        &["status", "--all"][..],
        &["status", "--all", "-o", "json"],
        &["status", "--all", "-o", "yaml"],
        &["status", "--all", "-o", "jsonpath={.items}"],
        &["version", "-o", "json"],
        &["check", "--for", "status"],
        &["sync", "-o", "json"],
    ] {
        let mut full = world.command(command);
        if command[0] == "sync" {
            full.args(["--receiver", "default", "--alertmanager", world.alertmanager_url(), "--warmup", "0"]);
        }
        full.stdout(std::fs::File::create("/dev/full").unwrap());
        let output = full.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains("error: cannot write to stdout: No space left on device"),
            "{command:?}: {said}"
        );
    }
}

#[test]
fn a_closed_pipe_ends_quietly_and_the_work_is_done() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    for node in &nodes {
        world.alert(&[("alertname", "X"), ("node", node)], "hot", true);
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = world.sync_command(&[]).stdout(writer).stderr(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(nodes.iter().all(|node| world.owned(node).len() == 1));
}

#[test]
fn help_and_version_need_no_cluster() {
    let nowhere = |arguments: &[&str]| run(command(arguments).env("KUBECONFIG", "/nonexistent"));
    let help = nowhere(&["sync", "--help"]).exits(0);
    assert!(help.stdout.starts_with("Examples:\n"), "{}", help.stdout);
    assert!(help.stdout.contains("Usage: kubectl sciuro sync"), "{}", help.stdout);
    insta::assert_snapshot!("sync_help", help.stdout);
    insta::assert_snapshot!("remediate_help", nowhere(&["remediate", "--help"]).exits(0).stdout);
    insta::assert_snapshot!("help", nowhere(&["-h"]).exits(0).stdout);
    insta::assert_snapshot!("options", nowhere(&["options"]).exits(0).stdout);
    nowhere(&["version", "--client"])
        .exits(0)
        .prints(concat!("Client Version: v", env!("CARGO_PKG_VERSION")));
    nowhere(&["version"]).exits(2).prints(concat!("Client Version: v", env!("CARGO_PKG_VERSION")));
}

/// Run under another name, help shows that name: only kubectl's plugins are called `kubectl …`.
#[test]
fn help_shows_how_it_was_called() {
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("sciuro");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubectl-sciuro"), &other).unwrap();
    let said = run(Command::new(other).arg("-h")).exits(0);
    assert!(!said.stdout.contains("Usage: kubectl sciuro"), "{}", said.stdout);
}

#[test]
fn the_servers_version_is_shown() {
    let world = World::sandbox();
    let said = world.run(&["version", "-o", "json"]).exits(0);
    let version: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(version["kind"], "Version");
    assert!(version["serverVersion"].as_str().unwrap().starts_with("v1."), "{version}");
}
