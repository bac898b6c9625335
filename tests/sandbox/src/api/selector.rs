//! Label and field selectors, as in a list's query.

use serde_json::Value;

use super::resource::Resource;
use super::status::{Result, Status};

/// What of a collection is asked for.
#[derive(Clone, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Requirement {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    /// Also met where the label is absent.
    NotIn(String, Vec<String>),
    Greater(String, i64),
    Less(String, i64),
}

impl Selector {
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self> {
        let labels = split(labels).into_iter().map(requirement).collect::<Result<_>>()?;
        let mut parsed = Vec::new();
        for term in fields.split(',').filter(|term| !term.is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (path, true, value)
            } else {
                let why = format!("invalid selector: '{fields}'; can't understand '{term}'");
                return Err(Status::bad_request(why));
            };
            if !["metadata.name", "metadata.namespace"].contains(&path)
                && !resource.selectable.contains(&path)
            {
                return Err(Status::bad_request(format!("field label not supported: {path}")));
            }
            parsed.push((path.to_owned(), equal, value.to_owned()));
        }
        Ok(Self { labels, fields: parsed })
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|requirement| requirement.met(labels))
            && self.fields.iter().all(|(path, equal, wanted)| (field(object, path) == *wanted) == *equal)
    }
}

/// Whether an object's own selector (`matchLabels`, `matchExpressions`) chooses these labels. None chooses nothing, an
/// empty one everything.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let mut exact = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    selector.is_object()
        && exact.all(|(key, value)| labels[key] == *value)
        && expressions.all(|one| {
            let key = one["key"].as_str().unwrap_or_default().to_owned();
            let values = one["values"].as_array().into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
            let requirement = match one["operator"].as_str().unwrap_or_default() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                _ => return false,
            };
            requirement.met(labels)
        })
}

/// A field as the server spells it for selectors.
fn field(object: &Value, path: &str) -> String {
    let value = path.split('.').fold(object, |value, key| &value[key]);
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Object(source) => {
            source.get("component").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        _ if path == "spec.unschedulable" => "false".to_owned(),
        _ => String::new(),
    }
}

impl Requirement {
    fn met(&self, labels: &Value) -> bool {
        let label = |key: &str| labels[key].as_str();
        let number = |key: &str| label(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
            Self::In(key, values) => label(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(key, values) => label(key).is_none_or(|value| !values.iter().any(|one| one == value)),
            Self::Greater(key, bound) => number(key).is_some_and(|value| value > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|value| value < *bound),
        }
    }
}

/// At commas, but not at those inside of `in (a,b)`.
fn split(selector: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = selector.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn requirement(text: &str) -> Result<Requirement> {
    let bad = || Status::bad_request(format!("unable to parse requirement: found '{text}'"));
    if let Some((key, set)) = text.split_once('(') {
        let values =
            set.strip_suffix(')').ok_or_else(bad)?.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = key.trim().rsplit_once(' ').ok_or_else(bad)?;
        let key = checked(key).ok_or_else(bad)?;
        return match operator {
            "in" => Ok(Requirement::In(key, values)),
            "notin" => Ok(Requirement::NotIn(key, values)),
            _ => Err(bad()),
        };
    }
    let pair =
        |separator| text.split_once(separator).map(|(key, value)| (checked(key), value.trim().to_owned()));
    if let Some((key, value)) = pair("!=") {
        return Ok(Requirement::NotIn(key.ok_or_else(bad)?, vec![value]));
    }
    if let Some((key, value)) = pair("==").or_else(|| pair("=")) {
        return Ok(Requirement::In(key.ok_or_else(bad)?, vec![value]));
    }
    if let Some((key, bound)) = pair(">") {
        return Ok(Requirement::Greater(key.ok_or_else(bad)?, bound.parse().map_err(|_| bad())?));
    }
    if let Some((key, bound)) = pair("<") {
        return Ok(Requirement::Less(key.ok_or_else(bad)?, bound.parse().map_err(|_| bad())?));
    }
    match text.strip_prefix('!') {
        Some(key) => Ok(Requirement::Absent(checked(key).ok_or_else(bad)?)),
        None => Ok(Requirement::Exists(checked(text).ok_or_else(bad)?)),
    }
}

/// A label's key, if it looks like one.
fn checked(key: &str) -> Option<String> {
    let key = key.trim();
    let good = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!key.is_empty() && key.chars().all(good)).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(labels: &str, fields: &str) -> bool {
        let node = json!({
            "metadata": {"name": "w1", "labels": {"zone": "a", "cores": "32", "kubernetes.io/os": "linux", "empty": ""}},
            "spec": {},
        });
        let nodes = Resource::of_plural("nodes").unwrap();
        Selector::parse(nodes, labels, fields).unwrap().matches(&node)
    }

    #[test]
    fn labels() {
        for (selector, expected) in [
            ("", true),
            ("zone", true),
            ("empty", true),
            ("empty=", true),
            ("!zone", false),
            ("!other", true),
            ("zone=a", true),
            ("zone==b", false),
            ("zone!=b", true),
            ("other!=b", true),
            ("other=", false),
            ("zone in (b, a)", true),
            ("zone notin (b,a)", false),
            ("other notin (b)", true),
            ("cores>31,cores<33", true),
            ("zone>1", false),
            ("zone in (a,b),kubernetes.io/os=linux,!x", true),
            ("zone in (a,b),kubernetes.io/os=windows", false),
        ] {
            assert_eq!(matches(selector, ""), expected, "{selector}");
        }
    }

    #[test]
    fn fields() {
        for (selector, expected) in [
            ("metadata.name=w1", true),
            ("metadata.name!=w1", false),
            ("metadata.name=w1,spec.unschedulable=false", true),
            ("spec.unschedulable==true", false),
        ] {
            assert_eq!(matches("", selector), expected, "{selector}");
        }
    }

    #[test]
    fn what_cannot_be_parsed_is_a_bad_request() {
        let nodes = Resource::of_plural("nodes").unwrap();
        for (labels, fields) in
            [("a b", ""), ("in (a)", ""), ("a in (b", ""), ("=a", ""), ("", "status.phase=x"), ("", "x")]
        {
            let error = Selector::parse(nodes, labels, fields).err().unwrap();
            assert_eq!(error.code(), 400, "{labels} {fields}");
        }
    }
}
