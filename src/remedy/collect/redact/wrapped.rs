//! Base64 over several lines: each line for itself shows half a secret or none.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{REDACTED, fixed};

/// A shorter line than this is none of a block: `base64` has 76 characters, PEM 64.
const SHORTEST_LINE: usize = 40;

/// A word that could be such a line, or the end of a line, with what may stand before the next one: a log's timestamp, an
/// indentation. Within a quoted text the end of a line is written out.
static PARTS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?P<end>(?:\r?\n|(?:\\+r)?\\+n)(?:\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)[ \t]+)?[ \t]*)",
        r"|(?P<word>[A-Za-z0-9+/]+={0,2})",
    ))
    .ok()
});

/// What a block begins with. Most texts have no such line, and are not looked at word by word.
static FIRST_LINE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9+/]{40}(?:\r?\n|\\)").ok());

/// Takes out the blocks in which `finds` finds secrets.
pub(super) fn without_blocks(text: &str, finds: impl Fn(&str) -> bool) -> Option<(String, usize)> {
    if !FIRST_LINE.as_ref()?.is_match(text) {
        return None;
    }
    let mut kept = String::new();
    let (mut done, mut count) = (0, 0);
    for block in blocks(text) {
        let whole: String = block.iter().map(|line| &text[line.clone()]).collect();
        if !fixed::decode(&whole).is_some_and(|decoded| finds(&decoded)) {
            continue;
        }
        count += 1;
        for line in block {
            kept.push_str(&text[done..line.start]);
            kept.push_str(REDACTED);
            done = line.end;
        }
    }
    kept.push_str(&text[done..]);
    (count > 0).then_some((kept, count))
}

/// Lines of base64 that are as long as the first one, and one that is shorter: at least two.
fn blocks(text: &str) -> Vec<Vec<Range<usize>>> {
    let Some(parts) = PARTS.as_ref() else { return Vec::new() };
    let mut blocks = Vec::new();
    let mut block: Vec<Range<usize>> = Vec::new();
    // The end of a line that may be followed by another one of the block.
    let mut goes_on = 0;
    for part in parts.captures_iter(text) {
        if let Some(end) = part.name("end") {
            if block.last().is_some_and(|last| last.end == end.start()) {
                goes_on = end.end();
            }
            continue;
        }
        let Some(word) = part.name("word") else { continue };
        let (is_next, longest) =
            (goes_on == word.start() && goes_on > 0, block.first().map_or(0, Range::len));
        let is_line = word.len() == longest || (word.len() < longest && ends_line(&text[word.end()..]));
        if is_next && is_line && block.last().is_some_and(|last| last.len() == longest) {
            block.push(word.range());
            continue;
        }
        keep(&mut blocks, &mut block);
        if word.len() >= SHORTEST_LINE {
            block.push(word.range());
        }
    }
    keep(&mut blocks, &mut block);
    blocks
}

fn keep(blocks: &mut Vec<Vec<Range<usize>>>, block: &mut Vec<Range<usize>>) {
    if block.len() > 1 {
        blocks.push(std::mem::take(block));
    }
    block.clear();
}

fn ends_line(after: &str) -> bool {
    let after = after.trim_start_matches(['"', '\'', ',']);
    after.is_empty() || after.starts_with(['\r', '\n', '\\'])
}
