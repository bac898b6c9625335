//! One request to a source: time limit, retries, redirects, and what an error says.

use std::marker::PhantomData;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures::TryStreamExt;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, DeserializeSeed};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::connection::Client;
use super::said::{LOOKED_AT, Said, is_more_than};
use crate::core::source::{Failure, FailureReason};
use crate::error::{Error, causes, root_cause};
use crate::json::{self, ReadError};

/// 10,000 alerts are 14 MB: more than this is no list of alerts.
const MAX_ANSWER: u64 = 64 << 20;
/// What a change is answered with is one line.
const MAX_RECEIPT: usize = 64 << 10;
/// What an error says is waited for so long.
const LISTENS: Duration = Duration::from_secs(2);
const RETRIES: usize = 2;
/// As many as Go follows.
const REDIRECTS: usize = 10;

/// One member during one round: its requests go in order, over one connection.
pub(super) struct Requests<'a> {
    pub(super) client: &'a Client,
    /// As it is shown.
    pub(super) name: &'a str,
    /// Without credentials.
    pub(super) base: Url,
    /// `Authorization` and others that are for this host alone.
    pub(super) headers: HeaderMap,
    pub(super) secrets: &'a [SecretString],
    pub(super) follows_redirects: bool,
    /// When the member must be done, with all of its requests.
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
    /// What it is said to be, for hints.
    pub(super) api: &'static str,
}

/// What came back.
pub(super) struct Answered<T> {
    pub(super) value: T,
    /// When it was given, by the server's clock.
    pub(super) at: Timestamp,
    /// Who gave it, if a redirect led there.
    pub(super) by: Option<String>,
}

/// What is asked for, and where redirects have led.
struct Asked<'u> {
    url: &'u Url,
    target: Url,
}

impl<'u> Asked<'u> {
    fn new(url: &'u Url) -> Self {
        Self { url, target: url.clone() }
    }

    fn is_redirected(&self) -> bool {
        self.target != *self.url
    }
}

/// Why one request failed.
pub(super) struct RequestError {
    pub(super) status: Option<StatusCode>,
    pub(super) failure: Failure,
    may_pass: bool,
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        error.failure
    }
}

