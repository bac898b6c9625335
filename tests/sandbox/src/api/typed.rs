//! What decoding into a Go type and encoding it again makes of an object, as far as it shows.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::resource::{Resource, Time};
use crate::time;

/// The object as the server would store it, or why it does not decode.
pub(super) fn canonical(resource: &Resource, mut object: Value) -> Result<Value, String> {
    drop_nulls(&mut object);
    if object["kind"] == "Node" {
        node(&mut object)?;
    }
    for (path, kind) in resource.times {
        let path: Vec<&str> = path.split('.').collect();
        times(&mut object, &path, *kind)?;
    }
    for path in ["/metadata", "/spec", "/status"] {
        if let Some(Value::Object(map)) = object.pointer_mut(path) {
            // An empty selector is another one than none.
            map.retain(|key, value| key == "selector" || !is_empty(value));
        }
    }
    Ok(object)
}

/// What `omitempty` leaves out, of lists, maps and flags. (Empty strings may mean something: labels have them.)
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(flag) => !flag,
        _ => false,
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Conditions are always encoded with type, status and both times, of which an unset one is null. A status that a
/// patch of single fields has brought into being is therefore `""`.
fn node(node: &mut Value) -> Result<(), String> {
    let Some(conditions) = node.pointer_mut("/status/conditions") else { return Ok(()) };
    let list =
        conditions.as_array_mut().ok_or("json: cannot unmarshal conditions into []v1.NodeCondition")?;
    for condition in list {
        let old = condition.as_object().ok_or("json: cannot unmarshal a condition into v1.NodeCondition")?;
        let mut new = Map::new();
        for (field, default) in [
            ("type", json!("")),
            ("status", json!("")),
            ("lastHeartbeatTime", Value::Null),
            ("lastTransitionTime", Value::Null),
        ] {
            new.insert(field.into(), old.get(field).cloned().unwrap_or(default));
        }
        for field in ["reason", "message"] {
            if let Some(value) = old.get(field).filter(|value| *value != "") {
                new.insert(field.into(), value.clone());
            }
        }
        if let Some((field, value)) = new.iter().find(|(_, value)| !value.is_string() && !value.is_null()) {
            return Err(format!(
                "json: cannot unmarshal {value} into Go struct field NodeCondition.{field} of type string"
            ));
        }
        *condition = new.into();
    }
    Ok(())
}

fn times(value: &mut Value, path: &[&str], kind: Time) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        let Value::String(text) = value else { return Ok(()) };
        *text = spelt(text, kind)?;
        return Ok(());
    };
    if let Some(first) = first.strip_suffix("[]") {
        let list = value.get_mut(first).and_then(Value::as_array_mut);
        return list.into_iter().flatten().try_for_each(|element| times(element, rest, kind));
    }
    value.get_mut(*first).map_or(Ok(()), |value| times(value, rest, kind))
}

fn spelt(text: &str, kind: Time) -> Result<String, String> {
    let layout = match kind {
        Time::Seconds => "2006-01-02T15:04:05Z07:00",
        Time::Micros => "2006-01-02T15:04:05.000000Z07:00",
    };
    // Go's parser wants the T and the Z in capitals and of micros exactly six digits.
    let digits =
        text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    let strict = text.as_bytes().get(10) == Some(&b'T') && (matches!(kind, Time::Seconds) || digits == 6);
    let parsed = text.parse::<Timestamp>().ok().filter(|_| strict);
    let parsed = parsed
        .ok_or_else(|| format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))?;
    Ok(match kind {
        Time::Seconds => time::seconds(parsed),
        Time::Micros => time::micros(parsed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelt_as_go_does_it() {
        assert_eq!(spelt("2020-03-18T15:17:58.9+02:00", Time::Seconds).unwrap(), "2020-03-18T13:17:58Z");
        assert_eq!(
            spelt("2020-03-18T13:17:58.000120Z", Time::Micros).unwrap(),
            "2020-03-18T13:17:58.000120Z"
        );
        for (text, kind) in [
            ("2020-03-18", Time::Seconds),
            ("2020-03-18 13:17:58Z", Time::Seconds),
            ("soon", Time::Seconds),
            ("", Time::Seconds),
            ("2020-03-18T13:17:58Z", Time::Micros),
            ("2020-03-18T13:17:58.120Z", Time::Micros),
            ("2020-03-18T13:17:58.000120000Z", Time::Micros),
        ] {
            assert!(spelt(text, kind).is_err(), "{text}");
        }
    }
}
