//! Doubles of the programs that a run starts. They record every word that they are told, and do nothing; as the machine of a
//! kubelet that lies would, ssh answers with the boot ID that the Node says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::World;

pub(super) struct Programs(PathBuf);

const COMMON: &str = r#"
told=$(mktemp told.XXXXXX)
for word in "$(basename "$0")" "$@"; do printf '%s\0' "$word"; done > "$told"
"#;
/// The guard's arguments are the last words of what the machine's shell is told.
const SSH: &str = r#"
[ "$1" != -G ] || exit 0 # only asked what it would do
for last; do :; done
eval "set -- $last"
[ $# -ge 5 ] || { printf 'sciuro-boot_id=%s\nsciuro-uptime=1000\n' "$(cat claimed)"; exit 0; }
: > ordered
echo sciuro-issued
"#;
const POWER: &str = ": > ordered\n";
const LOOK: &str = "exit 0\n";

/// A program, and each word that it was told.
pub(super) type Call = Vec<String>;

impl Programs {
    pub(super) fn new(world: &World) -> Self {
        let directory = world.file("programs", "").with_file_name("doubles");
        fs::create_dir_all(&directory).expect("a directory");
        for (name, body) in [("ssh", SSH), ("power", POWER), ("look", LOOK)] {
            let script = directory.join(name);
            let text = format!("#!/bin/sh\ncd '{}' || exit 1\n{COMMON}{body}", directory.display());
            fs::write(&script, text).expect("a program");
            fs::set_permissions(script, fs::Permissions::from_mode(0o700)).expect("a program");
        }
        Self(directory)
    }

    /// What the machine answers over ssh.
    pub(super) fn claims(&self, boot_id: &str) {
        fs::write(self.0.join("claimed"), boot_id).expect("a file");
    }

    pub(super) fn serves(&self, command: &mut Command) {
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", self.0.display()));
    }

    /// Whether a machine was told to reboot since the last time.
    pub(super) fn ordered(&self) -> bool {
        fs::remove_file(self.0.join("ordered")).is_ok()
    }

    /// All calls since the last time.
    pub(super) fn take(&self) -> Vec<Call> {
        let files = fs::read_dir(&self.0).expect("a directory").map(|file| file.expect("a file").path());
        let told = files.filter(|file| {
            file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"told."))
        });
        told.map(|file| {
            let words = fs::read_to_string(&file).expect("UTF-8");
            fs::remove_file(file).expect("a file");
            words.split_terminator('\0').map(str::to_owned).collect()
        })
        .collect()
    }
}
