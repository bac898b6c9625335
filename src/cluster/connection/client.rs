//! One client, made with one set of credentials. It is put together here and not by kube, which would run a credential plugin
//! three times and knows nothing of the verifier and the certificates that `tls` does.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ClientBuilder, ConfigExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tower_http::decompression::DecompressionLayer;
use tower_service::Service;

use super::choice::Choice;
use super::credentials::Credentials;
use crate::error::root_cause;
use crate::tls::client_config;

const AGENT: &str = concat!("kubectl-sciuro/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// An error says what is wrong with the credentials, the proxy or a name.
pub(super) fn build(choice: &Choice, credentials: &Credentials) -> Result<kube::Client, String> {
    let tls = Arc::new(client_config(&credentials.tls)?);
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.enforce_http(false); // the layer above does TLS
    let Some(proxy) = &choice.proxy else { return over(tcp, tls, choice, credentials) };
    if proxy.uri().scheme_str() == Some("socks5") {
        let mut socks = SocksV5::new(proxy.uri().clone(), tcp);
        if let Some((name, password)) = proxy.raw_auth() {
            socks = socks.with_auth(name.to_owned(), password.to_owned());
        }
        return over(socks, tls, choice, credentials);
    }
    // A proxy of https:// is believed as the server is.
    let to_proxy = HttpsConnector::from((tcp, Arc::clone(&tls)));
    let mut tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
    if let Some(login) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(login.clone());
    }
    over(tunnel, tls, choice, credentials)
}

/// The layers above a connection.
fn over<C>(
    connector: C,
    tls: Arc<ClientConfig>,
    choice: &Choice,
    credentials: &Credentials,
) -> Result<kube::Client, String>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let names: Arc<dyn ResolveServerName + Send + Sync> = match &credentials.tls.server_name {
        Some(name) => {
            let name = ServerName::try_from(name.clone())
                .map_err(|_| "tls-server-name is neither a host name nor an IP address")?;
            Arc::new(FixedServerNameResolver::new(name))
        }
        None => Arc::new(DefaultServerNameResolver::default()),
    };
    let mut config = Config::new(choice.address.url.clone());
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    config.headers.extend(credentials.authorization.clone().map(|value| (AUTHORIZATION, value)));
    let user = &choice.user;
    if !user.impersonate.is_empty() {
        config.auth_info.impersonate = Some(user.impersonate.clone());
        config.auth_info.impersonate_uid = Some(user.impersonate_uid.clone()).filter(|uid| !uid.is_empty());
        config.auth_info.impersonate_groups = Some(user.impersonate_groups.clone());
        config.auth_info.impersonate_user_extra = Some(user.impersonate_extra.clone().into_iter().collect());
    }
    let headers = config.extra_headers_layer().map_err(|error| root_cause(&error).to_string())?;
    let hyper: HyperClient<_, Body> =
        HyperClient::builder(TokioExecutor::new()).build(HttpsConnector::new(connector, tls, false, names));
    // Evictions and patches need to know about a 429 at once: nothing is asked again down here.
    Ok(ClientBuilder::new(hyper, "default")
        .with_layer(&config.base_uri_layer())
        .with_layer(&DecompressionLayer::new().gzip(!choice.cluster.disable_compression))
        .with_layer(&headers)
        .build())
}
