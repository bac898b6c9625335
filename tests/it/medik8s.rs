//! A node belongs to one operator at a time, medik8s' among them.

use serde_json::{Value, json};

use crate::support::{Fleet, Run, World};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/medik8s-leases/leases";

fn cordon(world: &World, node: &str) -> Run {
    let flags = ["--until", "cordon", "--reboot-method", "manual", "--max-unavailable", "100%", "--yes"];
    world.run(&[&["remediate", node][..], &flags].concat())
}

/// The custom resources of one of its operators; the double serves none, but can say so.
pub fn install(world: &World) {
    if world.doubles.is_some() {
        return serve(world, "self-node-remediation.medik8s.io");
    }
    define(world, "nodemaintenance.medik8s.io", "NodeMaintenance", "Cluster");
    crate::watch::eventually("a group that is served", || {
        world.request("GET", "/apis", "application/json", &Value::Null).to_string().contains("medik8s.io")
    });
}

/// Machines and their health checks, as custom resources of this group.
pub fn install_machines(world: &World, group: &str) {
    define(world, group, "Machine", "Namespaced");
    define(world, group, "MachineHealthCheck", "Namespaced");
}

/// A custom resource of version v1beta1, once it is served.
fn define(world: &World, group: &str, kind: &str, scope: &str) {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test's"}},
        "spec": {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural, "singular": singular},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    world.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd);
    crate::watch::eventually("a resource that is served", || {
        let path = format!("/apis/{group}/v1beta1/{plural}");
        world.try_api("GET", &path, "application/json", &Value::Null).is_ok()
    });
}

/// Lets the double say that it has this group of resources.
fn serve(world: &World, group: &str) {
    let version = json!({"groupVersion": format!("{group}/v1alpha1"), "version": "v1alpha1"});
    let groups = json!({"kind": "APIGroupList", "apiVersion": "v1",
        "groups": [{"name": group, "versions": [version], "preferredVersion": version}]});
    world.api().faults().on("GET", "/apis").body("application/json", groups.to_string());
}

/// Makes its namespace, and Leases of nodes in it.
pub fn put(world: &World, node: &str, holder: &str, renewed: jiff::Timestamp) {
    let namespace = json!({"metadata": {"name": "medik8s-leases"}});
    let _there = world.try_api("POST", "/api/v1/namespaces", "application/json", &namespace);
    let renewed = renewed.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": format!("node-{node}"), "namespace": "medik8s-leases"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 3600, "leaseTransitions": 4, "renewTime": renewed}});
    world.create(LEASES, &lease);
}

fn lease(world: &World, node: &str) -> Value {
    world.request("GET", &format!("{LEASES}/node-{node}"), "application/json", &Value::Null)["spec"].clone()
}

fn is_cordoned(world: &World, node: &str) -> bool {
    world.get_node(node)["spec"]["unschedulable"] == true
}

#[test]
fn sandbox_a_node_that_medik8s_has_is_left_alone() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    install(&world);
    cordon(&world, &nodes[2]).exits(0).never_says("medik8s");

    put(&world, &nodes[0], "self-node-remediation", jiff::Timestamp::now());
    cordon(&world, &nodes[0])
        .exits(3)
        .says("medik8s has it: self-node-remediation holds the Lease medik8s-leases/node-w1")
        .says("--override foreign-owner");
    assert!(!is_cordoned(&world, &nodes[0]));
    assert_eq!(lease(&world, &nodes[0])["holderIdentity"], "self-node-remediation");

    // One that nobody renews is free; ours for the run, and nobody's after it.
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
    put(&world, &nodes[1], "self-node-remediation", long_ago);
    cordon(&world, &nodes[1]).exits(0);
    assert!(is_cordoned(&world, &nodes[1]));
    let after = lease(&world, &nodes[1]);
    assert_eq!((&after["holderIdentity"], &after["leaseTransitions"]), (&json!(""), &json!(5)));
}

fn hold(world: &World, node: &str, holder: &str) {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let patch = json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": 3600, "renewTime": now}});
    let path = format!("{LEASES}/node-{node}");
    world.request("PATCH", &path, "application/merge-patch+json", &patch);
}

/// A node that an operator has taken meanwhile is not rebooted under its hands.
#[test]
fn sandbox_one_that_is_taken_during_the_run_stops_the_order() {
    let world = World::sandbox();
    world.create("/api/v1/namespaces", &json!({"metadata": {"name": "medik8s-leases"}}));
    install(&world);
    let fleet = Fleet::new(&world);
    let namespace = fleet.stubborn_pod();
    let mut running = fleet.begin(&["--force"]);
    fleet.until_in("Draining");
    let ours = lease(&world, &fleet.node)["holderIdentity"].as_str().unwrap().to_owned();
    assert!(ours.starts_with("tester@"), "{ours}");
    hold(&world, &fleet.node, "self-node-remediation");
    fleet.free(&namespace);
    let claim =
        format!("medik8s has it: self-node-remediation holds the Lease medik8s-leases/node-{}", fleet.node);
    running.says(&format!("it was not rebooted: foreign-owner: {claim}; it stays cordoned"));
    running.ends(6);
    fleet.never_rebooted();
    assert!(fleet.is_cordoned());
    assert_eq!(lease(&world, &fleet.node)["holderIdentity"], "self-node-remediation", "not given back");

    let held = format!("the Lease medik8s-leases/node-{} is held by self-node-remediation", fleet.node);
    fleet.remediate(&["--resume"]).exits(9).says(&held).says("--override foreign-owner");
    fleet.never_rebooted();
    hold(&world, &fleet.node, "");
    fleet.remediate(&["--resume"]).exits(0);
    assert_eq!(fleet.orders(), (1, 1));
    assert_eq!(lease(&world, &fleet.node)["holderIdentity"], "");
}

