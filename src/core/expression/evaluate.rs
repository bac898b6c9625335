//! One expression, the nodes of a round, and alerts one by one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cel::common::types::{CelBool, CelMap, CelMapKey, CelString};
use cel::common::value::Val;
use cel::extractors::This;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};

use super::index::{Name, Question};
use super::{Expression, check};
use crate::core::alert::{Alert, Labels};
use crate::core::node::Node;

/// What an expression says of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The places of the nodes it matches, in order; at least one.
    Nodes(Vec<usize>),
    /// It would match a node of a name that none here has; or of any, as far as can be told.
    Unmatched,
    /// It matches no node, whatever the name: the expression filters the alert out.
    Excluded,
    /// It matches none, and could not be evaluated for some, as when a label is missing.
    Failed,
}

impl Verdict {
    /// The nodes, or `None` if it could not be evaluated.
    pub(crate) fn nodes(&self) -> Option<&[usize]> {
        match self {
            Self::Nodes(places) => Some(places),
            Self::Unmatched | Self::Excluded => Some(&[]),
            Self::Failed => None,
        }
    }
}

/// An expression on the nodes of a round.
pub struct Matching<'v> {
    expression: &'v Expression,
    /// Each node's full and short name.
    names: Vec<(&'v str, &'v str)>,
    full: HashMap<&'v str, Vec<usize>>,
    short: HashMap<&'v str, Vec<usize>>,
    context: Context<'v, 'v>,
    #[cfg(test)]
    evaluations: std::cell::Cell<usize>,
}

/// How many names that no node has are tried.
const MAX_TRIED: usize = 8;

impl<'v> Matching<'v> {
    pub fn new(expression: &'v Expression, nodes: &'v [Node]) -> Self {
        let names: Vec<(&str, &str)> =
            nodes.iter().map(|node| (&*node.name, short_name(&node.name))).collect();
        let (mut full, mut short) = (HashMap::new(), HashMap::new());
        for (place, names) in names.iter().enumerate() {
            full.entry(names.0).or_insert_with(Vec::new).push(place);
            short.entry(names.1).or_insert_with(Vec::new).push(place);
        }
        Self {
            expression,
            names,
            full,
            short,
            context: context(expression),
            #[cfg(test)]
            evaluations: std::cell::Cell::default(),
        }
    }

    /// The nodes that `alert` speaks of.
    pub fn find(&self, alert: &'v Alert) -> Verdict {
        match &self.expression.0.questions {
            Some(questions) => self.find_by_index(questions, &self.context_of(alert)),
            None => self.find_one_by_one(alert),
        }
    }

    /// The same, asked of every node.
    pub(crate) fn find_one_by_one(&self, alert: &'v Alert) -> Verdict {
        let context = self.context_of(alert);
        let mut failed = false;
        let mut places = Vec::new();
        for place in 0..self.names.len() {
            match self.matches(&context, place) {
                Ok(true) => places.push(place),
                Ok(false) => {}
                Err(Failed) => failed = true,
            }
        }
        match (places.is_empty(), failed) {
            (false, _) => Verdict::Nodes(places),
            (true, true) => Verdict::Failed,
            (true, false) => Verdict::Unmatched,
        }
    }

    fn find_by_index(&self, questions: &[Question], context: &Context<'_, 'v>) -> Verdict {
        let mut named = BTreeSet::new();
        let mut unknown = Vec::new();
        for question in questions {
            let Ok(value) = Value::resolve_val(&question.value, context) else { continue };
            let Some(value) = value.downcast_ref::<CelString>() else { continue };
            let nodes = match question.name {
                Name::Full => &self.full,
                Name::Short => &self.short,
            };
            for name in question.names(value.inner()) {
                match nodes.get(name) {
                    Some(places) => named.extend(places),
                    None if unknown.len() < MAX_TRIED => unknown.push((question.name, name.to_owned())),
                    None => {}
                }
            }
        }
        let mut failed = false;
        let mut judge = |place| {
            let matches = self.matches(context, place);
            failed |= matches.is_err();
            matches == Ok(true)
        };
        let mut places: Vec<usize> = named.iter().copied().filter(|place| judge(*place)).collect();
        let others = || (0..self.names.len()).filter(|place| !named.contains(place));
        if others().next().is_some_and(judge) {
            places.extend(others());
            places.sort_unstable();
        }
        if !places.is_empty() {
            Verdict::Nodes(places)
        } else if failed {
            Verdict::Failed
        } else if unknown.iter().any(|(asked, name)| self.would_match(context, *asked, name)) {
            Verdict::Unmatched
        } else {
            Verdict::Excluded
        }
    }

