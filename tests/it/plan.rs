//! What `remediate` says and refuses before it changes anything.

use jiff::SignedDuration;
use rexpect::session::{PtySession, spawn_command};
use serde_json::{Value, json};

use crate::support::{Run, World, scenarios};

scenarios![
    the_plan_says_what_and_why,
    a_gate_refuses_unless_it_is_overridden,
    a_method_that_cannot_be_is_refused,
    a_system_without_a_systemd_of_ours_is_told_what_to_type,
    an_unfinished_remediation_is_somebodys,
    an_unknown_node_is_an_error,
    what_may_not_be_done_is_known_before,
    nobody_is_asked_without_a_terminal,
    a_control_plane_node_is_typed,
    a_hostile_node_disturbs_no_terminal,
    what_a_drain_would_do_is_a_table,
    a_grace_period_for_all_is_that_of_each,
    an_unreachable_node_is_said_to_be_so_once,
];

/// A pod that runs on the node, in this world's own namespace.
fn pod(world: &World, name: &str, node: &str, spec: &Value, metadata: &Value) {
    let namespace = world.name("app");
    let path = format!("/api/v1/namespaces/{namespace}");
    if world.try_api("GET", &path, "application/json", &Value::Null).is_err() {
        world.create("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}));
        let accounts = format!("{path}/serviceaccounts");
        let account = json!({"metadata": {"name": "default"}});
        let _is_there = world.try_api("POST", &accounts, "application/json", &account);
    }
    let mut pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"nodeName": node,
        "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 30,
        "containers": [{"name": "c", "image": "registry.example/app"}]}});
    for (part, more) in [("spec", spec), ("metadata", metadata)] {
        pod[part].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    }
    world.create(&format!("{path}/pods"), &pod);
    let running =
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    world.request("PATCH", &format!("{path}/pods/{name}/status"), "application/merge-patch+json", &running);
}

fn what_a_drain_would_do_is_a_table(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    // Of a kind that the server does not know: no garbage collector looks after its pods.
    let owned = json!({"ownerReferences": [{"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "name": "web", "uid": "u",
        "controller": true}]});
    let volume = json!({"volumes": [{"name": "cache", "emptyDir": {}}]});
    pod(world, "web", &nodes[0], &json!({}), &owned);
    pod(world, "cache", &nodes[0], &volume, &owned);
    let budget = json!({"metadata": {"name": "never"}, "spec": {"maxUnavailable": 0,
        "selector": {"matchLabels": {"app": "web"}}}});
    world.create(&format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", world.name("app")), &budget);
    let run = remediate(world, &[&nodes[0], "--dry-run=server", "--pod-selector", "app"])
        .exits(3)
        .says("would be refused (local-storage, budget-misconfigured)");
    let rows: Vec<Vec<&str>> = run
        .stdout
        .lines()
        .filter(|line| line.starts_with("app "))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["app", "cache", "CloneSet/web", "blocked", "-", "-", "-", "30s", "yes", "local-storage"]
    );
    assert_eq!(rows[1][..5], ["app", "web", "CloneSet/web", "evict", "never"]);
    assert!(run.stdout.contains("refused: budget-misconfigured: disruption budget app/never"), "{run:#?}");
    let run = remediate(world, &[&nodes[0], "--dry-run", "--skip", "drain"]).exits(0);
    assert!(!run.stdout.contains("drain"), "{run:#?}");
}

/// Of those that are evicted.
fn a_grace_period_for_all_is_that_of_each(world: &World) {
    let node = &world.nodes(&["w1", "w2"])[0];
    pod(world, "shell", node, &json!({}), &json!({}));
    let grace = |more: &[&str]| {
        let flags = [node, "--dry-run", "-o", "json", "--force", "--pod-selector", "app"];
        let run = remediate(world, &[&flags, more].concat()).exits(0);
        let plan: Value = serde_json::from_str(&run.stdout).unwrap();
        plan["items"][0]["drain"]["pods"][0]["gracePeriodSeconds"].clone()
    };
    assert_eq!(grace(&[]), 30);
    assert_eq!(grace(&["--grace-period", "5"]), 5);
    assert_eq!(grace(&["--grace-period", "0"]), 0);
    assert_eq!(grace(&["--grace-period=-1"]), 30);
}

