//! Prompts, in a terminal of their own.

use std::process::Stdio;

use rexpect::session::{PtySession, spawn_command};

use crate::support::World;

/// `--purge` on a node with one condition, at its prompt.
fn at_the_prompt(world: &World) -> (String, PtySession) {
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9] hot", jiff::SignedDuration::from_mins(1));
    let arguments = ["sync", "--purge", "--prefix", &world.prefix(), "--lease-name", &world.name("sync")];
    let mut command = world.command(&arguments);
    command.stdin(Stdio::inherit()); // the terminal's
    let mut session = spawn_command(command, Some(10_000)).unwrap();
    session.exp_string("Delete 1 condition with the prefix").unwrap();
    session.exp_string("from 1 node? [y/N] ").unwrap();
    (node, session)
}

fn exit_code(session: &PtySession) -> Option<i32> {
    match session.process().wait().unwrap() {
        rexpect::process::WaitStatus::Exited(_, code) => Some(code),
        _ => None,
    }
}

#[test]
fn yes_deletes() {
    let world = World::sandbox();
    let (node, mut session) = at_the_prompt(&world);
    session.send_line("y").unwrap();
    session.exp_string("deleted (was True)").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(exit_code(&session), Some(0));
    assert!(world.owned(&node).is_empty());
}

#[test]
fn the_default_is_no() {
    let world = World::sandbox();
    let (node, mut session) = at_the_prompt(&world);
    session.send_line("").unwrap();
    session.exp_string("declined; nothing was changed").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(exit_code(&session), Some(4));
    assert_eq!(world.owned(&node).len(), 1);
}

#[test]
fn ctrl_c_changes_nothing_and_gives_the_cursor_back() {
    let world = World::sandbox();
    let (node, mut session) = at_the_prompt(&world);
    session.send_control('c').unwrap();
    session.exp_string("\u{1b}[?25h").unwrap();
    session.exp_string("interrupted; nothing was changed").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(exit_code(&session), Some(130));
    assert_eq!(world.owned(&node).len(), 1);
}
