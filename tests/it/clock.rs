//! Machines whose clock is an hour off, and laptops that sleep: the binary under libfaketime, and all else is real.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use sciuro::cluster::{Candidate, Hold, LeaseKey};
use serde_json::Value;

use crate::looping::{self, TAKEN_OVER_WITHIN, holder};
use crate::sources::real::{alertmanager, free_port};
use crate::status::record_sync;
use crate::support::{Run, Running, World};
use crate::watch::eventually;

const AHEAD: SignedDuration = SignedDuration::from_hours(1);
const BEHIND: SignedDuration = SignedDuration::from_hours(-1);
const RIGHT: SignedDuration = SignedDuration::ZERO;

mod control_plane {
    use super::*;

    #[test]
    fn an_hour_ahead_conditions_follow_the_alerts() {
        conditions_follow_the_alerts(AHEAD);
    }

    #[test]
    fn an_hour_behind_conditions_follow_the_alerts() {
        conditions_follow_the_alerts(BEHIND);
    }

    #[test]
    fn an_hour_off_status_and_check_know_how_old_the_last_sync_is() {
        ages_are_right(&[AHEAD, BEHIND]);
    }

    #[test]
    fn an_hour_off_a_restarted_alertmanager_clears_nothing() {
        a_restarted_alertmanager_clears_nothing(&[AHEAD, BEHIND]);
    }

    #[test]
    fn an_hour_ahead_what_vanishes_all_at_once_is_held() {
        what_vanishes_all_at_once_is_held(AHEAD);
    }

    /// The one that is wrong neither steals the Lease of one who lives nor waits an hour for that of one who does not, and
    /// the other way round.
    #[test]
    fn of_two_loops_one_of_them_an_hour_off_one_writes() {
        std::thread::scope(|scope| {
            for (first, second) in [(RIGHT, AHEAD), (RIGHT, BEHIND), (AHEAD, RIGHT), (BEHIND, RIGHT)] {
                scope.spawn(move || one_writes_and_the_other_takes_over(first, second));
            }
        });
    }

    #[test]
    fn a_laptop_that_slept_while_it_led_writes_nothing() {
        super::a_laptop_that_slept_while_it_led_writes_nothing(&World::control_plane());
    }

    #[test]
    fn a_laptop_that_slept_in_the_middle_of_a_round_writes_no_more() {
        super::a_laptop_that_slept_in_the_middle_of_a_round_writes_no_more(&World::control_plane());
    }
}

fn faked(command: &mut Command) -> &mut Command {
    let library = std::env::var("LIBFAKETIME").expect(
        "LIBFAKETIME is not set: this test needs libfaketime, which `make test` or tests/faketime finds",
    );
    command.env("LD_PRELOAD", library)
}

