//! What a person types, and when.

use std::cell::OnceCell;
use std::net::TcpListener;

use rexpect::process::Signal;
use rustix::termios::LocalModes;

use crate::remediate::asked::{
    ASK_ALL, DAEMON_SETS, SHORT, does_not_verify, is_untouched, plan, questions, reboot, scene,
};
use crate::remediate::scene::Scene;
use crate::remediate::stopped::held;
use crate::remediate::terminal::Terminal;
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios!(
    f9_a1_the_enter_after_an_answer_answers_nothing_else,
    f9_a1_keys_are_no_answer_without_their_enter,
    f9_a1_only_y_and_yes_are_yes,
    f9_a1_y_does_not_reboot,
    f9_a1_what_is_typed_during_the_preflight_answers_nothing,
    f9_a1_what_is_typed_during_the_drain_answers_nothing,
    f9_a1_what_is_typed_during_the_wait_answers_nothing,
    f9_a1_a_pasted_text_answers_one_question,
    f9_a1_ctrl_d_is_no,
    f9_a1_typing_is_shown_at_questions_only,
    f9_a1_the_terminal_is_as_before_after_every_end,
    f9_a1_a_run_in_the_background_leaves_the_terminal_alone,
    f9_a1_a_question_that_is_not_shown_is_not_asked,
    f9_a1_a_purge_wants_a_line,
);

const CTRL_D: &str = "\u{4}";

/// The line that says yes to this question.
fn yes(question: &str) -> &'static str {
    if question.starts_with("Reboot") { "yes" } else { "y" }
}

fn f9_a1_the_enter_after_an_answer_answers_nothing_else(world: &World) {
    let scene = scene(world);
    let before = scene.facts();
    let mut terminal = Terminal::of(&scene, &ASK_ALL);
    for question in questions(&scene) {
        terminal.answers(&question, yes(&question));
    }
    let shown = terminal.ends(0);
    assert!(shown.contains(&format!("node/{} remediated", scene.node)), "{shown}");
    scene.is_remediated(&before);
}

/// The question stays until it has a line.
fn f9_a1_keys_are_no_answer_without_their_enter(world: &World) {
    let scene = Scene::new(world);
    let mut terminal = Terminal::of(&scene, &[]);
    terminal.asks(&plan(&scene));
    terminal.types("yy");
    terminal.sees("yy");
    terminal.ctrl_c();
    assert!(terminal.ends(130).contains("interrupted; nothing was changed"));
    is_untouched(&scene, "yy");
}

fn f9_a1_only_y_and_yes_are_yes(world: &World) {
    let scene = Scene::new(world);
    for answer in ["yy", "yes please", "n", "", "delay", "\u{1b}[A", "y\u{15}n", " "] {
        let mut terminal = Terminal::of(&scene, &[]);
        terminal.answers(&plan(&scene), answer);
        assert!(terminal.ends(4).contains("declined; nothing was changed"));
        is_untouched(&scene, answer);
    }
    for answer in ["Y", "YES", " yes ", "n\u{7f}y"] {
        let mut terminal = Terminal::of(&scene, &["--until=cordon"]);
        terminal.answers(&plan(&scene), answer);
        terminal.ends(0);
        scene.remediate(&["--abort", "--yes"]).exits(0);
    }
}

fn f9_a1_y_does_not_reboot(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    for answer in ["yy", "yesyes", "ye", "Yes.", "n", ""] {
        let mut terminal = Terminal::of(&scene, &["--skip=collect"]);
        terminal.answers(&plan(&scene), "y");
        terminal.answers(&reboot(&scene), "y");
        terminal.answers("Type yes in full", answer);
        let shown = terminal.ends(4);
        assert!(shown.contains("declined; it stays cordoned"), "{shown}");
        assert_eq!(scene.facts().reboots, before.reboots, "after {answer:?}");
        scene.remediate(&["--abort", "--yes"]).exits(0);
    }
}

/// More than one would need, with a word that is on the screen only if it was echoed.
const TYPED_AHEAD: &str = "y\rY\ryes\ryes zebra\ryy";

/// A question that what came before has not answered is answered with no more than its Enter.
#[track_caller]
fn is_not_answered_yet(terminal: &mut Terminal, question: &str) {
    terminal.answers(question, "");
}

