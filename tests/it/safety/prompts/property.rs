//! Somebody types anything, key by key or pasted, at any moment: a machine reboots only by the word that was typed after its
//! question was shown.

use serde_json::{Value, json};

use crate::remediate::asked::{is_untouched, plan, reboot};
use crate::remediate::scene::Scene;
use crate::remediate::terminal::Terminal;
use crate::support::World;

const PEOPLE: usize = 15;
const AT_ONCE: usize = 3;

#[test]
fn f9_a1_no_reboot_without_the_word_typed_after_the_question() {
    let rebooted = std::thread::scope(|scope| {
        let some =
            |first| (first..PEOPLE).step_by(AT_ONCE).filter(|seed| types_anything(*seed as u64)).count();
        let all: Vec<_> = (0..AT_ONCE).map(|first| scope.spawn(move || some(first))).collect();
        all.into_iter().map(|some| some.join().expect("a person")).sum::<usize>()
    });
    assert!((2..PEOPLE - 2).contains(&rebooted), "people who reboot, and who do not: {rebooted}");
}

/// One run, which is held up where it says nothing about when it will ask. Whether the machine was rebooted.
fn types_anything(seed: u64) -> bool {
    let world = World::sandbox();
    let scene = Scene::new(&world);
    scene.bare_pod("held");
    scene.until_running(1);
    let hold = |finalizers: Value| {
        let path = format!("/api/v1/namespaces/{}/pods/held", scene.namespace);
        let patch = json!({"metadata": {"finalizers": finalizers}});
        world.request("PATCH", &path, "application/merge-patch+json", &patch);
    };
    hold(json!(["example.com/hold"]));
    let mut keys = Keys(seed);
    let (mut question, mut word) = (reboot(&scene), "yes".to_owned());
    if keys.one_in(3) {
        scene.patch(
            &scene.node,
            &json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
        );
        question = format!("{} is a control-plane node", scene.node);
        word.clone_from(&scene.node);
    }
    let before = scene.facts();
    let mut terminal = Terminal::of(&scene, &["--force", "--skip=collect"]);
    terminal.asks(&plan(&scene));
    let answer = keys.answer(&mut terminal, "y", &word);
    if !["y", "yes"].iter().any(|yes| answer.eq_ignore_ascii_case(yes)) {
        terminal.ends(4);
        is_untouched(&scene, &format!("{answer:?} of person {seed}"));
        return false;
    }
    terminal.sees("evicting pod");
    for _ in 0..keys.below(4) {
        let typed = keys.chunk(&word);
        terminal.types(&typed);
    }
    hold(Value::Null);
    // At a moment that nobody knows; before an answer it is taken back.
    terminal.types(["y", "yy", "ye", "n", ""][keys.below(5)]);
    terminal.asks(&question);
    terminal.types(TAKES_BACK);
    let mut answer = keys.answer(&mut terminal, &word, &word);
    while answer.eq_ignore_ascii_case("y") {
        terminal.asks("in full");
        answer = keys.answer(&mut terminal, &word, &word);
    }
    let wants = answer == word;
    if wants {
        terminal.sees("wait for the boot");
        let typed = keys.chunk(&word);
        terminal.types(&typed);
    }
    let shown = terminal.ends(if wants { 0 } else { 4 });
    let reboots = scene.facts().reboots - before.reboots;
    assert_eq!(reboots, u32::from(wants), "person {seed} said {answer:?}: {shown}");
    wants
}

/// Ctrl-U.
const TAKES_BACK: &str = "\u{15}";
const BACKSPACE: char = '\u{7f}';
const CTRL_D: char = '\u{4}';

/// The same fingers for the same seed (splitmix64).
struct Keys(u64);

impl Keys {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("a small number")
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// A key, a word, or something that was pasted.
    fn chunk(&mut self, word: &str) -> String {
        let letters = ["y", "e", "s", "n", "Y", " ", "\u{7f}", "\r", "\n", "\u{4}", "w", "1"];
        let words = ["yes", "yes\r", "y\r", "yy\r", "n\r", "no\r", "yes\u{15}", "y\nyes\nyes\n", "yes\n"];
        match self.below(4) {
            0 => letters[self.below(letters.len())].to_owned(),
            1 => words[self.below(words.len())].to_owned(),
            2 => format!("{word}{}", ["", "\r", "\n", "\r\r", "x\r", "\u{7f}\r"][self.below(6)]),
            _ => (0..self.below(6)).map(|_| letters[self.below(letters.len())]).collect(),
        }
    }

    /// Types until there is an answer, and says which one: what the terminal makes of the keys.
    fn answer(&mut self, terminal: &mut Terminal, usual: &str, word: &str) -> String {
        let mut line = Line::default();
        loop {
            let typed = if self.one_in(2) { format!("{TAKES_BACK}{usual}\r") } else { self.chunk(word) };
            terminal.types(&typed);
            if let Some(answer) = line.types(&typed) {
                return answer.trim().to_owned();
            }
        }
    }
}

/// A line as a terminal edits it.
#[derive(Default)]
struct Line {
    /// By Ctrl-D in its middle: that much can no longer be taken back.
    passed: String,
    typed: String,
}

impl Line {
    /// Its text once it has ended; nothing if the input has.
    fn types(&mut self, keys: &str) -> Option<String> {
        for key in keys.chars() {
            match key {
                '\r' | '\n' => return Some(self.passed.clone() + &self.typed),
                CTRL_D if self.typed.is_empty() => return Some(String::new()),
                CTRL_D => self.passed += &std::mem::take(&mut self.typed),
                BACKSPACE => _ = self.typed.pop(),
                '\u{15}' => self.typed.clear(),
                key => self.typed.push(key),
            }
        }
        None
    }
}
