//! Names that are made of other names and have to fit somewhere.

use sha2::{Digest, Sha256};

const HASH: usize = 16;

/// `name`, if it fits; else its beginning and a hash of `whole`, in so many bytes: of two names no part is the same.
pub fn fitting(name: String, whole: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name;
    }
    let hash = Sha256::digest(whole.as_bytes()).iter().fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    let room = longest.saturating_sub(HASH + 1);
    let end = (0..=room).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}-{hash:0HASH$x}", name[..end].trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f9_d10_what_is_too_long_is_cut_and_told_apart_by_a_hash() {
        assert_eq!(fitting("w1".into(), "w1", 20), "w1");
        let long = |last: char| {
            let name = format!("{}.{last}", "a".repeat(251));
            fitting(name.clone(), &name, 100)
        };
        assert_eq!(long('x').len(), 100);
        assert_ne!(long('x'), long('y'));
        assert!(fitting("ä".repeat(40), "ä", 30).len() <= 30, "between letters");
    }
}
