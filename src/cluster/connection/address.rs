//! Where the API server is, and the proxy in between.

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use secrecy::SecretString;
use url::Url;

/// The server's address, without what is to be shown to nobody.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) url: Uri,
    /// A name and a password that stood in the URL.
    pub(super) login: Option<(String, SecretString)>,
}

impl Address {
    /// client-go's rule (`rest/url_utils.go`): without a scheme it is a host with a port, over plain HTTP. An authority or a
    /// certificate does not change that: `clientcmd` looks at them only where the URL says TLS.
    pub(super) fn parse(server: &str) -> Result<Self, String> {
        let is_url = server.split_once("://").is_some_and(|(scheme, rest)| {
            !scheme.is_empty() && !rest.is_empty() && !rest.starts_with(['/', '?', '#'])
        });
        let text = if is_url { server.to_owned() } else { format!("http://{server}") };
        let wrong = || "the server is not a URL or HOST:PORT".to_owned();
        // What a browser would put right.
        if text.contains(|character: char| {
            character.is_whitespace() || character.is_control() || character == '\\'
        }) {
            return Err(wrong());
        }
        let url = Url::parse(&text).map_err(|_| wrong())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the server's URL begins with {}://, and not with https://", url.scheme()));
        }
        if !is_url && url.path() != "/" {
            return Err(wrong());
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let decoded =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let has_login = !url.username().is_empty() || url.password().is_some();
        Ok(Self {
            url: format!("{}://{host}{port}{}", url.scheme(), url.path()).parse().map_err(|_| wrong())?,
            login: has_login
                .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default()).into())),
        })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }
}

/// The proxy on the way to `url`: the one that was configured, else what the environment names, unless `NO_PROXY` exempts the
/// server. Not left to kube 5.0.0, which looks for the proxy's own host in `NO_PROXY`.
pub(super) fn proxy(configured: &str, url: &Uri) -> Result<Option<Intercept>, String> {
    let variables = if url.scheme_str() == Some("https") {
        ["HTTPS_PROXY", "https_proxy"]
    } else {
        ["HTTP_PROXY", "http_proxy"]
    };
    let of_environment = || {
        variables
            .into_iter()
            .find_map(|name| Some((name, std::env::var(name).ok().filter(|text| !text.is_empty())?)))
    };
    let (name, text) = match of_environment() {
        _ if !configured.is_empty() => ("proxy-url", configured.to_owned()),
        Some((name, text)) if text.contains("://") => (name, text),
        Some((name, text)) => (name, format!("http://{text}")),
        None => return Ok(None),
    };
    // The text is not repeated: it may hold a password.
    let proxy = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https" | "socks5"));
    if proxy.is_none() {
        return Err(format!("{name} is not the URL of a proxy: http://, https:// or socks5://"));
    }
    let matcher =
        if configured.is_empty() { Matcher::from_env() } else { Matcher::builder().all(text).build() };
    Ok(matcher.intercept(url))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn t15_e6_a_server_is_a_url_or_a_host_and_a_port() {
        for (server, url) in [
            ("https://a.example", "https://a.example/"),
            ("https://a.example:6443/", "https://a.example:6443/"),
            ("HTTPS://A.example/p/q/?x=1#y", "https://a.example/p/q/"),
            ("127.0.0.1:6443", "http://127.0.0.1:6443/"),
            ("localhost:8001/", "http://localhost:8001/"),
            ("[::1]:6443", "http://[::1]:6443/"),
            ("a.example", "http://a.example/"),
        ] {
            assert_eq!(Address::parse(server).unwrap().url.to_string(), url, "{server}");
        }
        for server in [
            "",
            "https://",
            "https:///a.example",
            "https:a.example",
            "a.example:6443/prefix",
            "a b",
            "https://a.example\n",
            "https://a\\b",
            "https://a:99999",
            "https://[::1",
            "ftp://a.example",
            "://a.example",
        ] {
            assert!(Address::parse(server).is_err(), "{server:?}");
        }
    }

    #[test]
    fn t15_e2_a_login_is_no_part_of_what_is_shown() {
        for server in ["https://joe:s3cr3t%2Fx@a.example", "joe:s3cr3t%2Fx@a.example"] {
            let address = Address::parse(server).unwrap();
            assert!(address.url.to_string().ends_with("://a.example/"), "{address:?}");
            let (name, password) = address.login.unwrap();
            assert_eq!((name.as_str(), password.expose_secret()), ("joe", "s3cr3t/x"));
        }
        let refused = Address::parse("https://joe:s3cr3t@a b").unwrap_err();
        assert!(!refused.contains("s3cr3t"), "{refused}");
    }
}
