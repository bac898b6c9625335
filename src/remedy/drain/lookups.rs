//! What a verdict needs to know besides the pod: its `DaemonSet`, asked for once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::core::drain::{
    Blocked, Classified, DaemonSet, Pod, Policy, Verdict, classify, consents, needs_daemon_set,
};

/// `DaemonSets` are asked for this many at a time.
const AT_ONCE: usize = 8;

pub(super) struct Lookups {
    cluster: Arc<Cluster>,
    /// The namespace of helper pods.
    helpers: String,
    known: BTreeMap<(String, String), DaemonSet>,
}

impl Lookups {
    pub(super) fn new(cluster: Arc<Cluster>, helpers: &str) -> Self {
        Self { cluster, helpers: helpers.to_owned(), known: BTreeMap::new() }
    }

    pub(super) async fn classify(&mut self, pods: Vec<Pod>, policy: Policy) -> Vec<Classified> {
        self.look_up(&pods).await;
        let now = Timestamp::now();
        let verdict = |pod: &Pod| classify(pod, policy, &self.helpers, self.daemon_set(pod), now);
        pods.into_iter().map(|pod| Classified { verdict: verdict(&pod), pod }).collect()
    }

    /// What has to be allowed for each pod, and what is done with it then.
    pub(super) async fn consents(&mut self, pods: &[Pod], policy: Policy) -> Vec<(Vec<Blocked>, Verdict)> {
        self.look_up(pods).await;
        let now = Timestamp::now();
        pods.iter().map(|pod| consents(pod, policy, &self.helpers, self.daemon_set(pod), now)).collect()
    }

    /// Used where one has to be known only.
    fn daemon_set(&self, pod: &Pod) -> &DaemonSet {
        key(pod).and_then(|key| self.known.get(&key)).unwrap_or(&DaemonSet::Exists)
    }

    async fn look_up(&mut self, pods: &[Pod]) {
        let mut missing: Vec<_> =
            pods.iter().filter_map(key).filter(|key| !self.known.contains_key(key)).collect();
        missing.sort();
        missing.dedup();
        let cluster = &self.cluster;
        let asked: Vec<_> = futures::stream::iter(missing)
            .map(|(namespace, name)| async move {
                let daemon_set = cluster.daemon_set(&namespace, &name).await;
                ((namespace, name), daemon_set)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        self.known.extend(asked);
    }
}

fn key(pod: &Pod) -> Option<(String, String)> {
    let owner = pod.owner.as_ref().filter(|_| needs_daemon_set(pod))?;
    Some((pod.namespace.clone(), owner.name.clone()))
}