#[track_caller]
fn was_not_shown(shown: &str) {
    assert!(!shown.contains("zebra"), "{shown}");
}

/// It ends once this Alertmanager has let it: what was typed before the plan is not kept for the questions after it either.
fn f9_a1_what_is_typed_during_the_preflight_answers_nothing(world: &World) {
    let scene = scene(world);
    for place in [0, 1] {
        let alertmanager = TcpListener::bind("127.0.0.1:0").expect("a port");
        alertmanager.set_nonblocking(true).expect("a port");
        let url = format!("--alertmanager=http://{}", alertmanager.local_addr().expect("an address"));
        let flags = [&ASK_ALL[..], &[&url, "--receiver=nobody", "--silence", "--no-verify-alerts"]].concat();
        let mut terminal = Terminal::of(&scene, &flags);
        let asked = OnceCell::new();
        eventually("a request", || alertmanager.accept().is_ok_and(|request| asked.set(request).is_ok()));
        terminal.types(TYPED_AHEAD);
        drop((alertmanager, asked));
        if place == 1 {
            terminal.answers(&plan(&scene), "y");
        }
        is_not_answered_yet(&mut terminal, &questions(&scene)[place]);
        was_not_shown(&terminal.ends(4));
        is_untouched(&scene, TYPED_AHEAD);
    }
}

fn f9_a1_what_is_typed_during_the_drain_answers_nothing(world: &World) {
    let (scene, before) = held(world);
    let mut terminal = Terminal::of(&scene, &[]);
    terminal.answers(&plan(&scene), "y");
    terminal.sees("The disruption budget web");
    terminal.types(TYPED_AHEAD);
    scene.remove_budget("web");
    is_not_answered_yet(&mut terminal, &reboot(&scene));
    was_not_shown(&terminal.ends(4));
    assert_eq!(scene.facts().reboots, before.reboots);
}

fn f9_a1_what_is_typed_during_the_wait_answers_nothing(world: &World) {
    let scene = Scene::new(world);
    let mut terminal = Terminal::of(&scene, &SHORT);
    terminal.answers(&plan(&scene), "y");
    terminal.answers(&reboot(&scene), "yes");
    terminal.sees("wait for the boot");
    terminal.types(TYPED_AHEAD);
    does_not_verify(&scene);
    is_not_answered_yet(&mut terminal, &format!("Uncordon node {} all the same?", scene.node));
    was_not_shown(&terminal.ends(7));
    assert!(scene.is_cordoned());
    assert_eq!(scene.record().expect("a record")["failedState"], "Verifying");
}

/// All at once, at the first question: its first line is an answer, and the rest is none.
fn f9_a1_a_pasted_text_answers_one_question(world: &World) {
    let scene = scene(world);
    let mut terminal = Terminal::of(&scene, &ASK_ALL);
    terminal.asks(&plan(&scene));
    terminal.types(&format!("y\ny\ny\ny\n{}\nyes\n", scene.node));
    is_not_answered_yet(&mut terminal, DAEMON_SETS);
    terminal.ends(4);
    is_untouched(&scene, "a pasted text");
}

fn f9_a1_ctrl_d_is_no(world: &World) {
    let scene = scene(world);
    let before = scene.facts();
    for (place, question) in questions(&scene).iter().enumerate() {
        let mut terminal = Terminal::of(&scene, &ASK_ALL);
        for question in questions(&scene).iter().take(place) {
            terminal.answers(question, yes(question));
        }
        terminal.asks(question);
        terminal.types(CTRL_D);
        let shown = terminal.ends(4);
        let after = if place < 4 { "declined; nothing was changed" } else { "declined; it stays cordoned" };
        assert!(shown.contains(after), "{shown}");
        if place < 4 {
            is_untouched(&scene, question);
        }
    }
    // In the middle of a line it ends nothing: the line is not complete.
    let mut terminal = Terminal::of(&scene, &["--resume"]);
    terminal.answers(&plan(&scene), "y");
    terminal.asks(&reboot(&scene));
    terminal.types(&format!("yes{CTRL_D}!\r"));
    terminal.ends(4);
    assert_eq!(scene.facts().reboots, before.reboots);
}

