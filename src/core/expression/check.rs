//! What an expression may use.
//!
//! CEL without limits is not bounded by its text: `["a"].map(x, x + x).map(x, x + x)…` doubles at every step. Here
//! `exists`, `all` and `exists_one` go over labels, annotations or a list of constants, are not nested, and give a
//! boolean; so one evaluation costs at most the length of the expression times the number of labels. `map` and `filter`
//! would also depend on the order of a hash map. Left out, too, are the parts of the interpreter that can panic.

use std::collections::{BTreeSet, HashMap};

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use regex::{Regex, RegexBuilder};

use super::MAX_DEPTH;
use crate::core::matcher::reason;

/// What a compiled regular expression may take.
pub(super) const MAX_COMPILED: usize = 1 << 18;

/// The variables that are maps.
const MAPS: [&str; 2] = ["labels", "annotations"];

/// The variables that differ from node to node.
pub(super) const NAMES: [&str; 2] = ["FullName", "ShortName"];

/// Operators and functions, with the number of their arguments, the target of a method included.
const CALLS: [(&str, usize); 23] = [
    (operators::LOGICAL_AND, 2),
    (operators::LOGICAL_OR, 2),
    (operators::LOGICAL_NOT, 1),
    (operators::CONDITIONAL, 3),
    (operators::EQUALS, 2),
    (operators::NOT_EQUALS, 2),
    (operators::LESS, 2),
    (operators::LESS_EQUALS, 2),
    (operators::GREATER, 2),
    (operators::GREATER_EQUALS, 2),
    (operators::IN, 2),
    (operators::INDEX, 2),
    (operators::ADD, 2),
    (operators::NOT_STRICTLY_FALSE, 1), // of the macros
    ("size", 1),
    ("contains", 2),
    ("startsWith", 2),
    ("endsWith", 2),
    ("matches", 2),
    ("int", 1),
    ("uint", 1),
    ("double", 1),
    ("string", 1),
];

/// The regular expressions in an expression that uses nothing else than it may.
pub(super) fn check(root: &IdedExpr) -> Result<HashMap<String, Regex>, String> {
    let mut checker = Checker::default();
    checker.check(root, 0)?;
    Ok(checker.patterns)
}

/// Whether a label of this name is read or compared.
pub(super) fn mentions(part: &IdedExpr, label: &str) -> bool {
    let named = match &part.expr {
        Expr::Literal(LiteralValue::String(text)) => text.inner() == label,
        Expr::Select(select) => select.field == label,
        _ => false,
    };
    named || children(part).into_iter().any(|child| mentions(child, label))
}

/// The labels that are read by their names: `labels.node`, `has(labels.node)`, `labels["node"]`, `"node" in labels`.
pub(super) fn labels(part: &IdedExpr, found: &mut BTreeSet<String>) {
    let is_labels = |part: &IdedExpr| matches!(&part.expr, Expr::Ident(name) if name == MAPS[0]);
    match &part.expr {
        Expr::Select(select) if is_labels(&select.operand) => {
            found.insert(select.field.clone());
        }
        Expr::Call(call) => {
            let sides = match (call.func_name.as_str(), &call.args[..]) {
                (operators::INDEX, [map, key]) | (operators::IN, [key, map]) => Some((map, key)),
                _ => None,
            };
            if let Some((map, key)) = sides
                && is_labels(map)
                && let Expr::Literal(LiteralValue::String(name)) = &key.expr
            {
                found.insert(name.inner().to_owned());
            }
        }
        _ => {}
    }
    for child in children(part) {
        labels(child, found);
    }
}

/// The parts directly below.
pub(super) fn children(part: &IdedExpr) -> Vec<&IdedExpr> {
    match &part.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Select(select) => vec![&*select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => {
            let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Some([&entry.key, &entry.value]),
                EntryExpr::StructField(_) => None,
            });
            entries.flatten().collect()
        }
        Expr::Comprehension(each) => {
            vec![&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result]
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => Vec::new(),
    }
}

#[derive(Default)]
struct Checker<'e> {
    /// The macro that the part is in.
    within: Option<&'e ComprehensionExpr>,
    patterns: HashMap<String, Regex>,
}