/// A time of day that is wrong. The clocks that count from the start of the machine are nobody's to set.
fn wrong_by(offset: SignedDuration) -> impl Fn(&mut Command) {
    move |command| {
        if offset != RIGHT {
            let offset = format!("{:+}", offset.as_secs());
            faked(command).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
    }
}

fn sync(world: &World, offset: SignedDuration, more: &[&str]) -> Run {
    let mut command = world.sync_command(more);
    wrong_by(offset)(&mut command);
    let mut run = crate::support::run(&mut command);
    run.stdout = world.short(&run.stdout);
    run.stderr = world.short(&run.stderr);
    run
}

/// What a run says whose clock is wrong: it shows that it was.
fn complaint(offset: SignedDuration) -> String {
    let side = if offset.is_negative() { "behind" } else { "ahead of" };
    format!("Warning: this machine's clock is 60m {side} the API server's, whose time is used instead")
}

#[track_caller]
fn changed_just_now(world: &World, node: &str) {
    let condition = world.condition(node, "X").unwrap();
    for field in ["lastTransitionTime", "lastHeartbeatTime"] {
        let time: Timestamp = condition[field].as_str().unwrap().parse().unwrap();
        let age = Timestamp::now().duration_since(time);
        assert!(age.abs() < SignedDuration::from_mins(5), "{condition}");
    }
}

fn conditions_follow_the_alerts(offset: SignedDuration) {
    let world = World::control_plane();
    let node = world.node("w1");
    let alert = |fires| world.alert(&[("alertname", "X"), ("node", &node)], "hot", fires);
    alert(true);
    sync(&world, offset, &[])
        .exits(0)
        .prints("node/w1 condition/AlertManager_X True (added)")
        .says(&complaint(offset));
    changed_just_now(&world, &node);
    // Neither by this clock nor by a right one is there more to do.
    sync(&world, offset, &[]).exits(0).prints("");
    world.sync(&[]).exits(0).prints("").never_says("this machine's clock");
    alert(false);
    sync(&world, offset, &[]).exits(0).prints("node/w1 condition/AlertManager_X False (was True)");
    changed_just_now(&world, &node);
    alert(true);
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_X True (was False)");
    sync(&world, offset, &[]).exits(0).prints("");
    assert_eq!(world.condition(&node, "X").unwrap()["message"], "[P9] hot");
    // By a clock that is ahead the source would have been away for an hour.
    sync(&world, offset, &["--alertmanager", "http://127.0.0.1:1"])
        .exits(11)
        .prints("")
        .says(&complaint(offset));
    assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
}

/// By a clock that is ahead all would be stale, and by one that is behind nothing ever.
fn ages_are_right(offsets: &[SignedDuration]) {
    // Half a minute from either minute: the server says its time in whole seconds.
    const AGE: SignedDuration = SignedDuration::from_secs(12 * 60 + 30);
    let world = World::control_plane();
    let node = world.bare_node("w1");
    world.seed(&node, "X", "True", "[P1] hot", AGE);
    record_sync(&world, AGE);
    let lease = world.name("sync");
    for offset in offsets {
        let status = ["status", &node, "--lease-name", &lease, "--prefix", &world.prefix()];
        let status = world.run_with(&status, wrong_by(*offset)).exits(0);
        let row: Vec<&str> = status.stdout.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(row, ["w1", "P1", "X", "True", "12m", "hot"]);
        status
            .says("1 condition firing on 1 of 1 node (P1: 1); last full sync 12m ago by cron@ops1")
            .never_says("cannot tell");
        let check = world.run_with(&["check", "--lease-name", &lease], wrong_by(*offset));
        assert!(check.stdout.contains(" last full sync: 12m ago by cron@ops1\n"), "{}", check.stdout);
    }
}

/// By a clock that is ahead the three minutes for which it is held would have passed at once.
fn what_vanishes_all_at_once_is_held(offset: SignedDuration) {
    let world = World::control_plane();
    let node = world.node("w1");
    let all = |fires| {
        for number in 0..12 {
            world.alert(&[("alertname", &format!("X{number}")), ("node", &node)], "", fires);
        }
    };
    all(true);
    world.sync(&[]).exits(0);
    all(false);
    world.sync(&[]).exits(12);
    for _ in 0..3 {
        sync(&world, offset, &[]).exits(12).prints("").says(&complaint(offset));
    }
    assert!(world.owned(&node).iter().all(|condition| condition["status"] == "True"));
}

fn a_restarted_alertmanager_clears_nothing(offsets: &[SignedDuration]) {
    let directory = tempfile::tempdir().unwrap();
    let (port, gossip) = (free_port(), free_port());
    let start = || {
        let server = alertmanager(directory.path(), port, gossip, gossip);
        let ready = format!("{}/-/ready", server.url);
        let world = World::control_plane().with_alertmanager(server.url.clone());
        eventually("an Alertmanager that is ready", || {
            world.block_on(async {
                reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
            })
        });
        (server, world)
    };
    let (server, world) = start();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    world.sync(&[]).exits(0).prints("node/w1 condition/AlertManager_X True (added)");
    drop(server);
    let (_server, _) = start();
    for offset in offsets {
        sync(&world, *offset, &["--warmup", "5m"])
            .exits(0)
            .prints("")
            .says(&complaint(*offset))
            .says("s ago; nothing is cleared before ")
            .says("0 alerts, 0 matched; source PARTIAL: nothing is cleared");
        assert_eq!(world.condition(&node, "X").unwrap()["status"], "True");
    }
    // It is the warm-up that held it, and nothing else.
    let by_wrong_clock = sync(&world, offsets[0], &["--warmup=0"]);
    by_wrong_clock.exits(0).prints("node/w1 condition/AlertManager_X False (was True)");
}

fn one_writes_and_the_other_takes_over(first: SignedDuration, second: SignedDuration) {
    let world = &World::control_plane();
    let node = world.node("w1");
    let mut leader = looping::start_with(world, &[], wrong_by(first));
    leader.says("leading");
    let identity = holder(world);
    let mut other = looping::start_with(world, &[], wrong_by(second));
    other.says("standing by: the Lease kube-system/sync is held by tester@");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    assert_eq!(leader.row(), "node/w1 condition/AlertManager_X True (added)");
    // It watches the Lease until it has been renewed before its eyes.
    sync(world, second, &[]).exits(9).says(&format!("is held by {}", world.short(&identity)));
    assert_eq!(holder(world), identity);

    let killed_at = Instant::now();
    leader.kill();
    world.alert(&[("alertname", "Y"), ("node", &node)], "", true);
    other.says("leading");
    assert!(killed_at.elapsed() <= TAKEN_OVER_WITHIN, "{first} {second}: {:?}", killed_at.elapsed());
    assert_eq!(other.row(), "node/w1 condition/AlertManager_Y True (added)");
    let (stdout, stderr) = other.interrupt();
    assert_eq!(stdout.len(), 1, "what the first wrote is left as it is: {stdout:#?} {stderr:#?}");
}

/// A laptop. While it sleeps nothing of it runs, and when it wakes, `CLOCK_MONOTONIC`, and with it each timer of the process,
/// has stood still: libfaketime takes the time of the sleep off it. `CLOCK_BOOTTIME` has gone on, and libfaketime
/// leaves it alone, as it is not read through the C library.
struct Laptop {
    clock: PathBuf,
    closed_at: Instant,
}

impl Laptop {
    fn new(world: &World) -> Self {
        Self { clock: world.file("clock", "+0"), closed_at: Instant::now() }
    }

    fn runs(&self, command: &mut Command) {
        faked(command).env("FAKETIME_TIMESTAMP_FILE", &self.clock).env("FAKETIME_NO_CACHE", "1");
    }

    fn close(&mut self, running: &Running) {
        running.signal("STOP");
        self.closed_at = Instant::now();
    }

    fn open(&self, running: &Running) {
        std::fs::write(&self.clock, format!("-{:.3}", self.closed_at.elapsed().as_secs_f64())).unwrap();
        running.signal("CONT");
    }
}

/// Another, who takes the Lease over and lives.
fn another(world: &World) -> Hold {
    let key = LeaseKey { namespace: "kube-system".into(), name: world.name("sync") };
    let candidate = Candidate::new(world.cluster(None), key, "another".into());
    world.block_on(candidate.take(|_, _| {})).unwrap()
}

fn a_laptop_that_slept_while_it_led_writes_nothing(world: &World) {
    let node = world.node("w1");
    let mut laptop = Laptop::new(world);
    let mut first = looping::start_with(world, &[], |command| laptop.runs(command));
    first.says("leading");
    // Closed just after a renewal: by the timers the Lease is its own for ten seconds more.
    let renewed = || world.lease().unwrap()["spec"]["renewTime"].clone();
    let before = renewed();
    eventually("a renewal", || renewed() != before);
    laptop.close(&first);
    let other = another(world);
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    laptop.open(&first);
    first.says("the Lease was lost: another may write now");
    first.says("standing by: the Lease kube-system/sync is held by another");
    assert_eq!(world.owned(&node), Vec::<Value>::new());
    assert_eq!(first.stdout, Vec::<String>::new());
    assert!(other.is_held());
    // And when the other has had enough:
    world.block_on(other.release(BTreeMap::new())).unwrap();
    assert_eq!(first.row(), "node/w1 condition/AlertManager_X True (added)");
    first.signal("TERM");
    first.ends(143);
}

fn a_laptop_that_slept_in_the_middle_of_a_round_writes_no_more(world: &World) {
    let nodes: Vec<String> = (0..150).map(|number| world.bare_node(&format!("w{number}"))).collect();
    for node in &nodes {
        world.alert(&[("alertname", "X"), ("node", node)], "", true);
    }
    let written = || {
        let list = world.request("GET", "/api/v1/nodes", "application/json", &Value::Null);
        list.to_string().matches(&format!("\"{}\"", world.condition_type("X"))).count()
    };
    let mut laptop = Laptop::new(world);
    let mut command = world.sync_command(&["--concurrency", "1"]);
    laptop.runs(&mut command);
    let mut sync = Running::start(&mut command, str::to_owned);
    eventually("the first patch", || world.condition(&nodes[0], "X").is_some());
    laptop.close(&sync);
    let other = another(world);
    let before = written();
    assert!(before < nodes.len(), "it was closed too late");
    laptop.open(&sync);
    let (stdout, stderr) = sync.ends(9);
    assert!(
        stderr.iter().any(|line| line == "error: the Lease was lost: another may be writing now"),
        "{stderr:#?}"
    );
    assert_eq!(written(), before);
    assert!(stdout.len() <= before, "nothing is said to be written that was not: {stdout:#?}");
    assert!(other.is_held());
}
