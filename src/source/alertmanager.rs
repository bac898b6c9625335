//! One Alertmanager, API v2: is it up for long enough, does it know the receiver, what fires.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{misconfigured, unavailable};
use crate::core::alert::{Alert, Labels};
use crate::core::matcher::Matcher;
use crate::core::source::{Answer, Failure, FailureReason, Warming};
use crate::error::root_cause;
use crate::json::{self, ReadError};
use crate::settings::{Address, SourceApi, SourceSettings};

/// 10,000 alerts are 14 MB: more than this is no list of alerts.
const MAX_ANSWER: u64 = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES: usize = 2;

/// An Alertmanager's API.
pub(super) struct Alertmanager {
    http: Client,
    base: Url,
    receiver: String,
    filters: Vec<Matcher>,
    warmup: SignedDuration,
    timeout: Duration,
}

impl Alertmanager {
    /// Contacts nothing yet.
    pub(super) fn new(settings: &SourceSettings) -> Result<Self, Failure> {
        let (Some(SourceApi::Alertmanager { receiver }), Some(Address::Url(url))) = (
            settings.groups.first().map(|group| &group.api),
            settings.groups.first().and_then(|group| group.members.first()),
        ) else {
            return Err(misconfigured("only one Alertmanager's URL works yet"));
        };
        let http = Client::builder()
            .user_agent(concat!("kubectl-sciuro/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| misconfigured(format!("cannot set up HTTP: {}", root_cause(&error))))?;
        Ok(Self {
            http,
            base: url.clone(),
            receiver: receiver.clone(),
            filters: settings.filters.clone(),
            warmup: settings.warmup,
            timeout: settings.timeout,
        })
    }

    /// Asks in order, over one connection: several answers are then of the same process.
    pub(super) async fn fetch(&self, canary: Option<&str>, peers: &mut usize) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        self.check_receiver().await?;
        self.ask_status(&mut answer, peers).await?;
        if let Some(name) = canary {
            let mut url = self.url("alerts");
            url.query_pairs_mut().append_pair("filter", &format!("alertname={name:?}"));
            let found: Vec<IgnoredAny> = self.get(&url).await?.1;
            answer.canary = Some(!found.is_empty());
        }
        let alerts: Vec<GettableAlert> = self.get(&self.alerts_url()).await?.1;
        answer.alerts = alerts.into_iter().map(Alert::from).collect();
        Ok(answer)
    }

    async fn ask_status(&self, answer: &mut Answer, peers: &mut usize) -> Result<(), Failure> {
        let (answered_at, status): (Timestamp, Status) = match self.get(&self.url("status")).await {
            Ok(answer) => answer,
            Err(error) if error.status.is_some_and(|status| status == 403 || status == 404) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        *peers = status.cluster.peers.len();
        // Both times are by the Alertmanager's clock, so ours may be wrong.
        let up_for = answered_at.duration_since(status.uptime);
        let now = Timestamp::now();
        answer.started = now.checked_sub(up_for).ok();
        answer.warming = (!self.warmup.is_zero() && up_for <= self.warmup).then(|| Warming {
            up_for,
            until: now.saturating_add(self.warmup - up_for).unwrap_or(Timestamp::MAX),
        });
        Ok(())
    }

    async fn check_receiver(&self) -> Result<(), Failure> {
        let (_, receivers): (_, Vec<Receiver>) = self.get(&self.url("receivers")).await?;
        if receivers.iter().any(|receiver| receiver.name == self.receiver) {
            return Ok(());
        }
        let mut known: Vec<String> =
            receivers.iter().map(|receiver| format!("{:?}", receiver.name)).collect();
        known.truncate(20);
        Err(Failure {
            reason: FailureReason::ReceiverMissing,
            hints: vec![format!("its receivers are: {}", known.join(", "))],
            ..misconfigured(format!(
                "{} has no receiver {:?}; nothing was written",
                self.shown(),
                self.receiver
            ))
        })
    }

    fn alerts_url(&self) -> Url {
        let mut url = self.url("alerts");
        url.query_pairs_mut()
            // It is a regular expression there, anchored; operators generate names like ns/name/receiver.
            .append_pair("receiver", &quote_meta(&self.receiver))
            .extend_pairs(self.filters.iter().map(|filter| ("filter", filter.to_string())));
        url
    }

    fn url(&self, resource: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}/api/v2/{resource}", self.base.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    pub(super) fn shown(&self) -> String {
        shown(&self.base)
    }

    /// The answer, and when it was given by the server's clock.
    async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        url: &Url,
    ) -> Result<(Timestamp, T), FetchError> {
        (|| self.get_once(url))
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(300))
                    .with_max_times(RETRIES)
                    .with_jitter(),
            )
            .when(|error| error.may_pass)
            .await
    }

    async fn get_once<T: DeserializeOwned + Send + 'static>(
        &self,
        url: &Url,
    ) -> Result<(Timestamp, T), FetchError> {
        let asked = shown(url);
        let response = match json::within(self.timeout, self.http.get(url.clone()).send()).await {
            None => {
                return Err(FetchError::new(
                    &asked,
                    format!("{asked} did not answer within {}s", self.timeout.as_secs()),
                ));
            }
            Some(Err(error)) => return Err(FetchError::of_request(&asked, &error)),
            Some(Ok(response)) => response,
        };
        if !response.status().is_success() {
            return Err(FetchError::of_status(&asked, response, self.timeout).await);
        }
        let answered_at = response
            .headers()
            .get(header::DATE)
            .and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok())
            .map_or_else(Timestamp::now, |date| date.timestamp());
        let value = json::read(chunks(response), MAX_ANSWER, self.timeout)
            .await
            .map_err(|error| FetchError::of_answer(&asked, &error))?;
        Ok((answered_at, value))
    }
}

