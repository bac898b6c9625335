//! Values as Go's reflection, `fmt`, `encoding/json` and `text/template` treat them.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use crate::core::invisible::marked;
use crate::document::push_units;

#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'v> {
    Json(&'v Value),
    Text(&'v str),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// One of a string's: Go takes strings for sequences of bytes.
    Byte(u8),
    /// Go's zero `reflect.Value`: what a range without results ranges over.
    Nothing,
}

enum Scalar<'v> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'v str),
    Byte(u8),
}

impl<'v> Item<'v> {
    fn scalar(&self) -> Option<Scalar<'v>> {
        Some(match *self {
            Item::Text(text) => Scalar::Text(text),
            Item::Int(number) => Scalar::Int(number),
            Item::Float(number) => Scalar::Float(number),
            Item::Bool(truth) => Scalar::Bool(truth),
            Item::Byte(byte) => Scalar::Byte(byte),
            Item::Nothing => return None,
            Item::Json(value) => match value {
                Value::Bool(truth) => Scalar::Bool(*truth),
                Value::Number(number) => Scalar::of_number(number),
                Value::String(text) => Scalar::Text(text),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            },
        })
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Item::Json(Value::Null))
    }

    /// A null that is ranged over loses even its type.
    pub(super) fn unwrapped(self) -> Self {
        if self.is_null() { Item::Nothing } else { self }
    }

    pub(super) fn array(&self) -> Option<&'v [Value]> {
        match self {
            Item::Json(Value::Array(values)) => Some(values),
            _ => None,
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<Self> {
        match self {
            Item::Json(Value::Object(map)) => map.get(name).map(Item::Json),
            _ => None,
        }
    }

    /// What is in it. Of maps by key: Go gives them in no order.
    pub(super) fn children(&self) -> Vec<Self> {
        match self {
            Item::Json(Value::Object(map)) => {
                sorted(map).into_iter().map(|(_, value)| Item::Json(value)).collect()
            }
            Item::Json(Value::Array(values)) => values.iter().map(Item::Json).collect(),
            Item::Json(Value::String(text)) => text.bytes().map(Item::Byte).collect(),
            Item::Text(text) => text.bytes().map(Item::Byte).collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn go_type(&self) -> &'static str {
        match self {
            Item::Json(Value::Object(_)) => "map[string]interface {}",
            Item::Json(Value::Array(_)) => "[]interface {}",
            Item::Int(_) => "int",
            Item::Nothing | Item::Json(Value::Null) => "nil",
            _ => match self.scalar() {
                Some(Scalar::Bool(_)) => "bool",
                Some(Scalar::Int(_)) => "int64",
                Some(Scalar::Float(_)) => "float64",
                Some(Scalar::Byte(_)) => "uint8",
                Some(Scalar::Text(_)) | None => "string",
            },
        }
    }

    /// As a template prints it: maps and lists as JSON, all else as it is.
    pub(super) fn print(&self) -> String {
        match self {
            Item::Json(value @ (Value::Array(_) | Value::Object(_))) => {
                let mut text = String::new();
                write_json(value, &mut text);
                text
            }
            Item::Json(Value::Null) => "null".to_owned(),
            _ => self.show(),
        }
    }

    /// As Go's `fmt.Sprint` shows it.
    pub(super) fn show(&self) -> String {
        match (self, self.scalar()) {
            (_, Some(scalar)) => scalar.show(),
            (Item::Json(value), None) => show(value),
            (_, None) => "<no value>".to_owned(),
        }
    }

    pub(super) fn to_value(self) -> Value {
        match self {
            Item::Json(value) => value.clone(),
            Item::Text(text) => text.into(),
            Item::Int(number) => number.into(),
            Item::Float(number) => number.into(),
            Item::Bool(truth) => truth.into(),
            Item::Byte(byte) => byte.into(),
            Item::Nothing => Value::Null,
        }
    }
}

impl Scalar<'_> {
    fn of_number(number: &Number) -> Self {
        match number.as_i64() {
            Some(number) => Scalar::Int(number),
            None => Scalar::Float(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    fn show(&self) -> String {
        match self {
            Scalar::Bool(truth) => truth.to_string(),
            Scalar::Int(number) => number.to_string(),
            Scalar::Float(number) => float(*number, -4..6, 2),
            Scalar::Text(text) => (*text).to_owned(),
            Scalar::Byte(byte) => byte.to_string(),
        }
    }

    /// `text/template`'s comparison; mixed types do not compare.
    fn compare(&self, other: &Self) -> Result<Option<Ordering>, String> {
        match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => Ok(Some(a.cmp(b))),
            (Scalar::Int(a), Scalar::Int(b)) => Ok(Some(a.cmp(b))),
            (Scalar::Float(a), Scalar::Float(b)) => Ok(a.partial_cmp(b)),
            (Scalar::Text(a), Scalar::Text(b)) => Ok(Some(a.cmp(b))),
            (Scalar::Byte(a), Scalar::Byte(b)) => Ok(Some(a.cmp(b))),
            (Scalar::Int(a), Scalar::Byte(b)) => Ok(Some(a.cmp(&i64::from(*b)))),
            (Scalar::Byte(a), Scalar::Int(b)) => Ok(Some(i64::from(*a).cmp(b))),
            _ => Err("incompatible types for comparison".to_owned()),
        }
    }
}

/// Of a filter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Operator {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterEqual,
            _ => return Err(format!("unrecognized filter operator {text}")),
        })
    }

    pub(super) fn holds(self, left: &Item<'_>, right: &Item<'_>) -> Result<bool, String> {
        let is_order = !matches!(self, Self::Equal | Self::NotEqual);
        let (Some(left), Some(right)) = (left.scalar(), right.scalar()) else {
            return Err("invalid type for comparison".to_owned());
        };
        let order = left.compare(&right)?;
        if is_order && matches!(left, Scalar::Bool(_)) {
            return Err("invalid type for comparison".to_owned());
        }
        Ok(match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        })
    }
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

