#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::alert::Alert;
use super::super::node::Condition;
use super::super::source::{Answer, Failure, FailureReason, Member, Warming};
use super::*;

fn nodes() -> Vec<Node> {
    let conditions = vec![Condition {
        type_: "AlertManager_Hot".to_owned(),
        status: "True".to_owned(),
        ..Condition::default()
    }];
    let node = |name: &str| Node { name: name.to_owned(), conditions: conditions.clone(), ..Node::default() };
    vec![node("w1"), node("w2")]
}

fn gone_of(canary: &Canary, seen: bool) -> AlertsGone {
    let reason = |type_: &str| Reason {
        condition_type: type_.to_owned(),
        reason: String::new(),
        last_transition: None,
    };
    let policy = SelectionPolicy::default();
    let reasons = [reason("AlertManager_Hot"), reason("Ready")];
    let known = Memory { canary: seen.then(|| WATCHDOG.to_owned()), ..Memory::default() };
    AlertsGone::new("w1", &reasons, &policy, "cluster", &[], canary, &known).unwrap()
}

fn gone() -> AlertsGone {
    gone_of(&Canary::None, false)
}

fn alert(labels: &[(&str, &str)]) -> Alert {
    Alert { labels: labels.iter().copied().collect(), ..Alert::default() }
}

fn hot(node: &str) -> Alert {
    alert(&[("alertname", "Hot"), ("node", node)])
}

fn group(answers: Vec<Result<Answer, Failure>>) -> Vec<Group> {
    let member = |answer| Member { name: "am".to_owned(), took: Duration::ZERO, answer };
    vec![Group { members: answers.into_iter().map(member).collect(), has_unasked_members: false }]
}

fn says(alerts: Vec<Alert>) -> Vec<Group> {
    group(vec![Ok(Answer { alerts, ..Answer::default() })])
}

fn untrusted(seen: &AlertsSeen) -> &str {
    match seen {
        AlertsSeen::Untrusted(why) => why,
        seen => panic!("{seen:?}"),
    }
}

#[test]
fn what_fires_on_this_node_counts_however_it_is_muted() {
    let muted = |change: fn(&mut Alert)| {
        let mut alert = hot("w1");
        change(&mut alert);
        alert
    };
    let firing = AlertsSeen::Firing(vec!["AlertManager_Hot".to_owned()]);
    for alert in [
        hot("w1"),
        muted(|alert| alert.silenced = true),
        muted(|alert| alert.inhibited = true),
        muted(|alert| alert.pending = true),
        muted(|alert| alert.labels.insert("priority", "malformed")),
    ] {
        assert_eq!(gone().look(says(vec![alert.clone()]), &nodes()), firing, "{alert:?}");
    }
    let others = vec![hot("w2"), alert(&[("alertname", "Cold"), ("node", "w1")])];
    assert_eq!(gone().look(says(others), &nodes()), AlertsSeen::Gone);
    assert_eq!(gone().look(says(Vec::new()), &nodes()), AlertsSeen::Gone);
}

#[test]
fn an_empty_list_is_believed_as_sync_believes_it() {
    let failed = || Failure {
        reason: FailureReason::Http,
        is_misconfigured: false,
        what: "cannot reach am".to_owned(),
        hints: Vec::new(),
    };
    let warming = || Answer {
        warming: Some(Warming { up_for: SignedDuration::from_secs(40), until: Timestamp::UNIX_EPOCH }),
        ..Answer::default()
    };
    let warned = Answer { warnings: vec!["no store".to_owned()], ..Answer::default() };
    for (answers, why) in [
        (vec![Err(failed())], "cannot reach am"),
        (vec![Err(failed()), Ok(warming())], "cannot reach am"),
        (vec![Ok(warming())], "am started 40s ago; its silence is believed from 00:00:00Z (--warmup)"),
        (vec![Ok(warned)], "the list of am is not complete: no store"),
        (vec![], "none of the source's endpoints is ready"),
    ] {
        assert_eq!(untrusted(&gone().look(group(answers), &nodes())), why);
    }
    // Another replica is enough, and what fires fires wherever it is seen.
    let both = group(vec![Err(failed()), Ok(Answer::default())]);
    assert_eq!(gone().look(both, &nodes()), AlertsSeen::Gone);
    let both = group(vec![Err(failed()), Ok(Answer { alerts: vec![hot("w1")], ..warming() })]);
    assert!(matches!(gone().look(both, &nodes()), AlertsSeen::Firing(_)));
}

