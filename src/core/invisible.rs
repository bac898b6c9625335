//! Characters that a terminal obeys, that change the direction of text, or that show nothing: with them one name is taken for
//! another. And what is no character: YAML refuses U+FFFE and U+FFFF.

/// Each character of a text, and whether it is one of these.
pub fn marked(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut before = None;
    let mut rest = text.chars();
    std::iter::from_fn(move || {
        let character = rest.next()?;
        let is_hostile = is_hostile(before, character, rest.clone().next());
        before = (!is_hostile).then_some(character);
        Some((character, is_hostile))
    })
}

fn is_hostile(before: Option<char>, character: char, after: Option<char>) -> bool {
    let is_foreign =
        |other: Option<char>| other.is_some_and(|other| !other.is_ascii() && !is_obeyed_or_unseen(other));
    match character {
        // Scripts and emoji are joined by these, and by nothing else.
        '\u{200c}' | '\u{200d}' => !((is_foreign(before) || before == Some('\u{fe0f}')) && is_foreign(after)),
        // A sign as text or as an emoji; a keycap stands on ASCII.
        '\u{fe0e}' | '\u{fe0f}' => !(is_foreign(before) || after == Some('\u{20e3}')),
        character => is_obeyed_or_unseen(character),
    }
}

/// Control characters, line separators, and Unicode's `Default_Ignorable_Code_Point`, all of `Bidi_Control` among them.
fn is_obeyed_or_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{fffe}'..='\u{ffff}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_e9_what_shows_nothing_or_is_obeyed() {
        for text in [
            "\u{200b}",
            "\u{ad}",
            "\u{e0041}",
            "\u{feff}",
            "\u{2060}",
            "\u{3164}",
            "\u{61c}",
            "\u{202e}",
            "\u{2028}",
            "\u{7f}",
            "\u{85}",
            "\u{9b}",
            "\u{fe0f}",
            "\u{200d}",
        ] {
            for around in ["w1", "ü", "🔥"] {
                let hostile: String = marked(&format!("{around}{text}w"))
                    .filter(|(_, hostile)| *hostile)
                    .map(|(c, _)| c)
                    .collect();
                let joins = around != "w1" && text == "\u{fe0f}";
                assert_eq!(hostile, if joins { "" } else { text }, "{around} {text:?}");
            }
        }
        for text in [
            "⚠\u{fe0f} Überhitzung 过热 🔥 [P1]",
            "👩\u{200d}🚒 ❤\u{fe0f}\u{200d}🔥 1\u{fe0f}\u{20e3}",
            "می\u{200c}خواهم",
            "ශ්\u{200d}රී",
        ] {
            assert!(marked(text).all(|(_, hostile)| !hostile), "{text}");
        }
    }
}
