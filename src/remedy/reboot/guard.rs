//! The guard: a script on the node that reboots only the boot that was meant, and only while the order is young.
//!
//! An order may arrive an hour late, after a partition or an image-pull back-off. Then another boot id, or a higher uptime
//! than the order allows, turns it into nothing.

/// Exit code: another boot than the one that was meant.
pub const OTHER_BOOT: i32 = 10;
/// Exit code: the order is too old.
pub const TOO_LATE: i32 = 11;
/// What is said once the reboot is ordered.
pub const ISSUED: &str = "sciuro-issued";

/// How long after its probe an order is good for, in seconds of the node's uptime.
pub const GOOD_FOR: u64 = 120;

/// Says the machine's boot id and uptime, at `$SAY_TO` or as the pod's termination message.
pub const PROBE: &str = r#"set -eu
boot_id=$(nsenter -t 1 -m -- cat /proc/sys/kernel/random/boot_id)
uptime=$(nsenter -t 1 -m -- cat /proc/uptime)
printf 'boot_id=%s\nuptime=%s\n' "$boot_id" "${uptime%%.*}" > "${SAY_TO:-/dev/termination-log}"
"#;

/// Reboots if the first argument is the boot id and the uptime is at most the second, in seconds; says what it did. After
/// `sh -c SCRIPT` the first argument is `$0`.
pub const REBOOT: &str = r#"set -eu
say() { printf '%s\n' "$1" > "${SAY_TO:-/dev/termination-log}"; }
boot_id=$(nsenter -t 1 -m -- cat /proc/sys/kernel/random/boot_id)
uptime=$(nsenter -t 1 -m -- cat /proc/uptime)
uptime=${uptime%%.*}
[ "$boot_id" = "$0" ] || { say "other boot $boot_id"; exit 10; }
[ "$uptime" -le "$1" ] || { say "too late $uptime"; exit 11; }
nsenter -t 1 -m -- systemd-run --on-active=3s systemctl reboot
say sciuro-issued
"#;

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    const BOOT: &str = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11";

    /// Runs a script where `nsenter` enters nothing: it shows a machine's files, and notes what else it is asked to run.
    fn run(script: &str, arguments: &[&str]) -> (i32, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::write(path("boot_id"), format!("{BOOT}\n")).unwrap();
        fs::write(path("uptime"), "86400.55 1234.00\n").unwrap();
        let shim = format!(
            "#!/bin/sh\nshift 4\ncase \"$*\" in\n\"cat /proc/sys/kernel/random/boot_id\") cat {} ;;\n\
             \"cat /proc/uptime\") cat {} ;;\n*) echo \"$*\" >> {} ;;\nesac\n",
            path("boot_id"),
            path("uptime"),
            path("done")
        );
        fs::create_dir(path("bin")).unwrap();
        fs::write(path("bin/nsenter"), shim).unwrap();
        fs::set_permissions(path("bin/nsenter"), fs::Permissions::from_mode(0o700)).unwrap();
        let cat = ["/bin/cat", "/usr/bin/cat"].into_iter().find(|cat| fs::exists(cat).unwrap()).unwrap();
        std::os::unix::fs::symlink(cat, path("bin/cat")).unwrap();
        let status = Command::new("/bin/sh")
            .arg("-c")
            .arg(script)
            .args(arguments)
            .env_clear()
            .env("PATH", path("bin")) // nothing that could reboot anything is on it
            .env("SAY_TO", path("said"))
            .status()
            .unwrap();
        let read = |name: &str| fs::read_to_string(path(name)).unwrap_or_default();
        (status.code().unwrap(), read("said"), read("done"))
    }

    #[test]
    fn the_probe_says_what_the_machine_is() {
        assert_eq!(run(PROBE, &[]), (0, format!("boot_id={BOOT}\nuptime=86400\n"), String::new()));
    }

    #[test]
    fn only_the_boot_that_was_meant_is_ended_and_only_in_time() {
        let order = "systemd-run --on-active=3s systemctl reboot\n".to_owned();
        assert_eq!(run(REBOOT, &[BOOT, "86400"]), (0, format!("{ISSUED}\n"), order));
        assert_eq!(run(REBOOT, &[BOOT, "86399"]), (TOO_LATE, "too late 86400\n".into(), String::new()));
        let other = "aaaaaaaa-4d5b-4f0e-9d6c-0a2f5c1e7b11";
        assert_eq!(
            run(REBOOT, &[other, "99999"]),
            (OTHER_BOOT, format!("other boot {BOOT}\n"), String::new())
        );
    }

    #[test]
    fn what_is_no_number_reboots_nothing() {
        for limit in ["x", "", "1 -o 1 = 1"] {
            let (code, _, done) = run(REBOOT, &[BOOT, limit]);
            assert_eq!((code, done.as_str()), (TOO_LATE, ""), "{limit}");
        }
    }
}
