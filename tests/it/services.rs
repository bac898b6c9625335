//! Sources inside of the cluster: the endpoints of a Service, and connections to them through the API server.
//!
//! On the real control plane a port-forward goes through the API server to a kubelet double, over TLS.

use std::path::Path;
use std::process::{Command, Stdio};

use ::sandbox::{Authority, Front};
use jiff::SignedDuration;
use sciuro::cli::KubernetesArgs;
use sciuro::cluster::{Cluster, PodKey, ServiceKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Behind, Fleet, World, run, scenarios};

scenarios![
    the_ready_pods_of_a_service_are_found,
    a_service_that_is_not_there,
    the_alertmanager_is_found_if_there_is_one,
    a_pod_that_is_gone,
    who_may_not_is_told_what_is_missing,
    an_alertmanager_answers_through_a_port_forward,
    a_port_that_is_closed_is_named,
    a_connection_that_breaks_ends_and_the_next_one_works,
    more_than_one_buffer_goes_through_unchanged,
    sync_reaches_its_alertmanager_by_port_forward,
    remediate_reaches_its_alertmanager_by_port_forward,
    sync_says_what_a_port_forward_needs,
];

fn cluster(world: &World, user: Option<&str>) -> Cluster {
    connected(world, world.kubeconfig(), user)
}

fn connected(world: &World, kubeconfig: &Path, user: Option<&str>) -> Cluster {
    let args = KubernetesArgs {
        kubeconfig: Some(kubeconfig.to_owned()),
        impersonate: user.map(str::to_owned),
        request_timeout: Some(SignedDuration::from_secs(10)),
        ..KubernetesArgs::default()
    };
    world.block_on(Cluster::connect(&args, |_| {})).unwrap()
}

pub(crate) fn service(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
        "spec": {"clusterIP": "None", "ports": [
            {"name": "web", "port": 9093, "protocol": "TCP"}, {"name": "tcp-mesh", "port": 9094, "protocol": "TCP"}]}})
}

pub(crate) fn slice(name: &str, service: &str, family: &str, endpoints: &Value) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": family, "endpoints": endpoints,
        "ports": [{"name": "tcp-mesh", "port": 9094, "protocol": "TCP"}, {"name": "web", "port": 9093, "protocol": "TCP"}]})
}

pub(crate) fn endpoint(pod: &str, address: &str, ready: bool) -> Value {
    json!({"addresses": [address], "conditions": {"ready": ready},
        "targetRef": {"kind": "Pod", "namespace": "default", "name": pod}})
}

fn key(name: &str, port: Option<&str>) -> ServiceKey {
    ServiceKey { tls: false, namespace: "default".into(), name: name.into(), port: port.map(str::to_owned) }
}

pub(crate) const SERVICES: &str = "/api/v1/namespaces/default/services";
pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

fn the_ready_pods_of_a_service_are_found(world: &World) {
    let (name, other) = (world.name("am"), world.name("other"));
    world.create(SERVICES, &service(&name, &json!({})));
    let v4 = json!([
        endpoint("am-1", "10.1.0.8", true),
        endpoint("am-0", "10.1.0.7", true),
        endpoint("am-2", "10.1.0.9", false)
    ]);
    let v6 = json!([endpoint("am-0", "fd00::7", true), endpoint("am-3", "fd00::a", true)]);
    world.create(SLICES, &slice(&world.name("am-b"), &name, "IPv6", &v6));
    world.create(SLICES, &slice(&world.name("am-a"), &name, "IPv4", &v4));
    world.create(
        SLICES,
        &slice(&world.name("o"), &other, "IPv4", &json!([endpoint("o-0", "10.1.0.99", true)])),
    );
    let found = world.block_on(cluster(world, None).endpoints(&key(&name, None))).unwrap();
    let found: Vec<String> =
        found.iter().map(|one| format!("{} {}", one.shown.replace(&name, "am"), one.base_url())).collect();
    assert_eq!(
        found,
        [
            "svc://default/am/am-0 http://10.1.0.7:9093",
            "svc://default/am/am-1 http://10.1.0.8:9093",
            "svc://default/am/am-3 http://[fd00::a]:9093",
        ]
    );
    let mesh = world.block_on(cluster(world, None).endpoints(&key(&name, Some("tcp-mesh")))).unwrap();
    assert_eq!(mesh[0].base_url(), "http://10.1.0.7:9094");
}