impl Requests<'_> {
    /// The URL of a resource of the API; a path prefix is kept.
    pub(super) fn url(&self, resource: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}/{resource}", self.base.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    pub(super) async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        url: &Url,
    ) -> Result<Answered<T>, RequestError> {
        self.get_by(url, PhantomData).await
    }

    /// The same by a seed, which can choose what it keeps.
    pub(super) async fn get_by<S, T>(&self, url: &Url, seed: S) -> Result<Answered<T>, RequestError>
    where
        S: for<'de> DeserializeSeed<'de, Value = T> + Clone + Send + 'static,
        T: Send + 'static,
    {
        (|| self.get_once(url, seed.clone()))
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(300))
                    .with_max_times(RETRIES)
                    .with_jitter(),
            )
            .when(|error| error.may_pass && Instant::now() < self.deadline)
            .await
    }

    async fn get_once<S, T>(&self, url: &Url, seed: S) -> Result<Answered<T>, RequestError>
    where
        S: for<'de> DeserializeSeed<'de, Value = T> + Send + 'static,
        T: Send + 'static,
    {
        let asked = &mut Asked::new(url);
        let response = self.answer(&Method::GET, asked, &Bytes::new()).await?;
        let at = response
            .headers()
            .get(header::DATE)
            .and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok())
            .map_or_else(Timestamp::now, |date| date.timestamp());
        // None was asked for, so nothing here unpacks one, and what is small on the wire stays small.
        if let Some(encoding) = encoding(&response) {
            let what = format!(
                "cannot use {}: the answer is compressed ({encoding:?}), which was not asked for",
                self.shown(asked)
            );
            return Err(self.error(asked, FailureReason::Parse, what));
        }
        let content_type = content_type(&response);
        let mut head = Vec::new();
        let body = response.into_body().into_data_stream().inspect_ok(|chunk| look_at(chunk, &mut head));
        // The limit is for the whole answer: one that drips would satisfy any limit for its parts.
        let read = json::read_by(seed, body, MAX_ANSWER, Duration::ZERO);
        let read = timeout_at(self.deadline, read).await;
        let value = read
            .map_err(|_| {
                let seconds = self.timeout.as_secs();
                let what = format!(
                    "cannot use {}: the answer was not complete within {seconds}s",
                    self.shown(asked)
                );
                self.error(asked, FailureReason::Timeout, what)
            })?
            .map_err(|error| self.error_of_answer(asked, &error, &head, &content_type))?;
        Ok(Answered { value, at, by: asked.is_redirected().then(|| self.shown(asked)) })
    }

    /// Changes something, and returns what is said of it. Asked once: a second time might change it twice.
    pub(super) async fn change(
        &self,
        method: Method,
        url: &Url,
        body: Vec<u8>,
    ) -> Result<Bytes, RequestError> {
        let asked = &mut Asked::new(url);
        let response = self.answer(&method, asked, &body.into()).await?;
        let body = Limited::new(response.into_body(), MAX_RECEIPT).collect();
        let body = timeout_at(self.deadline, body).await.map_err(|_| self.late(asked))?;
        let body = body.map_err(|error| {
            let what = format!("cannot use {}: {}", self.shown(asked), root_cause(&*error));
            self.error(asked, FailureReason::Http, what)
        })?;
        Ok(body.to_bytes())
    }

    /// An answer that is no error.
    async fn answer(
        &self,
        method: &Method,
        asked: &mut Asked<'_>,
        body: &Bytes,
    ) -> Result<Response<Incoming>, RequestError> {
        tracing::debug!("{method} {}", self.shown(asked));
        let sent = timeout_at(self.deadline, self.send(method, asked, body)).await;
        let response = sent.map_err(|_| self.late(asked))??;
        if !response.status().is_success() {
            return Err(self.error_of_status(asked, response).await);
        }
        Ok(response)
    }

    fn late(&self, asked: &Asked<'_>) -> RequestError {
        let what = format!("{} did not answer within {}s", self.shown(asked), self.timeout.as_secs());
        self.error(asked, FailureReason::Timeout, what)
    }

    /// Follows redirects of a GET. What proves who we are goes to the host that was configured and to no other.
    async fn send(
        &self,
        method: &Method,
        asked: &mut Asked<'_>,
        body: &Bytes,
    ) -> Result<Response<Incoming>, RequestError> {
        for _ in 0..=REDIRECTS {
            let uri: Uri = asked.target.as_str().parse().map_err(|_| {
                let what = format!("{} is a URL that HTTP cannot carry", self.shown(asked));
                self.error(asked, FailureReason::Http, what)
            })?;
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            if self.is_own(asked) {
                *request.headers_mut() = self.headers.clone();
            } else if self.client.is_dialed() {
                let what = format!(
                    "{} redirects to {}, which the port-forward does not reach",
                    self.shown(&Asked::new(asked.url)),
                    shown(&asked.target)
                );
                return Err(self.error(asked, FailureReason::Http, what));
            }
            let headers = request.headers_mut();
            let agent = concat!("kubectl-sciuro/", env!("CARGO_PKG_VERSION"));
            headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            if !body.is_empty() {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            if let Some((name, value)) = self.client.proxy_headers(&uri) {
                headers.insert(name, value);
            }
            *request.uri_mut() = uri;
            let sent = self.client.hyper.request(request).await;
            let response = sent.map_err(|error| self.error_of_request(asked, &error))?;
            if !(response.status().is_redirection() && self.follows_redirects && *method == Method::GET) {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION);
            let Some(next) = location.and_then(|to| asked.target.join(to.to_str().ok()?).ok()) else {
                return Ok(response);
            };
            if !matches!(next.scheme(), "http" | "https") {
                return Ok(response);
            }
            asked.target = next;
            // A password in a redirect is not one that we were given.
            let _ = (asked.target.set_username(""), asked.target.set_password(None));
            tracing::debug!("redirected to {}", shown(&asked.target));
        }
        let what = format!("{} redirects more than {REDIRECTS} times", self.shown(&Asked::new(asked.url)));
        Err(self.error(asked, FailureReason::Http, what))
    }

    /// The namespace and the name of the Service that it belongs to.
    fn service(&self) -> Option<(&str, &str)> {
        let (scheme, rest) = self.name.split_once("://")?;
        let (namespace, rest) = rest.split_once('/').filter(|_| scheme.starts_with("svc"))?;
        Some((namespace, rest.split_once('/').map_or(rest, |(name, _)| name)))
    }

    /// Whether the host that was configured is the one that is spoken to.
    fn is_own(&self, asked: &Asked<'_>) -> bool {
        asked.target.origin() == self.base.origin()
    }

    /// The URL that was spoken to, as an error shows it, after the member's name if that says more.
    fn shown(&self, asked: &Asked<'_>) -> String {
        let url = shown(asked.url);
        let has_name = url.starts_with(self.name.trim_end_matches('/'));
        let own = if has_name { url } else { format!("{} ({url})", self.name) };
        if asked.is_redirected() { format!("{} (redirected from {own})", shown(&asked.target)) } else { own }
    }

    fn error(&self, asked: &Asked<'_>, reason: FailureReason, what: String) -> RequestError {
        let flags = if asked.is_redirected() { "-vL" } else { "-v" };
        let curl = (!self.client.is_dialed()).then(|| format!("curl {flags} {}", shown(asked.url)));
        RequestError {
            status: None,
            failure: Failure { reason, is_misconfigured: false, what, hints: curl.into_iter().collect() },
            may_pass: false,
        }
    }

    fn error_of_request(&self, asked: &Asked<'_>, error: &hyper_util::client::legacy::Error) -> RequestError {
        // Whoever opened the connection may have explained in full why it could not.
        let explained = causes(error).find_map(|cause| cause.downcast_ref::<Error>());
        let why = explained.map_or_else(|| root_cause(error).to_string(), |error| error.why().to_owned());
        let what = format!("cannot reach {}: {}", self.shown(asked), self.redacted(&why));
        let mut failed = self.error(asked, FailureReason::Http, what);
        if let Some(explained) = explained {
            failed.failure.hints = explained.hints().to_vec();
        }
        // TLS itself failed: asking again will not help.
        let is_tls = causes(error).any(<dyn std::error::Error>::is::<rustls::Error>);
        // Never sent: in TLS 1.3 a server refuses a client's certificate after its handshake, and may hang up before we ask.
        // The next try can hear why.
        let was_not_sent = causes(error)
            .any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled));
        failed.may_pass = (error.is_connect() || was_not_sent) && !is_tls;
        if is_tls {
            failed.failure.is_misconfigured = true;
            let hint = if let Some((namespace, name)) = self.service() {
                format!(
                    "does it speak TLS, with a certificate for {name}.{namespace}.svc? --http-config FILE with \
                     `tls_config: {{ca_file: CA, server_name: NAME}}` names another and its authority"
                )
            } else {
                let url = shown(&asked.target);
                format!("does it speak TLS, with a certificate for this name? curl -v {url}")
            };
            failed.failure.hints = vec![hint];
        }
        failed
    }

    async fn error_of_status(&self, asked: &Asked<'_>, response: Response<Incoming>) -> RequestError {
        let status = response.status();
        let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
        let location = location.and_then(|to| asked.target.join(to).ok()).map(|to| shown(&to));
        let said = match self.said(response).await {
            _ if status.is_redirection() => String::new(), // where to is what counts
            Said::Text(text) if is_more_than(status, &text) => format!(": {text}"),
            Said::Page(title) if !title.is_empty() && is_more_than(status, &title) => {
                format!(", an HTML page: {title}")
            }
            _ => String::new(),
        };
        let what = format!("{} answered {status}{said}", self.shown(asked));
        let mut failed = self.error(asked, FailureReason::Http, what);
        failed.status = Some(status);
        failed.may_pass = status == StatusCode::SERVICE_UNAVAILABLE;
        let failure = &mut failed.failure;
        failure.is_misconfigured =
            status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS || status.is_redirection();
        match status.as_u16() {
            300..=399 => {
                failure.hints = location.map(|to| format!("it redirects to {to}")).into_iter().collect();
            }
            401 | 403 => failure.hints = self.credentials(asked),
            404 if self.is_own(asked) => {
                failure.hints = vec![match self.api {
                    "Prometheus" => "is a path prefix missing, as in http://HOST:9090/prometheus?".into(),
                    _ => "is a path prefix missing, as in http://HOST:9093/alertmanager?".into(),
                }];
            }
            // As every server in Go says it.
            400 if failure.what.contains("HTTP request to an HTTPS server") => {
                failure.hints = vec![match self.service() {
                    Some((namespace, name)) => format!("it speaks TLS: svc+https://{namespace}/{name}"),
                    None => "it speaks TLS: https://".into(),
                }];
            }
            _ => {}
        }
        failed
    }

    /// What to do about a server that wants to know who asks.
    fn credentials(&self, asked: &Asked<'_>) -> Vec<String> {
        let own = "a name and a password are written https://NAME:PASSWORD@HOST; a token goes into a file for --http-config";
        let [to, other] = [&self.base, &asked.target].map(|url| url.origin().ascii_serialization());
        let not_sent = (!self.is_own(asked))
            .then(|| format!("credentials are sent to {to} only, not to {other}, to which it redirects"));
        not_sent.into_iter().chain([own.to_owned()]).collect()
    }

    /// What came with an error, if it comes soon.
    async fn said(&self, response: Response<Incoming>) -> Said {
        if encoding(&response).is_some() {
            return Said::Nothing;
        }
        let content_type = content_type(&response);
        let mut body = response.into_body();
        let mut head = Vec::new();
        let read = async {
            while head.len() < LOOKED_AT
                && let Some(Ok(frame)) = body.frame().await
            {
                frame.data_ref().into_iter().for_each(|chunk| look_at(chunk, &mut head));
            }
        };
        // What has come by then is shown.
        let _ = timeout_at(self.deadline.min(Instant::now() + LISTENS), read).await;
        Said::read(&head, &content_type, |text| self.redacted(text))
    }

    fn error_of_answer(
        &self,
        asked: &Asked<'_>,
        error: &ReadError,
        head: &[u8],
        content_type: &str,
    ) -> RequestError {
        let reason = match error {
            ReadError::Json(_) => FailureReason::Parse,
            ReadError::TooLarge(_) | ReadError::TooMuch(_) => FailureReason::TooLarge,
            ReadError::Stalled(_) => FailureReason::Timeout,
            ReadError::Transport(_) => FailureReason::Http,
        };
        let url = self.shown(asked);
        let mut failed = self.error(asked, reason, format!("cannot use {url}: {error}"));
        if reason != FailureReason::Parse {
            return failed;
        }
        let failure = &mut failed.failure;
        failure.is_misconfigured = true;
        failure.hints = vec![match self.api {
            "Prometheus" => "is this the URL of a Prometheus, or of what has its API v1?".into(),
            _ => "is this the URL of an Alertmanager with API v2 (0.16 or later)?".into(),
        }];
        if let Said::Page(title) = Said::read(head, content_type, |text| self.redacted(text)) {
            let title = if title.is_empty() { title } else { format!(" ({title:?})") };
            failure.what = format!("cannot use {url}: the answer is an HTML page{title}, not JSON");
            // Where people log in.
            failure.hints.extend(self.credentials(asked));
        }
        failed
    }

    /// What a server said, without the secrets that it may repeat.
    pub(super) fn redacted(&self, text: &str) -> String {
        let secrets =
            self.secrets.iter().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "<secret>"))
    }
}

/// The URL as it is shown: without a login, the query and the fragment.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither fails for a URL that has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

fn encoding(response: &Response<Incoming>) -> Option<&HeaderValue> {
    response.headers().get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity")
}

fn content_type(response: &Response<Incoming>) -> String {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn look_at(chunk: &Bytes, head: &mut Vec<u8>) {
    let room = LOOKED_AT.saturating_sub(head.len()).min(chunk.len());
    head.extend_from_slice(&chunk[..room]);
}
