//! Questions: a line is an answer, and only if it was typed after the question was shown.

use std::io::{IsTerminal, Write, stderr, stdin};

use dialoguer::theme::{SimpleTheme, Theme};
use indicatif::ProgressDrawTarget;

use super::keyboard::{self, Question, Quiet};
use super::{Ui, drawing, escape};
use crate::error::{Error, Exit, Result};
use crate::signal::{self, Signal};

impl Ui {
    /// Whether somebody can read a question, and answer it.
    pub fn can_ask(&self) -> bool {
        stdin().is_terminal() && stderr().is_terminal()
    }

    /// Asks, default No. Fails with [`Exit::Declined`] if nobody can answer, naming `flag`, or if the answer is no.
    pub async fn confirm(&self, question: String, flag: &str) -> Result<()> {
        if !self.can_ask() {
            return Err(nobody_answers("").hint(format!("add {flag} to go on without a prompt")));
        }
        match self.ask(&question).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(Exit::Declined, "declined; nothing was changed")),
            Err(signal) => Err(Error::new(signal.exit(), "interrupted; nothing was changed")),
        }
    }

    /// Asks, default No; only where somebody [can answer](Self::can_ask).
    pub(crate) async fn ask(&self, question: &str) -> Result<bool, Signal> {
        let mut shown = String::new();
        let _infallible = SimpleTheme.format_confirm_prompt(&mut shown, &escape(question), Some(false));
        let answer = self.answer(&shown).await?;
        Ok(["y", "yes"].iter().any(|yes| answer.eq_ignore_ascii_case(yes)))
    }

    /// Asks for `word` to be typed; anything else is no. A `y` out of habit is not taken for that.
    pub(crate) async fn ask_for(&self, question: &str, word: &str) -> Result<bool, Signal> {
        let mut question = escape(question).into_owned();
        loop {
            let mut shown = String::new();
            let _infallible = SimpleTheme.format_input_prompt(&mut shown, &question, None);
            let answer = self.answer(&shown).await?;
            if !answer.eq_ignore_ascii_case("y") {
                return Ok(answer == word);
            }
            question = format!("Type {} in full, or press Enter to decline", escape(word));
        }
    }

    /// The line that follows, without the space around it; empty if there is none. Nothing is drawn meanwhile.
    async fn answer(&self, question: &str) -> Result<String, Signal> {
        let _draws_nothing = Asking::begin(self);
        // Whoever answers after the last sign is understood: all that came before it is discarded when the rest can be read.
        let (question, last) = question.split_at(question.trim_end().len());
        write(question);
        let Ok(keyboard) = Question::begin() else { return Ok(String::new()) };
        write(last);
        let answer = tokio::select! {
            biased;
            signal = signal::received() => Err(signal),
            line = keyboard.line() => Ok(line.ok().flatten()),
        };
        if !matches!(answer, Ok(Some(_))) {
            write("\n"); // no Enter was typed
        }
        answer.map(|line| line.unwrap_or_default().trim().to_owned())
    }
}

/// What is typed is not shown until this is dropped, except at questions.
pub(crate) fn quiet() -> Quiet {
    Quiet::begin()
}

/// Where a question could not be answered.
pub(crate) fn nobody_answers(and: &str) -> Error {
    let which = if stdin().is_terminal() { "stderr" } else { "stdin" };
    Error::new(Exit::Declined, format!("this needs a confirmation, and {which} is no terminal{and}"))
}

fn write(text: &str) {
    // Nobody can be told that stderr is closed.
    let _ = write!(stderr(), "{text}").and_then(|()| stderr().flush());
}

/// A prompt that waits for its answer. Whoever drops that wait gets the terminal back as it was, too.
struct Asking<'u>(&'u Ui);

impl<'u> Asking<'u> {
    fn begin(ui: &'u Ui) -> Self {
        let _ = ui.bars.clear();
        ui.bars.set_draw_target(ProgressDrawTarget::hidden());
        Self(ui)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.bars.set_draw_target(drawing::target());
        show_cursor();
    }
}

/// The terminal as it was: a frame that was not drawn to its end leaves the cursor hidden, and typing is not shown in a run.
pub fn leave_terminal() {
    keyboard::restore();
    show_cursor();
}

fn show_cursor() {
    let _ = console::Term::stderr().show_cursor();
    let stdout = console::Term::stdout();
    if stdout.is_term() {
        let _ = stdout.show_cursor();
    }
}
