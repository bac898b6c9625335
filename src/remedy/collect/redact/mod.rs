//! Takes secrets out of what goes into a bundle: people mail bundles. What cannot be told from a secret goes too.
//!
//! A rule that spares something says what: names of pods, images, digests and UIDs are what a bundle is made for.

mod fixed;
mod named;
mod pem;
#[cfg(test)]
mod tests;
mod userinfo;
mod wrapped;

use std::borrow::Cow;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// What stands in a secret's place.
const REDACTED: &str = "REDACTED";

/// Base64 in base64 is looked into; deeper is nobody's habit.
const DEPTH: usize = 2;

/// Takes secrets out and counts them.
pub(super) struct Redactor {
    /// The user's own patterns.
    extra: Vec<Regex>,
}

impl Redactor {
    pub(super) fn new(extra: Vec<Regex>) -> Self {
        Self { extra }
    }

    /// Text of any kind, such as a log. Its first and last line have to be whole: half a token looks like none.
    pub(super) fn text(&self, text: &str) -> (String, usize) {
        let (text, count) = without_secrets(text, DEPTH);
        let (text, of_the_user) = self.extra(&text);
        (text, count + of_the_user)
    }

    /// What the user does not want to see.
    fn extra(&self, text: &str) -> (String, usize) {
        let mut count = 0;
        let mut text = Cow::Borrowed(text);
        for pattern in &self.extra {
            let replaced = pattern.replace_all(&text, |found: &Captures<'_>| {
                // A pattern that matches nothing at all matches everywhere.
                if found[0].is_empty() {
                    return "";
                }
                count += 1;
                REDACTED
            });
            if let Cow::Owned(replaced) = replaced {
                text = Cow::Owned(replaced);
            }
        }
        (text.into_owned(), count)
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
                let flags = named::words(items);
                flags + items.iter_mut().map(|item| self.object(item)).sum::<usize>()
            }
            Value::Object(fields) => self.fields(fields),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
    }

    /// Secrets, but for objects among them.
    fn list(&self, items: &mut [Value]) -> usize {
        let hidden = items.iter_mut().map(|item| match item {
            Value::Array(items) => self.list(items),
            Value::String(text) if text.is_empty() => 0,
            Value::String(_) | Value::Number(_) => {
                *item = REDACTED.into();
                1
            }
            item => self.object(item),
        });
        hidden.sum()
    }

    fn fields(&self, fields: &mut Map<String, Value>) -> usize {
        // `{name: DB_PASSWORD, value: …}`, of environments and of HTTP headers
        let holds_a_secret =
            ["name", "key"].iter().filter_map(|field| fields.get(*field)?.as_str()).any(named::is_secret);
        let mut count = 0;
        for (name, field) in fields.iter_mut() {
            let hides =
                named::repeats_manifest(name) || (holds_a_secret && name == "value") || named::is_field(name);
            match field {
                Value::String(text) if hides && !text.is_empty() => {
                    REDACTED.clone_into(text);
                    count += 1;
                }
                Value::Number(_) if hides => {
                    *field = REDACTED.into();
                    count += 1;
                }
                // `secret: {secretName: …}` says where one is.
                Value::Array(items) if named::is_list(name) => count += self.list(items),
                // What a kubelet fetches static pods with: their names are as secret as their values are.
                Value::Object(_) if name == "staticPodURLHeader" => {
                    *field = REDACTED.into();
                    count += 1;
                }
                field => count += self.object(field),
            }
        }
        let in_names: Vec<(String, String)> = fields
            .keys()
            .filter_map(|name| {
                let (redacted, found) = self.text(name);
                count += found;
                (found > 0).then(|| (name.clone(), redacted))
            })
            .collect();
        for (name, redacted) in in_names {
            let value = fields.remove(&name).unwrap_or_default();
            fields.insert(redacted, value);
        }
        count
    }
}

/// Text without what it finds, and how much that was; `None` if it finds nothing.
type Pass<'p> = &'p dyn Fn(&str) -> Option<(String, usize)>;

fn without_secrets(text: &str, depth: usize) -> (String, usize) {
    let mut count = 0;
    let mut text = Cow::Borrowed(text);
    let passes: [Pass<'_>; 6] = [
        &pem::without_keys,
        &fixed::without_tokens,
        &userinfo::without_userinfo,
        &named::without_values,
        &|text| {
            wrapped::without_blocks(text, |decoded| depth > 0 && without_secrets(decoded, depth - 1).1 > 0)
        },
        &|text| {
            fixed::without_encoded(text, |decoded| depth > 0 && without_secrets(decoded, depth - 1).1 > 0)
        },
    ];
    for pass in passes {
        if let Some((shorter, found)) = pass(&text) {
            text = Cow::Owned(shorter);
            count += found;
        }
    }
    (text.into_owned(), count)
}
