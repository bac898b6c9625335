//! Matchers: of filters, silences and routes.

use regex::Regex;
use serde_json::Value;

/// `name="value"` and the like. A label that is absent counts as empty.
pub(super) struct Matcher {
    name: String,
    value: Wanted,
    equal: bool,
}

enum Wanted {
    Text(String),
    Pattern(Regex),
}

impl Matcher {
    pub(super) fn new(name: &str, value: &str, regex: bool, equal: bool) -> Result<Self, String> {
        let value = if regex { Wanted::Pattern(anchored(value)?) } else { Wanted::Text(value.to_owned()) };
        Ok(Self { name: name.to_owned(), value, equal })
    }

    /// One matcher as in a `filter` parameter; not a list in braces.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("bad matcher format: {text}");
        let trimmed = text.trim();
        let (name, rest) = if trimmed.starts_with('"') {
            unquote(trimmed).ok_or_else(bad)?
        } else {
            let end = trimmed.find(['=', '!', '~', '"', '{', '}', ',', ' ']).ok_or_else(bad)?;
            (trimmed[..end].to_owned(), &trimmed[end..])
        };
        if name.is_empty() {
            return Err(bad());
        }
        let rest = rest.trim_start();
        let operators = [("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)];
        let (regex, equal, value) = operators
            .iter()
            .find_map(|(operator, regex, equal)| Some((*regex, *equal, rest.strip_prefix(operator)?)))
            .ok_or_else(bad)?;
        let value = value.trim();
        let value = if value.starts_with('"') {
            let (value, rest) = unquote(value).ok_or_else(bad)?;
            if !rest.trim().is_empty() {
                return Err(bad());
            }
            value
        } else if value.contains(['"', '{', '}', ',']) {
            return Err(bad());
        } else {
            value.to_owned()
        };
        Self::new(&name, &value, regex, equal)
    }

    pub(super) fn matches(&self, labels: &Value) -> bool {
        let label = labels[&self.name].as_str().unwrap_or_default();
        let same = match &self.value {
            Wanted::Text(text) => label == text,
            Wanted::Pattern(pattern) => pattern.is_match(label),
        };
        same == self.equal
    }
}

/// A pattern that has to match all of it, as everywhere in Alertmanager.
pub(super) fn anchored(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| format!("error parsing regexp: {error}"))
}

/// The content of the quotes that `text` begins with, and what follows them.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((content, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => content.push('\n'),
                c @ ('"' | '\\') => content.push(c),
                _ => return None,
            },
            c => content.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_matcher_in_each_filter() {
        let labels = json!({"alertname": "NodeOnFire", "node": "w1", "node.name": "x", "text": "a \"b\" \\"});
        for (filter, expected) in [
            ("node=\"w1\"", true),
            ("node=w1", true),
            (" node = \"w1\" ", true),
            ("node!=\"w1\"", false),
            ("node=~\"w.\"", true),
            ("node=~\"w\"", false), // anchored
            ("node!~\"w\"", true),
            ("absent=\"\"", true),
            ("absent!=\"\"", false),
            ("absent=~\".*\"", true),
            ("\"node.name\"=\"x\"", true),
            (r#"text="a \"b\" \\""#, true),
        ] {
            assert_eq!(Matcher::parse(filter).unwrap().matches(&labels), expected, "{filter}");
        }
    }

    #[test]
    fn anything_else_is_bad() {
        for filter in
            ["", "{}", "{node=\"w1\"}", "node", "=\"x\"", "node=\"w1", "node=\"w1\",a=\"b\"", "node=~\"(\""]
        {
            assert!(Matcher::parse(filter).is_err(), "{filter}");
        }
    }
}
