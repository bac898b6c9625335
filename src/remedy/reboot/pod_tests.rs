//! What helper pods are, and which of them are leftovers.

#![allow(clippy::unwrap_used)]

use super::*;

const ID: &str = "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11";

fn options() -> HelperOptions {
    HelperOptions::new("kube-system", DEFAULT_IMAGE)
}

fn helper(name: &str, created: &str) -> HelperPod {
    HelperPod {
        name: name.into(),
        created: created.into(),
        labels: [(MANAGED_BY, MANAGER), (REMEDIATION, ID)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..HelperPod::default()
    }
}

#[test]
fn leftovers_are_old_ours_and_in_no_record() {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    for (created, old) in
        [("2026-01-01T10:59:59Z", true), ("2026-01-01T11:00:01Z", false), ("no time", false)]
    {
        assert_eq!(is_old(&helper("sciuro-probe-0b5e3f5a", created), now), old, "{created}");
    }
    let in_flight = |node: &str, id: Option<&str>| FleetNode {
        name: node.into(),
        in_flight: true,
        remediation: id.map(str::to_owned),
        ..FleetNode::default()
    };
    let fleet = [FleetNode::default(), in_flight("w1", Some("alive")), in_flight("w2", None)];
    let leftover = |name: &str| is_leftover(&helper(name, ""), &fleet);
    assert!(leftover("sciuro-reboot-0b5e3f5a-3") && leftover("sciuro-probe-0b5e3f5a"));
    for name in ["sciuro-reboot-ffffffff-3", "sciuro-probe-ffffffff", "coredns"] {
        assert!(!leftover(name), "{name}");
    }
    let mut other = helper("sciuro-reboot-0b5e3f5a-3", "");
    other.labels.insert(MANAGED_BY.into(), "Helm".into());
    assert!(!is_leftover(&other, &fleet), "of another manager");
    let mut live = helper("sciuro-reboot-alive-1", "");
    live.labels.insert(REMEDIATION.into(), "alive".into());
    assert!(!is_leftover(&live, &fleet), "in a record");
    let unknown = HelperPod { node: "w2".into(), ..helper("sciuro-probe-0b5e3f5a", "") };
    assert!(!is_leftover(&unknown, &fleet), "the record on its node cannot be read");
}

#[test]
fn ids_that_may_stand_in_a_path() {
    assert!(check_id(ID).is_ok());
    for bad in ["", "../x", "{0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11}", "0B5E3F5A-7A53-4D0B-8F43-0B9C7A1F0C11"]
    {
        assert!(check_id(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_pod() {
    let pod = manifest("sciuro-reboot-0b5e3f5a-1", "reboot", &["SCRIPT", "BOOT", "9"], &options(), "w1", ID);
    insta::assert_json_snapshot!(pod);
}
