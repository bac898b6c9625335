//! Budgets over the pods of one node, added up.

use super::super::budget::{Allowance, Amount};
use super::super::pod::Phase;
use super::super::selector::Selector;
use super::*;

fn pod(name: &str) -> Pod {
    Pod { namespace: "ns".into(), name: name.into(), phase: Phase::Running, ready: true, ..Pod::default() }
}

fn unready(name: &str) -> Pod {
    Pod { ready: false, ..pod(name) }
}

/// Over all pods of `ns`.
fn budget(name: &str, allowed: i32) -> Budget {
    Budget {
        namespace: "ns".into(),
        name: name.into(),
        selector: Some(Selector::default()),
        allowance: Allowance::MaxUnavailable(Amount::Count(1)),
        allowed,
        healthy: 2 + allowed,
        desired: 2,
        expected: 3,
        counted: true,
        ..Budget::default()
    }
}

fn lines(pods: &[Pod], budgets: &[Budget]) -> Vec<String> {
    findings(pods, budgets).iter().map(|finding| format!("{}: {finding}", finding.gate())).collect()
}

#[test]
fn what_budgets_allow_is_added_up() {
    let two = [pod("a"), pod("b")];
    let nothing: [&str; 0] = [];
    assert_eq!(lines(&two, &[budget("pdb", 2)]), nothing);
    assert_eq!(
        lines(&two, &[budget("pdb", 1)]),
        ["budget-allows-fewer: disruption budget ns/pdb allows 1 now, and covers 2 pods here"]
    );
    assert_eq!(
        lines(&two[..1], &[budget("pdb", 0)]),
        [
            "budget-exhausted: disruption budget ns/pdb allows no eviction now: 2 of 2 pods that it needs are healthy (1 pod here)"
        ]
    );
    assert_eq!(
        lines(&two[..1], &[budget("one", 1), budget("two", 1)]),
        [
            "budget-overlap: pod ns/a is covered by several disruption budgets (ns/one, ns/two): the server refuses to evict it"
        ]
    );
}

#[test]
fn some_budgets_never_allow_anything() {
    let one = [pod("a")];
    for (allowance, why) in [
        (Allowance::MaxUnavailable(Amount::Count(0)), Some("maxUnavailable is 0")),
        (Allowance::MaxUnavailable(Amount::Percent(0)), Some("maxUnavailable is 0%")),
        (Allowance::MinAvailable(Amount::Percent(100)), Some("minAvailable is 100%")),
        (Allowance::MaxUnavailable(Amount::Percent(1)), None),
        (Allowance::MinAvailable(Amount::Count(100)), None),
        (Allowance::MinAvailable(Amount::Percent(99)), None),
        (Allowance::Unset, None),
    ] {
        let budget = Budget { allowance, ..budget("pdb", 0) };
        assert_eq!(budget.never().as_deref(), why, "{allowance:?}");
        let refused = findings(&one, &[budget]).iter().any(Finding::refuses);
        assert_eq!(refused, why.is_some(), "{allowance:?}");
    }
}

#[test]
fn f9_d7_what_needs_all_of_its_pods_never_allows_anything() {
    let one = [pod("a")];
    let all = Budget {
        allowance: Allowance::MinAvailable(Amount::Count(3)),
        healthy: 3,
        desired: 3,
        expected: 3,
        ..budget("pdb", 0)
    };
    assert_eq!(
        lines(&one, std::slice::from_ref(&all)),
        [
            "budget-misconfigured: disruption budget ns/pdb never allows an eviction: it needs all 3 of its pods to be healthy (1 pod here)"
        ]
    );
    let never = |budget: &Budget| budget.never();
    assert!(never(&Budget { healthy: 2, ..all.clone() }).is_some(), "not only while all are healthy");
    assert_eq!(
        never(&Budget { desired: 5, ..all.clone() }).as_deref(),
        Some("it needs 5 healthy pods, and expects 3")
    );
    assert_eq!(never(&Budget { desired: 2, ..all.clone() }), None, "it is exhausted now");
    assert_eq!(never(&Budget { counted: false, ..all.clone() }), None, "what it was before it was changed");
    assert_eq!(
        never(&Budget { desired: 0, expected: 0, ..all.clone() }).as_deref(),
        Some("it counts none of its pods: they have no controller")
    );
    assert_eq!(never(&Budget { allowed: 1, healthy: 4, ..all }), None, "a rollout has one more");
}

