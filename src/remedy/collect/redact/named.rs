//! Values that are secrets by their names: `password=…`, `"token": "…"`, `--api-key …`.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::REDACTED;

static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let colour = r"(?:\x1b\[[0-9;]*m)*";
    Regex::new(&format!(
        concat!(
            r"(?i)(?P<name>[a-z0-9_.$-]*(?:passw(?:or)?d|passphrase|passcode|[_.-]pass|pwd|token|secret|credential",
            r"|(?:api|access|private|account|encryption|signing|master|shared(?:access)?|client|secret|ssh|hmac|storage",
            r"|fastopen|service|license|session|app|auth|primary|secondary)[_.-]?key|key[_-]data|connection[_-]?string|conn[_-]?str",
            r"|webhook[_-]?url|\bsig\b|signature|\bauth\b))",
            r"(?P<tail>[a-z0-9_.-]*){colour}",
            r#"(?:(?P<is>\\*["']?[ \t]*(?:=>|:=|==?|:|%3[AD])[ \t]*{colour})|(?P<list>\\*["'],\s*)|(?P<space>[ \t]+))"#,
        ),
        colour = colour
    ))
    .ok()
});

/// What follows the telling word in names of something that is no secret: `secretName`, `tls-private-key-file`.
const NO_SECRET: [&str; 24] = [
    "file",
    "path",
    "dir",
    "name",
    "ref",
    "count",
    "ttl",
    "expir",
    "type",
    "mode",
    "version",
    "length",
    "size",
    "seconds",
    "audience",
    "policy",
    "provider",
    "controller",
    "review",
    "request",
    "bucket",
    "limit",
    "store",
    "manager",
];

/// The values, in text of any kind.
pub(super) fn without_values(text: &str) -> Option<(String, usize)> {
    let pattern = NAME.as_ref()?;
    let mut kept = String::new();
    let (mut done, mut at, mut count) = (0, 0, 0);
    while let Some(found) = pattern.captures_at(text, at) {
        let (Some(all), Some(tail)) = (found.get(0), found.name("tail")) else { break };
        at = tail.end().max(at + 1);
        while !text.is_char_boundary(at) {
            at += 1;
        }
        let name = &found["name"];
        let is_flag = name.starts_with('-');
        let applies = found.name("is").is_some() || is_flag;
        let value = value_at(text, all.end());
        if !applies || is_no_secret(name, tail.as_str()) || spares(name, text, &value) {
            continue;
        }
        if found.name("space").is_some() && text[value.start..].starts_with('-') {
            continue; // another flag
        }
        kept.push_str(&text[done..value.start]);
        kept.push_str(REDACTED);
        count += 1;
        done = value.end;
        at = value.end;
    }
    kept.push_str(&text[done..]);
    (count > 0).then_some((kept, count))
}

fn is_no_secret(name: &str, tail: &str) -> bool {
    let tail = tail.to_ascii_lowercase();
    // Where the shell is.
    ["PWD", "OLDPWD"].contains(&name) || NO_SECRET.iter().any(|word| tail.contains(word))
}

struct ValueAt {
    start: usize,
    end: usize,
    is_quoted: bool,
}

/// The value that begins here, without its quotes.
fn value_at(text: &str, at: usize) -> ValueAt {
    // Go prints a header's values as a list.
    let at = at + usize::from(text[at..].starts_with('['));
    let rest = &text[at..];
    let slashes = rest.len() - rest.trim_start_matches('\\').len();
    match rest[slashes..].chars().next().filter(|c| ['"', '\''].contains(c)) {
        Some(quote) => {
            let start = at + slashes + 1;
            ValueAt { start, end: end_of_quoted(text, start, quote, slashes), is_quoted: true }
        }
        None => ValueAt { start: at, end: end_of_word(text, at), is_quoted: false },
    }
}

/// A quote ends with one that is escaped as often; a value that has none, with its line.
fn end_of_quoted(text: &str, start: usize, quote: char, slashes: usize) -> usize {
    let mut before = 0;
    for (at, c) in text[start..].char_indices() {
        let ends = if slashes == 0 { before % 2 == 0 } else { before == slashes };
        match c {
            '\\' => before += 1,
            '\n' => return start + at,
            c if c == quote && ends => return start + at - slashes,
            _ => before = 0,
        }
    }
    text.len()
}

