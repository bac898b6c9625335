//! Alert sources: each member says what fires, or why it cannot be asked. What that means together is for `core::source`.

mod alertmanager;
mod connection;
mod http_config;
mod list;
mod own_config;
mod prometheus;
mod raw;
mod request;
mod said;
mod silences;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;

use crate::core::matcher::Matcher;
use crate::core::source::{Answer, Failure, FailureReason, Group, Member, Warming};
use crate::error::{Error, Result};
use crate::settings::{Address, SourceApi, SourceGroup, SourceSettings};

use self::connection::Client;
use self::http_config::{HttpConfig, Loaded};
use self::request::{Requests, shown};

pub(crate) use alertmanager::parse as parse_alertmanager;
pub use connection::{ByteStream, Dial};
pub(crate) use http_config::parse as parse_http_config;
pub(crate) use prometheus::parse as parse_prometheus;
pub use raw::Raw;
pub use silences::Silences;

/// One member of a source inside the cluster.
#[derive(Clone)]
pub struct Endpoint {
    /// As it is shown, the same in each round: `svc://monitoring/alertmanager-operated/alertmanager-main-0`.
    pub name: String,
    /// Its host names the member to the server (`Host`) and to TLS, even if `dial` is what reaches it.
    pub url: Url,
    /// Opens a connection to it; `None` = the URL says where it is.
    pub dial: Option<Dial>,
    /// What its certificate is for, unless the configuration says so; `None` = the host of the URL.
    pub server_name: Option<String>,
}

impl Endpoint {
    fn named(&self, loaded: &Loaded) -> Loaded {
        let mut loaded = loaded.clone();
        loaded.tls.server_name = loaded.tls.server_name.or_else(|| self.server_name.clone());
        loaded
    }
}

/// Finds the members behind an address that is no URL. Asked in each round: pods come and go.
pub trait Endpoints: Send + Sync {
    fn endpoints<'a>(
        &'a self,
        address: &'a Address,
    ) -> BoxFuture<'a, std::result::Result<Vec<Endpoint>, Failure>>;
}

/// Finds nothing: for who has only URLs.
pub struct NoCluster;

impl Endpoints for NoCluster {
    fn endpoints<'a>(
        &'a self,
        address: &'a Address,
    ) -> BoxFuture<'a, std::result::Result<Vec<Endpoint>, Failure>> {
        let what = format!("{} is in a cluster, and none can be reached from here", name_of(address));
        let failure =
            Failure { reason: FailureReason::Http, is_misconfigured: true, what, hints: Vec::new() };
        Box::pin(std::future::ready(Err(failure)))
    }
}

/// All sources. Connections are kept from round to round.
pub struct Sources {
    settings: SourceSettings,
    endpoints: Arc<dyn Endpoints>,
    /// By group and name of the member.
    clients: Mutex<BTreeMap<(usize, String), Arc<Client>>>,
}

/// What every member is asked.
struct Asked<'a> {
    filters: &'a [Matcher],
    canary: Option<&'a str>,
    /// Tells clusters apart.
    cluster_label: &'a str,
    warmup: SignedDuration,
    keep_annotations: bool,
    /// For the alerts of all members.
    room: list::Room,
    /// Labels that `--match-expr` asks for.
    expression_labels: &'a BTreeSet<String>,
}

/// What a member said, beyond its alerts.
#[derive(Default)]
struct Heard {
    answer: Answer,
    /// How many members its cluster has, itself included.
    peers: Option<usize>,
}

/// One member that can be asked.
struct Prepared {
    client: Arc<Client>,
    name: String,
    /// Without credentials.
    base: Url,
    headers: HeaderMap,
    secrets: Vec<SecretString>,
    follows_redirects: bool,
    timeout: Duration,
    api: &'static str,
}

impl Prepared {
    /// Its time begins now.
    fn requests(&self) -> Requests<'_> {
        Requests {
            client: &self.client,
            name: &self.name,
            base: self.base.clone(),
            headers: self.headers.clone(),
            secrets: &self.secrets,
            follows_redirects: self.follows_redirects,
            deadline: Instant::now() + self.timeout,
            timeout: self.timeout,
            api: self.api,
        }
    }
}

impl Sources {
    /// Contacts nothing yet; a configuration that is wrong in itself is refused.
    pub fn new(settings: &SourceSettings, endpoints: Arc<dyn Endpoints>) -> Result<Self> {
        let config = read_config(settings.http_config.as_deref())?;
        let has_userinfo = |address: &Address| match address {
            Address::Url(url) => !url.username().is_empty() || url.password().is_some(),
            _ => false,
        };
        if config.auth.is_some() && settings.groups.iter().flat_map(|group| &group.members).any(has_userinfo)
        {
            return Err(Error::usage(TWO_IDENTITIES).hint("leave NAME:PASSWORD@ out of the URL"));
        }
        Ok(Self { settings: settings.clone(), endpoints, clients: Mutex::default() })
    }

