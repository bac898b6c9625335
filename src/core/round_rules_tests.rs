//! Rules that were not evaluated: what they do not list has not ended.

use super::*;

/// A member that lists these alerts and could not evaluate these rules.
#[allow(clippy::unnecessary_wraps)] // answers stand beside failures
fn says(alerts: &[Alert], failed: &[&str]) -> Result<Answer, Failure> {
    let failed = failed.iter().map(|rule| ((*rule).to_owned(), "over its limit".to_owned()));
    Ok(Answer { alerts: alerts.to_vec(), unevaluated: Some(failed.collect()), ..Answer::default() })
}

/// `X` on w0 and `Y` on w1 are True.
fn two() -> World {
    let mut world = world(2, "True", HOUR);
    world.nodes[1].conditions = vec![condition("Y", "True", start() - HOUR)];
    world
}

fn statuses(world: &World) -> Vec<&str> {
    world.nodes.iter().flat_map(|node| &node.conditions).map(|condition| condition.status.as_str()).collect()
}

#[test]
fn t15_d5_a_rule_in_error_clears_nothing_and_no_other_is_held_by_it() {
    let mut given = two();
    let round = given.round(vec![says(&[], &["X", "Elsewhere"])]);
    assert_eq!((round.state, round.notices), (Partial, vec![Notice::Unevaluated { held: 1 }]));
    assert_eq!(statuses(&given), ["True", "False"]);
    assert_eq!(given.memory.last_full, None, "not all is known");
    // It neither ages nor is it confirmed, however long it lasts.
    for _ in 0..60 {
        given.after(MINUTE).round(vec![says(&[], &["X"])]);
    }
    assert_eq!(given.nodes[0].conditions, [condition("X", "True", start() - HOUR)]);
    // It was mended, and the alert has ended.
    let round = given.after(MINUTE).round(vec![says(&[], &[])]);
    assert_eq!((round.state, round.notices), (Full, vec![]));
    assert_eq!(statuses(&given), ["False", "False"]);
}

#[test]
fn t15_d5_what_is_listed_fires_whatever_else_of_its_name_failed() {
    let mut given = two();
    // Another rule of the same name lists it: it is confirmed, and nothing has to be held.
    let round = given.round(vec![says(&[alert("X", "w0"), alert("Z", "w1")], &["X"])]);
    assert_eq!((round.state, round.notices), (Full, vec![]));
    assert_eq!(statuses(&given), ["True", "False", "True"]);
    assert_eq!(given.x().last_heartbeat, Some(start()));
    // On a node that it does not list, it may be the alert of the rule that failed.
    given.nodes[1].conditions.push(condition("X", "Unknown", start() - HOUR));
    let round = given.after(MINUTE).round(vec![says(&[alert("X", "w0"), alert("Z", "w1")], &["X"])]);
    assert_eq!(round.notices, [Notice::Unevaluated { held: 1 }]);
    assert_eq!(given.nodes[1].conditions[2].status, "Unknown");
}

#[test]
fn t15_d5_the_type_is_that_of_the_alerts() {
    let mut given = two();
    given.nodes[0].conditions[0].type_ = "AlertManager_disk_is_failing".into();
    given.round(vec![says(&[], &["disk is failing"])]);
    assert_eq!(statuses(&given), ["True", "False"]);
}

#[test]
fn t15_d5_the_brake_counts_only_what_a_round_would_clear() {
    let mut given = world(20, "True", MINUTE);
    let round = given.round(vec![says(&[], &["X"])]);
    assert_eq!((round.is_braked(), given.count("True"), given.memory.held), (false, 20, None));
}

#[test]
fn t15_d5_a_replica_that_evaluates_the_rule_is_believed() {
    for (others, expected) in [
        (vec![says(&[], &[])], "False"),
        (vec![says(&[], &["X"])], "True"),
        // Neither one that does not say, nor one that has just started or is away, is evidence.
        (vec![Ok(Answer::default())], "True"),
        (vec![failed()], "True"),
        (
            vec![Ok(Answer {
                warming: Some(Warming { up_for: MINUTE, until: start() + MINUTE }),
                unevaluated: Some(BTreeMap::new()),
                ..Answer::default()
            })],
            "True",
        ),
    ] {
        let mut answers = vec![says(&[], &["X"])];
        answers.extend(others.clone());
        let mut given = two();
        given.round(answers);
        assert_eq!(statuses(&given), [expected, "False"], "{others:?}");
    }
}

#[test]
fn t15_d5_of_sources_that_hold_different_alerts_each_counts() {
    let group = |answer| Group {
        members: vec![Member { name: "m".into(), took: std::time::Duration::ZERO, answer }],
        has_unasked_members: false,
    };
    let groups = vec![group(says(&[], &[])), group(says(&[], &["X"])), group(Ok(Answer::default()))];
    let trust = gather(groups, &Canary::None, false, None).trust;
    assert_eq!(trust.state, Full);
    assert_eq!(trust.unevaluated().into_keys().collect::<Vec<_>>(), ["X"]);
}
