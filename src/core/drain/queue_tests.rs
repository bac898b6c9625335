//! Which pod is evicted when: told step by step.

use super::super::classify::Blocked;
use super::super::pod::Owner;
use super::super::selector::Selector;
use super::*;

fn now(seconds: u64) -> Now {
    let wall = i64::try_from(seconds).unwrap_or_default();
    Now { elapsed: Duration::from_secs(seconds), wall: Timestamp::from_second(wall).unwrap_or_default() }
}

fn pod(name: &str) -> Pod {
    let owner = Owner { uid: "set".into(), ..Owner::default() };
    Pod {
        namespace: "ns".into(),
        name: name.into(),
        uid: name.into(),
        owner: Some(owner),
        phase: Phase::Running,
        ready: true,
        ..Pod::default()
    }
}

fn budget(allowed: i32) -> Budget {
    Budget {
        namespace: "ns".into(),
        name: "pdb".into(),
        selector: Some(Selector::default()),
        allowed,
        ..Budget::default()
    }
}

/// With pods `p0` to `p<pods-1>`.
fn queue(pods: usize, budgets: Vec<Budget>) -> Queue {
    let limits = Limits { in_flight: 20, budgets: true, shortens: false };
    let mut queue = Queue::new(limits, Policy::default(), budgets);
    for number in 0..pods {
        queue.add(pod(&format!("p{number}")), Verdict::Evict(Vec::new()), false);
    }
    queue
}

fn due(queue: &mut Queue, seconds: u64) -> Vec<String> {
    queue.due(now(seconds)).into_iter().map(|order| order.name).collect()
}

fn refusal(retry_after: Option<u64>) -> Answer {
    let why = "The disruption budget pdb needs 2 healthy pods and has 2 currently".into();
    Answer::Budget { name: Some("pdb".into()), why, retry_after: retry_after.map(Duration::from_secs) }
}

fn said(queue: &mut Queue, seconds: u64) -> Vec<String> {
    queue.tick(now(seconds));
    queue.said()
}

#[test]
fn so_many_requests_at_a_time() {
    let mut queue = queue(25, Vec::new());
    assert_eq!(due(&mut queue, 0).len(), 20);
    assert!(due(&mut queue, 0).is_empty());
    queue.answered("p0", Answer::Accepted, now(0));
    queue.answered("p1", Answer::Accepted, now(0));
    assert_eq!(due(&mut queue, 0).len(), 2, "pods that end are no requests");
    assert_eq!(queue.progress(), (0, 25));
    queue.gone("p0");
    assert_eq!(queue.progress(), (1, 25));
}

#[test]
fn as_many_under_a_budget_as_it_allows_then_one() {
    let mut queue = queue(5, vec![budget(2)]);
    assert_eq!(due(&mut queue, 0), ["p0", "p1"]);
    queue.answered("p0", Answer::Accepted, now(0));
    assert!(due(&mut queue, 0).is_empty(), "one is allowed, and asked for");
    queue.answered("p1", Answer::Accepted, now(0));
    assert_eq!(due(&mut queue, 0), ["p2"], "then it is a matter of asking");
    queue.answered("p2", refusal(None), now(0));
    assert!(due(&mut queue, 4).is_empty());
    assert_eq!(queue.wakes_at(now(0)), Some(Duration::ZERO), "to tell a person");
    assert_eq!(due(&mut queue, 5), ["p2"]);
    queue.answered("p2", Answer::Accepted, now(5));
    assert_eq!(due(&mut queue, 5), ["p3"], "what was allowed is followed by the next");
}

#[test]
fn pauses_grow_and_obey_the_server() {
    let mut queue = queue(1, vec![budget(0)]);
    let mut at = 0;
    for pause in [5, 10, 20, 40, 60, 60] {
        assert_eq!(due(&mut queue, at), ["p0"], "after {at}s");
        queue.answered("p0", refusal(None), now(at));
        queue.tick(now(at));
        assert!(due(&mut queue, at + pause - 1).is_empty(), "after {at}s");
        at += pause;
    }
    assert_eq!(due(&mut queue, at), ["p0"]);
    queue.answered("p0", Answer::Accepted, now(at));
    queue.gone("p0");
    queue.add(pod("q"), Verdict::Evict(Vec::new()), false);
    assert_eq!(due(&mut queue, at), ["q"]);
    queue.answered("q", refusal(Some(17)), now(at));
    assert!(due(&mut queue, at + 16).is_empty());
    assert_eq!(due(&mut queue, at + 17), ["q"]);
}

