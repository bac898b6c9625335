//! One way to the API server: every request is retried, timed and explained here.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{Stream, StreamExt, stream};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;

use super::connection::Connection;
use super::error::{ApiError, Class};
use super::server_time::ServerTime;
use super::tasks::Tasks;
use crate::cli::KubernetesArgs;
use crate::error::{Result, root_cause};
use crate::json;

/// A server may ask for more patience than a person has.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10);
const TRIES: usize = 3;

/// A webhook whose pod has just been evicted is back within this time, if it comes back.
const WEBHOOK_BACK_WITHIN: Duration = Duration::from_secs(60);
const WEBHOOK_PAUSE: Duration = Duration::from_secs(1);

/// No list of nodes is this long; an answer that is comes from something else.
const MAX_ANSWER: u64 = 2 << 30;

/// Why there is no answer, and how long the server wants to be left alone.
pub(super) type Failure = (ApiError, Option<Duration>);

type WarningHandler = Box<dyn Fn(&str) + Send + Sync>;

/// A connection to one Kubernetes API server.
pub struct Cluster {
    connection: Connection,
    timeout: Duration,
    server_time: ServerTime,
    /// Leases that are being taken and released.
    pub(super) tasks: Tasks,
    seen_warnings: Mutex<BTreeSet<String>>,
    told_webhooks: Mutex<BTreeSet<String>>,
    on_warning: WarningHandler,
}

impl Cluster {
    /// Reads the kubeconfig and the flags; connects at the first request. `on_warning` gets each distinct
    /// `Warning:` header once.
    pub async fn connect(
        args: &KubernetesArgs,
        on_warning: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self> {
        Ok(Self {
            connection: Box::pin(Connection::open(args)).await?,
            timeout: args.request_timeout.unwrap_or_default().unsigned_abs(),
            server_time: ServerTime::default(),
            tasks: Tasks::default(),
            seen_warnings: Mutex::default(),
            told_webhooks: Mutex::default(),
            on_warning: Box::new(on_warning),
        })
    }

    /// Whether this is a pod of the cluster, which reaches other pods directly. A kubeconfig, even in a pod, may be of
    /// another cluster.
    pub fn is_in_cluster(&self) -> bool {
        self.connection.is_inside
    }

    pub fn url(&self) -> &str {
        &self.connection.url
    }

    /// Whether the server accepted our credentials when it was asked last, and there were any.
    pub fn is_known(&self) -> bool {
        self.connection.is_known()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn timed_out(&self) -> String {
        format!("{} did not answer within {}s (--request-timeout)", self.url(), self.timeout.as_secs())
    }

    /// How many distinct warnings the server has sent.
    pub fn warnings(&self) -> usize {
        self.seen_warnings.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The server's version, such as `v1.36.3`.
    pub async fn server_version(&self) -> Result<String, ApiError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Info {
            git_version: String,
        }
        let request = Request::get("/version")
            .body(Vec::new())
            .map_err(|error| ApiError::Unexpected(error.to_string()))?;
        self.call::<Info>(request).await.map(|info| info.git_version)
    }

    /// Sends and reads a small answer whole.
    pub(super) async fn call<T>(&self, request: Request<Vec<u8>>) -> Result<T, ApiError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let response = self.send(request, Duration::ZERO).await?;
        Ok(json::read(chunks(response), MAX_ANSWER, self.timeout).await?)
    }

    /// The same for a change without which a run fails: an admission webhook that is away is waited for.
    pub(super) async fn call_patiently<T>(&self, request: Request<Vec<u8>>) -> Result<T, ApiError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let response = self.send(request, WEBHOOK_BACK_WITHIN).await?;
        Ok(json::read(chunks(response), MAX_ANSWER, self.timeout).await?)
    }

    /// Sends and lets the caller read the events of a watch as they come.
    pub(super) async fn stream(
        &self,
        mut request: Request<Vec<u8>>,
    ) -> Result<impl Stream<Item = Result<bytes::Bytes, kube::Error>> + use<>, ApiError> {
        // Kubernetes 1.37 gzips each event of a watch on its own, which no decoder of ours reads.
        request.headers_mut().insert(header::ACCEPT_ENCODING, http::HeaderValue::from_static("identity"));
        Ok(chunks(self.send(request, Duration::ZERO).await?))
    }

