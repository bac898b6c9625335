use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// What follows the `?`, as sent; empty if nothing does.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    /// The decoded value of a query parameter; the first if there are several.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).next()
    }

    /// The decoded values of a query parameter that may be repeated.
    pub fn parameters(&self, name: &str) -> impl Iterator<Item = String> {
        form_urlencoded::parse(self.query.as_bytes())
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The body as JSON, `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn user_agent(&self) -> &str {
        self.header("user-agent")
    }

    pub fn content_type(&self) -> &str {
        self.header("content-type")
    }

    /// Whether it would change something: neither a read nor a dry run.
    pub fn writes(&self) -> bool {
        self.method != "GET" && self.method != "HEAD" && self.parameter("dryRun").is_none()
    }
}
