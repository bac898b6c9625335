//! Several nodes: all are looked at before the first is touched, and each has its line at the end.

use ::sandbox::Boot;
use serde_json::{Value, json};

use crate::support::{Fleet, Run, Running, World, run, scenarios};

scenarios!(
    f9_a4_an_unknown_name_ends_it_before_the_first_change,
    f9_a4_a_refused_node_ends_it_before_the_first_change,
    f9_a4_those_that_are_refused_are_told_before_the_others_begin,
    f9_a4_a_node_is_looked_at_again_when_its_turn_comes,
    f9_a4_each_node_has_a_line_however_it_ends,
    f9_a4_a_name_that_is_typed_twice_is_one_node,
    f9_a4_a_name_that_is_almost_right_is_guessed,
    each_node_has_a_run_of_its_own,
);

/// The lines about each node at the end, in the order in which the nodes were given.
#[track_caller]
fn ends_with(run: &Run, nodes: [(&str, &str); 3]) {
    let lines: Vec<_> = nodes.iter().map(|(node, outcome)| format!("node/{node}: {outcome}\n")).collect();
    assert!(run.stderr.contains(&lines.concat()), "{nodes:?} in {}", run.stderr);
}

/// No node has been touched.
#[track_caller]
fn is_untouched(fleet: &Fleet<'_>, after: &str) {
    for node in [&fleet.node, &fleet.second, &fleet.third] {
        let found = fleet.world.get_node(node);
        assert_eq!(found["spec"]["unschedulable"], Value::Null, "{node} after {after}");
        assert_eq!(found["metadata"]["annotations"]["sciuro.dev/remediation"], Value::Null, "after {after}");
        assert_eq!(fleet.machines.facts(node).expect("a machine").reboots, 0, "{node} after {after}");
    }
}

fn exclude(fleet: &Fleet<'_>, node: &str) {
    fleet.patch(node, &json!({"metadata": {"labels": {"sciuro.dev/exclude": ""}}}));
}

fn f9_a4_an_unknown_name_ends_it_before_the_first_change(world: &World) {
    let fleet = Fleet::new(world);
    let nobody = world.name("w11");
    for flags in [&[][..], &["--continue-on-error"], &["--resume"], &["--abort"], &["--dry-run"]] {
        let run = run(&mut fleet.command(&[&[&*fleet.node, &nobody, &fleet.third], flags].concat()))
            .exits(1)
            .says(&format!("Error from server (NotFound): nodes {nobody:?} not found"))
            .says(&format!("hint: did you mean {}", fleet.node));
        is_untouched(&fleet, &format!("{flags:?}"));
        assert!(!run.stderr.contains("preflight"), "it was looked at first: {run:#?}");
        if flags != ["--dry-run"] {
            ends_with(
                &run,
                [(&fleet.node, "not started"), (&nobody, "not found"), (&fleet.third, "not started")],
            );
        }
    }
}

fn f9_a4_a_refused_node_ends_it_before_the_first_change(world: &World) {
    let fleet = Fleet::new(world);
    exclude(&fleet, &fleet.second);
    let names = [&*fleet.node, &fleet.second, &fleet.third];
    let run = run(&mut fleet.command(&names)).exits(3).says("refused (excluded); nothing was changed");
    is_untouched(&fleet, "a refusal");
    for name in names {
        assert!(run.stderr.contains(&format!("node/{name}: cordon, drain, ")), "no plan of {name}: {run:#?}");
    }
    ends_with(
        &run,
        [(&fleet.node, "not started"), (&fleet.second, "refused"), (&fleet.third, "not started")],
    );
}

fn f9_a4_those_that_are_refused_are_told_before_the_others_begin(world: &World) {
    let fleet = Fleet::new(world);
    exclude(&fleet, &fleet.second);
    let names = [&*fleet.node, &fleet.second, &fleet.third, "--continue-on-error", "--until=cordon"];
    let run = run(&mut fleet.command(&names)).exits(1).says("1 of 3 nodes failed");
    let told = run.stderr.find("refused (excluded); nothing was changed").expect("a refusal");
    let begun = run.stderr.find("► cordon").expect("a beginning");
    assert!(told < begun, "{run:#?}");
    assert_eq!(run.stderr.matches("refused (excluded)").count(), 1, "{run:#?}");
    ends_with(&run, [(&fleet.node, "stopped"), (&fleet.second, "refused"), (&fleet.third, "stopped")]);
}