/// A Machine of this node, and who watches over it.
mod machine_health_checks {
    use super::*;

    const OPENSHIFT: &str = "/apis/machine.openshift.io/v1beta1";

    fn plan(world: &World, node: &str) -> Run {
        let flags = ["--dry-run", "--reboot-method", "manual", "--max-unavailable", "100%"];
        world.run(&[&["remediate", node][..], &flags].concat()).exits(0)
    }

    fn machine(name: &str) -> Value {
        json!({"apiVersion": "machine.openshift.io/v1beta1", "kind": "Machine",
            "metadata": {"name": name, "labels": {"role": "worker"}}})
    }

    fn check(name: &str, role: &str) -> Value {
        json!({"apiVersion": "machine.openshift.io/v1beta1", "kind": "MachineHealthCheck", "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": {"role": role}}}})
    }

    fn annotate(world: &World, node: &str, machine: &str) {
        let patch = json!({"metadata": {"annotations": {"machine.openshift.io/machine": machine}}});
        world.request("PATCH", &format!("/api/v1/nodes/{node}"), "application/merge-patch+json", &patch);
    }

    #[track_caller]
    fn is_named(plan: &Run, namespace: &str) {
        let hint =
            format!("kubectl annotate machinehealthchecks.machine.openshift.io -n {namespace} workers");
        assert!(
            plan.stdout.contains(&format!("the MachineHealthCheck {namespace}/workers selects")),
            "{}",
            plan.stdout
        );
        assert!(plan.stdout.contains(&hint) && !plan.stdout.contains("infra"), "{}", plan.stdout);
    }

    #[test]
    fn sandbox_one_that_selects_the_machine_is_named() {
        let world = World::sandbox();
        let nodes = world.nodes(&["w1", "w2"]);
        annotate(&world, &nodes[0], "machines/m-1");
        let silent = plan(&world, &nodes[0]);
        assert!(!silent.stdout.contains("MachineHealthCheck"), "not installed: {}", silent.stdout);
        serve(&world, "machine.openshift.io");
        let faults = world.api().faults();
        let answer = |path: &str, body: &Value| {
            faults
                .on("GET", &format!("{OPENSHIFT}/namespaces/machines/{path}"))
                .body("application/json", body.to_string())
        };
        answer("machines/m-1", &machine("m-1"));
        let checks = format!("{OPENSHIFT}/namespaces/machines/machinehealthchecks");
        let denied = faults.on("GET", &checks).forbid();
        let told = plan(&world, &nodes[0]);
        let cannot = "Warning: cannot tell whether a MachineHealthCheck may replace the node's machine: ";
        assert!(told.stdout.contains(cannot), "forbidden: {}", told.stdout);
        drop(denied);
        world.api().faults().clear();
        serve(&world, "machine.openshift.io");
        answer("machines/m-1", &machine("m-1"));
        answer(
            "machinehealthchecks",
            &json!({"items": [check("workers", "worker"), check("infra", "infra")]}),
        );
        is_named(&plan(&world, &nodes[0]), "machines");
        assert!(!plan(&world, &nodes[1]).stdout.contains("MachineHealthCheck"));
    }

    mod control_plane {
        use super::*;

        #[test]
        fn one_that_selects_the_machine_is_named() {
            let world = World::control_plane();
            let node = world.node("w1");
            let namespace = world.namespace("machines");
            install_machines(&world, "machine.openshift.io");
            let collection = |plural: &str| format!("{OPENSHIFT}/namespaces/{namespace}/{plural}");
            world.create(&collection("machines"), &machine("m-1"));
            world.create(&collection("machinehealthchecks"), &check("workers", "worker"));
            world.create(&collection("machinehealthchecks"), &check("infra", "infra"));
            annotate(&world, &node, &format!("{namespace}/m-1"));
            // The output has this world's names made short.
            is_named(&plan(&world, &node), &world.short(&namespace));
            let paused = json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": ""}}});
            let path = format!("{}/workers", collection("machinehealthchecks"));
            world.request("PATCH", &path, "application/merge-patch+json", &paused);
            assert!(!plan(&world, &node).stdout.contains("MachineHealthCheck"));
        }
    }
}

#[test]
fn sandbox_one_who_may_not_ask_goes_on_and_says_so() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    let [get, post] = [("GET", format!("{LEASES}/*")), ("POST", LEASES.to_owned())];
    let [get, post] = [get, post].map(|(verb, path)| world.api().faults().on(verb, &path).forbid());
    cordon(&world, &nodes[0]).exits(0).never_says("medik8s");
    assert_eq!((get.hits(), post.hits()), (0, 0), "not installed");
    install(&world);
    cordon(&world, &nodes[1]).exits(0).says("not looked at: the Lease medik8s-leases/node-w2 of medik8s: ");
}
