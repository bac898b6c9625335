//! A table that stays in its place on the terminal and is drawn again when it changes.

use std::io;
use std::sync::{MutexGuard, PoisonError};

use console::{Style, Term};
use unicode_width::UnicodeWidthStr;

use super::table::cut;
use super::{Table, Ui, escape};

/// Before each row: whether it has just changed.
const MARKED: &str = "* ";
const UNMARKED: &str = "  ";

/// What stands below the rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Footer<'f> {
    pub note: Option<&'f str>,
    /// As many as a third of the terminal has room for.
    pub lines: &'f [String],
    pub warning: Option<&'f str>,
}

/// The lower part of the terminal, until it is dropped; what it shows stays there.
pub struct Live<'u> {
    ui: &'u Ui,
}

impl Ui {
    /// `None` where nothing can be drawn over: in a pipe, or on a terminal that only appends.
    pub fn live(&self) -> Option<Live<'_>> {
        self.redraws.then_some(Live { ui: self })
    }

    fn frame(&self) -> MutexGuard<'_, Frame> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live<'_> {
    /// More rows than this never fit.
    pub fn height(&self) -> usize {
        Term::stdout().size().0.into()
    }

    /// Shows the first of `total` rows, as many as fit, and the footer; `marked` goes with the rows. `false` if the
    /// terminal is gone.
    pub fn draw(
        &self,
        table: Table,
        marked: &[bool],
        total: usize,
        with_headers: bool,
        footer: Footer<'_>,
    ) -> bool {
        let terminal = Term::buffered_stdout();
        let (height, width) = terminal.size();
        let room = Room { height: height.into(), width: width.into(), color: self.ui.colors_result };
        let lines = room.lay_out(table, marked, total, with_headers, footer);
        self.ui.frame().draw(&terminal, lines, (height, width)).is_ok()
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        *self.ui.frame() = Frame::default();
    }
}

struct Room {
    height: usize,
    width: usize,
    color: bool,
}

impl Room {
    fn lay_out(
        &self,
        mut table: Table,
        marked: &[bool],
        total: usize,
        with_headers: bool,
        footer: Footer<'_>,
    ) -> Vec<String> {
        let note = footer.note.map(|note| self.fold(note)).unwrap_or_default();
        let others = &footer.lines[..footer.lines.len().min(self.height / 3)];
        let below = note.len() + others.len() + usize::from(footer.warning.is_some());
        // The cursor stands on a line of its own below all.
        let available = self.height.saturating_sub(1);
        let for_rows = available.saturating_sub(below + usize::from(with_headers));
        let shown = if total > for_rows { for_rows.saturating_sub(1) } else { total };
        table.truncate(shown);
        let with_headers = with_headers && total > 0;
        let width = self.width.saturating_sub(MARKED.len());
        let mut lines: Vec<String> = table
            .lines(with_headers, Some(width), self.color)
            .iter()
            .enumerate()
            .map(|(index, line)| {
                let row = index.checked_sub(usize::from(with_headers));
                let is_marked = row.and_then(|row| marked.get(row)).is_some_and(|marked| *marked);
                format!("{}{}", if is_marked { self.mark() } else { UNMARKED.into() }, line.trim_end())
            })
            .collect();
        if total > table.len() {
            lines.push(self.cut(&format!("{UNMARKED}… and {} more", total - table.len())));
        }
        lines.extend(note);
        lines.extend(others.iter().map(|line| self.cut(line)));
        lines.extend(footer.warning.map(|warning| {
            let line = self.cut(&format!("Warning: {warning}"));
            match line.strip_prefix("Warning:").filter(|_| self.color) {
                Some(rest) => format!("\u{1b}[33;1mWarning:\u{1b}[0m{rest}"),
                None => line,
            }
        }));
        lines.truncate(available);
        lines
    }

    fn mark(&self) -> String {
        if self.color {
            Style::new().bold().force_styling(true).apply_to(MARKED).to_string()
        } else {
            MARKED.into()
        }
    }

    /// A line for as many of its parts as fit.
    fn fold(&self, note: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for part in note.split("; ") {
            match lines.last_mut() {
                Some(line) if line.width() + part.width() + 2 <= self.width => {
                    line.push_str("; ");
                    line.push_str(part);
                }
                _ => lines.push(part.to_owned()),
            }
        }
        lines.iter().map(|line| self.cut(line)).collect()
    }

    fn cut(&self, line: &str) -> String {
        cut(&escape(line), self.width)
    }
}

/// The lines that stand above the cursor.
#[derive(Debug, Default)]
pub(super) struct Frame {
    lines: Vec<String>,
    /// Height and width of the terminal when they were drawn.
    size: (u16, u16),
}

impl Frame {
    /// Writes what is different, in one go. The cursor is hidden only as long as it moves, so whatever ends the
    /// process finds it shown.
    fn draw(&mut self, terminal: &Term, lines: Vec<String>, size: (u16, u16)) -> io::Result<()> {
        if lines == self.lines && size == self.size {
            return Ok(());
        }
        terminal.hide_cursor()?;
        if size != self.size && !self.lines.is_empty() {
            // The terminal has wrapped the old lines anew: nobody knows where they begin.
            terminal.clear_screen()?;
            self.lines.clear();
        }
        terminal.move_cursor_up(self.lines.len())?;
        for (index, line) in lines.iter().enumerate() {
            if self.lines.get(index) != Some(line) {
                terminal.clear_line()?;
                terminal.write_str(line)?;
            }
            terminal.write_str("\n")?;
        }
        if lines.len() < self.lines.len() {
            terminal.clear_to_end_of_screen()?;
        }
        terminal.show_cursor()?;
        terminal.flush()?;
        *self = Self { lines, size };
        Ok(())
    }

    /// Lets something else be written where the frame stands, and draws the frame below it.
    pub(super) fn aside(&mut self, write: impl FnOnce()) {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            return write();
        }
        let terminal = Term::buffered_stdout();
        // A terminal that is gone shows nothing, whatever is done.
        let _ = terminal
            .move_cursor_up(lines.len())
            .and_then(|()| terminal.clear_to_end_of_screen())
            .and_then(|()| terminal.flush());
        write();
        let _ = self.draw(&terminal, lines, self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_takes_as_many_lines_as_it_needs() {
        let note = "2 conditions firing on 2 of 40 nodes (P1: 1, P8: 1); 3 unknown; last full sync 31s ago by cron@ops1";
        let fold = |width| Room { height: 9, width, color: false }.fold(note);
        assert_eq!(fold(120), [note]);
        assert_eq!(
            fold(62),
            [
                "2 conditions firing on 2 of 40 nodes (P1: 1, P8: 1); 3 unknown",
                "last full sync 31s ago by cron@ops1",
            ]
        );
        assert_eq!(fold(20), ["2 conditions firing…", "3 unknown", "last full sync 31s …"]);
    }
}