fn end_of_word(text: &str, start: usize) -> usize {
    for (at, c) in text[start..].char_indices() {
        let after = &text[start + at + c.len_utf8()..];
        let ends = match c {
            '"' | '\'' | '\x1b' => true,
            // Between two values, and not part of one.
            ',' | ';' | '&' => begins_another(after),
            '\\' => after.starts_with(['n', 'r', 't', 'u', '"', '\'']),
            c => c.is_whitespace(),
        };
        if ends {
            return start + at;
        }
    }
    text.len()
}

fn begins_another(text: &str) -> bool {
    let name = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_.- ".contains(c));
    let is_named = name.len() < text.len() && name.starts_with(['=', ':']);
    is_named || text.chars().next().is_none_or(|c| c.is_whitespace() || "\"'\\{}".contains(c))
}

fn spares(name: &str, text: &str, value: &ValueAt) -> bool {
    let content = &text[value.start..value.end];
    let bare = content.trim_matches(|c: char| "()[]{}<>,.;".contains(c));
    let is_placeholder = bare.is_empty()
        || bare.starts_with(REDACTED)
        || bare.chars().all(|c| "*.-•".contains(c))
        || (content.starts_with('<') && content.ends_with('>'))
        || ["true", "false", "null", "nil", "none"].contains(&bare.to_ascii_lowercase().as_str());
    let is_variable = content.starts_with('$')
        && bare
            .trim_start_matches('$')
            .trim_start_matches(['(', '{'])
            .chars()
            .all(|c| c.is_ascii_uppercase() || c == '_');
    // `token: context deadline exceeded`
    let goes_on = text[value.end..].strip_prefix(' ').and_then(|after| after.chars().next());
    let is_prose = !value.is_quoted
        && !name.to_ascii_lowercase().contains("pass")
        && content.bytes().all(|byte| byte.is_ascii_lowercase())
        && goes_on.is_some_and(|c| c.is_ascii_lowercase() || c == '"');
    let is_structure = !value.is_quoted && content.starts_with(['{', '|', '&']);
    is_placeholder || is_variable || is_prose || is_structure
}

static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)passw|passphrase|passcode|(?:^|[_.-])pass(?:$|[_.-])|pwd|token|secret|key|credential|authorization",
        r"|(?:^|[_.-])o?auth(?:$|[_.-])|cookie|dsn|conn(?:ection)?[_-]?str|webhook|(?:^|[_.-])sas(?:$|[_.-])",
    ))
    .ok()
});

/// Of an environment variable, a header or a flag.
pub(super) fn is_secret(name: &str) -> bool {
    SECRET_NAME.as_ref().is_none_or(|pattern| pattern.is_match(name))
}

/// Of a field or an annotation: the API's own that merely speak of secrets hold names, which are wanted.
pub(super) fn is_field(field: &str) -> bool {
    let of_the_api = ["imagePullSecret", "continueToken"];
    let last = field.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    !of_the_api.contains(&field)
        && [
            "password",
            "passwd",
            "passphrase",
            "token",
            "secret",
            "apikey",
            "api-key",
            "api_key",
            "privatekey",
            "private-key",
            "private_key",
            "accesskey",
            "access-key",
            "access_key",
            "key-data",
            "credential",
            "credentials",
        ]
        .iter()
        .any(|word| last.ends_with(word))
}

/// Of a list of secrets, also in the plural.
pub(super) fn is_list(field: &str) -> bool {
    is_field(field) || field.strip_suffix('s').is_some_and(is_field)
}

/// Annotations that hold the whole manifest once more, in forms that nothing here sees through.
pub(super) fn repeats_manifest(annotation: &str) -> bool {
    annotation.contains("last-applied")
        || annotation.ends_with("/applied")
        || annotation.ends_with("/original-object")
}

/// `["--password", "x"]`: a flag and its value are two words.
pub(super) fn words(items: &mut [Value]) -> usize {
    let mut count = 0;
    for place in 1..items.len() {
        let flag = items[place - 1].as_str().filter(|word| word.starts_with('-') && !word.contains('='));
        let Some(flag) = flag.map(str::to_owned) else { continue };
        let Value::String(text) = &mut items[place] else { continue };
        let is_login = ["-u", "--user"].contains(&flag.as_str())
            && text
                .split_once(':')
                .is_some_and(|(_, after)| !after.bytes().all(|byte| byte.is_ascii_digit()));
        let names_a_secret = is_secret(&flag) && !is_no_secret("", &flag) && !text.starts_with('-');
        if (is_login || names_a_secret) && text != REDACTED {
            REDACTED.clone_into(text);
            count += 1;
        }
    }
    count
}
