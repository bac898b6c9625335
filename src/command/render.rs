//! Results as documents, and numbers in sentences.

use serde::Serialize;

use crate::cli::Format;
use crate::document;

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
    match format {
        Format::Json => document::json(&document),
        Format::Yaml => document::yaml(&document),
    }
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