/// By the plan, and by the drain no more.
fn an_unreachable_node_is_said_to_be_so_once(world: &World) {
    world.nodes(&["w1"]);
    let node = &world.bare_node("w3");
    let unknown = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    world.patch_status(node, "application/strategic-merge-patch+json", &unknown);
    let flags = [node, "--yes", "--until=drain", "--skip=collect", "--reboot-method=manual"];
    let run = remediate(world, &flags).exits(0);
    let said = "is unreachable: pods that have been ending for more than 1s, and volumes, are not waited for";
    assert_eq!(run.stderr.matches(said).count(), 1, "{run:#?}");
}

/// `remediate` with this world's prefix. Nodes of other worlds are away as they like.
fn remediate(world: &World, more: &[&str]) -> Run {
    world.run(&arguments(world, more).iter().map(String::as_str).collect::<Vec<_>>())
}

fn arguments(world: &World, more: &[&str]) -> Vec<String> {
    let flags = ["remediate", "--max-unavailable", "100%", "--prefix", &world.prefix()];
    flags.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

fn patch(world: &World, node: &str, patch: &Value) {
    world.request("PATCH", &format!("/api/v1/nodes/{node}"), "application/merge-patch+json", patch);
}

/// The same in every world.
fn timeless(run: &Run) -> String {
    let said = format!("{}--- stderr, exit {}\n{}", run.stdout, run.code.unwrap(), run.stderr);
    let said = regex::Regex::new(r"\(\d+\.\ds\)").unwrap().replace_all(&said, "(0.1s)").into_owned();
    regex::Regex::new(r"Ready for \d+s").unwrap().replace_all(&said, "Ready for 3s").into_owned()
}

fn the_plan_says_what_and_why(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    world.seed(&nodes[0], "Hot", "True", "[P1] hot\nvery", SignedDuration::from_mins(12));
    world.seed(&nodes[0], "Cold", "False", "[P1]", SignedDuration::from_mins(12));
    // Other tests' syncs record theirs where it is by default.
    let leases = format!("--lease-namespace={}", world.namespace("leases"));
    let run = remediate(world, &[&nodes[0], "--dry-run", &leases]).exits(0);
    insta::assert_snapshot!("plan", timeless(&run));
    let before = world.get_node(&nodes[0]);
    let command = "ipmitool -H {node}.bmc.example -f '/etc/my bmc' power cycle";
    let flags =
        ["--dry-run=server", "--reboot-method", "command", "--reboot-command", command, "--keep-cordon"];
    let run = remediate(world, &[&[&*nodes[0]], &flags[..]].concat()).exits(0);
    assert!(
        run.stdout.contains(
            "by `ipmitool -H w1.bmc.example -f '/etc/my bmc' power cycle`, once; machine not probed"
        ),
        "{run:#?}"
    );
    assert!(run.stdout.contains("will be cordoned, and stay so"), "{run:#?}");
    let after = world.get_node(&nodes[0]);
    assert_eq!(spec_but_the_controllers(&after), spec_but_the_controllers(&before));
    assert_eq!(after["metadata"]["annotations"]["sciuro.dev/remediation"], Value::Null);
}

/// Without the taints of the node controller, which is still at work on a new node.
fn spec_but_the_controllers(node: &Value) -> Value {
    let mut spec = node["spec"].clone();
    let taints = spec["taints"].take();
    let others = taints.as_array().into_iter().flatten();
    let is_other =
        |taint: &&Value| !taint["key"].as_str().unwrap_or_default().starts_with("node.kubernetes.io/");
    spec["taints"] = others.filter(is_other).cloned().collect();
    spec
}

fn a_gate_refuses_unless_it_is_overridden(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    patch(world, &nodes[0], &json!({"metadata": {"labels": {"sciuro.dev/exclude": ""}}}));
    let run = remediate(world, &[&nodes[0], "--dry-run"]).exits(3);
    assert!(run.stdout.contains("refused: excluded: the node has the label sciuro.dev/exclude"), "{run:#?}");
    let run = run.says("would be refused (excluded); nothing was changed").says("--override excluded");
    assert!(run.stderr.contains("hint: "));
    remediate(world, &[&nodes[0], "--yes"]).exits(3).says("is refused (excluded)");
    let run = remediate(world, &[&nodes[0], "--dry-run", "--override", "excluded"]).exits(0);
    assert!(run.stdout.contains("overridden: excluded: "), "{run:#?}");
    let run = ["--yes", "--until", "cordon", "--reboot-method", "manual", "--override", "excluded"];
    remediate(world, &[&[&*nodes[0]], &run[..]].concat()).exits(0);
    let record = &world.get_node(&nodes[0])["metadata"]["annotations"]["sciuro.dev/remediation"];
    let record: Value = serde_json::from_str(record.as_str().unwrap()).unwrap();
    assert_eq!(record["overrides"], json!(["excluded"]));
    let bare = world.bare_node("w3");
    world.patch_status(
        &bare,
        "application/strategic-merge-patch+json",
        &json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}],
            "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}]}}),
    );
    remediate(world, &[&bare, "--dry-run"]).exits(3).says("kubelet-unreachable");
    remediate(world, &[&bare, "--dry-run", "--reboot-method", "ssh"]).exits(0);
}

