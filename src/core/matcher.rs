//! A matcher in Alertmanager's syntax, as `--filter` takes it: `name="value"`, `!=`, `=~`, `!~`.
//!
//! An Alertmanager evaluates it itself; for a Prometheus, whose API takes no filter, [`Matcher::matches`] does, with
//! the same semantics. Alertmanager's expressions are RE2, ours the `regex` crate's. Where both take a pattern, they
//! differ in this: `\d`, `\w`, `\s` and `\b` know all of Unicode here and only ASCII there, and `&&` and `~~` in brackets
//! are set operations here and characters there. RE2's `\Q…\E`, octal escapes, `[` among others in brackets, and `{`
//! that is no repetition are refused here, with a message.

mod syntax;

use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use super::alert::Alert;

/// What a compiled expression may take: fifty times what a long list of names needs.
const MAX_COMPILED: usize = 1 << 20;

/// One matcher, its expression compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    pub name: String,
    operator: &'static str,
    value: String,
    /// For `=~` and `!~`.
    pattern: Option<Pattern>,
}

/// Compiled as Alertmanager does (`pkg/labels/matcher.go`): the whole value must match.
#[derive(Debug, Clone)]
struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Pattern {
    fn compile(expression: &str) -> Result<Self, String> {
        RegexBuilder::new(&format!("^(?:{expression})$"))
            .size_limit(MAX_COMPILED)
            .build()
            .map(Self)
            .map_err(|error| format!("{expression:?} is no valid regular expression: {}", reason(&error)))
    }
}

/// The reason alone, on one line: the rest of the message draws the pattern, with our anchors in it.
pub(super) fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

impl Matcher {
    /// `name="value"`
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), operator: "=", value: value.to_owned(), pattern: None }
    }

    /// Whether it is written with `=`.
    pub fn is_equality(&self) -> bool {
        self.operator == "="
    }

    pub fn value(&self) -> &str {
        &self.value
    }

    /// `=~` or `!~`.
    pub fn is_regex(&self) -> bool {
        self.pattern.is_some()
    }

    /// `=` or `=~`.
    pub fn is_equal(&self) -> bool {
        !self.operator.starts_with('!')
    }

    /// What looks like a mistake, and how it is written instead. Quotes of a shell go, and those within others stay.
    pub fn doubt(&self) -> Option<String> {
        let meant = self.value.strip_prefix('\'')?.strip_suffix('\'')?;
        let right = Self { value: meant.to_owned(), ..self.clone() };
        Some(format!("--filter {self}: the single quotes are part of the value; without them it is {right}"))
    }

    /// Whether alerts without this label may satisfy it.
    pub fn takes_absent(&self) -> bool {
        self.matches(&Alert::default())
    }

    /// Whether the alert satisfies it. A label that is absent is the empty string, as in Alertmanager.
    pub fn matches(&self, alert: &Alert) -> bool {
        let value = alert.labels.get(&self.name).unwrap_or_default();
        let equal = match &self.pattern {
            None => value == self.value,
            Some(Pattern(pattern)) => pattern.is_match(value),
        };
        equal == self.is_equal()
    }
}

impl FromStr for Matcher {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, operator, value) = syntax::parse(text).ok_or(
            r#"a matcher is written name="value", or with !=, =~ or !~; any other name is quoted, too: "k8s.name"="value""#,
        )?;
        let pattern = operator.ends_with('~').then(|| Pattern::compile(&value)).transpose()?;
        Ok(Self { name, operator, value, pattern })
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(&self.name, self.operator, &self.value))
    }
}

