//! `status -w`.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rexpect::session::{PtySession, spawn_command};
use serde_json::json;

use crate::support::{Running, World, scenarios, screen, seconds_ago};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const AGENT: &str = "kubectl-sciuro";

scenarios![
    rows_are_appended_as_they_change,
    without_permission_to_watch_it_says_so,
    an_unknown_node_is_an_error,
];

fn arguments(world: &World) -> Vec<String> {
    ["status", "--lease-name", &world.name("sync"), "--prefix", &world.prefix()].map(String::from).to_vec()
}

pub(crate) fn watch(world: &World, more: &[&str]) -> Running {
    let arguments = arguments(world);
    let all: Vec<&str> =
        arguments.iter().map(String::as_str).chain(["-w"]).chain(more.iter().copied()).collect();
    let id = world.name("");
    Running::start(&mut world.command(&all), move |line| line.replace(&id, ""))
}

fn remove(world: &World, node: &str, alertname: &str) {
    let entry = json!({"type": world.condition_type(alertname), "$patch": "delete"});
    let patch = json!({"status": {"conditions": [entry]}});
    world.patch_status(node, "application/strategic-merge-patch+json", &patch);
}

/// The line without its age, which moves on.
fn ageless(line: &str) -> String {
    let words = line.split(' ').enumerate().filter(|(index, _)| *index != 4);
    words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

/// The rows that are left if each replaces the one before of the same node and condition.
pub(crate) fn replayed(lines: &[String]) -> Vec<String> {
    let mut rows = BTreeMap::new();
    for line in lines.iter().filter(|line| !line.starts_with("NODE ")) {
        let words: Vec<&str> = line.split(' ').collect();
        if ["False", "<gone>"].contains(&words[3]) {
            rows.remove(&(words[0], words[2]));
        } else {
            rows.insert((words[0], words[2]), ageless(line));
        }
    }
    let mut rows: Vec<String> = rows.into_values().collect();
    rows.sort();
    rows
}

/// The same from a list.
pub(crate) fn listed(world: &World, nodes: &[String]) -> Vec<String> {
    let mut all = arguments(world);
    all.push("--no-headers".into());
    all.extend_from_slice(nodes);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let run = world.run(&all).exits(0);
    let mut rows: Vec<String> = run
        .stdout
        .lines()
        .map(|line| ageless(&line.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    rows.sort();
    rows
}

fn rows_are_appended_as_they_change(world: &World) {
    let nodes = world.nodes(&["w1", "w2"]);
    let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
    world.seed(&nodes[0], "X", "True", "[P2] hot", MINUTE * 12);
    let mut watch = watch(world, &names);
    assert_eq!(watch.row(), "NODE PRIORITY CONDITION STATUS AGE MESSAGE");
    assert_eq!(watch.row(), "w1 P2 X True 12m hot");
    watch.says("1 condition firing on 1 of 2 nodes (P2: 1)");
    watch.says("Warning: cannot tell what else fires: no sync recorded in");

    world.seed(&nodes[1], "Y", "True", "[P1] broken", MINUTE * 13);
    assert_eq!(watch.row(), "w2 P1 Y True 13m broken");
    world.seed(&nodes[0], "X", "True", "[P2] hotter", MINUTE * 12);
    assert_eq!(watch.row(), "w1 P2 X True 12m hotter");
    // A heartbeat changes nothing that is shown, and what does not fire is not shown.
    let heartbeat = json!({"status": {"conditions": [
        {"type": world.condition_type("X"), "lastHeartbeatTime": seconds_ago(MINUTE)},
        {"type": world.condition_type("Z"), "status": "False", "lastTransitionTime": seconds_ago(MINUTE)},
    ]}});
    world.patch_status(&nodes[0], "application/strategic-merge-patch+json", &heartbeat);
    world.seed(&nodes[0], "X", "False", "", MINUTE * 11);
    assert_eq!(watch.row(), "w1 - X False 11m");
    remove(world, &nodes[1], "Y");
    assert_eq!(watch.row(), "w2 P1 Y <gone> 13m broken");
    world.seed(&nodes[1], "Y", "Unknown", "", MINUTE * 14);
    assert_eq!(watch.row(), "w2 - Y Unknown 14m");
    world.seed(&nodes[0], "X", "True", "[P3] again", MINUTE * 12);
    assert_eq!(watch.row(), "w1 P3 X True 12m again");
    world.delete_node(&nodes[1]);
    assert_eq!(watch.row(), "w2 - Y <gone> 14m");

    let (stdout, stderr) = watch.interrupt();
    assert_eq!(stdout.len(), 9, "{stdout:#?}");
    assert_eq!(stderr.last().unwrap(), "error: interrupted");
    assert_eq!(replayed(&stdout), listed(world, &nodes[..1]));
}

fn without_permission_to_watch_it_says_so(world: &World) {
    let node = world.node("w1");
    let reader = world.user_who_may(&[("", "nodes", "list")]);
    let arguments = arguments(world);
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    all.extend(["-w", "--as", &reader, &node]);
    world
        .run(&all)
        .exits(1)
        .says("Error from server (Forbidden): nodes ")
        .says("cannot watch resource \"nodes\"")
        .says(r#"hint: the ClusterRole needs the rule: {apiGroups: [""], resources: ["nodes"], verbs: ["watch"]}"#)
        .says("hint: kubectl auth can-i watch nodes");
}

fn an_unknown_node_is_an_error(world: &World) {
    let node = world.node("w1");
    let arguments = arguments(world);
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    all.extend(["-w", &node, "w99"]);
    world.run(&all).exits(1).prints("").says(r#"nodes "w99" not found"#);
}

/// Queries of our lists and watches of nodes.
fn asked(world: &World) -> (usize, usize) {
    let requests = world.api().requests_by(AGENT);
    let nodes = requests.iter().filter(|request| request.path == "/api/v1/nodes");
    let (watches, lists): (Vec<_>, Vec<_>) = nodes.partition(|request| request.query.contains("watch=true"));
    (lists.len(), watches.len())
}

#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_list_and_one_watch() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P1] 0", MINUTE * 12);
    let mut watch = watch(&world, &["--no-headers"]);
    assert_eq!(watch.row(), "w1 P1 X True 12m 0");
    for round in 1..5 {
        world.seed(&node, "X", "True", &format!("[P1] {round}"), MINUTE * 12);
        assert_eq!(watch.row(), format!("w1 P1 X True 12m {round}"));
    }
    assert_eq!(asked(&world), (1, 1));
    let compressed = world.api().requests_by(AGENT).into_iter().any(|request| {
        request.query.contains("watch=true") && request.header("accept-encoding").contains("gzip")
    });
    assert!(!compressed, "each event would be gzipped on its own");
    watch.interrupt();
}

#[test]
fn a_burst_is_shown_together() {
    let world = World::sandbox();
    let node = world.node("w1");
    let mut watch = watch(&world, &["--no-headers"]);
    watch.says("cannot tell");
    {
        let mut store = world.api().store();
        for round in 0..500 {
            store.set_condition(
                &node,
                &world.condition_type(&format!("C{}", round % 3)),
                ["True", "False"][round % 2],
            );
        }
        for alert in ["C0", "C1", "C2"] {
            store.set_condition(&node, &world.condition_type(alert), "True");
        }
    }
    watch.comes_to(&listed(&world, &[]), replayed);
    let rows = watch.interrupt().0.len();
    assert!((3..50).contains(&rows), "{rows} rows for 503 changes");
}

#[test]
fn a_dropped_watch_goes_on_where_it_was() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P1] 0", MINUTE * 12);
    let mut watch = watch(&world, &["--no-headers"]);
    watch.row();
    for round in 1..4 {
        eventually("a watch", || asked(&world).1 >= round);
        world.api().drop_watches();
        world.seed(&node, "X", "True", &format!("[P1] {round}"), MINUTE * 12);
        assert_eq!(watch.row(), format!("w1 P1 X True 12m {round}"));
    }
    assert_eq!(asked(&world), (1, 4));
    let (stdout, stderr) = watch.interrupt();
    assert_eq!(stdout.len(), 4);
    assert!(!stderr.iter().any(|line| line.contains("no news")), "{stderr:?}");
}

/// As when the API server is restarted: nobody answers, and what was missed may no longer be had from a watch.
#[test]
fn an_outage_loses_and_doubles_nothing() {
    for compacted in [false, true] {
        let world = World::sandbox();
        let nodes = world.nodes(&["w1", "w2", "w3"]);
        for node in &nodes {
            world.seed(node, "X", "True", "[P1] before", MINUTE * 12);
        }
        let mut watch = watch(&world, &["--no-headers"]);
        (0..3).for_each(|_| drop(watch.row()));
        let api = world.api();
        let outage = api.faults().on("*", "/*").drop_connection();
        api.drop_watches();
        watch.says("Warning: no news since ");
        {
            let mut store = api.store();
            store.set_condition(&nodes[0], &world.condition_type("X"), "False");
            store.remove("nodes", "", &nodes[1]);
            store.set_condition(&nodes[2], &world.condition_type("Y"), "True");
            if compacted {
                store.compact();
            }
        }
        outage.stop();
        watch.says("connected again");
        let mut rows = [watch.row(), watch.row(), watch.row()]
            .map(|row| row.split(' ').take(4).collect::<Vec<_>>().join(" "));
        rows.sort();
        assert_eq!(rows, ["w1 - X False", "w2 P1 X <gone>", "w3 - Y True"]);
        world.seed(&nodes[2], "Z", "True", "[P5] after", MINUTE * 12);
        assert_eq!(watch.row(), "w3 P5 Z True 12m after");
        if compacted {
            assert_eq!(asked(&world).0, 2, "listed again");
        }
        let (stdout, _) = watch.interrupt();
        assert_eq!(stdout.len(), 7, "{stdout:#?}");
        assert_eq!(replayed(&stdout), listed(&world, &[]));
    }
}

#[test]
fn a_version_that_is_gone_is_answered_by_a_list() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P1] hot", MINUTE * 12);
    let gone = world
        .api()
        .faults()
        .on("GET", "/api/v1/nodes")
        .query("watch=true")
        .query("timeoutSeconds=290") // ours: the kubelets watch, too
        .times(1)
        .status(410);
    let mut watch = watch(&world, &["--no-headers"]);
    watch.row();
    eventually("a watch", || asked(&world) == (2, 2));
    assert_eq!(gone.hits(), 1);
    world.seed(&node, "X", "True", "[P1] hotter", MINUTE * 12);
    assert_eq!(watch.row(), "w1 P1 X True 12m hotter");
    watch.interrupt();
}

