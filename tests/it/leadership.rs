//! One Lease and those who would hold it: whatever happens to them or between them, never do two think that it is theirs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sciuro::cluster::{Candidate, Clock, Cluster, Hold, LeaseError, LeaseKey, Pace, Waiting};
use sciuro::core::remediation::LeaseSeen;
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
    a_lease_of_a_node_says_how_long_and_of_which_node,
    a_renewal_on_request_is_confirmed_or_refused,
    a_hold_that_outlasts_an_outage_is_in_doubt_and_then_goes_on,
    a_hold_that_was_taken_over_during_an_outage_is_lost_to_its_holder,
    a_holder_that_is_silent_has_as_long_as_it_says,
    a_lease_of_other_tools_is_taken_unless_it_is_held,
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

/// As short as it may be.
fn short(world: &World, cluster: Arc<Cluster>, identity: &str) -> Candidate {
    candidate(world, cluster, identity).with_pace(Pace::of(Duration::ZERO)).outlasting_outages()
}

fn take(world: &World, candidate: &Candidate) -> Hold {
    let on_wait = |holder: &str, _| panic!("it is free, and yet {holder} has it");
    world.block_on(candidate.take(on_wait)).unwrap()
}

/// Waits until a hold stands like this.
fn turns(world: &World, hold: &Hold, to: &LeaseSeen) {
    let mut changes = hold.changes();
    let turned =
        async { tokio::time::timeout(Duration::from_secs(60), changes.wait_for(|seen| seen == to)).await };
    assert!(world.block_on(turned).is_ok(), "{:?}, and never {to:?}", hold.seen());
    assert_eq!(hold.seen(), *to);
}

fn a_lease_of_a_node_says_how_long_and_of_which_node(world: &World) {
    let node = world.bare_node("w1");
    let uid = world.get_node(&node)["metadata"]["uid"].as_str().unwrap().to_owned();
    let pace = Pace::of(Duration::from_secs(60));
    let candidate = candidate(world, world.cluster(None), "first").with_pace(pace).owned_by_node(&node, &uid);
    let hold = take(world, &candidate);
    let lease = world.lease().unwrap();
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 60);
    let owners = json!([{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}]);
    assert_eq!(lease["metadata"]["ownerReferences"], owners);
    world.block_on(hold.release(BTreeMap::new())).unwrap();
    assert_eq!(
        world.lease().unwrap()["metadata"]["ownerReferences"],
        owners,
        "of the node, not of the holder"
    );
}

fn a_renewal_on_request_is_confirmed_or_refused(world: &World) {
    let (clock, ahead) = moving_clock();
    let pace = Pace::of(Duration::from_secs(60));
    let candidate =
        candidate(world, world.cluster(None), "first").with_pace(pace).outlasting_outages().with_clock(clock);
    let hold = take(world, &candidate);
    // The lid was closed for an hour, and the runtime has not noticed.
    ahead.fetch_add(3600, Ordering::SeqCst);
    assert_eq!(hold.seen(), LeaseSeen::Unsure);
    assert!(hold.since_renewal() >= Duration::from_secs(3600));
    let before = renewed(world);
    world.block_on(hold.renew_now()).unwrap();
    assert_eq!(hold.seen(), LeaseSeen::Held);
    assert!(renewed(world) != before && hold.since_renewal() < Duration::from_secs(3600));

    edit(world, &json!({"metadata": {"annotations": {"note": "of somebody"}}}));
    world.block_on(hold.renew_now()).unwrap();
    edit(world, &json!({"spec": {"holderIdentity": "thief"}}));
    for _ in 0..2 {
        let refused = world.block_on(hold.renew_now());
        assert!(matches!(&refused, Err(LeaseError::Held { holder, .. }) if holder == "thief"), "{refused:?}");
        assert_eq!(hold.seen(), LeaseSeen::Lost("thief".into()));
    }
    assert_eq!(holder(world), "thief");
}

fn a_hold_that_outlasts_an_outage_is_in_doubt_and_then_goes_on(world: &World) {
    let relay = Relay::to(&world.server_url());
    let hold = take(world, &short(world, world.cluster(Some(relay.url())), "first"));
    outlive_renewals(world, 1);
    relay.cut();
    turns(world, &hold, &LeaseSeen::Unsure);
    assert!(world.block_on(hold.renew_now()).is_err(), "nobody confirms it");
    assert!(!hold.is_held());
    relay.mend();
    turns(world, &hold, &LeaseSeen::Held);
    world.block_on(hold.renew_now()).unwrap();
    assert_eq!(holder(world), "first");
}

fn a_hold_that_was_taken_over_during_an_outage_is_lost_to_its_holder(world: &World) {
    let relay = Relay::to(&world.server_url());
    let hold = take(world, &short(world, world.cluster(Some(relay.url())), "first"));
    relay.cut();
    let second = world.block_on(short(world, world.cluster(None), "second").wait(|_| {}));
    assert!(hold.seen() == LeaseSeen::Unsure && second.is_held(), "{:?}", hold.seen());
    relay.mend();
    turns(world, &hold, &LeaseSeen::Lost("second".into()));
    assert_eq!(holder(world), "second");
}

fn a_holder_that_is_silent_has_as_long_as_it_says(world: &World) {
    let pace = Pace::of(Duration::from_secs(60));
    take(world, &candidate(world, world.cluster(None), "first").with_pace(pace)).abandon();
    let (clock, ahead) = moving_clock();
    let second = short(world, world.cluster(None), "second").with_clock(clock);
    let on_wait = |holder: &str, wait: Duration| {
        assert_eq!((holder, wait.as_secs()), ("first", 60));
        ahead.fetch_add(60, Ordering::SeqCst);
    };
    let hold = world.block_on(second.take(on_wait)).unwrap();
    assert!(hold.is_held() && holder(world) == "second");
}

fn a_lease_of_other_tools_is_taken_unless_it_is_held(world: &World) {
    let taken = || world.block_on(candidate(world, world.cluster(None), "ours").take_unless_held());
    let hold = taken().unwrap();
    world.block_on(hold.release(BTreeMap::new())).unwrap();
    let theirs = |age: i64| {
        let renewed = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(age);
        let renewed = renewed.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let spec = json!({"holderIdentity": "NHC-w1", "leaseDurationSeconds": 600, "renewTime": renewed});
        edit(world, &json!({"spec": spec}));
    };
    theirs(10);
    let held = taken();
    assert!(matches!(&held, Err(LeaseError::Held { holder, .. }) if holder == "NHC-w1"), "{:?}", held.err());
    theirs(700);
    assert!(taken().unwrap().is_held());
    let key = LeaseKey::of_medik8s("w1");
    let nowhere = Candidate::new(world.cluster(None), key, "ours".into());
    let missing = world.block_on(nowhere.take_unless_held()).map(drop).unwrap_err();
    assert!(missing.is_missing_namespace(), "{missing:?}");
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
