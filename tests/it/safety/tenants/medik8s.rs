//! A namespace that is called as medik8s' is anybody's to make.

use jiff::Timestamp;
use serde_json::Value;

use crate::medik8s::{install, put};
use crate::support::{Cluster, Run, World};

#[test]
fn sandbox_c5_a_tenants_namespace_keeps_nobody_off_a_node() {
    c5_a_tenants_namespace_keeps_nobody_off_a_node(&World::sandbox());
}

mod control_plane {
    use super::*;

    /// One of its own: what is installed there concerns every run.
    #[test]
    fn c5_a_tenants_namespace_keeps_nobody_off_a_node() {
        let cluster = Cluster::start();
        super::c5_a_tenants_namespace_keeps_nobody_off_a_node(&World::on(&cluster.kubeconfig()));
    }
}

fn c5_a_tenants_namespace_keeps_nobody_off_a_node(world: &World) {
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    for node in &nodes {
        put(world, node, "tenant", Timestamp::now());
    }
    let cordon = |node: &str, more: &[&str]| -> Run {
        let flags = ["--until", "cordon", "--reboot-method", "manual", "--max-unavailable", "100%", "--yes"];
        world.run(&[&["remediate", node][..], &flags, more].concat())
    };
    let is_cordoned = |node: &str| world.get_node(node)["spec"]["unschedulable"] == true;
    cordon(&nodes[0], &[]).exits(0).never_says("medik8s");
    assert!(is_cordoned(&nodes[0]));

    install(world);
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/medik8s-leases/leases/node-{}", nodes[1]);
    let holder =
        || world.request("GET", &path, "application/json", &Value::Null)["spec"]["holderIdentity"].clone();
    cordon(&nodes[1], &[])
        .exits(3)
        .says("foreign-owner: medik8s has it: tenant holds the Lease medik8s-leases/node-w2");
    assert!(!is_cordoned(&nodes[1]));
    cordon(&nodes[1], &["--override", "foreign-owner"]).exits(0);
    assert!(is_cordoned(&nodes[1]));
    assert_eq!(holder(), "tenant", "theirs all the time");
}
