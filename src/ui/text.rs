//! Text from alerts, nodes and servers is hostile: it must not reach the terminal as commands.

use std::borrow::Cow;
use std::fmt::Write;

use crate::core::invisible::marked;

/// Makes what [marked] finds visible, ESC as kubectl does (`^[`, `kubectl/pkg/util/term`).
pub fn escape(text: &str) -> Cow<'_, str> {
    if marked(text).all(|(_, is_hostile)| !is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for (character, is_hostile) in marked(text) {
        match character {
            '\u{1b}' => safe.push_str("^["),
            _ if is_hostile => {
                // Writing to a String does not fail.
                let _ = write!(safe, "{}", character.escape_default());
            }
            _ => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_made_visible() {
        assert_eq!(escape("a\u{1b}[2Jb"), "a^[[2Jb");
        assert_eq!(escape("a\r\nb\tc\u{7}"), "a\\r\\nb\\tc\\u{7}");
        assert_eq!(escape("a\u{202e}b\u{2069}\u{9b}31m"), "a\\u{202e}b\\u{2069}\\u{9b}31m");
        assert_eq!(escape("w1\u{200b} w\u{ad}1 w\u{e0041}1"), "w1\\u{200b} w\\u{ad}1 w\\u{e0041}1");
        assert!(matches!(escape("Überhitzung 过热 🔥 [P1]"), Cow::Borrowed(_)));
    }
}