    fn matches(&self, context: &Context<'_, 'v>, place: usize) -> Result<bool, Failed> {
        #[cfg(test)]
        self.evaluations.set(self.evaluations.get() + 1);
        let (full, short) = self.names[place];
        let mut of_node = context.new_inner_scope();
        of_node.add_variable_as_val("FullName", Box::new(CelString::from(full)));
        of_node.add_variable_as_val("ShortName", Box::new(CelString::from(short)));
        boolean(&self.expression.0.root, &of_node)
    }

    /// Whether a node would match if it had this name.
    fn would_match(&self, context: &Context<'_, 'v>, asked: Name, name: &str) -> bool {
        let short = match asked {
            Name::Full => short_name(name),
            Name::Short => name,
        };
        let mut of_node = context.new_inner_scope();
        of_node.add_variable_as_val("FullName", Box::new(CelString::from(name.to_owned())));
        of_node.add_variable_as_val("ShortName", Box::new(CelString::from(short.to_owned())));
        boolean(&self.expression.0.root, &of_node) == Ok(true)
    }

    #[cfg(test)]
    pub(super) fn evaluations(&self) -> usize {
        self.evaluations.get()
    }

    fn context_of(&self, alert: &'v Alert) -> Context<'_, 'v> {
        let mut of_alert = self.context.new_inner_scope();
        of_alert.add_variable_as_val("labels", map(&alert.labels));
        of_alert.add_variable_as_val("annotations", map(&alert.annotations));
        of_alert
    }
}

/// The expression has no value, or none that is true or false.
#[derive(Debug, PartialEq, Eq)]
struct Failed;

fn boolean(root: &IdedExpr, context: &Context<'_, '_>) -> Result<bool, Failed> {
    let value = Value::resolve_val(root, context).map_err(|_| Failed)?;
    value.downcast_ref::<CelBool>().map(|value| *value.inner()).ok_or(Failed)
}

fn map<'v>(labels: &'v Labels) -> Box<dyn Val + 'v> {
    let entries = labels.iter().map(|(name, value)| {
        let value: Box<dyn Val + 'v> = Box::new(CelString::from(value));
        (CelMapKey::from(name), value)
    });
    Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
}

/// The standard functions, and `matches` with the expressions that are compiled already: the crate's own, which
/// its feature `regex` adds, compiles at every evaluation, and up to 10 MB.
fn context<'v>(expression: &Expression) -> Context<'v, 'v> {
    let mut context = Context::with_env(Arc::new(Env::default().with_optional_support(false).with_stdlib()));
    let compiled = Arc::clone(&expression.0);
    let matches =
        move |This(text): This<Arc<String>>, pattern: Arc<String>| match compiled.patterns.get(&*pattern) {
            Some(known) => Ok(known.is_match(&text)),
            None => check::compile(&pattern)
                .map(|pattern| pattern.is_match(&text))
                .map_err(|error| ExecutionError::function_error("matches", error)),
        };
    // Only a second `matches` could be in its way. Then none would be found, and the alert be counted as failed.
    let _declared = context.add_function("matches", matches);
    context
}

/// Up to the first dot, as upstream has it.
fn short_name(name: &str) -> &str {
    name.split_once('.').map_or(name, |(short, _)| short)
}
