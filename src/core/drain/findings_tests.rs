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
        frees_unhealthy: false,
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
        assert_eq!(budget.misconfigured(), why, "{allowance:?}");
        let refused = findings(&one, &[budget]).iter().any(Finding::refuses);
        assert_eq!(refused, why.is_some(), "{allowance:?}");
    }
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
