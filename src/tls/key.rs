//! A client's private key.

use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;

use super::certificate::rsa_bits;

/// Object identifiers as they stand in a key (RFC 5480 §2.1.1.1).
const P521: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

const USABLE: &str = "ECDSA P-256 or P-384, Ed25519, and RSA of 2048 to 8192 bits can be used";

/// The first private key in this PEM. An error says what to do.
pub(super) fn read(pem: &[u8]) -> Result<Arc<dyn SigningKey>, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        if String::from_utf8_lossy(pem).contains("ENCRYPTED") {
            "the client's key is encrypted: only a key without a passphrase can be used"
        } else {
            "the client's key is not a private key in PEM"
        }
    })?;
    any_supported_type(&key).map_err(|_| match unusable(&key) {
        Some(what) => format!("the client's key is {what}: {USABLE}; make a new key and have it certified"),
        None => format!("the client's key cannot be read: {USABLE}"),
    })
}

/// What kind of a key it is, if it is one that ring does not know.
fn unusable(key: &PrivateKeyDer<'_>) -> Option<String> {
    let der = key.secret_der();
    if der.windows(P521.len()).any(|bytes| bytes == P521) {
        return Some("ECDSA P-521".to_owned());
    }
    // In PKCS #8 it is wrapped.
    let bits =
        (0..der.len()).filter(|&start| der[start] == 0x30).find_map(|start| rsa_bits(&der[start..]))?;
    Some(format!("RSA of {bits} bits"))
}
