//! The kubelets of N machines, as one client of an API server: the double's or a real one.
//!
//! A machine registers its Node by a POST *with* status and from then on patches differences. That order matters: it
//! decides which fields of the status have an owner in managedFields, and server-side apply by somebody else has been
//! seen to erase what has none.

mod boot;
mod control;
mod machine;
mod machines;
mod names;
mod object;
mod pods;
pub(crate) mod port_forward;
pub(crate) mod served;
mod server;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use http::header::{HeaderValue, USER_AGENT};
use jiff::SignedDuration;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::task::JoinSet;

pub use self::boot::{Boot, Facts};
pub use self::control::MachineControl;
use self::machine::Machine;
pub use self::machines::Machines;
pub use self::names::{default_names, internal_ip, served_ip};
pub(crate) use self::pods::collected;
pub use self::pods::{Helpers, NEVER_READY, STOPS_AFTER};
pub use self::server::KubeletServer;
use crate::{Error, Result};

/// Which machines there are and how they behave.
#[derive(Clone, Debug)]
pub struct KubeletOptions {
    /// One Node each.
    pub names: Vec<String>,
    /// Images in each Node's status; with 50 a Node is 13 kB of JSON, as real ones are.
    pub images: usize,
    /// Whether the first patch also brings images and resources, as it mostly does on real machines: the kubelet then
    /// owns these fields and not only leaves of its conditions.
    pub owns_images: bool,
    /// `spec.providerID` is this and the name.
    pub provider_id: Option<String>,
    /// How often a Lease is renewed. A kubelet's 10 s, but with thousands of machines that would be most of what the
    /// API server does: from 2,000 on the default grows to at most 25 s (a Lease lasts 40 s).
    pub lease_period: Option<Duration>,
    /// How often an unchanged status is written, ±50 % as a kubelet does it.
    pub heartbeat_period: Duration,
    /// Whether a machine whose Node was deleted registers again. A kubelet does so only when it is restarted.
    pub register_again: bool,
    /// Whether machines register as Ready, and their first patch only comes with a heartbeat. A kubelet registers
    /// first and becomes Ready by a patch; that is nearly twice the work, so it is the default for up to 500 only.
    pub quick: Option<bool>,
    /// How many machines register at a time.
    pub concurrency: usize,
    /// How long a pod takes to start, and after a boot to be seen as ended.
    pub pod_start: Duration,
    /// How long after a helper pod's order a machine goes down. The real order says 3 s.
    pub reboot_delay: Duration,
    /// How far the machines' clocks are ahead of everybody else's.
    pub clock_ahead: SignedDuration,
}

impl KubeletOptions {
    /// `count` machines with default names.
    pub fn count(count: usize) -> Self {
        Self::names(default_names(count))
    }

    /// Machines of these names.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            images: 5,
            owns_images: false,
            provider_id: None,
            lease_period: None,
            heartbeat_period: Duration::from_secs(300),
            register_again: false,
            quick: None,
            concurrency: 32,
            pod_start: Duration::from_millis(20),
            reboot_delay: Duration::from_millis(300),
            clock_ahead: SignedDuration::ZERO,
        }
    }

    fn quick(&self) -> bool {
        !self.owns_images && self.quick.unwrap_or(self.names.len() > 500)
    }

    fn lease_period(&self) -> Duration {
        let spread = Duration::from_millis(self.names.len() as u64 * 5);
        self.lease_period.unwrap_or(spread.clamp(Duration::from_secs(10), Duration::from_secs(25)))
    }
}

/// The Node of a machine that has just become Ready.
pub(crate) fn registered(name: &str) -> serde_json::Value {
    let health = object::Health::new(true, jiff::Timestamp::now());
    object::node(name, &crate::random::uuid(), &health, &KubeletOptions::names([name]))
}

/// Running kubelets. They stop when this is dropped; the Nodes stay, as they would.
pub struct Kubelet {
    machines: Machines,
    tasks: JoinSet<()>,
}

impl Kubelet {
    /// Registers all machines and returns when every one of them is Ready and has a Lease.
    ///
    /// A Node that exists already is taken over, as by a restarted kubelet.
    pub async fn start(mut config: kube::Config, options: KubeletOptions) -> Result<Self> {
        // Harmless when somebody was first. Without it kube panics where two providers are compiled in.
        _ = rustls::crypto::ring::default_provider().install_default();
        // The part before the slash becomes the field manager.
        config.headers.push((USER_AGENT, HeaderValue::from_static("kubelet/v1.36.3 (linux/amd64) sandbox")));
        config.disable_compression = true;
        let client = kube::Client::try_from(config)
            .map_err(|error| Error::while_doing("cannot make a client", &error))?;

        let options = Arc::new(options);
        let machines: BTreeMap<_, _> = options
            .names
            .iter()
            .map(|name| (name.clone(), Arc::new(Machine::new(name, &client, &options))))
            .collect();
        let machines = Arc::new(machines);
        let mut tasks = JoinSet::new();
        let mut joined = stream::iter(machines.values())
            .map(|machine| async move { machine.join().await.map(|()| Arc::clone(machine)) })
            .buffer_unordered(options.concurrency.max(1));
        // Who has joined begins at once: a Lease must not run out while others still register.
        while let Some(machine) = joined.try_next().await? {
            tasks.spawn(machine.run(options.lease_period()));
        }
        drop(joined);
        tasks.spawn(watch::follow(client.clone(), "/api/v1/nodes?", watch::Nodes(Arc::clone(&machines))));
        tasks.spawn(watch::follow(client, pods::Lives::PATH, pods::Lives::new(&machines)));
        Ok(Self { machines: Machines::new(machines), tasks })
    }

    /// What [`start`](Self::start) needs, from a kubeconfig file's current context.
    pub async fn config(kubeconfig: &Path) -> Result<kube::Config> {
        let because = |error| {
            Error::while_doing(format_args!("cannot use kubeconfig {}", kubeconfig.display()), &error)
        };
        let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(because)?;
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(because)
    }

    /// The machines' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.machines.names()
    }

    /// What can be done to the machines.
    pub fn machines(&self) -> Machines {
        self.machines.clone()
    }

    /// Writes `Ready` True or False, and keeps to it.
    pub async fn set_ready(&self, name: &str, ready: bool) -> Result<()> {
        self.machines.set_ready(name, ready).await
    }

    /// Stops all machines' kubelets; when it returns nothing more will be written.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.machines.stop().await;
    }
}