/// The lines of an error, with this world's names made short.
fn lines<T>(world: &World, result: sciuro::error::Result<T>) -> Vec<String> {
    let error = result.err().expect("an error");
    error.lines().map(|line| line.replace(&world.name(""), "")).collect()
}

fn a_service_that_is_not_there(world: &World) {
    let name = world.name("am");
    let ask = || lines(world, world.block_on(cluster(world, None).endpoints(&key(&name, None))));
    assert_eq!(
        ask(),
        ["Error from server (NotFound): services \"am\" not found", "hint: kubectl get services -n default"]
    );
    world.create(SERVICES, &service(&name, &json!({})));
    world.create(
        SLICES,
        &slice(&world.name("s"), &name, "IPv4", &json!([endpoint("am-2", "10.1.0.9", false)])),
    );
    assert_eq!(
        ask(),
        [
            "error: svc://default/am has no ready endpoints; 1 is not ready",
            "hint: kubectl get endpointslices -n default -l kubernetes.io/service-name=am",
        ]
    );
    let user = world.user_who_may(&[]);
    let denied = lines(world, world.block_on(cluster(world, Some(&user)).endpoints(&key(&name, None))));
    assert!(
        denied[0].starts_with("Error from server (Forbidden): services \"am\" is forbidden"),
        "{denied:?}"
    );
    assert_eq!(
        denied[1],
        r#"hint: a Role in default needs the rule: {apiGroups: [""], resources: ["services"], verbs: ["get"]}"#
    );
}

fn the_alertmanager_is_found_if_there_is_one(world: &World) {
    let namespaces = ["default", "kube-public"].map(str::to_owned);
    let find = || world.block_on(cluster(world, None).find_alertmanager(&namespaces));
    let none = lines(world, find());
    assert!(
        none[0].starts_with(
            "error: --alertmanager auto: no Service in default, kube-public is called alertmanager-operated"
        ),
        "{none:?}"
    );
    let label = json!({"app.kubernetes.io/name": "alertmanager"});
    world.create(SERVICES, &service(&world.name("am"), &label));
    assert_eq!(find().unwrap().to_string(), format!("svc://default/{}", world.name("am")));
    // The operator's stands for its whole namespace.
    world.create(SERVICES, &service("alertmanager-operated", &json!({})));
    assert_eq!(find().unwrap().to_string(), "svc://default/alertmanager-operated");
    world.create("/api/v1/namespaces/kube-public/services", &service(&world.name("am2"), &label));
    assert_eq!(
        lines(world, find()),
        [
            "error: --alertmanager auto: there are 2 Alertmanagers; say which",
            "hint: --alertmanager svc://default/alertmanager-operated",
            "hint: --alertmanager svc://kube-public/am2",
        ]
    );
}

fn pod(world: &World) -> PodKey {
    PodKey { namespace: "default".into(), name: world.name("am-0") }
}

/// A pod that nobody runs; deleted with the node that it is bound to.
pub(crate) fn create_pod(world: &World, node: &str) -> PodKey {
    let pod = pod(world);
    world.create(
        "/api/v1/namespaces/default/pods",
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.name}, "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [{"name": "am", "image": "am"}]}}),
    );
    pod
}

fn a_pod_that_is_gone(world: &World) {
    let opened = world.block_on(cluster(world, None).port_forward(&pod(world), 9093));
    assert_eq!(
        lines(world, opened),
        [
            "Error from server (NotFound): pods \"am-0\" not found",
            "hint: it is gone; its Service names another by now",
            "hint: kubectl get pods -n default",
        ]
    );
}

/// A WebSocket needs two permissions, and without the second one the server says nothing but no.
fn who_may_not_is_told_what_is_missing(world: &World) {
    let expected = [
        r#"hint: a Role in default needs the rule: {apiGroups: [""], resources: ["pods/portforward"], verbs: ["get", "create"]}"#,
        "hint: kubectl auth can-i get pods --subresource=portforward -n default",
        "hint: kubectl auth can-i create pods --subresource=portforward -n default",
    ];
    let nothing = world.user_who_may(&[]);
    let opened = world.block_on(cluster(world, Some(&nothing)).port_forward(&pod(world), 9093));
    let said = lines(world, opened);
    assert!(said[0].contains("cannot get resource \"pods/portforward\""), "{said:?}");
    assert_eq!(said[1..], expected);
    let half = world.user_who_may(&[("", "nodes", "list"), ("", "pods/portforward", "get")]);
    let opened = world.block_on(cluster(world, Some(&half)).port_forward(&pod(world), 9093));
    let said = lines(world, opened);
    assert!(said[0].starts_with("Error from server (Forbidden): pods \"am-0\" is forbidden: "), "{said:?}");
    assert_eq!(said[1..], expected);
}

