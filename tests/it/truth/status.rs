//! What `status` calls firing, and the remediations that it shows.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::schemas::validates;
use crate::status::{record_sync, status};
use crate::support::{World, scenarios, seconds_ago};
use crate::watch::{on_terminal, until, watch};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const STRATEGIC: &str = "application/strategic-merge-patch+json";

scenarios![
    t15_f_a_good_condition_that_is_true_does_not_fire,
    t15_f_a_watch_tells_when_a_good_condition_ends,
    t15_f_remediations_are_shown_of_nodes_that_fire_nothing,
    t15_f_a_watch_tells_of_remediations,
];

fn set(world: &World, node: &str, conditions: &[(&str, &str, i64)]) {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, status, minutes)| {
            let time = seconds_ago(MINUTE * i32::try_from(*minutes).unwrap());
            json!({"type": kind, "status": status, "reason": "Why", "message": format!("{kind} is {status}"),
                "lastHeartbeatTime": time, "lastTransitionTime": time})
        })
        .collect();
    world.patch_status(node, STRATEGIC, &json!({"status": {"conditions": conditions}}));
}

/// The rows' words.
fn words(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn t15_f_a_good_condition_that_is_true_does_not_fire(world: &World) {
    let good = world.node("w1");
    let (bad, lost) = (world.bare_node("w2"), world.bare_node("w3"));
    let others = [
        ("EtcdIsVoter", "True", 60),
        ("NetworkingReady", "False", 90),
        ("example.com/CNIReady", "True", 60),
        ("KernelDeadlock", "False", 60),
    ];
    set(world, &bad, &[("Ready", "False", 12)]);
    set(world, &bad, &others);
    set(world, &lost, &[("Ready", "Unknown", 13)]);
    record_sync(world, MINUTE);

    let ready = ["--condition", "^Ready$", "--exit-code"];
    let of = |node: &str, flags: &[&str]| status(world, &[flags, &[node]].concat());
    of(&good, &ready).exits(0).prints("").says("No firing node conditions found.\n");
    let all = of(&good, &["--all", "--exit-code"]).exits(0).says("No firing node conditions found.\n");
    assert!(words(&all.stdout).iter().any(|line| line.starts_with("w1 - Ready True ")), "{all:?}");
    let not_ready = of(&bad, &ready).exits(10).says("1 condition firing on 1 of 1 node (-: 1)\n");
    assert_eq!(words(&not_ready.stdout)[1..], ["w2 - Ready False 12m Ready is False"]);
    let unknown = of(&lost, &ready).exits(10).says("1 unknown since ").never_says("alerts unavailable");
    assert_eq!(words(&unknown.stdout)[1..], ["w3 - Ready Unknown 13m Ready is Unknown"]);

    // What fires comes first, the older before the younger, and what is fine at the end, whatever its status.
    let kinds = ["--condition", "Ready$|^EtcdIsVoter$|^KernelDeadlock$", "--no-headers"];
    let rows = |run: &str| -> Vec<String> {
        words(run).iter().map(|row| row.split(' ').skip(2).take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(rows(&of(&bad, &kinds).exits(0).stdout), ["NetworkingReady False", "Ready False"]);
    let with_all = [&kinds[..], &["--all"]].concat();
    assert_eq!(
        rows(&of(&bad, &with_all).exits(0).says("2 conditions firing on 1 of 1 node (-: 2)\n").stdout),
        [
            "NetworkingReady False",
            "Ready False",
            "EtcdIsVoter True",
            "KernelDeadlock False",
            "example.com/CNIReady True"
        ]
    );
    // The same as data.
    let document = of(&bad, &[&with_all[..2], &["--all", "-o", "json"]].concat()).exits(0).stdout;
    let report = validates("status-report.json", &document);
    let firing: Vec<(&str, bool)> = report["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["type"].as_str().unwrap(), item["firing"].as_bool().unwrap()))
        .collect();
    assert_eq!(
        firing,
        [
            ("NetworkingReady", true),
            ("Ready", true),
            ("EtcdIsVoter", false),
            ("KernelDeadlock", false),
            ("example.com/CNIReady", false)
        ]
    );
    assert_eq!(of(&good, &["--condition", "^Ready$", "-o", "name"]).exits(0).stdout, "");
    assert_eq!(of(&bad, &["--condition", "^Ready$", "-o", "name"]).exits(0).stdout, "node/w2\n");
    let wide = of(&bad, &["--condition", "^Ready$", "-o", "wide", "--no-headers"]).exits(0);
    assert!(words(&wide.stdout)[0].starts_with("w2 - Ready False 12m NotReady "), "{wide:?}");
    // A condition of an alert fires when it is True, whatever the alert's name is.
    world.seed(&good, "BackupNodeReady", "True", "[P2] ready to be looked at", MINUTE * 12);
    of(&good, &["--exit-code"]).exits(10).says("1 condition firing on 1 of 1 node (P2: 1)");
    of(&good, &["--exit-code", "--all"]).exits(10).says("1 condition firing on 1 of 1 node (P2: 1)");
}

fn t15_f_a_watch_tells_when_a_good_condition_ends(world: &World) {
    let node = world.bare_node("w1");
    set(world, &node, &[("NetworkingReady", "True", 14)]);
    let mut watch = watch(world, &["--condition", "^NetworkingReady$", "--no-headers", &node]);
    watch.says("No firing node conditions found.");
    set(world, &node, &[("NetworkingReady", "False", 13)]);
    assert_eq!(watch.row(), "w1 - NetworkingReady False 13m NetworkingReady is False");
    set(world, &node, &[("NetworkingReady", "True", 12)]);
    assert_eq!(watch.row(), "w1 - NetworkingReady True 12m NetworkingReady is True");
    watch.interrupt();
}

/// With the lines to type, in the footer.
#[test]
fn t15_f_a_remediation_is_drawn_on_a_terminal() {
    let world = World::sandbox();
    let node = world.bare_node("w1");
    let (mut session, _) = on_terminal(&world, 20, "NO_COLOR=1");
    let mut seen = Vec::new();
    let mut shows =
        |part: &str| until(&mut session, &mut seen, 20, |lines| lines.iter().any(|line| line.contains(part)));
    shows("cannot tell");
    annotate(&world, &node, Some(&record("Draining", None, MINUTE * 12, None)));
    let lines = shows("1 unfinished remediation");
    assert!(lines[0].contains(" REMEDIA") && lines[1].starts_with("* "), "{lines:#?}");
    assert!(lines[1].contains(" drain 12m "), "{lines:#?}");
    let short: Vec<String> = lines.iter().map(|line| world.short(line)).collect();
    assert!(
        short.iter().any(|line| line.starts_with("hint: to undo: kubectl sciuro remediate w1 ")),
        "{short:#?}"
    );
    annotate(&world, &node, None);
    until(&mut session, &mut seen, 20, |lines| !lines.iter().any(|line| line.contains("remediat")));
}

const ID: &str = "6f1c9f0e-8a2b-4c6d-9e1f-0a2b3c4d5e6f";

/// A record as a run leaves it.
fn record(state: &str, failed: Option<&str>, age: SignedDuration, why: Option<&str>) -> String {
    let mut record = json!({
        "v": 1, "id": ID, "state": state, "since": seconds_ago(age), "timeout": 0,
        "actor": "alice@ops1", "holder": "alice@ops1#7", "method": "pod", "reason": [],
        "nodeUID": "u", "preBootID": "11111111-2222-4333-8444-555555555555", "wasUnschedulable": false,
    });
    if let Some(failed) = failed {
        record["failedState"] = json!(failed);
    }
    if let Some(why) = why {
        record["lastError"] = json!(why);
    }
    record.to_string()
}

fn annotate(world: &World, node: &str, record: Option<&str>) {
    let patch = json!({"metadata": {"annotations": {"sciuro.dev/remediation": record}}});
    world.request("PATCH", &format!("/api/v1/nodes/{node}"), "application/merge-patch+json", &patch);
}

fn t15_f_remediations_are_shown_of_nodes_that_fire_nothing(world: &World) {
    let [fires, failed, odd, quiet] = ["w1", "w2", "w3", "w4"].map(|short| world.bare_node(short));
    let nodes = [&*fires, &*failed, &*odd, &*quiet];
    world.seed(&fires, "DiskFailing", "True", "[P1] sda", MINUTE * 12);
    record_sync(world, MINUTE);
    annotate(world, &fires, Some(&record("Draining", None, MINUTE * 14, None)));
    let why = "2 of 8 checks do not pass\u{1b}[2J";
    annotate(world, &failed, Some(&record("NeedsHuman", Some("Verifying"), MINUTE * 130, Some(why))));
    annotate(world, &odd, Some(r#"{"v":99}"#));

    let table = status(world, &nodes).exits(0);
    let rows = words(&table.stdout);
    assert_eq!(rows.len(), 4, "{table:?}");
    assert_eq!(rows[0], "NODE PRIORITY CONDITION STATUS AGE REMEDIATION MESSAGE");
    assert_eq!(rows[1], "w1 P1 DiskFailing True 12m drain 14m sda");
    assert_eq!(rows[2], "w2 - - - - verify failed 130m by alice@ops1: 2 of 8 checks do not pass^[[2J");
    assert_eq!(
        rows[3],
        "w3 - - - - unreadable the record cannot be read: its version is 99, and this program reads version 1"
    );
    let told = table
        .says("1 condition firing on 1 of 4 nodes (P1: 1); 3 unfinished remediations; last full sync ")
        .says("node/w2: unfinished remediation by alice@ops1, verify failed 130m ago\n")
        .says("node/w1: unfinished remediation by alice@ops1, at drain for 14m\n")
        .says("node/w3: unreadable record of a remediation\n");
    for node in ["w1", "w2"] {
        for (what, task) in [("to continue", "--resume"), ("to undo", "--abort")] {
            let line =
                format!("hint: {what}: kubectl sciuro remediate {node} {task} --prefix AlertManager_\n");
            assert!(told.stderr.contains(&line), "{line} {told:?}");
        }
    }
    assert!(told.stderr.contains("kubectl annotate node w3 sciuro.dev/remediation-\n"), "{told:?}");

    // Whatever is asked of the conditions; and no such node is remediated once more for it.
    let none = ["--priority", "7", &failed, &quiet];
    status(world, &[&none[..], &["--exit-code"]].concat())
        .exits(0)
        .says("No firing node conditions found; 1 unfinished remediation.\n");
    status(world, &["-o", "name", &failed, &quiet]).exits(0).prints("");
    status(world, &["--condition", "^X$", &failed])
        .exits(0)
        .says("to undo: kubectl sciuro remediate w2 --abort");
    status(world, &[&*quiet]).exits(0).prints("").says("No firing node conditions found.\n");
    // The lines that are to be typed next reach the same place.
    let typed =
        status(world, &["--lease-namespace", "kube-system", "--request-timeout", "20s", &failed]).exits(0);
    assert!(
        typed.stderr.contains("remediate w2 --resume") && typed.stderr.contains("--request-timeout 20s"),
        "{typed:?}"
    );
    assert!(typed.stderr.contains("--lease-namespace kube-system"), "{typed:?}");

    let wide = status(world, &["-o", "wide", &fires, &quiet]).exits(0);
    assert!(words(&wide.stdout)[1].contains(" drain 14m "), "{wide:?}");
    let sorted = status(world, &["--sort-by", "node", "--no-headers", &failed, &fires]).exits(0).stdout;
    assert_eq!(words(&sorted).iter().map(|row| &row[..2]).collect::<Vec<_>>(), ["w1", "w2"]);

    let document = status(world, &[&nodes[..], &["-o", "json"]].concat()).exits(0).stdout;
    let report = validates("status-report.json", &document);
    assert_eq!(report["items"].as_array().unwrap().len(), 1);
    let remediations = report["remediations"].as_array().unwrap();
    let of = |node: &str| remediations.iter().find(|item| item["node"] == node).unwrap();
    assert_eq!(remediations.len(), 3);
    assert_eq!(
        (&of("w2")["id"], &of("w2")["step"], &of("w2")["failed"], &of("w2")["error"], &of("w2")["by"]),
        (&json!(ID), &json!("verify"), &json!(true), &json!(why), &json!("alice@ops1"))
    );
    assert_eq!((&of("w1")["step"], &of("w1")["failed"]), (&json!("drain"), &json!(false)));
    assert!(of("w3")["unreadable"].as_str().unwrap().contains("version is 99"));
}

fn t15_f_a_watch_tells_of_remediations(world: &World) {
    let node = world.bare_node("w1");
    let other = world.bare_node("w2");
    world.seed(&other, "X", "True", "[P2] hot", MINUTE * 12);
    let mut watch = watch(world, &[&node, &other]);
    assert_eq!(watch.row(), "NODE PRIORITY CONDITION STATUS AGE MESSAGE");
    assert_eq!(watch.row(), "w2 P2 X True 12m hot");
    watch.says("1 condition firing on 1 of 2 nodes (P2: 1)");
    annotate(world, &node, Some(&record("Draining", None, MINUTE * 12, None)));
    // The column is new, and so are the headers.
    assert_eq!(watch.row(), "NODE PRIORITY CONDITION STATUS AGE REMEDIATION MESSAGE");
    assert_eq!(watch.row(), "w1 - - - - drain 12m by alice@ops1");
    annotate(world, &node, Some(&record("NeedsHuman", Some("Draining"), MINUTE * 11, Some("no"))));
    assert_eq!(watch.row(), "w1 - - - - drain failed 11m by alice@ops1: no");
    annotate(world, &node, None);
    assert_eq!(watch.row(), "w1 - - - - <gone>");
    annotate(world, &other, Some(&record("WaitBoot", None, MINUTE * 12, None)));
    assert_eq!(watch.row(), "w2 P2 X True 12m wait for the boot 12m hot");
    annotate(world, &other, None);
    assert_eq!(watch.row(), "w2 P2 X True 12m <none> hot");
    watch.interrupt();
}
