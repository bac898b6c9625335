//! YAML with the line of everything, for errors that name the line and never a value: a value may be a secret.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Counted from 1; 0 = the file as a whole.
    pub line: u64,
    pub what: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Mistake {
    pub(super) fn new(line: u64, what: impl Into<String>) -> Self {
        Self { line, what: what.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A YAML value. Numbers are not kept: no setting is one.
enum Node {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Node {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            list.push(value);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key()? {
            map.push((key, entries.next_value()?));
        }
        Ok(Node::Map(map))
    }
}

/// A mapping whose keys are asked for one by one.
pub(super) struct Table {
    /// `tls_config.` and so on, before a key in an error.
    path: String,
    pub(super) line: u64,
    entries: Vec<(Spanned<String>, Spanned<Node>)>,
}

/// Something that was found, and its line.
pub(super) struct Found<T> {
    pub(super) line: u64,
    pub(super) value: T,
}

impl Table {
    /// A whole file. An empty one is an empty mapping.
    pub(super) fn parse(text: &str, allowed: &[&str]) -> Result<Self, Mistake> {
        let is_empty = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        if text.lines().all(is_empty) {
            return Ok(Self { path: String::new(), line: 1, entries: Vec::new() });
        }
        let root: Spanned<Node> = serde_saphyr::from_str(text).map_err(|error| {
            // Only the place: a parser's message may quote the text, and the text may be a secret.
            let line = error.location().map_or(0, |location| location.line());
            Mistake::new(line, "not valid YAML").hint(
                "it is written as Prometheus' http_config: keys and values, two spaces deeper within a section",
            )
        })?;
        Self::of("", root, allowed)
    }

    fn of(path: &str, node: Spanned<Node>, allowed: &[&str]) -> Result<Self, Mistake> {
        let line = node.referenced.line();
        let entries = match node.value {
            Node::Map(entries) => entries,
            Node::Null => Vec::new(),
            other => {
                let name = if path.is_empty() { "the file".to_owned() } else { path.to_owned() };
                return Err(Mistake::new(
                    line,
                    format!("{name}: expected a mapping, found {}", other.kind()),
                )
                .hint(format!("its keys are: {}", allowed.join(", "))));
            }
        };
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        for (index, (key, _)) in entries.iter().enumerate() {
            let name = &key.value;
            // A map of headers allows any key.
            if !allowed.is_empty() && !allowed.contains(&name.as_str()) {
                return Err(Mistake::new(
                    key.referenced.line(),
                    format!("unknown key {}", shown(&path, name)),
                )
                .hint(format!("allowed are: {}", allowed.join(", "))));
            }
            if entries[..index].iter().any(|(earlier, _)| earlier.value == *name) {
                return Err(Mistake::new(
                    key.referenced.line(),
                    format!("{} is given twice", shown(&path, name)),
                ));
            }
        }
        Ok(Self { path, line, entries })
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|(key, _)| key.value.clone()).collect()
    }

    /// Where this key stands.
    pub(super) fn line_of(&self, key: &str) -> u64 {
        let entry = self.entries.iter().find(|(known, _)| known.value == key);
        entry.map_or(self.line, |(key, _)| key.referenced.line())
    }

    fn take(&mut self, key: &str) -> Option<Found<Spanned<Node>>> {
        let index = self.entries.iter().position(|(known, _)| known.value == key)?;
        let (key, value) = self.entries.remove(index);
        // Prometheus' own writer leaves keys empty: an empty value is no value.
        (!matches!(value.value, Node::Null)).then_some(Found { line: key.referenced.line(), value })
    }

    pub(super) fn table(&mut self, key: &str, allowed: &[&str]) -> Result<Option<Self>, Mistake> {
        let Some(found) = self.take(key) else { return Ok(None) };
        let mut table = Self::of(&shown(&self.path, key), found.value, allowed)?;
        table.line = found.line;
        Ok(Some(table))
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<Found<String>>, Mistake> {
        let Some(found) = self.take(key) else { return Ok(None) };
        let name = shown(&self.path, key);
        Ok(Some(Found { line: found.line, value: text(found.value, &name)? }))
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, Mistake> {
        let Some(found) = self.take(key) else { return Ok(Vec::new()) };
        let name = shown(&self.path, key);
        match found.value.value {
            Node::List(values) => values.into_iter().map(|value| text(value, &name)).collect(),
            other => Err(Mistake::new(
                found.line,
                format!("{name}: expected a list of strings, found {}", other.kind()),
            )),
        }
    }

    pub(super) fn boolean(&mut self, key: &str) -> Result<Option<Found<bool>>, Mistake> {
        let Some(found) = self.take(key) else { return Ok(None) };
        match found.value.value {
            Node::Bool(value) => Ok(Some(Found { line: found.line, value })),
            other => Err(Mistake::new(
                found.line,
                format!("{}: expected true or false, found {}", shown(&self.path, key), other.kind()),
            )),
        }
    }

    /// An error if more than one of these keys is there.
    pub(super) fn one_of(&self, keys: &[&str]) -> Result<(), Mistake> {
        let mut given: Vec<(u64, &str)> = self
            .entries
            .iter()
            .filter(|(key, value)| keys.contains(&key.value.as_str()) && !matches!(value.value, Node::Null))
            .map(|(key, _)| (key.referenced.line(), key.value.as_str()))
            .collect();
        given.sort_unstable();
        let [(_, first), (line, second), ..] = given[..] else { return Ok(()) };
        Err(Mistake::new(
            line,
            format!("{} and {} exclude each other", shown(&self.path, first), shown(&self.path, second)),
        )
        .hint("leave one of them out"))
    }
}

fn text(node: Spanned<Node>, name: &str) -> Result<String, Mistake> {
    let line = node.referenced.line();
    match node.value {
        Node::Text(text) => Ok(text),
        other @ (Node::Number | Node::Bool(_)) => {
            Err(Mistake::new(line, format!("{name}: expected a string, found {}", other.kind()))
                .hint("put it in quotes"))
        }
        other => Err(Mistake::new(line, format!("{name}: expected a string, found {}", other.kind()))),
    }
}

/// A key as an error shows it; a long one is cut, and one with odd characters is none that anybody meant.
fn shown(path: &str, key: &str) -> String {
    let key: String = key.chars().take(60).collect();
    format!("{path}{}", key.escape_debug())
}
