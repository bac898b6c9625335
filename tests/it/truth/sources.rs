//! What alert sources answer.

use std::process::Stdio;
use std::time::Duration;

use ::sandbox::Alertmanager;
use serde_json::json;

use crate::support::World;

const JSON: &str = "application/json";

/// As some proxies and relatives of Alertmanager write it.
#[test]
fn t15_d8_what_is_null_is_not_there() {
    let world = World::sandbox();
    let node = world.node("w1");
    let test = world.id();
    let labels = |name: &str| json!({"alertname": name, "node": node, "test": test});
    let receivers = json!([{"name": "node-condition-k8s"}]);
    let am = world.alertmanager();
    am.set_alerts(vec![
        json!({"labels": labels("NoTexts"), "annotations": null, "status": null, "startsAt": null,
            "updatedAt": null, "receivers": receivers}),
        json!({"labels": labels("NoLists"), "status": {"silencedBy": null, "inhibitedBy": null}, "receivers": receivers}),
        json!({"labels": null, "receivers": receivers}),
    ]);
    let nothing = am.faults().on("GET", "/api/v2/status").body(JSON, r#"{"uptime": null, "cluster": null}"#);
    world.sync(&[]).exits(0).prints(
        "node/w1 condition/AlertManager_NoLists True (added)\nnode/w1 condition/AlertManager_NoTexts True (added)",
    );
    assert_eq!(nothing.hits(), 1);
}

/// The most memory that a round takes, in MiB.
pub(super) fn peak(world: &World, more: &[&str]) -> u64 {
    let mut child =
        world.sync_command(more).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("a run");
    let mut most = 0;
    while child.try_wait().expect("a child").is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(kibibytes.unwrap_or_default() / 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(most > 0, "it was not looked at");
    most
}

/// `deploy/` gives the pod 256 MiB, and kills it beyond.
#[test]
fn t15_d12_no_answer_takes_more_memory_than_there_is() {
    let world = World::sandbox();
    world.node("w1");
    let many = |element: &str, mebibytes: usize| {
        let count = (mebibytes << 20) / (element.len() + 1);
        format!("[{}]", vec![element; count].join(","))
    };
    let pairs: Vec<String> = (0..900).map(|number| format!("\"{number}\":\"\"")).collect();
    for (what, body) in [
        ("alerts of nothing", many(r#"{"labels":{}}"#, 60)),
        ("labels of nothing", many(&format!("{{\"labels\":{{{}}}}}", pairs.join(",")), 60)),
        ("one alert of all labels", format!("[{{\"labels\":{{{}}}}}]", many_pairs(60))),
        (
            "texts",
            many(
                r#"{"labels":{},"annotations":{"runbook":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}"#,
                60,
            ),
        ),
    ] {
        let answered = world.alertmanager().faults().on("GET", "/api/v2/alerts").times(1).body(JSON, body);
        let most = peak(&world, &[]);
        assert_eq!(answered.hits(), 1, "{what}");
        assert!(most < 256, "{what}: {most} MiB");
    }
    let huge = world.alertmanager().faults().on("GET", "/api/v2/alerts").huge(100);
    world.sync(&[]).exits(11).says("the answer is larger than 64 MiB");
    huge.stop();
    let many = many(r#"{"labels":{}}"#, 20);
    let _many = world.alertmanager().faults().on("GET", "/api/v2/alerts").body(JSON, many);
    let too_large = "what is read of all sources takes more than 96 MiB, which is the limit";
    world.sync(&[]).exits(11).says(too_large).never_says("expected JSON").never_says("is this the URL");
    world.alertmanager().faults().clear();
    let labels = format!("[{{\"labels\":{{{}}}}}]", many_pairs(1));
    let _labels = world.alertmanager().faults().on("GET", "/api/v2/alerts").body(JSON, labels);
    let too_many = "the answer is too large: an alert in it has more than 1000 labels or annotations, which is the limit";
    world.sync(&[]).exits(11).says(too_many).never_says("expected JSON").never_says("is this the URL");
}

/// All sources of a round, together.
#[test]
fn t15_d12_several_sources_take_no_more_memory_than_there_is() {
    let world = World::sandbox();
    world.node("w1");
    let sources =
        [Alertmanager::start_blocking(), Alertmanager::start_blocking(), Alertmanager::start_blocking()];
    for source in &sources {
        source.set_receivers(["node-condition-k8s"]);
    }
    let urls: Vec<String> = sources.iter().map(Alertmanager::url).collect();
    let more: Vec<&str> = urls.iter().flat_map(|url| ["--alertmanager", url]).collect();
    let alert = |labels: &str, text: &str| {
        format!(r#"{{"labels":{{{labels}}},"annotations":{{"summary":"{text}"}}}}"#)
    };
    let texts = |length: usize| {
        let one = alert("", &"x".repeat(length));
        format!("[{}]", vec![one; (60 << 20) / (length + 50)].join(","))
    };
    let labels = |length: usize| {
        let one = alert(&format!(r#""a":"{}""#, "x".repeat(length)), "");
        format!("[{}]", vec![one; (60 << 20) / (length + 50)].join(","))
    };
    for (what, body) in [
        ("short texts", texts(200)),
        ("long texts", texts(64 << 10)),
        ("one text", texts(59 << 20)),
        ("labels", labels(4 << 10)),
        ("one label", labels(59 << 20)),
    ] {
        let answers: Vec<_> = sources
            .iter()
            .map(|source| source.faults().on("GET", "/api/v2/alerts").body(JSON, body.clone()))
            .collect();
        let most = peak(&world, &more);
        assert!(answers.iter().all(|answered| answered.hits() > 0), "{what}");
        assert!(most < 256, "{what}: {most} MiB");
        answers.iter().for_each(::sandbox::Fault::stop);
    }
}

fn many_pairs(mebibytes: usize) -> String {
    let pairs: Vec<String> = (0..(mebibytes << 20) / 11).map(|number| format!("\"{number}\":\"\"")).collect();
    pairs.join(",")
}
