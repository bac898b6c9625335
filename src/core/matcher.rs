//! A matcher in Alertmanager's syntax, as `--filter` takes it: `name="value"`, `!=`, `=~`, `!~`.

use std::fmt;
use std::str::FromStr;

/// One matcher. Its value is a string or an RE2 expression, which the Alertmanager compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    pub name: String,
    operator: &'static str,
    value: String,
}

impl FromStr for Matcher {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let syntax = || "a matcher is written name=\"value\", or with !=, =~ or !~".to_owned();
        let text = text.trim();
        let at = text.find(['=', '!']).ok_or_else(syntax)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        // The two-character operators first: `=` begins `=~` too.
        let operator = ["=~", "!~", "!=", "="]
            .into_iter()
            .find(|operator| rest.starts_with(operator))
            .ok_or_else(syntax)?;
        let mut name_characters = name.chars();
        let valid_name = name_characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && name_characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid_name {
            return Err(syntax());
        }
        let value = unquote(rest[operator.len()..].trim()).ok_or_else(syntax)?;
        Ok(Self { name: name.to_owned(), operator, value })
    }
}

/// Always quoted: Alertmanager 0.25 and 0.27 and later read unquoted values differently.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "{}{}\"{value}\"", self.name, self.operator)
    }
}

fn unquote(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        return (!text.contains(['"', ',', '{', '}'])).then(|| text.to_owned());
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return characters.next().is_none().then_some(value),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                escaped @ ('"' | '\\') => value.push(escaped),
                // As Alertmanager's classic parser: an unknown escape stands for itself, so `\d` needs no doubling.
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
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
        ] {
            let matcher = text.parse::<Matcher>();
            assert_eq!(matcher.as_ref().map(ToString::to_string).as_deref(), Ok(written), "{text}");
            assert_eq!(written.parse(), matcher);
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused() {
        for text in ["", "a", "=b", "a b=c", r#"a="b"#, r#"a="b"c"#, "{a=b}", "a==\"b\"x", "a=b,c=d", "1a=b"]
        {
            assert!(text.parse::<Matcher>().is_err(), "{text:?}");
        }
    }
}
