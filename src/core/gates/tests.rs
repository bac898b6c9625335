//! Each gate, shut and open.

use std::collections::BTreeSet;

use super::*;

/// `fleet(5)`: w1 to w5, all fine.
fn fleet(nodes: usize) -> Vec<FleetNode> {
    let node = |number| FleetNode {
        name: format!("w{number}"),
        ready: true,
        boot_id: format!("boot-{number}"),
        ..FleetNode::default()
    };
    (1..=nodes).map(node).collect()
}

/// To take w1 down.
fn situation(nodes: &[FleetNode]) -> Situation<'_> {
    Situation {
        nodes,
        target: "w1",
        method: Method::Pod,
        max_unavailable: MaxUnavailable::Percent(20),
        claims: &[],
        boot_id: nodes.iter().find(|node| node.name == "w1").map_or("", |node| &node.boot_id),
        own_node: None,
        own_boot_id: None,
    }
}

fn gates(situation: &Situation<'_>) -> Vec<&'static str> {
    refusals(situation, &BTreeSet::new()).iter().map(|refusal| refusal.gate.name()).collect()
}

/// The gates that refuse w1 among `nodes` after a change of them.
#[track_caller]
fn after(nodes: usize, change: impl FnOnce(&mut Vec<FleetNode>)) -> Vec<&'static str> {
    let mut nodes = fleet(nodes);
    change(&mut nodes);
    gates(&situation(&nodes))
}

const NONE: [&str; 0] = [];

#[test]
fn a_fleet_that_is_fine_refuses_nothing() {
    assert_eq!(after(10, |_| {}), NONE);
    assert_eq!(after(2, |_| {}), NONE, "one of two may always go");
}

#[test]
fn control_plane() {
    let roles = |nodes: &mut Vec<FleetNode>| {
        nodes.iter_mut().take(3).for_each(|node| node.control_plane = true);
    };
    assert_eq!(after(20, roles), NONE);
    let troubles: [fn(&mut FleetNode); 3] =
        [|node| node.ready = false, |node| node.unschedulable = true, |node| node.in_flight = true];
    for trouble in troubles {
        let with = |index: usize| after(20, |nodes| (roles(nodes), trouble(&mut nodes[index])).1);
        assert_eq!(with(2), ["control-plane"]);
        assert_eq!(with(3), NONE, "a worker's trouble is no matter");
        let worker = after(20, |nodes| {
            nodes[1].control_plane = true;
            trouble(&mut nodes[1]);
        });
        assert_eq!(worker, NONE, "nor is it if the target is a worker");
    }
    assert_eq!(
        after(20, |nodes| (roles(nodes), nodes[0].unschedulable = true, nodes[0].in_flight = true).1),
        NONE,
        "the target's own state is no other's"
    );
}

#[test]
fn max_unavailable() {
    // Nodes, how many of them may be away at 20 %.
    for (nodes, limit) in [(1, 1), (4, 1), (5, 1), (9, 1), (10, 2), (14, 2), (15, 3), (1_000, 200)] {
        let away: [fn(&mut FleetNode); 3] =
            [|node| node.ready = false, |node| node.cordoned_by_us = true, |node| node.in_flight = true];
        for away in away {
            let with = |others: usize| {
                let refusing = after(nodes, |all| all.iter_mut().skip(1).take(others).for_each(away));
                refusing.contains(&"max-unavailable")
            };
            assert!(!with(limit - 1), "{nodes}");
            assert!(nodes == 1 || with(limit), "{nodes}");
        }
    }
    let foreign =
        after(10, |nodes| nodes.iter_mut().skip(1).take(8).for_each(|node| node.unschedulable = true));
    assert_eq!(foreign, NONE, "a cordon of somebody else's is not counted");
    let all_at_once = after(10, |nodes| {
        nodes[1] = FleetNode { ready: false, in_flight: true, cordoned_by_us: true, ..nodes[1].clone() };
    });
    assert_eq!(all_at_once, NONE, "a node is counted once");
    let target = after(5, |nodes| nodes[0].in_flight = true);
    assert_eq!(target, NONE, "the target is counted once");
}

#[test]
fn max_unavailable_is_a_share_or_a_number() {
    let limit = |text: &str, nodes| text.parse::<MaxUnavailable>().map(|limit| limit.of(nodes));
    assert_eq!(limit("20%", 14), Ok(2));
    assert_eq!(limit("0%", 14), Ok(1));
    assert_eq!(limit("100%", 14), Ok(14));
    assert_eq!(limit("3", 14), Ok(3));
    for wrong in ["", "%", "0", "-1", "101%", "1.5", "20 %", "70000", "many"] {
        assert!(limit(wrong, 14).is_err(), "{wrong:?}");
    }
}

#[test]
fn last_ready() {
    assert_eq!(after(1, |_| {}), ["last-ready"]);
    assert_eq!(after(2, |nodes| nodes[1].unschedulable = true), ["last-ready"]);
    assert_eq!(after(2, |nodes| nodes[1].ready = false), ["last-ready", "max-unavailable"]);
    assert_eq!(after(3, |nodes| nodes[1].unschedulable = true), NONE);
}