fn a_method_that_cannot_be_is_refused(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    let flags = ["--dry-run", "--reboot-method", "command", "--reboot-command", "aws reboot {provider-id}"];
    let run = remediate(world, &[&[&*nodes[0]], &flags[..]].concat()).exits(3).says("reboot-method");
    assert!(run.stdout.contains("refused: reboot-method: the node has no provider id"), "{run:#?}");
}

/// What the hint says is typed as it stands, and is a plan.
fn a_system_without_a_systemd_of_ours_is_told_what_to_type(world: &World) {
    world.nodes(&["w1", "w2"]);
    let node = world.bare_node("w3");
    let by = |command: &str| format!("by `{command}`, once; machine not probed");
    for (name, info, plan) in [
        (
            "Talos",
            json!({"osImage": "Talos (v1.11.2)"}),
            by("talosctl --nodes 192.0.2.8 reboot '--wait=false'"),
        ),
        (
            "Windows",
            json!({"osImage": "Windows Server 2022 Datacenter", "operatingSystem": "windows"}),
            by("ssh -o 'BatchMode=yes' 192.0.2.8 shutdown /r /t 3"),
        ),
        (
            "Bottlerocket",
            json!({"osImage": "Bottlerocket OS 1.45.0 (aws-k8s-1.33)", "operatingSystem": "linux"}),
            "by you, when you are asked to; machine not probed".to_owned(),
        ),
    ] {
        let status = json!({"status": {"nodeInfo": info,
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "192.0.2.8"}]}});
        world.patch_status(&node, "application/merge-patch+json", &status);
        for method in ["pod", "signal", "ssh"] {
            let run = remediate(world, &[&node, "--dry-run", "--reboot-method", method]).exits(3);
            let why = format!(
                "refused: reboot-method: {name} cannot be rebooted by a pod, by a signal or over ssh"
            );
            assert!(run.stdout.contains(&why), "{run:#?}");
            let mut commands =
                run.stdout.lines().filter_map(|line| line.trim().strip_prefix("hint: kubectl sciuro "));
            let hint = commands.find(|command| command.starts_with("remediate "));
            let words = shlex::split(hint.expect("a command")).expect("words");
            // Names are shown short here.
            assert_eq!(words[..2], ["remediate", "w3"]);
            let mut words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            words[0] = &node;
            let run = remediate(world, &[&words[..], &["--dry-run"]].concat()).exits(0);
            assert!(run.stdout.contains(&plan), "{run:#?}");
        }
    }
}

