//! A run is killed at each of its changes, before the server sees it and after: somebody who goes on comes to the same end,
//! and the machine has rebooted once.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::process::{Child, Stdio};
use std::sync::Mutex;

use serde_json::Value;

use crate::remediate::scene::Scene;
use crate::support::{Boundary, CrashProxy, Moment, Run, World};
use crate::watch::eventually;

/// So many nodes at a time.
const LANES: usize = 6;
/// A Lease whose holder was killed holds for so long.
const SHORT: [&str; 4] = ["--yes", "--force", "--lease-duration=3s", "--progress=plain"];

mod sandbox {
    use super::World;

    #[test]
    fn killed_at_each_change() {
        super::killed_at_each_change(World::sandbox, false, |_| true, "crashes");
    }

    #[test]
    fn killed_at_each_change_on_a_node_that_somebody_cordoned() {
        super::killed_at_each_change(World::sandbox, true, |_| true, "crashes_cordoned");
    }
}

mod control_plane {
    use super::{Boundary, World};

    #[test]
    fn killed_at_each_change() {
        super::killed_at_each_change(World::control_plane, false, |_| true, "crashes");
    }

    /// Only at what writes to the Node itself: that is where a cordon is noted, made or lifted. Everything else is as on a node
    /// that nobody has cordoned, above, and as on the sandbox.
    #[test]
    fn killed_at_each_record_on_a_node_that_somebody_cordoned() {
        let is_of_the_node = |boundary: &Boundary| boundary.resource.starts_with("nodes ");
        super::killed_at_each_change(World::control_plane, true, is_of_the_node, "crashes_cordoned_records");
    }
}

/// What the record on the node asks for after the crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// Nothing was recorded.
    Anew,
    Resumed,
    /// Its last record is gone: it was over.
    Over,
}

struct Lane<'w> {
    scene: Scene<'w>,
    proxy: CrashProxy,
    is_cordoned: bool,
    runs: usize,
}

impl<'w> Lane<'w> {
    fn new(world: &'w World, is_cordoned: bool) -> Self {
        let scene = Scene::new(world);
        scene.cordon(&scene.node, is_cordoned);
        Self { scene, proxy: CrashProxy::start(world), is_cordoned, runs: 0 }
    }

    /// Two pods that have to go, and no Lease of an earlier run.
    fn prepare(&mut self) {
        self.runs += 1;
        let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.scene.leases);
        for lease in ["sciuro-admission".to_owned(), format!("sciuro-node-{}", self.scene.node)] {
            let path = format!("{leases}/{lease}");
            let _was_there = self.scene.world.try_api("DELETE", &path, "application/json", &Value::Null);
        }
        for app in ["a", "b"] {
            self.scene.bare_pod(&format!("{app}{}", self.runs));
        }
        self.scene.until_running(2);
    }

    fn spawn(&self) -> Child {
        let server = format!("--server={}", self.proxy.url());
        let mut command = self.scene.command(&[&SHORT[..], &[&server]].concat());
        let log = self.scene.world.file("killed.log", "");
        let log = std::fs::File::create(log).expect("a file");
        command.stdout(Stdio::null()).stderr(log).spawn().expect("the binary starts")
    }

    /// The changes of a run that nobody disturbs.
    fn record(&mut self) -> Vec<Boundary> {
        self.prepare();
        let before = self.scene.facts();
        let (killed, code) = self.proxy.run(self.spawn(), None);
        let said = std::fs::read_to_string(self.scene.directory().with_file_name("killed.log"));
        assert_eq!((killed, code), (false, Some(0)), "{said:?}");
        self.is_as_it_should_be(&before, "a run without a crash");
        self.proxy.seen()
    }

    /// Kills a run there and goes on. `None`: that run did not come by.
    fn crash(&mut self, boundary: &Boundary, moment: Moment) -> Option<Next> {
        let what = format!("{moment:?} {boundary}");
        self.prepare();
        let before = self.scene.facts();
        let last = self.last();
        let (killed, code) = self.proxy.run(self.spawn(), Some((boundary.clone(), moment)));
        if !killed {
            assert_eq!(code, Some(0), "{what}");
            self.is_as_it_should_be(&before, &what);
            return None;
        }
        let next = if self.scene.record().is_some() {
            Next::Resumed
        } else if self.last() == last {
            Next::Anew
        } else {
            Next::Over
        };
        let reboots = self.scene.facts().reboots - before.reboots;
        assert!(reboots <= 1, "{what}: rebooted {reboots} times");
        let run = match next {
            Next::Anew => Some(self.go_on(&[])),
            Next::Resumed => Some(self.go_on(&["--resume"])),
            Next::Over => None,
        };
        if let Some(run) = run {
            assert_eq!(run.code, Some(0), "{what}, {next:?}: {}", run.stderr);
            assert_eq!(self.scene.lease_holder(), None, "{what}");
        }
        self.is_as_it_should_be(&before, &what);
        Some(next)
    }

    fn go_on(&self, more: &[&str]) -> Run {
        self.scene.remediate(&[&SHORT[..], more].concat())
    }

    fn last(&self) -> Option<String> {
        let node = self.scene.world.get_node(&self.scene.node);
        node["metadata"]["annotations"]["sciuro.dev/last-remediation"].as_str().map(str::to_owned)
    }

    /// The end is the same, whatever happened on the way.
    #[track_caller]
    fn is_as_it_should_be(&self, before: &::sandbox::Facts, what: &str) {
        let scene = &self.scene;
        assert_eq!(scene.facts().reboots, before.reboots + 1, "{what}");
        assert_eq!(scene.record(), None, "{what}");
        assert_eq!(scene.is_cordoned(), self.is_cordoned, "{what}");
        assert_eq!(scene.condition(), None, "{what}");
        eventually(&format!("no helpers after {what}"), || scene.helpers().is_empty());
        assert_eq!(scene.pods(&scene.node), [Value::Null; 0], "{what}");
    }
}

