//! The drain as the plan shows it.

use serde::Serialize;

use crate::cluster::Cluster;
use crate::core::drain::Policy;
use crate::error::Result;
use crate::remedy::drain::DrainOptions;
use crate::settings::{DrainSettings, RemediateSettings};
use crate::ui::Step;

/// What a drain would do with each pod.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DrainPlan {
    /// The server was asked about each eviction.
    pub(super) rehearsed: bool,
    pub(super) pods: Vec<PodPlan>,
    #[serde(skip)]
    pub(super) obstacles: Vec<Obstacle>,
    #[serde(skip)]
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodPlan {
    pub(super) namespace: String,
    pub(super) name: String,
    /// `ReplicaSet/web-5d9c`.
    pub(super) owner: Option<String>,
    pub(super) action: PodAction,
    pub(super) reason: String,
    pub(super) budget: Option<BudgetPlan>,
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) empty_dir: bool,
}

#[allow(dead_code)] // until there is a rehearsal
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum PodAction {
    Evict,
    Skip,
    Blocked,
}

impl PodAction {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Evict => "evict",
            Self::Skip => "skip",
            Self::Blocked => "blocked",
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BudgetPlan {
    pub(super) name: String,
    pub(super) disruptions_allowed: i32,
    pub(super) current_healthy: i32,
    pub(super) desired_healthy: i32,
}

/// Why a run is not begun, beside the gates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// `unmanaged`, `budget-overlap` …
    pub(super) name: &'static str,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// What a flag allows, if one does.
    pub(super) exception: Option<Exception>,
}

/// What kubectl drain does only with a flag.
#[allow(dead_code)] // until there is a rehearsal
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exception {
    IgnoreDaemonsets,
    DeleteEmptydirData,
    Force,
}

impl Exception {
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::IgnoreDaemonsets => "--ignore-daemonsets",
            Self::DeleteEmptydirData => "--delete-emptydir-data",
            Self::Force => "--force",
        }
    }
}

/// Asks the server how the drain would go. Not built yet: nothing is rehearsed.
#[allow(clippy::unused_async)]
pub(super) async fn rehearse(
    _node: &str,
    settings: &RemediateSettings,
    _cluster: &Cluster,
    _step: &Step,
) -> Result<DrainPlan> {
    let warnings =
        if settings.skip_drain { Vec::new() } else { vec!["the drain was not rehearsed".to_owned()] };
    Ok(DrainPlan { warnings, ..DrainPlan::default() })
}

/// As the drain takes them.
pub(super) fn options(drain: &DrainSettings) -> DrainOptions {
    DrainOptions {
        policy: Policy {
            ignore_daemonsets: drain.ignore_daemonsets,
            delete_emptydir_data: drain.delete_emptydir_data,
            force: drain.force,
            skip_wait_for_delete: drain
                .skip_wait_for_delete
                .map_or(0, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX)),
        },
        grace_period: drain.grace_period,
        timeout: drain.timeout,
        pod_selector: drain.pod_selector.clone(),
        disable_eviction: drain.disable_eviction,
        chunk_size: drain.chunk_size,
        max_concurrent_evictions: drain.max_concurrent_evictions,
    }
}
