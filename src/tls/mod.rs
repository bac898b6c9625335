//! rustls' configuration for the API server and for sources: ring, TLS 1.2 or 1.3, the machine's authorities unless others
//! are given.

mod certificate;
mod key;
mod verifier;

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretSlice};

use self::verifier::{AnyCertificate, GivenAuthorities};

/// What a TLS connection is made with. Certificates and keys are PEM.
#[derive(Default, Clone)]
pub(crate) struct Tls {
    pub(crate) ca: Option<SecretSlice<u8>>,
    /// A client's certificate, with what leads to its authority, and its key.
    pub(crate) identity: Option<(SecretSlice<u8>, SecretSlice<u8>)>,
    pub(crate) server_name: Option<String>,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) only: Option<ProtocolVersion>,
}

/// A client is kept for as long as this holds.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        let ca = |tls: &Self| tls.ca.as_ref().map(|ca| ca.expose_secret().to_vec());
        let identity = |one: &Self, two: &Self| match (&one.identity, &two.identity) {
            (Some((certificate, key)), Some((other_certificate, other_key))) => {
                certificate.expose_secret() == other_certificate.expose_secret()
                    && key.expose_secret() == other_key.expose_secret()
            }
            (one, two) => one.is_none() && two.is_none(),
        };
        ca(self) == ca(other)
            && identity(self, other)
            && self.server_name == other.server_name
            && self.insecure_skip_verify == other.insecure_skip_verify
            && self.only == other.only
    }
}

impl Tls {
    /// When the client's certificate ends.
    pub(crate) fn valid_until(&self) -> Option<jiff::Timestamp> {
        let (certificate, _) = self.identity.as_ref()?;
        let leaf = chain(certificate.expose_secret()).next()?;
        Some(certificate::Facts::of(&leaf)?.not_after)
    }
}

/// An error says what is wrong with which part, not what is in it.
pub(crate) fn client_config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] = match tls.only {
        Some(ProtocolVersion::TLSv1_2) => &[&TLS12],
        Some(ProtocolVersion::TLSv1_3) => &[&TLS13],
        _ => &[&TLS12, &TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate))
    } else if let Some(ca) = &tls.ca {
        let verifier = GivenAuthorities::new(chain(ca.expose_secret()).collect(), provider)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        match builder.clone().with_platform_verifier() {
            Ok(builder) => builder,
            // A machine without authorities: plain HTTP works, and TLS fails for the right reason.
            Err(error) => {
                tracing::debug!("no certificate authorities: {error}");
                builder.with_root_certificates(RootCertStore::empty())
            }
        }
    };
    let Some((certificate, key)) = &tls.identity else { return Ok(builder.with_no_client_auth()) };
    let identity = identity(certificate.expose_secret(), key.expose_secret())?;
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))))
}

/// The certificates of a PEM file. As Go does it, what is none is passed over.
fn chain(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

/// Not rustls' own function, which reads the certificate as if it had to judge it: one of X.509 version 1 is for the server
/// to judge.
fn identity(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = chain(certificate).collect();
    let leaf = chain.first().ok_or("there is no certificate in the client's certificate file")?;
    let key = key::read(key)?;
    let belongs = match (key.public_key(), certificate::Facts::of(leaf)) {
        (Some(public), Some(facts)) => facts.public_key == &*public,
        (_, None) => return Err("the client's certificate cannot be read".to_owned()),
        (None, _) => true,
    };
    if belongs {
        Ok(CertifiedKey::new(chain, key))
    } else {
        Err("the client's certificate is not for this key".to_owned())
    }
}

#[cfg(test)]
mod tests;
