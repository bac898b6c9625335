//! FNV-1a with 64 bits, by which Alertmanager makes fingerprints (`prometheus/common/model`, `fnv.go`).

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

pub(crate) fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    #[test]
    fn published_vectors() {
        assert_eq!(super::hash(*b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(super::hash(*b"foobar"), 0x8594_4171_f739_67e8);
    }
}
