//! Strategic merge patch, as apimachinery's `util/strategicpatch` does it, order of lists included: elements that a
//! patch brings new stand before those that it does not name.

use serde_json::{Map, Value};

use super::resource::Merge;

/// Why a patch cannot be applied: the server's fault it is not, but so it is answered (500).
pub(super) type Error = String;

type Result<T> = std::result::Result<T, Error>;

/// Lists merged by something, by their path from the root.
type Schema = &'static [(&'static str, Merge)];

const DIRECTIVE: &str = "$patch";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";
const RETAIN: &str = "$retainKeys";

/// Applies `patch` to `original`.
pub(super) fn merge(original: &Value, patch: &Value, schema: Schema) -> Result<Value> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        return Err("invalid JSON document".into());
    };
    merge_maps(original.clone(), patch.clone(), "", schema).map(Value::Object)
}

fn merge_maps(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    path: &str,
    schema: Schema,
) -> Result<Map<String, Value>> {
    match patch.remove(DIRECTIVE).as_ref().map(Value::as_str) {
        None => {}
        Some(Some("replace")) => return Ok(patch),
        Some(Some("delete")) => return Ok(Map::new()),
        Some(other) => return Err(format!("unknown patch type: {}", other.unwrap_or_default())),
    }
    if let Some(kept) = patch.remove(RETAIN) {
        let kept = kept.as_array().cloned().unwrap_or_default();
        original.retain(|key, _| kept.iter().any(|one| one == key));
    }
    let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };

    // Lists whose order is said go first and are then done with.
    let ordered: Vec<String> =
        patch.keys().filter_map(|key| key.strip_prefix(ORDER)).map(str::to_owned).collect();
    for key in ordered {
        let order = list(patch.remove(&format!("{ORDER}{key}")).unwrap_or_default(), &key)?;
        let by = merge_of(&at(&key), schema);
        let live = list(original.remove(&key).unwrap_or_else(|| Value::Array(Vec::new())), &key)?;
        let merged = match patch.remove(&key) {
            Some(new) => {
                let new = list(new, &key)?;
                check_order(&new, &order, by)?;
                merge_lists(live.clone(), new, &at(&key), schema)?
            }
            None => live.clone(),
        };
        if !merged.is_empty() {
            original.insert(key, Value::Array(in_order(merged, &order, &live, by)?));
        }
    }

    for (key, new) in patch {
        if let Some(key) = key.strip_prefix(DELETE) {
            let gone = list(new, key)?;
            if let Some(Value::Array(live)) = original.get_mut(key) {
                live.retain(|one| !gone.contains(one));
            }
            continue;
        }
        let merged = match (original.remove(&key), new) {
            (_, Value::Null) => None,
            (Some(Value::Object(live)), Value::Object(new)) => {
                Some(Value::Object(merge_maps(live, new, &at(&key), schema)?))
            }
            (Some(Value::Array(live)), Value::Array(new)) => {
                Some(Value::Array(merge_lists(live, new, &at(&key), schema)?))
            }
            (_, new) => without_directives(new),
        };
        if let Some(merged) = merged {
            original.insert(key, merged);
        }
    }
    Ok(original)
}

fn merge_lists(live: Vec<Value>, patch: Vec<Value>, path: &str, schema: Schema) -> Result<Vec<Value>> {
    let key = match merge_of(path, schema) {
        None => return Ok(patch),
        Some(Merge::Set) => {
            let mut merged = live.clone();
            merged.extend(patch.iter().filter(|one| !live.contains(one)).cloned());
            return in_order(merged, &patch, &live, Some(Merge::Set));
        }
        Some(Merge::By(key)) => key,
    };
    let mut live = live;
    let mut new = Vec::new();
    let mut replace = false;
    for element in patch {
        match element.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
            None => new.push(element),
            Some("delete") => {
                let value = key_of(&element, key)?.clone();
                live.retain(|one| one.get(key) != Some(&value));
            }
            Some("replace") => replace = true,
            Some(other) => return Err(format!("unknown patch type: {other} in list {path}")),
        }
    }
    if replace {
        return Ok(new);
    }
    let mut merged = live.clone();
    for element in &new {
        let value = key_of(element, key)?;
        // Of elements that are there twice the first is the one.
        if let Some(found) = merged.iter_mut().find(|one| one.get(key) == Some(value)) {
            let (Value::Object(old), Value::Object(new)) = (found.take(), element) else {
                return Err(format!("value in list {path} is not a map"));
            };
            *found = Value::Object(merge_maps(old, new.clone(), path, schema)?);
        } else {
            merged.push(without_nulls(element.clone()));
        }
    }
    in_order(merged, &new, &live, Some(Merge::By(key)))
}

/// Puts what `order` names into its order and lets the others keep their places in the live list as well as can be.
fn in_order(merged: Vec<Value>, order: &[Value], live: &[Value], by: Option<Merge>) -> Result<Vec<Value>> {
    if let Some(Merge::By(key)) = by {
        for element in merged.iter().chain(order) {
            key_of(element, key)?;
        }
    }
    let place = |list: &[Value], element: &Value| list.iter().position(|one| same(one, element, by));
    let (mut named, mut others): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|element| place(order, element).is_some());
    named.sort_by_key(|element| place(order, element));
    others.sort_by_key(|element| place(live, element));

    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut both = Vec::new();
    while let (Some(name), Some(other)) = (named.peek(), others.peek()) {
        // One of the others goes first only if both are in the live list and it was first there.
        let first =
            matches!((place(live, other), place(live, name)), (Some(other), Some(name)) if other < name);
        both.extend(if first { others.next() } else { named.next() });
    }
    both.extend(named);
    both.extend(others);
    Ok(both)
}

/// What a patch lists must be in the order that it says.
fn check_order(patch: &[Value], order: &[Value], by: Option<Merge>) -> Result<()> {
    let mut order = order.iter();
    for element in patch.iter().filter(|element| element.get(DIRECTIVE).is_none()) {
        if !order.any(|one| same(one, element, by)) {
            return Err("The order in patch list doesn't match $setElementOrder list".into());
        }
    }
    Ok(())
}

fn same(a: &Value, b: &Value, by: Option<Merge>) -> bool {
    match by {
        Some(Merge::By(key)) => a.get(key) == b.get(key),
        _ => a == b,
    }
}

fn merge_of(path: &str, schema: Schema) -> Option<Merge> {
    schema.iter().find(|(one, _)| *one == path).map(|(_, merge)| *merge)
}

fn key_of<'a>(element: &'a Value, key: &str) -> Result<&'a Value> {
    element.get(key).ok_or_else(|| format!("map: {element} does not contain declared merge key: {key}"))
}

fn list(value: Value, key: &str) -> Result<Vec<Value>> {
    match value {
        Value::Array(list) => Ok(list),
        other => Err(format!("expected a list for {key}, but received {other}")),
    }
}

/// What is left of a value that is new: nothing of what has a directive, whichever it is, and no nulls.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => Some(Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .filter_map(|(key, value)| Some((key, without_directives(value)?)))
                .collect(),
        )),
        Value::Array(list) => Some(Value::Array(list.into_iter().filter_map(without_directives).collect())),
        other => Some(other),
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}