#[test]
fn a_canary_that_was_seen_has_to_be_there() {
    let answer = |canary| group(vec![Ok(Answer { canary: Some(canary), ..Answer::default() })]);
    let mut gone = gone_of(&Canary::Auto, false);
    assert_eq!(gone.look(answer(false), &nodes()), AlertsSeen::Gone, "never seen");
    assert_eq!(gone.look(answer(true), &nodes()), AlertsSeen::Gone);
    assert!(untrusted(&gone.look(answer(false), &nodes())).contains("Watchdog does not fire"));
    let mut gone = gone_of(&Canary::Auto, true);
    assert!(untrusted(&gone.look(answer(false), &nodes())).contains("Watchdog does not fire"));
}

#[test]
fn t15_d3_what_may_be_the_nodes_alert_is_waited_for() {
    let of = |domain: &str| hot(&format!("w1.{domain}.example"));
    let mut gone = gone();
    for alerts in [vec![of("dc1"), of("dc2")], vec![of("dc2")]] {
        assert!(matches!(gone.look(says(alerts), &nodes()), AlertsSeen::Firing(_)));
    }
    assert_eq!(gone.look(says(Vec::new()), &nodes()), AlertsSeen::Gone);
}

#[test]
fn t15_d9_another_clusters_canary_does_not_count() {
    let answer = |clusters: &[&str]| {
        let clusters = clusters.iter().map(|cluster| (*cluster).to_owned()).collect();
        group(vec![Ok(Answer { canary: Some(true), clusters, ..Answer::default() })])
    };
    let mut gone = AlertsGone { clusters: Clusters::own("cluster", "a"), ..gone_of(&Canary::Auto, true) };
    for clusters in [&["a"][..], &["a", "b"], &["", "b"], &[""], &[]] {
        assert_eq!(gone.look(answer(clusters), &nodes()), AlertsSeen::Gone, "{clusters:?}");
    }
    assert!(
        untrusted(&gone.look(answer(&["b", "c"]), &nodes()))
            .ends_with(r#"(it does for other clusters: "b", "c")"#)
    );
    let mut unknown = gone_of(&Canary::Auto, true);
    assert_eq!(unknown.look(answer(&["b"]), &nodes()), AlertsSeen::Gone, "which one this is, is not known");
}

#[test]
fn members_that_are_not_asked_take_a_second_look() {
    let look = |gone: &mut AlertsGone, alerts| {
        let mut groups = says(alerts);
        groups[0].has_unasked_members = true;
        gone.look(groups, &nodes())
    };
    let mut gone = gone();
    assert!(untrusted(&look(&mut gone, Vec::new())).contains("not asked"));
    assert_eq!(look(&mut gone, Vec::new()), AlertsSeen::Gone);
    assert!(matches!(look(&mut gone, vec![hot("w1")]), AlertsSeen::Firing(_)));
    assert!(untrusted(&look(&mut gone, Vec::new())).contains("not asked"), "in a row");
}

#[test]
fn labels_that_do_not_fit_prove_nothing() {
    let mut all = nodes();
    assert!(untrusted(&gone().look(says(vec![hot("elsewhere")]), &all)).contains("names a node here"));
    for node in &mut all {
        node.conditions.clear();
    }
    assert_eq!(gone().look(says(vec![hot("elsewhere")]), &all), AlertsSeen::Gone, "nothing was to be seen");
    let of = |cluster: &str| alert(&[("alertname", "Cold"), ("node", "w2"), ("cluster", cluster)]);
    assert!(untrusted(&gone().look(says(vec![of("a"), of("b")]), &all)).contains("several clusters"));
    assert!(untrusted(&gone().look(says(Vec::new()), &all[1..])).contains("not listed"));
}

#[test]
fn a_reason_of_another_prefix_is_not_forgotten() {
    let reason =
        Reason { condition_type: "Old_Hot".to_owned(), reason: String::new(), last_transition: None };
    let policy = SelectionPolicy::default();
    let new = |reasons: &[Reason]| {
        AlertsGone::new("w1", reasons, &policy, "cluster", &[], &Canary::None, &Memory::default())
    };
    assert!(untrusted(&new(&[reason]).unwrap().look(says(Vec::new()), &nodes())).contains("--prefix"));
    assert!(new(&[]).is_none());
}

#[test]
fn t15_d5_a_rule_in_error_proves_nothing() {
    let fails = |rule: &str| {
        let unevaluated = [(rule.to_owned(), "exceeded limit of 1 with 2 alerts".to_owned())].into();
        group(vec![Ok(Answer { unevaluated: Some(unevaluated), ..Answer::default() })])
    };
    let seen = gone().look(fails("Hot"), &nodes());
    assert_eq!(untrusted(&seen), "am did not evaluate the rule Hot: exceeded limit of 1 with 2 alerts");
    assert_eq!(gone().look(fails("Cold"), &nodes()), AlertsSeen::Gone);
}