/// As every Alertmanager reads it. The value is quoted: 0.25 and 0.27 and later read unquoted values differently. The name is if it
/// has to be, which only 0.27 and later understand.
pub(super) fn written(name: &str, operator: &str, value: &str) -> String {
    let value = syntax::escape(value);
    if syntax::is_classic_name(name) {
        format!("{name}{operator}\"{value}\"")
    } else {
        format!("\"{}\"{operator}\"{value}\"", syntax::escape(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn matchers_are_read_and_written_quoted() {
        for (text, written) in [
            (r#"cluster="a.k8s""#, r#"cluster="a.k8s""#),
            ("cluster=a.k8s", r#"cluster="a.k8s""#),
            (r#" notify =~ "(.*\s)?x" "#, r#"notify=~"(.*\\s)?x""#),
            (r#"a!="b\"c""#, r#"a!="b\"c""#),
            ("a!~b|c", r#"a!~"b|c""#),
            ("a=", r#"a="""#),
            (r#""k8s.cluster.name"="a""#, r#""k8s.cluster.name"="a""#),
            (r#""a\\\"\n"=~"\\d""#, r#""a\\\"\n"=~"\\d""#),
            ("k8s.cluster.name!=a", r#""k8s.cluster.name"!="a""#),
            (r#""node"="w1""#, r#"node="w1""#),
        ] {
            let matcher = text.parse::<Matcher>();
            assert_eq!(matcher.as_ref().map(ToString::to_string).as_deref(), Ok(written), "{text}");
            assert_eq!(written.parse(), matcher);
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused() {
        for text in ["", "a", "=b", "a b=c", r#"a="b"#, r#"a="b"c"#, "{a=b}", "a==\"b\"x", "a=b,c=d"] {
            assert!(text.parse::<Matcher>().is_err(), "{text:?}");
        }
    }

    fn alert(labels: &[(&str, &str)]) -> Alert {
        Alert { labels: labels.iter().copied().collect(), ..Alert::default() }
    }

    /// What a real Alertmanager answers to the same is compared in `tests/it/matchers.rs`.
    #[test]
    fn a_matcher_judges_a_label_as_alertmanager_does() {
        for (matcher, value, expected) in [
            ("x=a", Some("a"), true),
            ("x=a", Some("A"), false),
            ("x=a", None, false),
            ("x!=a", None, true),
            ("x!=a", Some("a"), false),
            ("x=\"\"", None, true),
            ("x!=\"\"", None, false),
            ("x!=\"\"", Some("a"), true),
            ("x=~\"a|b\"", Some("b"), true),
            ("x=~\"a|b\"", Some("ab"), false), // the alternatives are anchored as one
            ("x=~\"a\"", Some("xax"), false),
            ("x=~\".*\"", None, true),
            ("x=~\".+\"", None, false),
            ("x!~\".+\"", None, true),
            ("x!~\"a.*\"", Some("abc"), false),
            ("x!~\"a.*\"", Some("b"), true),
            ("x=~\".*\"", Some("a\nb"), false), // `.` is no newline
            ("x=~\"(?s).*\"", Some("a\nb"), true),
            ("x=~\"a$\"", Some("a\n"), false),
            ("x=~\"(?i)NODE\"", Some("node"), true),
            (r#"x=~"(.*\s)?node-condition-k8s(\s.*)?""#, Some("page node-condition-k8s"), true),
            (r#"x=~"(.*\s)?node-condition-k8s(\s.*)?""#, Some("page,node-condition-k8s"), false),
            ("x=~\"é.\"", Some("éü"), true),
            ("x=~\"\"", None, true),
            ("x=~\"a)|(b\"", Some("ax"), true), // as Alertmanager: the anchors are put around the text
        ] {
            let labels: Vec<_> = value.map(|value| ("x", value)).into_iter().collect();
            let matcher: Matcher = matcher.parse().unwrap();
            assert_eq!(matcher.matches(&alert(&labels)), expected, "{matcher} {value:?}");
        }
    }

    #[test]
    fn an_invalid_expression_is_refused_with_its_reason() {
        for (text, message) in [
            ("x=~\"(a\"", "\"(a\" is no valid regular expression: unclosed group"),
            (
                "x!~\"a{2,1}\"",
                "\"a{2,1}\" is no valid regular expression: invalid repetition count range, the start must be <= the end",
            ),
            (
                "x=~\"(\\pL{999}){99}\"",
                "\"(\\\\pL{999}){99}\" is no valid regular expression: it is too large",
            ),
        ] {
            assert_eq!(text.parse::<Matcher>(), Err(message.to_owned()), "{text}");
        }
        assert!("x=\"(a\"".parse::<Matcher>().is_ok(), "no expression");
    }
}