fn killed_at_each_change(
    world: fn() -> World,
    is_cordoned: bool,
    is_meant: fn(&Boundary) -> bool,
    name: &str,
) {
    let worlds: Vec<World> = (0..LANES).map(|_| world()).collect();
    let mut lanes: Vec<Lane<'_>> = worlds.iter().map(|world| Lane::new(world, is_cordoned)).collect();
    let mut boundaries = lanes[0].record();
    // Whoever finds the Node or a Lease changed by others writes once more: that is in one run and not in the next.
    let again = lanes[0].record();
    boundaries.retain(|boundary| is_meant(boundary) && again.contains(boundary));
    let all = boundaries
        .iter()
        .flat_map(|boundary| [Moment::Before, Moment::After].map(|moment| (boundary, moment)));
    let queue: Mutex<VecDeque<_>> = Mutex::new(all.collect());
    let results: Mutex<BTreeMap<(usize, bool), Option<Next>>> = Mutex::default();
    std::thread::scope(|scope| {
        for lane in &mut lanes {
            scope.spawn(|| {
                loop {
                    let Some((boundary, moment)) = queue.lock().expect("a lock").pop_front() else { return };
                    // The controllers write, too, so that a run may need one Lease or patch less than the recorded one.
                    let next = (0..4).find_map(|_| lane.crash(boundary, moment));
                    let place = boundaries.iter().position(|other| other == boundary).expect("a place");
                    eprintln!("{:<40} {moment:<7?} {next:?}", boundary.to_string());
                    results.lock().expect("a lock").insert((place, moment == Moment::After), next);
                }
            });
        }
    });
    let table = table(&boundaries, &results.into_inner().expect("a lock"));
    eprintln!("{table}");
    insta::allow_duplicates! {
        insta::assert_snapshot!(name, table);
    }
    // The Lease of a run that was killed after its end runs out, and is anybody's then.
    for lane in &mut lanes {
        lane.prepare();
        let before = lane.scene.facts();
        lane.go_on(&[]).exits(0);
        lane.is_as_it_should_be(&before, "a last run");
        eventually("a free Lease", || lane.scene.lease_holder().is_none());
    }
}

/// In each line a change, and how the run that was killed there, before the server saw it and after, came to its end.
fn table(boundaries: &[Boundary], results: &BTreeMap<(usize, bool), Option<Next>>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (place, boundary) in boundaries.iter().enumerate() {
        let end = |is_after: bool| match results[&(place, is_after)] {
            Some(Next::Anew) => "anew",
            Some(Next::Resumed) => "resumed",
            Some(Next::Over) => "over",
            None => "-",
        };
        lines.push(format!("{:<28} {:<8} {}", boundary.to_string(), end(false), end(true)));
    }
    lines.sort();
    let mut table = format!("{:<28} {:<8} {}\n", "killed at", "before", "after");
    for line in lines {
        let _written = writeln!(table, "{line}");
    }
    table
}
