//! When `remediate` reboots nothing: each reason, its exit code, and a next command.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ::sandbox::Helpers;
use sciuro::remedy::reboot::helper::DEFAULT_IMAGE;
use serde_json::{Value, json};

use crate::support::{Fleet, Run, World, run, scenarios};

scenarios![
    a_drain_that_is_blocked,
    a_drain_that_is_blocked_and_undone,
    a_lease_that_another_keeps,
    an_uncordon_during_the_drain,
    a_node_that_is_replaced,
    a_control_plane_node_without_its_name,
    an_image_that_is_missing,
    a_helper_that_never_starts,
    another_machine_that_answers,
    another_machine_that_answers_over_ssh,
    a_missing_permission,
    nobody_who_could_answer,
    an_excluded_node,
    the_machine_that_we_run_on,
    too_many_away,
    a_kubelet_that_is_not_ready,
    a_boot_id_that_two_share,
    a_record_that_cannot_be_read,
    an_unfinished_remediation,
    a_condition_that_was_left,
];

/// It is refused before anything is changed.
#[track_caller]
fn refused(fleet: &Fleet<'_>, more: &[&str], code: i32) -> Run {
    let before = fleet.face();
    let run = fleet.remediate(more).exits(code).says("hint: ");
    assert_eq!(fleet.face(), before);
    fleet.never_rebooted();
    run
}

fn a_drain_that_is_blocked(world: &World) {
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    fleet
        .remediate(&["--force", "--drain-timeout", "2s"])
        .exits(5)
        .says(&format!("{namespace}/stubborn"))
        .says("The disruption budget stubborn needs 1 healthy pods and has 1 currently")
        .says(&format!("kubectl sciuro remediate {} --resume", fleet.node))
        .says(&format!("kubectl sciuro remediate {} --abort", fleet.node));
    assert_eq!(fleet.record()["failedState"], "Draining");
    assert!(fleet.is_cordoned());
    fleet.never_rebooted();
}

/// There is nothing to resume then.
fn a_drain_that_is_blocked_and_undone(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let flags = ["--force", "--drain-timeout", "2s", "--on-failure", "uncordon"];
    let anew = format!("hint: to start over: kubectl sciuro remediate {} --", fleet.node);
    fleet
        .remediate(&flags)
        .exits(5)
        .says("the drain failed")
        .says("it is uncordoned again, and nothing is left of the run")
        .says(&anew)
        .never_says("stays cordoned")
        .never_says("--resume");
    assert_eq!((fleet.record(), fleet.is_cordoned()), (Value::Null, false));

    fleet.patch(&fleet.node, &json!({"spec": {"unschedulable": true}}));
    let run = fleet.remediate(&flags).exits(5).says(&anew).never_says("--resume");
    run.says("nothing is left of the run, but it stays cordoned: it had been cordoned before");
    assert_eq!((fleet.record(), fleet.is_cordoned()), (Value::Null, true));
    fleet.never_rebooted();
}

fn a_lease_that_another_keeps(world: &World) {
    let fleet = Fleet::new(world);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let name = format!("sciuro-node-{}", fleet.node);
    world.create(
        leases,
        &json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
            "spec": {"holderIdentity": "bob@laptop#1", "leaseDurationSeconds": 3, "leaseTransitions": 1}}),
    );
    let (client, path) = (world.client(), format!("{leases}/{name}"));
    let renewals = world.spawn(async move {
        for count in 2.. {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let body = json!({"spec": {"leaseTransitions": count}}).to_string().into_bytes();
            let request = http::Request::patch(&path).header("content-type", "application/merge-patch+json");
            let _again = client.request_text(request.body(body).unwrap()).await;
        }
    });
    let before = fleet.face();
    fleet
        .remediate(&[])
        .exits(9)
        .says("bob@laptop#1")
        .says(&format!("kubectl sciuro remediate {} --abort", fleet.node));
    renewals.abort();
    assert_eq!(fleet.face(), before);
    assert_eq!((fleet.orders(), fleet.helpers()), ((0, 0), vec![]));
}

