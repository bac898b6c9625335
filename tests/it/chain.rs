//! The whole chain, real from end to end: an exporter's page, Prometheus and its rule, Alertmanager and its route, sync,
//! the API server. The names are the article's.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{Run, World, run, seconds_ago};

const NODE: &str = "worker1a";
const CONDITION: &str = "AlertManager_CalicoTooManyInterfacesEarly";

/// Serves a page with this many Calico interfaces of `worker1a`, and returns its port.
fn exporter(interfaces: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { continue };
            let _request = connection.read(&mut [0; 4096]);
            let mut page = String::new();
            for number in 0..interfaces.load(Ordering::Relaxed) {
                writeln!(page, "node_network_info{{device=\"cali{number:011x}\",node=\"{NODE}\"}} 1")
                    .unwrap();
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length:";
            let _gone = write!(connection, "{head} {}\r\n\r\n{page}", page.len());
        }
    });
    port
}

/// Waits until the Alertmanager lists the alert, or no longer does.
fn wait_for_alert(world: &World, fires: bool) {
    let url = format!(
        "{}/api/v2/alerts?filter=alertname=%22CalicoTooManyInterfacesEarly%22&filter=prometheus=%22k8s-a%22",
        world.alertmanager_url()
    );
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let alerts: Value = world.block_on(async {
            let answer = reqwest::get(&url).await.unwrap().bytes().await.unwrap();
            serde_json::from_slice(&answer).unwrap()
        });
        if alerts.as_array().is_some_and(|alerts| alerts.is_empty() != fires) {
            return;
        }
        assert!(Instant::now() < deadline, "the alert does not reach this state: {alerts}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// As in the article: no prefix, no Lease name of a test's own. The filter keeps other tests' alerts away.
fn sync(world: &World) -> Run {
    let arguments = [
        "sync",
        "--warmup=0",
        "--alertmanager",
        world.alertmanager_url(),
        "--receiver",
        "node-condition-k8s",
    ];
    run(world.command(&arguments).args(["--filter", r#"prometheus="k8s-a""#, NODE]))
}

fn condition(world: &World) -> Option<Value> {
    let node = world.get_node(NODE);
    let conditions = node["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == CONDITION).cloned()
}

fn age(world: &World, mut condition: Value, age: SignedDuration) -> Value {
    condition["lastHeartbeatTime"] = seconds_ago(age).into();
    condition["lastTransitionTime"] = seconds_ago(age).into();
    world.patch_status(
        NODE,
        "application/strategic-merge-patch+json",
        &json!({"status": {"conditions": [condition]}}),
    );
    self::condition(world).unwrap()
}

mod control_plane {
    #[test]
    fn the_articles_example_from_end_to_end() {
        super::the_articles_example_from_end_to_end(&crate::support::World::control_plane());
    }
}

fn the_articles_example_from_end_to_end(world: &World) {
    let interfaces = Arc::new(AtomicUsize::new(160));
    let port = exporter(Arc::clone(&interfaces));
    let targets =
        Path::new(&std::env::var("PROMETHEUS_TARGETS").expect("a real Prometheus")).join("worker1a.json");
    std::fs::write(&targets, json!([{"targets": [format!("127.0.0.1:{port}")]}]).to_string()).unwrap();
    wait_for_alert(world, true);

    assert_eq!(sync(world).exits(0).stdout, format!("node/{NODE} condition/{CONDITION} True (added)\n"));
    let first = condition(world).unwrap();
    assert_eq!(first["type"], "AlertManager_CalicoTooManyInterfacesEarly");
    assert_eq!(first["status"], "True");
    assert_eq!(first["reason"], "AlertIsFiring");
    assert_eq!(first["message"], "[P6] Kubernetes node worker1a has too many Calico interfaces");
    assert!(first["lastTransitionTime"].is_string());
    assert_eq!(first["lastHeartbeatTime"], first["lastTransitionTime"]);

    // A later run moves only the heartbeat, when it is due.
    let four_minutes = age(world, first.clone(), SignedDuration::from_mins(4));
    sync(world).exits(0).prints("");
    assert_eq!(condition(world).unwrap(), four_minutes);
    let six_minutes = age(world, first, SignedDuration::from_mins(6));
    sync(world).exits(0).prints("");
    let mut confirmed = condition(world).unwrap();
    assert!(confirmed["lastHeartbeatTime"].as_str() > six_minutes["lastHeartbeatTime"].as_str());
    confirmed["lastHeartbeatTime"] = six_minutes["lastHeartbeatTime"].clone();
    assert_eq!(confirmed, six_minutes);

    // The alert ends.
    interfaces.store(100, Ordering::Relaxed);
    wait_for_alert(world, false);
    assert_eq!(sync(world).exits(0).stdout, format!("node/{NODE} condition/{CONDITION} False (was True)\n"));
    let ended = condition(world).unwrap();
    assert_eq!(ended["status"], "False");
    assert_eq!(ended["reason"], "AlertIsNotFiring");
    assert!(ended["lastTransitionTime"].as_str() > six_minutes["lastTransitionTime"].as_str());
    age(world, ended, SignedDuration::from_hours(97));
    assert_eq!(
        sync(world).exits(0).stdout,
        format!("node/{NODE} condition/{CONDITION} deleted (was False)\n")
    );
    assert_eq!(condition(world), None);
    std::fs::remove_file(targets).unwrap();
}
