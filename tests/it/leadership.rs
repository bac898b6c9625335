//! One Lease and those who would hold it: whatever happens to them or between them, never do two think that it is theirs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sciuro::cluster::{Candidate, Clock, Cluster, Hold, LeaseKey, Waiting};
use serde_json::{Value, json};

use crate::support::{Relay, World, scenarios};
use crate::watch::eventually;

/// A Lease's duration and a half.
const TAKEN_OVER_WITHIN: Duration = Duration::from_millis(22_500);

scenarios![
    a_leader_that_is_cut_off_stops_before_another_begins,
    a_leader_that_slept_writes_nothing,
    a_stolen_lease_is_lost_with_the_next_renewal,
    what_others_write_on_it_is_no_loss,
    a_deleted_lease_is_lost,
    a_lease_that_is_given_back_goes_to_the_next,
];

fn candidate(world: &World, cluster: Arc<Cluster>, identity: &str) -> Candidate {
    let key = LeaseKey { namespace: "kube-system".into(), name: world.name("sync") };
    Candidate::new(cluster, key, identity.into())
}

fn hold(world: &World, identity: &str) -> Hold {
    let candidate = candidate(world, world.cluster(None), identity);
    world.block_on(candidate.wait(|waiting| panic!("it is free, and yet: {waiting:?}")))
}

fn holder(world: &World) -> String {
    world.lease().unwrap()["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

fn renewed(world: &World) -> String {
    world.lease().unwrap()["spec"]["renewTime"].as_str().unwrap_or_default().to_owned()
}

fn edit(world: &World, patch: &Value) {
    world.request("PATCH", &world.lease_path(), "application/merge-patch+json", patch);
}

/// Waits for as many renewals.
fn outlive_renewals(world: &World, count: usize) {
    for _ in 0..count {
        let before = renewed(world);
        eventually("a renewal", || renewed(world) != before);
    }
}

fn annotation(world: &World, name: &str) -> Value {
    world.lease().unwrap()["metadata"]["annotations"][name].clone()
}

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn a_leader_that_is_cut_off_stops_before_another_begins(world: &World) {
    let relay = Relay::to(&world.server_url());
    let first = candidate(world, world.cluster(Some(relay.url())), "first");
    let second = candidate(world, world.cluster(None), "second");
    let leader = world.block_on(first.wait(|waiting| panic!("{waiting:?}")));
    outlive_renewals(world, 1);

    // It writes as long as it may: the last time that it did is what counts.
    let last_write = Arc::new(std::sync::Mutex::new(Instant::now()));
    let wrote = last_write.clone();
    let writer = world.runtime().spawn(async move {
        let writes = leader.while_held(async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                *wrote.lock().unwrap() = Instant::now();
            }
        });
        assert!(writes.await.is_none());
        leader
    });
    let is_behind_first =
        |waiting: Waiting<'_>| assert!(matches!(waiting, Waiting::Behind("first")), "{waiting:?}");
    let other = world.runtime().spawn(async move {
        let hold = second.wait(is_behind_first).await;
        (hold, Instant::now())
    });
    let cut_at = Instant::now();
    relay.cut();
    let (hold, taken_at) = world.block_on(other).unwrap();
    assert!(*last_write.lock().unwrap() < taken_at);
    assert!(taken_at - cut_at <= TAKEN_OVER_WITHIN, "{:?}", taken_at - cut_at);
    let lost = world.block_on(writer).unwrap();
    assert!(!lost.is_held() && hold.is_held());
    assert_eq!(holder(world), "second");

    // Once the network is back, what the first still sends changes nothing.
    relay.mend();
    world.block_on(lost.release(BTreeMap::new())).unwrap();
    assert_eq!(holder(world), "second");
    assert!(hold.is_held());
}

/// The machine's clock, moved forward at will.
fn moving_clock() -> (Clock, Arc<AtomicU64>) {
    let (started, ahead) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let seconds = ahead.clone();
    (Arc::new(move || started.elapsed() + Duration::from_secs(seconds.load(Ordering::SeqCst))), ahead)
}

/// The runtime's timers know nothing of a suspend, the clock does.
fn a_leader_that_slept_writes_nothing(world: &World) {
    let (clock, ahead) = moving_clock();
    let candidate = candidate(world, world.cluster(None), "sleeper").with_clock(clock);
    let hold = world.block_on(candidate.wait(|waiting| panic!("{waiting:?}")));
    assert_eq!(world.block_on(hold.while_held(async { 1 })), Some(1));
    let wrote = AtomicBool::new(false);
    let work = hold.while_held(async {
        // Between two steps of the work the lid is closed for a minute.
        ahead.fetch_add(60, Ordering::SeqCst);
        tokio::task::yield_now().await;
        wrote.store(true, Ordering::SeqCst);
    });
    assert_eq!(world.block_on(work), None);
    assert!(!wrote.load(Ordering::SeqCst));
    assert!(!hold.is_held());
    world.block_on(hold.lost());
    assert!(!hold.is_held());
    // Nobody took it meanwhile: it may be taken anew, at once.
    let again = world.block_on(candidate.wait(|waiting| panic!("{waiting:?}")));
    assert!(again.is_held());
}

