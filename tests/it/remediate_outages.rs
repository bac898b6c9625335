//! Nobody can reach the API server for two minutes, twice as long as a node's Lease lasts, and the node reboots meanwhile.

mod control_plane {
    use std::time::{Duration, Instant};

    use ::sandbox::Boot;
    use serde_json::Value;

    use crate::support::{Cluster, Fleet, Relay, World};
    use crate::watch::eventually;

    const AWAY: Duration = Duration::from_secs(120);
    const LEASE: [&str; 2] = ["--lease-duration", "60s"];

    /// All at the same time: each of them mostly waits.
    #[test]
    fn two_minutes_without_an_api_server() {
        std::thread::scope(|scope| {
            scope.spawn(the_server_is_gone);
            scope.spawn(nothing_arrives);
            scope.spawn(another_goes_on);
            scope.spawn(another_comes_to_the_end);
        });
    }

    fn wait_for_the_rest(since: Instant) {
        std::thread::sleep(AWAY.saturating_sub(since.elapsed()));
    }

    fn has_rebooted(fleet: &Fleet<'_>, before: &str) {
        fleet.until("a new boot", || fleet.machines.facts(&fleet.node).unwrap().boot_id != before);
    }

    #[track_caller]
    fn is_remediated_once(fleet: &Fleet<'_>) {
        assert_eq!(fleet.orders(), (1, 1));
        assert_eq!(fleet.record(), Value::Null);
        assert!(!fleet.is_cordoned());
        let node = fleet.world.get_node(&fleet.node);
        let last = node["metadata"]["annotations"]["sciuro.dev/last-remediation"].as_str().unwrap();
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(last["outcome"], "remediated", "{last}");
        assert_eq!(last["bootID"], fleet.boot_id().as_str(), "{last}");
        assert_eq!(last["attempts"], 1, "{last}");
        fleet.nothing_is_left();
    }

    /// Connections are refused to everybody, the kubelets included. The Lease is not anybody's who was not there.
    fn the_server_is_gone() {
        let mut cluster = Cluster::start();
        let world = &World::on(&cluster.kubeconfig());
        let fleet = Fleet::new(world);
        let before = fleet.boot_id();
        // Not Ready until it is told: the run is under way for as long as somebody else is to see.
        let slow =
            Boot { silence: Duration::from_secs(2), not_ready: Duration::from_secs(600), ..Boot::default() };
        fleet.machines.boots(&fleet.node, slow).unwrap();
        let mut alice = fleet.begin_as("alice", &LEASE);
        fleet.until_in("WaitBoot");
        cluster.kill_server();
        let since = Instant::now();
        has_rebooted(&fleet, &before);
        let holder = |who: &str| fleet.record()["holder"].as_str().unwrap().starts_with(who);
        wait_for_the_rest(since);
        cluster.start_server();
        let path = format!("/api/v1/nodes/{}", fleet.node);
        eventually("an API server", || world.try_api("GET", &path, "application/json", &Value::Null).is_ok());
        fleet.until("the kubelet's news", || {
            world.get_node(&fleet.node)["status"]["nodeInfo"]["bootID"] != before.as_str()
        });
        let mut bob = fleet.begin_as("bob", &[&LEASE[..], &["--resume"]].concat());
        let (_, said) = bob.ends(9);
        assert!(said.join("\n").contains("alice@"), "{said:#?}");
        assert!(holder("alice@"));
        world.block_on(fleet.machines.set_ready(&fleet.node, true)).unwrap();
        alice.ends(0);
        is_remediated_once(&fleet);
    }

    /// And nobody is told: what was connected stays connected to nothing, afterwards, too.
    fn nothing_arrives() {
        let world = &World::control_plane();
        let fleet = Fleet::new(world);
        let before = fleet.boot_id();
        let relay = Relay::that_forgets(&world.server_url());
        fleet
            .machines
            .boots(&fleet.node, Boot { silence: Duration::from_secs(2), ..Boot::default() })
            .unwrap();
        let mut alice = fleet.begin_as("alice", &[&LEASE[..], &["--server", relay.url()]].concat());
        fleet.until_in("WaitBoot");
        relay.cut();
        let since = Instant::now();
        has_rebooted(&fleet, &before);
        wait_for_the_rest(since);
        assert_eq!(fleet.record()["state"], "WaitBoot");
        relay.mend();
        fleet.until("an end", || fleet.record().is_null());
        alice.ends(0);
        is_remediated_once(&fleet);
    }

    /// The Lease runs out before the eyes of somebody who is not cut off. Whoever comes back is told so, and acts no more.
    fn another_goes_on() {
        let world = &World::control_plane();
        let fleet = Fleet::new(world);
        let relay = Relay::that_forgets(&world.server_url());
        fleet.machines.boots(&fleet.node, Boot { never_back: true, ..Boot::default() }).unwrap();
        let mut alice = fleet.begin_as("alice", &[&LEASE[..], &["--server", relay.url()]].concat());
        fleet.until_in("WaitBoot");
        relay.cut();
        let since = Instant::now();
        let mut bob = fleet.begin_as("bob", &[&LEASE[..], &["--resume"]].concat());
        wait_for_the_rest(since);
        let record = fleet.record();
        assert!(record["holder"].as_str().unwrap().starts_with("bob@"), "{record:#}");
        assert_eq!(record["state"], "WaitBoot");
        relay.mend();
        let (_, said) = alice.ends(9);
        assert!(said.join("\n").contains("bob@"), "{said:#?}");
        assert_eq!(fleet.record(), record, "she has left it alone");
        fleet.machines.boots(&fleet.node, Boot::default()).unwrap();
        fleet.machines.press_power(&fleet.node).unwrap();
        bob.ends(0);
        is_remediated_once(&fleet);
    }

    /// When the first one comes back the node is long in service, and stays so.
    fn another_comes_to_the_end() {
        let world = &World::control_plane();
        let fleet = Fleet::new(world);
        let relay = Relay::that_forgets(&world.server_url());
        fleet
            .machines
            .boots(&fleet.node, Boot { silence: Duration::from_secs(2), ..Boot::default() })
            .unwrap();
        let mut alice = fleet.begin_as("alice", &[&LEASE[..], &["--server", relay.url()]].concat());
        fleet.until_in("WaitBoot");
        relay.cut();
        let since = Instant::now();
        let mut bob = fleet.begin_as("bob", &[&LEASE[..], &["--resume"]].concat());
        wait_for_the_rest(since);
        bob.ends(0);
        is_remediated_once(&fleet);
        let face = fleet.face();
        relay.mend();
        alice.ends(9);
        assert_eq!(fleet.face(), face);
        is_remediated_once(&fleet);
    }
}
