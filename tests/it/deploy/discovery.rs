//! What components/discovery lets our account read.

use super::{Copy, on_the_control_plane};
use crate::support::{World, command, run};
use crate::watch::eventually;

on_the_control_plane![d9_the_account_may_read_what_leads_to_an_alertmanager];

fn d9_the_account_may_read_what_leads_to_an_alertmanager(world: &World) {
    let copy = Copy::new(world);
    let namespace = format!("{}-monitoring", copy.id);
    copy.kubectl(&["create", "namespace", &namespace]).exits(0);
    let overlay = copy.overlay("resources: [../deploy/base]\ncomponents: [../deploy/components/discovery]\n");
    copy.apply(overlay, &[]);
    let account = copy.kubeconfig();
    for address in [format!("svc://{namespace}/alertmanager-operated"), "auto".to_owned()] {
        let lease = format!("{}-sync", copy.id);
        let arguments = ["check", "--for=sync", "--receiver=r", "--via=direct", "--lease-name", &lease];
        let where_to = ["--alertmanager", &address, "--alertmanager-namespace", &namespace];
        let check = || {
            let mut check = command([&arguments[..], &where_to].concat());
            run(check.env("KUBECONFIG", &account)).stdout
        };
        // The authorizer reads rules from a watch.
        eventually("what the manifest allows", || check().contains("✔ may list endpointslices"));
        let checked = check();
        assert!(checked.contains("✔ may get services") && !checked.contains("not granted"), "{checked}");
    }
}
