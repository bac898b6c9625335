//! `--http-config FILE`, in the format of Prometheus' `http_config` (`prometheus/common/config/http_config.go`).
//!
//! The text is read by a pure function; the files that it names are read anew for each round, by `load`.

mod load;
mod yaml;

use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::ProtocolVersion;
use secrecy::SecretString;
use url::Url;

pub(super) use load::{Loaded, basic, read_configuration};
pub(crate) use yaml::Mistake;
use yaml::{Found, Table};

/// How a source is spoken to.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpConfig {
    pub(super) auth: Option<Auth>,
    pub(super) tls: Tls,
    pub(super) proxy: Proxy,
    pub(super) stays: bool,
    pub(super) headers: Vec<(HeaderName, Vec<Given>)>,
}

impl HttpConfig {
    pub(super) fn follows_redirects(&self) -> bool {
        !self.stays
    }
}

/// Something that is written in the file itself or in one that it names.
#[derive(Debug, Clone)]
pub(super) enum Given {
    Here(SecretString),
    File(PathBuf),
}

#[derive(Debug, Clone)]
pub(super) enum Auth {
    Basic { username: Option<Given>, password: Option<Given> },
    Header { scheme: String, credentials: Option<Given> },
}

#[derive(Debug, Clone, Default)]
pub(super) struct Tls {
    pub(super) ca: Option<Given>,
    pub(super) cert: Option<Given>,
    pub(super) key: Option<Given>,
    pub(super) server_name: Option<String>,
    pub(super) insecure_skip_verify: bool,
    pub(super) only: Option<ProtocolVersion>,
}

#[derive(Debug, Clone, Default)]
pub(super) enum Proxy {
    /// What the environment says, as for the cluster: nothing was said about proxies, or `proxy_from_environment`.
    #[default]
    Environment,
    /// Only if `proxy_from_environment: false` says so.
    None,
    Url {
        /// It may hold a password.
        url: SecretString,
        no_proxy: String,
        connect_headers: Vec<(HeaderName, Vec<SecretString>)>,
    },
}

const KEYS: [&str; 11] = [
    "basic_auth",
    "authorization",
    "oauth2",
    "tls_config",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "follow_redirects",
    "enable_http2",
    "http_headers",
];

/// What Prometheus does not let a configuration set (`prometheus/common/config/headers.go`), and what would break the
/// request.
const RESERVED: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-prometheus-remote-write-version",
    "x-prometheus-scrape-timeout-seconds",
];

/// Reads a configuration; relative file names are relative to `directory`. Touches no file.
pub(crate) fn parse(text: &str, directory: &Path) -> Result<HttpConfig, Mistake> {
    let mut root = Table::parse(text, &KEYS)?;
    root.one_of(&["basic_auth", "authorization", "oauth2"])?;
    if root.keys().iter().any(|key| key == "oauth2") {
        return Err(Mistake::new(root.line_of("oauth2"), "oauth2 is not supported").hint(
            "let a helper such as oauth2-proxy or vault-agent keep a token in a file, and name that under \
             authorization: {credentials_file: FILE}",
        ));
    }
    let auth = match basic_auth(&mut root, directory)? {
        Some(auth) => Some(auth),
        None => authorization(&mut root, directory)?,
    };
    let config = HttpConfig {
        auth,
        tls: tls(&mut root, directory)?,
        proxy: proxy(&mut root)?,
        stays: root.boolean("follow_redirects")?.is_some_and(|follow| !follow.value),
        headers: headers(&mut root, directory)?,
    };
    // Accepted and without effect: a member's requests go in order over one connection, which HTTP/1.1 does as well.
    root.boolean("enable_http2")?;
    Ok(config)
}

/// The value of `key` or the file that `key_file` names; both together are an error.
fn given(table: &mut Table, key: &str, directory: &Path) -> Result<Option<Found<Given>>, Mistake> {
    let file_key = format!("{key}_file");
    table.one_of(&[key, &file_key])?;
    if let Some(Found { line, value }) = table.text(key)? {
        return Ok((!value.is_empty()).then(|| Found { line, value: Given::Here(value.into()) }));
    }
    let file = table.text(&file_key)?.filter(|file| !file.value.is_empty());
    Ok(file.map(|Found { line, value }| Found { line, value: Given::File(directory.join(value)) }))
}