fn a_stolen_lease_is_lost_with_the_next_renewal(world: &World) {
    let hold = hold(world, "first");
    edit(world, &json!({"spec": {"holderIdentity": "thief"}}));
    let stolen = world.lease().unwrap();
    world.block_on(hold.lost());
    assert!(!hold.is_held());
    assert_eq!(world.block_on(hold.while_held(async {})), None);
    world.block_on(hold.release(annotations(&[("sciuro.dev/last-by", "first")]))).unwrap();
    assert_eq!(world.lease().unwrap(), stolen, "nothing was written on it");
}

fn what_others_write_on_it_is_no_loss(world: &World) {
    let first = hold(world, "first");
    assert_eq!(first.annotations(), BTreeMap::new());
    edit(
        world,
        &json!({"metadata": {"annotations": {"note": "of somebody", "sciuro.dev/canary": "Watchdog"}}}),
    );
    first.annotate(annotations(&[("sciuro.dev/last-full", "now"), ("sciuro.dev/clear-held-since", "then")]));
    eventually("the annotation", || annotation(world, "sciuro.dev/last-full") == "now");
    assert_eq!(annotation(world, "note"), "of somebody");
    edit(world, &json!({"metadata": {"annotations": {"sciuro.dev/last-full": "edited"}}}));
    first.annotate(annotations(&[("sciuro.dev/clear-held-since", "")]));
    outlive_renewals(world, 2);
    assert!(first.is_held());
    assert_eq!(holder(world), "first");
    assert_eq!(annotation(world, "sciuro.dev/last-full"), "edited", "written once, not with each renewal");
    assert_eq!(annotation(world, "sciuro.dev/clear-held-since"), Value::Null);

    world.block_on(first.release(annotations(&[("sciuro.dev/last-by", "first")]))).unwrap();
    let second = hold(world, "second");
    let expected = annotations(&[
        ("note", "of somebody"),
        ("sciuro.dev/canary", "Watchdog"),
        ("sciuro.dev/last-full", "edited"),
        ("sciuro.dev/last-by", "first"),
    ]);
    assert_eq!(second.annotations(), expected, "the next one reads it all");
}

/// Another may have made one of its own by then.
fn a_deleted_lease_is_lost(world: &World) {
    let hold = hold(world, "first");
    world.request("DELETE", &world.lease_path(), "application/json", &Value::Null);
    world.block_on(hold.lost());
    assert!(!hold.is_held());
    assert_eq!(world.lease(), None, "nothing was written");
}

fn a_lease_that_is_given_back_goes_to_the_next(world: &World) {
    let first = hold(world, "first");
    let second = candidate(world, world.cluster(None), "second");
    let (told, behind) = std::sync::mpsc::channel();
    let waiting = world
        .runtime()
        .spawn(async move { second.wait(|waiting| drop(told.send(format!("{waiting:?}")))).await });
    assert_eq!(behind.recv().unwrap(), r#"Behind("first")"#);
    let released_at = Instant::now();
    world.block_on(first.release(BTreeMap::new())).unwrap();
    world.block_on(waiting).unwrap();
    assert!(released_at.elapsed() < Duration::from_secs(10), "it did not wait for the Lease to run out");
    assert_eq!(behind.recv().ok(), None, "told once");
}

#[test]
fn an_outage_that_ends_before_the_deadline_is_no_loss() {
    let world = World::sandbox();
    let hold = hold(&world, "first");
    let before = renewed(&world);
    let outage = world.api().faults().on("*", &world.lease_path()).drop_connection();
    world.block_on(async {
        while outage.hits() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    outage.stop();
    eventually("a renewal", || renewed(&world) != before);
    assert!(hold.is_held());
}

#[test]
fn an_outage_beyond_the_deadline_is_a_loss() {
    let world = World::sandbox();
    let hold = hold(&world, "first");
    world.api().faults().on("*", &world.lease_path()).status(503);
    world.block_on(hold.lost());
    assert!(!hold.is_held());
    world.api().faults().clear();
    let again = world.block_on(candidate(&world, world.cluster(None), "first").wait(|_| {}));
    assert!(again.is_held());
}

/// The annotations of a round go along with a renewal that is due anyway.
#[test]
fn annotations_cost_no_request() {
    let world = World::sandbox();
    let hold = hold(&world, "first");
    world.api().forget_requests();
    for round in 0..50 {
        hold.annotate(annotations(&[("sciuro.dev/full-rounds", &round.to_string())]));
    }
    eventually("the annotation", || {
        world
            .api()
            .store()
            .get("leases", "kube-system", &world.name("sync"))
            .is_some_and(|lease| lease["metadata"]["annotations"]["sciuro.dev/full-rounds"] == "49")
    });
    assert_eq!(world.api().writes_by("kubectl-sciuro").len(), 1);
}