fn chunks(response: Response) -> impl futures::Stream<Item = Result<bytes::Bytes, reqwest::Error>> {
    futures::stream::unfold(response, |mut response| async move {
        response.chunk().await.transpose().map(|chunk| (chunk, response))
    })
}

/// A regular expression that matches `text` alone; the name is Go's, whose dialect it is.
fn quote_meta(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

/// The URL as an error shows it: without a password and without the query.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    // Neither fails for a URL that has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// Why one request failed.
struct FetchError {
    what: String,
    hint: String,
    status: Option<StatusCode>,
    may_pass: bool,
    is_misconfigured: bool,
}

impl FetchError {
    fn new(asked: &str, what: String) -> Self {
        Self {
            what,
            hint: format!("curl -v {asked}"),
            status: None,
            may_pass: false,
            is_misconfigured: false,
        }
    }

    fn of_request(asked: &str, error: &reqwest::Error) -> Self {
        let cause = root_cause(error).to_string();
        let is_tls = cause.contains("certificate") || cause.contains("InvalidContentType");
        let mut failure = Self::new(asked, format!("cannot reach {asked}: {cause}"));
        failure.may_pass = error.is_connect() && !is_tls;
        if is_tls {
            failure.is_misconfigured = true;
            failure.hint = format!("does it speak TLS, with a certificate for this name? {}", failure.hint);
        }
        failure
    }

    async fn of_status(asked: &str, mut response: Response, timeout: Duration) -> Self {
        let status = response.status();
        let mut failure = Self::new(asked, format!("{asked} answered {status}"));
        failure.status = Some(status);
        failure.may_pass = status == StatusCode::SERVICE_UNAVAILABLE;
        failure.is_misconfigured = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
        match status.as_u16() {
            400 => {
                if let Some(Ok(Some(text))) = json::within(timeout, response.chunk()).await {
                    let text = String::from_utf8_lossy(&text);
                    failure.hint = format!("it says: {}", text.trim().chars().take(300).collect::<String>());
                }
            }
            401 | 403 => failure.hint = "a name and a password are written https://NAME:PASSWORD@HOST".into(),
            404 => failure.hint = "is a path prefix missing, as in http://HOST:9093/alertmanager?".into(),
            _ => {}
        }
        failure
    }

    fn of_answer(asked: &str, error: &ReadError) -> Self {
        let mut failure = Self::new(asked, format!("cannot use {asked}: {error}"));
        if matches!(error, ReadError::Json(_)) {
            failure.is_misconfigured = true;
            failure.hint = "is this the URL of an Alertmanager with API v2 (0.16 or later)?".into();
        }
        failure
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let failure =
            if error.is_misconfigured { misconfigured(error.what) } else { unavailable(error.what) };
        Self { hints: vec![error.hint], ..failure }
    }
}

/// `uptime` is the time of the start (`alertmanager/api/v2/api.go`).
#[derive(Deserialize)]
struct Status {
    uptime: Timestamp,
    #[serde(default)]
    cluster: ClusterStatus,
}

#[derive(Default, Deserialize)]
struct ClusterStatus {
    #[serde(default)]
    peers: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Receiver {
    name: String,
}

/// Every field but the labels may be missing: 0.25 has no `mutedBy`, 0.34 has fields that nobody here knows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GettableAlert {
    labels: Labels,
    #[serde(default)]
    annotations: Labels,
    #[serde(default)]
    starts_at: Option<String>,
    #[serde(default)]
    updated_at: Option<String>,
    #[serde(default)]
    status: AlertStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertStatus {
    #[serde(default)]
    silenced_by: Vec<IgnoredAny>,
    #[serde(default)]
    inhibited_by: Vec<IgnoredAny>,
}

impl From<GettableAlert> for Alert {
    fn from(alert: GettableAlert) -> Self {
        Self {
            labels: alert.labels,
            annotations: alert.annotations,
            starts_at: alert.starts_at.and_then(|text| text.parse().ok()),
            updated_at: alert.updated_at.and_then(|text| text.parse().ok()),
            silenced: !alert.status.silenced_by.is_empty(),
            inhibited: !alert.status.inhibited_by.is_empty(),
            pending: false,
        }
    }
}
