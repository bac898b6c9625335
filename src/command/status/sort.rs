//! `--sort-by`: rows that are equal in it stay in their order, most urgent first.

use std::cmp::{Ordering, Reverse};

use serde_json::Value;

use super::document::item;
use super::table::shown_type;
use crate::core::prefix::Prefix;
use crate::core::remediation::RecordSeen;
use crate::core::report::Row;
use crate::error::Result;
use crate::settings::{Column, SortBy};

pub(super) fn sort(rows: &mut Vec<Row<'_>>, by: &SortBy, prefix: &Prefix) -> Result<()> {
    match by {
        SortBy::Column(column) => by_column(rows, *column, prefix),
        SortBy::Path { text, path } => {
            let found = rows.iter().map(|row| path.first(&item(row))).collect::<Result<Vec<_>, _>>();
            let keys = found.and_then(|found| keys(&found, text)).map_err(SortBy::error)?;
            let mut keyed: Vec<_> = keys.into_iter().zip(rows.drain(..)).collect();
            keyed.sort_by(|(a, _), (b, _)| a.compare(b));
            rows.extend(keyed.into_iter().map(|(_, row)| row));
        }
    }
    Ok(())
}

/// As the columns read, from the least; what has no value comes last.
fn by_column(rows: &mut [Row<'_>], column: Column, prefix: &Prefix) {
    let last = |text: &str| (text.is_empty(), text.to_owned());
    match column {
        Column::Node => rows.sort_by(|a, b| a.node.node.name.cmp(&b.node.node.name)),
        Column::Priority => rows.sort_by_key(|row| (row.priority.is_none(), row.priority)),
        Column::Condition => {
            rows.sort_by(|a, b| shown_type(a, prefix, false).cmp(shown_type(b, prefix, false)));
        }
        Column::Status => rows.sort_by_key(|row| last(&row.condition.status)),
        Column::Age => rows.sort_by_key(|row| Reverse(row.condition.last_transition)),
        Column::NodeStatus => rows.sort_by_key(|row| row.node.status()),
        Column::Roles => rows.sort_by_key(|row| last(&row.node.roles().join(","))),
        Column::Reason => rows.sort_by_key(|row| last(&row.condition.reason)),
        Column::Heartbeat => rows.sort_by_key(|row| Reverse(row.condition.last_heartbeat)),
        Column::Remediation => {
            rows.sort_by_key(|row| {
                let record = match &row.node.remediation {
                    RecordSeen::Readable(record) => Some((record.stands(), record.since)),
                    RecordSeen::None | RecordSeen::Unreadable(_) => None,
                };
                (row.node.remediation == RecordSeen::None, record.is_none(), record)
            });
        }
        Column::Message => rows.sort_by_key(|row| last(row.message)),
    }
}

#[derive(Debug, PartialEq)]
enum Key {
    Missing,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

impl Key {
    /// kubectl's order: what lacks the field comes first, then null.
    fn compare(&self, other: &Self) -> Ordering {
        let rank = |key: &Self| match key {
            Self::Missing => 0,
            Self::Null => 1,
            Self::Bool(_) | Self::Number(_) | Self::Text(_) => 2,
        };
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

/// Keys that compare with each other. Texts that are all quantities, such as `500m` and `2Ki`, compare as numbers.
fn keys(found: &[Option<Value>], path: &str) -> Result<Vec<Key>, String> {
    if !found.is_empty() && found.iter().all(Option::is_none) {
        return Err(format!("couldn't find any field with path {path:?} in the list of objects"));
    }
    let texts = || found.iter().flatten().filter_map(Value::as_str);
    let are_quantities = texts().all(|text| quantity(text).is_some());
    let key = |value: &Option<Value>| {
        Ok(match value {
            None => Key::Missing,
            Some(Value::Null) => Key::Null,
            Some(Value::Bool(truth)) => Key::Bool(*truth),
            Some(Value::Number(number)) => Key::Number(number.as_f64().unwrap_or_default()),
            Some(Value::String(text)) => match quantity(text).filter(|_| are_quantities) {
                Some(number) => Key::Number(number),
                None => Key::Text(text.clone()),
            },
            Some(Value::Array(_) | Value::Object(_)) => {
                return Err(format!("{path:?} finds lists or maps, which have no order"));
            }
        })
    };
    let keys = found.iter().map(key).collect::<Result<Vec<_>, String>>()?;
    let mut kinds =
        keys.iter().filter(|key| !matches!(key, Key::Missing | Key::Null)).map(std::mem::discriminant);
    let first = kinds.next();
    if kinds.any(|kind| Some(kind) != first) {
        return Err(format!("{path:?} finds values of different types"));
    }
    Ok(keys)
}

/// `apimachinery/pkg/api/resource`: a number with a decimal or binary suffix, or an exponent.
fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor)))
        .unwrap_or((text, 1.0));
    let is_number =
        number.chars().all(|character| matches!(character, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
    number.parse::<f64>().ok().filter(|_| is_number).map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// The order in which the values come.
    fn order(values: &[Value]) -> Result<Vec<usize>, String> {
        let found: Vec<_> = values.iter().map(|value| value.get("x").cloned()).collect();
        let mut keyed: Vec<_> = keys(&found, ".x")?.into_iter().enumerate().collect();
        keyed.sort_by(|(_, a), (_, b)| a.compare(b));
        Ok(keyed.into_iter().map(|(at, _)| at).collect())
    }

    #[test]
    fn values_compare_as_kubectl_compares_them() {
        let numbers = [json!({"x": 10}), json!({"x": 9}), json!({}), json!({"x": null}), json!({"x": 9.5})];
        assert_eq!(order(&numbers).unwrap(), [2, 3, 1, 4, 0]);
        assert_eq!(order(&[json!({"x": "10"}), json!({"x": "9"}), json!({"x": "100m"})]).unwrap(), [2, 1, 0]);
        assert_eq!(order(&[json!({"x": "10"}), json!({"x": "9"}), json!({"x": "w"})]).unwrap(), [0, 1, 2]);
        let times = [json!({"x": "2026-02-01T00:00:00Z"}), json!({"x": "2025-12-01T00:00:00Z"})];
        assert_eq!(order(&times).unwrap(), [1, 0]);
        assert_eq!(order(&[json!({"x": 1}), json!({"x": 1}), json!({"x": 0})]).unwrap(), [2, 0, 1]);
        assert_eq!(order(&[]).unwrap(), [0; 0]);
    }

    #[test]
    fn what_has_no_order_is_refused() {
        assert!(order(&[json!({}), json!({"y": 1})]).unwrap_err().starts_with("couldn't find any field"));
        assert!(order(&[json!({"x": 1}), json!({"x": "a"})]).unwrap_err().contains("different types"));
        assert!(order(&[json!({"x": []})]).unwrap_err().contains("lists or maps"));
    }
}
