//! Tables as kubectl prints them: upper-case headers, three spaces, no borders. Cells are hostile text.

use console::Style;
use unicode_width::UnicodeWidthStr;

use super::escape;

const GAP: usize = 3;
/// What a column that gives way keeps.
const LEAST: usize = 4;
/// What a header that is wider than all below it keeps: `PR…`.
const LEAST_OF_HEADER: usize = 3;
const ELLIPSIS: char = '…';

/// One cell; the style is left out where there are no colours.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    style: Option<Style>,
}

impl Cell {
    /// What a terminal may show of `text`: its first line, with `...` if there are more, and nothing that the terminal
    /// would obey.
    pub fn new(text: &str) -> Self {
        let text = match text.split_once(['\n', '\r']) {
            Some((first, _)) => escape(&format!("{first}...")).into_owned(),
            None => escape(text).into_owned(),
        };
        Self { text, style: None }
    }

    #[must_use]
    pub fn styled(mut self, style: Style) -> Self {
        self.style = Some(style);
        self
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// A table, as lines.
#[derive(Debug)]
pub struct Table {
    headers: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(headers: &[String]) -> Self {
        Self { headers: headers.iter().map(|header| Cell::new(header)).collect(), rows: Vec::new() }
    }

    /// Adds a row with as many cells as there are headers.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The header and the rows, each `width` wide at most; see `fit`. Nothing is ever wrapped.
    pub fn lines(&self, with_headers: bool, width: Option<usize>, color: bool) -> Vec<String> {
        let mut widths = Vec::new();
        self.widen(with_headers, &mut widths);
        let gap = width.map_or(GAP, |width| {
            let mut below = Vec::new();
            self.widen(false, &mut below);
            fit(&mut widths, &below, width)
        });
        self.lines_of(with_headers, &widths, gap, color)
    }

    /// The same for what is printed below earlier rows, whose `widths` are kept and grow.
    pub fn further_lines(&self, with_headers: bool, widths: &mut Vec<usize>, color: bool) -> Vec<String> {
        self.widen(with_headers, widths);
        self.lines_of(with_headers, widths, GAP, color)
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.rows.truncate(rows);
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn shown(&self, with_headers: bool) -> impl Iterator<Item = &Vec<Cell>> {
        with_headers.then_some(&self.headers).into_iter().chain(&self.rows)
    }

    fn widen(&self, with_headers: bool, widths: &mut Vec<usize>) {
        widths.resize(self.headers.len(), 0);
        for row in self.shown(with_headers) {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = cell.width().max(*widest);
            }
        }
    }

    fn lines_of(&self, with_headers: bool, widths: &[usize], gap: usize, color: bool) -> Vec<String> {
        self.shown(with_headers).map(|row| line(row, widths, gap, color)).collect()
    }
}

/// Makes the columns fit and returns the gap between them. The last one gives way first; then headers that are wider
/// than all `below` them, then the gaps, then the rest of the last, and at the end whichever is the widest.
fn fit(widths: &mut [usize], below: &[usize], available: usize) -> usize {
    let Some((last, others)) = widths.split_last_mut() else { return GAP };
    let room = |others: &[usize], gap: usize| {
        available
            .checked_sub(others.iter().map(|width| width + gap).sum())
            .filter(|room| *room >= LEAST.min(*last))
    };
    if let Some(room) = room(others, GAP) {
        *last = room.min(*last);
        return GAP;
    }
    for (width, below) in others.iter_mut().zip(below) {
        *width = (*width).min(LEAST_OF_HEADER.max(*below));
    }
    for gap in (1..=GAP).rev() {
        if let Some(room) = room(others, gap) {
            *last = room.min(*last);
            return gap;
        }
    }
    *last = 0;
    let gaps = others.len().saturating_sub(1);
    let mut excess = (others.iter().sum::<usize>() + gaps).saturating_sub(available);
    while excess > 0 {
        match others.iter_mut().max() {
            Some(widest) if *widest > LEAST => *widest -= 1,
            _ => break,
        }
        excess -= 1;
    }
    1
}

fn line(row: &[Cell], widths: &[usize], gap: usize, color: bool) -> String {
    let mut line = String::new();
    for (index, (cell, &width)) in row.iter().zip(widths).enumerate() {
        let text = cut(&cell.text, width);
        let padding = width - text.width();
        match &cell.style {
            Some(style) if color => line.push_str(&style.apply_to(&text).force_styling(true).to_string()),
            _ => line.push_str(&text),
        }
        let gap = if widths[index + 1..].iter().any(|width| *width > 0) { gap } else { 0 };
        line.extend(std::iter::repeat_n(' ', padding + gap));
    }
    line
}

/// At most `width` columns of `text`, with an ellipsis if that is not all.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let fits = |end: &usize| text[..*end].width() < width;
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
    // The widths of prefixes do not always grow: joined emoji are narrower than their parts. The first that does not
    // fit ends the search.
    let end = std::iter::once(0).chain(ends).take_while(fits).last().unwrap_or(0);
    let mut cut = text[..end].to_owned();
    if width > 0 {
        cut.push(ELLIPSIS);
    }
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(&["NODE", "PRIORITY", "MESSAGE"].map(String::from));
        for row in rows {
            table.push(row.iter().map(|text| Cell::new(text)).collect());
        }
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let table = table(&[["w1", "P1", "short"], ["worker-27", "-", "过热\nsecond line"]]);
        assert_eq!(
            table.lines(true, None, false),
            [
                "NODE        PRIORITY   MESSAGE",
                "w1          P1         short  ",
                "worker-27   -          过热...",
            ]
        );
        assert_eq!(table.lines(false, None, false)[0], "w1          P1   short  ");
    }

