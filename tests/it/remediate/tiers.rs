//! Diagnostics from the kubelet and from the machine itself: `--collect kubelet,host`.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use ::sandbox::Helpers;

use super::scene::Scene;
use super::terminal::Terminal;
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios!(
    the_kubelet_and_the_machine_are_asked_before_and_after,
    what_a_kubelet_does_not_serve_is_a_line_each,
    what_is_called_otherwise_is_a_line_each,
    until_collect_stops_there_and_goes_on_or_is_undone,
    a_helper_that_does_not_start_is_a_line,
    a_helper_that_hangs_is_a_line,
    a_log_that_is_cut_is_noticed,
    ctrl_c_takes_the_helper_away,
    the_archive_goes_to_stdout,
    the_kubelet_takes_a_right_of_its_own,
);

const UNTIL: [&str; 2] = ["--yes", "--until=collect"];

fn errors(bundle: &BTreeMap<String, String>) -> Vec<&str> {
    bundle["errors.txt"].lines().collect()
}

fn the_kubelet_and_the_machine_are_asked_before_and_after(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    world.proxies(&scene.node, &scene.machines);
    scene.remediate(&["--yes", "--collect=kubelet,host", "--since=2h", r"--redact=free \S+"]).exits(0);
    scene.is_remediated(&before);
    let bundle = scene.bundle();
    let node = &scene.node;
    for (file, has) in [
        ("kubelet/healthz.txt", "healthz check passed".to_owned()),
        ("kubelet/configz.json", "enableSystemLogQuery".to_owned()),
        ("kubelet/stats-summary.json", node.clone()),
        ("kubelet/metrics.txt", "kubelet_running_pods 7".to_owned()),
        ("kubelet/kubelet.log", format!("journal of kubelet on {node}: boot -, since 2")),
        ("kubelet/containerd.log", format!("journal of containerd on {node}: boot -, since 2")),
        (
            "after/kubelet/kubelet.previous-boot.log",
            format!("journal of kubelet on {node}: boot -1, since -"),
        ),
        ("after/kubelet/containerd.previous-boot.log", format!("journal of containerd on {node}: boot -1")),
        ("host/uptime.txt", format!("uptime on {node}")),
        ("host/kubelet.log", "--since -7200s -u kubelet".to_owned()),
        ("host/free.txt", format!("REDACTED on {node}")),
        ("host/kernel.previous-boot.log", "-k -b -1".to_owned()),
        ("after/host/kubelet.previous-boot.log", "-b -1 -u kubelet".to_owned()),
        ("after/host/boots.txt", "--list-boots".to_owned()),
    ] {
        let content = bundle.get(file).unwrap_or_else(|| panic!("no {file} in {:?}", bundle.keys()));
        assert!(content.contains(&has), "{file}: no {has:?} in {content}");
    }
    assert!(!bundle.contains_key("host/kubelet.previous-boot.log"), "it is of no interest before the boot");
    let summary = &bundle["after/summary.md"];
    let boot = format!("- boot: {} → {}\n", before.boot_id, scene.facts().boot_id);
    assert!(summary.starts_with(&format!("# {node}\n\n## Changed by the boot\n\n")), "{summary}");
    assert!(summary.contains(&boot), "{summary}");
    assert!(!bundle["summary.md"].contains("Changed by the boot"));
    for (file, content) in &bundle {
        assert!(!content.contains("hunter2"), "{file}: {content}");
    }
    for prefix in ["", "after/"] {
        let errors = &bundle[&format!("{prefix}errors.txt")];
        assert!(!errors.contains("host") && !errors.contains("kubelet/"), "{errors}");
    }
}

fn what_a_kubelet_does_not_serve_is_a_line_each(world: &World) {
    let scene = Scene::new(world);
    let node = &scene.node;
    world.proxies(node, &scene.machines);
    let _faults = [
        world.kubelet_fault(node, "logs/").status(405).body("text/plain", "logs endpoint is disabled.\n"),
        world.kubelet_fault(node, "configz").status(404).body("text/plain", "404 page not found\n"),
        world.kubelet_fault(node, "stats/*").status(403).body("text/plain", "Forbidden (user=x, verb=get)\n"),
    ];
    scene.remediate(&[&UNTIL[..], &["--collect", "kubelet"]].concat()).exits(0);
    let bundle = scene.bundle();
    let errors: Vec<_> =
        errors(&bundle).into_iter().filter(|line| line.starts_with("kubelet/")).map(str::to_owned).collect();
    assert_eq!(
        errors,
        [
            "kubelet/configz.json: Error from server (NotFound): 404 page not found",
            "kubelet/stats-summary.json: Error from server (Forbidden): Forbidden (user=x, verb=get)",
            "kubelet/kubelet.log: Error from server (MethodNotAllowed): logs endpoint is disabled.",
            "kubelet/containerd.log: Error from server (MethodNotAllowed): logs endpoint is disabled.",
        ]
    );
    assert!(bundle["kubelet/healthz.txt"].contains("passed"));
    assert!(bundle["kubelet/metrics.txt"].contains("kubelet_running_pods"));
}

