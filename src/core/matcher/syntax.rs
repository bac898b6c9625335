//! One matcher as text, as Alertmanager reads it by default (`matcher/compat/parse.go`, `FallbackMatcherParser`): what its classic
//! parser takes means what it means there; what only the parser of 0.27 takes has a name of any characters.
//!
//! Narrower than there in two points: an unquoted value has no comma or brace, and a name is not empty. Both are mistakes that
//! would match nothing, and what nothing matches is cleared.

/// Name, operator and value, or `None` if it is none.
pub(super) fn parse(text: &str) -> Option<(String, &'static str, String)> {
    if text.starts_with('{') || text.ends_with('}') {
        return None;
    }
    match classic(text) {
        Some(Classic { value, is_quoted: false, .. }) if value.contains([',', '{', '}']) => None,
        Some(Classic { name, operator, value, .. }) => Some((name, operator, value)),
        None => utf8(text),
    }
}

/// Whether the classic parser takes it for a name.
pub(super) fn is_classic_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(is_of_classic_name)
}

/// Between quotes, as each parser of Alertmanager reads it.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn is_of_classic_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | ':')
}

struct Classic {
    name: String,
    operator: &'static str,
    value: String,
    is_quoted: bool,
}

/// `pkg/labels/parse.go`, `ParseMatcher`.
fn classic(text: &str) -> Option<Classic> {
    let is_space = |c: char| matches!(c, '\t' | '\n' | '\u{c}' | '\r' | ' ');
    let text = text.trim_matches(is_space);
    let (name, rest) = text.split_at(text.find(|c| !is_of_classic_name(c))?);
    let (operator, value) = operator(rest.trim_start_matches(is_space))?;
    let value = value.trim_start_matches(is_space);
    let quoted = value.strip_prefix('"').map(|quoted| quoted.strip_suffix('"'));
    let is_quoted = quoted.is_some();
    let value = classic_value(quoted.unwrap_or(Some(value))?, is_quoted)?;
    is_classic_name(name).then(|| Classic { name: name.to_owned(), operator, value, is_quoted })
}

/// Other escapes than these three stand for themselves, so `\d` needs no doubling.
fn classic_value(text: &str, is_quoted: bool) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                // It is the closing quote that is escaped.
                None if is_quoted => return None,
                None => value.push('\\'),
            },
            '"' => return None,
            other => value.push(other),
        }
    }
    Some(value)
}

/// `matcher/parse`, for one matcher.
fn utf8(text: &str) -> Option<(String, &'static str, String)> {
    let (name, rest) = word(text)?;
    let (operator, rest) = operator(rest.trim_start())?;
    let (value, rest) = word(rest)?;
    let rest = rest.trim();
    let is_end = rest.is_empty() || rest == ",";
    (is_end && !name.is_empty()).then_some((name, operator, value))
}

fn operator(text: &str) -> Option<(&'static str, &str)> {
    // The two-character operators first: `=` begins `=~` too.
    ["=~", "!~", "!=", "="].into_iter().find_map(|operator| Some((operator, text.strip_prefix(operator)?)))
}

/// In quotes, or without what has a meaning of its own; and what follows it.
fn word(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let is_reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
        let (word, rest) = text.split_at(text.find(is_reserved).unwrap_or(text.len()));
        return (!word.is_empty()).then(|| (word.to_owned(), rest));
    };
    let mut is_escaped = false;
    let end = quoted.find(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    })?;
    Some((unquoted(&quoted[..end])?, &quoted[end + 1..]))
}

/// Go's escapes (`strconv.Unquote`), of which some are bytes.
fn unquoted(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        if character == '\n' {
            return None;
        }
        if character != '\\' {
            bytes.extend(character.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        let mut number = |from: usize, digits: usize, radix: u32| {
            let digits = rest.get(from..from + digits).filter(|digits| !digits.starts_with(['+', '-']))?;
            rest = &rest[from + digits.len()..];
            u32::from_str_radix(digits, radix).ok()
        };
        match escape {
            'x' => bytes.push(u8::try_from(number(1, 2, 16)?).ok()?),
            '0'..='7' => bytes.push(u8::try_from(number(0, 3, 8)?).ok()?),
            'u' | 'U' => {
                let code = number(1, if escape == 'u' { 4 } else { 8 }, 16)?;
                bytes.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).bytes());
            }
            _ => {
                let plain = ['a', 'b', 'f', 'n', 'r', 't', 'v', '\\', '"'];
                let at = plain.iter().position(|plain| *plain == escape)?;
                bytes.push(b"\x07\x08\x0c\n\r\t\x0b\\\""[at]);
                rest = &rest[1..];
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real Alertmanager makes of such texts is compared in `tests/it/matchers.rs`.
    #[test]
    fn t15_d7_a_matcher_is_read_as_alertmanager_and_amtool_do() {
        for (text, name, operator, value) in [
            (r#""k8s.cluster.name"="a""#, "k8s.cluster.name", "=", "a"),
            (r#" "k8s.cluster.name" != "a" , "#, "k8s.cluster.name", "!=", "a"),
            ("k8s.cluster.name=~a", "k8s.cluster.name", "=~", "a"),
            (r#""node"="w1""#, "node", "=", "w1"),
            (r#""a \"b\" =\\"!~"x""#, r#"a "b" =\"#, "!~", "x"),
            ("кластер=\"é\"", "кластер", "=", "é"),
            ("1a=b", "1a", "=", "b"),
            ("a:b=c", "a:b", "=", "c"),
            // The classic parser leaves escapes alone that it does not know, and the other knows Go's.
            (r#"a="\d\t\\d""#, "a", "=", r"\d\t\d"),
            (r#""a"="\t\\d\x41\101\u00e9\xc3\xa9\U0001f525""#, "a", "=", "\t\\dAAéé🔥"),
            (r"a=\\d\n\", "a", "=", "\\d\n\\"),
            (r#"a=b\"c"#, "a", "=", "b\"c"),
            ("a=", "a", "=", ""),
            ("a==b", "a", "=", "=b"),
            ("a=b c", "a", "=", "b c"),
            ("a=\u{a0}b\u{a0}", "a", "=", "\u{a0}b\u{a0}"),
            ("\u{a0}a=\"b\"\u{a0}", "a", "=", "b"),
        ] {
            assert_eq!(parse(text), Some((name.to_owned(), operator, value.to_owned())), "{text}");
        }
        for text in [
            r#"""="b""#,
            r#""a.b"="#,
            r#""a.b"=~"\d""#,
            r#""a.b"="\'""#,
            r#""a.b"="\xff""#,
            r#""a.b"="\u+041""#,
            r#""a.b"="\400""#,
            r#""a.b"="\ud800""#,
            "\"a.b\"=\"c\nd\"",
            r#""a.b"="c","d"="e""#,
            r#""a.b"="c",,"#,
            r#""a.b="c""#,
            r#""a.b""#,
            r#"{"a.b"="c"}"#,
            r#"'a.b'="c""#,
            "a.b='c'",
            r#"a="b\""#,
            r#"a=""b""#,
            "a=b,c=d",
            "a=b,",
            "a=b{c",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
