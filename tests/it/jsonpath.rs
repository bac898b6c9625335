//! Templates and columns give what kubectl gives for the same expressions on the same data.

use std::path::Path;
use std::process::Command;

use sciuro::ui::CustomColumns;
use sciuro::ui::jsonpath::Template;
use serde_json::{Value, json};

use crate::formats::{busy, status};
use crate::support::World;

/// What kubectl prints, without a cluster. Its order of a map's values is none, so no expression here takes them.
fn kubectl(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("kubectl");
    let output = command.args(arguments).env("KUBECONFIG", "/dev/null").output().expect("kubectl");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

fn local(file: &Path, template: &str) -> (Option<i32>, String) {
    let output = format!("jsonpath={template}");
    kubectl(&["label", "--local", "--overwrite", "-f", file.to_str().unwrap(), "a=b", "-o", &output])
}

const ON_A_NODE: [&str; 62] = [
    "{.metadata.name}",
    "name: {.metadata.name}, {.kind}",
    "{@}",
    "{.}",
    "{$.metadata.name}{@.kind}",
    "{.metadata.labels}",
    "{.metadata.labels.example\\.com/rack}",
    "{.metadata.labels['example\\.com/rack']}",
    "{.metadata.labels['example.com/rack']}",
    "{.metadata['name','uid']}",
    "{.missing}",
    "{.missing.more[*].x}",
    "{.metadata.name.more}",
    "{.status.conditions[*].type}",
    "{.status.conditions[*]['type','status']}",
    "{.status.conditions[0]}",
    "{.status.conditions[-1].type}",
    "{.status.conditions[-2:].type}",
    "{.status.conditions[1:3].type}",
    "{.status.conditions[:2].type}",
    "{.status.conditions[0:3:2].type}",
    "{.status.conditions[::2].type}",
    "{.status.conditions[:].type}",
    "{.status.conditions[0,2].type}",
    "{.status.conditions[]['type']}",
    "{.status.conditions[1:1].type}",
    "{.status.conditions[9].type}",
    "{.status.conditions[-9].type}",
    "{.status.conditions[2:1].type}",
    "{.status.conditions[::0].type}",
    "{.status.conditions[?(@.type==\"Ready\")].status}",
    "{.status.conditions[?(@.type=='Ready')].status}",
    "{.status.conditions[?(@.type!=\"Ready\")].type}",
    "{.status.conditions[?(@.status)].type}",
    "{.status.conditions[?(@.message==\"a [b] (c)\")].type}",
    "{.status.conditions[?(@.n>2)].type}",
    "{.status.conditions[?(@.n>=2)].type} {.status.conditions[?(@.n<2)].type} {.status.conditions[?(@.n<=2)].type}",
    "{.status.conditions[?(@.n==2)].type}",
    "{.status.conditions[?(@.n>\"2\")].type}",
    "{.status.conditions[?(@.n=2)].type}",
    "{.status.conditions[?(@.flag==true)].type}",
    "{.status.conditions[?(@.flag<true)].type}",
    "{.status.conditions[?(@.type>\"M\")].type}",
    "{.metadata[?(@.name)]}",
    "{.status.conditions[*].message}",
    "{.status.conditions[*].n}{' '}{.status.conditions[*].f}{' '}{.status.conditions[*].nothing}",
    "{..type}",
    "{.status..message}",
    "{..labels}",
    "{range .status.conditions[*]}{.type}{\"\\t\"}{.n}{\"\\n\"}{end}",
    "{range .status.conditions[*]}{.type}={range .list[*]}<{@}>{end};{end}|",
    "{range .missing[*]}{.type}{end}after",
    "{range .status.conditions[*]}{.type}",
    "{range .status.conditions[*].nothing}[{@}]{end}",
    "{range .status.conditions[?(@.list)]}{.list}{\"\\n\"}{end}",
    "{end}",
    "{foo}",
    "{\"quoted \\\"text\\\" \\u00fc\"}{'single'}\\n",
    "{1}{true}{-1.5}{1000000.0}",
    "{.spec.big} {.spec.float} {.spec.small} {.spec.huge} {.spec}",
    "{.status.conditions[*].list[0]}",
    "{.metadata.name.*}",
];

const NO_TEMPLATES: [&str; 14] = [
    "{.a",
    "{.a[}",
    "{.a[x]}",
    "{.a[1:2:3:4]}",
    "{.a[?(@.b}",
    "{.a[?(@.b)}",
    "{\"a}",
    "{\"\\q\"}",
    "{....a}",
    "{%}",
    "{-}",
    "{.a[-]}",
    "{.a[?(@.b==)]}",
    "{.a\n}",
];

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "w1", "uid": "u-1", "labels": {"example.com/rack": "r7", "plain": "p"}},
        "spec": {"big": 18_446_744_073_709_551_615_u64, "float": 1.25, "small": 1e-7, "huge": 1e22},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "n": 1, "f": 0.5, "flag": true, "list": ["x", "y"], "nothing": null},
            {"type": "DiskPressure", "status": "False", "n": 2, "message": "a <b> & \"c\"\n\u{1b}[31m ü\u{2028}"},
            {"type": "Odd", "status": "Unknown", "n": 3, "message": "a [b] (c)", "list": ["z"]},
        ]},
    })
}