    #[test]
    fn the_last_column_gives_way_first() {
        let table = table(&[["worker-27", "P1", "a message that is too long"]]);
        assert_eq!(table.lines(false, Some(24), false), ["worker-27   P1   a mess…"]);
        assert_eq!(table.lines(false, Some(18), false), ["worker-27 P1 a me…"], "then the gaps");
        assert_eq!(table.lines(false, Some(12), false), ["worker-27 P1"], "then the rest of it");
        assert_eq!(table.lines(false, Some(9), false), ["worke… P1"], "then the widest");
        assert_eq!(table.lines(false, Some(1), false), ["wor… P1"], "never less than that");
    }

    /// Which node it is, is worth more than `PRIORITY` in full.
    #[test]
    fn headers_give_way_to_what_stands_below() {
        let table = table(&[["worker-27", "P1", "a message that is too long"]]);
        assert_eq!(
            table.lines(true, Some(25), false),
            ["NODE        PR…   MESSAGE", "worker-27   P1    a mess…"]
        );
        assert_eq!(table.lines(true, Some(13), false), ["NODE      PR…", "worker-27 P1 "]);
    }

    #[test]
    fn further_rows_keep_the_columns() {
        let mut widths = Vec::new();
        let first = table(&[["worker-27", "P1", "a"]]).further_lines(true, &mut widths, false);
        assert_eq!(first, ["NODE        PRIORITY   MESSAGE", "worker-27   P1         a      "]);
        let second = table(&[["w1", "P8", "b"]]).further_lines(false, &mut widths, false);
        assert_eq!(second, ["w1          P8         b      "]);
    }

    #[test]
    fn styles_do_not_count() {
        let mut table = Table::new(&["A", "B"].map(String::from));
        table.push(vec![Cell::new("x").styled(Style::new().red()), Cell::new("y")]);
        assert_eq!(table.lines(false, None, true), ["\u{1b}[31mx\u{1b}[0m   y"]);
        assert_eq!(table.lines(false, None, false), ["x   y"]);
    }

    /// Anything, above all what is rare among all characters: control characters, and those that change directions.
    fn message() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => "(?s).{0,60}",
            8 => "[ -~\u{0}-\u{1f}\u{7f}-\u{9f}\u{61c}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}]{0,60}",
            1 => "(?s).{4990,5000}",
        ]
    }

    proptest! {
        #[test]
        fn arbitrary_text_disturbs_neither_terminal_nor_columns(
            rows in proptest::collection::vec(("\\PC{0,12}", ".{0,6}", message()), 1..8),
            width in proptest::option::of(20_usize..120),
        ) {
            let mut table = Table::new(&["NODE", "PRIORITY", "MESSAGE"].map(String::from));
            for (node, priority, message) in &rows {
                table.push([node, priority, message].map(|text| Cell::new(text)).to_vec());
            }
            let lines = table.lines(true, width, false);
            let first = lines[0].width();
            prop_assert!(width.is_none_or(|width| first <= width));
            for line in &lines {
                prop_assert_eq!(line.width(), first, "{:?}", lines);
                prop_assert!(!line.chars().any(char::is_control));
                // Unicode's Bidi_Control, UAX #9.
                let is_bidi = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
                prop_assert!(!line.contains(is_bidi));
            }
        }
    }
}
