//! Text from alerts, nodes and servers is hostile: it must not reach the terminal as commands.

use std::borrow::Cow;
use std::fmt::Write;

/// Makes control characters and those that change the direction of text visible, as kubectl does with ESC
/// (`^[`, `kubectl/pkg/util/term`).
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\u{1b}' => safe.push_str("^["),
            _ if is_hostile(character) => {
                // Writing to a String does not fail.
                let _ = write!(safe, "{}", character.escape_default());
            }
            _ => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_made_visible() {
        assert_eq!(escape("a\u{1b}[2Jb"), "a^[[2Jb");
        assert_eq!(escape("a\r\nb\tc\u{7}"), "a\\r\\nb\\tc\\u{7}");
        assert_eq!(escape("a\u{202e}b\u{2069}\u{9b}31m"), "a\\u{202e}b\\u{2069}\\u{9b}31m");
        assert!(matches!(escape("Überhitzung 过热 🔥 [P1]"), Cow::Borrowed(_)));
    }
}