mod control_plane {
    use super::*;

    #[test]
    fn templates_print_what_kubectl_prints() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.json");
        let mut data = node();
        std::fs::write(&file, data.to_string()).unwrap();
        data["metadata"]["labels"]["a"] = json!("b");
        for text in ON_A_NODE {
            let ours = Template::parse(text).unwrap().print(&data);
            let (code, theirs) = local(&file, text);
            assert_eq!(code == Some(0), ours.is_ok(), "{text}: {ours:?}");
            assert_eq!(ours.unwrap_or_default(), theirs, "{text}");
        }
        for text in NO_TEMPLATES {
            assert_eq!(local(&file, text).0, Some(1), "{text}");
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    /// kubectl takes what has `items` for a list of objects, so it reads them under another name.
    #[test]
    fn the_document_prints_what_kubectl_prints() {
        let world = World::sandbox();
        busy(&world);
        let mut report: Value =
            serde_json::from_str(&status(&world, &["-o", "json"]).exits(0).stdout).unwrap();
        report["rows"] = report.as_object_mut().unwrap().remove("items").unwrap();
        report["metadata"] = json!({"name": "report"});
        let file = world.file("report.json", &report.to_string());
        for text in [
            "{.items[*].node}",
            "{.items[0]}",
            "{.items[*].priority}",
            "{.items[?(@.priority<=5)].message}",
            "{.items[?(@.status==\"Unknown\")].type}",
            "{.items[-1:].roles}",
            "{.items[*].lastTransitionTime}",
            "{range .items[*]}{.node}{\"\\t\"}{.priority}{\"\\t\"}{.message}{\"\\n\"}{end}",
            "{range .items[?(@.stale==false)]}{.node}:{range .roles[*]}{@},{end}{\"\\n\"}{end}",
            "{.kind} {.apiVersion}",
        ] {
            let ours = status(&world, &["-o", &format!("jsonpath={text}")]).exits(0).stdout;
            let (code, theirs) = local(&file, &text.replace(".items", ".rows"));
            assert_eq!((code, theirs), (Some(0), ours), "{text}");
        }
    }

    #[test]
    fn columns_are_what_kubectl_prints() {
        let world = World::sandbox();
        let name = world.node("w1");
        let kubeconfig = world.kubeconfig().to_str().unwrap();
        let get = |format: &str| {
            kubectl(&[
                "--kubeconfig",
                kubeconfig,
                "get",
                "node",
                &name,
                "--show-managed-fields",
                "-o",
                format,
            ])
        };
        let data: Value = serde_json::from_str(&get("json").1).unwrap();
        for spec in [
            "NAME:.metadata.name",
            "NAME:metadata.name,UID:{.metadata.uid},KIND:{kind}",
            "A:.metadata.name,B:.none,C:.kind",
            "N:.missing,Kind:.kind",
            "TYPES:.status.conditions[*].type,READY:.status.conditions[?(@.type==\"Ready\")].status",
            "LABELS:.metadata.labels,TAINTS:.spec.taints[*].key",
            "ADDRESSES:.status.addresses,LAST:.status.conditions[-1].reason",
            "FIRST:.status.conditions[0],X:",
            "CPU:.status.capacity.cpu,MEMORY:.status.capacity.memory",
            "WHO:..manager,NOT:..nothing",
        ] {
            let ours = CustomColumns::parse(spec).unwrap().lines(std::slice::from_ref(&data), true).unwrap();
            let (code, theirs) = get(&format!("custom-columns={spec}"));
            assert_eq!((code, theirs), (Some(0), ours.join("\n") + "\n"), "{spec}");
        }
    }
}
