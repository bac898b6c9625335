//! The two spellings of time on the wire.

use jiff::Timestamp;

/// `metav1.Time`: whole seconds, UTC.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `metav1.MicroTime`: six digits, UTC.
pub(crate) fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Now, as `metav1.Time`.
pub(crate) fn now() -> String {
    seconds(Timestamp::now())
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_spellings() {
        let time = jiff::Timestamp::new(1_584_537_478, 120_000_000).unwrap();
        assert_eq!(super::seconds(time), "2020-03-18T13:17:58Z");
        assert_eq!(super::micros(time), "2020-03-18T13:17:58.120000Z");
    }
}
