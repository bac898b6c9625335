//! Output that is data: programs that no one here wrote read the API's own text from it, and it is as its schema says. Needs jq
//! and `PyYAML`, which `tests/parsers` finds, and the kubectl of the control plane.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use jiff::SignedDuration;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use sciuro::core::invisible::marked;
use serde_json::{Map, Value, json};

use crate::remediate::scene::Scene;
use crate::schemas::validates;
use crate::status::record_sync;
use crate::support::{World, seconds_ago};

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";

/// What terminals obey, what is not seen, what YAML or JavaScript takes for something else.
const TEXTS: [&str; 52] = [
    "\0",
    "\u{1}\u{2}\u{7}\u{8}\u{b}\u{c}\u{e}\u{1f}",
    "\u{1b}[2J\u{1b}]0;x\u{7}",
    "\u{7f}",
    "\u{80}\u{85}\u{9b}31m\u{9f}",
    "a\u{85}b",
    "a\u{a0}b",
    "\u{ad}",
    "w1\u{200b}",
    "\u{200e}\u{200f}",
    "a\u{2028}b\u{2029}c",
    "\u{202e}txet",
    "\u{2066}x\u{2069}",
    "\u{feff}",
    "a\u{feff}",
    "\u{e0041}\u{e007f}",
    "\u{fffd}\u{fffe}\u{ffff}",
    "\u{1fffe}\u{10ffff}",
    "👩\u{200d}🚒 ❤\u{fe0f}",
    "Überhitzung 过热 🔥",
    "e\u{301}",
    "yes",
    "No",
    "y",
    "on",
    "~",
    "null",
    "=",
    "<<",
    "1e3",
    "1_000",
    "0x1F",
    "012",
    "1:30",
    ".inf",
    "2026-11-30",
    "true",
    " leading",
    "trailing ",
    "\ttab\t",
    "line\n",
    "\n\na\r\nb\r",
    "a: b",
    "a #b",
    "- a",
    "? a",
    "*a &b !c %d @e `f",
    "'\"\\\\/",
    "{a: [b]}",
    "---\n...",
    "|\n >",
    "",
];

/// The same and as many that are made up, always the same ones.
fn texts() -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let any = proptest::string::string_regex(
        "(?s).{0,60}|(?s)[ -~\u{0}-\u{a0}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{feff}🔥]{1,30}",
    );
    let any = any.expect("a pattern");
    let mut made_up = || any.new_tree(&mut runner).expect("a text").current();
    let long = "long ".repeat(300);
    TEXTS
        .iter()
        .map(|text| (*text).to_owned())
        .chain([long])
        .chain((0..TEXTS.len()).map(|_| made_up()))
        .collect()
}

/// What a program makes of this on its stdin.
#[track_caller]
fn through(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; eval \"$(tests/parsers)\" finds it"));
    let (mut stdin, input) = (child.stdin.take().expect("a pipe"), input.to_owned());
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("an end");
    writer.join().expect("no panic").expect("all of it is read");
    assert!(output.status.success(), "{program}: {}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn by_jq(json: &str) -> Value {
    serde_json::from_str(&through("jq", &["."], json)).expect("JSON")
}

fn by_pyyaml(yaml: &str) -> Value {
    let program = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin.buffer), sys.stdout)";
    serde_json::from_str(&through("python3", &["-c", program], yaml)).expect("JSON")
}

/// As a patch of an object: kubectl reads documents of kinds that it does not know, but no lists of them. It takes nulls away.
fn by_kubectl(world: &World, yaml: &str) -> Value {
    let indented = yaml.trim_end().replace('\n', "\n  ");
    let patch = world.file("patch.yaml", &format!("spec:\n  {indented}\n"));
    let object = world.file(
        "object.json",
        r#"{"apiVersion": "example.com/v1", "kind": "Any", "metadata": {"name": "any"}}"#,
    );
    let arguments = ["patch", "--local", "--type=merge", "-o", "json", "--patch-file"];
    let (patch, object) = (patch.to_str().expect("UTF-8"), object.to_str().expect("UTF-8"));
    let patched = through("kubectl", &[&arguments[..], &[patch, "-f", object]].concat(), "");
    serde_json::from_str::<Value>(&patched).expect("JSON")["spec"].take()
}

