//! What a person sees: results on stdout, everything else on stderr, prompts only where somebody can answer.

mod custom_columns;
mod drawing;
mod journal;
pub mod jsonpath;
#[cfg_attr(not(unix), path = "keyboard_elsewhere.rs")]
mod keyboard;
mod live;
mod progress;
mod prompt;
mod table;
mod text;
mod verdict;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;

use crate::cli::Color;
use crate::error::{Error, Exit};

use journal::{Journal, Level};
use live::Frame;

pub use custom_columns::CustomColumns;
pub use live::{Footer, Live};
pub use progress::{Progress, Step};
pub use prompt::leave_terminal;
pub(crate) use prompt::{nobody_answers, quiet};
pub use table::{Cell, Table};
pub use text::escape;
pub use verdict::Verdict;

/// The terminal, or whatever stands in its place.
pub struct Ui {
    out: Mutex<Box<dyn Write + Send>>,
    /// Why the result is not whole, if nobody is told by it: a disk that is full.
    unwritten: Mutex<Option<std::io::Error>>,
    frame: Mutex<Frame>,
    /// Drawn on stderr, below what is written there.
    bars: MultiProgress,
    /// Notes, warnings and errors are log lines, which are escaped where all of them are written.
    journal: Option<Journal>,
    /// stdout is a terminal on which the cursor can be moved.
    redraws: bool,
    colors_result: bool,
    colors_notes: bool,
}

impl Ui {
    /// Writes to stdout and stderr; colours as `color` and the terminal's conventions say.
    pub fn terminal(color: Color) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_plain = is_dumb || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colors = |is_terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !is_plain,
        };
        Self {
            out: Mutex::new(Box::new(std::io::stdout())),
            unwritten: Mutex::default(),
            frame: Mutex::default(),
            bars: MultiProgress::with_draw_target(drawing::target()),
            journal: None,
            redraws: std::io::stdout().is_terminal() && !is_dumb,
            colors_result: colors(std::io::stdout().is_terminal()),
            colors_notes: colors(std::io::stderr().is_terminal()),
        }
    }

    /// For what runs for long: notes, warnings and errors become log lines, and are not repeated from round to round.
    #[must_use]
    pub fn into_log(self) -> Self {
        Self { journal: Some(Journal::default()), ..self }
    }

    /// A new round begins: what it says again was said, what it does not is forgotten.
    pub fn next_round(&self) {
        self.journal.iter().for_each(Journal::next_round);
    }

    /// `false` if it is not to be read by anybody any more. That stops the output, not the work.
    fn write(&self, text: &str) -> bool {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return true };
        *out = Box::new(std::io::sink());
        // A reader that has gone away wants no more.
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        false
    }

    /// Why the result is not whole.
    pub fn unwritten(&self) -> Option<Error> {
        let error = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Error::new(Exit::Failed, format!("cannot write to stdout: {error}")))
    }

    /// One line of the result.
    pub fn result(&self, line: &str) {
        self.write(&format!("{}\n", escape(line)));
    }

    /// One line of the result, with a mark before it.
    pub fn verdict(&self, verdict: Verdict, line: &str) {
        let mark = verdict.mark(verdict::speaks_utf8(), self.colors_result);
        self.write(&format!("{mark} {}\n", escape(line)));
    }

    /// A finished document, such as JSON: its lines are its own.
    pub fn document(&self, text: &str) {
        text.lines().for_each(|line| self.result(line));
    }

    /// Text that is laid out by the user: as it is, and without a line break at its end. A terminal gets one, and nothing
    /// that it would obey.
    pub fn verbatim(&self, text: &str) {
        let mut text = Cow::Borrowed(text);
        if std::io::stdout().is_terminal() && !text.is_empty() {
            let lines = text.trim_end_matches('\n').split('\n').map(|line| {
                line.split('\t').map(|part| escape(part).into_owned()).collect::<Vec<_>>().join("\t") + "\n"
            });
            text = Cow::Owned(lines.collect());
        }
        self.write(&text);
    }

    /// A table, cut to the terminal's width if stdout is one.
    pub fn table(&self, table: &Table, with_headers: bool) {
        let terminal = console::Term::stdout();
        let width = terminal.is_term().then(|| usize::from(terminal.size().1));
        let lines = table.lines(with_headers, width, self.colors_result);
        let lines: Vec<&str> = lines.iter().flat_map(|line| [line.trim_end(), "\n"]).collect();
        self.write(&lines.concat());
    }

    /// A table for the person, on stderr.
    pub fn table_note(&self, table: &Table) {
        let terminal = console::Term::stderr();
        let width = terminal.is_term().then(|| usize::from(terminal.size().1));
        table.lines(true, width, self.colors_notes).iter().for_each(|line| self.say(line.trim_end()));
    }

    /// Rows below those printed before, in columns of the same `widths`. `false` if the reader has gone away.
    pub fn further_rows(&self, table: &Table, with_headers: bool, widths: &mut Vec<usize>) -> bool {
        let mut text = String::new();
        for line in table.further_lines(with_headers, widths, self.colors_result) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        self.write(&text)
    }

    /// Returns once nobody can read stdout any more, if it is a pipe or a terminal.
    pub async fn reader_gone(&self) {
        #[cfg(unix)]
        {
            use tokio::io::{Interest, unix::AsyncFd};
            #[expect(deprecated, reason = "unsound for descriptors that are closed; stdout is not")]
            let registered = AsyncFd::with_interest(std::io::stdout(), Interest::ERROR);
            // What is no pipe or terminal, such as a file, cannot be asked, and is never closed by a reader.
            if let Ok(stdout) = registered
                && stdout.ready(Interest::ERROR).await.is_ok()
            {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// One line for the person, on stderr.
    pub fn note(&self, line: &str) {
        match &self.journal {
            Some(journal) => journal.write(Level::Info, line),
            None => self.say(&escape(line)),
        }
    }

    /// Above what is drawn, if anything is.
    fn say(&self, line: &str) {
        let mut frame = self.frame.lock().unwrap_or_else(PoisonError::into_inner);
        frame.aside(|| {
            // Nobody can be told that stderr is closed.
            let _ = self.bars.suspend(|| writeln!(std::io::stderr(), "{line}"));
        });
    }

    /// A line that begins with `Warning:`, as kubectl prints the server's, in its colour.
    pub fn warning(&self, line: &str) {
        if let Some(journal) = &self.journal {
            return journal.write(Level::Warning, line);
        }
        let (on, off) = if self.colors_notes { ("\u{1b}[33;1m", "\u{1b}[0m") } else { ("", "") };
        self.say(&format!("{on}Warning:{off} {}", escape(line)));
    }

    /// An error with its hints.
    pub fn error(&self, error: &Error) {
        match &self.journal {
            Some(journal) => error.lines().for_each(|line| {
                let line = line.strip_prefix("error: ").unwrap_or(&line); // the level says so
                journal.write(Level::Error, line);
            }),
            None => error.lines().for_each(|line| self.note(&line)),
        }
    }
}
