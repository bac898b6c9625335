//! The Lease around a round: taken before, given back after, with what the round found written on it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use crate::cli::DryRun;
use crate::cluster::{Candidate, Cluster, Hold, LeaseKey};
use crate::command::stop::until_stopped;
use crate::core::memory::Memory;
use crate::error::{Error, Result};
use crate::settings::{LeaseSettings, SyncSettings};
use crate::ui::Ui;

/// The name under which upstream Sciuro elects its leader, by default.
const UPSTREAM: &str = "sciuro-leader";

/// `None` if no Lease is wanted, or nothing will be written.
pub(super) async fn take(settings: &SyncSettings, cluster: &Arc<Cluster>, ui: &Ui) -> Result<Option<Hold>> {
    let Some((key, candidate)) = candidate(settings, cluster).filter(|_| settings.dry_run == DryRun::None)
    else {
        return Ok(None);
    };
    let note = |_: &str, wait: Duration| {
        let LeaseKey { namespace, name } = &key;
        ui.note(&format!(
            "the Lease {namespace}/{name} is held; watching for {}s whether its holder lives",
            wait.as_secs()
        ));
    };
    let acquired = async {
        warn_of_upstream(&key, cluster, ui).await;
        candidate.take(note).await
    };
    match until_stopped(None, acquired).await {
        Ok(hold) => Ok(Some(hold?)),
        Err(stopped) => Err(Error::from(stopped).hint("nothing was changed; run the command again")),
    }
}

/// Who we are to others that would write. `None` if no Lease is wanted.
pub(super) fn candidate(settings: &SyncSettings, cluster: &Arc<Cluster>) -> Option<(LeaseKey, Candidate)> {
    let lease = settings.lease.as_ref()?;
    let key = LeaseKey { namespace: lease.namespace.clone(), name: lease.name.clone() };
    let unique = RandomState::new().hash_one(std::process::id());
    let identity = format!("{}_{unique:016x}", holder());
    Some((key.clone(), Candidate::new(cluster.clone(), key, identity)))
}

/// Gives the Lease back. The round is done by then, so a failure is only mentioned.
pub(super) async fn release(hold: Option<Hold>, report: Option<&Report>, settings: &SyncSettings, ui: &Ui) {
    let Some(hold) = hold else { return };
    let annotations = report.map(|report| annotations(report, settings)).unwrap_or_default();
    if let Err(error) = hold.release(annotations).await {
        let why = error.why();
        ui.note(&format!("note: the Lease was not given back ({why}); the next run waits 15s for it"));
    }
}

/// What earlier rounds left. A dry run takes no Lease and looks at it only, if it may.
pub(super) async fn remembered(hold: Option<&Hold>, settings: &SyncSettings, cluster: &Cluster) -> Memory {
    let annotations = match (hold, &settings.lease) {
        (Some(hold), _) => hold.annotations(),
        (None, Some(LeaseSettings { namespace, name })) => {
            let key = LeaseKey { namespace: namespace.clone(), name: name.clone() };
            cluster.lease_annotations(&key).await.ok().flatten().unwrap_or_default()
        }
        (None, None) => BTreeMap::new(),
    };
    Memory::read(&annotations)
}

/// What `status` and the next round want to know. A round over some of the nodes, or one that was refused, says nothing
/// about all nodes, but alerts are matched with all.
pub(super) fn annotations(report: &Report, settings: &SyncSettings) -> BTreeMap<String, String> {
    let conditions = &settings.round.conditions;
    let memory = report.round.memory(report.failures().next().is_none());
    if settings.is_limited() || report.refused.is_some() {
        return memory.clusters.annotations().map(|(name, value)| (name.to_owned(), value)).into();
    }
    Memory {
        last_by: Some(holder()),
        interval: Some(settings.interval),
        prefix: Some(conditions.prefix.clone()),
        heartbeat_interval: Some(conditions.heartbeat_interval),
        ..memory
    }
    .annotations()
}

/// `user@host`, for people who wonder who wrote.
pub(in crate::command) fn holder() -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    match std::env::var("USER").or_else(|_| std::env::var("LOGNAME")) {
        Ok(user) if !user.is_empty() => format!("{user}@{host}"),
        _ => host,
    }
}

/// Two writers of the same conditions undo each other's work.
pub(super) async fn warn_of_upstream(ours: &LeaseKey, cluster: &Cluster, ui: &Ui) {
    let key = LeaseKey { name: UPSTREAM.into(), ..ours.clone() };
    if key != *ours && cluster.seems_renewed(&key).await {
        ui.warning(&format!(
            "the Lease {}/{UPSTREAM} is being renewed: upstream Sciuro runs here too, and writes the same conditions",
            key.namespace
        ));
    }
}