fn an_unfinished_remediation_is_somebodys(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    let record = json!({"v": 1, "id": "0b5a3b8e-7d1c-4f43-8f39-1d2b3c4d5e6f", "state": "Draining",
        "since": "2026-11-22T10:00:00Z", "timeout": 900, "actor": "eve@laptop\u{1b}[2J", "holder": "eve@laptop#1",
        "method": "pod", "nodeUID": "u", "preBootID": "b", "wasUnschedulable": false});
    let annotate = |text: String| {
        patch(world, &nodes[0], &json!({"metadata": {"annotations": {"sciuro.dev/remediation": text}}}));
    };
    annotate(record.to_string());
    for flags in [&["--dry-run"][..], &["--yes"]] {
        remediate(world, &[&[&*nodes[0]], flags].concat())
            .exits(9)
            .says("node/w1: eve@laptop^[[2J began a remediation, which is in Draining since 2026-11-22T10:00:00Z")
            .says("hint: to continue: kubectl sciuro remediate w1 --resume")
            .says("hint: to undo: kubectl sciuro remediate w1 --abort");
    }
    annotate("{\"v\": 2}".to_owned());
    remediate(world, &[&nodes[0], "--yes"]).exits(3).says("cannot be read").says("sciuro.dev/remediation-");
}

fn an_unknown_node_is_an_error(world: &World) {
    remediate(world, &[&world.name("nowhere"), "--dry-run"])
        .exits(1)
        .says("Error from server (NotFound): nodes \"nowhere\" not found");
    remediate(world, &["-l", "no=such", "--dry-run"]).exits(0).says("No nodes found.");
}

fn what_may_not_be_done_is_known_before(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    let user = world.user_who_may(&[("", "nodes", "list"), ("", "nodes", "get")]);
    let run = remediate(world, &[&nodes[0], "--yes", "--as", &user])
        .exits(3)
        .says("permissions); nothing was changed");
    assert!(run.stderr.contains("refused: permissions: you may not create pods/eviction\n"), "{run:#?}");
    assert!(
        run.stderr.contains("Warning: you may not patch nodes/status; the run does without\n"),
        "{run:#?}"
    );
    assert!(run.stderr.contains("hint: what to grant: kubectl sciuro check --for remediate"), "{run:#?}");
}

fn nobody_is_asked_without_a_terminal(world: &World) {
    let node = world.node("w1");
    let run = remediate(world, &[&node]).exits(4).says("stdin is no terminal; nothing was changed");
    let run = run.says("hint: add --yes to go on without prompts");
    assert!(!run.stderr.contains("preflight"), "{run:#?}");
}

fn a_control_plane_node_is_typed(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    let labels = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
    patch(world, &nodes[0], &labels);
    let flags = ["--override", "control-plane", "--yes"]; // other worlds have control-plane nodes too
    remediate(world, &[&[&*nodes[0]], &flags[..]].concat())
        .exits(4)
        .says("w1 is a control-plane node, which --yes does not stand for: add --confirm=w1");
}

