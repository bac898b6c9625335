//! Kubelets that lie, stall or are gone, disks that are full, logs without an end: the run goes on, and says so.

use std::os::unix::fs::DirBuilderExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::collect_secrets::manifest_is_true;
use crate::remediate::scene::Scene;
use crate::support::{World, run, scenarios};

scenarios!(
    lying_kubelets_are_a_line_each,
    a_limit_of_sizes_leaves_what_there_is,
    a_full_disk_leaves_what_there_is,
    memory_does_not_grow_with_what_a_kubelet_says,
    memory_does_not_grow_with_logs,
);

const COLLECT: [&str; 4] = ["--yes", "--force", "--until=collect", "--max-unavailable=100%"];
const LINE: &str = "nothing that anybody would want to read twice, but of some length";

fn errors(scene: &Scene<'_>) -> String {
    let members = scene.members();
    manifest_is_true(&members);
    String::from_utf8(members["errors.txt"].clone()).expect("text")
}

fn lying_kubelets_are_a_line_each(world: &World) {
    let scene = Scene::new(world);
    let apps = ["endless", "gone", "silent", "broken", "well"];
    for app in apps {
        scene.bare_pod(app);
    }
    scene.until_running(apps.len());
    let fault = |app: &str| world.container_log_fault(&scene.node, &scene.namespace, app, "c");
    fault("endless").lines(LINE, 2 << 10);
    fault("gone").drop_connection();
    fault("silent").lines(LINE, 1).stalls();
    fault("broken").body("text/plain", "first\nsecond\nthird\n").truncate(9);
    let ended = scene.remediate(&[&COLLECT[..], &["--collect-timeout=6s"]].concat()).exits(0);
    assert!(ended.stderr.contains("not to be had (errors.txt)"), "{}", ended.stderr);

    let errors = errors(&scene);
    for app in apps {
        let lines = errors.lines().filter(|line| line.contains(&format!("/{app}/c.log: "))).count();
        assert_eq!(lines, usize::from(app != "well"), "{app}: {errors}");
    }
    let bundle = scene.bundle();
    let log = |app: &str| bundle.get(&format!("pods/{}/{app}/c.log", scene.namespace)).cloned();
    assert!(log("endless").is_some_and(|log| log.len() <= 512 << 10 && log.starts_with(LINE)));
    assert_eq!(log("gone"), None);
    assert!(log("silent").is_some_and(|log| log.starts_with(LINE) && log.ends_with(&format!("{LINE}\n"))));
    assert_eq!(log("broken").as_deref(), Some("first\n"));
    assert!(log("well").is_some());
}

/// A limit of the file's size does to one file what a full disk does to all.
fn a_limit_of_sizes_leaves_what_there_is(world: &World) {
    let scene = Scene::new(world);
    let whole = noisy(&scene);
    let mut command = Command::new("bash");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 256; exec \"$@\"", "bash"])
        .arg(whole.get_program())
        .args(whole.get_args());
    leaves_what_there_is(&scene, with_environment(&mut command, &whole));
}

/// A small file system of this run's own, of which a copy is kept.
fn a_full_disk_leaves_what_there_is(world: &World) {
    const ON_A_SMALL_DISK: &str = "mount -t tmpfs -o size=256k,mode=700 none \"$0\" || exit 99
        \"$@\"; code=$?
        df \"$0\" >&2; cp -a \"$0/.\" \"$KEPT\"; exit $code";
    let scene = Scene::new(world);
    let whole = noisy(&scene);
    let kept = scene.directory().with_extension("kept");
    for directory in [&kept, &scene.directory()] {
        std::fs::DirBuilder::new().mode(0o700).create(directory).expect("a directory");
    }
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK])
        .arg(scene.directory());
    command.arg(whole.get_program()).args(whole.get_args());
    with_environment(&mut command, &whole).env("KEPT", &kept);
    let run = run(&mut command).exits(0).says("No space left on device");
    assert!(run.stderr.contains("Warning: not all diagnostics can be written: "), "{run:#?}");
    std::fs::remove_dir(scene.directory()).expect("nothing was written below");
    std::fs::rename(kept, scene.directory()).expect("a directory");
    has_what_there_is(&scene);
}