    /// The same of an answer of this kind, such as `text/plain`: what is called otherwise is something else's answer.
    pub(super) async fn stream_of(
        &self,
        kind: &str,
        mut request: Request<Vec<u8>>,
    ) -> Result<impl Stream<Item = Result<bytes::Bytes, kube::Error>> + use<>, ApiError> {
        request.headers_mut().insert(header::ACCEPT_ENCODING, http::HeaderValue::from_static("identity"));
        let response = self.send(request, Duration::ZERO).await?;
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match content_type.unwrap_or(kind) {
            called if called.starts_with(kind) => Ok(chunks(response)),
            other => Err(ApiError::Unexpected(format!("the answer is {other} and not {kind}"))),
        }
    }

    /// Sends a change whose answer nobody needs.
    pub(super) async fn send_and_forget(&self, request: Request<Vec<u8>>) -> Result<(), ApiError> {
        let response = self.send(request, Duration::ZERO).await?;
        discard(response, self.timeout).await;
        Ok(())
    }

    /// The same, and an admission webhook that is away is waited for.
    pub(super) async fn send_patiently(&self, request: Request<Vec<u8>>) -> Result<(), ApiError> {
        let response = self.send(request, WEBHOOK_BACK_WITHIN).await?;
        discard(response, self.timeout).await;
        Ok(())
    }

    /// Sends, up to three times: 429 and 5xx as the server's Retry-After says, otherwise with jitter. Every
    /// request of ours can be repeated: patches carry full entries, Leases their resourceVersion. While an admission
    /// webhook cannot be called it is sent again for as long as `patience` says.
    async fn send(&self, request: Request<Vec<u8>>, patience: Duration) -> Result<Response<Body>, ApiError> {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_jitter()
            .with_max_times(TRIES - 1)
            .build();
        let begun = Instant::now();
        loop {
            let (error, retry_after) = match self.try_once(request.clone()).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let class = error.class();
            if let Class::WebhookDown(name) = &class {
                self.tell(
                    &format!("admission webhook {name:?} cannot be called, trying again: {error}"),
                    name,
                );
            }
            let waits = matches!(class, Class::WebhookDown(_)) && begun.elapsed() < patience;
            let pause = pauses.next().or_else(|| waits.then_some(WEBHOOK_PAUSE));
            match pause.filter(|_| error.may_pass()) {
                Some(pause) => {
                    tracing::debug!(%error, "retrying {} {}", request.method(), request.uri());
                    tokio::time::sleep(retry_after.unwrap_or(pause).min(LONGEST_RETRY_AFTER)).await;
                }
                None => return Err(error),
            }
        }
    }

    /// Sends once: for who decides itself what an answer means, as for evictions, where 429 is a disruption budget's.
    pub(super) async fn try_once(&self, request: Request<Vec<u8>>) -> Result<Response<Body>, Failure> {
        // What a renewal takes is on the heap: it is a part of all that asks the server anything.
        Box::pin(self.as_known(|client| self.answer(client, request.clone()))).await
    }

