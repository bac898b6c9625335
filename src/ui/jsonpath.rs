//! kubectl's templates (`k8s.io/client-go/util/jsonpath`): `{range .items[*]}{.node}{"\n"}{end}`.
//!
//! It is not the language of RFC 9535, and what kubectl prints follows from how Go looks at values; so this
//! follows the original step by step, its oddities included. Missing keys print nothing, as for kubectl's `-o jsonpath`.

mod eval;
mod parse;
mod value;

use serde_json::Value;

use self::eval::Evaluation;
use self::parse::Node;
use self::value::Item;

/// A template, ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<Node>,
}

impl Template {
    /// Text with expressions in braces.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { nodes: parse::template(text)? })
    }

    /// One expression as custom columns and `--sort-by` take it, `{.a.b}`, `.a.b` or `a.b`; empty finds nothing.
    pub fn parse_relaxed(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'";
        if text.is_empty() {
            return Ok(Self { nodes: Vec::new() });
        }
        let path = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        if path.is_empty() || path.contains(['{', '}']) {
            return Err(EXPECTED.to_owned());
        }
        let path = path.strip_prefix('.').filter(|rest| !rest.is_empty()).unwrap_or(path);
        Self::parse(&format!("{{.{path}}}"))
    }

    /// What `-o jsonpath` prints.
    pub fn print(&self, data: &Value) -> Result<String, String> {
        let found = Evaluation::of(&self.nodes, data)?;
        let lists = found.iter().map(|list| list.iter().map(Item::print).collect::<Vec<_>>().join(" "));
        Ok(lists.collect())
    }

    /// What a custom column shows: all that was found, or `<none>`.
    pub(super) fn cell(&self, data: &Value) -> Result<String, String> {
        let found = Evaluation::of(&self.nodes, data)?;
        let none = found.first().is_none_or(Vec::is_empty).then(|| "<none>".to_owned());
        let cells: Vec<String> = none.into_iter().chain(found.iter().flatten().map(Item::show)).collect();
        Ok(cells.join(","))
    }

    /// The first that was found.
    pub fn first(&self, data: &Value) -> Result<Option<Value>, String> {
        let found = Evaluation::of(&self.nodes, data)?;
        Ok(found.first().and_then(|list| list.first()).map(|item| item.to_value()))
    }
}

#[cfg(test)]
#[path = "jsonpath/tests.rs"]
mod tests;
