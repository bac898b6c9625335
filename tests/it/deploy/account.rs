//! The account of deploy/remediate-rbac.yaml, by its own token: remediations pass its admission policy, and whatever else it
//! could do to a Node is denied.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{Copy, STRATEGIC, on_the_control_plane};
use crate::permissions::control_plane::kubeconfig_of_the_account;
use crate::remediate::scene::Scene;
use crate::support::{Carrier, Fleet, Running, World, run};
use crate::watch::eventually;

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";

on_the_control_plane![
    f9_c2_a_whole_remediation_passes_the_policy,
    f9_c2_each_method_passes_the_policy_undone_or_continued,
    f9_c2_an_abort_of_a_run_at_work_passes_the_policy,
    f9_c2_what_a_remediation_does_not_write_is_denied,
    f9_c2_conditions_of_others_are_denied,
    f9_c2_the_policy_can_afford_large_nodes,
    f9_c2_the_policy_can_be_for_a_group,
];

/// With the manifest applied and effective.
struct Account<'w> {
    copy: Copy<'w>,
    kubeconfig: PathBuf,
    client: kube::Client,
}

impl<'w> Account<'w> {
    fn new(world: &'w World) -> Self {
        let copy = Copy::new(world);
        let files = ["apply", "-f", "deploy/base/namespace.yaml", "-f", "deploy/remediate-rbac.yaml"];
        copy.kubectl(&files).exits(0).never_says("Warning");
        let kubeconfig = kubeconfig_of_the_account(world, &copy.id, &format!("{}-remediate", copy.id));
        let client = world.client_of(&kubeconfig);
        let this = Self { copy, kubeconfig, client };
        // Rules and policies are read from watches.
        let node = world.bare_node("probe");
        let attack = json!({"metadata": {"labels": {"effective": "no"}}});
        eventually("a policy that is in force", || {
            this.patch(&format!("{node}?dryRun=All"), STRATEGIC, &attack)
                .contains("ValidatingAdmissionPolicy")
        });
        eventually("rules that are in force", || {
            let mut plan = world.command(&["remediate", &node, "--dry-run", "--skip", "collect"]);
            let plan = run(plan.env("KUBECONFIG", &this.kubeconfig));
            plan.stdout.contains(&node)
                && !plan.stdout.contains("you may not")
                && !plan.stderr.contains("orbidden")
        });
        let policy = format!(
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{}-remediate",
            this.copy.id
        );
        eventually("a policy whose expressions were checked", || {
            let policy = world.request("GET", &policy, JSON, &Value::Null);
            assert!(policy["status"]["typeChecking"]["expressionWarnings"].is_null(), "{policy:#}");
            policy["status"]["observedGeneration"] == 1
        });
        this
    }