#[test]
fn foreign_owner() {
    let nodes = fleet(10);
    let claims = ["kured holds its lock for it".to_owned(), "karpenter disrupts it".to_owned()];
    let claimed = Situation { claims: &claims, ..situation(&nodes) };
    let refusals = refusals(&claimed, &BTreeSet::new());
    assert_eq!(refusals[0].to_string(), "foreign-owner: kured holds its lock for it; karpenter disrupts it");
    assert_eq!(refusals.len(), 1);
}

#[test]
fn kubelet_unreachable() {
    let mut nodes = fleet(10);
    nodes[0].ready = false;
    for (method, expected) in [
        (Method::Pod, &["kubelet-unreachable"][..]),
        (Method::Signal, &["kubelet-unreachable"]),
        (Method::Ssh, &[]),
        (Method::Command, &[]),
        (Method::Manual, &[]),
    ] {
        assert_eq!(gates(&Situation { method, ..situation(&nodes) }), expected, "{method:?}");
    }
}

#[test]
fn excluded() {
    assert_eq!(after(10, |nodes| nodes[0].excluded = true), ["excluded"]);
    assert_eq!(after(10, |nodes| nodes[1].excluded = true), NONE);
}

#[test]
fn own_node() {
    let nodes = fleet(10);
    let on = |own_node, own_boot_id| gates(&Situation { own_node, own_boot_id, ..situation(&nodes) });
    assert_eq!(on(Some("w1"), None), ["self"]);
    assert_eq!(on(None, Some("boot-1")), ["self"]);
    assert_eq!(on(Some("w2"), Some("boot-2")), NONE);
    assert_eq!(on(Some(""), Some("")), NONE);
}

#[test]
fn no_boot_id() {
    assert_eq!(after(10, |nodes| nodes[0].boot_id.clear()), ["no-boot-id"]);
    assert_eq!(after(10, |nodes| nodes[1].boot_id = "boot-1".into()), ["no-boot-id"]);
    assert_eq!(after(10, |nodes| nodes[1].boot_id.clear()), NONE);
    let none_has_one = after(10, |nodes| nodes.iter_mut().for_each(|node| node.boot_id.clear()));
    assert_eq!(none_has_one, ["no-boot-id"], "an empty one is nobody's");
    assert!(after(10, |nodes| drop(nodes.remove(0))).contains(&"no-boot-id"), "the node has gone");
}

#[test]
fn a_gate_is_lifted_by_its_name() {
    let mut nodes = fleet(1);
    nodes[0].boot_id.clear();
    nodes[0].excluded = true;
    nodes[0].ready = false;
    let all = [Gate::NoBootId, Gate::Excluded, Gate::KubeletUnreachable, Gate::LastReady];
    let refusing = |lifted: &[Gate]| -> Vec<Gate> {
        let lifted = lifted.iter().copied().collect();
        refusals(&situation(&nodes), &lifted).iter().map(|refusal| refusal.gate).collect()
    };
    assert_eq!(refusing(&[]), all);
    assert_eq!(refusing(&[Gate::Excluded]), [Gate::NoBootId, Gate::KubeletUnreachable, Gate::LastReady]);
    assert_eq!(refusing(&Gate::ALL), [Gate::NoBootId], "which can never be lifted");
    assert!(Gate::overridable().all(|gate| gate != Gate::NoBootId));
    for gate in Gate::ALL {
        assert_eq!(gate.name().parse(), Ok(gate));
    }
}

/// By then the target is cordoned, drained and in flight, all of it by us.
#[test]
fn f9_b1_right_before_the_reboot_all_are_asked_again() {
    let mut nodes = fleet(5);
    nodes[0] = FleetNode { unschedulable: true, in_flight: true, cordoned_by_us: true, ..nodes[0].clone() };
    assert_eq!(gates(&situation(&nodes)), NONE);
    nodes[1].ready = false;
    assert_eq!(gates(&situation(&nodes)), ["max-unavailable"]);
    let own = Situation { own_node: Some("w1"), ..situation(&nodes) };
    assert_eq!(gates(&own), ["self", "max-unavailable"]);
}

/// The node may say another boot by now than the one that the request carries.
#[test]
fn f9_b1_the_boot_that_the_request_ends_is_nobody_elses() {
    let nodes = fleet(5);
    let ending = |boot_id, own_boot_id| gates(&Situation { boot_id, own_boot_id, ..situation(&nodes) });
    assert_eq!(ending("boot-2", None), ["no-boot-id"]);
    assert_eq!(ending("BOOT-2", None), ["no-boot-id"]);
    assert_eq!(ending("of-a-laptop", Some("of-a-laptop")), ["self"]);
    assert_eq!(ending("of-a-laptop", Some("boot-1")), ["self"], "and what it says now");
    assert_eq!(ending("of-the-past", Some("of-a-laptop")), NONE);
}
