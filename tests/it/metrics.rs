//! What `sync --loop` serves.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::looping::start;
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios![a_loop_is_ready_and_tells_what_it_did, a_port_that_is_taken_is_an_error];

/// The status and the text.
pub(crate) fn get(world: &World, url: &str) -> Option<(u16, String)> {
    world.block_on(async {
        let answer = reqwest::get(url).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    })
}

fn a_loop_is_ready_and_tells_what_it_did(world: &World) {
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "hot", true);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut looping = start(world, &["--metrics-addr", &address]);
    assert_eq!(looping.row(), "node/w1 condition/AlertManager_X True (added)");
    let url = format!("http://{address}");
    eventually("readiness", || get(world, &format!("{url}/readyz")).is_some_and(|(status, _)| status == 200));
    assert_eq!(get(world, &format!("{url}/healthz")).unwrap().0, 200);
    let page = || get(world, &format!("{url}/metrics")).unwrap().1;
    eventually("the first round", || page().contains("sciuro_conditions{status=\"True\"} 1\n"));
    let page = page();
    let member = format!("source=\"alertmanager-0\",member=\"{}/\"", world.alertmanager_url());
    for line in [
        &*format!("sciuro_source_up{{{member}}} 1"),
        "sciuro_alerts{source=\"alertmanager-0\",state=\"firing\"} 1",
        "sciuro_condition_transitions_total{from=\"none\",to=\"True\"} 1",
        "sciuro_node_patches_total{result=\"written\"} 1",
        "sciuro_round_state{state=\"full\"} 1",
        "sciuro_leader 1",
    ] {
        assert!(page.lines().any(|found| found == line), "no {line} in {page}");
    }
    assert!(!page.contains(&node), "a series for each node");
    if world.doubles.is_none() {
        prometheus_reads(&page);
    }

    // Who waits for the Lease is ready, too: it must not hold up a rollout.
    let second = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let standby = format!("127.0.0.1:{second}");
    let mut waiting = start(world, &["--metrics-addr", &standby]);
    waiting.says("standing by");
    let url = format!("http://{standby}");
    eventually("readiness", || get(world, &format!("{url}/readyz")).is_some_and(|(status, _)| status == 200));
    assert!(get(world, &format!("{url}/metrics")).unwrap().1.contains("sciuro_leader 0\n"));
    let _output = (waiting.interrupt(), looping.interrupt());
}

/// promtool, which comes with a real Prometheus, finds nothing to mend. It reads the older format, in which the help of a
/// counter stands by the name with `_total`.
fn prometheus_reads(page: &str) {
    use std::io::Write;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}"); // 3: it can be read, and might be better
    assert!(said.lines().all(|line| line.ends_with("_total no help text")), "{said}");
}

fn a_port_that_is_taken_is_an_error(world: &World) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world
        .sync(&["--loop", "--metrics-addr", &address])
        .exits(2)
        .says(&format!("error: --metrics-addr: cannot listen on {address}: Address already in use"))
        .says("hint: ss -ltnp");
}
