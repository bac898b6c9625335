//! Services that speak TLS at a port whose name does not say so: the Prometheus Operator's with `web.tlsConfig`, and others.

use std::net::SocketAddr;
use std::process::Command;

use ::sandbox::{Authority, Front, Identity};
use serde_json::json;
use tempfile::TempDir;

use crate::services::{SERVICES, SLICES, create_pod, endpoint, service, slice};
use crate::sources::real::{binary, free_port, tls_alertmanager};
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios!(t15_d10_a_service_that_speaks_tls_at_a_port_called_web);

/// Ours in front of the double, or a real Alertmanager that speaks TLS itself, with an alert about the node.
fn alerting(
    world: &World,
    identity: &Identity,
    config: &str,
    node: &str,
) -> (SocketAddr, Box<dyn std::any::Any>) {
    if world.doubles.is_some() {
        world.alert(&[("alertname", "X"), ("node", node)], "", true);
        let front = Front::tls(world.alertmanager_url(), identity, None);
        return (front.address(), Box::new(front));
    }
    let directory = TempDir::new().expect("a folder");
    let port = free_port();
    let server = tls_alertmanager(directory.path(), &identity.certificate, &identity.key, port);
    let amtool = |arguments: &[&str]| {
        let mut command = Command::new(binary("amtool"));
        command.args(arguments).arg(format!("--alertmanager.url=https://127.0.0.1:{port}"));
        command.arg(format!("--http.config.file={config}")).output().expect("amtool")
    };
    eventually("an Alertmanager", || amtool(&["cluster", "show"]).status.success());
    let labels = [format!("node={node}"), format!("test={}", world.id())];
    let added = amtool(&["alert", "add", "alertname=X", "notify=node-condition-k8s", &labels[0], &labels[1]]);
    assert!(added.status.success(), "{added:?}");
    (SocketAddr::from(([127, 0, 0, 1], port)), Box::new((server, directory)))
}

fn t15_d10_a_service_that_speaks_tls_at_a_port_called_web(world: &World) {
    let (node, name) = (world.bare_node("w1"), world.name("am"));
    let authority = Authority::new("service authority");
    let identity = authority.issue(&[&format!("{name}.default.svc"), "alerts.example"]);
    let ca = world.file("ca.crt", &authority.certificate);
    let config = |name: &str, more: &str| {
        world.file(name, &format!("tls_config: {{ca_file: {}{more}}}", ca.display())).display().to_string()
    };
    let named = config("named.yaml", ", server_name: alerts.example");
    let (to, _kept) = alerting(world, &identity, &named, &node);
    let pod = create_pod(world, &node);
    world.forward(&node, &pod.name, 9093, to);
    world.create(SERVICES, &service(&name, &json!({})));
    let endpoint = endpoint(&pod.name, "10.1.0.7", true);
    world.create(SLICES, &slice(&world.name("s"), &name, "IPv4", &json!([endpoint])));
    let plain = format!("svc://default/{name}");
    let address = format!("svc+https://default/{name}");
    let sync = |more: &[&str]| world.sync(&[&["--dry-run", "--alertmanager"], more].concat());
    let added = "node/w1 condition/AlertManager_X True (added) (dry run)";
    // Its certificate is for the Service, unless the configuration says another name.
    for config in [config("ca.yaml", ""), named.clone()] {
        sync(&[&address, "--http-config", &config]).exits(0).prints(added);
        sync(&[&format!("{address}:web"), "--http-config", &config]).exits(0).prints(added);
    }
    let other = config("other.yaml", ", server_name: nobody.example");
    for refused in [&[&address[..]][..], &[&address, "--http-config", &other]] {
        sync(refused)
            .exits(11)
            .prints("")
            .says("cannot reach svc+https://default/am/am-0 (https://10.1.0.7:9093/api/v2/status): invalid peer certificate")
            .says("hint: does it speak TLS, with a certificate for am.default.svc?");
    }
    let spoken = sync(&[&plain]).exits(11).prints("");
    if world.doubles.is_none() {
        spoken.says("hint: it speaks TLS: svc+https://default/am");
    }
    let source =
        ["--receiver=node-condition-k8s", "--warmup=0", "--http-config", &named, "--alertmanager", &address];
    let check = world.run(&[&["check", "--for=sync"], &source[..]].concat());
    assert!(check.stdout.contains("alert source svc+https://default/am/am-0"), "{check:#?}");
}

/// On the sandbox only: a real API server takes no endpoint on loopback.
#[test]
fn t15_d10_pods_that_speak_tls_are_reached_directly_too() {
    let world = World::sandbox();
    let node = world.bare_node("w1");
    let authority = Authority::new("service authority");
    let front = Front::tls(world.alertmanager_url(), &authority.issue(&["am.default.svc"]), None);
    let ca = world.file("ca.crt", &authority.certificate);
    let config = world.file("http.yaml", &format!("tls_config: {{ca_file: {}}}", ca.display()));
    world.create(SERVICES, &service("am", &json!({})));
    let mut slice = slice("s", "am", "IPv4", &json!([endpoint("am-0", "127.0.0.1", true)]));
    slice["ports"][1]["port"] = front.address().port().into();
    world.create(SLICES, &slice);
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    let sync = |address: &str| {
        let config = config.display().to_string();
        world.sync(&["--via", "direct", "--alertmanager", address, "--http-config", &config])
    };
    sync("svc+https://default/am").exits(0).prints("node/w1 condition/AlertManager_X True (added)");
    sync("svc://default/am").exits(11);
    sync("svc+https://default")
        .exits(2)
        .says("svc+https:// if it speaks TLS")
        .says("hint: svc+https://monitoring/alertmanager-operated");
    sync("svc://default").exits(2).says("hint: svc://monitoring/alertmanager-operated");
    for none in
        ["svc+http://default/am", "SVC+HTTPS://default/am", "SVC://default/am", "svc+tls://default/am"]
    {
        sync(none).exits(2).says("svc://NAMESPACE/SERVICE or svc+https://NAMESPACE/SERVICE");
    }
}