impl<'e> Checker<'e> {
    fn check(&mut self, part: &'e IdedExpr, depth: u16) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("it is nested too deep".to_owned());
        }
        match &part.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.operand(&select.operand, depth + 1),
            Expr::Call(call) => {
                let function = call.func_name.as_str();
                let arguments: Vec<&IdedExpr> =
                    call.target.as_deref().into_iter().chain(&call.args).collect();
                let known = CALLS.iter().find(|(name, _)| *name == function);
                let Some((_, count)) = known else {
                    return Err(format!("{} is not available", shown(function)));
                };
                if arguments.len() != *count {
                    return Err(format!("{} takes {count} arguments", shown(function)));
                }
                if function == "matches" {
                    self.pattern(arguments[1])?;
                }
                for (place, argument) in arguments.into_iter().enumerate() {
                    let takes_a_map = match function {
                        operators::INDEX | "size" => place == 0,
                        operators::IN => place == 1,
                        _ => false,
                    };
                    let depth = depth + 1;
                    let checked =
                        if takes_a_map { self.operand(argument, depth) } else { self.check(argument, depth) };
                    checked?;
                }
                Ok(())
            }
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.check(element, depth + 1)),
            Expr::Map(_) => children(part).into_iter().try_for_each(|entry| self.check(entry, depth + 1)),
            Expr::Comprehension(each) => self.macro_(each, depth),
            Expr::Struct(_) | Expr::Unspecified => Err("this is not available".to_owned()),
        }
    }

    /// What is asked for an entry, its size or a member: here alone may a whole map stand.
    fn operand(&mut self, part: &'e IdedExpr, depth: u16) -> Result<(), String> {
        match &part.expr {
            Expr::Ident(name) if MAPS.contains(&name.as_str()) => Ok(()),
            _ => self.check(part, depth),
        }
    }

    fn name(&self, name: &str) -> Result<(), String> {
        let is_bound = self
            .within
            .is_some_and(|each| [&each.iter_var, &each.accu_var].iter().any(|bound| *bound == name));
        if is_bound || NAMES.contains(&name) {
            return Ok(());
        }
        if MAPS.contains(&name) {
            return Err(format!("{name} is a map: take one of them, {name}[\"node\"]"));
        }
        Err(format!("{name:?} is unknown; there are labels, annotations, FullName and ShortName"))
    }

    fn macro_(&mut self, each: &'e ComprehensionExpr, depth: u16) -> Result<(), String> {
        let refuse = |reason: &str| Err(reason.to_owned());
        if !matches!(each.accu_init.expr, Expr::Literal(_)) || each.iter_var2.is_some() {
            return refuse("map and filter are not available; exists, all and exists_one are");
        }
        if self.within.is_some() {
            return refuse("exists, all and exists_one cannot be nested");
        }
        let constants = |part: &IdedExpr| matches!(part.expr, Expr::Literal(_));
        let is_bounded = match &each.iter_range.expr {
            Expr::Ident(name) => MAPS.contains(&name.as_str()),
            Expr::List(list) => list.elements.iter().all(constants),
            _ => false,
        };
        if !is_bounded {
            return refuse("exists, all and exists_one go over labels, annotations or a list of constants");
        }
        if MAPS.iter().chain(&NAMES).any(|name| *name == each.iter_var) {
            return refuse("a variable cannot have the name of another");
        }
        self.within = Some(each);
        let checked = [&each.loop_cond, &each.loop_step, &each.result]
            .into_iter()
            .try_for_each(|part| self.check(part, depth + 1));
        self.within = None;
        checked
    }

    /// Compiles a regular expression that stands in the text; one that is computed is compiled when it is used.
    fn pattern(&mut self, part: &IdedExpr) -> Result<(), String> {
        let Expr::Literal(LiteralValue::String(text)) = &part.expr else { return Ok(()) };
        let text = text.inner();
        match compile(text) {
            Ok(pattern) => {
                self.patterns.insert(text.to_owned(), pattern);
                Ok(())
            }
            Err(error) => Err(format!("{text:?} is no valid regular expression: {}", reason(&error))),
        }
    }
}

/// Searched for anywhere in the text, as CEL has it.
pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build()
}

/// `_-_` as a person writes it.
fn shown(function: &str) -> String {
    function.trim_matches('_').to_owned()
}
