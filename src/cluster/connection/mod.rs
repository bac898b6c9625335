//! The connection to the API server, for as long as the process lives: credentials that end, or whose files are replaced, are
//! read again in one place, and whoever sends a request next goes on with them. What is under way, such as a watch, is left
//! alone; it goes on where it was, with the new ones, when the server ends it.

mod address;
mod choice;
mod client;
mod credentials;
mod kubeconfig;
mod plugin;
mod yaml;

use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::choice::{Choice, choose, override_user};
use self::credentials::Credentials;
use self::kubeconfig::{Cluster, User};
use super::clock::{self, Clock};
use crate::cli::KubernetesArgs;
use crate::error::{Error, Result};

/// How often it is looked whether files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A plugin that failed, or gave the same again, is not run again before this has passed.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// Credentials are renewed this long before they end, or when a fifth of their life is left.
const BEFORE_THE_END: SignedDuration = SignedDuration::from_secs(10);

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the kubeconfig has, by name.
#[derive(Debug, Default)]
pub struct KubeconfigNames {
    pub contexts: Vec<String>,
    pub clusters: Vec<String>,
    pub users: Vec<String>,
}

/// The names in the kubeconfig that `args` point at; nothing is contacted and no plugin runs.
pub fn kubeconfig_names(args: &KubernetesArgs) -> Result<KubeconfigNames> {
    let kubeconfig = choice::read(args)?.unwrap_or_default();
    Ok(KubeconfigNames {
        contexts: kubeconfig.contexts.into_keys().collect(),
        clusters: kubeconfig.clusters.into_keys().collect(),
        users: kubeconfig.users.into_keys().collect(),
    })
}

pub(super) struct Connection {
    /// The server's, which stays what it was. Without a name and a password.
    pub(super) url: String,
    /// Host and port of the proxy in between.
    pub(super) proxy: Option<String>,
    /// Whether it is the account of the pod that this runs in.
    pub(super) is_inside: bool,
    state: Arc<Mutex<State>>,
    is_known: AtomicBool,
    clock: Clock,
}

/// A client, and which one of several in a row it is.
pub(super) struct Current {
    pub(super) client: kube::Client,
    number: u64,
}

struct State {
    choice: Choice,
    credentials: Credentials,
    client: kube::Client,
    number: u64,
    /// What the files were like.
    files: Vec<Stamp>,
    looked_at: Duration,
    renew_at: Option<Timestamp>,
    /// When it was last tried to get other credentials, and why that failed, if it did.
    tried: Option<(Duration, Option<String>)>,
}

impl Connection {
    /// Reads what `args` point at; nothing is contacted, but a credential plugin may run.
    pub(super) async fn open(args: &KubernetesArgs) -> Result<Self> {
        let kubeconfig = choice::read(args)?;
        let is_missing = kubeconfig.is_none();
        let chosen = choose(&kubeconfig.unwrap_or_default(), args)?;
        let (choice, is_inside) = match chosen {
            Some(choice) => (choice, false),
            None if in_a_pod() => (account(args)?, true),
            None if is_missing => {
                return Err(Error::usage("no kubeconfig was found, and this is not a pod of a cluster")
                    .hint("set KUBECONFIG, or add --kubeconfig FILE"));
            }
            None => {
                return Err(Error::usage("the kubeconfig has no current context")
                    .hint("kubectl config use-context NAME, or add --context NAME"));
            }
        };
        let url = choice.address.url.to_string();
        let files = stamps(&choice);
        let cannot = |why: String| {
            Error::usage(format!("cannot set up the connection to {url}: {why}"))
                .hint("kubectl config view --minify")
        };
        let credentials = Credentials::of(&choice).await.map_err(cannot)?;
        let client = client::build(&choice, &credentials).map_err(cannot)?;
        let proxy = choice.proxy.as_ref().and_then(|proxy| proxy.uri().authority());
        let clock = clock::machine();
        Ok(Self {
            proxy: proxy.map(|proxy| proxy.as_str().rsplit('@').next().unwrap_or_default().to_owned()),
            url,
            is_inside,
            state: Arc::new(Mutex::new(State {
                renew_at: renew_at(&credentials),
                looked_at: clock(),
                choice,
                credentials,
                client,
                number: 0,
                files,
                tried: None,
            })),
            is_known: AtomicBool::new(true),
            clock,
        })
    }

