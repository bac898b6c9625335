//! The scripts in a real shell, and the pods that carry them.
//!
//! The shell finds doubles on its PATH and nothing else, and `env kill` is replaced by a double's path besides: no PID 1 is
//! ever sent anything.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::super::helper::DEFAULT_IMAGE;
use super::*;

const ID: &str = "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11";
const BOOT: &str = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11";
const OTHER: &str = "aaaaaaaa-4d5b-4f0e-9d6c-0a2f5c1e7b11";

/// How a script ended: exit code, what it said, what it did.
type Ended = (i32, String, String);

/// What the machine is like.
#[derive(Clone, Copy)]
struct Machine {
    init: &'static str,
    /// Which signals are let through.
    signals: &'static str,
    /// These programs fail.
    broken: &'static [&'static str],
}

const MACHINE: Machine = Machine { init: "systemd", signals: "-0 -39", broken: &[] };

fn run(script: &str, arguments: &[&str], machine: Machine) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::create_dir(path("bin")).unwrap();
    let (done, init, signals) = (path("done"), machine.init, machine.signals);
    let doubles = [
        (
            "cat",
            format!(
                "case $1 in /machine/boot_id) echo {BOOT} ;; /proc/uptime) echo 86400.55 1234.00 ;; \
                 /proc/1/comm) echo {init} ;; *) exit 1 ;; esac"
            ),
        ),
        ("sleep", format!("echo sleep \"$*\" >> {done}")),
        (
            "kill",
            format!(
                "case ' {signals} ' in *\" $1 \"*) ;; *) echo 'Operation not permitted' >&2; exit 1 ;; esac\n\
                 echo kill \"$*\" >> {done}"
            ),
        ),
    ];
    for (name, body) in doubles {
        let body = if machine.broken.contains(&name) { "exit 1" } else { &body };
        fs::write(path(&format!("bin/{name}")), format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(path(&format!("bin/{name}")), fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(script.matches("kill").count(), script.matches("$(env kill -").count(), "a shell's own kill");
    let script = script.replace("/dev/termination-log", &path("said")).replace("env kill", &path("bin/kill"));
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .args(arguments)
        .env_clear()
        .env("PATH", path("bin"))
        .output()
        .unwrap();
    let read = |name: &str| fs::read_to_string(path(name)).unwrap_or_default();
    (output.status.code().unwrap(), read("said"), read("done"))
}

fn ended(code: i32, said: &str, done: &str) -> Ended {
    (code, said.to_owned(), done.to_owned())
}

#[test]
fn the_probe_says_what_the_machine_is() {
    assert_eq!(
        run(&probe(), &[], MACHINE),
        ended(0, &format!("boot_id={BOOT}\nuptime=86400\n"), "kill -0 1\n")
    );
}

#[test]
fn the_guard_answers_and_the_second_sends() {
    assert_eq!(run(&guarded(), &[BOOT, "86400"], MACHINE), ended(0, "issued\n", "kill -0 1\n"));
    assert_eq!(
        run(&send(), &[BOOT, "86400"], MACHINE),
        ended(0, "issued\n", "sleep 3\nkill -0 1\nkill -39 1\n")
    );
}

#[test]
fn only_the_boot_that_was_meant_is_ended_and_only_in_time() {
    for (script, slept) in [(guarded(), ""), (send(), "sleep 3\n")] {
        let late = ended(guard::TOO_LATE, "too late 86400\n", slept);
        assert_eq!(run(&script, &[BOOT, "86399"], MACHINE), late);
        let other = ended(guard::OTHER_BOOT, &format!("other boot {BOOT}\n"), slept);
        assert_eq!(run(&script, &[OTHER, "99999"], MACHINE), other);
        for limit in ["x", "", "1 -o 1 = 1"] {
            let (code, _, done) = run(&script, &[BOOT, limit], MACHINE);
            assert_eq!((code, done.as_str()), (guard::TOO_LATE, slept), "{limit}");
        }
        let (code, said, done) = run(&script, &[BOOT], MACHINE);
        assert!(code != 0 && said.is_empty() && done == slept, "no limit: {code} {said} {done}");
    }
}

#[test]
fn only_systemd_knows_the_signal() {
    for script in [probe(), guarded(), send()] {
        for init in ["init", "sh", "tini", "machined"] {
            let (code, said, done) = run(&script, &[BOOT, "86400"], Machine { init, ..MACHINE });
            assert_eq!((code, said), (guard::CANNOT, format!("PID 1 is {init}, not systemd\n")));
            assert!(!done.contains("kill"), "{done}");
        }
    }
}

#[test]
fn what_may_not_be_sent_is_said() {
    for script in [probe(), guarded(), send()] {
        let (code, said, done) = run(&script, &[BOOT, "86400"], Machine { signals: "", ..MACHINE });
        assert_eq!(code, guard::CANNOT);
        assert_eq!(said, "systemd cannot be sent a signal: Operation not permitted\n");
        assert!(!done.contains("kill"), "{done}");
    }
    let (code, said, done) = run(&send(), &[BOOT, "86400"], Machine { signals: "-0", ..MACHINE });
    assert_eq!((code, done.as_str()), (guard::CANNOT, "sleep 3\nkill -0 1\n"));
    assert_eq!(said, "systemd was not sent the signal: Operation not permitted\n");
    let (code, said, done) = run(&guarded(), &[BOOT, "86400"], Machine { broken: &["cat"], ..MACHINE });
    assert_eq!((code, said.as_str(), done.as_str()), (1, "", ""), "what cannot be read");
}

#[test]
fn the_pods() {
    let options = HelperOptions::new("kube-system", DEFAULT_IMAGE);
    let mut pod = rebooting("sciuro-reboot-0b5e3f5a-1", [BOOT, "9"], &options, "w1", ID);
    assert_eq!(pod["spec"]["initContainers"][0]["args"][0].take(), guarded());
    assert_eq!(pod["spec"]["containers"][0]["args"][0].take(), send());
    insta::assert_json_snapshot!(pod);
    let probing = probing("sciuro-probe-0b5e3f5a", &options, "w1", ID);
    assert_eq!(
        probing["spec"]["containers"][0]["securityContext"],
        pod["spec"]["containers"][0]["securityContext"]
    );
    assert_eq!(probing["spec"]["securityContext"], pod["spec"]["securityContext"]);
}

#[test]
fn what_the_second_container_may_say() {
    for (code, refuses) in [
        (0, false),
        (guard::OTHER_BOOT, true),
        (guard::TOO_LATE, true),
        (guard::CANNOT, true),
        (128, true),
        (137, false),
        (143, false),
        (255, false),
    ] {
        assert_eq!(is_refusal(code), refuses, "{code}");
    }
}