    /// As they are shown.
    pub fn names(&self) -> Vec<String> {
        self.settings.groups.iter().flat_map(|group| &group.members).map(name_of).collect()
    }

    /// Asks all members of all groups at once. `canary` is the alert that must fire, if one is wanted.
    ///
    /// It takes as long as the slowest member, which is `settings.timeout` at most after it was found.
    pub async fn fetch(&self, canary: Option<&str>) -> Vec<Group> {
        let loaded = self.load();
        let asked = Asked {
            filters: &self.settings.filters,
            canary,
            cluster_label: &self.settings.cluster_label,
            warmup: self.settings.warmup,
            keep_annotations: self.settings.keep_annotations,
            room: list::Room::default(),
            expression_labels: &self.settings.expression_labels,
        };
        let groups = self.settings.groups.iter().enumerate();
        let fetched = groups.map(|(index, group)| self.fetch_group(index, group, &loaded, &asked));
        let (groups, used): (Vec<_>, Vec<_>) = join_all(fetched).await.into_iter().unzip();
        let used: BTreeSet<_> = used.into_iter().flatten().collect();
        lock(&self.clients).retain(|key, _| used.contains(key));
        groups
    }

    async fn fetch_group(
        &self,
        index: usize,
        group: &SourceGroup,
        loaded: &std::result::Result<Loaded, Failure>,
        asked: &Asked<'_>,
    ) -> (Group, Vec<(usize, String)>) {
        let found = join_all(group.members.iter().map(|address| self.find(address))).await;
        let mut endpoints = Vec::new();
        let mut members = Vec::new();
        let unfound = |address: &Address, failure| Member {
            name: name_of(address),
            took: Duration::ZERO,
            answer: Err(failure),
        };
        for (address, found) in group.members.iter().zip(found) {
            match found {
                Ok(found) if found.is_empty() => {
                    let failure = Failure {
                        reason: FailureReason::Http,
                        is_misconfigured: false,
                        what: format!("{} has no ready endpoint", name_of(address)),
                        hints: Vec::new(),
                    };
                    members.push(unfound(address, failure));
                }
                Ok(found) => endpoints.extend(found),
                Err(failure) => members.push(unfound(address, failure)),
            }
        }
        let fetched = endpoints.iter().map(|endpoint| async {
            let begun = Instant::now();
            let heard = match loaded {
                Ok(loaded) => self.fetch_member(index, &group.api, endpoint, loaded, asked).await,
                Err(failure) => Err(failure.clone()),
            };
            (heard, begun.elapsed())
        });
        let mut peers = 0;
        let heard = join_all(fetched).await;
        for (endpoint, (heard, took)) in endpoints.iter().zip(heard) {
            let answer = heard.map(|heard| {
                peers = peers.max(heard.peers.unwrap_or_default());
                heard.answer
            });
            members.push(Member { name: endpoint.name.clone(), took, answer });
        }
        let used = endpoints.iter().map(|endpoint| (index, endpoint.name.clone())).collect();
        (Group { has_unasked_members: peers > endpoints.len(), members }, used)
    }

    async fn find(&self, address: &Address) -> std::result::Result<Vec<Endpoint>, Failure> {
        match address {
            Address::Url(url) => {
                Ok(vec![Endpoint { name: name_of(address), url: url.clone(), dial: None, server_name: None }])
            }
            _ => self.endpoints.endpoints(address).await,
        }
    }

    async fn fetch_member(
        &self,
        group: usize,
        api: &SourceApi,
        endpoint: &Endpoint,
        loaded: &Loaded,
        asked: &Asked<'_>,
    ) -> std::result::Result<Heard, Failure> {
        let prepared = self.prepare(group, api, endpoint, loaded)?;
        let requests = prepared.requests();
        match api {
            SourceApi::Alertmanager { receiver } => alertmanager::fetch(&requests, receiver, asked).await,
            SourceApi::Prometheus => prometheus::fetch(&requests, asked).await,
        }
    }

