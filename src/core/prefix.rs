//! The prefix that says which conditions are ours.

use std::fmt;
use std::str::FromStr;

/// The types that a prefix must leave alone: the kubelet's, the cloud's, and our own `SciuroRemediation`.
const RESERVED: [&str; 6] =
    ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable", "SciuroRemediation"];

const MAX_LENGTH: usize = 63;

/// A validated prefix of condition types; a condition is *owned* if its type starts with the prefix and is
/// longer than it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    pub fn owns(&self, condition_type: &str) -> bool {
        condition_type.len() > self.0.len() && condition_type.starts_with(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    /// Upstream Sciuro's.
    fn default() -> Self {
        Self("AlertManager_".into())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut characters = text.chars();
        let well_formed = characters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && characters.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
            && (3..=MAX_LENGTH).contains(&text.len());
        if !well_formed {
            return Err(format!(
                "a prefix is 3 to {MAX_LENGTH} letters, digits, `_`, `.` or `-`, and begins with a letter"
            ));
        }
        if let Some(reserved) = RESERVED.iter().find(|reserved| reserved.starts_with(text)) {
            return Err(format!("it would own the condition {reserved}, which belongs to others"));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_72_prefixes_that_would_own_foreign_conditions_are_refused() {
        for text in ["", "R", "Ready", "Sci", "Rea", "SciuroRemediation", "1ab", "a b", "ab\n", "äbc"] {
            assert!(text.parse::<Prefix>().is_err(), "{text:?}");
        }
        for text in ["AlertManager_", "old", "Readyness", "SciuroAlert_", "a.b-"] {
            assert!(text.parse::<Prefix>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn row_71_the_prefix_alone_is_not_owned() {
        let prefix = Prefix::default();
        assert!(!prefix.owns("AlertManager_"));
        assert!(!prefix.owns("Ready"));
        assert!(prefix.owns("AlertManager_X"));
    }
}