#[track_caller]
fn echoes(terminal: &Terminal, on: bool, when: &str) {
    let modes = terminal.modes();
    assert_eq!(modes.contains(LocalModes::ECHO), on, "{when}: {modes:?}");
    let whole = LocalModes::ICANON | LocalModes::ISIG;
    assert!(modes.contains(whole), "lines, and Ctrl-C, {when}: {modes:?}");
}

fn f9_a1_typing_is_shown_at_questions_only(world: &World) {
    let (scene, _) = held(world);
    let mut terminal = Terminal::of(&scene, &[]);
    terminal.asks(&plan(&scene));
    echoes(&terminal, true, "at the plan");
    terminal.types("y\r");
    terminal.sees("The disruption budget web");
    echoes(&terminal, false, "in the drain");
    scene.remove_budget("web");
    terminal.asks(&reboot(&scene));
    echoes(&terminal, true, "at the reboot");
    terminal.types("a zebra\u{15}yes");
    terminal.sees("yes");
    terminal.types("\r");
    terminal.sees("wait for the boot");
    echoes(&terminal, false, "in the wait");
    let shown = terminal.ends(0);
    assert!(shown.contains("a zebra"), "typed at a question: {shown}");
}

fn f9_a1_the_terminal_is_as_before_after_every_end(world: &World) {
    let (scene, _) = held(world);
    let mut at_a_question = Terminal::of(&scene, &[]);
    at_a_question.asks(&plan(&scene));
    at_a_question.signal(Signal::SIGTERM);
    let of_the_plan = at_a_question.modes_after(143);
    let mut refused =
        Terminal::of(&scene, &["--yes", "--force", "--until=cordon", "--reboot-method=command"]);
    refused.sees("--reboot-command");
    let of_a_refusal = refused.modes_after(2);
    let mut in_the_drain = Terminal::of(&scene, &["--yes"]);
    in_the_drain.sees("The disruption budget web");
    echoes(&in_the_drain, false, "without a question, too");
    in_the_drain.signal(Signal::SIGTERM);
    let of_the_drain = in_the_drain.modes_after(143);
    let mut aborted = Terminal::of(&scene, &["--abort", "--yes"]);
    aborted.sees("aborted");
    for modes in [of_the_plan, of_a_refusal, of_the_drain, aborted.modes_after(0)] {
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG), "{modes:?}");
    }
}

/// With job control, a process that changes the terminal of somebody else's foreground is stopped.
fn f9_a1_a_run_in_the_background_leaves_the_terminal_alone(world: &World) {
    let scene = Scene::new(world);
    let before = scene.facts();
    let mut terminal = Terminal::in_shell("set -m; \"$0\" \"$@\" & wait $!", &scene.command(&["--yes"]));
    terminal.sees("drain");
    assert!(terminal.modes().contains(LocalModes::ECHO), "{:?}", terminal.modes());
    terminal.ends(0);
    scene.is_remediated(&before);
}

/// Somebody who types sees nothing of what is asked.
fn f9_a1_a_question_that_is_not_shown_is_not_asked(world: &World) {
    let scene = Scene::new(world);
    let shown = Terminal::in_shell("\"$0\" \"$@\" 2>&1 >/dev/null | cat", &scene.command(&[])).ends(0);
    assert!(shown.contains("this needs a confirmation, and stderr is no terminal"), "{shown}");
    is_untouched(&scene, "a question in a pipe");
}

fn f9_a1_a_purge_wants_a_line(world: &World) {
    let node = world.node("w1");
    world.seed(&node, "X", "True", "[P9] hot", jiff::SignedDuration::from_mins(1));
    let lease = world.name("sync");
    let arguments = ["sync", "--purge", "--prefix", &world.prefix(), "--lease-name", &lease];
    for (typed, code) in [("yy\r", 4), (CTRL_D, 4), ("\ry\r", 4), ("y\r", 0)] {
        let mut terminal = Terminal::start(&world.command(&arguments));
        terminal.asks("from 1 node?");
        terminal.types(typed);
        terminal.ends(code);
        assert_eq!(world.owned(&node).is_empty(), code == 0, "after {typed:?}");
    }
}
