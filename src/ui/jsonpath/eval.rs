//! Nodes over data, as `util/jsonpath/jsonpath.go` does it.

use serde_json::Value;

use super::parse::{Node, Slice};
use super::value::{Item, Operator};

type Items<'v> = Vec<Item<'v>>;

/// A template can double its results with every expression; no honest one comes near this, and so much more for each value
/// of the data.
const MOST_STEPS: usize = 10_000_000;
const MOST_STEPS_PER_VALUE: usize = 1_000;

/// Ranges in ranges; each is a recursion here.
const DEEPEST: usize = 64;

/// What went wrong, and what a filter without operator takes as found nevertheless.
struct Failure<'v> {
    found: Items<'v>,
    message: String,
}

pub(super) struct Evaluation<'v> {
    nodes: &'v [Node],
    begun: usize,
    open: usize,
    ended: usize,
    /// Where the `end` stands that was met last.
    last_end: Option<usize>,
    depth: usize,
    steps_left: usize,
}

impl<'v> Evaluation<'v> {
    /// What each node of the template finds.
    pub(super) fn of(nodes: &'v [Node], data: &'v Value) -> Result<Vec<Items<'v>>, String> {
        let steps_left = values(data).saturating_mul(MOST_STEPS_PER_VALUE).saturating_add(MOST_STEPS);
        let mut evaluation =
            Self { nodes, begun: 0, open: 0, ended: 0, last_end: None, depth: 0, steps_left };
        evaluation.find(0, Item::Json(data))
    }

    fn find(&mut self, start: usize, data: Item<'v>) -> Result<Vec<Items<'v>>, String> {
        if self.depth == DEEPEST {
            return Err("too many nested ranges".to_owned());
        }
        let mut all = Vec::new();
        let mut at = start;
        while let Some(node) = self.nodes.get(at) {
            let found = self.walk(vec![data], node).map_err(|failure| failure.message)?;
            if self.ended > 0 && self.ended <= self.open {
                self.ended -= 1;
                self.last_end = Some(at);
                break;
            }
            if self.begun > 0 {
                self.begun -= 1;
                self.open += 1;
                self.depth += 1;
                if found.is_empty() {
                    // So that the end of the range is met.
                    self.find(at + 1, Item::Nothing)?;
                }
                for item in found {
                    all.extend(self.find(at + 1, item.unwrapped())?);
                }
                self.depth -= 1;
                self.open -= 1;
                at = self.last_end.filter(|&end| end > at).unwrap_or(at);
            } else {
                all.push(found);
            }
            at += 1;
        }
        Ok(all)
    }

    fn walk(&mut self, input: Items<'v>, node: &'v Node) -> Result<Items<'v>, Failure<'v>> {
        self.spend(1 + input.len())?;
        let each = |item: Item<'v>| vec![item; input.len()];
        match node {
            Node::Text(text) => Ok(vec![Item::Text(text)]),
            Node::Int(number) => Ok(each(Item::Int(*number))),
            Node::Float(number) => Ok(each(Item::Float(*number))),
            Node::Bool(truth) => Ok(each(Item::Bool(*truth))),
            Node::List(nodes) => self.list(input, nodes),
            Node::Field(name) => Ok(input.iter().filter_map(|item| item.field(name)).collect()),
            Node::Wildcard => self.children(&input),
            Node::Recursive => self.recursive(&input),
            Node::Slice(slice) => self.slice(input, slice),
            Node::Filter { left, right } => self.filter(&input, left, right.as_ref()),
            Node::Union(lists) => {
                let mut found = Vec::new();
                for list in lists {
                    match self.list(input.clone(), list) {
                        Ok(more) => found.extend(more),
                        Err(failure) => return Err(Failure { found: input, ..failure }),
                    }
                    self.spend(found.len())?;
                }
                Ok(found)
            }
            Node::Word(word) => self.word(input, word),
        }
    }

    fn spend(&mut self, steps: usize) -> Result<(), Failure<'v>> {
        match self.steps_left.checked_sub(steps) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => Err(Failure { found: Vec::new(), message: "the template finds too much".to_owned() }),
        }
    }

    fn list(&mut self, input: Items<'v>, nodes: &'v [Node]) -> Result<Items<'v>, Failure<'v>> {
        nodes.iter().try_fold(input, |found, node| self.walk(found, node))
    }

    fn word(&mut self, input: Items<'v>, word: &str) -> Result<Items<'v>, Failure<'v>> {
        match word {
            "range" => {
                self.begun += 1;
                Ok(input)
            }
            "end" if self.open > 0 => {
                self.ended += 1;
                Ok(Vec::new())
            }
            "end" => Err(Failure { found: Vec::new(), message: "not in range, nothing to end".to_owned() }),
            _ => Err(Failure { found: input, message: format!("unrecognized identifier {word}") }),
        }
    }

    fn children(&mut self, input: &Items<'v>) -> Result<Items<'v>, Failure<'v>> {
        let mut found = Vec::new();
        for item in input {
            let children = item.children();
            self.spend(children.len())?;
            found.extend(children);
        }
        Ok(found)
    }

    /// All that have something in them, and what is in them.
    fn recursive(&mut self, input: &Items<'v>) -> Result<Items<'v>, Failure<'v>> {
        let mut found = Vec::new();
        for item in input {
            let children = item.children();
            self.spend(1 + children.len())?;
            if !children.is_empty() {
                found.push(*item);
                found.extend(self.recursive(&children)?);
            }
        }
        Ok(found)
    }

    fn slice(&mut self, input: Items<'v>, slice: &Slice) -> Result<Items<'v>, Failure<'v>> {
        let mut found = Vec::new();
        for item in &input {
            if item.is_null() {
                continue;
            }
            let picked = match item.array() {
                None => Err(format!("{} is not array or slice", item.go_type())),
                Some(values) => pick(values, slice),
            };
            match picked {
                Ok(Some(picked)) => found.extend(picked),
                // Nothing was asked for; kubectl then leaves the rest of the input alone.
                Ok(None) => return Ok(found),
                Err(message) => return Err(Failure { found: input, message }),
            }
            self.spend(found.len())?;
        }
        Ok(found)
    }

    fn filter(
        &mut self,
        input: &Items<'v>,
        left: &'v [Node],
        right: Option<&'v (String, Vec<Node>)>,
    ) -> Result<Items<'v>, Failure<'v>> {
        let fail = |message: String| Failure { found: input.clone(), message };
        let mut found = Vec::new();
        for item in input {
            let Some(values) = item.array() else {
                return Err(fail(format!("{} is not array or slice and cannot be filtered", item.show())));
            };
            for value in values {
                let value = Item::Json(value);
                let lefts = self.list(vec![value], left);
                let Some((operator, right)) = right else {
                    if !lefts.unwrap_or_else(|failure| failure.found).is_empty() {
                        found.push(value);
                    }
                    continue;
                };
                let lefts = lefts.map_err(|failure| fail(failure.message))?;
                let Some(left) = only(lefts).map_err(fail)? else { continue };
                let rights = self.list(vec![value], right).map_err(|failure| fail(failure.message))?;
                let Some(right) = only(rights).map_err(fail)? else { continue };
                let holds = Operator::parse(operator).and_then(|operator| operator.holds(&left, &right));
                match holds {
                    Ok(true) => found.push(value),
                    Ok(false) => {}
                    Err(message) => return Err(Failure { found, message }),
                }
            }
        }
        Ok(found)
    }
}

