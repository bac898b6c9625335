//! Files and plugins that hold secrets.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Run, Session, World};

fn chmod(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

/// Runs with this file as it is, then with one that others can write to: their lines would be obeyed as ours.
#[track_caller]
fn only_its_owner_may_write(file: &Path, run: impl Fn() -> Run) {
    for mode in [0o600, 0o644, 0o400] {
        chmod(file, mode);
        run().never_says("can write to it");
    }
    for mode in [0o666, 0o664, 0o602] {
        chmod(file, mode);
        let refused = run().exits(2);
        assert!(refused.stdout.is_empty(), "{refused:?}");
        let facts = format!(", its mode {mode:04o})");
        refused
            .says("others can write to it (its owner is uid ")
            .says(&facts)
            .says("hint: ls -l ")
            .says("chmod go-w");
    }
}

#[test]
fn t15_e8_a_configuration_file_that_others_can_write_to() {
    let world = World::sandbox();
    let node = world.node("w1");
    let evil = "reboot-method: command\nreboot-command: rm -rf /nothing\n";
    let file = world.file("config.yaml", evil);
    let path = file.to_str().expect("UTF-8");
    only_its_owner_may_write(&file, || world.run(&["remediate", &node, "--dry-run", "--config", path]));
    only_its_owner_may_write(&file, || {
        world.run_with(&["status"], |run| {
            run.env("SCIURO_CONFIG", path);
        })
    });
    // The one that nobody named.
    let folder = file.with_file_name("kubectl-sciuro");
    std::fs::create_dir(&folder).expect("a folder");
    let default = folder.join("config.yaml");
    std::fs::write(&default, evil).expect("a file");
    let home = folder.parent().expect("a folder");
    only_its_owner_may_write(&default, || {
        world.run_with(&["status"], |run| {
            run.env("XDG_CONFIG_HOME", home);
        })
    });
}

#[test]
fn t15_e8_an_http_config_that_others_can_write_to() {
    let world = World::sandbox();
    world.node("w1");
    let file = world.file("http.yaml", "proxy_from_environment: false\n");
    only_its_owner_may_write(&file, || {
        world.sync(&["--dry-run", "--http-config", file.to_str().expect("UTF-8")])
    });
}

#[test]
fn t15_e8_an_ssh_config_that_others_can_write_to() {
    let world = World::sandbox();
    let node = world.node("w1");
    let file = world.file("ssh", "ProxyCommand rm -rf /nothing\n");
    let config = format!("--ssh-config={}", file.display());
    only_its_owner_may_write(&file, || {
        world.run(&["remediate", &node, "--dry-run", "--reboot-method=ssh", &config])
    });
}

/// A core dump would have tokens in it.
#[test]
fn t15_e9_a_quit_leaves_no_core() {
    let world = World::sandbox();
    world.node("w1");
    let folder = world.kubeconfig().parent().expect("a folder").to_owned();
    let shell = |script: &str| {
        // What is begun in the background ignores it.
        let mut shell = Command::new("env");
        shell
            .args(["--default-signal=QUIT", "sh", "-c", &format!("ulimit -c unlimited; {script}")])
            .current_dir(&folder)
            .stdin(Stdio::null());
        shell
    };
    let other = shell("kill -QUIT $$").status().expect("a shell");
    assert!(other.core_dumped(), "other programs leave one here: {other}");

    let command = world.sync_command(&["--loop", "--interval=1h"]);
    let mut looping = shell("exec \"$0\" \"$@\"");
    looping.arg(command.get_program()).args(command.get_args()).stderr(Stdio::piped());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => looping.env(name, value),
            None => looping.env_remove(name),
        };
    }
    let mut looping = looping.spawn().expect("a loop");
    let lines = BufReader::new(looping.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(lines.into_iter().any(|line| line.contains("leading")));
    let killed = Command::new("kill").args(["-s", "QUIT", &looping.id().to_string()]).status();
    assert!(killed.expect("kill").success());
    let ended = looping.wait().expect("an end");
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(3), false), "{ended}");
}

/// Neither to a person nor to a program that keeps what it is told.
#[test]
fn t15_e9_the_plan_shows_no_password() {
    let world = World::sandbox();
    let node = world.node("w1");
    for (command, shown) in [
        ("ipmitool -H bmc -U root -P s3cr3t power cycle", "ipmitool -H bmc -U root -P '***' power cycle"),
        ("curl -u joe:s3cr3t https://bmc/reset", "curl -u '***' https://bmc/reset"),
        ("curl https://joe:s3cr3t@bmc/reset", "curl 'https://***@bmc/reset'"),
    ] {
        for output in [&[][..], &["-o", "json"], &["-o", "yaml"]] {
            let verify = format!("--verify-command={command}");
            let flags = [
                "remediate",
                &node,
                "--dry-run",
                "--reboot-method=command",
                "--reboot-command",
                command,
                &verify,
            ];
            let plan = world.run(&[&flags[..], output].concat());
            let plan = plan.never_says("s3cr3t");
            assert!(!plan.stdout.contains("s3cr3t") && plan.stdout.contains("***"), "{plan:?}");
            if output.is_empty() {
                assert!(plan.stdout.contains(&format!("by `{shown}`, once")), "{plan:?}");
            }
        }
    }
}

/// On a terminal and in a table: what is obeyed or unseen is shown as what it is. A program gets the text itself.
#[test]
fn t15_e9_characters_that_nobody_sees() {
    const JSONPATH: [&str; 2] = ["-o", "jsonpath={.items[*].message}"];
    let world = World::sandbox();
    let node = world.node("w1");
    let message = "[P1] a\u{1b}[31mb \u{200b} \u{e0041} \u{ad}.";
    let shown = "a^[[31mb \\u{200b} \\u{e0041} \\u{ad}.";
    world.seed(&node, "X", "True", message, jiff::SignedDuration::from_mins(1));
    let prefix = world.prefix();
    let status =
        |output: &[&'static str]| world.command(&[&["status", "--prefix", &prefix], output].concat());
    let printed = |output: &[&'static str]| crate::support::run(&mut status(output)).exits(0).stdout;
    assert_eq!(printed(&JSONPATH), message["[P1] ".len()..]);
    assert!(printed(&[]).contains(shown));
    let json: serde_json::Value = serde_json::from_str(&printed(&["-o", "json"])).expect("JSON");
    assert_eq!(json["items"][0]["message"], message["[P1] ".len()..]);

    let command = status(&JSONPATH);
    let mut on_terminal = Command::new("sh");
    on_terminal.args(["-c", "exec \"$0\" \"$@\" >&2"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => on_terminal.env(name, value),
            None => on_terminal.env_remove(name),
        };
    }
    let session = Session::start(&on_terminal, Stdio::null());
    session.shows(shown);
    assert_eq!(session.ends(), Some(0));
}
