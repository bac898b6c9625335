//! Results as documents, and numbers in sentences.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::Format;
use crate::core::invisible::marked;

/// A document of ours with its `apiVersion` and `kind`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'d, T> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    content: &'d T,
}

const API_VERSION: &str = "sciuro.dev/v1alpha1";

pub(super) fn document<T: Serialize>(kind: &'static str, content: &T, format: Format) -> String {
    let document = Document { api_version: API_VERSION, kind, content };
    // Maps with string keys and plain values: nothing in them can fail to serialise.
    match format {
        Format::Json => escaped(&serde_json::to_string_pretty(&document).unwrap_or_default()),
        Format::Yaml => serde_saphyr::to_string(&document).unwrap_or_default(),
    }
}

/// What a terminal obeys, or nobody sees, as JSON writes it: such characters are nowhere but in texts.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for (character, is_hostile) in marked(json) {
        if is_hostile && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// The document as a value, for templates.
pub(super) fn value<T: Serialize>(kind: &'static str, content: &T) -> serde_json::Value {
    serde_json::to_value(Document { api_version: API_VERSION, kind, content }).unwrap_or_default()
}

/// `1 node`, `2 nodes`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::ui::escape;

    proptest! {
        /// It is the same text to whoever reads JSON, and nothing that is escaped once more on its way out.
        #[test]
        fn t15_e9_json_has_its_own_escapes(
            text in "(?s)[ -~\u{0}-\u{1f}\u{7f}-\u{9f}\u{ad}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{e0041}🔥ü]{0,40}|(?s).{0,40}"
        ) {
            let json = document("Text", &serde_json::json!({"text": text}), Format::Json);
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read["text"], &text);
            for line in json.lines() {
                prop_assert_eq!(escape(line), line);
            }
        }
    }
}