fn values(data: &Value) -> usize {
    1 + match data {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(map) => map.values().map(values).sum(),
        _ => 0,
    }
}

fn only(mut found: Items<'_>) -> Result<Option<Item<'_>>, String> {
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err("can only compare one element at a time".to_owned()),
    }
}

/// `None`: start and end are the same.
fn pick<'v>(values: &'v [Value], slice: &Slice) -> Result<Option<Items<'v>>, String> {
    let length = i64::try_from(values.len()).unwrap_or(i64::MAX);
    let out_of_bounds =
        |index: i64| Err(format!("array index out of bounds: index {index}, length {length}"));
    let start = slice.start.unwrap_or(0);
    let end = if slice.is_index { start.saturating_add(1) } else { slice.end.unwrap_or(length) };
    let start = if start < 0 { start + length } else { start };
    let end = if end < 0 || (end == 0 && slice.is_index) { end + length } else { end };
    if start == end {
        return Ok(None);
    }
    if start >= length || start < 0 {
        return out_of_bounds(start);
    }
    if end > length || end < 0 {
        return out_of_bounds(end - 1);
    }
    if start > end {
        return Err(format!("starting index {start} is greater than ending index {end}"));
    }
    let step = slice.step.unwrap_or(1);
    if step <= 0 {
        return Err("step must be > 0".to_owned());
    }
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    Ok(Some(values[start..end].iter().step_by(step).map(Item::Json).collect()))
}