fn a_hostile_node_disturbs_no_terminal(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    world.seed(&nodes[0], "Hot", "True", "[P1] \u{1b}[2Jhot", SignedDuration::from_mins(12));
    patch(
        world,
        &nodes[0],
        &json!({"metadata": {"annotations": {"draino.planet.com/conditions": "\u{1b}]0;x\u{7}"}}}),
    );
    let run = remediate(world, &[&nodes[0], "--dry-run"]).exits(3).says("foreign-owner");
    assert!(run.stdout.contains("^[[2Jhot"), "{run:#?}");
    assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{run:#?}");
}

/// `remediate w1` on a terminal, up to its first question.
fn at_the_prompt(world: &World, more: &[&str]) -> (String, PtySession) {
    let nodes = world.nodes(&["w1", "w2"]);
    let arguments = arguments(world, &[&[&*nodes[0]], more].concat());
    let mut command = world.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    command.stdin(std::process::Stdio::inherit()).env("TERM", "xterm"); // the terminal's
    let mut session = spawn_command(command, Some(20_000)).unwrap();
    session.exp_string("preflight (").unwrap();
    session.exp_string("will be cordoned, and uncordoned at the end").unwrap();
    session.exp_string("Remediate node").unwrap();
    session.exp_string("as planned? [y/N] ").unwrap();
    (nodes[0].clone(), session)
}

fn ends(session: &mut PtySession, code: i32) {
    session.exp_eof().unwrap();
    let status = session.process().wait().unwrap();
    assert!(matches!(status, rexpect::process::WaitStatus::Exited(_, found) if found == code), "{status:?}");
}

#[test]
fn the_default_is_no() {
    let world = World::sandbox();
    let (node, mut session) = at_the_prompt(&world, &[]);
    session.send_line("").unwrap();
    session.exp_string("declined; nothing was changed").unwrap();
    ends(&mut session, 4);
    assert_eq!(world.get_node(&node)["spec"]["unschedulable"], Value::Null);
}

#[test]
fn ctrl_c_changes_nothing_and_gives_the_cursor_back() {
    let world = World::sandbox();
    let (node, mut session) = at_the_prompt(&world, &[]);
    session.send_control('c').unwrap();
    session.exp_string("\u{1b}[?25h").unwrap();
    session.exp_string("interrupted; nothing was changed").unwrap();
    ends(&mut session, 130);
    assert_eq!(world.get_node(&node)["spec"]["unschedulable"], Value::Null);
}

/// What the drain would need a flag for is asked one by one; a pod may need two.
#[test]
fn drain_exceptions_are_asked_for_one_by_one() {
    let world = World::sandbox();
    let node = world.name("w1");
    pod(&world, "bare", &node, &json!({"volumes": [{"name": "cache", "emptyDir": {}}]}), &json!({}));
    let (_, mut session) = at_the_prompt(&world, &[]);
    let mut answer = |question: &str, line: &str| {
        session.exp_string(question).unwrap();
        session.send_line(line).unwrap();
    };
    answer("", "y");
    answer("Evict these pods, and lose the data in their emptyDir volumes? [y/N] ", "y");
    answer("Evict these pods, which no controller starts again? [y/N] ", "n");
    session.exp_string("declined; nothing was changed").unwrap();
    ends(&mut session, 4);
    let run = remediate(&world, &[&node, "--yes"]).exits(3).says("is refused (local-storage, unmanaged)");
    assert!(run.stderr.contains("refused: local-storage: cannot delete Pods with local storage"), "{run:#?}");
    remediate(&world, &[&node, "--yes", "--delete-emptydir-data"]).exits(3).says("is refused (unmanaged)");
    assert_eq!(world.get_node(&node)["spec"]["unschedulable"], Value::Null);
}

#[test]
fn progress_has_a_form_for_programs_and_one_for_nobody() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2"]);
    let run = remediate(&world, &[&nodes[0], "--dry-run", "--progress", "json"]).exits(0);
    let events: Vec<Value> = run.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> =
        events.iter().map(|event| (event["step"].as_str(), event["event"].as_str())).collect();
    assert_eq!(events, [(Some("preflight"), Some("started")), (Some("preflight"), Some("done"))]);
    assert_eq!(remediate(&world, &[&nodes[0], "--dry-run", "--progress", "none"]).exits(0).stderr, "");
    let run = remediate(&world, &[&nodes[0], "--dry-run"]).exits(0);
    assert!(run.stderr.starts_with("► preflight …\n✔ preflight ("), "{run:#?}");
}
