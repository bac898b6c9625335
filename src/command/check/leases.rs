//! The Lease that keeps two syncs apart, upstream's, and what ours says of the last full sync.

use std::collections::BTreeMap;
use std::time::Duration;

use super::line::{Line, within};
use crate::cluster::{ApiError, Cluster, LeaseKey, Rule};
use crate::core::memory::Memory;
use crate::core::report::{LastFull, human_duration};
use crate::settings::CheckSettings;

/// A holder renews every 5 s, and upstream's every 2 s.
const OBSERVED_FOR: Duration = Duration::from_secs(11);

const UPSTREAM: &str = "sciuro-leader";
const LAST_FULL: &str = "last full sync";

pub(super) struct Ours {
    pub(super) exists: bool,
    pub(super) lease: Line,
    pub(super) last_full: Line,
}

pub(super) async fn ours(settings: &CheckSettings, cluster: &Cluster) -> Ours {
    let key = &settings.lease;
    let name = format!("Lease {}/{}", key.namespace, key.name);
    let rule = Rule { namespace: Some(&key.namespace), ..Rule::LEASES };
    let read = tokio::time::timeout(super::PATIENCE, cluster.lease_state(key)).await;
    let state = match read {
        Err(_) => {
            let lease = Line::failed(name, "it cannot be read in time");
            return Ours {
                exists: false,
                lease,
                last_full: Line::warning(LAST_FULL, "the Lease is not readable"),
            };
        }
        Ok(Err(error)) => {
            let lease = Line::unreadable(name, &error);
            let last_full = Line::unreadable(LAST_FULL, &error).softened();
            return Ours { exists: false, lease, last_full };
        }
        Ok(Ok(state)) => state,
    };
    let Some(state) = state else {
        let lease = could_create(name, key, cluster);
        let lease = lease.await;
        return Ours { exists: false, lease, last_full: last_full(&BTreeMap::new(), key, cluster) };
    };
    let lease = match &state.holder {
        None => Line::ok(&name, "free"),
        Some(holder) => {
            let renewed = async {
                match cluster.is_renewed(key, &state, OBSERVED_FOR).await {
                    Ok(true) => Line::ok(&name, format!("held by {holder}, and being renewed")),
                    Ok(false) => Line::warning(
                        &name,
                        format!("held by {holder}, who did not renew it within {}s", OBSERVED_FOR.as_secs()),
                    )
                    .hint("the next sync waits 15s and takes it"),
                    Err(error) => Line::of_api(&name, &error, "get", &rule),
                }
            };
            within(super::PATIENCE, &name, renewed).await
        }
    };
    Ours { exists: true, lease, last_full: last_full(&state.annotations, key, cluster) }
}

/// A Lease that is not there: whether it could be created.
async fn could_create(name: String, key: &LeaseKey, cluster: &Cluster) -> Line {
    let rule = Rule { namespace: Some(&key.namespace), ..Rule::LEASES };
    within(super::PATIENCE, &name, async {
        match cluster.could_create_lease(key).await {
            Ok(()) => Line::ok(&name, "not there yet, and can be created"),
            // Which permission is missing, another line says.
            Err(ApiError::Status(status)) if status.is_forbidden() => {
                Line::failed(&name, "not there yet, and may not be created (Forbidden)")
            }
            Err(error) => {
                let line = Line::of_api(&name, &error, "create", &rule);
                if line.message.contains("NotFound") {
                    line.hint(format!("kubectl create namespace {}, or --lease-namespace", key.namespace))
                } else {
                    line
                }
            }
        }
    })
    .await
}

/// Those that keep two remediations apart: one is held for a moment, and one for each node.
pub(super) async fn of_remediations(settings: &CheckSettings, cluster: &Cluster) -> [Line; 2] {
    let key = |name: &str| LeaseKey { name: name.into(), ..settings.lease.clone() };
    let (admission, any_node) = (key("sciuro-admission"), key("sciuro-node-check"));
    let look = async {
        let name = format!("Lease {}/{}", admission.namespace, admission.name);
        match tokio::time::timeout(super::PATIENCE, cluster.lease_state(&admission)).await {
            Err(_) => Line::failed(name, "it cannot be read in time"),
            Ok(Err(error)) => Line::unreadable(name, &error),
            Ok(Ok(None)) => could_create(name, &admission, cluster).await,
            Ok(Ok(Some(state))) => match state.holder {
                None => Line::ok(name, "free"),
                Some(holder) => Line::ok(name, format!("held by {holder}; it is held for a moment only")),
            },
        }
    };
    let node = could_create(format!("Leases {}/sciuro-node-*", any_node.namespace), &any_node, cluster);
    let (admission, node) = futures::join!(look, node);
    [admission, node]
}

/// Two writers of the same conditions undo each other's work.
pub(super) async fn upstream(settings: &CheckSettings, cluster: &Cluster) -> Line {
    let key = LeaseKey { name: UPSTREAM.into(), ..settings.lease.clone() };
    let name = format!("upstream's Lease {}/{}", key.namespace, key.name);
    if key == settings.lease {
        return Line::ok(name, "it is the one that sync takes");
    }
    let look = async {
        let found = async {
            let Some(state) = cluster.lease_state(&key).await? else { return Ok(None) };
            let Some(holder) = state.holder.clone() else { return Ok(None) };
            Ok(cluster.is_renewed(&key, &state, OBSERVED_FOR).await?.then_some(holder))
        };
        match found.await {
            Ok(None) => Line::ok(&name, "not being renewed"),
            Ok(Some(holder)) => Line::warning(
                &name,
                format!(
                    "being renewed by {holder}: upstream Sciuro runs here too, and writes the same conditions"
                ),
            )
            .hint("stop one of the two, or give one another --prefix"),
            Err(error) => Line::unreadable(&name, &error).softened(), // sync does without
        }
    };
    within(super::PATIENCE, &name, look).await
}

fn last_full(annotations: &BTreeMap<String, String>, key: &LeaseKey, cluster: &Cluster) -> Line {
    let memory = Memory::read(annotations);
    let now = cluster.now();
    let Some(full) = LastFull::of(&memory, now) else {
        let what = if memory.last_full.is_some() {
            "the one recorded lies in the future"
        } else {
            "none is recorded"
        };
        return Line::warning(LAST_FULL, format!("{what} in {}/{}", key.namespace, key.name))
            .hint("kubectl sciuro sync");
    };
    let by = memory.last_by.map(|by| format!(" by {by}")).unwrap_or_default();
    let message = format!("{} ago{by}", human_duration(now.duration_since(full.at)));
    if full.is_fresh(now) {
        Line::ok(LAST_FULL, message)
    } else {
        Line::warning(LAST_FULL, message)
            .hint("does sync still run, and trust all of its sources? kubectl sciuro sync")
    }
}
