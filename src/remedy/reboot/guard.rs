//! The guard: a script on the machine that ends only the boot that was meant, and only while the order is young.
//!
//! An order may arrive an hour late, after a partition or an image-pull back-off. Then another boot id, or a higher uptime
//! than the order allows, turns it into nothing.

/// Exit code: another boot than the one that was meant.
pub const OTHER_BOOT: i32 = 10;
/// Exit code: the order is too old.
pub const TOO_LATE: i32 = 11;
/// Exit code of a probe: the machine could not be told to reboot.
pub const CANNOT: i32 = 12;

/// What is said once the reboot is ordered.
pub const ISSUED: &str = "issued";

/// Goes on only if `$0` is the boot id and the uptime in seconds is at most `$1`. The arguments go after `sh -c SCRIPT`:
/// nothing is ever written into the script.
pub(super) const ONLY_THIS_BOOT: &str = r#"
[ "$boot_id" = "$0" ] || { say "other boot $boot_id"; exit 10; }
[ "$uptime" -le "$1" ] || { say "too late $uptime"; exit 11; }"#;

/// A timer, so that the answer comes back before the machine goes down. Its accuracy is a minute unless it is told
/// otherwise (systemd.timer(5)), and the order would outlive its window.
const ORDER: &str = "
as_root systemd-run --on-active=3s --timer-property=AccuracySec=100ms systemctl reboot
say issued
";

/// Reboots if it is that boot and not too late, and says what it did.
pub const REBOOT: &[&str] = &[ONLY_THIS_BOOT, ORDER];

/// Says the machine's boot id and uptime.
pub(super) const FACTS: &str = r#"
say "boot_id=$boot_id"
say "uptime=$uptime""#;

/// And whether it could be told to reboot.
pub const PROBE: &[&str] = &[
    FACTS,
    r#"
can_reboot || { say "no systemd-run, or no right to use it"; exit 12; }
"#,
];

/// Where the machine's own files are: a container has a /proc of its own, but not always a boot id of its own.
const READ: &str = "
boot_id=$(host cat /proc/sys/kernel/random/boot_id)
uptime=$(host cat /proc/uptime)
uptime=${uptime%%.*}";

/// A privileged pod that sees the host's processes. It answers by its termination message.
const IN_A_POD: &str = r#"set -eu
host() { nsenter -t 1 -m -- "$@"; }
as_root() { host "$@"; }
can_reboot() { host systemd-run --version > /dev/null; }
say() { printf '%s\n' "$1" >> /dev/termination-log; }"#;

