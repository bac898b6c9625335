//! What a verdict needs to know besides the pod: its `DaemonSet`, asked for once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::core::drain::{Classified, DaemonSet, Pod, Policy, classify, needs_daemon_set};

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
        let now = Timestamp::now();
        pods.into_iter()
            .map(|pod| {
                let daemon_set = key(&pod).and_then(|key| self.known.get(&key)).unwrap_or(&DaemonSet::Exists);
                let verdict = classify(&pod, policy, &self.helpers, daemon_set, now);
                Classified { pod, verdict }
            })
            .collect()
    }
}

fn key(pod: &Pod) -> Option<(String, String)> {
    let owner = pod.owner.as_ref().filter(|_| needs_daemon_set(pod))?;
    Some((pod.namespace.clone(), owner.name.clone()))
}
