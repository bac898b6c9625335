#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)] // tests, and their objects are made for one call

use serde_json::{Value, json};

use super::*;

fn key(port: &str) -> ServiceKey {
    let port = (!port.is_empty()).then(|| port.to_owned());
    ServiceKey { tls: false, namespace: "mon".into(), name: "am".into(), port }
}

fn service(ports: Value) -> Service {
    named("mon", "am", json!({"ports": ports}))
}

fn named(namespace: &str, name: &str, spec: Value) -> Service {
    serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})).unwrap()
}

fn slice(family: &str, ports: Value, endpoints: Value) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": {"name": "am-x"}, "addressType": family, "ports": ports, "endpoints": endpoints,
    }))
    .unwrap()
}

fn endpoint(pod: &str, address: &str, conditions: Value) -> Value {
    json!({"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "namespace": "mon", "name": pod}})
}

/// The Prometheus Operator's own ports.
fn operated() -> Value {
    json!([{"name": "web", "port": 9093}, {"name": "tcp-mesh", "port": 9094},
        {"name": "udp-mesh", "port": 9094, "protocol": "UDP"}])
}

#[track_caller]
fn chooses(ports: Value, port: &str, expected: &str) {
    let chosen = choose_port(&service(ports), &[], &key(port)).unwrap();
    assert_eq!(chosen, Port::Named(expected.to_owned()));
}

#[test]
fn the_port_is_the_only_one_or_called_web_or_the_one_that_is_named() {
    chooses(json!([{"port": 80}]), "", "");
    chooses(json!([{"name": "x", "port": 80}, {"name": "y", "port": 81, "protocol": "UDP"}]), "", "x");
    chooses(operated(), "", "web");
    chooses(json!([{"name": "http", "port": 1}, {"name": "http-web", "port": 2}]), "", "http-web");
    chooses(operated(), "tcp-mesh", "tcp-mesh");
    chooses(operated(), "9093", "web");
    chooses(json!([{"name": "x", "port": 80, "targetPort": 9093}, {"name": "y", "port": 9093}]), "9093", "y");
}

#[test]
fn a_number_may_be_the_pods_own() {
    let slices = [slice("IPv4", json!([{"name": "http", "port": 9093}]), json!([]))];
    let service = service(json!([{"name": "http", "port": 80}, {"name": "other", "port": 81}]));
    assert_eq!(choose_port(&service, &slices, &key("9093")).unwrap(), Port::Number(9093));
}

#[track_caller]
fn refuses(service: &Service, port: &str, expected: &[&str]) {
    let error = choose_port(service, &[], &key(port)).unwrap_err();
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_port_that_nobody_can_mean_is_explained() {
    let two = json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]);
    refuses(
        &service(two.clone()),
        "",
        &["error: the Service mon/am has 2 TCP ports", "hint: svc://mon/am:PORT, where PORT is one of a, b"],
    );
    refuses(
        &service(two),
        "web",
        &[
            "error: the Service mon/am has no TCP port web",
            "hint: svc://mon/am:PORT, where PORT is one of a, b",
        ],
    );
    refuses(
        &service(json!([])),
        "",
        &["error: the Service mon/am has 0 TCP ports", "hint: kubectl describe service -n mon am"],
    );
    refuses(
        &named("mon", "am", json!({"type": "ExternalName", "externalName": "am.example"})),
        "",
        &[
            r#"error: svc://mon/am has no endpoints: it stands for the name "am.example""#,
            "hint: --alertmanager http://am.example:9093",
        ],
    );
}

fn ready(slices: &[EndpointSlice]) -> (Vec<String>, usize) {
    let (endpoints, unready) = ready_endpoints(slices, &Port::Named("web".into()), &key(""));
    (endpoints.iter().map(|one| format!("{} {}", one.shown, one.base_url())).collect(), unready)
}

#[test]
fn each_ready_pod_is_one_endpoint() {
    let web = json!([{"name": "tcp-mesh", "port": 9094}, {"name": "web", "port": 9093}]);
    let slices = [
        slice(
            "IPv6",
            web.clone(),
            json!([endpoint("am-0", "fd00::7", json!({})), endpoint("am-9", "fd00::9", json!({}))]),
        ),
        slice(
            "IPv4",
            web.clone(),
            json!([
                endpoint("am-1", "10.1.0.8", json!({"ready": true, "serving": true, "terminating": false})),
                endpoint("am-0", "10.1.0.7", json!({"ready": null})),
                endpoint("am-2", "10.1.0.9", json!({"ready": false})),
                // Published although it is not ready.
                endpoint("am-3", "10.1.0.10", json!({"ready": true, "serving": false})),
            ]),
        ),
        // A port of the same name may have another number behind it, and no pod need stand there.
        slice("IPv4", json!([{"name": "web", "port": 19093}]), json!([{"addresses": ["10.1.0.11"]}])),
        slice(
            "IPv4",
            json!([{"name": "other", "port": 1}]),
            json!([endpoint("am-4", "10.1.0.12", json!({}))]),
        ),
        slice("FQDN", web, json!([{"addresses": ["am.example"]}])),
    ];
    let expected = [
        "svc://mon/am/10.1.0.11 http://10.1.0.11:19093",
        "svc://mon/am/am-0 http://10.1.0.7:9093",
        "svc://mon/am/am-1 http://10.1.0.8:9093",
        "svc://mon/am/am-9 http://[fd00::9]:9093",
    ];
    assert_eq!(ready(&slices), (expected.map(str::to_owned).to_vec(), 2));
    let reversed: Vec<EndpointSlice> = slices.into_iter().rev().collect();
    assert_eq!(ready(&reversed).0, expected);
}

#[test]
fn a_port_that_says_https_is_asked_so() {
    let slices = [slice(
        "IPv4",
        json!([{"name": "web", "port": 443, "appProtocol": "https"}]),
        json!([endpoint("am-0", "10.1.0.7", json!({}))]),
    )];
    assert_eq!(ready(&slices).0, ["svc://mon/am/am-0 https://10.1.0.7:443"]);
}

fn found(operated: &[Service], labelled: &[Service]) -> Vec<String> {
    alertmanagers(operated, labelled).iter().map(ToString::to_string).collect()
}

#[test]
fn of_the_services_of_one_alertmanager_one_is_taken() {
    let ports = json!([{"name": "web", "port": 9093}]);
    let service = |namespace: &str, name: &str, cluster_ip: &str, instance: &str| {
        let selector = json!({"app": instance});
        named(namespace, name, json!({"ports": ports, "clusterIP": cluster_ip, "selector": selector}))
    };
    // kube-prometheus: the operator's own Service, and the one that the manifests add.
    assert_eq!(
        found(
            &[service("mon", "alertmanager-operated", "None", "am")],
            &[
                service("mon", "alertmanager-main", "10.96.0.1", "am"),
                service("mon", "alertmanager-operated", "None", "am"),
            ],
        ),
        ["svc://mon/alertmanager-operated"]
    );
    // prometheus-community's chart of Alertmanager alone.
    assert_eq!(
        found(&[], &[service("am", "x", "10.96.0.1", "x"), service("am", "x-headless", "None", "x")]),
        ["svc://am/x-headless"]
    );
    assert_eq!(
        found(
            &[service("mon", "alertmanager-operated", "None", "am")],
            &[service("b", "two", "None", "two"), service("b", "one", "10.96.0.1", "one")],
        ),
        ["svc://b/one", "svc://b/two", "svc://mon/alertmanager-operated"]
    );
    assert_eq!(
        found(&[], &[named("a", "away", json!({"type": "ExternalName"})), named("a", "none", json!({}))]),
        [""; 0]
    );
}
