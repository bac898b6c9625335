//! A firing alert, as any source gives it.

use std::fmt;

use jiff::Timestamp;

pub use super::labels::Labels;

/// The annotations that say what an alert is about, the shortest first. Rules written before summaries were usual have only
/// the others.
pub const TEXTS: [&str; 3] = ["summary", "message", "description"];

/// One alert, firing unless it says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Labels,
    /// When it began to fire; sources that do not say leave it out.
    pub starts_at: Option<Timestamp>,
    /// When its source last heard of it; sources that do not say leave it out.
    pub updated_at: Option<Timestamp>,
    /// A silence applies, on any member of the source's group.
    pub silenced: bool,
    /// Another alert inhibits it.
    pub inhibited: bool,
    /// Its expression holds, but not for long enough yet: only a Prometheus lists such alerts.
    pub pending: bool,
}

impl Alert {
    /// The label's value; an empty one is absent, as in Prometheus.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).filter(|value| !value.is_empty())
    }

    /// The annotation's value; a blank one is absent.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// What it says: the first of [`TEXTS`] that is not blank.
    pub fn text(&self) -> Option<&str> {
        TEXTS.iter().find_map(|name| self.annotation(name))
    }

    /// Alertmanager's identity of an alert: FNV-1a 64 over the sorted labels, `name 0xFF value 0xFF`
    /// (`prometheus/common/model/signature.go`, `labelSetToFingerprint`). Computed, never read: it is the
    /// same for every source.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fnv1a::default();
        for (name, value) in self.labels.iter() {
            hash.write(name.as_bytes());
            hash.write(&[0xFF]);
            hash.write(value.as_bytes());
            hash.write(&[0xFF]);
        }
        hash.finish()
    }

    /// How grave the label `severity` calls it; graver sorts first.
    pub fn severity(&self) -> Severity {
        match self.label("severity") {
            Some("critical") => Severity::Critical,
            Some("warning") => Severity::Warning,
            Some("info") => Severity::Info,
            _ => Severity::Other,
        }
    }
}

/// The usual values of the label `severity`, gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Critical,
    Warning,
    Info,
    Other,
}

/// How urgent an alert is: 0 is the most urgent, 999 the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u16);

impl Priority {
    /// What an alert without a priority gets, as in upstream Sciuro.
    pub const DEFAULT: Priority = Priority(9);
    const MAX: u16 = 999;

    pub fn number(self) -> u16 {
        self.0
    }

    /// Reads `5`, `+5`, `P5`, `p5`, with spaces around it. `None` is malformed.
    pub fn parse(text: &str) -> Option<Priority> {
        let digits = text.trim();
        let digits = digits.strip_prefix(['P', 'p']).unwrap_or(digits);
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        match digits.trim_start_matches('0') {
            "" => Some(Priority(0)),
            significant => significant.parse().ok().filter(|number| *number <= Self::MAX).map(Priority),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{}", self.0)
    }
}

/// FNV-1a, 64 bits: stable over versions and machines, unlike the standard library's hasher.
#[derive(Debug)]
pub(crate) struct Fnv1a(u64);

impl Default for Fnv1a {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv1a {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u64::from(*byte);
            self.0 = self.0.wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_51_priorities() {
        for (text, expected) in [
            ("P3", Some(3)),
            (" 7 ", Some(7)),
            ("+4", Some(4)),
            ("-1", None),
            ("1.5", None),
            ("99999", None),
            ("p12", Some(12)),
            ("P+8", Some(8)),
            ("0", Some(0)),
            ("000", Some(0)),
            ("0000000007", Some(7)),
            ("999", Some(999)),
            ("1000", None),
            ("", None),
            ("P", None),
            ("blah", None),
            ("PP3", None),
            ("٣", None),
        ] {
            assert_eq!(Priority::parse(text), expected.map(Priority), "{text:?}");
        }
    }

    /// The value that a real Alertmanager 0.31.1 gives for these labels.
    #[test]
    fn fingerprint_is_alertmanagers() {
        let alert =
            Alert { labels: [("alertname", "NodeOnFire"), ("node", "w1")].into(), ..Alert::default() };
        assert_eq!(format!("{:016x}", alert.fingerprint()), "8c5fd022ce8c93cd");
    }

    #[test]
    fn empty_labels_and_blank_annotations_are_absent() {
        let mut alert = Alert::default();
        alert.labels.insert("node", "");
        alert.annotations.insert("summary", "  ");
        assert_eq!(alert.label("node"), None);
        assert_eq!(alert.annotation("summary"), None);
    }
}
