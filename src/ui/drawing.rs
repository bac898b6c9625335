//! Where bars and spinners are drawn: on stderr, if it is a terminal, for as long as that is there.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};

/// So many times a second at most, as indicatif does it.
const RATE: u8 = 20;

pub(super) fn target() -> ProgressDrawTarget {
    let terminal = Term::buffered_stderr();
    if !terminal.is_term() || std::env::var_os("TERM").is_none_or(|term| term == "dumb") {
        return ProgressDrawTarget::hidden();
    }
    let fading = Fading { terminal, is_gone: AtomicBool::new(false) };
    ProgressDrawTarget::term_like_with_hz(Box::new(fading), RATE)
}

/// A terminal that may go away, as when an ssh session dies. indicatif panics then, in the middle of what has to be written
/// down before we end.
struct Fading {
    terminal: Term,
    is_gone: AtomicBool,
}

impl Fading {
    fn draw(&self, draw: impl FnOnce(&Term) -> io::Result<()>) {
        if !self.is_gone.load(Ordering::Relaxed) && draw(&self.terminal).is_err() {
            self.is_gone.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Fading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.terminal.fmt(f)
    }
}

impl TermLike for Fading {
    fn width(&self) -> u16 {
        TermLike::width(&self.terminal)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.terminal)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.draw(|terminal| terminal.move_cursor_up(n));
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.draw(|terminal| terminal.move_cursor_down(n));
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.draw(|terminal| terminal.move_cursor_right(n));
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.draw(|terminal| terminal.move_cursor_left(n));
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.draw(|terminal| terminal.write_line(line));
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.draw(|terminal| terminal.write_str(text));
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw(Term::clear_line);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.draw(Term::flush);
        Ok(())
    }
}