/// Somebody's login on the machine. What a profile or a banner prints is no answer, so ours has a mark.
const OVER_SSH: &str = r#"set -eu
host() { "$@"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
can_reboot() {
  if [ "$(id -u)" = 0 ]; then systemd-run --version
  else sudo -n -l systemd-run --on-active=3s --timer-property=AccuracySec=100ms systemctl reboot
  fi > /dev/null
}
say() { printf 'sciuro-%s\n' "$1"; }"#;

/// The mark of an answer over ssh.
pub const MARK: &str = "sciuro-";

/// `what` ([`REBOOT`] or [`PROBE`]) for a helper pod.
pub fn in_a_pod(what: &[&str]) -> String {
    [IN_A_POD, READ].into_iter().chain(what.iter().copied()).collect()
}

/// `what` for a shell on the machine.
pub fn over_ssh(what: &[&str]) -> String {
    [OVER_SSH, READ].into_iter().chain(what.iter().copied()).collect()
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    const BOOT: &str = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11";
    const OTHER: &str = "aaaaaaaa-4d5b-4f0e-9d6c-0a2f5c1e7b11";
    const ORDER: &str = "systemd-run --on-active=3s --timer-property=AccuracySec=100ms systemctl reboot\n";

    /// How a script ended: exit code, what it said, what it did.
    type Ended = (i32, String, String);

    /// Runs a script with nothing on its PATH but doubles, which show a machine's files and note what else they are asked.
    /// `broken` commands fail.
    fn run(script: &str, arguments: &[&str], uid: &str, broken: &[&str]) -> Ended {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::create_dir(path("bin")).unwrap();
        let done = path("done");
        let doubles = [
            (
                "cat",
                format!(
                    "case $1 in */boot_id) echo {BOOT} ;; /proc/uptime) echo 86400.55 1234.00 ;; *) exit 1 ;; esac"
                ),
            ),
            ("id", format!("echo {uid}")),
            ("nsenter", "shift 4; exec \"$@\"".to_owned()),
            ("sudo", format!("echo sudo >> {done}; shift; [ \"$1\" != -l ] || exit 0; exec \"$@\"")),
            ("systemd-run", format!("[ \"$1\" = --version ] || echo systemd-run \"$*\" >> {done}")),
        ];
        for (name, body) in doubles {
            let body = if broken.contains(&name) { "exit 1" } else { &body };
            fs::write(path(&format!("bin/{name}")), format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(path(&format!("bin/{name}")), fs::Permissions::from_mode(0o700)).unwrap();
        }
        let output = Command::new("/bin/sh")
            .arg("-c")
            .arg(script.replace("/dev/termination-log", &path("said")))
            .args(arguments)
            .env_clear()
            .env("PATH", path("bin")) // nothing that could reboot anything is on it
            .output()
            .unwrap();
        let read = |name: &str| fs::read_to_string(path(name)).unwrap_or_default();
        let said = read("said") + &String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), said, read("done"))
    }

    fn pod(what: &[&str], arguments: &[&str]) -> Ended {
        run(&in_a_pod(what), arguments, "0", &[])
    }

    fn ended(code: i32, said: &str, done: &str) -> Ended {
        (code, said.to_owned(), done.to_owned())
    }

    #[test]
    fn the_probe_says_what_the_machine_is() {
        assert_eq!(pod(PROBE, &[]), ended(0, &format!("boot_id={BOOT}\nuptime=86400\n"), ""));
        let marked = format!("sciuro-boot_id={BOOT}\nsciuro-uptime=86400\n");
        assert_eq!(run(&over_ssh(PROBE), &[], "0", &[]), ended(0, &marked, ""));
        assert_eq!(run(&over_ssh(PROBE), &[], "1000", &[]), ended(0, &marked, "sudo\n"));
    }

    #[test]
    fn the_probe_finds_out_that_nothing_could_be_ordered() {
        let scripts = [(in_a_pod(PROBE), "0", "systemd-run"), (over_ssh(PROBE), "0", "systemd-run")];
        for (script, uid, broken) in scripts.into_iter().chain([(over_ssh(PROBE), "1000", "sudo")]) {
            let (code, said, _) = run(&script, &[], uid, &[broken]);
            assert!(code == CANNOT && said.contains("no right to use it"), "{code} {said}");
        }
    }

    #[test]
    fn only_the_boot_that_was_meant_is_ended_and_only_in_time() {
        assert_eq!(pod(REBOOT, &[BOOT, "86400"]), ended(0, "issued\n", ORDER));
        assert_eq!(pod(REBOOT, &[BOOT, "86399"]), ended(TOO_LATE, "too late 86400\n", ""));
        let other = format!("other boot {BOOT}\n");
        assert_eq!(pod(REBOOT, &[OTHER, "99999"]), ended(OTHER_BOOT, &other, ""));
    }

    #[test]
    fn over_ssh_it_is_ordered_as_root() {
        let over_ssh = |uid, broken: &[&str]| run(&over_ssh(REBOOT), &[BOOT, "86400"], uid, broken);
        assert_eq!(over_ssh("0", &[]), ended(0, "sciuro-issued\n", ORDER));
        assert_eq!(over_ssh("1000", &[]), ended(0, "sciuro-issued\n", &format!("sudo\n{ORDER}")));
        assert_eq!(over_ssh("1000", &["sudo"]), ended(1, "", ""));
    }

    #[test]
    fn what_cannot_be_read_reboots_nothing() {
        for limit in ["x", "", "1 -o 1 = 1"] {
            let (code, _, done) = pod(REBOOT, &[BOOT, limit]);
            assert_eq!((code, done.as_str()), (TOO_LATE, ""), "{limit}");
        }
        for broken in ["cat", "nsenter"] {
            let (code, said, done) = run(&in_a_pod(REBOOT), &[BOOT, "86400"], "0", &[broken]);
            assert_eq!((code, said.as_str(), done.as_str()), (1, "", ""), "{broken}");
        }
        let (code, said, _) = run(&in_a_pod(REBOOT), &[BOOT, "86400"], "0", &["systemd-run"]);
        assert_eq!((code, said.as_str()), (1, ""), "what was not ordered is not said to be");
        let (code, ..) = run(&in_a_pod(REBOOT), &[BOOT], "0", &[]);
        assert_ne!(code, 0, "no limit");
    }
}
