//! Services of tenants that would like to be the Alertmanager, or to have a port of another namespace's pod forwarded.

use serde_json::json;

use crate::support::{World, scenarios};

scenarios![
    c3_auto_looks_only_where_it_is_told,
    c3_credentials_are_for_namespaces_that_were_named,
    c3_endpoints_in_another_namespace_are_refused,
];

const RECEIVER: [&str; 3] = ["--receiver=node-condition-k8s", "--warmup=0", "--via=port-forward"];

/// A tenant's Service that is labelled as an Alertmanager, before a pod of this namespace.
fn alertmanager(world: &World, of: &str) -> String {
    let namespace = world.namespace("tenant");
    let labels = json!({"app.kubernetes.io/name": "alertmanager"});
    let spec = json!({"clusterIP": "None", "ports": [{"name": "web", "port": 9093, "protocol": "TCP"}]});
    let service = json!({"metadata": {"name": "am", "labels": labels}, "spec": spec});
    world.create(&format!("/api/v1/namespaces/{namespace}/services"), &service);
    let of = if of.is_empty() { &namespace } else { of };
    let endpoint = json!({"addresses": ["10.1.0.7"], "conditions": {"ready": true},
        "targetRef": {"kind": "Pod", "namespace": of, "name": "etcd-1"}});
    let slice = json!({"metadata": {"name": "am-1", "labels": {"kubernetes.io/service-name": "am"}}, "addressType": "IPv4",
        "endpoints": [endpoint], "ports": [{"name": "web", "port": 9093, "protocol": "TCP"}]});
    world.create(&format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"), &slice);
    namespace
}

fn c3_auto_looks_only_where_it_is_told(world: &World) {
    let namespace = alertmanager(world, "");
    let auto = [&["--alertmanager", "auto"][..], &RECEIVER].concat();
    let none = "--alertmanager auto: no Service in monitoring is called alertmanager-operated";
    world.sync(&auto).exits(11).says(none).says("--alertmanager-namespace");
    let namespaces = format!("monitoring,{namespace}");
    let here = [&auto[..], &["--alertmanager-namespace", &namespaces]].concat();
    let found = format!("--alertmanager auto takes svc://{}/am", world.short(&namespace));
    let run = world.sync(&here);
    assert!(run.stderr.contains(&found), "{}", run.stderr);
}

fn c3_credentials_are_for_namespaces_that_were_named(world: &World) {
    let namespace = alertmanager(world, "");
    let http = world.file("http.yaml", "basic_auth: {username: sync, password: hunter2}\n");
    let auto = [&["--alertmanager", "auto", "--http-config", http.to_str().unwrap()][..], &RECEIVER].concat();
    world
        .sync(&auto)
        .exits(2)
        .says("say to whom the credentials may be sent")
        .says("hint: --alertmanager-namespace monitoring");
    let named = [&auto[..], &["--alertmanager-namespace", &namespace]].concat();
    world.sync(&named).says(&format!("--alertmanager auto takes svc://{}/am", world.short(&namespace)));
}

fn c3_endpoints_in_another_namespace_are_refused(world: &World) {
    let namespace = alertmanager(world, "kube-system");
    let address = format!("svc://{namespace}/am");
    let source = [&["--alertmanager", &address][..], &RECEIVER].concat();
    let why = format!("svc://{}/am has endpoints in another namespace: kube-system", world.short(&namespace));
    world.sync(&source).exits(11).says(&why);
    let direct = [&source[..], &["--via=direct"]].concat();
    world.sync(&direct).exits(11).says(&why);
    if world.doubles.is_some() {
        let requests = world.api().requests();
        assert!(!requests.iter().any(|request| request.path.ends_with("/portforward")));
    }
}
