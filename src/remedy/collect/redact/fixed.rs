//! Secrets that are told by their own form, whatever stands around them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use regex::{Captures, Regex};

use super::REDACTED;

/// A form, with a group `keep` before the secret or without, and what of it is none.
struct Form {
    pattern: Regex,
    spares: fn(&str) -> bool,
}

static FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| {
    let never: fn(&str) -> bool = |_| false;
    [
        // JWT and JWE: parts of base64url of which the first is JSON. Cut off, its second part is enough.
        (r"\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)+", never),
        // keys of clouds, forges and services, by their fixed beginnings
        (
            concat!(
                r"\b(?:(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{10,}",
                r"|(?:gh[pousr]|github_pat|glpat|gldt|glrt|npm|dckr_pat|dop_v1|shpat|sk_live|sk_test|rk_live)[_-][A-Za-z0-9_-]{16,}",
                r"|(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}",
                r"|xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|hv[sbr]\.[A-Za-z0-9_-]{20,}",
                r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|pypi-[A-Za-z0-9_-]{32,}",
                r"|AGE-SECRET-KEY-[A-Z0-9]{20,}|[A-Za-z0-9_~.]{3}8Q~[A-Za-z0-9_~.-]{20,})",
            ),
            never,
        ),
        (r"(?P<keep>hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/)[A-Za-z0-9_/-]{8,}", never),
        // crypt(3), bcrypt, Argon2
        (r"\$(?:1|2[abxy]?|5|6|7|y|apr1|argon2id?|scrypt)\$[./A-Za-z0-9$=,+-]{20,}", never),
        // headers, to their end
        (
            r#"(?i)(?P<keep>\b(?:proxy-)?authorization\\*["']?[ \t]*[:=][ \t]*\[?\\*["']?)[^\s"'\\{}\[\]][^"'\r\n\]\\]*"#,
            |value| value.len() < 24 && value.trim().bytes().all(|byte| byte.is_ascii_alphabetic()),
        ),
        (r#"(?i)(?P<keep>\b(?:set-)?cookie2?\\*["']?[ \t]*[:=][ \t]*\[?\\*["']?)[^\s"'\\{}\[\]][^"'\r\n\]\\]*"#, never),
        (r"(?i)(?P<keep>\bbearer[ \t]+)[A-Za-z0-9+/=._~-]{8,}", is_a_word),
        (r"(?i)(?P<keep>\bbasic[ \t]+)[A-Za-z0-9+/_-]{6,}={0,2}", |value| {
            !decode(value).is_some_and(|decoded| decoded.contains(':'))
        }),
        // .netrc, and programs that take a password in their arguments
        (r"(?i)(?P<keep>\blogin\s+\S+\s+password\s+)\S+", never),
        (r"(?P<keep>\bsshpass\s+-p\s*)\S+", never),
        (r"(?P<keep>\bmysql[a-z]*\b[^|;\r\n]*?\s-p)[^\s|;]+", never),
        (r"(?P<keep>\bredis-cli\b[^|;\r\n]*?\s-a\s+)[^\s|;]+", never),
        (
            r#"(?P<keep>(?:^|[\s"'])(?:-u|--user|--proxy-user)(?:[ \t=]+|\\*["'],\s*)?\\*["']?[A-Za-z0-9_.@-]+:)[^\s"']+"#,
            |value| value.bytes().all(|byte| byte.is_ascii_digit()), // a uid and a gid
        ),
        // an Azure storage key: 64 bytes; an AWS secret key: 30
        (r"\b[A-Za-z0-9+/]{86}==", never),
        (r"\b[A-Za-z0-9+/]{40}\b", |value| !is_random(value)),
    ]
    .into_iter()
    .filter_map(|(pattern, spares)| Some(Form { pattern: Regex::new(pattern).ok()?, spares }))
    .collect()
});

pub(super) fn without_tokens(text: &str) -> Option<(String, usize)> {
    let mut count = 0;
    let mut text = Cow::Borrowed(text);
    for Form { pattern, spares } in FORMS.iter() {
        let replaced = pattern.replace_all(&text, |found: &Captures<'_>| {
            let keep = found.name("keep").map_or("", |kept| kept.as_str());
            let secret = &found[0][keep.len()..];
            if secret.starts_with(REDACTED) || spares(secret) {
                return found[0].to_owned();
            }
            count += 1;
            format!("{keep}{REDACTED}")
        });
        if let Cow::Owned(replaced) = replaced {
            text = Cow::Owned(replaced);
        }
    }
    (count > 0).then(|| (text.into_owned(), count))
}

/// `bearer authentication failed`
fn is_a_word(value: &str) -> bool {
    value.len() < 20 && value.trim_end_matches(['.', '-']).bytes().all(|byte| byte.is_ascii_lowercase())
}

/// As 30 random bytes are, and neither a path nor a digest.
fn is_random(value: &str) -> bool {
    let count = |is: fn(&u8) -> bool| value.bytes().filter(is).count();
    count(u8::is_ascii_uppercase) >= 5
        && count(u8::is_ascii_lowercase) >= 5
        && count(u8::is_ascii_digit) >= 1
        && count(|byte| *byte == b'/') <= 4
        && value.bytes().collect::<BTreeSet<u8>>().len() >= 20
}

static BLOB: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[A-Za-z0-9+/_-]{16,}={0,2}").ok());

/// Base64 of something in which `finds` finds secrets.
pub(super) fn without_encoded(text: &str, finds: impl Fn(&str) -> bool) -> Option<(String, usize)> {
    let mut count = 0;
    let replaced = BLOB.as_ref()?.replace_all(text, |found: &Captures<'_>| {
        if decode(&found[0]).is_some_and(|decoded| finds(&decoded)) {
            count += 1;
            return REDACTED.to_owned();
        }
        found[0].to_owned()
    });
    (count > 0).then(|| (replaced.into_owned(), count))
}

/// Text in base64, in either alphabet, whole or cut off at its end.
pub(super) fn decode(blob: &str) -> Option<String> {
    let blob = blob.trim_end_matches('=');
    let alphabet = if blob.contains(['-', '_']) { alphabet::URL_SAFE } else { alphabet::STANDARD };
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    // One character of a group of four is no byte.
    let whole = if blob.len() % 4 == 1 { &blob[..blob.len() - 1] } else { blob };
    let bytes = GeneralPurpose::new(&alphabet, config).decode(whole).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let is_text = |c: char| !c.is_control() || c.is_ascii_whitespace();
    text.chars().all(is_text).then_some(text)
}
