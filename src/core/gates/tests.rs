//! Each gate, shut and open.

#![allow(clippy::unwrap_used, clippy::panic)]

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
        told: const { &Told { address: None, is_known: false, provider_id: None, ips: Vec::new(), own: None } },
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
    assert_eq!(after(10, |nodes| nodes[1].boot_id.clear()), NONE);
    let none_has_one = after(10, |nodes| nodes.iter_mut().for_each(|node| node.boot_id.clear()));
    assert_eq!(none_has_one, ["no-boot-id"], "an empty one is nobody's");
    assert!(after(10, |nodes| drop(nodes.remove(0))).contains(&"no-boot-id"), "the node has gone");
}

/// Both nodes are named; a person may know better, of a kubelet that lies.
#[test]
fn f9_b5_shared_boot_id() {
    let mut nodes = fleet(10);
    nodes[1].boot_id = "Boot-1".into();
    let refused = &refusals(&situation(&nodes), &BTreeSet::new())[0];
    assert_eq!(refused.gate, Gate::SharedBootId);
    assert!(refused.reason.starts_with("w1 and w2 report the same boot id"), "{refused}");
    assert_eq!(refusals(&situation(&nodes), &[Gate::SharedBootId].into()), []);
}

/// w1 of dc1, beside w2 with all that a Node can say of itself.
fn told(change: impl FnOnce(&mut Told)) -> Vec<Refusal> {
    let mut nodes = fleet(2);
    nodes[0].addresses = vec!["10.0.0.1".into()];
    nodes[1] = FleetNode {
        hostname: Some("second".into()),
        addresses: ["10.0.0.2", "FD00:0::2", "node2.example", "-oProxyCommand=x", ""]
            .map(String::from)
            .into(),
        provider_id: Some("metal3://ns/B".into()),
        ..nodes[1].clone()
    };
    let mut told = Told::default();
    change(&mut told);
    refusals(&Situation { told: &told, method: Method::Ssh, ..situation(&nodes) }, &BTreeSet::new())
}

fn address(text: &str) -> Vec<Refusal> {
    told(|told| {
        told.address = Some(text.to_owned());
        told.ips = crate::core::address::ip(text).into_iter().collect();
    })
}

#[test]
fn f9_b3_an_address_of_the_machine_itself() {
    for good in ["10.0.0.1", "10.9.9.9", "fd00::1", "w1", "W1", "w1.dc1.example"] {
        assert_eq!(address(good), [], "{good}");
    }
    assert_eq!(told(|_| {}), [], "none is used");
}

#[test]
fn f9_b3_an_address_that_is_anothers_can_be_overridden() {
    for (text, why) in [
        ("10.0.0.2", "that is also an address of w2"),
        ("fd00::2", "that is also an address of w2"),
        ("fd00:0:0::2", "that is also an address of w2"),
        ("Node2.example", "that is also an address of w2"),
        ("w2", "that is a name of w2"),
        ("w2.dc1.example", "that is a name of w2"),
        ("second", "that is a name of w2"),
        ("db1.corp.example", "that is not its name"),
        ("bastion", "that is not its name"),
    ] {
        let [refusal] = &*address(text) else { panic!("{text}") };
        assert_eq!(refusal.to_string(), format!("address: the node says that its address is {text}: {why}"));
        assert!(refusal.can_be_overridden, "{text}");
    }
    let resolved = told(|told| {
        told.address = Some("w1".into());
        told.ips = vec!["10.0.0.2".parse().unwrap()];
    });
    assert!(resolved[0].reason.ends_with("that is also an address of w2"), "{resolved:?}");
}

#[test]
fn f9_b3_an_address_that_leads_here_or_anywhere_cannot() {
    for (text, why) in [
        ("localhost", "that is whatever machine uses it"),
        ("w1.localhost", "that is whatever machine uses it"),
        ("127.0.0.1", "that is whatever machine uses it"),
        ("127.8.8.8", "that is whatever machine uses it"),
        ("::1", "that is whatever machine uses it"),
        ("0.0.0.0", "that is whatever machine uses it"),
        ("::", "that is whatever machine uses it"),
        ("::ffff:127.0.0.1", "that is whatever machine uses it"),
        ("::ffff:10.0.0.1", "that is another way to write 10.0.0.1"),
        ("64:ff9b::a00:1", "that is another way to write 10.0.0.1"),
        ("::10.0.0.1", "that is another way to write 10.0.0.1"),
        ("255.255.255.255", "that is many machines"),
        ("224.0.0.1", "that is many machines"),
        ("ff02::1", "that is many machines"),
        ("127.1", "programs read such a number as an address of four parts"),
        ("2130706433", "programs read such a number as an address of four parts"),
        ("0x7f000001", "programs read such a number as an address of four parts"),
        ("0x7F.1", "programs read such a number as an address of four parts"),
        ("w1.0x", "programs read such a number as an address of four parts"),
        ("010.0.0.1", "programs read such a number as an address of four parts"),
    ] {
        let [refusal] = &*address(text) else { panic!("{text}") };
        assert_eq!(refusal.reason, format!("the node says that its address is {text}: {why}"));
        assert!(!refusal.can_be_overridden, "{text}");
    }
    for (ip, own, why) in [
        ("10.0.0.1", Some("10.0.0.1"), "that is this machine (10.0.0.1)"),
        ("127.0.1.1", None, "that is no machine's own (127.0.1.1)"),
    ] {
        let [refusal] = &*told(|told| {
            told.address = Some("w1".into());
            told.ips = vec![ip.parse().unwrap()];
            told.own = own.map(|own| own.parse().unwrap());
        }) else {
            panic!("{ip}")
        };
        assert_eq!(refusal.reason, format!("the node says that its address is w1: {why}"));
        assert!(!refusal.can_be_overridden, "{ip}");
    }
}

