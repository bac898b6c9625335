//! What runs on the machines: pods that are bound to one of them start, become Ready, and end when they are deleted.

pub(crate) mod collected;
mod helper;
mod life;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch::Sender;
use tokio::task::{AbortHandle, JoinSet};

pub use self::helper::Helpers;
use super::machine::Machine;
use super::watch::{Observer, Seen, Versioned};

/// A pod with this annotation takes so many milliseconds to end; others end at once.
pub const STOPS_AFTER: &str = "sandbox/stops-after-ms";
/// A pod with this annotation runs, but is never Ready.
pub const NEVER_READY: &str = "sandbox/never-ready";

/// What a kubelet creates a mirror pod with.
const MIRROR: &str = "kubernetes.io/config.mirror";

#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Pod(Value);

impl Versioned for Pod {
    fn resource_version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }
}

impl Pod {
    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    fn node(&self) -> &str {
        self.text("/spec/nodeName")
    }

    fn phase(&self) -> &str {
        self.text("/status/phase")
    }

    /// Where it is found in the API.
    fn path(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/pods/{}",
            self.text("/metadata/namespace"),
            self.text("/metadata/name")
        )
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.0["metadata"]["annotations"][name].as_str()
    }

    fn is_mirror(&self) -> bool {
        self.annotation(MIRROR).is_some()
    }

    fn is_ending(&self) -> bool {
        self.0["metadata"]["deletionTimestamp"].is_string()
    }

    /// A container runs before the others do.
    fn is_initialized_first(&self) -> bool {
        self.0["spec"]["initContainers"].is_array()
    }

    fn containers(&self) -> impl Iterator<Item = &Value> {
        self.0["spec"]["containers"].as_array().into_iter().flatten()
    }
}

/// One pod that is bound to a machine here.
struct Life {
    seen: Sender<Pod>,
    task: AbortHandle,
}

/// Lets pods live until dropped.
pub(super) struct Lives {
    machines: Arc<BTreeMap<String, Arc<Machine>>>,
    by_uid: HashMap<String, Life>,
    tasks: JoinSet<()>,
}

impl Observer for Lives {
    type Object = Pod;

    async fn observe(&mut self, seen: Seen<Pod>) {
        match seen {
            Seen::All(pods) => self.all(pods),
            Seen::Live(pod) => self.live(pod),
            Seen::Gone(pod) => self.gone(&pod),
        }
    }
}

impl Lives {
    /// All pods that are bound to any machine.
    pub(super) const PATH: &str = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D&";

    pub(super) fn new(machines: &Arc<BTreeMap<String, Arc<Machine>>>) -> Self {
        Self { machines: Arc::clone(machines), by_uid: HashMap::new(), tasks: JoinSet::new() }
    }

    fn all(&mut self, pods: Vec<Pod>) {
        let there: std::collections::HashSet<&str> = pods.iter().map(Pod::uid).collect();
        let gone: Vec<Pod> = self
            .by_uid
            .iter()
            .filter(|(uid, _)| !there.contains(uid.as_str()))
            .map(|(_, life)| life.seen.borrow().clone())
            .collect();
        for pod in &gone {
            self.gone(pod);
        }
        for pod in pods {
            self.live(pod);
        }
    }

    fn live(&mut self, pod: Pod) {
        let Some(machine) = self.machines.get(pod.node()) else { return };
        if let Some(life) = self.by_uid.get(pod.uid()) {
            life.seen.send_replace(pod);
            return;
        }
        while self.tasks.try_join_next().is_some() {}
        let uid = pod.uid().to_owned();
        let (seen, seeing) = tokio::sync::watch::channel(pod);
        let task = self.tasks.spawn(life::run(Arc::clone(machine), seeing));
        self.by_uid.insert(uid, Life { seen, task });
    }

    fn gone(&mut self, pod: &Pod) {
        let Some(life) = self.by_uid.remove(pod.uid()) else { return };
        life.task.abort();
        // Its container still runs: a kubelet creates the mirror anew.
        if pod.is_mirror()
            && let Some(machine) = self.machines.get(pod.node())
        {
            let (machine, name) = (Arc::clone(machine), pod.text("/metadata/name").to_owned());
            self.tasks.spawn(async move { machine.mirror(&name).await });
        }
    }
}
