//! rustls' configuration for a source: ring, TLS 1.2 or 1.3, the machine's authorities unless others are given.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::ExposeSecret;

use super::http_config::LoadedTls;

/// An error says what is wrong with which part, not what is in it.
pub(super) fn client_config(tls: &LoadedTls) -> Result<ClientConfig, String> {
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
        builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerifier(provider)))
    } else if let Some(ca) = &tls.ca {
        builder.with_root_certificates(roots(ca.expose_secret())?)
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
    let Some((cert, key)) = &tls.identity else { return Ok(builder.with_no_client_auth()) };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(cert.expose_secret())
        .collect::<Result<_, _>>()
        .map_err(|_| "tls_config: the client certificate is not PEM")?;
    if chain.is_empty() {
        return Err("tls_config: there is no certificate in cert_file".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret())
        .map_err(|_| "tls_config: the client's key is not an unencrypted key in PEM")?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        // rustls says here only which check failed.
        format!("tls_config: the client certificate and its key cannot be used: {error}")
    })
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "tls_config: the certificate authorities are not PEM")?;
        roots
            .add(certificate)
            .map_err(|error| format!("tls_config: a certificate authority is none: {error}"))?;
    }
    if roots.is_empty() { Err("tls_config: there is no certificate in ca_file".into()) } else { Ok(roots) }
}

/// `insecure_skip_verify`: any certificate will do, but the handshake must be by its owner.
#[derive(Debug)]
struct NoVerifier(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerifier {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