#[test]
fn news_of_a_budget_end_the_pause() {
    let mut queue = queue(1, vec![budget(0)]);
    due(&mut queue, 0);
    queue.answered("p0", refusal(None), now(0));
    queue.budget_changed(&budget(0), now(1));
    assert!(due(&mut queue, 1).is_empty());
    queue.budget_changed(&budget(1), now(2));
    assert_eq!(due(&mut queue, 2), ["p0"]);
    queue.answered("p0", refusal(Some(10)), now(2));
    queue.budget_changed(&budget(1), now(3));
    assert!(due(&mut queue, 11).is_empty(), "the server has asked for patience");
    assert_eq!(due(&mut queue, 12), ["p0"]);
    queue.answered("p0", refusal(None), now(12));
    queue.budget_gone("ns", "pdb");
    assert_eq!(due(&mut queue, 12), ["p0"], "nothing holds it any more");
}

#[test]
fn a_person_is_told_at_once_and_every_30_seconds() {
    let mut queue = queue(4, vec![budget(0)]);
    assert_eq!(due(&mut queue, 0), ["p0"]);
    queue.answered("p0", refusal(None), now(0));
    let line = "The disruption budget pdb needs 2 healthy pods and has 2 currently (namespace ns); waiting: p0, p1, p2 and 1 more; asking again in 5s";
    assert_eq!(said(&mut queue, 0), [line]);
    assert_eq!(queue.blocking(), Some("ns/pdb"));
    for at in [5, 15] {
        assert_eq!(due(&mut queue, at), ["p0"]);
        queue.answered("p0", refusal(None), now(at));
        assert!(said(&mut queue, at).is_empty());
    }
    assert_eq!(queue.wakes_at(now(15)), Some(Duration::from_secs(30)));
    assert_eq!(said(&mut queue, 30).len(), 1);
    due(&mut queue, 35);
    queue.answered("p0", Answer::Accepted, now(35));
    assert_eq!(queue.blocking(), None);
    assert!(said(&mut queue, 60).is_empty());
}

#[test]
fn too_many_requests_without_a_budget_slow_everything() {
    let mut queue = queue(2, Vec::new());
    due(&mut queue, 0);
    queue.answered("p0", Answer::Throttled { retry_after: Some(Duration::from_secs(3)) }, now(0));
    queue.answered("p1", Answer::Throttled { retry_after: None }, now(0));
    assert_eq!(queue.wakes_at(now(0)), Some(Duration::from_secs(3)));
    assert!(due(&mut queue, 2).is_empty());
    assert_eq!(due(&mut queue, 3), ["p0", "p1"]);
    assert!(queue.blocking().is_none());
}

#[test]
fn f9_d6_that_the_server_takes_no_more_requests_is_said() {
    let mut queue = queue(2, Vec::new());
    let throttled = || Answer::Throttled { retry_after: Some(Duration::from_secs(3)) };
    due(&mut queue, 0);
    queue.answered("p0", throttled(), now(0));
    queue.answered("p1", throttled(), now(0));
    let line = |pause| {
        format!(
            "the API server takes no more requests now (429 Too Many Requests): no pod is evicted for {pause}s"
        )
    };
    assert_eq!(said(&mut queue, 0), [line(3)], "once for all of them");
    assert_eq!(queue.left()[0].reason, "the API server takes no more requests now (429 Too Many Requests)");
    for at in [3, 6] {
        assert_eq!(due(&mut queue, at).len(), 2);
        queue.answered("p0", throttled(), now(at));
        queue.answered("p1", throttled(), now(at));
        assert_eq!(said(&mut queue, at), [""; 0]);
    }
    due(&mut queue, 30);
    queue.answered("p0", throttled(), now(30));
    assert_eq!(said(&mut queue, 30), [line(3)]);
}

fn denial(vmi: &str, retry_after: Option<u64>) -> Answer {
    let by = "admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\"";
    Answer::Denied {
        by: by.into(),
        why: format!("{by} denied the request: Eviction triggered evacuation of VMI \"ns/{vmi}\""),
        retry_after: retry_after.map(Duration::from_secs),
        hint: Hint::Webhooks,
    }
}

