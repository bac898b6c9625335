//! Alerts that fire and name no node here: what is shown by their names stays, all else follows the table (spec §3.9).

use super::*;

/// `X` on w0 and `Y` on w1 are True, and confirmed a minute ago.
fn two() -> World {
    let mut world = world(2, "True", MINUTE);
    world.nodes[1].conditions = vec![condition("Y", "True", start() - MINUTE)];
    world
}

fn statuses(world: &World) -> Vec<&str> {
    world.nodes.iter().flat_map(|node| &node.conditions).map(|condition| condition.status.as_str()).collect()
}

#[test]
fn t15_d2_an_alert_of_a_node_that_is_gone_holds_no_other_condition() {
    let mut world = two();
    let round = world.lists(&[alert("Fan", "decommissioned-7")]);
    assert_eq!((round.state, round.notices), (Full, vec![Notice::NothingMatches { held: 0 }]));
    assert_eq!(statuses(&world), ["False", "False"]);
    assert_eq!(world.memory.last_full, Some(world.now));
    // Nothing fires here any more: there is nothing to say.
    assert_eq!(world.after(MINUTE).lists(&[alert("Fan", "decommissioned-7")]).notices, []);
}

#[test]
fn t15_d2_what_is_shown_by_its_name_is_held_and_does_not_age() {
    let mut world = two();
    for minute in 0..120 {
        let round = world.lists(&[alert("Y", "decommissioned-7")]);
        assert_eq!(
            (round.state, round.notices),
            (Partial, vec![Notice::NothingMatches { held: 1 }]),
            "{minute}"
        );
        assert_eq!(statuses(&world), ["False", "True"], "{minute}");
        world.after(MINUTE);
    }
    assert_eq!(world.nodes[1].conditions, [condition("Y", "True", start() - MINUTE)], "not confirmed either");
    // A source that is away for five minutes is no reason to doubt it, nor is one of which a part is missing.
    world.is_partial(&[alert("Y", "decommissioned-7")]);
    assert_eq!(statuses(&world), ["False", "True"]);
    // It can end: its alert is silenced there, or one that names a node shows that labels fit.
    let mut silenced = world.clone();
    silenced.lists(&[Alert { silenced: true, ..alert("Y", "decommissioned-7") }]);
    assert_eq!(statuses(&silenced), ["False", "False"]);
    world.lists(&[alert("Y", "decommissioned-7"), alert("Z", "w0")]);
    assert_eq!(statuses(&world), ["False", "True", "False"]);
}

#[test]
fn t15_d2_what_an_outage_made_unknown_is_held_too() {
    let mut world = two();
    for node in &mut world.nodes {
        node.conditions[0].status = "Unknown".into();
    }
    let round = world.lists(&[alert("Y", "decommissioned-7")]);
    assert_eq!(round.notices, [Notice::NothingMatches { held: 1 }]);
    assert_eq!(statuses(&world), ["False", "Unknown"]);
}

#[test]
fn t15_d2_the_brake_holds_what_no_name_does() {
    let mut world = world(20, "True", MINUTE);
    world.nodes[0].conditions = vec![condition("Y", "True", start())];
    let round = world.lists(&[alert("Y", "decommissioned-7")]);
    assert_eq!((round.state, round.is_braked(), world.count("True")), (Partial, true, 19));
    for _ in 0..3 {
        world.after(MINUTE).lists(&[alert("Y", "decommissioned-7")]);
    }
    assert_eq!(world.count("False"), 19, "rounds of which only a name is held are complete to the brake");
    assert_eq!(world.memory.held, None);
    assert!(world.nodes[0].conditions[0].is_true());
}