/// With more logs than there is room for.
fn noisy(scene: &Scene<'_>) -> Command {
    let world = scene.world;
    let apps = ["a", "b", "c"];
    for app in apps {
        scene.bare_pod(app);
    }
    scene.until_running(apps.len());
    // Digits that no compression makes a fourth of.
    let mut state = 1_u64;
    let mut noise = String::new();
    while noise.len() < 400 << 10 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.extend([(state >> 3).to_string(), "\n".to_owned()]);
    }
    for app in apps {
        world.container_log_fault(&scene.node, &scene.namespace, app, "c").body("text/plain", noise.clone());
    }
    scene.command(&COLLECT)
}

fn with_environment<'c>(command: &'c mut Command, of: &Command) -> &'c mut Command {
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null())
}

#[track_caller]
fn leaves_what_there_is(scene: &Scene<'_>, command: &mut Command) {
    run(command).exits(0).says("Warning: not all diagnostics can be written");
    has_what_there_is(scene);
}

#[track_caller]
fn has_what_there_is(scene: &Scene<'_>) {
    let errors = errors(scene);
    assert!(errors.contains("c.log: not written: "), "{errors}");
    let bundle = scene.bundle();
    for file in ["node/node.yaml", "summary.md", "remediation.json"] {
        assert!(bundle.contains_key(file), "{file}: {:?}", bundle.keys());
    }
}

/// Small on the wire, and a hundred times as large when it is read as what it says it is.
fn memory_does_not_grow_with_what_a_kubelet_says(world: &World) {
    let scene = Scene::new(world);
    let node = &scene.node;
    world.proxies(node, &scene.machines);
    let brackets = format!("[{}{{}}]\n", "{\"\":0},\n".repeat((2 << 20) / 8 - 2));
    assert!(brackets.len() <= 2 << 20 && brackets.len() > 2_000_000);
    let digits = format!("[{}0]\n", "0,\n".repeat(3 << 20));
    let _faults = [
        world.kubelet_fault(node, "stats/*").body("application/json", brackets),
        world.kubelet_fault(node, "configz").body("application/json", digits),
        world.kubelet_fault(node, "metrics").lines(LINE, 2 << 10),
        world.kubelet_fault(node, "logs/").lines(LINE, 2 << 10),
    ];
    let peak = peak_of(scene.command(&[&COLLECT[..], &["--collect=kubelet"]].concat()));
    assert!(peak < 100_000, "{peak} kB");
    let errors = errors(&scene);
    let of = |file: &str| {
        let mut lines = errors.lines().filter(|line| line.starts_with(&format!("kubelet/{file}: ")));
        lines.next().unwrap_or_else(|| panic!("no {file} in {errors}")).to_owned()
    };
    assert!(of("stats-summary.json").ends_with(": too large to be read as JSON"), "{errors}");
    assert!(of("configz.json").contains(": cut after 2097152 bytes; "), "{errors}");
    assert!(of("metrics.txt").ends_with(": cut after 8388608 bytes"), "{errors}");
    assert!(of("kubelet.log").ends_with("MiB were read"), "{errors}");
}

fn memory_does_not_grow_with_logs(world: &World) {
    let scene = Scene::new(world);
    let apps: Vec<String> = (0..16).map(|number| format!("p{number}")).collect();
    for app in &apps {
        scene.bare_pod(app);
        world.container_log_fault(&scene.node, &scene.namespace, app, "c").lines(LINE, 2 << 10);
    }
    scene.until_running(apps.len());
    let peak = peak_of(scene.command(&COLLECT));
    assert!(peak < 100_000, "{peak} kB");
    let bundle = scene.bundle();
    let logs = bundle.iter().filter(|(name, log)| name.ends_with("/c.log") && log.len() > 500_000).count();
    assert_eq!(logs, apps.len());
}

/// The most memory that it took, in kB, until it ended well.
fn peak_of(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a process");
    let mut peak = 0;
    let status = loop {
        // Its highest so far: the last one that is seen is near enough.
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(peak);
        if let Some(status) = child.try_wait().expect("a process") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success() && peak > 0);
    peak
}