    fn world(&self) -> &'w World {
        self.copy.world
    }

    /// By the account instead of the administrator.
    fn does(&self, mut command: Command) -> Command {
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// What the server says to a patch below `/api/v1/nodes`, nothing if it is taken.
    fn patch(&self, path: &str, content_type: &str, body: &Value) -> String {
        let path = format!("/api/v1/nodes/{path}");
        let answer = self.world().try_as(&self.client, "PATCH", &path, content_type, body);
        answer.map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[track_caller]
    fn is_allowed(&self, path: &str, content_type: &str, body: &Value) {
        assert_eq!(self.patch(path, content_type, body), "", "{path} {body}");
    }

    #[track_caller]
    fn is_denied(&self, path: &str, content_type: &str, body: &Value, why: &str) {
        let said = self.patch(path, content_type, body);
        let name = format!("{}-remediate", self.copy.id);
        let sentence = format!(
            "ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {name} may change {why}"
        );
        assert!(said.contains(&sentence), "{path} {body}: {said:?}");
    }
}

/// The condition and the Events are best effort: a run ends well without them.
#[track_caller]
fn is_told(world: &World, node: &str, reason: &str) {
    let events = world.request("GET", "/api/v1/namespaces/default/events", JSON, &Value::Null);
    let of_node = |event: &&Value| event["involvedObject"]["name"] == node;
    let reasons: Vec<_> =
        events["items"].as_array().unwrap().iter().filter(of_node).map(|event| &event["reason"]).collect();
    assert!(reasons.contains(&&json!(reason)), "{reasons:?}");
}

fn is_under_way(world: &World, node: &str) -> bool {
    let conditions = world.foreign(node);
    conditions.iter().any(|one| one["type"] == "SciuroRemediation" && one["status"] == "True")
}

/// Everything that runs on nodes, and all that is collected but for what takes a right of its own.
fn f9_c2_a_whole_remediation_passes_the_policy(world: &World) {
    let account = Account::new(world);
    let scene = Scene::with_everything(world);
    let before = scene.facts();
    let flags =
        ["--yes", "--force", "--delete-emptydir-data", "--collect=host", "--lease-namespace=kube-system"];
    run(&mut account.does(scene.command(&flags))).exits(0).never_says("orbidden").never_says("denied");
    scene.is_remediated(&before);
    is_told(world, &scene.node, "SciuroRemediated");
    assert!(scene.bundle().contains_key("host/uptime.txt"));
}

fn f9_c2_each_method_passes_the_policy_undone_or_continued(world: &World) {
    let account = Account::new(world);
    let fleet = Fleet::new(world);
    let carrier = Carrier::new(world, &fleet.machines);
    let power = carrier.power();
    for method in ["pod", "signal", "ssh", "command", "manual"] {
        let command = |more: &[&str]| {
            // What it shows is no matter of how fast Leases are renewed here.
            let mut flags = vec![fleet.node.as_str(), "--lease-duration", "30s", "--reboot-method", method];
            if method == "command" {
                flags.extend(["--reboot-command", &power]);
            }
            let mut command = account.does(fleet.command(&[&flags[..], more].concat()));
            carrier.serves(&mut command);
            command
        };
        let go = |more: &[&str]| run(&mut command(more)).exits(0).never_says("orbidden").never_says("denied");
        let before = fleet.orders().1;
        for and_then in ["--abort", "--resume"] {
            go(&["--until", "drain"]);
            assert!(fleet.is_cordoned() && is_under_way(world, &fleet.node), "{method}");
            assert_eq!(fleet.record()["method"], method);
            if (method, and_then) == ("manual", "--resume") {
                let mut running = Running::start(&mut command(&[and_then]), str::to_owned);
                fleet.until_in("WaitBoot");
                fleet.machines.reboot(&fleet.node).unwrap();
                running.ends(0);
            } else {
                go(&[and_then]);
            }
            assert!(fleet.record().is_null() && !fleet.is_cordoned(), "{method}");
            assert!(!is_under_way(world, &fleet.node), "{method}");
            fleet.nothing_is_left();
        }
        assert_eq!(fleet.orders().1, before + 1, "{method}");
    }
    for reason in ["SciuroAborted", "SciuroRemediated"] {
        is_told(world, &fleet.node, reason);
    }
}

/// Who asks writes an annotation, and whoever is at work obeys.
fn f9_c2_an_abort_of_a_run_at_work_passes_the_policy(world: &World) {
    let account = Account::new(world);
    let fleet = Fleet::new(world);
    fleet.stubborn_pod();
    let command =
        |more: &[&str]| account.does(fleet.command(&[&[fleet.node.as_str(), "--force"], more].concat()));
    let mut at_work = Running::start(&mut command(&[]), str::to_owned);
    fleet.until_in("Draining");
    run(&mut command(&["--abort"])).exits(0).never_says("denied");
    at_work.ends(8);
    let annotations = &world.get_node(&fleet.node)["metadata"]["annotations"];
    assert!(fleet.record().is_null() && annotations["sciuro.dev/abort"].is_null(), "{annotations:#}");
    assert!(!fleet.is_cordoned());
}

fn f9_c2_what_a_remediation_does_not_write_is_denied(world: &World) {
    let account = Account::new(world);
    let node = world.node("w1");
    let status = format!("{node}/status");
    // What others have written.
    let taint = |effect: &str| json!([{"key": "example.com/t", "effect": effect}]);
    let theirs = json!({"metadata": {"annotations": {"example.com/a": "b"}, "labels": {"example.com/l": "b"}},
        "spec": {"taints": taint("NoSchedule")}});
    let path = format!("/api/v1/nodes/{node}");
    world.request("PATCH", &path, STRATEGIC, &theirs);
    let kept = || {
        let mut node = world.get_node(&node);
        node["metadata"]["annotations"]
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !name.starts_with("sciuro.dev/"));
        // Its controller taints a node that is cordoned.
        let theirs = |taint: &Value| taint["key"].as_str().unwrap().starts_with("example.com/");
        node["spec"]["taints"].as_array_mut().unwrap().retain(theirs);
        (node["metadata"]["labels"].clone(), node["metadata"]["annotations"].clone(), node["spec"].clone())
    };
    let before = kept();

    let only = "spec.unschedulable, its own annotations and its own condition only, not";
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y"}]);
    let metadata = [
        ("labels", json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}})),
        ("labels", json!({"metadata": {"labels": {"example.com/l": "c"}}})),
        ("labels", json!({"metadata": {"labels": null}})),
        ("finalizers", json!({"metadata": {"finalizers": ["example.com/stays"]}})),
        ("ownerReferences", json!({"metadata": {"ownerReferences": owner}})),
    ];
    let spec = [
        ("taints", json!({"spec": {"taints": [{"key": "example.com/n", "effect": "NoExecute"}]}})),
        ("taints", json!({"spec": {"taints": taint("NoExecute")}})),
        ("taints", json!({"spec": {"taints": null}})),
        ("podCIDR", json!({"spec": {"podCIDR": "10.9.0.0/24", "podCIDRs": ["10.9.0.0/24"]}})),
        ("providerID", json!({"spec": {"providerID": "metal3://another"}})),
    ];
    let port = json!({"kubeletEndpoint": {"Port": 666}});
    let of_status = [
        ("addresses", json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.6.6.6"}]}})),
        ("daemonEndpoints", json!({"status": {"daemonEndpoints": port}})),
        ("capacity", json!({"status": {"capacity": {"example.com/gpu": "8"}}})),
        ("allocatable", json!({"status": {"allocatable": {"cpu": "1m"}}})),
        ("nodeInfo", json!({"status": {"nodeInfo": {"bootID": "another"}}})),
        ("images", json!({"status": {"images": [{"names": ["evil:latest"], "sizeBytes": 1}]}})),
        ("volumesInUse", json!({"status": {"volumesInUse": ["x"]}})),
        ("volumesAttached", json!({"status": {"volumesAttached": [{"name": "x", "devicePath": "y"}]}})),
        ("phase", json!({"status": {"phase": "Terminated"}})),
        ("runtimeHandlers", json!({"status": {"runtimeHandlers": [{"name": "x"}]}})),
        ("features", json!({"status": {"features": {"supplementalGroupsPolicy": true}}})),
    ];
    let ours = json!({"sciuro.dev/last-remediation": "{}"});
    let cases = metadata.iter().flat_map(|case| [(&node, "metadata", case), (&status, "metadata", case)]);
    let cases = cases.chain(spec.iter().map(|case| (&node, "spec", case)));
    for (path, part, (field, body)) in cases.chain(of_status.iter().map(|case| (&status, "status", case))) {
        account.is_denied(path, STRATEGIC, body, &format!("{only} {part}.{field}"));
        // With what is allowed beside it, it is no better.
        let mut beside = body.clone();
        beside["metadata"]["annotations"] = ours.clone();
        if path == &node {
            beside["spec"]["unschedulable"] = true.into();
        }
        account.is_denied(path, STRATEGIC, &beside, &format!("{only} {part}.{field}"));
    }
    for (name, value) in [
        ("example.com/new", json!("x")),
        ("example.com/a", json!("c")),
        ("example.com/a", Value::Null),
        ("weave.works/kured-node-lock", json!("x")),
        ("sciuro.dev/keep-cordoned", json!("x")),
        ("sciuro.dev/remediation-too", json!("x")),
    ] {
        let body = json!({"metadata": {"annotations": {name: value, "sciuro.dev/last-remediation": "{}"}}});
        for path in [&node, &status] {
            account.is_denied(path, STRATEGIC, &body, &format!("its own annotations only, not {name}"));
        }
    }
    assert_eq!(kept(), before);

    // What a remediation writes, and takes away again.
    let write = |value: Value| {
        json!({"metadata": {"annotations": {"sciuro.dev/remediation": value, "sciuro.dev/abort": value,
            "sciuro.dev/last-remediation": value}}, "spec": {"unschedulable": if value.is_null() { Value::Null } else { true.into() }}})
    };
    for value in [json!("{}"), Value::Null] {
        account.is_allowed(&node, "application/merge-patch+json", &write(value));
    }
    assert_eq!(kept(), before);
    // Nobody else is concerned.
    world.request("PATCH", &path, STRATEGIC, &json!({"metadata": {"labels": {"example.com/l": "d"}}}));
}

