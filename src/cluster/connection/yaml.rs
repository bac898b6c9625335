//! YAML as Kubernetes' own programs read it: it becomes JSON, of which unknown fields and `null` mean nothing, and a value of
//! another type is an error.
//!
//! An error names the line or the field, and never what is there: it may be a secret.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

/// The first document, the only one that counts.
pub(super) fn document(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    let mut text = text.as_bytes();
    let first = serde_saphyr::read_with_options::<_, Value>(&mut text, options).next();
    let root = first.transpose().map_err(|error| match error.location() {
        Some(place) => format!("line {} is not YAML", place.line()),
        None => "it is not YAML".to_owned(),
    })?;
    Ok(root.unwrap_or_default())
}

/// A mapping, and where it is.
pub(super) struct Table<'v> {
    /// `None`: it is not there.
    pub(super) fields: Option<&'v Map<String, Value>>,
    pub(super) place: String,
}

impl<'v> Table<'v> {
    pub(super) fn of(value: &'v Value, place: String) -> Result<Self, String> {
        match value {
            Value::Null => Ok(Self { fields: None, place }),
            Value::Object(fields) => Ok(Self { fields: Some(fields), place }),
            other => Err(format!("{place} is {}, not a mapping", kind(other))),
        }
    }

    /// `null` is nothing.
    fn get(&self, key: &str) -> Option<&'v Value> {
        self.fields?.get(key).filter(|value| !value.is_null())
    }

    fn place(&self, key: &str) -> String {
        format!("{}.{key}", self.place).trim_start_matches("the file.").to_owned()
    }

    pub(super) fn text(&self, key: &str) -> Result<String, String> {
        self.get(key).map_or_else(|| Ok(String::new()), |value| text_of(value, || self.place(key)))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, String> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(is_set)) => Ok(*is_set),
            Some(other) => Err(format!("{} is {}, not true or false", self.place(key), kind(other))),
        }
    }

    /// Base64, in which line breaks mean nothing.
    pub(super) fn data(&self, key: &str) -> Result<Vec<u8>, String> {
        const BASE64: GeneralPurpose =
            GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
        let text = self.text(key)?.replace(['\r', '\n'], "");
        BASE64.decode(text).map_err(|_| format!("{} is not base64", self.place(key)))
    }

    pub(super) fn table(&self, key: &str) -> Result<Option<Self>, String> {
        self.get(key).map(|value| Self::of(value, self.place(key))).transpose()
    }

    fn values(&self, key: &str) -> Result<impl Iterator<Item = (&'v Value, String)>, String> {
        let values = match self.get(key) {
            None => &[][..],
            Some(Value::Array(values)) => values,
            Some(other) => return Err(format!("{} is {}, not a list", self.place(key), kind(other))),
        };
        let place = self.place(key);
        Ok(values.iter().enumerate().map(move |(index, value)| (value, format!("{place}[{index}]"))))
    }

    pub(super) fn list(&self, key: &str) -> Result<Vec<Self>, String> {
        self.values(key)?.map(|(value, place)| Self::of(value, place)).collect()
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        self.values(key)?
            .map(|(value, place)| if value.is_null() { Ok(String::new()) } else { text_of(value, || place) })
            .collect()
    }
}

fn text_of(value: &Value, place: impl FnOnce() -> String) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{} is {}, not text; put it in quotes", place(), kind(other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// PowerShell writes UTF-16, and editors a byte order mark.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, String> {
    let utf16 = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let units = bytes.chunks(2).map(|unit| read([unit[0], unit.get(1).copied().unwrap_or_default()]));
        String::from_utf16(&units.collect::<Vec<_>>()).map_err(|_| "it is not UTF-16".to_owned())
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => {
            String::from_utf8(rest.to_vec()).map_err(|_| "it is not UTF-8".to_owned())
        }
        _ => String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()),
    }
}