    /// The client for the next request. Fails if credentials have ended and others are not to be had.
    pub(super) async fn client(&self) -> Result<Current, String> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let now = (self.clock)();
        let is_due = state.renew_at.is_some_and(|at| at <= Timestamp::now());
        let mut has_changed = false;
        if now.saturating_sub(state.looked_at) >= LOOK_EVERY {
            state.looked_at = now;
            has_changed = stamps(&state.choice) != state.files;
        }
        if is_due || has_changed {
            let renewed;
            (state, renewed) = self.renew(state, has_changed).await;
            let has_ended = state.credentials.valid_until.is_some_and(|until| until <= Timestamp::now());
            // What has not ended is still good. A certificate that has is for the server to judge, unless there is none to show.
            if let Err(why) = renewed.inspect_err(|why| tracing::debug!("credentials: {why}"))
                && has_ended
            {
                self.known(false);
                return Err(why);
            }
        }
        Ok(Current { client: state.client.clone(), number: state.number })
    }

    /// The server did not know us as this one. Whether there is another by now, with which it may.
    pub(super) async fn is_other_than(&self, refused: &Current) -> Result<bool, String> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        if state.number == refused.number {
            let renewed;
            (state, renewed) = self.renew(state, false).await;
            renewed.inspect_err(|_| self.known(false))?;
        }
        Ok(state.number != refused.number)
    }

    /// In a task of its own: who gives up waiting, as a Lease does within seconds, does not end a plugin at work.
    async fn renew(
        &self,
        mut state: OwnedMutexGuard<State>,
        has_changed: bool,
    ) -> (OwnedMutexGuard<State>, Result<(), String>) {
        let now = (self.clock)();
        let renewal = tokio::spawn(async move {
            let renewed = state.renew(now, has_changed).await;
            (state, renewed)
        });
        match renewal.await {
            Ok(renewed) => renewed,
            Err(error) => (Arc::clone(&self.state).lock_owned().await, Err(error.to_string())),
        }
    }

    /// When the credentials ended, if they have.
    pub(super) async fn ended(&self) -> Option<Timestamp> {
        self.state.lock().await.credentials.valid_until.filter(|until| *until <= Timestamp::now())
    }

    /// What the server made of us.
    pub(super) fn known(&self, is_known: bool) {
        self.is_known.store(is_known, Ordering::Relaxed);
    }

    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }
}

impl State {
    /// Reads again what there is to read, and runs the plugin. Not at once again, unless files have changed.
    async fn renew(&mut self, now: Duration, has_changed: bool) -> Result<(), String> {
        let at_once = has_changed && self.choice.user.exec.is_none();
        if let Some((at, failed)) = self.tried.as_ref().filter(|_| !at_once)
            && now.saturating_sub(*at) < RENEW_EVERY
        {
            return failed.clone().map_or(Ok(()), Err);
        }
        let (files, number) = (stamps(&self.choice), self.number);
        let outcome = self.read_again().await;
        self.tried = Some((now, outcome.clone().err()));
        // Half of several files may have been replaced so far.
        if outcome.is_ok() {
            self.files = files;
        }
        self.renew_at = renew_at(&self.credentials);
        if self.number == number {
            self.renew_at = self.renew_at.map(|at| at.max(later()));
        }
        outcome
    }

    async fn read_again(&mut self) -> Result<(), String> {
        let choice = self.choice.again();
        let credentials = Credentials::of(&choice).await?;
        if credentials != self.credentials {
            self.client = client::build(&choice, &credentials)?;
            self.credentials = credentials;
            self.number += 1;
            tracing::debug!("going on with other credentials");
        }
        self.choice = choice;
        Ok(())
    }
}

fn renew_at(credentials: &Credentials) -> Option<Timestamp> {
    let until = credentials.valid_until?;
    let left = until.duration_since(Timestamp::now());
    if left.is_positive() { until.checked_sub((left / 5).min(BEFORE_THE_END)).ok() } else { Some(later()) }
}

/// When to try again what brought nothing.
fn later() -> Timestamp {
    let now = Timestamp::now();
    now.checked_add(RENEW_EVERY).unwrap_or(now)
}

/// By which it is seen that a file was replaced or written.
#[derive(PartialEq)]
struct Stamp(Option<(SystemTime, u64, u64)>);

fn stamps(choice: &Choice) -> Vec<Stamp> {
    let stamp = |metadata: Metadata| {
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let number = 0;
        Some((metadata.modified().ok()?, metadata.len(), number))
    };
    let files = choice.kubeconfigs.iter().map(PathBuf::as_path).chain(credentials::files(choice));
    files.map(|file| Stamp(std::fs::metadata(file).ok().and_then(stamp))).collect()
}

fn in_a_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// The account of the pod that this runs in.
fn account(args: &KubernetesArgs) -> Result<Choice> {
    let variable = |name: &str| {
        std::env::var(name)
            .map_err(|_| Error::usage(format!("cannot use the pod's service account: {name} is not set")))
    };
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let file = |name: &str| format!("{ACCOUNT}/{name}");
    let cluster = Cluster {
        server: format!("https://{host}:{port}"),
        certificate_authority: file("ca.crt"),
        ..Cluster::default()
    };
    let mut user = User { token_file: file("token"), ..User::default() };
    override_user(&mut user, args);
    Choice::of(cluster, user, args.clone())
        .map_err(|why| Error::usage(format!("cannot use the pod's service account: {why}")))
}
