//! `status -o jsonpath|custom-columns` and `--sort-by`: the same expressions as kubectl's, with the same results.

use std::process::Command;

use jiff::SignedDuration;

use crate::support::{Run, World, scenarios};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

pub fn status(world: &World, more: &[&str]) -> Run {
    world.run(&[&["status", "--lease-name", &world.name("sync"), "--prefix", &world.prefix()], more].concat())
}

pub fn busy(world: &World) -> Vec<String> {
    let nodes = world.nodes(&["w1", "w2", "w3"]);
    world.seed(&nodes[0], "UpTooLong", "True", "[P8] uptime 9 days", MINUTE * 60 * 173);
    world.seed(&nodes[2], "DiskFailing", "True", "[P1] sda <812> & \"more\"", MINUTE * 12);
    world.seed(&nodes[1], "NoPriority", "True", "by hand", MINUTE * 20);
    world.seed(&nodes[1], "UpTooLong", "Unknown", "[P8] uptime 8 days", MINUTE * 60 * 100);
    nodes
}

scenarios![formats_of_the_users_own, rows_are_sorted_as_wanted];

fn formats_of_the_users_own(world: &World) {
    let nodes = busy(world);
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let status = |more: &[&str]| status(world, &[&nodes[..], more].concat());
    for template in
        ["-o=jsonpath={.items[*].node}", "-ojsonpath={.items[*].node}", "--output=jsonpath={.items[*].node}"]
    {
        assert_eq!(status(&[template]).exits(0).stdout, "w3 w1 w2 w2", "no line break at the end");
    }
    let lines = r#"jsonpath={range .items[?(@.priority)]}{.priority}{"\t"}{.message}{"\n"}{end}"#;
    assert_eq!(
        status(&["-o", lines]).exits(0).stdout,
        "1\tsda <812> & \"more\"\n8\tuptime 9 days\n8\tuptime 8 days\n"
    );
    assert_eq!(
        status(&["-o", "jsonpath={.kind} {.items[0].missing}{.none}"]).exits(0).stdout,
        "StatusReport "
    );
    // The columns are as wide as this world's names make them.
    let columns = "custom-columns=Node:.node,P:priority,WHY:{.message}";
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        status(&["-o", columns, "--sort-by", ".message"])
            .exits(0)
            .stdout
            .lines()
            .map(words)
            .collect::<Vec<_>>(),
        [
            "Node P WHY",
            "w2 <none> by hand",
            "w3 1 sda <812> & \"more\"",
            "w2 8 uptime 8 days",
            "w1 8 uptime 9 days"
        ]
    );
    assert_eq!(
        status(&["-o", "custom-columns=P:.priority", "--no-headers", "--priority", "1"]).exits(0).stdout,
        "1\n"
    );
    // Nothing fires: a header, and no words where a script looks.
    assert_eq!(status(&["-o", "custom-columns=P:.priority", "--priority", "7"]).exits(0).stdout, "P\n");
    assert_eq!(status(&["-o", "jsonpath={.items[*].node}", "--priority", "7"]).exits(0).stdout, "");
    status(&["-o", "jsonpath={.items[9].node}"]).exits(1).prints("").says(
        r#"error: error executing jsonpath "{.items[9].node}": array index out of bounds: index 9, length 4"#,
    );
}

fn rows_are_sorted_as_wanted(world: &World) {
    let nodes = busy(world);
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let sorted = |by: &str| {
        let template = ["-o", r#"jsonpath={range .items[*]}{.node}{.priority}{" "}{end}"#, "--sort-by", by];
        status(world, &[&nodes[..], &template].concat()).exits(0).stdout
    };
    for (by, expected) in [
        ("node", "w18 w2 w28 w31 "),
        ("PRIORITY", "w31 w18 w28 w2 "),
        ("Condition", "w31 w2 w18 w28 "),
        ("status", "w31 w18 w2 w28 "),
        ("age", "w31 w2 w28 w18 "),
        ("reason", "w31 w18 w2 w28 "),
        ("message", "w2 w31 w28 w18 "),
        (".priority", "w2 w31 w18 w28 "),
        ("{.priority}", "w2 w31 w18 w28 "),
        ("lastTransitionTime", "w18 w28 w2 w31 "),
    ] {
        assert_eq!(sorted(by), expected, "{by}");
    }
    let columns = "hint: columns: node, priority, condition, status, age, node-status, roles, reason, heartbeat, \
                   remediation, message; or a JSONPath";
    for (by, why) in [
        ("agee", "couldn't find any field with path \"agee\""),
        ("{.a", "unexpected path string"),
        (".a[", "unterminated array"),
        ("", "it is empty"),
        (".roles", "\".roles\" finds lists or maps, which have no order"),
    ] {
        let refused = status(world, &[&nodes[..], &["--sort-by", by]].concat()).exits(2).prints("");
        refused.says(&format!("error: --sort-by: {why}")).says(columns);
    }
}

/// A pipe gets the bytes as they are; a terminal is not to obey them.
#[test]
fn a_template_cannot_make_a_terminal_obey_an_alert() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P1] a\u{1b}[2Jb", MINUTE);
    let template = r#"jsonpath={.items[*].message}{"\t"}."#;
    assert_eq!(status(&world, &["-o", template]).exits(0).stdout, "a\u{1b}[2Jb\t.");
    let binary = env!("CARGO_BIN_EXE_kubectl-sciuro");
    let line = format!("{binary} status --prefix {} -o '{template}' 2>&-", world.prefix());
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env("KUBECONFIG", world.kubeconfig()).env("TERM", "xterm");
    let shown = rexpect::session::spawn_command(command, Some(10_000)).unwrap().exp_eof().unwrap();
    assert_eq!(shown.replace("        ", "\t"), "a^[[2Jb\t.\r\n");
}

#[test]
fn what_is_no_format_is_refused_in_kubectls_words() {
    let world = World::sandbox();
    for (format, words) in [
        (
            "foo",
            "unable to match a printer suitable for the output format \"foo\", allowed formats are: \
             custom-columns,json,jsonpath,name,wide,yaml",
        ),
        ("jsonpath", "template format specified but no template given"),
        ("jsonpath=", "template format specified but no template given"),
        ("jsonpath={.a", "error parsing jsonpath {.a, unclosed action"),
        ("custom-columns", "custom-columns format specified but no custom columns given"),
        ("custom-columns=A", "unexpected custom-columns spec: A, expected <header>:<json-path-expr>"),
    ] {
        let refused = status(&world, &["-o", format]).exits(2).prints("");
        assert_eq!(refused.stderr, format!("error: {words}\n"));
    }
}