fn an_uncordon_during_the_drain(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let mut running = fleet.begin(&["--force"]);
    fleet.until_in("Draining");
    fleet.uncordon();
    let (_, said) = running.ends(8);
    assert!(said.iter().any(|line| line.contains("someone else uncordoned the node")), "{said:#?}");
    assert_eq!(fleet.record(), Value::Null);
    assert!(!fleet.is_cordoned());
    fleet.never_rebooted();
}

fn a_node_that_is_replaced(world: &World) {
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let mut running = fleet.begin(&["--force"]);
    fleet.until_in("Draining");
    world.delete_node(&fleet.node);
    world.node_named(&fleet.node);
    let new = fleet.face();
    let (_, said) = running.ends(8);
    let said = said.join("\n");
    assert!(said.contains("nothing is done to the new one") && said.contains("hint: "), "{said}");
    assert_eq!(fleet.face()[1], new[1], "its annotations");
    assert!(!fleet.is_cordoned());
    assert_eq!((fleet.orders(), fleet.helpers()), ((0, 0), vec![]));
}

fn a_control_plane_node_without_its_name(world: &World) {
    let fleet = Fleet::new(world);
    let label = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
    fleet.patch(&fleet.node, &label);
    // Other worlds' control-plane nodes are as they are.
    let others = ["--override", "control-plane"];
    refused(&fleet, &others, 4).says(&format!("add --confirm={}", fleet.node));
    let wrong = format!("--confirm={}", fleet.second);
    refused(&fleet, &[&others[..], &[&wrong]].concat(), 4);
    let right = format!("--confirm={}", fleet.node);
    fleet.remediate(&[&others[..], &[&right]].concat()).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
}

/// On a cluster of its own: nobody else's control-plane nodes should be refused for ours.
#[test]
fn another_control_plane_node_that_is_down() {
    let world = &World::sandbox();
    let fleet = Fleet::new(world);
    let label = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
    fleet.patch(&fleet.node, &label);
    fleet.patch(&fleet.second, &label);
    let confirm = format!("--confirm={}", fleet.node);
    world.block_on(fleet.machines.set_ready(&fleet.second, false)).unwrap();
    refused(&fleet, &[&confirm], 3).says("control-plane");
    world.block_on(fleet.machines.set_ready(&fleet.second, true)).unwrap();
    fleet.patch(&fleet.second, &json!({"spec": {"unschedulable": true}}));
    refused(&fleet, &[&confirm], 3).says("--override control-plane");
}

/// The same that goes down while the drain goes on: then it is not rebooted, either.
#[test]
fn another_control_plane_node_that_goes_down_during_the_drain() {
    let world = &World::sandbox();
    let fleet = Fleet::new(world);
    let namespace = fleet.stubborn_pod();
    let label = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
    fleet.patch(&fleet.node, &label);
    fleet.patch(&fleet.second, &label);
    let confirm = format!("--confirm={}", fleet.node);
    let mut running = fleet.begin(&["--force", &confirm]);
    fleet.until_in("Draining");
    world.block_on(fleet.machines.set_ready(&fleet.second, false)).unwrap();
    fleet.free(&namespace);
    let (_, said) = running.ends(6);
    let said = said.join("\n");
    assert!(said.contains(&fleet.second) && said.contains("--resume"), "{said}");
    assert!(fleet.is_cordoned());
    fleet.never_rebooted();
}

fn an_image_that_is_missing(world: &World) {
    let fleet = Fleet::new(world);
    let lacks = |reason: &str| {
        fleet.machines.helpers(&fleet.node, Helpers::NoImage(reason.into())).unwrap();
    };
    // Nobody has to wait for what the kubelet cannot get.
    for hopeless in ["ErrImageNeverPull", "InvalidImageName"] {
        lacks(hopeless);
        refused(&fleet, &[], 3)
            .says(&format!("is not to be had on the node: {hopeless}"))
            .says("--helper-image takes one that the node has")
            .never_says("tries again");
    }
    lacks("ImagePullBackOff");
    let mut running = fleet.begin(&[]);
    running.says("is not to be had on the node: ImagePullBackOff");
    running.signal("INT");
    running.ends(130);
    refused(&fleet, &["--reboot-timeout", "2s"], 3)
        .says(&format!(
            "Warning: the helper's image {DEFAULT_IMAGE} is not to be had on the node: ImagePullBackOff"
        ))
        .says("the kubelet tries again")
        .says("--helper-image takes one that the node has");
    lacks("ErrImagePull");
    let mut running = fleet.begin(&[]);
    running.says("the kubelet tries again");
    fleet.machines.helpers(&fleet.node, Helpers::Run).unwrap();
    running.ends(0);
}

