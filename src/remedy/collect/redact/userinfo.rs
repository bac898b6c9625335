//! User and password in URLs and connection strings, also where they were written in a way that no library reads: just that
//! is what an error message quotes.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::REDACTED;

static URL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)(?P<scheme>\b[a-z][a-z0-9+.-]*(?:://|%3A%2F%2F))(?P<rest>[^\s"'<>`]+)"#).ok()
});

pub(super) fn without_userinfo(text: &str) -> Option<(String, usize)> {
    if !text.contains("://") && !text.contains("%2F%2F") && !text.contains("%2f%2f") {
        return None;
    }
    let mut count = 0;
    let replaced = URL.as_ref()?.replace_all(text, |found: &Captures<'_>| {
        let rest = &found["rest"];
        match end_of_userinfo(rest) {
            Some(end) if !rest[..end].is_empty() && &rest[..end] != REDACTED => {
                count += 1;
                format!("{}{REDACTED}{}", &found["scheme"], &rest[end..])
            }
            _ => found[0].to_owned(),
        }
    });
    (count > 0).then(|| (replaced.into_owned(), count))
}

/// Where the `@` is that ends the user's part of what follows `scheme://`.
fn end_of_userinfo(rest: &str) -> Option<usize> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    // A password may have raw slashes and @ in it; what cannot be a port is one.
    let password = authority.split_once(':').map(|(_, after)| after);
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_password = !rest.starts_with('[') && password.is_some_and(|text| !is_port(text));
    let reach = if has_password { rest } else { authority };
    let ends = reach.match_indices('@').map(|(at, _)| at).chain(reach.match_indices("%40").map(|(at, _)| at));
    // `docker-pullable://image@sha256:…` has no user.
    ends.filter(|at| {
        let after = rest[*at..].trim_start_matches('@');
        !["sha256:", "sha384:", "sha512:"].iter().any(|digest| after.starts_with(digest))
    })
    .max()
}