/// A login page, for example, of a proxy on the way.
fn what_is_called_otherwise_is_a_line_each(world: &World) {
    let scene = Scene::new(world);
    let node = &scene.node;
    world.proxies(node, &scene.machines);
    let page = "<html><form>password</form></html>";
    let _faults = [
        world.kubelet_fault(node, "logs/").body("text/html; charset=utf-8", page),
        world.kubelet_fault(node, "healthz").body("text/html", page),
        world.kubelet_fault(node, "configz").body("text/plain", "{}"),
        world.kubelet_fault(node, "stats/*").body("application/octet-stream", vec![0xff; 64]),
    ];
    scene.remediate(&[&UNTIL[..], &["--collect", "kubelet"]].concat()).exits(0);
    let bundle = scene.bundle();
    let errors: Vec<_> = errors(&bundle).into_iter().filter(|line| line.starts_with("kubelet/")).collect();
    let page = "the answer is text/html; charset=utf-8 and not text/plain";
    assert_eq!(
        errors,
        [
            "kubelet/healthz.txt: the answer is text/html and not text/plain",
            "kubelet/configz.json: the answer is text/plain and not application/json",
            "kubelet/stats-summary.json: the answer is application/octet-stream and not application/json",
            &format!("kubelet/kubelet.log: {page}"),
            &format!("kubelet/containerd.log: {page}"),
        ]
    );
    assert!(bundle["kubelet/metrics.txt"].contains("kubelet_running_pods"));
    assert!(!bundle.contains_key("kubelet/healthz.txt"));
}

fn until_collect_stops_there_and_goes_on_or_is_undone(world: &World) {
    let scene = Scene::new(world);
    scene.bare_pod("shell");
    scene.until_running(1);
    let before = scene.facts();
    let stop = || {
        let run = scene.remediate(&[&UNTIL[..], &["--force"]].concat()).exits(0);
        let last: Vec<&str> = run.stderr.lines().rev().take(3).collect();
        let node = &scene.node;
        let leases = format!("--lease-namespace={}", scene.leases);
        for (line, says) in last.iter().zip([
            format!("to undo: kubectl sciuro remediate {node} --abort "),
            format!("to continue: kubectl sciuro remediate {node} --resume "),
            format!("node/{node}: stopped after collect, cordoned"),
        ]) {
            assert!(line.starts_with(&says), "{last:#?}");
        }
        assert!(last[..2].iter().all(|line| line.contains(&leases.replace('=', " "))), "{last:#?}");
        assert_eq!(scene.record().expect("a record")["state"], "Collecting");
        assert!(scene.is_cordoned());
        assert_eq!((scene.lease_holder(), scene.helpers()), (None, vec![]));
        assert_eq!(scene.apps(node), ["shell"]);
    };
    stop();
    assert!(scene.bundle().contains_key("node/node.yaml"));
    scene.remediate(&["--abort", "--yes"]).exits(0).says("aborted");
    scene.is_over("aborted");
    assert!(!scene.is_cordoned());
    assert_eq!((scene.apps(&scene.node), scene.facts().reboots), (vec!["shell".to_owned()], before.reboots));

    std::fs::remove_dir_all(scene.directory()).expect("bundles");
    stop();
    scene.remediate(&["--resume", "--yes", "--force"]).exits(0);
    scene.is_remediated(&before);
}

fn a_helper_that_does_not_start_is_a_line(world: &World) {
    let scene = Scene::new(world);
    scene.machines.helpers(&scene.node, Helpers::OnlyProbes).expect("a machine");
    scene.remediate(&[&UNTIL[..], &["--collect=host", "--collect-timeout=6s"]].concat()).exits(0);
    let bundle = scene.bundle();
    let errors: Vec<_> = errors(&bundle).into_iter().filter(|line| line.starts_with("host")).collect();
    let [error] = errors[..] else { panic!("{errors:#?}") };
    assert!(error.starts_with("host: the kubelet did not start the helper pod within "), "{error}");
    assert_eq!(scene.helpers(), [""; 0]);
}