/// The API server calls the kubelet of the pod's node, on a port of loopback where none listens.
mod only {
    mod control_plane {
        use super::super::*;

        #[test]
        fn a_kubelet_that_does_not_answer() {
            let world = World::control_plane();
            let node = world.name("w1");
            world.create(
                "/api/v1/nodes",
                &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "status": {
                    "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}}),
            );
            let pod = create_pod(&world, &node);
            let opened = world.block_on(cluster(&world, None).port_forward(&pod, 9093));
            let said = lines(&world, opened);
            assert_eq!(
                said,
                [
                    "error: cannot reach port 9093 of pod default/am-0 through its kubelet: error dialing backend: dial \
                     tcp 127.0.0.1:1: connect: connection refused",
                    "hint: kubectl get pod -n default am-0 -o wide",
                ]
            );
        }

        #[test]
        fn a_kubelet_gives_the_log_of_a_container_that_has_ended() {
            let world = World::control_plane();
            let pod = forwarded(&world);
            let path = format!("/api/v1/namespaces/default/pods/{}/log?container=am&previous=true", pod.name);
            let log = http::Request::get(path).body(Vec::new()).unwrap();
            let log = world.block_on(world.client().request_text(log)).unwrap();
            assert_eq!(log, format!("previous log of am in default/{}\n", pod.name));
        }
    }
}

/// What is sent and received over one port-forward.
async fn exchange(cluster: &Cluster, pod: &PodKey, port: u16, sent: &str) -> std::io::Result<String> {
    let mut connection = cluster.port_forward(pod, port).await.map_err(std::io::Error::other)?;
    connection.write_all(sent.as_bytes()).await?;
    let mut received = Vec::new();
    connection.read_to_end(&mut received).await?;
    Ok(String::from_utf8_lossy(&received).into_owned())
}

const REQUEST: &str = "GET /api/v2/status HTTP/1.1\r\nHost: am\r\nConnection: close\r\n\r\n";

/// A pod at whose port 9093 the Alertmanager answers.
fn forwarded(world: &World) -> PodKey {
    let node = world.bare_node("w1");
    let pod = create_pod(world, &node);
    let to = world.alertmanager_url().strip_prefix("http://").unwrap().parse().unwrap();
    world.forward(&node, &pod.name, 9093, to);
    pod
}

fn an_alertmanager_answers_through_a_port_forward(world: &World) {
    let pod = forwarded(world);
    let cluster = cluster(world, None);
    for _ in 0..2 {
        let answer = world.block_on(exchange(&cluster, &pod, 9093, REQUEST)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"uptime\""), "{answer}");
    }
}

#[test]
fn each_connection_is_a_request_of_its_own_by_who_we_are() {
    let world = World::sandbox();
    let pod = forwarded(&world);
    let behind = Behind::tls(&world, None);
    let cluster = connected(&world, &behind.kubeconfig("token: sandbox"), None);
    for _ in 0..2 {
        world.block_on(exchange(&cluster, &pod, 9093, REQUEST)).unwrap();
    }
    let requests = world.api().requests();
    let forwards: Vec<_> = requests.iter().filter(|request| request.path.ends_with("/portforward")).collect();
    assert_eq!(forwards.len(), 2);
    assert!(forwards[0].user_agent().starts_with("kubectl-sciuro/"));
    assert_eq!(forwards[0].header("authorization"), "Bearer sandbox");
}