/// What is in the documents of this command, by each reader: always the same. They are printed with this exit code.
#[track_caller]
fn read(
    world: &World,
    schema: &str,
    arguments: &[&str],
    code: i32,
    in_them: impl Fn(&Value) -> Value,
) -> Value {
    let printed = |format| {
        let stdout = world.run(&[arguments, &["-o", format]].concat()).exits(code).stdout;
        let hostile: Vec<char> = stdout
            .split('\n')
            .flat_map(marked)
            .filter_map(|(c, is_hostile)| is_hostile.then_some(c))
            .collect();
        assert!(hostile.is_empty(), "{arguments:?} {format}: {hostile:?}");
        stdout
    };
    let (json, yaml) = (printed("json"), printed("yaml"));
    let jq = validates(schema, &by_jq(&json).to_string());
    let pyyaml = validates(schema, &by_pyyaml(&yaml).to_string());
    let found = in_them(&jq);
    assert_eq!(in_them(&pyyaml), found, "{arguments:?}");
    assert_eq!(in_them(&by_kubectl(world, &yaml)), found, "{arguments:?}");
    found
}

/// Of each item of a list, these texts; what the API leaves out is empty.
fn fields(list: &Value, names: &[&str]) -> Value {
    let text = |item: &Value, name: &str| Value::from(item[name].as_str().unwrap_or_default());
    let item = |item: &Value| -> Value { names.iter().map(|name| text(item, name)).collect() };
    list.as_array().expect("a list").iter().map(item).collect()
}

mod control_plane {
    use super::*;

    #[test]
    fn t15_f_status_prints_the_apis_text() {
        let world = World::control_plane();
        let node = world.bare_node("w1");
        let time = seconds_ago(SignedDuration::from_mins(12));
        let condition = |(at, text): (usize, &String)| {
            json!({"type": world.condition_type(&format!("C{at:03}")), "status": "True", "reason": text, "message": text,
                "lastHeartbeatTime": time, "lastTransitionTime": time})
        };
        let conditions: Vec<Value> = texts().iter().enumerate().map(condition).collect();
        world.patch_status(&node, STRATEGIC, &json!({"status": {"conditions": conditions}}));
        let stored = fields(&json!(world.owned(&node)), &["type", "reason", "message"]);
        assert_eq!(
            stored,
            fields(&json!(conditions), &["type", "reason", "message"]),
            "the API keeps every text"
        );
        let stored: Value = serde_json::from_str(&world.short(&stored.to_string())).expect("JSON");
        record_sync(&world, SignedDuration::from_mins(1));
        for (at, by) in texts().iter().enumerate().filter(|(at, _)| [2, 11, 15, 21].contains(at)) {
            let annotation = json!({"metadata": {"annotations": {"sciuro.dev/last-by": by}}});
            world.request("PATCH", &world.lease_path(), MERGE, &annotation);
            let prefix = world.prefix();
            let lease = world.name("sync");
            let status = ["status", &node, "--prefix", &prefix, "--lease-name", &lease, "--sort-by", ".type"];
            let document = read(&world, "status-report.json", &status, 0, |document| {
                json!([document["lastSyncBy"], fields(&document["items"], &["type", "reason", "message"])])
            });
            assert_eq!(document, json!([by, stored]));
            if at == 2 {
                let list = world.run(&[&status[..], &["-o", "jsonpath={.items}"]].concat()).exits(0).stdout;
                assert_eq!(fields(&by_jq(&list), &["type", "reason", "message"]), stored);
            }
            let check = ["check", "--for", "status", "--lease-name", &lease];
            let said = read(&world, "check-report.json", &check, 0, |document| {
                let mut checks = document["checks"].as_array().expect("a list").iter();
                let last = checks.find(|check| check["name"] == "last full sync").expect("it was looked at");
                json!(
                    last["message"]
                        .as_str()
                        .and_then(|message| message.split_once(" ago by "))
                        .map(|(_, by)| by)
                )
            });
            assert_eq!(said, json!(by));
        }
    }

    #[test]
    fn t15_f_sync_prints_the_text_that_it_writes() {
        let world = World::control_plane();
        let node = world.bare_node("w1");
        for (at, text) in TEXTS.iter().enumerate() {
            world.alert(&[("alertname", &format!("A{at:03}")), ("node", &node)], &format!("{text}."), true);
        }
        let (id, prefix, lease) = (format!("test={:?}", world.id()), world.prefix(), world.name("sync"));
        let sync = [
            "sync",
            "--warmup=0",
            "--receiver",
            "node-condition-k8s",
            "--alertmanager",
            world.alertmanager_url(),
            "--filter",
            &id,
            "--prefix",
            &prefix,
            "--lease-name",
            &lease,
            "--heartbeat-interval",
            "0",
            "--max-conditions",
            "99",
        ];
        let planned = [&sync[..], &["--dry-run=client"]].concat();
        let of = |document: &Value| fields(&document["changes"], &["type", "status", "message"]);
        let planned = read(&world, "sync-report.json", &planned, 0, of);
        world.run(&sync).exits(0);
        let written = fields(&json!(world.owned(&node)), &["type", "status", "message"]).to_string();
        assert_eq!(planned, serde_json::from_str::<Value>(&world.short(&written)).expect("JSON"));
        assert_eq!(planned.as_array().map(Vec::len), Some(TEXTS.len()));
    }