/// A server that starts denies for a moment what it has not read the rules for; then it is meant.
#[test]
fn a_permission_that_is_taken_away_ends_it() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P1] hot", MINUTE * 12);
    let mut watch = watch(&world, &["--no-headers"]);
    watch.row();
    for is_for_good in [false, true] {
        eventually("a watch", || asked(&world).1 > usize::from(is_for_good));
        // It has come to an answer once there are news.
        world.seed(&node, "X", "True", if is_for_good { "[P1] hotter" } else { "[P1] warm" }, MINUTE * 12);
        watch.row();
        world.api().deny("watch", "nodes");
        world.api().drop_watches();
        watch.says("Warning: no news since ");
        if !is_for_good {
            world.api().allow_all();
            watch.says("connected again");
            watch.stderr.clear();
        }
    }
    let (_, stderr) = watch.ends(1);
    assert!(stderr.iter().any(|line| line.contains(r#"verbs: ["watch"]"#)), "{stderr:?}");
}

#[test]
fn only_tables_can_be_watched() {
    let world = World::sandbox();
    for output in ["json", "yaml", "name", "jsonpath={.time}", "custom-columns=N:.node"] {
        world.run(&["status", "-w", "-o", output]).exits(2).says("error: --watch shows a table");
    }
    world
        .run(&["status", "-w", "--exit-code"])
        .exits(2)
        .says("error: the argument '--watch' cannot be used with '--exit-code");
    world
        .run(&["status", "-w", "--sort-by", "age"])
        .exits(2)
        .says("error: --watch keeps the most urgent first: --sort-by does not go with it");
    assert!(world.api().requests_by(AGENT).is_empty());
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P1] hot", MINUTE);
    let arguments = arguments(&world);
    let all: Vec<&str> = arguments.iter().map(String::as_str).chain(["-w"]).collect();
    let (child, mut stdout) = Running::with_stdout(&mut world.command(&all));
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout); // nothing changes, and nobody could be told
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"), "{output:?}");
}