    /// What it takes to ask one member.
    fn prepare(
        &self,
        group: usize,
        api: &SourceApi,
        endpoint: &Endpoint,
        loaded: &Loaded,
    ) -> std::result::Result<Prepared, Failure> {
        let client = self.client(group, endpoint, &endpoint.named(loaded))?;
        let mut base = endpoint.url.clone();
        let mut headers = loaded.headers.clone();
        let mut secrets = loaded.secrets.clone();
        if !base.username().is_empty() || base.password().is_some() {
            if headers.contains_key(AUTHORIZATION) {
                return Err(configuration_failure(&Error::usage(TWO_IDENTITIES)));
            }
            let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            let password = decode(base.password().unwrap_or_default());
            headers
                .insert(AUTHORIZATION, http_config::basic(&decode(base.username()), &password, &mut secrets));
            secrets.push(password.into());
            // Neither fails for a URL that has a host.
            let _ = (base.set_username(""), base.set_password(None));
        }
        Ok(Prepared {
            client,
            name: endpoint.name.clone(),
            base,
            headers,
            secrets,
            follows_redirects: loaded.follows_redirects,
            timeout: self.settings.timeout,
            api: match api {
                SourceApi::Alertmanager { .. } => "Alertmanager",
                SourceApi::Prometheus => "Prometheus",
            },
        })
    }

    /// Each member of each group, ready to be asked, or why it cannot be.
    async fn members(&self) -> Vec<(&SourceApi, std::result::Result<Prepared, Failure>)> {
        let loaded = self.load();
        let mut members = Vec::new();
        for (index, group) in self.settings.groups.iter().enumerate() {
            for address in &group.members {
                match self.find(address).await {
                    Ok(endpoints) => members.extend(endpoints.iter().map(|endpoint| {
                        let loaded = loaded.as_ref().map_err(Clone::clone);
                        let prepared =
                            loaded.and_then(|loaded| self.prepare(index, &group.api, endpoint, loaded));
                        (&group.api, prepared)
                    })),
                    Err(failure) => members.push((&group.api, Err(failure))),
                }
            }
        }
        members
    }

    fn load(&self) -> std::result::Result<Loaded, Failure> {
        read_config(self.settings.http_config.as_deref())
            .and_then(|config| {
                config.load().map_err(|why| Error::usage(format!("{}: {why}", self.config_name())))
            })
            .map_err(|error| configuration_failure(&error))
    }

    /// The client of the last round, unless something that it is made of has changed.
    fn client(
        &self,
        group: usize,
        endpoint: &Endpoint,
        loaded: &Loaded,
    ) -> std::result::Result<Arc<Client>, Failure> {
        let key = (group, endpoint.name.clone());
        if let Some(client) = lock(&self.clients).get(&key)
            && client.is_of(endpoint.dial.as_ref(), loaded)
        {
            return Ok(Arc::clone(client));
        }
        let client = Client::new(endpoint.dial.clone(), loaded)
            .map_err(|why| configuration_failure(&Error::usage(format!("{}: {why}", self.config_name()))))?;
        let client = Arc::new(client);
        lock(&self.clients).insert(key, Arc::clone(&client));
        Ok(client)
    }

    fn config_name(&self) -> String {
        self.settings.http_config.as_deref().map_or("TLS".into(), |path| path.display().to_string())
    }
}

const TWO_IDENTITIES: &str = "a name in the URL and one in the --http-config file exclude each other";

/// As an address is shown: without credentials.
fn name_of(address: &Address) -> String {
    match address {
        Address::Url(url) => shown(url),
        Address::Service { tls, namespace, name, port } => {
            let scheme = if *tls { "svc+https" } else { "svc" };
            let port = port.as_deref().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{scheme}://{namespace}/{name}{port}")
        }
        Address::Auto { .. } => "auto".into(),
    }
}

/// Without a file: nothing special, and redirects are followed.
fn read_config(path: Option<&Path>) -> Result<HttpConfig> {
    let Some(path) = path else { return Ok(HttpConfig::default()) };
    let text = http_config::read_configuration(path)?;
    // Prometheus' rule: relative to the file that names them.
    let directory = path.parent().unwrap_or(Path::new(""));
    http_config::parse(&text, directory).map_err(|mistake| {
        let place = match mistake.line {
            0 => path.display().to_string(),
            line => format!("{}:{line}", path.display()),
        };
        let error = Error::usage(format!("{place}: {}", mistake.what));
        mistake.hint.into_iter().fold(error, Error::hint)
    })
}

/// What is wrong on this side: every member fails of it, and waiting does not help.
fn configuration_failure(error: &Error) -> Failure {
    Failure {
        reason: FailureReason::Http,
        is_misconfigured: true,
        what: error.why().to_owned(),
        hints: error.hints().to_vec(),
    }
}

/// Both times are by the member's clock, so ours may be wrong.
fn warm_up(answer: &mut Answer, started: Timestamp, answered_at: Timestamp, warmup: SignedDuration) {
    let up_for = answered_at.duration_since(started);
    let now = Timestamp::now();
    answer.started = now.saturating_sub(up_for).ok();
    answer.warming = (!warmup.is_zero() && up_for <= warmup)
        .then(|| Warming { up_for, until: now.saturating_add(warmup - up_for).unwrap_or(Timestamp::MAX) });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds it can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
