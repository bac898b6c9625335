//! `--match-expr`: a CEL expression decides which nodes an alert speaks of, as upstream's `SCIURO_CEL_EXPRESSION`.
//!
//! Its variables are `labels` and `annotations` of the alert, and `FullName` and `ShortName` of a node. The `cel` crate
//! parses and evaluates; no other file knows it, because each of its releases has breaking changes. What an expression
//! may use is limited to what is bounded and cannot panic (`check.rs`), and the usual forms are decided
//! by index, not node by node (`index.rs`).

mod check;
mod evaluate;
mod index;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cel::IdedExpr;
use cel::parser::PrattParser;
use regex::Regex;

pub use evaluate::{Matching, Verdict};

/// Some 25 times the usual expression. It bounds all work, and the stack that the parser and `Drop` take for the chains
/// that they recurse into without a limit (`!!!…`, `a ? b : c ? d : …`): a test has them in half of a thread's stack,
/// unoptimised.
const MAX_LENGTH: usize = 2048;

/// How deep brackets, calls and operators may be nested, for the parser's stack and the interpreter's. Terms between
/// `&&` or `||` are a level for every doubling.
const MAX_DEPTH: u16 = 24;

/// An expression that was parsed and checked.
#[derive(Clone)]
pub struct Expression(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    source: String,
    root: IdedExpr,
    /// The regular expressions that the text contains.
    patterns: HashMap<String, Regex>,
    /// All that is asked about a node, if an index can answer it.
    questions: Option<Vec<index::Question>>,
}

impl Expression {
    /// Whether an alert is decided by a few look-ups. Otherwise it is evaluated for every node.
    pub fn is_indexed(&self) -> bool {
        self.0.questions.is_some()
    }

    /// The labels that it asks for by their names.
    pub fn labels(&self) -> BTreeSet<String> {
        let mut labels = BTreeSet::new();
        check::labels(&self.0.root, &mut labels);
        labels
    }

    /// Whether it mentions a label of this name.
    pub fn names_label(&self, label: &str) -> bool {
        check::mentions(&self.0.root, label)
    }
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("it has {} bytes, more than {MAX_LENGTH}", text.len()));
        }
        let root = PrattParser::new()
            .max_recursion_depth(MAX_DEPTH)
            .parse(text)
            .map_err(|errors| syntax_error(text, &errors))?;
        let patterns = check::check(&root)?;
        let questions = index::questions(&root);
        Ok(Self(Arc::new(Compiled { source: text.to_owned(), root, patterns, questions })))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.source)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.0.source)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl Eq for Expression {}

/// The first error, on one line, and where it is.
fn syntax_error(text: &str, errors: &cel::ParseErrors) -> String {
    let Some(error) = errors.errors.first() else { return "it is no CEL expression".to_owned() };
    let reason = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    let reason = reason.lines().next().unwrap_or_default();
    let (line, column) = error.pos;
    let lines = text.split_inclusive('\n').take(usize::try_from(line - 1).unwrap_or_default());
    let offset = lines.map(str::len).sum::<usize>() + usize::try_from(column - 1).unwrap_or_default();
    format!("{reason}, {}", place(text, offset))
}

/// `at column 17: = FullName`; the offset is in bytes, the column in characters.
fn place(text: &str, offset: usize) -> String {
    let boundary = (0..=offset.min(text.len())).rev().find(|offset| text.is_char_boundary(*offset));
    let (before, rest) = text.split_at(boundary.unwrap_or_default());
    if rest.trim().is_empty() {
        return "at its end".to_owned();
    }
    let rest: String = rest.chars().take(24).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("at column {}: {rest}", before.chars().count() + 1)
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