#[test]
fn f9_b3_a_provider_id() {
    let id = |id: &str| told(|told| told.provider_id = Some(id.to_owned()));
    for good in
        ["metal3://ns/a", "kind://docker/kind/w1", "aws:///eu-west-1a/i-0abc", "hcloud://7", "x://y/0"]
    {
        assert_eq!(id(good), [], "{good}");
    }
    for (other, why) in [
        ("metal3://ns/b", "so does w2"),
        ("metal3://other/B", "so does w2"),
        ("metal3://ns/w2", "that is a name of w2"),
        ("metal3://w2/a", "that is a name of w2"),
        ("metal://10.0.0.2", "that is also an address of w2"),
        ("ipmi://10.0.0.2:623", "that is also an address of w2"),
        ("ipmi://::ffff:10.0.0.2:623", "that is also an address of w2"),
        ("ipmi://167772162", "that is also an address of w2"),
        ("redfish://W2:443/redfish/v1", "that is a name of w2"),
    ] {
        let [refusal] = &*id(other) else { panic!("{other}") };
        assert_eq!(refusal.reason, format!("the node says that its provider ID is {other}: {why}"));
        assert!(refusal.can_be_overridden, "{other}");
    }
    for here in [
        "127.0.0.1/a",
        "localhost:623",
        "LOCALHOST.",
        "127.1",
        "2130706433",
        "0x7f000001:623",
        "192.0.2.7:623",
    ] {
        let here = told(|told| {
            told.provider_id = Some(format!("ipmi://{here}"));
            told.own = Some([192, 0, 2, 7].into());
        });
        assert!(here.iter().any(|refusal| !refusal.can_be_overridden), "{here:?}");
    }
}

/// A file may be mistaken, and a person may know a name that the node does not have.
#[test]
fn f9_b3_an_address_of_a_file() {
    let known = |text: &str| {
        told(|told| {
            told.address = Some(text.to_owned());
            told.is_known = true;
            told.ips = crate::core::address::ip(text).into_iter().collect();
        })
    };
    for good in ["10.0.0.9", "bmc-w1.corp.example"] {
        assert_eq!(known(good), [], "{good}");
    }
    for (text, can_be_overridden) in
        [("10.0.0.2", true), ("w2", true), ("127.0.1.1", false), ("127.1", false)]
    {
        let [refusal] = &*known(text) else { panic!("{text}") };
        assert!(refusal.reason.starts_with("the address file says"), "{refusal}");
        assert_eq!(refusal.can_be_overridden, can_be_overridden, "{text}");
    }
}

/// Two overrides must not take away both things by which a machine is known.
#[test]
fn f9_b5_where_a_machine_is_has_to_be_known_if_its_boot_is_not_its_own() {
    let mut nodes = fleet(2);
    nodes[1].boot_id = "boot-1".to_owned();
    let lifted = [Gate::SharedBootId, Gate::Address].into();
    let refusing = |change: fn(&mut Told)| {
        let mut told = Told::default();
        change(&mut told);
        refusals(&Situation { told: &told, ..situation(&nodes) }, &lifted).len()
    };
    assert_eq!(refusing(|_| {}), 0, "a pod is on it");
    assert_eq!(refusing(|told| told.address = Some("10.9.9.9".into())), 1);
    assert_eq!(refusing(|told| told.address = Some("db1.corp.example".into())), 1);
    assert_eq!(refusing(|told| told.provider_id = Some("m://a".into())), 1);
    assert_eq!(refusing(|told| (told.address, told.is_known) = (Some("10.9.9.9".into()), true)), 0);
}

/// A gate that is overridden stays shut for what no override lifts.
#[test]
fn f9_b3_an_override_lifts_what_can_be_lifted_only() {
    let nodes = fleet(2);
    let lifted = [Gate::Address].into();
    let refusing = |text: &str| {
        let told = Told { address: Some(text.into()), ..Told::default() };
        refusals(&Situation { told: &told, ..situation(&nodes) }, &lifted).len()
    };
    assert_eq!((refusing("db1.corp.example"), refusing("localhost")), (0, 1));
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
    assert_eq!(ending("boot-2", None), ["shared-boot-id"]);
    assert_eq!(ending("BOOT-2", None), ["shared-boot-id"]);
    assert_eq!(ending("of-a-laptop", Some("of-a-laptop")), ["self"]);
    assert_eq!(ending("of-a-laptop", Some("boot-1")), ["self"], "and what it says now");
    assert_eq!(ending("of-the-past", Some("of-a-laptop")), NONE);
}