/// `%v`: `map[a:1 b:[x y]]`.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Array(values) => format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries = sorted(map).into_iter().map(|(key, value)| format!("{key}:{}", show(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
        _ => Item::Json(value).show(),
    }
}

/// `encoding/json`: keys in order, no spaces, and nothing that HTML would take for its own. More is escaped than Go
/// escapes: to a reader of JSON it is the same.
fn write_json(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => match Scalar::of_number(number) {
            Scalar::Float(number) => text.push_str(&float(number, -6..21, 1)),
            number => text.push_str(&number.show()),
        },
        Value::String(string) => write_json_string(string, text),
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write_json(value, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            for (index, (key, value)) in sorted(map).into_iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write_json_string(key, text);
                text.push(':');
                write_json(value, text);
            }
            text.push('}');
        }
    }
}

fn write_json_string(string: &str, text: &mut String) {
    text.push('"');
    for (character, is_hostile) in marked(string) {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' => push_units(character, text),
            _ if is_hostile => push_units(character, text),
            _ => text.push(character),
        }
    }
    text.push('"');
}

/// With an exponent if it is not in `plain`, of so many digits at least if it is negative, and two if not.
fn float(number: f64, plain: std::ops::Range<i32>, digits: usize) -> String {
    let scientific = format!("{number:e}");
    match scientific.split_once('e').map(|(mantissa, exponent)| (mantissa, exponent.parse::<i32>())) {
        Some((mantissa, Ok(exponent))) if number != 0.0 && !plain.contains(&exponent) => {
            let (sign, digits) = if exponent < 0 { ('-', digits) } else { ('+', 2) };
            format!("{mantissa}e{sign}{:0digits$}", exponent.abs())
        }
        _ => number.to_string(),
    }
}
