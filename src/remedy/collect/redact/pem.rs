//! Private keys in PEM: on many lines, on one with `\n` in it, and when either end of it was cut off.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::REDACTED;

/// No key is longer; a 16,384 bit RSA key has 13 kB.
const LONGEST: usize = 64 << 10;

static MARKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let gap = r"(?: |\+|%20)";
    Regex::new(&format!(
        "-----(?P<begin>BEGIN)?(?:END)?{gap}(?:[A-Z0-9]+{gap})*PRIVATE{gap}KEY(?:{gap}BLOCK)?-----"
    ))
    .ok()
});

/// A line of a key's body: a long run of base64, or such a word at its end behind a timestamp.
static BODY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"[A-Za-z0-9+/]{40,}|(?:^|\s)[A-Za-z0-9+/]{16,}={0,2}(?:\\n)?["',]*\s*$"#).ok()
});

pub(super) fn without_keys(text: &str) -> Option<(String, usize)> {
    if !text.contains("-----") {
        return None;
    }
    let marks: Vec<(bool, Range<usize>)> = MARKS
        .as_ref()?
        .captures_iter(text)
        .filter_map(|found| Some((found.name("begin").is_some(), found.get(0)?.range())))
        .collect();
    let mut spans = Vec::new();
    let mut from = 0;
    for (place, (begins, mark)) in marks.iter().enumerate() {
        if mark.start < from {
            continue; // the end of the one before
        }
        let span = if *begins {
            match marks.get(place + 1) {
                Some((false, end)) if end.start - mark.end <= LONGEST => mark.start..end.end,
                _ => mark.start..end_of_body(text, mark.end),
            }
        } else {
            spans.extend(body_before(text, from, mark.start));
            mark.clone()
        };
        from = span.end;
        spans.push(span);
    }
    (!spans.is_empty()).then(|| (cut_out(text, &spans), marks_of_keys(&marks)))
}

/// An end whose beginning is there is no key of its own.
fn marks_of_keys(marks: &[(bool, Range<usize>)]) -> usize {
    let lonely = |place: usize| place == 0 || !marks[place - 1].0;
    marks.iter().enumerate().filter(|(place, (begins, _))| *begins || lonely(*place)).count()
}

fn is_body(line: &str) -> bool {
    BODY.as_ref().is_none_or(|body| body.is_match(line))
}

/// Where a key ends that has no end: with the rest of its line, and the lines after it that could be its own.
fn end_of_body(text: &str, from: usize) -> usize {
    let mut end = from;
    for (number, line) in text[from..].split_inclusive('\n').enumerate() {
        if number > 0 && !is_body(line) {
            break;
        }
        end += line.len();
    }
    end
}

/// The lines that could be of a key whose beginning was cut off; other lines may stand between them.
fn body_before(text: &str, from: usize, end: usize) -> Vec<Range<usize>> {
    let mut earliest = end.saturating_sub(LONGEST).max(from);
    while !text.is_char_boundary(earliest) {
        earliest += 1;
    }
    let mut at = earliest;
    let mut spans = Vec::new();
    for line in text[earliest..end].split_inclusive('\n') {
        if is_body(line) {
            spans.push(at..at + line.len());
        }
        at += line.len();
    }
    spans
}

fn cut_out(text: &str, spans: &[Range<usize>]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for span in spans {
        let between = &text[from..span.start];
        kept.push_str(between);
        // One word for all lines of a key.
        if from == 0 || !between.is_empty() {
            kept.push_str(REDACTED);
        }
        if text[span.clone()].ends_with('\n') && !text[span.end..].is_empty() {
            kept.push('\n');
        }
        from = span.end;
    }
    kept.push_str(&text[from..]);
    kept
}