    /// Sends as who we are. If the server does not know that one, once more as who we are by then: what proves it may end
    /// earlier than it says.
    pub(super) async fn as_known<T, F>(&self, send: impl Fn(kube::Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let without = |why: String| {
            let url = self.url();
            (
                ApiError::Transport(format!(
                    "Unable to connect to the server {url}: getting credentials: {why}"
                )),
                None,
            )
        };
        let is_unknown = |answer: &Result<T, Failure>| {
            answer.as_ref().err().and_then(|(error, _)| error.code()) == Some(StatusCode::UNAUTHORIZED)
        };
        let mut current = self.connection.client().await.map_err(without)?;
        let mut answer = send(current.client.clone()).await;
        if is_unknown(&answer) && self.connection.is_other_than(&current).await.map_err(without)? {
            current = self.connection.client().await.map_err(without)?;
            answer = send(current.client).await;
        }
        if is_unknown(&answer)
            && let Err((ApiError::Status(status), _)) = &mut answer
        {
            let ended = self.connection.ended().await;
            status.message.extend(ended.map(|at| format!("; the credentials ended at {at}")));
            self.connection.known(false);
        } else if !matches!(answer, Err((ApiError::Transport(_) | ApiError::Broken(_), _))) {
            self.connection.known(true);
        }
        answer
    }

    async fn answer(
        &self,
        client: kube::Client,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Body>, Failure> {
        let sent_at = Timestamp::now();
        let sent = json::within(self.timeout, client.send(request.map(Body::from))).await;
        let response = match sent {
            None => {
                return Err((ApiError::Broken(self.timed_out()), None));
            }
            Some(Err(error)) => return Err((self.transport(&error), None)),
            Some(Ok(response)) => response,
        };
        self.server_time.learn(response.headers(), sent_at, Timestamp::now());
        self.report_warnings(response.headers());
        if response.status().is_success() {
            return Ok(response);
        }
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        Err((ApiError::Status(Box::new(read_status(response, self.timeout).await)), retry_after))
    }

    pub(super) fn transport(&self, error: &kube::Error) -> ApiError {
        let cause = root_cause(error);
        let refused = cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
        let url = self.url();
        ApiError::Transport(match &self.connection.proxy {
            Some(proxy) => {
                format!("Unable to connect to the server {url} through the proxy {proxy}: {cause}")
            }
            None if refused => {
                format!(
                    "The connection to the server {url} was refused - did you specify the right host or port?"
                )
            }
            None => format!("Unable to connect to the server {url}: {cause}"),
        })
    }

    /// By how much this machine's clock is ahead of the server's, if that is more than a minute.
    pub fn clock_ahead(&self) -> Option<SignedDuration> {
        self.server_time.clock_ahead()
    }

    /// Now, by this machine's clock, or by the server's if that is another.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.saturating_sub(self.clock_ahead().unwrap_or_default()).unwrap_or(now)
    }

    fn report_warnings(&self, headers: &header::HeaderMap) {
        for value in headers.get_all(header::WARNING) {
            let Some(text) = value.to_str().ok().and_then(warning_text) else { continue };
            let is_new =
                self.seen_warnings.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone());
            if is_new {
                (self.on_warning)(&text);
            }
        }
    }

    /// Tells of a webhook, once each.
    fn tell(&self, text: &str, webhook: &str) {
        let mut told = self.told_webhooks.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(webhook.to_owned()) {
            (self.on_warning)(text);
        }
    }
}

/// The text of `299 - "text"` (RFC 7234 §5.5), the only form that an API server sends.
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once('"')?.1;
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Some(text),
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    None
}

pub(super) fn chunks(response: Response<Body>) -> impl Stream<Item = Result<bytes::Bytes, kube::Error>> {
    stream::unfold(response.into_body(), |mut body| async move {
        loop {
            match body.frame().await? {
                Err(error) => return Some((Err(error), body)),
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some((Ok(data), body)),
                    Err(_trailers) => {}
                },
            }
        }
    })
}

/// Reads an answer to its end and drops it: a connection can be used again only then.
async fn discard(response: Response<Body>, timeout: Duration) {
    let mut chunks = std::pin::pin!(chunks(response));
    while let Some(Some(Ok(_))) = json::within(timeout, chunks.next()).await {}
}

/// The server's own account of a failure, or one made of the status code: proxies and filters answer in plain
/// text or HTML.
async fn read_status(response: Response<Body>, timeout: Duration) -> Status {
    const ENOUGH: usize = 64 << 10;
    let code = response.status();
    let mut body = Vec::new();
    let mut chunks = std::pin::pin!(chunks(response));
    while let Some(Some(Ok(chunk))) = json::within(timeout, chunks.next()).await {
        body.extend_from_slice(&chunk);
        if body.len() > ENOUGH {
            break;
        }
    }
    match serde_json::from_slice::<Status>(&body) {
        Ok(status) if !status.message.is_empty() => status.with_code(code.as_u16()),
        _ => {
            let text = String::from_utf8_lossy(&body);
            let is_markup = text.trim_start().starts_with('<');
            let line = text.lines().next().unwrap_or_default().trim();
            let message = if is_markup || line.is_empty() {
                format!("the server answered {code}")
            } else {
                line.chars().take(300).collect()
            };
            Status::failure(&message, "").with_code(code.as_u16())
        }
    }
}
