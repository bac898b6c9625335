//! Takes secrets out of what goes into a bundle: people mail bundles. What cannot be told from a secret goes too.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands in a secret's place.
const REDACTED: &str = "REDACTED";

/// Takes secrets out and counts them.
pub(super) struct Redactor {
    /// The user's own patterns.
    extra: Vec<Regex>,
}

/// A pattern of ours: with a group `keep` before the secret, or the whole match is the secret.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // PEM: a key, up to its end or that of the text.
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
        // JWT: two parts of base64url that begin like JSON, and a signature.
        r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?",
        r"(?i)(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}",
        // userinfo in URLs and connection strings
        r"(?P<keep>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@'\x22]+@",
        // sysctl net.ipv4.tcp_fastopen_key and the like
        r"(?P<keep>\b[a-z0-9_.]+_key\s*=\s*)[^\s\x22',;&]{3,}",
        // keys of clouds and forges, by their fixed beginnings
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\b(?:ghp|gho|ghu|ghs|ghr|glpat|xox[abprs]|sk|rk|pk)[_-][A-Za-z0-9_-]{16,}",
        r"\bAIza[A-Za-z0-9_-]{30,}",
        // name = value, name: value, --name value, with or without quotes
        r#"(?i)(?P<keep>[A-Za-z0-9_.-]*(?:passwd|password|pwd|token|secret|apikey|api[_-]key|access[_-]?key|private[_-]?key|account[_-]?key|credential)s?[A-Za-z0-9_.-]*\\?["']?(?:\s*[=:]\s*|\s+)\\?["']?)[^\s"',;&\\]{3,}"#,
    ]
    .iter()
    .filter_map(|pattern| Regex::new(pattern).ok())
    .collect()
});

/// Names of environment variables and fields whose value is a secret.
static SECRET_NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)passw|pwd|token|secret|key|credential|auth|dsn|conn").ok());

/// Repeats the whole manifest, secrets included, in a form that nothing here sees through.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Redactor {
    pub(super) fn new(extra: Vec<Regex>) -> Self {
        Self { extra }
    }

    /// Text of any kind, such as a log.
    pub(super) fn text(&self, text: &str) -> (String, usize) {
        let mut count = 0;
        let mut text = text.to_owned();
        for pattern in PATTERNS.iter().chain(&self.extra) {
            let replaced = pattern.replace_all(&text, |found: &Captures<'_>| {
                count += 1;
                format!("{}{REDACTED}", found.name("keep").map_or("", |kept| kept.as_str()))
            });
            if let std::borrow::Cow::Owned(replaced) = replaced {
                text = replaced;
            }
        }
        (text, count)
    }

    /// An object of the API, in place.
    pub(super) fn object(&self, value: &mut Value) -> usize {
        match value {
            Value::String(text) => {
                let (redacted, count) = self.text(text);
                if count > 0 {
                    *text = redacted;
                }
                count
            }
            Value::Array(items) => {
                let flags = Self::flags(items);
                flags + items.iter_mut().map(|item| self.object(item)).sum::<usize>()
            }
            Value::Object(fields) => {
                let is_secret = fields.get("name").and_then(Value::as_str).is_some_and(is_secret_name);
                let mut count = 0;
                for (name, field) in fields.iter_mut() {
                    // `{name: DB_PASSWORD, value: …}` and `{password: …}`
                    let hides =
                        name == LAST_APPLIED || (is_secret && name == "value") || names_a_secret(name);
                    match field {
                        Value::String(text) if hides && !text.is_empty() => {
                            REDACTED.clone_into(text);
                            count += 1;
                        }
                        field => count += self.object(field),
                    }
                }
                count
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
    }

    /// `["--password", "x"]`: a flag and its value are two words.
    fn flags(items: &mut [Value]) -> usize {
        let mut count = 0;
        for place in 1..items.len() {
            let is_flag = items[place - 1]
                .as_str()
                .is_some_and(|word| word.starts_with('-') && !word.contains('=') && is_secret_name(word));
            if let (true, Value::String(text)) = (is_flag, &mut items[place])
                && !text.starts_with('-')
            {
                REDACTED.clone_into(text);
                count += 1;
            }
        }
        count
    }
}

fn is_secret_name(name: &str) -> bool {
    SECRET_NAME.as_ref().is_none_or(|pattern| pattern.is_match(name))
}

/// Of a field: the API's own fields that merely speak of secrets hold names, which are wanted.
fn names_a_secret(field: &str) -> bool {
    let of_the_api = ["secretName", "secretKeyRef", "secretRef", "serviceAccountToken", "key", "topologyKey"];
    !of_the_api.contains(&field)
        && !field.contains('/')
        && ["password", "passwd", "token", "secret", "apikey"]
            .iter()
            .any(|word| field.to_ascii_lowercase().ends_with(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[track_caller]
    fn hides(text: &str, secret: &str) {
        let (redacted, count) = Redactor::new(Vec::new()).text(text);
        assert!(!redacted.contains(secret), "{redacted}");
        assert!(count > 0);
    }

    #[test]
    fn secrets_in_text() {
        hides("Authorization: Bearer abcdef0123456789", "abcdef0123456789");
        hides("dial postgres://app:hunter2@db:5432/x failed", "hunter2");
        hides("password=hunter2 user=x", "hunter2");
        hides(r#"{"db_password": "hunter2"}"#, "hunter2");
        hides(r#"{\"token\":\"hunter2\"}"#, "hunter2");
        hides("id AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP");
        hides("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWIiOiIxIn0");
        hides("x\n-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\ny", "MIIabc");
        hides("-----BEGIN PRIVATE KEY-----\ncut off MIIabc", "MIIabc");
        hides("--token hunter22", "hunter22");
    }

    #[test]
    fn what_is_no_secret_stays() {
        let redactor = Redactor::new(Vec::new());
        for text in [
            "evicting pod ns/p",
            "https://example.org/path?x=1",
            "OOMKilled: container exceeded 512Mi",
            "2026-11-23T00:00:00Z kubelet: certificate rotated",
        ] {
            assert_eq!(redactor.text(text), (text.to_owned(), 0));
        }
    }

    #[test]
    fn secrets_in_objects() {
        let mut pod = json!({
            "metadata": {"annotations": {LAST_APPLIED: "{\"env\":\"hunter2\"}", "note": "fine"}},
            "spec": {"containers": [{
                "name": "app",
                "env": [
                    {"name": "DB_PASSWORD", "value": "hunter2"},
                    {"name": "LEVEL", "value": "debug"},
                    {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                ],
                "args": ["--api-key", "hunter2", "--level", "debug", "--token=hunter2"],
            }], "volumes": [{"secret": {"secretName": "db"}}]},
        });
        let count = Redactor::new(Vec::new()).object(&mut pod);
        let text = pod.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(count, 4);
        for kept in ["fine", "debug", r#""secretName":"db""#, r#""key":"password""#] {
            assert!(text.contains(kept), "{kept} is gone: {text}");
        }
    }

    #[test]
    fn the_users_own_patterns() {
        let redactor = Redactor::new(vec![Regex::new("acct-[0-9]+").unwrap()]);
        assert_eq!(redactor.text("pay acct-123 now"), ("pay REDACTED now".to_owned(), 1));
    }
}
