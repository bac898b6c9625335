//! Looks whether the node is as it was before, until it has been so for long enough.

mod command;
mod pods;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::command::LastWord;
use super::baseline::{csi_drivers, list_ready_daemon_sets};
use super::reboot::command::CommandOptions;
use super::{News, Tell};
use crate::cluster::{ApiError, Cluster, RemediatedNode, WatchedNode};
use crate::core::node::Condition;
use crate::core::remediation::Record;
use crate::core::verify::{AlertsSeen, Check, Soak, SoakState, VerifySeen, checks};

/// How often the CSI drivers are looked at while the node is not as it was. There is no watch: it would take two permissions
/// more, and a driver goes with the pod that registers it, of which a watch tells.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct VerifyOptions {
    pub stable_for: Duration,
    /// What is left of the step's time; `None` = no limit.
    pub within: Option<Duration>,
    /// Has to succeed, too, once everything else is as it was.
    pub command: Option<CommandOptions>,
    /// What the alert sources say, as it changes.
    pub alerts: watch::Receiver<Option<AlertsSeen>>,
}

/// Returns once all checks have held for the whole time, or cannot be made. It has no end of its own; `last` has what it saw
/// last.
pub async fn verify(
    cluster: &Cluster,
    node: &str,
    record: &Record,
    views: watch::Receiver<WatchedNode>,
    options: &VerifyOptions,
    last: &Mutex<Vec<Check>>,
    tell: &dyn Tell,
) -> Result<(), ApiError> {
    let pods = watch::Sender::new(None);
    tokio::select! {
        error = pods::follow(cluster, node, &pods) => Err(error),
        () = until_held(cluster, node, record, views, &pods, options, last, tell) => Ok(()),
    }
}

#[expect(clippy::too_many_arguments, reason = "those of `verify`, and what it follows")]
async fn until_held(
    cluster: &Cluster,
    node: &str,
    record: &Record,
    mut views: watch::Receiver<WatchedNode>,
    pods: &watch::Sender<pods::Seen>,
    options: &VerifyOptions,
    last: &Mutex<Vec<Check>>,
    tell: &dyn Tell,
) {
    let began = Instant::now();
    let mut soak = Soak::new(options.stable_for);
    let mut last_word = options.command.as_ref().map(|command| LastWord::new(command, options.within));
    let mut first = None;
    let mut drivers: Option<(Instant, Vec<String>)> = None;
    let mut daemon_sets = pods.subscribe();
    let (mut state, mut is_certain) = (SoakState::Failing, false);
    loop {
        let view = views.borrow_and_update().clone();
        let WatchedNode::Here(view) = view else {
            soak.restart(); // a flap would go unseen
            (state, is_certain) = (SoakState::Failing, false);
            let facts = match &view {
                WatchedNode::Unknown { why, .. } | WatchedNode::Denied { why } => {
                    format!("the node is not visible: {why}")
                }
                WatchedNode::Here(_) | WatchedNode::Gone => "the node is gone".to_owned(),
            };
            tell.tell(News::Wait { elapsed: began.elapsed(), facts: &facts });
            wait(&mut views, &mut daemon_sets).await;
            continue;
        };
        let is_old = |(looked, _): &(Instant, _)| looked.elapsed() >= LOOK_EVERY;
        if state == SoakState::Failing && drivers.as_ref().is_none_or(is_old) {
            drivers = csi_drivers(cluster, node).await.ok().map(|drivers| (Instant::now(), drivers));
        }
        let ready = daemon_sets.borrow_and_update().clone();
        let is_seen = ready.is_some() && drivers.is_some();
        let heartbeats = first.get_or_insert_with(|| heartbeats(&view));
        let seen = VerifySeen {
            conditions: view.conditions.iter().map(condition).collect(),
            refreshed: refreshed(&view, heartbeats),
            daemonsets_ready: ready.unwrap_or_default(),
            allocatable: view.allocatable.clone(),
            csi_drivers: drivers.as_ref().map(|(_, drivers)| drivers.clone()).unwrap_or_default(),
            alerts: options.alerts.borrow().clone(),
        };
        let mut all = checks(&record.baseline, &record.reason, &seen);
        let mut passed = is_seen && all.iter().all(|check| check.passed);
        if let Some(word) = &mut last_word {
            if word.is_due(passed) {
                tell.tell(News::Wait { elapsed: began.elapsed(), facts: "runs the verify command" });
                word.run().await;
                continue; // the node may have changed meanwhile
            }
            let check = word.check();
            passed &= check.passed;
            all.push(check);
        }
        state = soak.observe(passed, &view.info.boot_id, began.elapsed());
        let facts = facts(&all, state, options.stable_for);
        last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(&all);
        if state != SoakState::Held {
            is_certain = false;
        } else if is_certain {
            for check in &all {
                tell.tell(News::Line(&format!("✔ {} {}", check.name, check.why)));
            }
            return;
        } else if let Ok((ready, now)) =
            futures::try_join!(list_ready_daemon_sets(cluster, node), csi_drivers(cluster, node))
        {
            // A watch may hang on a dead connection: the last word is about how it is now.
            pods.send_replace(Some(ready));
            (drivers, is_certain) = (Some((Instant::now(), now)), true);
            continue;
        }
        tell.tell(News::Wait { elapsed: began.elapsed(), facts: &facts });
        wait(&mut views, &mut daemon_sets).await;
    }
}

async fn wait(views: &mut watch::Receiver<WatchedNode>, daemon_sets: &mut watch::Receiver<pods::Seen>) {
    tokio::select! {
        Ok(()) = daemon_sets.changed() => {}
        Ok(()) = views.changed() => {}
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
}

fn facts(checks: &[Check], state: SoakState, stable_for: Duration) -> String {
    match state {
        SoakState::Holding(_) | SoakState::Held => {
            format!("all {} checks hold; watched for {}s", checks.len(), stable_for.as_secs())
        }
        SoakState::Failing => {
            let failing: Vec<String> = checks
                .iter()
                .filter(|check| !check.passed)
                .map(|check| format!("✗ {} {}", check.name, check.why))
                .collect();
            failing.join(", ")
        }
    }
}

fn heartbeats(node: &RemediatedNode) -> BTreeMap<String, Option<String>> {
    node.conditions
        .iter()
        .map(|condition| (condition.kind.clone(), condition.last_heartbeat_time.clone()))
        .collect()
}

fn refreshed(node: &RemediatedNode, before: &BTreeMap<String, Option<String>>) -> BTreeSet<String> {
    node.conditions
        .iter()
        .filter(|condition| before.get(&condition.kind) != Some(&condition.last_heartbeat_time))
        .map(|condition| condition.kind.clone())
        .collect()
}

fn condition(spelt: &crate::cluster::SpeltCondition) -> Condition {
    Condition {
        type_: spelt.kind.clone(),
        status: spelt.status.clone(),
        reason: spelt.reason.clone(),
        message: spelt.message.clone(),
        last_heartbeat: None,
        last_transition: None,
    }
}