#[test]
fn f9_d5_what_a_webhook_denies_is_asked_again_with_pauses_of_its_own() {
    let mut queue = queue(1, Vec::new());
    let mut at = 0;
    for pause in [2, 4, 8, 16, 30, 30] {
        assert_eq!(due(&mut queue, at), ["p0"], "after {at}s");
        queue.answered("p0", denial("p0", None), now(at));
        assert!(due(&mut queue, at + pause - 1).is_empty(), "after {at}s");
        at += pause;
    }
    assert!(!queue.is_done());
    assert_eq!(queue.denying(), Some("admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\""));
    let left = queue.left();
    assert!(left[0].reason.ends_with("denied the request: Eviction triggered evacuation of VMI \"ns/p0\""));
    assert_eq!(left[0].hint, "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations");
    due(&mut queue, at);
    queue.answered("p0", Answer::Accepted, now(at));
    assert_eq!(queue.denying(), None);
    assert_eq!(said(&mut queue, at + 60).len(), 1, "what it said while it denied");
    assert_eq!(said(&mut queue, at + 120), [""; 0]);
}

#[test]
fn f9_d6_the_denial_of_one_pod_is_no_other_pods_and_is_said_at_once_and_every_30_s() {
    let mut queue = queue(5, Vec::new());
    assert_eq!(due(&mut queue, 0).len(), 5);
    for pod in ["p0", "p1", "p2", "p3"] {
        queue.answered(pod, denial(pod, Some(20)), now(0));
    }
    queue.answered("p4", Answer::Accepted, now(0));
    queue.gone("p4");
    queue.add(pod("q"), Verdict::Evict(Vec::new()), false);
    assert_eq!(due(&mut queue, 0), ["q"], "the queue is not slower");
    queue.answered("q", Answer::Accepted, now(0));
    let lines = said(&mut queue, 0);
    assert_eq!(lines.len(), 4, "each sentence once: {lines:?}");
    assert!(
        lines[0].starts_with("cannot evict pod ns/p0 yet, asking again in 20s: admission webhook \"virt")
    );
    assert!(due(&mut queue, 19).is_empty(), "the webhook has asked for patience");
    assert_eq!(due(&mut queue, 20).len(), 4);
    for pod in ["p0", "p1", "p2", "p3"] {
        queue.answered(pod, denial(pod, Some(20)), now(20));
    }
    assert_eq!(said(&mut queue, 20), [""; 0], "no sentence twice");
    assert_eq!(queue.wakes_at(now(20)), Some(Duration::from_secs(30)), "to remind a person");
    let lines = said(&mut queue, 30);
    assert_eq!(lines.len(), 1, "one reminder for what one webhook holds: {lines:?}");
    assert!(
        lines[0].ends_with("VMI \"ns/p3\"; waiting: ns/p0, ns/p1, ns/p2 and 1 more; asking again in 10s"),
        "{lines:?}"
    );
}

#[test]
fn f9_d10_a_sentence_of_the_server_is_said_once_for_all_pods() {
    let mut queue = queue(4, Vec::new());
    due(&mut queue, 0);
    for pod in ["p0", "p1"] {
        let why = "failed calling webhook \"w\"".to_owned();
        queue.answered(pod, Answer::Transient { why, retry_after: None, hint: Hint::Webhooks }, now(0));
    }
    for pod in ["p2", "p3"] {
        let why = "This pod has more than one PodDisruptionBudget".to_owned();
        queue.answered(pod, Answer::Refused { why, hint: Hint::Budgets }, now(0));
    }
    assert_eq!(
        said(&mut queue, 0),
        [
            "cannot evict pod ns/p0, trying again: failed calling webhook \"w\"",
            "cannot evict pod ns/p2: This pod has more than one PodDisruptionBudget"
        ]
    );
    assert_eq!(queue.left().len(), 4, "each pod is among those that are left");
}

#[test]
fn f9_d10_budgets_that_vanish_in_a_gap_hold_nothing() {
    let mut queue = queue(1, vec![budget(0)]);
    due(&mut queue, 0);
    queue.answered("p0", refusal(None), now(0));
    queue.budgets_are(&[budget(0)], now(1));
    assert!(due(&mut queue, 1).is_empty());
    queue.budgets_are(&[], now(1));
    assert_eq!(due(&mut queue, 1), ["p0"]);
    assert_eq!(queue.blocking(), None);
}

