//! What stands before a server: TLS with certificates of a test's own making, or a proxy.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::http::lock;

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, in PEM.
    pub certificate: String,
}

/// A certificate and its key, in PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

#[expect(clippy::expect_used, reason = "without certificates no such test can run")]
impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// For a server of these names, or a client.
    pub fn issue(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// One whose certificate and key are files of somebody else; `name` is the only part of its name.
    pub fn of(name: &str, certificate: &str, key: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::from_pem(key).expect("a key");
        Self { issuer: Issuer::new(params, key), certificate: certificate.to_owned() }
    }

    /// A certificate of this key, which is PKCS #8 in PEM.
    pub fn certify(&self, name: &str, key: &str) -> String {
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let key = KeyPair::from_pem(key).expect("a key");
        params.signed_by(&key, &self.issuer).expect("a certificate").pem()
    }

    /// For a client, from now on and for so long.
    pub fn client(&self, name: &str, group: &str, valid_for: Duration) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + now;
        params.not_after = params.not_before + valid_for;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

#[expect(clippy::expect_used, reason = "without certificates no such test can run")]
impl Identity {
    /// As `openssl req -x509` makes them: of a server of these names, which says of itself that it is an authority. Its last
    /// day is in that year.
    pub fn self_signed(names: &[&str], until: i32) -> Self {
        Self::in_force(names, 1975, until)
    }

    /// The same from the first day of a year on.
    pub fn in_force(names: &[&str], from: i32, until: i32) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { certificate, key: key.serialize_pem() }
    }
}

/// The server's end of TLS; with `clients`, only for who has a certificate of that authority (PEM).
#[expect(clippy::expect_used, reason = "without certificates no such test can run")]
pub(crate) fn acceptor(identity: &Identity, clients: Option<&str>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM"))
                .expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
    let config = builder.with_single_cert(vec![certificate], key).expect("a certificate with its key");
    TlsAcceptor::from(Arc::new(config))
}

/// A port of 127.0.0.1 whose connections end at another server. It stops when dropped.
pub struct Front {
    address: SocketAddr,
    /// The heads of `CONNECT` requests, as they came.
    heads: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
enum Kind {
    Tls(TlsAcceptor),
    Proxy,
}

#[expect(clippy::expect_used, reason = "without a loopback port and certificates no such test can run")]
impl Front {
    /// TLS before the server at `url`; with `clients`, only for who has a certificate of that authority.
    pub fn tls(url: &str, identity: &Identity, clients: Option<&Authority>) -> Self {
        Self::start(url, Kind::Tls(acceptor(identity, clients.map(|clients| clients.certificate.as_str()))))
    }

    /// A proxy that knows `CONNECT`, and whatever host is asked for, it is the server at `url`.
    pub fn proxy(url: &str) -> Self {
        Self::start(url, Kind::Proxy)
    }

    fn start(url: &str, kind: Kind) -> Self {
        let target: SocketAddr = url
            .split('/')
            .nth(2)
            .and_then(|authority| authority.parse().ok())
            .expect("a URL with an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
        listener.set_nonblocking(true).expect("a non-blocking socket");
        let address = listener.local_addr().expect("the address of the socket");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (stop, stopped) = oneshot::channel::<()>();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, target, kind, seen) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { address, heads, stop: Some(stop), thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn heads(&self) -> Vec<String> {
        lock(&self.heads).clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, kind: Kind, heads: Arc<Mutex<Vec<String>>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (kind, heads) = (kind.clone(), Arc::clone(&heads));
        // An error is a connection that ended early: somebody's doing at either end.
        tokio::spawn(async move {
            let _ = carry(stream, target, kind, &heads).await;
        });
    }
}

async fn carry(
    mut stream: TcpStream,
    target: SocketAddr,
    kind: Kind,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    match kind {
        Kind::Tls(acceptor) => {
            let mut stream = acceptor.accept(stream).await?;
            copy_bidirectional(&mut stream, &mut TcpStream::connect(target).await?).await?;
        }
        Kind::Proxy => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            lock(heads).push(String::from_utf8_lossy(&head).into_owned());
            if head.starts_with(b"CONNECT ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                copy_bidirectional(&mut stream, &mut TcpStream::connect(target).await?).await?;
            } else {
                let mut server = TcpStream::connect(target).await?;
                server.write_all(&head).await?;
                copy_bidirectional(&mut stream, &mut server).await?;
            }
        }
    }
    Ok(())
}
