//! One request to a source: time limit, retries, redirects, and what an error says.

use std::marker::PhantomData;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
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
use crate::core::source::{Failure, FailureReason};
use crate::error::{Error, causes, root_cause};
use crate::json::{self, ReadError};

/// 10,000 alerts are 14 MB: more than this is no list of alerts.
const MAX_ANSWER: u64 = 64 << 20;
/// What a change is answered with is one line.
const MAX_RECEIPT: usize = 64 << 10;
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

    /// The answer, and when it was given by the server's clock.
    pub(super) async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        url: &Url,
    ) -> Result<(Timestamp, T), RequestError> {
        self.get_by(url, PhantomData).await
    }

    /// The same by a seed, which can choose what it keeps.
    pub(super) async fn get_by<S, T>(&self, url: &Url, seed: S) -> Result<(Timestamp, T), RequestError>
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

    async fn get_once<S, T>(&self, url: &Url, seed: S) -> Result<(Timestamp, T), RequestError>
    where
        S: for<'de> DeserializeSeed<'de, Value = T> + Send + 'static,
        T: Send + 'static,
    {
        let asked = self.shown(url);
        tracing::debug!("GET {asked}");
        let seconds = self.timeout.as_secs();
        let late = |what: String| self.error(url, FailureReason::Timeout, what);
        let response = timeout_at(self.deadline, self.send(&Method::GET, url, &Bytes::new()))
            .await
            .map_err(|_| late(format!("{asked} did not answer within {seconds}s")))??;
        if !response.status().is_success() {
            return Err(self.error_of_status(url, response).await);
        }
        let answered_at = response
            .headers()
            .get(header::DATE)
            .and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok())
            .map_or_else(Timestamp::now, |date| date.timestamp());
        // None was asked for, so nothing here unpacks one, and what is small on the wire stays small.
        if let Some(encoding) = response.headers().get(header::CONTENT_ENCODING)
            && encoding != "identity"
        {
            let what = format!(
                "cannot use {asked}: the answer is compressed ({encoding:?}), which was not asked for"
            );
            return Err(self.error(url, FailureReason::Parse, what));
        }
        let body = response.into_body().into_data_stream();
        // The limit is for the whole answer: one that drips would satisfy any limit for its parts.
        let read = json::read_by(seed, body, MAX_ANSWER, Duration::ZERO);
        let value = timeout_at(self.deadline, read)
            .await
            .map_err(|_| late(format!("cannot use {asked}: the answer was not complete within {seconds}s")))?
            .map_err(|error| self.error_of_answer(url, &error))?;
        Ok((answered_at, value))
    }

    /// Changes something, and returns what is said of it. Asked once: a second time might change it twice.
    pub(super) async fn change(
        &self,
        method: Method,
        url: &Url,
        body: Vec<u8>,
    ) -> Result<Bytes, RequestError> {
        let asked = self.shown(url);
        tracing::debug!("{method} {asked}");
        let late = |_| {
            let what = format!("{asked} did not answer within {}s", self.timeout.as_secs());
            self.error(url, FailureReason::Timeout, what)
        };
        let response =
            timeout_at(self.deadline, self.send(&method, url, &body.into())).await.map_err(late)??;
        if !response.status().is_success() {
            return Err(self.error_of_status(url, response).await);
        }
        let body = Limited::new(response.into_body(), MAX_RECEIPT).collect();
        let body = timeout_at(self.deadline, body).await.map_err(late)?;
        let body = body.map_err(|error| {
            self.error(url, FailureReason::Http, format!("cannot use {asked}: {}", root_cause(&*error)))
        })?;
        Ok(body.to_bytes())
    }

    /// Follows redirects of a GET. What proves who we are goes to the host that was configured and to no other.
    async fn send(
        &self,
        method: &Method,
        url: &Url,
        body: &Bytes,
    ) -> Result<Response<Incoming>, RequestError> {
        let mut target = url.clone();
        for _ in 0..=REDIRECTS {
            let uri: Uri = target.as_str().parse().map_err(|_| {
                let what = format!("{} is a URL that HTTP cannot carry", self.shown(&target));
                self.error(url, FailureReason::Http, what)
            })?;
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            if target.origin() == self.base.origin() {
                *request.headers_mut() = self.headers.clone();
            } else if self.client.is_dialed() {
                let what = format!(
                    "{} redirects to {}, which the port-forward does not reach",
                    self.shown(url),
                    shown(&target)
                );
                return Err(self.error(url, FailureReason::Http, what));
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
            let response = sent.map_err(|error| self.error_of_request(&target, &error))?;
            if !(response.status().is_redirection() && self.follows_redirects && *method == Method::GET) {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION);
            let Some(next) = location.and_then(|to| target.join(to.to_str().ok()?).ok()) else {
                return Ok(response);
            };
            if !matches!(next.scheme(), "http" | "https") {
                return Ok(response);
            }
            target = next;
            // A password in a redirect is not one that we were given.
            let _ = (target.set_username(""), target.set_password(None));
            tracing::debug!("redirected to {}", shown(&target));
        }
        let what = format!("{} redirects more than {REDIRECTS} times", self.shown(url));
        Err(self.error(url, FailureReason::Http, what))
    }

    /// The URL as an error shows it, after the member's name if that says more.
    fn shown(&self, url: &Url) -> String {
        let url = shown(url);
        if url.starts_with(self.name.trim_end_matches('/')) { url } else { format!("{} ({url})", self.name) }
    }

    fn error(&self, url: &Url, reason: FailureReason, what: String) -> RequestError {
        let hints =
            if self.client.is_dialed() { Vec::new() } else { vec![format!("curl -v {}", shown(url))] };
        RequestError {
            status: None,
            failure: Failure { reason, is_misconfigured: false, what, hints },
            may_pass: false,
        }
    }

    fn error_of_request(&self, url: &Url, error: &hyper_util::client::legacy::Error) -> RequestError {
        let asked = self.shown(url);
        // Whoever opened the connection may have explained in full why it could not.
        let explained = causes(error).find_map(|cause| cause.downcast_ref::<Error>());
        let why = explained.map_or_else(|| root_cause(error).to_string(), |error| error.why().to_owned());
        let what = format!("cannot reach {asked}: {}", self.redacted(&why));
        let mut failed = self.error(url, FailureReason::Http, what);
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
            failed.failure.hints =
                vec![format!("does it speak TLS, with a certificate for this name? curl -v {}", shown(url))];
        }
        failed
    }

    async fn error_of_status(&self, url: &Url, response: Response<Incoming>) -> RequestError {
        let status = response.status();
        let asked = self.shown(url);
        let mut failed = self.error(url, FailureReason::Http, format!("{asked} answered {status}"));
        failed.status = Some(status);
        failed.may_pass = status == StatusCode::SERVICE_UNAVAILABLE;
        let failure = &mut failed.failure;
        failure.is_misconfigured =
            status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS || status.is_redirection();
        match status.as_u16() {
            300..400 => {
                let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
                let to = location.and_then(|to| url.join(to).ok()).map(|to| shown(&to));
                failure.hints = to.map(|to| format!("it redirects to {to}")).into_iter().collect();
            }
            401 | 403 => {
                failure.hints = vec![
                    "a name and a password are written https://NAME:PASSWORD@HOST; a token goes into a file for --http-config".into(),
                ];
            }
            404 => {
                failure.hints = vec![match self.api {
                    "Prometheus" => "is a path prefix missing, as in http://HOST:9090/prometheus?".into(),
                    _ => "is a path prefix missing, as in http://HOST:9093/alertmanager?".into(),
                }];
            }
            400 | 422 => {
                let text = timeout_at(self.deadline, response.into_body().frame()).await;
                if let Ok(Some(Ok(frame))) = text
                    && let Some(text) = frame.data_ref()
                {
                    let text = self.redacted(String::from_utf8_lossy(text).trim());
                    failure.hints = vec![format!("it says: {}", text.chars().take(300).collect::<String>())];
                }
            }
            _ => {}
        }
        failed
    }

    fn error_of_answer(&self, url: &Url, error: &ReadError) -> RequestError {
        let asked = self.shown(url);
        let reason = match error {
            ReadError::Json(_) => FailureReason::Parse,
            ReadError::TooLarge(_) => FailureReason::TooLarge,
            ReadError::Stalled(_) => FailureReason::Timeout,
            ReadError::Transport(_) => FailureReason::Http,
        };
        let mut failed = self.error(url, reason, format!("cannot use {asked}: {error}"));
        if reason == FailureReason::Parse {
            failed.failure.is_misconfigured = true;
            failed.failure.hints = vec![match self.api {
                "Prometheus" => "is this the URL of a Prometheus, or of what has its API v1?".into(),
                _ => "is this the URL of an Alertmanager with API v2 (0.16 or later)?".into(),
            }];
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

/// The URL as it is shown: without a password and without the query.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    // Neither fails for a URL that has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}
