//! The usual expressions ask of a node's name only whether it equals something that the alert says. The values that it
//! is compared with are computed once per alert; nodes of these names are the only ones for which any comparison can
//! come out true, and the interpreter is asked for each of them. For all other nodes every comparison is false, so
//! all of them get the same answer: the interpreter is asked for one. It decides in both cases, so that the result,
//! errors included, is what it would have said node by node.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::check::{NAMES, children};

/// A node's name, by length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Full,
    Short,
}

/// `value == before + name + after`, or that `value` starts so.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) value: IdedExpr,
    pub(super) name: Name,
    before: String,
    after: String,
    starts_with: bool,
}

/// Names of Kubernetes objects are not longer.
const MAX_NAME: usize = 253;

impl Question {
    /// The names for which the answer is yes, given the value.
    pub(super) fn names<'t>(&self, value: &'t str) -> Vec<&'t str> {
        let Some(rest) = value.strip_prefix(&*self.before) else { return Vec::new() };
        if !self.starts_with {
            return rest.strip_suffix(&*self.after).into_iter().collect();
        }
        let ends = (0..=rest.len().min(MAX_NAME)).filter(|end| rest.is_char_boundary(*end));
        ends.filter(|end| rest[*end..].starts_with(&*self.after)).map(|end| &rest[..end]).collect()
    }
}

/// The questions that `part` asks about a node, or `None` if it asks anything else.
pub(super) fn questions(part: &IdedExpr) -> Option<Vec<Question>> {
    let mut questions = Vec::new();
    collect(part, &mut questions)?;
    Some(questions)
}

fn collect(part: &IdedExpr, questions: &mut Vec<Question>) -> Option<()> {
    if is_independent(part) {
        return Some(());
    }
    let Expr::Call(call) = &part.expr else { return None };
    let arguments: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
    match (call.func_name.as_str(), arguments.as_slice()) {
        (
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT | operators::CONDITIONAL,
            parts,
        ) => parts.iter().try_for_each(|part| collect(part, questions)),
        (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
            let question = Question::new(left, right).or_else(|| Question::new(right, left))?;
            questions.push(question);
            Some(())
        }
        (operators::IN, [value, list]) => {
            let Expr::List(list) = &list.expr else { return None };
            for element in &list.elements {
                let pair_is_independent = is_independent(element) && is_independent(value);
                if !pair_is_independent {
                    questions.push(Question::new(value, element).or_else(|| Question::new(element, value))?);
                }
            }
            Some(())
        }
        ("startsWith", [value, start]) => {
            questions.push(Question { starts_with: true, ..Question::new(value, start)? });
            Some(())
        }
        _ => None,
    }
}

impl Question {
    fn new(value: &IdedExpr, pattern: &IdedExpr) -> Option<Self> {
        if !is_independent(value) {
            return None;
        }
        let mut question = Self {
            value: value.clone(),
            name: Name::Full,
            before: String::new(),
            after: String::new(),
            starts_with: false,
        };
        question.read(pattern).then_some(question)
    }

    /// Reads `"a" + FullName + "b"`.
    fn read(&mut self, pattern: &IdedExpr) -> bool {
        match &pattern.expr {
            Expr::Ident(name) if name == NAMES[0] => self.name = Name::Full,
            Expr::Ident(name) if name == NAMES[1] => self.name = Name::Short,
            Expr::Call(CallExpr { func_name, target: None, args }) if func_name == operators::ADD => {
                let [left, right] = args.as_slice() else { return false };
                return match (&left.expr, &right.expr) {
                    (_, Expr::Literal(LiteralValue::String(text))) => {
                        self.after.insert_str(0, text.inner());
                        self.read(left)
                    }
                    (Expr::Literal(LiteralValue::String(text)), _) => {
                        self.before.push_str(text.inner());
                        self.read(right)
                    }
                    _ => false,
                };
            }
            _ => return false,
        }
        true
    }
}

/// Whether it says the same of every node.
fn is_independent(part: &IdedExpr) -> bool {
    !matches!(&part.expr, Expr::Ident(name) if NAMES.contains(&name.as_str()))
        && children(part).into_iter().all(is_independent)
}
