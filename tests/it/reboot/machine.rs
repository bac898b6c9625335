//! A machine that is a folder: its boot id, its uptime, and how often it was restarted.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

/// What it is told to restart with.
const ORDER: &str = "--on-active=3s --timer-property=AccuracySec=100ms systemctl reboot";

pub struct Machine {
    directory: TempDir,
}

impl Machine {
    /// Up for 86,400 seconds; whoever logs in is root.
    pub fn new() -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap() };
        this.write("boot_id", "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11\n");
        this.write("uptime", "86400.55 1234.00\n");
        this.write("uid", "0\n");
        this.script("restart", "echo once >> restarts; /bin/cat /proc/sys/kernel/random/uuid > boot_id");
        fs::create_dir(this.path("bin")).unwrap();
        symlink("/bin/sh", this.path("bin/sh")).unwrap();
        this.script("bin/cat", "case $1 in /proc/*) exec /bin/cat \"${1##*/}\" ;; esac; exit 1");
        this.script("bin/id", "exec /bin/cat uid");
        this.script(
            "bin/sudo",
            "[ ! -e sudo-asks ] || { echo 'sudo: a password is required' >&2; exit 1; }\n\
             [ \"$1\" = -n ] && shift || exit 1\n[ \"$1\" != -l ] || exit 0\nexec \"$@\"",
        );
        let systemd_run =
            format!("[ \"$1\" != --version ] || exit 0\n[ \"$*\" = '{ORDER}' ] || exit 1\nexec ./restart");
        this.script("bin/systemd-run", &systemd_run);
        this.script(
            "login",
            "[ ! -e mute ] || exit 0\necho 'Welcome! sciuro-issued'; echo 'no mail' >&2\n\
             exec /usr/bin/env -i PATH=\"$PWD/bin\" /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"",
        );
        this
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A program that runs in the machine's folder.
    pub fn script(&self, name: &str, body: &str) {
        self.write(name, &format!("#!/bin/sh\ncd '{}' || exit 1\n{body}\n", self.path("").display()));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o700)).unwrap();
    }

    pub fn boot_id(&self) -> String {
        fs::read_to_string(self.path("boot_id")).unwrap().trim().to_owned()
    }

    pub fn restart(&self) {
        assert!(std::process::Command::new(self.path("restart")).status().unwrap().success());
    }

    pub fn restarts(&self) -> usize {
        fs::read_to_string(self.path("restarts")).unwrap_or_default().lines().count()
    }
}