fn a_helper_that_never_starts(world: &World) {
    let fleet = Fleet::new(world);
    fleet.machines.helpers(&fleet.node, Helpers::NeverStart).unwrap();
    refused(&fleet, &["--reboot-timeout", "2s"], 3)
        .says("did not start the helper pod within 2s")
        .says("--reboot-method ssh");
}

fn another_machine_that_answers(world: &World) {
    let fleet = Fleet::new(world);
    let other = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11";
    let patch = json!({"status": {"nodeInfo": {"bootID": other}}});
    world.patch_status(&fleet.node, "application/merge-patch+json", &patch);
    refused(&fleet, &[], 3).says("another machine answers, or another boot").says(other);
}

fn another_machine_that_answers_over_ssh(world: &World) {
    let fleet = Fleet::new(world);
    let other = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11";
    let answer = format!("#!/bin/sh\necho sciuro-boot_id={other}\necho sciuro-uptime=12\n");
    let ssh = world.file("ssh", &answer);
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = fleet.command(&[&fleet.node, "--reboot-method", "ssh"]);
    let before = fleet.face();
    run(command.env("PATH", ssh.parent().unwrap()))
        .exits(3)
        .says("another machine answers, or another boot")
        .says(other)
        .says("hint: ");
    assert_eq!(fleet.face(), before);
    fleet.never_rebooted();
}

fn a_missing_permission(world: &World) {
    let fleet = Fleet::new(world);
    let user = world.user_who_may(&[
        ("", "nodes", "get"),
        ("", "nodes", "list"),
        ("", "nodes", "watch"),
        ("", "pods", "list"),
        ("", "pods", "get"),
    ]);
    let before = fleet.face();
    // Impersonated on the real control plane, denied to everybody on the sandbox.
    let more: &[&str] = if world.doubles.is_some() { &[] } else { &["--as", &user] };
    let run = fleet.remediate(more).exits(3).says("permissions").says("kubectl sciuro check --for remediate");
    let all = [run.stdout.as_str(), run.stderr.as_str()].concat();
    assert!(all.contains("patch nodes") && all.contains("pods/eviction"), "{all}");
    if let Some((api, _)) = &world.doubles {
        api.allow_all();
    }
    assert_eq!(fleet.face(), before);
    fleet.never_rebooted();
}

fn nobody_who_could_answer(world: &World) {
    let fleet = Fleet::new(world);
    let before = fleet.face();
    for task in [&[][..], &["--resume"], &["--abort"]] {
        let arguments = [&["remediate", &fleet.node], task].concat();
        run(&mut world.command(&arguments)).exits(4).says("stdin is no terminal").says("add --yes");
    }
    assert_eq!(fleet.face(), before);
    fleet.never_rebooted();
}

fn an_excluded_node(world: &World) {
    let fleet = Fleet::new(world);
    fleet.patch(&fleet.node, &json!({"metadata": {"labels": {"sciuro.dev/exclude": "false"}}}));
    refused(&fleet, &[], 3).says("is refused (excluded)").says("--override excluded");
}

fn the_machine_that_we_run_on(world: &World) {
    let fleet = Fleet::new(world);
    let ours = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    world.block_on(fleet.machines.claim_boot_id(&fleet.node, ours.trim())).unwrap();
    refused(&fleet, &[], 3).says("is refused (").says("self").says("--override self");
}

fn too_many_away(world: &World) {
    let fleet = Fleet::new(world);
    world.block_on(fleet.machines.set_ready(&fleet.second, false)).unwrap();
    refused(&fleet, &["--max-unavailable", "1"], 3)
        .says("is refused (max-unavailable)")
        .says("--override max-unavailable");
}