fn basic_auth(root: &mut Table, directory: &Path) -> Result<Option<Auth>, Mistake> {
    let keys = ["username", "username_file", "password", "password_file"];
    let Some(mut table) = root.table("basic_auth", &keys)? else { return Ok(None) };
    let username = given(&mut table, "username", directory)?.map(|found| found.value);
    let password = given(&mut table, "password", directory)?.map(|found| found.value);
    if let Some(Given::Here(name)) = &username
        && secrecy::ExposeSecret::expose_secret(name).contains(':')
    {
        return Err(Mistake::new(table.line, "basic_auth.username: a user name has no colon"));
    }
    Ok(Some(Auth::Basic { username, password }))
}

fn authorization(root: &mut Table, directory: &Path) -> Result<Option<Auth>, Mistake> {
    let keys = ["type", "credentials", "credentials_file"];
    let Some(mut table) = root.table("authorization", &keys)? else { return Ok(None) };
    let scheme = table.text("type")?;
    let line = scheme.as_ref().map_or(table.line, |scheme| scheme.line);
    let scheme = scheme.map(|scheme| scheme.value.trim().to_owned()).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("basic") {
        return Err(Mistake::new(line, "authorization.type: Basic has a section of its own")
            .hint("basic_auth: {username: NAME, password_file: FILE}"));
    }
    if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte)) {
        return Err(Mistake::new(line, "authorization.type: expected one word, such as Bearer"));
    }
    let credentials = given(&mut table, "credentials", directory)?.map(|found| found.value);
    let scheme = if scheme.is_empty() { "Bearer".to_owned() } else { scheme };
    Ok(Some(Auth::Header { scheme, credentials }))
}

fn tls(root: &mut Table, directory: &Path) -> Result<Tls, Mistake> {
    let keys = [
        "ca",
        "ca_file",
        "cert",
        "cert_file",
        "key",
        "key_file",
        "server_name",
        "insecure_skip_verify",
        "min_version",
        "max_version",
    ];
    let Some(mut table) = root.table("tls_config", &keys)? else { return Ok(Tls::default()) };
    let ca = given(&mut table, "ca", directory)?.map(|found| found.value);
    let cert = given(&mut table, "cert", directory)?;
    let key = given(&mut table, "key", directory)?;
    match (&cert, &key) {
        (Some(cert), None) => {
            return Err(
                Mistake::new(cert.line, "tls_config: a certificate needs its key").hint("add key_file: FILE")
            );
        }
        (None, Some(key)) => {
            return Err(
                Mistake::new(key.line, "tls_config: a key needs its certificate").hint("add cert_file: FILE")
            );
        }
        _ => {}
    }
    let server_name = table.text("server_name")?.filter(|name| !name.value.is_empty());
    if let Some(name) = &server_name
        && rustls::pki_types::ServerName::try_from(name.value.as_str()).is_err()
    {
        return Err(Mistake::new(name.line, "tls_config.server_name: expected a host name or an IP address"));
    }
    let insecure = table.boolean("insecure_skip_verify")?.is_some_and(|insecure| insecure.value);
    let line = table.line_of("max_version");
    // The default is Prometheus' too: 1.2 at least.
    let min = version(&mut table, "min_version")?.unwrap_or(12);
    let max = version(&mut table, "max_version")?.unwrap_or(13);
    if max < 12 {
        return Err(Mistake::new(line, "tls_config.max_version: TLS 1.0 and 1.1 are not supported")
            .hint("allowed are: TLS12, TLS13"));
    }
    if min > max {
        return Err(Mistake::new(line, "tls_config: min_version is above max_version"));
    }
    Ok(Tls {
        ca,
        cert: cert.map(|cert| cert.value),
        key: key.map(|key| key.value),
        server_name: server_name.map(|name| name.value),
        insecure_skip_verify: insecure,
        only: match (min, max) {
            (13, _) => Some(ProtocolVersion::TLSv1_3),
            (_, 12) => Some(ProtocolVersion::TLSv1_2),
            _ => None,
        },
    })
}

fn version(table: &mut Table, key: &str) -> Result<Option<u8>, Mistake> {
    let Some(found) = table.text(key)? else { return Ok(None) };
    let version = match found.value.as_str() {
        "" => return Ok(None),
        "TLS10" => 10,
        "TLS11" => 11,
        "TLS12" => 12,
        "TLS13" => 13,
        _ => {
            return Err(Mistake::new(found.line, format!("tls_config.{key}: no version of TLS"))
                .hint("allowed are: TLS10, TLS11, TLS12, TLS13"));
        }
    };
    Ok(Some(version))
}