#[test]
fn f9_d10_deleting_is_called_so() {
    let limits = Limits { in_flight: 20, budgets: false, shortens: false };
    let mut queue = Queue::new(limits, Policy::default(), Vec::new());
    for name in ["a", "b"] {
        queue.add(pod(name), Verdict::Evict(Vec::new()), false);
    }
    due(&mut queue, 0);
    queue.answered("a", Answer::Refused { why: "no".into(), hint: Hint::Pod }, now(0));
    queue.answered("b", Answer::Accepted, now(0));
    assert_eq!(said(&mut queue, 0), ["cannot delete pod ns/a: no"]);
    assert_eq!(queue.left()[1].reason, "deleted, but it has not ended yet");
}

#[test]
fn f9_d10_a_pod_that_arrives_late_and_needs_a_flag_is_said_at_once() {
    let mut queue = queue(1, Vec::new());
    queue.add(pod("late"), Verdict::Blocked(Blocked::Unmanaged), true);
    let line = "pod ns/late arrived during the drain: cannot delete Pods that declare no controller (use --force to override)";
    assert_eq!(said(&mut queue, 0), [line]);
}

#[test]
fn errors_that_may_pass_are_tried_again_and_told_once() {
    let mut queue = queue(1, Vec::new());
    let mut at = 0;
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(due(&mut queue, at), ["p0"]);
        let why = "etcdserver: leader changed".into();
        let answer = Answer::Transient { why, retry_after: None, hint: Hint::Server };
        queue.answered("p0", answer, now(at));
        let lines = said(&mut queue, at);
        let line = "cannot evict pod ns/p0, trying again: etcdserver: leader changed";
        let reminder = "etcdserver: leader changed; waiting: ns/p0; asking again in ";
        match at {
            0 => assert_eq!(lines, [line]),
            31 | 61 => assert!(lines.len() == 1 && lines[0].starts_with(reminder), "{lines:?}"),
            _ => assert_eq!(lines, [""; 0], "after {at}s"),
        }
        assert!(due(&mut queue, at + pause - 1).is_empty());
        at += pause;
    }
    assert_eq!(queue.left()[0].reason, "etcdserver: leader changed");
}

#[test]
fn what_does_not_help_is_not_tried_again() {
    let mut queue = queue(2, Vec::new());
    due(&mut queue, 0);
    let why = "This pod has more than one PodDisruptionBudget".to_owned();
    queue.answered("p0", Answer::Refused { why: why.clone(), hint: Hint::Budgets }, now(0));
    assert_eq!(said(&mut queue, 0), [format!("cannot evict pod ns/p0: {why}")]);
    assert!(!queue.is_done(), "the other goes on");
    queue.answered("p1", Answer::Accepted, now(0));
    queue.gone("p1");
    assert!(queue.is_done());
    let left = queue.left();
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0].reason, left[0].hint.as_str()), (&why, "kubectl get poddisruptionbudgets -n ns"));
}

#[test]
fn a_pod_is_gone_when_the_watch_says_so() {
    let mut queue = queue(4, Vec::new());
    due(&mut queue, 0);
    assert_eq!(queue.gone("p0"), None, "its answer is still to come");
    assert_eq!(queue.answered("p0", Answer::Accepted, now(0)).map(|pod| pod.name), Some("p0".into()));
    queue.answered("p1", Answer::Gone, now(0));
    assert!(!queue.is_done());
    assert!(queue.gone("p1").is_some());
    queue.answered("p2", Answer::Conflict("the UID does not match".into()), now(0));
    assert!(queue.gone("p2").is_some());
    queue.answered("p3", Answer::NamespaceEnds, now(0));
    assert_eq!(queue.left()[0].reason, "its namespace is being deleted, and it has not ended yet");
    assert_eq!(queue.only(&std::collections::BTreeSet::new()).len(), 1);
    assert!(queue.is_done());
    assert_eq!(queue.progress(), (4, 4));
}