/// On a terminal of this height; with the terminal's name.
pub(crate) fn on_terminal(world: &World, height: usize, environment: &str) -> (PtySession, String) {
    let binary = env!("CARGO_BIN_EXE_kubectl-sciuro");
    let arguments = arguments(world).join(" ");
    let line = format!("tty; stty cols 60 rows {height} -echo; {environment} exec {binary} {arguments} -w");
    let mut command = Command::new("sh");
    command
        .args(["-c", &line])
        .env("KUBECONFIG", world.kubeconfig())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    let mut session = spawn_command(command, Some(20_000)).unwrap();
    let terminal = session.read_line().unwrap();
    (session, terminal)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Reads until the screen shows this.
#[track_caller]
pub(crate) fn until(
    session: &mut PtySession,
    seen: &mut Vec<u8>,
    height: usize,
    shows: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        while let Some(character) = session.try_read() {
            // rexpect makes a character of each byte.
            seen.push(u8::try_from(u32::from(character)).unwrap());
        }
        // Whole sequences only: a frame ends with the cursor shown.
        if seen.is_empty() || seen.ends_with(b"\x1b[?25h") {
            let (lines, _) = screen(&text(seen), height);
            if shows(&lines) {
                return lines;
            }
        }
        assert!(Instant::now() < deadline, "not in {:#?}", text(seen));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn on_a_terminal_the_table_is_drawn_in_its_place() {
    let world = World::sandbox();
    let nodes = world.nodes(&["w1", "w2"]);
    let id = world.name("");
    world.seed(&nodes[0], "X", "True", "[P2] hot", MINUTE * 12);
    let (mut session, _) = on_terminal(&world, 20, "NO_COLOR=1");
    let mut seen = Vec::new();
    let has = |part: &'static str| move |lines: &[String]| lines.iter().any(|line| line.contains(part));
    let lines = until(&mut session, &mut seen, 20, has("1 condition firing on 1 of 2 nodes"));
    assert!(lines[0].starts_with("  NODE ") && lines[1].starts_with(&format!("  {id}w1")), "{lines:#?}");

    world.seed(&nodes[1], "Y", "True", "[P1] broken", MINUTE * 13);
    let lines = until(&mut session, &mut seen, 20, has("2 conditions firing"));
    assert!(
        lines[1].starts_with(&format!("* {id}w2")) && lines[2].starts_with(&format!("  {id}w1")),
        "{lines:#?}"
    );
    assert_eq!(lines.iter().filter(|line| line.contains("NODE ")).count(), 1, "drawn over: {lines:#?}");
    assert_eq!(lines.last().unwrap(), "");

    world.seed(&nodes[0], "X", "False", "", MINUTE);
    let lines = until(&mut session, &mut seen, 20, has("1 condition firing on 1 of 2"));
    assert_eq!(lines.len(), 5, "header, row, note, warning, cursor: {lines:#?}");

    session.send_control('c').unwrap();
    session.exp_string("error: interrupted").unwrap();
    let rest = session.exp_eof().unwrap();
    assert!(screen(&format!("{}{rest}", text(&seen)), 20).1, "the cursor is shown");
    assert!(text(&seen).contains("\u{1b}[?25l"), "and was hidden while it moved");
    let code = match session.process().wait().unwrap() {
        rexpect::process::WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code, 130);
}

#[test]
fn the_most_urgent_rows_fit_the_terminal() {
    let world = World::sandbox();
    let node = world.node("w1");
    for number in 1..=9 {
        world.seed(&node, &format!("C{number}"), "True", &format!("[P{number}] x"), MINUTE * 12);
    }
    let (mut session, _) = on_terminal(&world, 9, "");
    let mut seen = Vec::new();
    let lines = until(&mut session, &mut seen, 9, |lines| lines.len() > 1);
    // A name may be so long that headers are cut.
    let rows: Vec<&str> = lines.iter().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert!(lines[0].contains("NODE"), "{lines:#?}");
    assert_eq!(rows, ["P1", "P2", "P3", "P4", "and", "conditions", "cannot"], "{lines:#?}");
    assert_eq!(lines[5], "  … and 5 more");
    assert!(text(&seen).contains("\u{1b}[33;1mWarning:\u{1b}[0m"), "{lines:?}");
    // Nothing changes: nothing is drawn. The next thing that is, is what was changed.
    let drawn = seen.len();
    world.seed(&node, "C2", "True", "[P2] y", MINUTE * 12);
    until(&mut session, &mut seen, 9, |lines| lines[2].ends_with(" y"));
    let redrawn = text(&seen[drawn..]);
    assert_eq!(redrawn.matches('y').count(), 1);
    assert!(!redrawn.contains("P1"), "only what is different: {redrawn:?}");
}

#[test]
fn a_terminal_of_another_size_gets_a_table_of_that_size() {
    let world = World::sandbox();
    let node = world.node("w1");
    for number in 1..=9 {
        let message = format!("[P{number}] the temperature is above its threshold");
        world.seed(&node, &format!("C{number}"), "True", &message, MINUTE * 12);
    }
    let (mut session, terminal) = on_terminal(&world, 20, "NO_COLOR=1");
    let mut seen = Vec::new();
    // Header, rows, note, warning, and the line of the cursor.
    until(&mut session, &mut seen, 20, |lines| lines.len() == 13);
    for (width, height, rows) in [(40, 8, 3), (100, 30, 9)] {
        seen.clear(); // it begins with an empty screen
        let size = ["-F", &terminal, "cols", &width.to_string(), "rows", &height.to_string()];
        assert!(Command::new("stty").args(size).status().unwrap().success());
        // stty sets one after the other, and a table may be drawn in between.
        until(&mut session, &mut seen, height, |lines| {
            let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
            let fits = lines.iter().all(|line| line.chars().count() <= width);
            fits && count(" 12m") == rows && count("NODE ") == 1
        });
        assert!(text(&seen).contains("\u{1b}[2J"), "{:?}", text(&seen));
    }
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_gets_rows() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P2] hot", MINUTE * 12);
    let (mut session, _) = on_terminal(&world, 20, "TERM=dumb");
    session.exp_string("hot").unwrap();
    world.seed(&node, "X", "True", "[P2] hotter", MINUTE * 12);
    let between = session.exp_string("hotter").unwrap();
    assert!(!between.contains('\u{1b}'), "{between:?}");
}