fn f9_c2_conditions_of_others_are_denied(world: &World) {
    let account = Account::new(world);
    let node = world.node("w1");
    let status = format!("{node}/status");
    let condition =
        |kind: &str, value: &str| json!({"type": kind, "status": value, "reason": "R", "message": "m"});
    let ours = |value: &str| condition("SciuroRemediation", value);
    let body = |conditions: Value| json!({"status": {"conditions": conditions}});
    let others = "the condition SciuroRemediation only, and neither add, change, remove nor move others";
    account.is_allowed(&status, STRATEGIC, &body(json!([ours("True")])));
    for one in [
        condition("Other", "True"),
        condition(&world.condition_type("DiskFailing"), "True"),
        condition("SciuroRemediationToo", "True"),
        condition("sciuroremediation", "True"),
        condition("", "True"),
        condition("Ready", "Unknown"),
        json!({"type": "Ready", "message": "all is well, believe me"}),
        json!({"type": "Ready", "$patch": "delete"}),
    ] {
        account.is_denied(&status, STRATEGIC, &body(json!([one, ours("False")])), others);
    }
    let all = world.get_node(&node)["status"]["conditions"].as_array().unwrap().clone();
    let at = |kind: &str| {
        let index = all.iter().position(|condition| condition["type"] == kind).unwrap();
        format!("/status/conditions/{index}")
    };
    let (ready, disk, own) = (at("Ready"), at("DiskPressure"), at("SciuroRemediation"));
    let is_there = json!({"op": "test", "path": format!("{ready}/type"), "value": "Ready"});
    for attack in [
        json!({"op": "add", "path": "/status/conditions/-", "value": condition("Ready", "True")}),
        json!({"op": "add", "path": "/status/conditions/0", "value": condition("Ready", "True")}),
        json!({"op": "move", "from": ready, "path": disk}),
        json!({"op": "replace", "path": format!("{ready}/type"), "value": "SciuroRemediation"}),
        json!({"op": "replace", "path": format!("{own}/type"), "value": "Ready"}),
        json!({"op": "remove", "path": "/status/conditions"}),
    ] {
        account.is_denied(&status, JSON_PATCH, &json!([is_there, attack]), others);
    }
    account.is_allowed(&status, STRATEGIC, &body(json!([{"type": "SciuroRemediation", "$patch": "delete"}])));
    assert!(!is_under_way(world, &node));
}