fn a_kubelet_that_is_not_ready(world: &World) {
    let fleet = Fleet::new(world);
    world.block_on(fleet.machines.set_ready(&fleet.node, false)).unwrap();
    let run = refused(&fleet, &[], 3).says("is refused (kubelet-unreachable)");
    let all = [run.stdout.as_str(), run.stderr.as_str()].concat();
    assert!(all.contains("--reboot-method ssh"), "{all}");
}

fn a_boot_id_that_two_share(world: &World) {
    let fleet = Fleet::new(world);
    let second = fleet.machines.facts(&fleet.second).unwrap().boot_id;
    world.block_on(fleet.machines.claim_boot_id(&fleet.node, &second)).unwrap();
    let run = fleet.remediate(&[]).exits(3).says("is refused (shared-boot-id)");
    let all = [run.stdout.as_str(), run.stderr.as_str()].concat();
    let both = format!("{} and {} report the same boot id", fleet.node, fleet.second);
    assert!(all.contains(&both), "{all}");
    fleet.remediate(&["--override", "no-boot-id"]).exits(2);
    assert!(!fleet.is_cordoned());
    fleet.never_rebooted();
}

fn a_record_that_cannot_be_read(world: &World) {
    let fleet = Fleet::new(world);
    for record in ["{}", "\u{1b}[31mnot JSON", r#"{"v": 99, "state": "Draining"}"#] {
        fleet.patch(&fleet.node, &json!({"metadata": {"annotations": {"sciuro.dev/remediation": record}}}));
        for task in [&[][..], &["--resume"], &["--abort"]] {
            refused(&fleet, task, 3)
                .says("the record of a remediation on it cannot be read")
                .says(&format!("kubectl annotate node {} sciuro.dev/remediation-", fleet.node))
                .never_says("\u{1b}[31m");
        }
    }
}

/// By a run that nobody answered at its end.
fn a_condition_that_was_left(world: &World) {
    let fleet = Fleet::new(world);
    for flag in ["--resume", "--abort"] {
        let left =
            json!({"type": "SciuroRemediation", "status": "True", "reason": "Uncordoning", "message": ""});
        let patch = json!({"status": {"conditions": [left]}});
        world.patch_status(&fleet.node, "application/strategic-merge-patch+json", &patch);
        fleet
            .remediate(&[flag])
            .exits(3)
            .says("took away the condition SciuroRemediation")
            .says("there is no unfinished remediation on it");
        let conditions = world.foreign(&fleet.node);
        assert!(
            !conditions.iter().any(|condition| condition["type"] == "SciuroRemediation"),
            "{conditions:#?}"
        );
    }
}

fn an_unfinished_remediation(world: &World) {
    let fleet = Fleet::new(world);
    fleet.begin_as("alice", &["--until", "cordon"]).ends(0);
    assert_eq!(fleet.record()["state"], "Cordoning");
    refused(&fleet, &[], 9)
        .says("alice@")
        .says("Cordoning since")
        .says(&format!("kubectl sciuro remediate {} --resume", fleet.node))
        .says(&format!("kubectl sciuro remediate {} --abort", fleet.node));
    assert!(fleet.is_cordoned());
}

/// Of the real Pod Security admission.
mod only {
    mod control_plane {
        use super::super::*;

        #[test]
        fn a_namespace_that_admits_no_privileged_pod() {
            let world = &World::control_plane();
            let fleet = Fleet::new(world);
            let namespace = world.namespace("restricted");
            let enforce =
                json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
            world.request(
                "PATCH",
                &format!("/api/v1/namespaces/{namespace}"),
                "application/merge-patch+json",
                &enforce,
            );
            let run = refused(&fleet, &["--helper-namespace", &namespace], 3).says("is refused (helper)");
            let all = [run.stdout.as_str(), run.stderr.as_str()].concat();
            assert!(all.contains("PodSecurity") && all.contains("--helper-namespace"), "{all}");
        }
    }
}