#[test]
fn pods_that_end_already_are_not_evicted() {
    let mut queue = queue(0, Vec::new());
    let ending = Pod { deletion: Some(Timestamp::UNIX_EPOCH), ..pod("p0") };
    queue.add(ending.clone(), Verdict::Evict(Vec::new()), false);
    assert!(due(&mut queue, 0).is_empty());
    assert!(!queue.is_done());
    queue.skip_wait_for_delete(1);
    assert_eq!(queue.wakes_at(now(0)), Some(Duration::from_secs(2)));
    assert!(said(&mut queue, 1).is_empty());
    assert_eq!(said(&mut queue, 2), ["pod ns/p0 has been ending for too long: it is not waited for"]);
    assert!(queue.is_done());
    assert_eq!(
        queue.kept().map(|(pod, kept)| (pod.name.as_str(), kept)).collect::<Vec<_>>(),
        [("p0", Kept::Skip(Skip::Ending))]
    );

    let limits = Limits { in_flight: 1, budgets: true, shortens: true };
    let mut queue = Queue::new(limits, Policy::default(), Vec::new());
    queue.add(ending, Verdict::Evict(Vec::new()), false);
    assert_eq!(due(&mut queue, 0), ["p0"], "--grace-period may shorten it");
}

#[test]
fn what_comes_back_is_evicted_twice_at_most() {
    for (tolerates_cordon, comebacks) in [(true, 1), (false, 2)] {
        let mut queue = queue(0, Vec::new());
        queue.add(Pod { tolerates_cordon, ..pod("p0") }, Verdict::Evict(Vec::new()), false);
        for number in 1..=comebacks + 1 {
            due(&mut queue, 0);
            let before = format!("p{}", number - 1);
            queue.answered(&before, Answer::Accepted, now(0));
            queue.gone(&before);
            let late = Pod { tolerates_cordon, ..pod(&format!("p{number}")) };
            queue.add(late, Verdict::Evict(Vec::new()), true);
        }
        assert!(queue.is_done(), "the last stays");
        assert_eq!(
            queue.said(),
            [format!("pod ns/p{} comes back whenever it is evicted: it stays", comebacks + 1)]
        );
        assert_eq!(queue.progress(), (comebacks + 1, comebacks + 1));
        assert_eq!(queue.left(), []);
    }
}

#[test]
fn a_late_pod_that_needs_a_flag_fails_the_drain_at_its_end() {
    let mut queue = queue(1, Vec::new());
    queue.add(pod("late"), Verdict::Blocked(Blocked::LocalStorage), true);
    assert_eq!(due(&mut queue, 0), ["p0"], "the others go on");
    queue.answered("p0", Answer::Accepted, now(0));
    queue.gone("p0");
    assert!(queue.is_done());
    assert_eq!(queue.left()[0].hint, "add --delete-emptydir-data");
}

#[test]
fn pods_that_a_budget_frees_do_not_wait_for_it() {
    let mut queue = queue(2, vec![Budget { frees_unhealthy: true, ..budget(0) }]);
    queue.add(Pod { ready: false, ..pod("sick") }, Verdict::Evict(Vec::new()), false);
    assert_eq!(due(&mut queue, 0), ["p0", "sick"]);
    queue.answered("p0", refusal(None), now(0));
    queue.answered("sick", refusal(None), now(0));
    assert!(due(&mut queue, 0).is_empty(), "the server sees it otherwise: not at once again");
    assert_eq!(due(&mut queue, 1), ["sick"]);
}

#[test]
fn deletion_asks_no_budget() {
    let limits = Limits { in_flight: 20, budgets: false, shortens: false };
    let mut queue = Queue::new(limits, Policy::default(), vec![budget(0)]);
    for name in ["a", "b", "c"] {
        queue.add(pod(name), Verdict::Evict(Vec::new()), false);
    }
    assert_eq!(due(&mut queue, 0).len(), 3);
}

#[test]
fn an_unknown_budget_is_learnt_from_its_refusal() {
    let mut queue = queue(2, Vec::new());
    assert_eq!(due(&mut queue, 0), ["p0", "p1"]);
    queue.answered("p0", refusal(None), now(0));
    queue.answered("p1", refusal(None), now(0));
    assert!(due(&mut queue, 4).is_empty());
    assert_eq!(due(&mut queue, 5), ["p0"], "one at a time from now on");
    assert_eq!(queue.left().len(), 2);
    assert_eq!(queue.left()[0].budget.as_deref(), Some("ns/pdb"));
}