/// An expression that costs too much denies everything (the budget is spent while it runs).
fn f9_c2_the_policy_can_afford_large_nodes(world: &World) {
    let account = Account::new(world);
    let node = world.bare_node("large");
    let mut conditions = world.get_node(&node)["status"]["conditions"].as_array().unwrap().clone();
    conditions.extend((0..2000).map(|number| {
        json!({"type": format!("Foreign{number}"), "status": "False", "reason": "R", "message": "m".repeat(200)})
    }));
    let image = |number: usize| json!({"names": [format!("registry.example.com/{number}/{}", "x".repeat(200))], "sizeBytes": 1});
    let images: Vec<Value> = (0..1000).map(image).collect();
    let status = json!({"status": {"conditions": conditions, "images": images}});
    world.patch_status(&node, "application/merge-patch+json", &status);
    // 240 of the 256 KiB that all annotations together may have, and as many labels.
    let many = |value: &str| -> serde_json::Map<String, Value> {
        (0..1000).map(|number| (format!("example.com/a{number}"), value.into())).collect()
    };
    let metadata =
        json!({"metadata": {"annotations": many(&"v".repeat(225)), "labels": many(&"v".repeat(60))}});
    world.request("PATCH", &format!("/api/v1/nodes/{node}"), "application/merge-patch+json", &metadata);

    let cordon = json!({"metadata": {"annotations": {"sciuro.dev/remediation": "{}"}}, "spec": {"unschedulable": true}});
    account.is_allowed(&node, STRATEGIC, &cordon);
    let ours = json!({"type": "SciuroRemediation", "status": "True"});
    account.is_allowed(&format!("{node}/status"), STRATEGIC, &json!({"status": {"conditions": [ours]}}));
    let annotation = json!({"metadata": {"annotations": {"example.com/a7": "x"}}});
    account.is_denied(&node, STRATEGIC, &annotation, "its own annotations only, not example.com/a7");
}

/// As deploy/README.md tells: then not even an administrator of that group may do more.
fn f9_c2_the_policy_can_be_for_a_group(world: &World) {
    let account = Account::new(world);
    let Account { copy, .. } = &account;
    let for_a_group = r#"expression: "'oncall' in request.userInfo.groups""#;
    let readme = std::fs::read_to_string(copy.path("deploy/README.md")).unwrap();
    assert!(readme.contains(for_a_group));
    let manifest = std::fs::read_to_string(copy.path("deploy/remediate-rbac.yaml")).unwrap();
    let for_the_account = format!(
        "expression: request.userInfo.username == 'system:serviceaccount:{0}:{0}-remediate'",
        copy.id
    );
    assert!(manifest.contains(&for_the_account));
    let group = format!("{}-oncall", copy.id);
    let changed = manifest.replace(&for_the_account, &for_a_group.replace("oncall", &group));
    std::fs::write(copy.path("deploy/remediate-rbac.yaml"), changed).unwrap();
    copy.kubectl(&["apply", "-f", "deploy/remediate-rbac.yaml"]).exits(0);

    let person = Account { client: world.client_as("somebody", &[&group, "system:masters"]), ..account };
    let node = world.bare_node("w1");
    let taint = json!({"spec": {"taints": [{"key": "example.com/n", "effect": "NoExecute"}]}});
    eventually("a policy for the group", || {
        person.patch(&format!("{node}?dryRun=All"), STRATEGIC, &taint).contains("not spec.taints")
    });
    person.is_allowed(&node, STRATEGIC, &json!({"spec": {"unschedulable": true}}));
}