fn proxy(root: &mut Table) -> Result<Proxy, Mistake> {
    let url = root.text("proxy_url")?.filter(|url| !url.value.is_empty());
    let no_proxy = root.text("no_proxy")?.filter(|list| !list.value.is_empty());
    let environment = root.boolean("proxy_from_environment")?;
    let connect_line = root.line_of("proxy_connect_header");
    let connect = root.table("proxy_connect_header", &[])?;
    let from_environment = environment.as_ref().is_some_and(|environment| environment.value);
    if let (Some(environment), true) = (&environment, from_environment)
        && (url.is_some() || no_proxy.is_some())
    {
        return Err(Mistake::new(environment.line, "proxy_from_environment excludes proxy_url and no_proxy")
            .hint("leave one of them out"));
    }
    let mut connect_headers = Vec::new();
    if let Some(mut table) = connect {
        if url.is_none() {
            return Err(Mistake::new(connect_line, "proxy_connect_header needs a proxy_url")
                .hint("add proxy_url: http://PROXY:3128"));
        }
        for key in table.keys() {
            let line = table.line_of(&key);
            let values: Vec<SecretString> = table.texts(&key)?.into_iter().map(Into::into).collect();
            for value in &values {
                header_value(line, value)?;
            }
            connect_headers.push((header_name(line, &key)?, values));
        }
    }
    let Some(Found { line, value: url }) = url else {
        if let Some(no_proxy) = no_proxy {
            return Err(Mistake::new(no_proxy.line, "no_proxy needs a proxy_url")
                .hint("add proxy_url: http://PROXY:3128"));
        }
        return Ok(if environment.is_some() && !from_environment { Proxy::None } else { Proxy::Environment });
    };
    let valid = Url::parse(&url).is_ok_and(|parsed| {
        matches!(parsed.scheme(), "http" | "https" | "socks5" | "socks5h") && parsed.has_host()
    });
    // What connects to it reads it with another parser: both must understand it.
    if !valid || url.parse::<http::Uri>().is_err() {
        return Err(Mistake::new(line, "proxy_url is not the URL of a proxy")
            .hint("it is written http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"));
    }
    let no_proxy = no_proxy.map(|list| list.value).unwrap_or_default();
    Ok(Proxy::Url { url: url.into(), no_proxy, connect_headers })
}

fn headers(root: &mut Table, directory: &Path) -> Result<Vec<(HeaderName, Vec<Given>)>, Mistake> {
    let Some(mut table) = root.table("http_headers", &[])? else { return Ok(Vec::new()) };
    let mut headers = Vec::new();
    for key in table.keys() {
        let line = table.line_of(&key);
        let name = header_name(line, &key)?;
        if RESERVED.contains(&name.as_str()) {
            return Err(Mistake::new(line, format!("http_headers: {name} cannot be set here"))
                .hint("basic_auth and authorization set the Authorization header"));
        }
        let Some(mut values) = table.table(&key, &["values", "secrets", "files"])? else { continue };
        let mut all = Vec::new();
        for key in ["values", "secrets"] {
            for value in values.texts(key)? {
                let value = SecretString::from(value);
                header_value(line, &value)?;
                all.push(Given::Here(value));
            }
        }
        all.extend(values.texts("files")?.into_iter().map(|file| Given::File(directory.join(file))));
        headers.push((name, all));
    }
    Ok(headers)
}

fn header_name(line: u64, name: &str) -> Result<HeaderName, Mistake> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Mistake::new(line, "this is no name of an HTTP header"))
}

fn header_value(line: u64, value: &SecretString) -> Result<HeaderValue, Mistake> {
    sensitive(value).ok_or_else(|| Mistake::new(line, "a header's value is one line of text"))
}

/// `None` if it has a line break or another control character.
fn sensitive(value: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(secrecy::ExposeSecret::expose_secret(value)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Proxy {
    pub(super) fn connect_headers(&self) -> HeaderMap {
        let Self::Url { connect_headers, .. } = self else { return HeaderMap::new() };
        connect_headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
            .filter_map(|(name, value)| Some((name.clone(), sensitive(value)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