    #[test]
    fn t15_f_plan_and_report_have_the_apis_text() {
        let world = World::control_plane();
        let node = world.bare_node("w1");
        let prefix = world.prefix();
        let condition = |(at, text): (usize, &&str)| {
            json!({"type": world.condition_type(&format!("C{at:03}")), "status": "True", "reason": text,
                "lastTransitionTime": seconds_ago(SignedDuration::from_mins(12))})
        };
        let conditions: Vec<Value> = TEXTS.iter().enumerate().map(condition).collect();
        world.patch_status(&node, STRATEGIC, &json!({"status": {"conditions": conditions}}));
        for text in TEXTS.iter().step_by(9) {
            let info = json!({"status": {"nodeInfo": {"osImage": text, "kernelVersion": text}}});
            world.patch_status(&node, STRATEGIC, &info);
            let plan = [
                "remediate",
                &node,
                "--dry-run=client",
                "--prefix",
                &prefix,
                "--override",
                "max-unavailable",
            ];
            let found = read(&world, "remediation-plan.json", &plan, 0, |document| {
                let item = &document["items"][0];
                json!([item["osImage"], item["kernelVersion"], fields(&item["reasons"], &["reason"])])
            });
            assert_eq!(found, json!([text, text, fields(&json!(conditions), &["reason"])]));
        }
        for text in ["\u{1b}[2J", "a\u{85}\u{202e}b\u{e0041}", "yes\u{7f}", "🔥 #: 1e3"] {
            let record = json!({"metadata": {"annotations": {"sciuro.dev/remediation": json!({"v": text}).to_string()}}});
            world.request("PATCH", &format!("/api/v1/nodes/{node}"), MERGE, &record);
            let run = ["remediate", &node, "--yes", "--confirm", &node, "--prefix", &prefix];
            let said =
                read(&world, "remediation-report.json", &run, 3, |document| document["message"].clone());
            let version = json!(text).to_string();
            assert!(
                said.as_str().unwrap_or_default().contains(&format!("its version is {version}, ")),
                "{said:?}"
            );
        }
    }

    #[test]
    fn t15_f_the_files_of_a_bundle_have_the_apis_text() {
        let world = World::control_plane();
        let scene = Scene::new(&world);
        let named = |(at, text): (usize, &&str)| (format!("example.org/t{at:03}"), json!(text));
        let annotations: Map<String, Value> = TEXTS.iter().enumerate().map(named).collect();
        scene.patch(&scene.node, &json!({"metadata": {"annotations": annotations}}));
        let text = "a\u{1b}[2J\u{9b}\u{202e}\u{e0041}";
        let condition =
            json!({"type": world.condition_type("X"), "status": "True", "reason": text, "message": text});
        world.patch_status(&scene.node, STRATEGIC, &json!({"status": {"conditions": [condition]}}));
        let event = json!({"metadata": {"name": world.name("event")}, "type": "Warning", "reason": "Why", "message": text,
            "involvedObject": {"kind": "Node", "name": scene.node}});
        world.create("/api/v1/namespaces/default/events", &event);
        let flags =
            ["--yes", "--force", "--until=collect", "--max-unavailable=100%", "--prefix", &world.prefix()];
        scene.remediate(&flags).exits(0);

        let members = scene.members();
        let mut read = BTreeMap::new();
        for (name, content) in &members {
            let content = String::from_utf8(content.clone()).expect("UTF-8");
            let document = match name.rsplit_once('.') {
                Some((_, "json")) => by_jq(&content),
                Some((_, "yaml")) => by_pyyaml(&content),
                _ => continue,
            };
            let mut characters = content.split('\n').flat_map(marked);
            assert!(characters.all(|(_, is_hostile)| !is_hostile), "{name}: {content:?}");
            read.insert(name.as_str(), document);
        }
        let yaml = String::from_utf8(members["node/node.yaml"].clone()).expect("UTF-8");
        for node in [&read["node/node.yaml"], &by_kubectl(&world, &yaml)] {
            for (name, text) in &annotations {
                assert_eq!(&node["metadata"]["annotations"][name], text, "{name}");
            }
        }
        assert_eq!(read["remediation.json"]["reason"][0]["reason"], text);
        let events = read["events.json"].as_array().expect("events");
        assert!(events.iter().any(|event| event["message"] == text), "{events:?}");
    }

    #[test]
    fn t15_f_the_version_is_data() {
        let world = World::control_plane();
        let of = |document: &Value| document.clone();
        assert!(read(&world, "version.json", &["version"], 0, of)["serverVersion"].is_string());
    }
}
