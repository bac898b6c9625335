//! What a server says where alerts were asked for: the text of its error, or a page for a browser.

use serde_json::Value;

/// Further bytes of a body are not looked at.
pub(super) const LOOKED_AT: usize = 4 << 10;
/// Characters.
const SHOWN: usize = 200;

/// The beginning of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Text(String),
    /// HTML, and its title.
    Page(String),
}

impl Said {
    /// `redact` takes out what may not be shown, before anything is cut.
    pub(super) fn read(head: &[u8], content_type: &str, redact: impl Fn(&str) -> String) -> Self {
        let text = String::from_utf8_lossy(head);
        let text = text.trim_start_matches('\u{feff}').trim();
        // Compared byte by byte, so that places are the same in both.
        let small = text.to_ascii_lowercase();
        let is_named_so = content_type.to_ascii_lowercase().contains("html");
        if text.starts_with('<')
            && (is_named_so || ["<html", "<!doctype html"].iter().any(|tag| small.contains(tag)))
        {
            let title = || {
                let from = small.find("<title")?;
                let from = from + small[from..].find('>')? + 1;
                Some(&text[from..from + small[from..].find("</title")?])
            };
            return Self::Page(on_one_line(&redact(title().unwrap_or_default())));
        }
        match on_one_line(&redact(&message(text))) {
            text if text.is_empty() => Self::Nothing,
            text => Self::Text(text),
        }
    }
}

/// Of an error in JSON what is for people: Alertmanager's is a text, Prometheus' and others' have a field for it.
fn message(text: &str) -> String {
    let of = |value: Value| match value {
        Value::String(text) => Some(text),
        value => ["error", "message"].iter().find_map(|name| value[*name].as_str().map(str::to_owned)),
    };
    serde_json::from_str(text).ok().and_then(of).unwrap_or_else(|| text.to_owned())
}

fn on_one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Whether `text` says more than the status that it came with.
pub(super) fn is_more_than(status: http::StatusCode, text: &str) -> bool {
    let known = format!("{status} page error").to_lowercase();
    let text = text.to_lowercase();
    let mut words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    !words.all(|word| known.split(' ').any(|other| other == word))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn t15_d8_texts_and_pages_are_told_apart() {
        let text = |text: &str| Said::Text(text.to_owned());
        let page = |title: &str| Said::Page(title.to_owned());
        for (body, content_type, expected) in [
            ("no org id\n", "text/plain; charset=utf-8", text("no org id")),
            ("no org id", "text/html", text("no org id")),
            (" \n", "text/plain", Said::Nothing),
            ("\"bad matcher format: x\"\n", "application/json", text("bad matcher format: x")),
            (r#"{"status":"error","errorType":"bad_data","error":"no \"x\""}"#, "", text("no \"x\"")),
            (r#"{"code":401,"message":"no org id"}"#, "", text("no org id")),
            (r#"{"code":401}"#, "", text(r#"{"code":401}"#)),
            ("a\r\n\tb\u{a0}c", "", text("a b c")),
            ("<!doctype html>\n<TITLE lang=en>\n Log in </title>", "", page("Log in")),
            ("\u{feff} <html><body>x", "application/json", page("")),
            ("<h1>Forbidden</h1>", "Text/HTML", page("")),
            ("<!-- İ --><html><title>İ</title>", "text/html", page("İ")),
            (
                "<Error><Code>AccessDenied</Code></Error>",
                "application/xml",
                text("<Error><Code>AccessDenied</Code></Error>"),
            ),
        ] {
            assert_eq!(Said::read(body.as_bytes(), content_type, str::to_owned), expected, "{body}");
        }
        let long = "ä".repeat(300);
        assert_eq!(Said::read(long.as_bytes(), "", str::to_owned), text(&format!("{}…", "ä".repeat(200))));
        let half = format!("{}{}", "x".repeat(195), "s3cr3t");
        let redacted = Said::read(half.as_bytes(), "", |text| text.replace("s3cr3t", "<secret>"));
        assert_eq!(redacted, text(&format!("{}<secr…", "x".repeat(195))));
    }

    #[test]
    fn t15_d8_what_repeats_the_status_is_not_shown() {
        for (status, body, expected) in [
            (StatusCode::UNAUTHORIZED, "Unauthorized", false),
            (StatusCode::NOT_FOUND, "404 page not found", false),
            (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", false),
            (StatusCode::UNAUTHORIZED, "no org id", true),
            (StatusCode::FORBIDDEN, "Forbidden by ACL", true),
        ] {
            assert_eq!(is_more_than(status, body), expected, "{body}");
        }
    }
}