fn a_helper_that_hangs_is_a_line(world: &World) {
    let scene = Scene::new(world);
    let _hangs =
        world.log_fault(&scene.node, "kube-system", "sciuro-collect-*").delay(Duration::from_secs(3600));
    scene.remediate(&[&UNTIL[..], &["--collect=host", "--collect-timeout=6s"]].concat()).exits(0);
    let bundle = scene.bundle();
    let errors: Vec<_> = errors(&bundle).into_iter().filter(|line| line.starts_with("host")).collect();
    assert_eq!(errors, ["host: the step's time was over at uptime (--collect-timeout)"]);
    assert_eq!(scene.helpers(), [""; 0]);
}

fn a_log_that_is_cut_is_noticed(world: &World) {
    let scene = Scene::new(world);
    let _cut = world.log_fault(&scene.node, "kube-system", "sciuro-collect-*").truncate(3000);
    scene.remediate(&[&UNTIL[..], &["--collect=host"]].concat()).exits(0);
    let bundle = scene.bundle();
    let errors: Vec<_> = errors(&bundle).into_iter().filter(|line| line.starts_with("host: ")).collect();
    let [error] = errors[..] else { panic!("{errors:#?}") };
    assert!(error.ends_with(" files are missing"), "{error}");
    assert!(bundle["host/uptime.txt"].starts_with("uptime on "));
    assert!(!bundle.contains_key("host/kernel.log"));
    assert_eq!(scene.helpers(), [""; 0]);
}

fn ctrl_c_takes_the_helper_away(world: &World) {
    let scene = Scene::new(world);
    let hangs =
        world.log_fault(&scene.node, "kube-system", "sciuro-collect-*").delay(Duration::from_secs(3600));
    let mut terminal = Terminal::of(&scene, &["--yes", "--collect=host"]);
    eventually("somebody who reads the helper's log", || hangs.hits() > 0);
    terminal.ctrl_c();
    let shown = terminal.ends(130);
    assert!(shown.contains("interrupted during collect"), "{shown}");
    assert_eq!(scene.helpers(), [""; 0]);
    assert_eq!(scene.record().expect("a record")["state"], "Collecting");
    assert!(!scene.directory().exists() || std::fs::read_dir(scene.directory()).unwrap().count() == 0);
}

fn the_archive_goes_to_stdout(world: &World) {
    let scene = Scene::new(world);
    let mut command = scene.command(&[&UNTIL[..], &["--output-dir=-"]].concat());
    let output = command.output().expect("an end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&*output.stdout));
    let mut names = Vec::new();
    for member in archive.entries().expect("an archive") {
        let mut member = member.expect("a member");
        member.read_to_end(&mut Vec::new()).expect("its content");
        names.push(member.path().expect("a name").display().to_string());
    }
    assert!(names.contains(&"node/node.yaml".into()) && names.contains(&"manifest.json".into()), "{names:?}");
}

/// Whoever may remediate nodes may not therefore read everything that kubelets serve.
fn the_kubelet_takes_a_right_of_its_own(world: &World) {
    let scene = Scene::new(world);
    let user: Vec<String> = if let Some((api, _)) = &world.doubles {
        api.deny("get", "nodes/proxy");
        Vec::new()
    } else {
        let rules = [
            ("", "nodes", "*"),
            ("", "nodes/status", "*"),
            ("", "pods", "*"),
            ("", "pods/eviction", "*"),
            ("", "pods/log", "*"),
            ("", "events", "*"),
            ("policy", "poddisruptionbudgets", "*"),
            ("apps", "daemonsets", "*"),
            ("storage.k8s.io", "volumeattachments", "*"),
            ("storage.k8s.io", "csinodes", "*"),
            ("coordination.k8s.io", "leases", "*"),
        ];
        vec!["--as".to_owned(), world.user_who_may(&rules)]
    };
    let user: Vec<&str> = user.iter().map(String::as_str).collect();
    eventually("what the user may", || {
        scene.remediate(&[&user[..], &["--dry-run", "--collect=host"]].concat()).code == Some(0)
    });
    let collect = ["--yes", "--collect=kubelet"];
    let run = scene.remediate(&[&user[..], &collect].concat()).exits(3);
    assert!(run.stderr.contains("refused: permissions: you may not get nodes/proxy\n"), "{}", run.stderr);
    assert!(run.stderr.contains("kubectl sciuro check --for remediate --collect kubelet"), "{}", run.stderr);
    assert!(!scene.is_cordoned() && scene.record().is_none());

    let check = |more: &[&str]| world.run(&[&["check", "--for=remediate"], more, &user[..]].concat()).stdout;
    assert!(check(&["--collect=kubelet"]).contains("may get nodes/proxy: not granted; needed by remediate"));
    assert!(!check(&[]).contains("nodes/proxy"));
}
