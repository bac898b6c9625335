//! Files and plugins that hold secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Run, World};

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
