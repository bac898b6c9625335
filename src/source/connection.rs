//! Connections to a source: direct, through a proxy, or through a dialer that is handed in (a port-forward).
//!
//! It is hyper, as in kube, and not reqwest: reqwest cannot speak over a stream that somebody else opened, and a
//! listener of our own on loopback would let every user of the machine through to the source. So there is one HTTP
//! stack, and TLS, proxies and dialers are three layers of one connector.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::PROXY_AUTHORIZATION;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Uri};
use http_body_util::Full;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use super::http_config::{Loaded, Proxy};
use crate::tls::{Tls, client_config};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A stream of bytes, both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Opens a connection to one member. The same `Arc` in the next round keeps the connection; another one replaces it.
pub type Dial = Arc<dyn Fn() -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> + Send + Sync>;

/// One member's connection, kept from round to round.
pub(super) struct Client {
    pub(super) hyper: HyperClient<HttpsConnector<Connector>, Full<Bytes>>,
    proxy: Arc<Matcher>,
    /// What it was made of: it is replaced when that changes.
    dial: Option<Dial>,
    tls: Tls,
    proxy_parts: ProxyParts,
}

impl Client {
    pub(super) fn new(dial: Option<Dial>, loaded: &Loaded) -> Result<Self, String> {
        let tls_config = Arc::new(client_config(&loaded.tls).map_err(|why| format!("tls_config: {why}"))?);
        // TLS to a proxy is checked as usual, whatever the source's own settings are.
        let proxy_tls = if loaded.tls == Tls::default() {
            Arc::clone(&tls_config)
        } else {
            Arc::new(client_config(&Tls::default())?)
        };
        let proxy = Arc::new(match &loaded.proxy {
            _ if dial.is_some() => Matcher::builder().build(),
            Proxy::None => Matcher::builder().build(),
            Proxy::Environment => Matcher::from_env(),
            Proxy::Url { url, no_proxy, .. } => {
                Matcher::builder().all(url.expose_secret()).no(no_proxy.clone()).build()
            }
        });
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false); // the layer above does TLS
        let connector = Connector {
            dial: dial.clone(),
            to_proxy: HttpsConnector::from((tcp.clone(), proxy_tls)),
            tcp,
            proxy: Arc::clone(&proxy),
            connect_headers: loaded.proxy.connect_headers(),
        };
        let names: Arc<dyn ResolveServerName + Send + Sync> = match &loaded.tls.server_name {
            Some(name) => {
                let name = ServerName::try_from(name.clone())
                    .map_err(|_| "tls_config.server_name: expected a host name or an IP address")?;
                Arc::new(FixedServerNameResolver::new(name))
            }
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        Ok(Self {
            hyper: HyperClient::builder(TokioExecutor::new())
                .pool_max_idle_per_host(1)
                .build(HttpsConnector::new(connector, tls_config, false, names)),
            proxy,
            dial,
            tls: loaded.tls.clone(),
            proxy_parts: ProxyParts::of(&loaded.proxy),
        })
    }

    /// Whether it is what `new` would make of these.
    pub(super) fn is_of(&self, dial: Option<&Dial>, loaded: &Loaded) -> bool {
        let same_dial = match (&self.dial, dial) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_dial && self.tls == loaded.tls && self.proxy_parts == ProxyParts::of(&loaded.proxy)
    }

    pub(super) fn is_dialed(&self) -> bool {
        self.dial.is_some()
    }

    /// What a proxy wants to see in each request that it passes on; in a tunnel it sees none.
    pub(super) fn proxy_headers(&self, to: &Uri) -> Option<(http::HeaderName, HeaderValue)> {
        let intercept = self.proxy.intercept(to).filter(|_| to.scheme() == Some(&Scheme::HTTP))?;
        Some((PROXY_AUTHORIZATION, intercept.basic_auth()?.clone()))
    }
}

/// The proxy's settings, to be compared.
#[derive(PartialEq)]
enum ProxyParts {
    None,
    Environment,
    Url(Vec<u8>, String, HeaderMap),
}

impl ProxyParts {
    fn of(proxy: &Proxy) -> Self {
        match proxy {
            Proxy::None => Self::None,
            Proxy::Environment => Self::Environment,
            Proxy::Url { url, no_proxy, .. } => {
                Self::Url(url.expose_secret().as_bytes().to_vec(), no_proxy.clone(), proxy.connect_headers())
            }
        }
    }
}

/// Opens a stream to where a URI says, by way of the dialer or the proxy if there is one.
#[derive(Clone)]
pub(super) struct Connector {
    dial: Option<Dial>,
    tcp: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    proxy: Arc<Matcher>,
    connect_headers: HeaderMap,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(())) // nor do the connectors below ever wait
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connector = self.clone();
        async move {
            let link = if let Some(dial) = &connector.dial {
                let timeout = || io::Error::new(io::ErrorKind::TimedOut, "the port-forward did not open");
                let stream = tokio::time::timeout(CONNECT_TIMEOUT, dial()).await.map_err(|_| timeout())??;
                Link { stream, is_proxied: false }
            } else if let Some(proxy) = connector.proxy.intercept(&to) {
                let what = proxy.uri().authority().map(ToString::to_string).unwrap_or_default();
                connector.through(&proxy, to).await.map_err(|error| {
                    let why = crate::error::root_cause(&*error).to_string();
                    io::Error::other(format!("through the proxy {what}: {why}"))
                })?
            } else {
                let mut tcp = connector.tcp;
                Link { stream: Box::new(tcp.call(to).await?.into_inner()), is_proxied: false }
            };
            Ok(TokioIo::new(link))
        }
        .boxed()
    }
}

impl Connector {
    async fn through(&self, proxy: &Intercept, to: Uri) -> Result<Link, BoxError> {
        let is_socks = proxy.uri().scheme_str().is_some_and(|scheme| scheme.starts_with("socks"));
        if is_socks {
            let mut socks = SocksV5::new(proxy.uri().clone(), self.tcp.clone())
                .local_dns(proxy.uri().scheme_str() == Some("socks5"));
            if let Some((name, password)) = proxy.raw_auth() {
                socks = socks.with_auth(name.to_owned(), password.to_owned());
            }
            let stream = socks.call(to).await?;
            return Ok(Link { stream: Box::new(TokioIo::new(stream)), is_proxied: false });
        }
        if to.scheme() == Some(&Scheme::HTTPS) {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone())
                .with_headers(self.connect_headers.clone());
            if let Some(value) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(value.clone());
            }
            let stream = tunnel.call(to).await?;
            return Ok(Link { stream: Box::new(TokioIo::new(stream)), is_proxied: false });
        }
        let stream = self.to_proxy.clone().call(proxy.uri().clone()).await?;
        Ok(Link { stream: Box::new(TokioIo::new(stream)), is_proxied: true })
    }
}

/// A connection, and whether a proxy reads what goes over it.
pub(super) struct Link {
    stream: Box<dyn ByteStream>,
    is_proxied: bool,
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