#[test]
fn f9_d7_nobody_is_told_to_edit_what_a_manager_makes_again() {
    let one = [unready("a")];
    let zero = Budget {
        allowance: Allowance::MaxUnavailable(Amount::Count(0)),
        healthy: 1,
        manager: Some("CephCluster/rook-ceph".into()),
        ..budget("rook-ceph-osd-host-a", 0)
    };
    let found = findings(&one, std::slice::from_ref(&zero));
    assert_eq!(
        found[0].to_string(),
        "disruption budget ns/rook-ceph-osd-host-a never allows an eviction: maxUnavailable is 0 (1 pod here); it is managed by CephCluster/rook-ceph"
    );
    let describe = "kubectl describe poddisruptionbudget rook-ceph-osd-host-a -n ns";
    assert_eq!(found[0].hint(), describe);
    let held = Budget { allowance: Allowance::MaxUnavailable(Amount::Count(1)), ..zero.clone() };
    assert_eq!(findings(&one, &[held])[0].hint(), describe, "nor to patch it");
    let own = Budget { manager: None, ..zero };
    assert_eq!(
        findings(&one, &[own])[0].hint(),
        "kubectl edit poddisruptionbudget rook-ceph-osd-host-a -n ns"
    );
}

#[test]
fn f9_d8_a_budget_whose_pods_cannot_be_counted_says_why() {
    let why = "found no controllers for pod \"a\"";
    let failed =
        Budget { sync_failed: Some(why.into()), healthy: 0, desired: 0, expected: 0, ..budget("pdb", 0) };
    assert_eq!(
        lines(&[pod("a")], &[failed]),
        [format!(
            "budget-misconfigured: disruption budget ns/pdb never allows an eviction: its controller cannot count its pods: {why} (1 pod here)"
        )]
    );
}

#[test]
fn unhealthy_pods_may_hold_a_budget() {
    let held = Budget { healthy: 1, ..budget("pdb", 0) };
    assert_eq!(
        lines(&[unready("a"), pod("b")], std::slice::from_ref(&held)),
        [
            "unhealthy-pods-hold-budget: disruption budget ns/pdb allows no eviction, and pods that are not Ready hold it: ns/a"
        ]
    );
    let hint = findings(&[unready("a")], std::slice::from_ref(&held))[0].hint();
    let patch = r#"-p '{"spec":{"unhealthyPodEvictionPolicy":"AlwaysAllow"}}'"#;
    assert_eq!(hint, format!("kubectl patch poddisruptionbudget pdb -n ns --type merge {patch}"));
    let frees = Budget { frees_unhealthy: true, ..held };
    assert!(findings(&[unready("a")], &[frees]).is_empty());
    assert!(findings(&[unready("a")], &[budget("pdb", 0)]).is_empty(), "enough others are healthy");
}

#[test]
fn pods_that_no_budget_guards_do_not_count() {
    let frozen = Budget { allowance: Allowance::MaxUnavailable(Amount::Count(0)), ..budget("pdb", 0) };
    let free = [
        Pod { phase: Phase::Succeeded, ..pod("a") },
        Pod { phase: Phase::Failed, ..pod("b") },
        Pod { phase: Phase::Pending, ..pod("c") },
        Pod { deletion: Some(jiff::Timestamp::UNIX_EPOCH), ..pod("d") },
        Pod { namespace: "other".into(), ..pod("e") },
    ];
    assert!(findings(&free, &[frozen.clone(), budget("two", 0)]).is_empty());
    assert!(findings(&[pod("a")], &[Budget { selector: None, ..frozen }]).is_empty(), "no selector, no pod");
}