/// What holds the first one up gives the second one time to change.
fn f9_a4_a_node_is_looked_at_again_when_its_turn_comes(world: &World) {
    let fleet = Fleet::new(world);
    let held = Boot { never_back: true, ..Boot::default() };
    fleet.machines.boots(&fleet.node, held).expect("a machine");
    let mut command = fleet.command(&[&fleet.node, &fleet.second, &fleet.third]);
    let mut running = Running::start(&mut command, str::to_owned);
    fleet.until_in("WaitBoot");
    fleet.until("a machine that is off", || !fleet.machines.facts(&fleet.node).expect("a machine").powered);
    exclude(&fleet, &fleet.second);
    world.block_on(fleet.machines.power_on(&fleet.node)).expect("a machine");
    running.says("remediated");
    running.says("refused: excluded: ");
    for (node, outcome) in
        [(&fleet.node, "remediated"), (&fleet.second, "refused"), (&fleet.third, "not started")]
    {
        running.says(&format!("node/{node}: {outcome}"));
    }
    running.ends(3);
    assert_eq!(world.get_node(&fleet.second)["spec"]["unschedulable"], Value::Null);
    for (node, reboots) in [(&fleet.node, 1), (&fleet.second, 0), (&fleet.third, 0)] {
        assert_eq!(fleet.machines.facts(node).expect("a machine").reboots, reboots, "{node}");
    }
}

fn f9_a4_each_node_has_a_line_however_it_ends(world: &World) {
    let fleet = Fleet::new(world);
    let held = Boot { never_back: true, ..Boot::default() };
    fleet.machines.boots(&fleet.second, held).expect("a machine");
    let names = [&*fleet.node, &fleet.second, &fleet.third];
    let failing = [&names[..], &["--reboot-timeout=3s"]].concat();
    let failed = run(&mut fleet.command(&failing)).exits(6).says("not started");
    ends_with(
        &failed,
        [(&fleet.node, "remediated"), (&fleet.second, "failed"), (&fleet.third, "not started")],
    );
    // The second one has an unfinished remediation on it now.
    let busy = run(&mut fleet.command(&[&names[..], &["--until=cordon"]].concat())).exits(9);
    ends_with(&busy, [(&fleet.node, "not started"), (&fleet.second, "busy"), (&fleet.third, "not started")]);
    let [node, second, third] = names;
    let mut command = fleet.command(&[second, node, third, "--resume", "--continue-on-error"]);
    let mut interrupted = Running::start(&mut command, str::to_owned);
    interrupted.says("wait for the boot");
    interrupted.signal("INT");
    for (node, outcome) in [(second, "interrupted"), (node, "not started"), (third, "not started")] {
        interrupted.says(&format!("node/{node}: {outcome}"));
    }
    interrupted.ends(130);
}

fn f9_a4_a_name_that_is_typed_twice_is_one_node(world: &World) {
    let fleet = Fleet::new(world);
    let names = [&*fleet.node, &fleet.node, "--until=cordon"];
    let run = run(&mut fleet.command(&names)).exits(0);
    assert_eq!(run.stderr.matches("✔ cordon").count(), 1, "{run:#?}");
    assert!(!run.stderr.contains("nodes, one after the other"), "{run:#?}");
}

/// Wherever one is typed.
fn f9_a4_a_name_that_is_almost_right_is_guessed(world: &World) {
    let fleet = Fleet::new(world);
    let nobody = world.name("w11");
    let guesses = format!("did you mean {}", fleet.node);
    for flags in [&[][..], &["--resume"], &["--abort"], &["--dry-run"]] {
        let run = run(&mut fleet.command(&[&[&*nobody], flags].concat())).exits(1).says(&guesses);
        assert!(!run.stderr.contains("not started"), "one node needs no list: {run:#?}");
    }
    world.sync(&["--dry-run=client", &nobody]).exits(1).says("did you mean w1");
    run(&mut world.command(&["status", &fleet.node, &nobody])).exits(1).says(&guesses);
    run(&mut fleet.command(&[&world.name("frontend-7")])).exits(1).never_says("did you mean");
}

/// A Lease that one run holds is not free to the other, though it is the same process.
fn each_node_has_a_run_of_its_own(world: &World) {
    let fleet = Fleet::new(world);
    run(&mut fleet.command(&[&fleet.node, &fleet.third, "--yes", "--until", "cordon", "--skip", "collect"]))
        .exits(0);
    let [one, other] = [&fleet.node, &fleet.third].map(|node| {
        let record = fleet.world.get_node(node)["metadata"]["annotations"]["sciuro.dev/remediation"].clone();
        let record: Value = serde_json::from_str(record.as_str().expect("a record")).expect("JSON");
        record["holder"].as_str().expect("a holder").to_owned()
    });
    let actor = |holder: &str| holder.rsplit_once('#').map(|(actor, _)| actor.to_owned());
    assert_ne!(one, other);
    assert_eq!(actor(&one), actor(&other));
}