fn a_port_that_is_closed_is_named(world: &World) {
    let pod = forwarded(world);
    let error = world.block_on(exchange(&cluster(world, None), &pod, 9094, REQUEST)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(
        error.to_string().replace(&world.name(""), ""),
        "pod default/am-0 refuses connections to port 9094"
    );
}

fn a_connection_that_breaks_ends_and_the_next_one_works(world: &World) {
    let pod = forwarded(world);
    let cluster = cluster(world, None);
    world.block_on(async {
        let mut connection = cluster.port_forward(&pod, 9093).await.unwrap();
        // Half a request, so that the Alertmanager waits for the rest of it.
        connection.write_all(b"GET /api/v2/status HTTP/1.1\r\n").await.unwrap();
        world.drop_forwards();
        let mut rest = Vec::new();
        let _ends_with_or_without_an_error = connection.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    });
    assert!(world.block_on(exchange(&cluster, &pod, 9093, REQUEST)).is_ok());
}

fn more_than_one_buffer_goes_through_unchanged(world: &World) {
    let pod = forwarded(world);
    let echo = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    world.forward(&world.name("w1"), &pod.name, 1, echo.local_addr().unwrap());
    let sent = "what goes in comes out, ".repeat(60_000);
    let expected = sent.clone();
    std::thread::spawn(move || {
        let (mut stream, _) = echo.accept().unwrap();
        let mut received = vec![0; expected.len()];
        std::io::Read::read_exact(&mut stream, &mut received).unwrap();
        std::io::Write::write_all(&mut stream, &received).unwrap();
    });
    let received = world.block_on(exchange(&cluster(world, None), &pod, 1, &sent)).unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
}

#[test]
fn a_server_without_websockets_is_named() {
    let world = World::sandbox();
    let pod = forwarded(&world);
    let path = format!("/api/v1/namespaces/default/pods/{}/portforward", pod.name);
    let _plain = world.api().faults().on("GET", &path).body("text/html", "<html>proxy</html>");
    let said = lines(&world, world.block_on(cluster(&world, None).port_forward(&pod, 9093)));
    assert!(said[0].contains("does a proxy in between let WebSockets through?"), "{said:?}");
}

/// A Service with a pod behind it, at which the Alertmanager answers, and a node of which it has an alert.
fn alerting_service(world: &World) -> (String, String) {
    let (node, name) = (world.name("w1"), world.name("am"));
    let pod = forwarded(world);
    world.create(SERVICES, &service(&name, &json!({})));
    let endpoint = endpoint(&pod.name, "10.1.0.7", true);
    world.create(SLICES, &slice(&world.name("s"), &name, "IPv4", &json!([endpoint])));
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    (node, format!("svc://default/{name}"))
}

fn sync_reaches_its_alertmanager_by_port_forward(world: &World) {
    let (node, address) = alerting_service(world);
    world.sync(&["--alertmanager", &address]).exits(0);
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
}

fn sync_says_what_a_port_forward_needs(world: &World) {
    let (node, address) = alerting_service(world);
    let user = world.user_who_may(&[
        ("", "nodes", "list"),
        ("coordination.k8s.io", "leases", "get"),
        ("coordination.k8s.io", "leases", "create"),
        ("coordination.k8s.io", "leases", "update"),
        ("", "services", "get"),
        ("discovery.k8s.io", "endpointslices", "list"),
    ]);
    world
        .sync(&["--alertmanager", &address, "--as", &user])
        .exits(11)
        .says("cannot reach svc://default/am/am-0 (http://10.1.0.7:9093/api/v2/status): Error from server (Forbidden): pods")
        .says(r#"hint: a Role in default needs the rule: {apiGroups: [""], resources: ["pods/portforward"], verbs: ["get", "create"]}"#)
        .says("hint: kubectl auth can-i create pods --subresource=portforward -n default");
    if world.doubles.is_some() {
        world.api().allow_all(); // there everybody is the same user
    }
    assert_eq!(world.condition(&node, "X"), None);
}

/// The plan asks it already, so that nobody learns after the reboot that it cannot be asked.
fn remediate_reaches_its_alertmanager_by_port_forward(world: &World) {
    let (node, address) = alerting_service(world);
    world.bare_node("w2");
    world.seed(&node, "X", "True", "[P1] hot", SignedDuration::from_mins(3));
    let (prefix, short) = (world.prefix(), world.short(&address));
    let plan = |address: &str| {
        let run = [
            "remediate",
            &node,
            "--dry-run",
            "--skip=drain",
            "--reboot-method=manual",
            "--max-unavailable=100%",
        ];
        let source =
            ["--prefix", &prefix, "--alertmanager", address, "--receiver=node-condition-k8s", "--warmup=0"];
        world.run(&[&run[..], &source].concat()).exits(0)
    };
    let asked = plan(&address);
    assert!(asked.stdout.contains(&format!("alerts:   have to be gone at {short}\n")), "{asked:#?}");
    let said = [asked.stdout.as_str(), &asked.stderr].concat();
    assert!(!said.contains("could not be verified"), "{asked:#?}");
    let gone = plan("svc://default/no-such-service");
    let said = [gone.stdout.as_str(), &gone.stderr].concat();
    assert!(said.contains("that the alerts are gone could not be verified as it is now: "), "{gone:#?}");
    assert!(said.contains("no-such-service"), "{gone:#?}");
}

/// On the sandbox only: other tests' Services are not to be found there.
#[test]
fn remediate_finds_its_alertmanager_and_verifies_there() {
    let world = World::sandbox();
    let fleet = Fleet::new(&world);
    let pod = create_pod(&world, &fleet.second);
    let to = world.alertmanager_url().strip_prefix("http://").unwrap().parse().unwrap();
    world.forward(&fleet.second, &pod.name, 9093, to);
    world.create(SERVICES, &service("alertmanager-operated", &json!({})));
    let endpoint = endpoint(&pod.name, "10.1.0.7", true);
    world.create(SLICES, &slice("s", "alertmanager-operated", "IPv4", &json!([endpoint])));
    world.seed(&fleet.node, "X", "True", "[P1] hot", SignedDuration::from_mins(3));
    let source = [
        "--alertmanager=auto",
        "--alertmanager-namespace=default",
        "--receiver=node-condition-k8s",
        "--warmup=0",
    ];
    fleet.remediate(&source).exits(0).says("✔ alerts are gone");
    assert_eq!(fleet.orders(), (1, 1));
    assert!(port_forwards(&world) > 0);
}

/// The address of the Alertmanager is that of a pod. On the sandbox only: a real API server takes no endpoint on loopback.
fn directly_alerting_service(world: &World) -> (String, String) {
    let (node, name) = (world.bare_node("w1"), world.name("am"));
    world.create(SERVICES, &service(&name, &json!({})));
    let mut slice = slice("s", &name, "IPv4", &json!([endpoint("am-0", "127.0.0.1", true)]));
    let port: u16 = world.alertmanager_url().rsplit(':').next().unwrap().parse().unwrap();
    slice["ports"][1]["port"] = port.into();
    world.create(SLICES, &slice);
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    (node, format!("svc://default/{name}"))
}

fn port_forwards(world: &World) -> usize {
    world.api().requests().iter().filter(|request| request.path.ends_with("/portforward")).count()
}

#[test]
fn sync_goes_directly_to_the_pods_if_told_so() {
    let world = World::sandbox();
    let (node, address) = directly_alerting_service(&world);
    world.sync(&["--alertmanager", &address, "--via", "direct"]).exits(0);
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
    assert_eq!(port_forwards(&world), 0);
}

/// Where every pod has the files of its account there is a directory of this process alone: that takes a mount namespace.
#[test]
fn in_a_pod_sync_goes_directly_to_the_pods() {
    const AS_IN_A_POD: &str = "account=/var/run/secrets/kubernetes.io/serviceaccount
        mount -t tmpfs none /var/run && mkdir -p $account && cp \"$0\"/* $account && exec \"$@\"";
    let world = World::sandbox();
    let (node, address) = directly_alerting_service(&world);
    let authority = Authority::new("cluster");
    let server = Front::tls(&world.server_url(), &authority.issue(&["127.0.0.1"]), None);
    let account = tempfile::tempdir().unwrap();
    for (name, content) in
        [("ca.crt", authority.certificate.as_str()), ("token", "sandbox"), ("namespace", "sciuro")]
    {
        std::fs::write(account.path().join(name), content).unwrap();
    }
    let sync = world.sync_command(&["--alertmanager", &address]);
    let mut in_pod = Command::new("unshare");
    in_pod.args(["--user", "--map-root-user", "--mount", "sh", "-c", AS_IN_A_POD]).arg(account.path());
    in_pod.arg(sync.get_program()).args(sync.get_args()).stdin(Stdio::null());
    for (name, value) in sync.get_envs().filter(|(name, _)| *name != "KUBECONFIG") {
        match value {
            Some(value) => in_pod.env(name, value),
            None => in_pod.env_remove(name),
        };
    }
    in_pod.env_remove("KUBECONFIG");
    in_pod.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    in_pod.env("KUBERNETES_SERVICE_PORT", server.address().port().to_string());
    run(&mut in_pod).exits(0);
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
    assert_eq!(port_forwards(&world), 0);
}
