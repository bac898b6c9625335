//! The silence of a node's alerts while it is remediated: 15 minutes at a time, and expired on every way out.
//!
//! None of its failures stops a run: at worst somebody is paged, or a silence outlives its run by a few minutes. It is
//! found by what it says itself; the id in the record is for people, since any kubelet can write its own record.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::Context;
use super::alerts::Alerts;
use crate::cluster::{Hold, RemediatedNode};
use crate::core::node::Node;
use crate::core::remediation::{Mark, Record};
use crate::core::silence::{LASTS, Silence, SilenceMatcher};
use crate::source::Silences;
use crate::ui::Ui;

/// A run waits no longer for an Alertmanager.
const PATIENCE: Duration = Duration::from_secs(15);
/// Three times in the life of a silence.
const EXTEND_EVERY: Duration = Duration::from_secs(5 * 60);

pub(super) struct Silencing<'s> {
    alerts: Option<&'s Alerts<'s>>,
    ui: &'s Ui,
    node: Node,
    id: String,
    actor: &'s str,
    node_labels: &'s [String],
    is_wanted: bool,
    every: Duration,
    /// There may be one of ours.
    may_be_there: AtomicBool,
    /// The one that is there. Held while it is changed: what is sent before its end does not arrive after it.
    current: Mutex<Option<Silence>>,
    /// The same for who does not want to wait.
    mark: std::sync::Mutex<Option<Mark>>,
    stopped: watch::Sender<bool>,
}

impl<'s> Silencing<'s> {
    /// For the remediation `id`. Asks nobody.
    pub(super) fn new(node: &RemediatedNode, id: &str, context: &'s Context<'_>) -> Self {
        let Context { settings, ui, alerts, holder, .. } = *context;
        Self {
            alerts,
            ui,
            node: Node {
                name: node.name.clone(),
                uid: node.view.uid.clone(),
                hostname: node.labels.get("kubernetes.io/hostname").cloned(),
                addresses: node.addresses.iter().map(|one| one.address.clone()).collect(),
                provider_id: node.provider_id.clone(),
                conditions: Vec::new(),
            },
            id: id.to_owned(),
            actor: holder.rsplit_once('#').map_or(holder, |(actor, _)| actor),
            node_labels: &settings.selection.node_labels,
            is_wanted: settings.silence,
            every: settings.lease_duration.min(EXTEND_EVERY),
            may_be_there: AtomicBool::new(false),
            current: Mutex::default(),
            mark: std::sync::Mutex::default(),
            stopped: watch::Sender::new(false),
        }
    }

    /// What the record says of it.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.mark.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Silences the node's alerts, if that is wanted.
    pub(super) async fn begin(&self) {
        let (true, Some(alerts)) = (self.is_wanted, self.alerts) else { return };
        // Whatever becomes of the request: one that got no answer may have been heard.
        self.may_be_there.store(true, Ordering::Relaxed);
        let mut current = self.current.lock().await;
        let begun = async {
            let silenced = alerts.silenced(&self.node.name).await?;
            in_time(self.create(alerts, silenced.matchers)).await
        };
        match begun.await {
            Ok(silence) => {
                let minutes = LASTS.as_mins();
                self.ui.note(&format!(
                    "node/{}: silenced ({}, {minutes} minutes at a time)",
                    self.node.name, silence.id
                ));
                *self.mark.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                    Some(Mark::Silence { id: silence.id.clone() });
                *current = Some(silence);
            }
            Err(why) => self.ui.warning(&format!("node/{} is not silenced: {why}", self.node.name)),
        }
    }

    /// Goes on with what another process may have begun.
    pub(super) async fn take_over(&self, record: &Record) {
        self.remember(record);
        self.begin().await;
    }

    /// Another process may have left one.
    pub(super) fn remember(&self, record: &Record) {
        let Some(Mark::Silence { id }) =
            record.marks.iter().find(|mark| matches!(mark, Mark::Silence { .. }))
        else {
            return;
        };
        self.may_be_there.store(true, Ordering::Relaxed);
        if self.alerts.is_none() {
            self.ui.note(&format!(
                "node/{}: the silence {id} ends by itself, within {} minutes; with --alertmanager it would be ended now",
                self.node.name,
                LASTS.as_mins()
            ));
        }
    }

    /// Extends it along with the node's Lease, until it is stopped.
    pub(super) async fn extend(&self, lease: &Hold) {
        let Some(alerts) = self.alerts.filter(|_| self.is_wanted) else { return };
        let mut stopped = self.stopped.subscribe();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = tokio::time::sleep(self.every) => {}
            }
            let mut current = self.current.lock().await;
            let Some(silence) = current.clone() else { return };
            // One that is no longer ours to act on the node has nothing to silence either.
            if *stopped.borrow() || !lease.is_held() {
                continue;
            }
            match in_time(self.lengthen(alerts, silence)).await {
                Ok(Some(silence)) => *current = Some(silence),
                Ok(None) => {
                    *current = None;
                    self.ui.warning(&format!(
                        "node/{}: somebody has ended its silence; it is not made again",
                        self.node.name
                    ));
                }
                Err(why) => tracing::info!("the silence of {} was not extended: {why}", self.node.name),
            }
        }
    }

    /// Nothing is extended any more.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Another process has taken the node over, and what is there with it.
    pub(super) fn leave(&self) {
        self.may_be_there.store(false, Ordering::Relaxed);
    }

    /// Expires what is there of ours.
    pub(super) async fn end(&self) {
        self.stop();
        let Some(alerts) = self.alerts.filter(|_| self.may_be_there.load(Ordering::Relaxed)) else { return };
        let mut current = self.current.lock().await;
        *current = None;
        let ended = in_time(async {
            for silence in self.ours(alerts).await?.found {
                alerts.sources.expire_silence(&silence.id).await.map_err(|failure| failure.what)?;
            }
            Ok(())
        });
        match ended.await {
            Ok(()) => self.may_be_there.store(false, Ordering::Relaxed),
            Err(why) => self.ui.warning(&format!(
                "node/{}: its silence could not be ended, and ends by itself within {} minutes: {why}",
                self.node.name,
                LASTS.as_mins()
            )),
        }
    }

    /// Those of this run that are active.
    async fn ours(&self, alerts: &Alerts<'_>) -> Result<Silences, String> {
        let (node, id, labels) = (self.node.clone(), self.id.clone(), self.node_labels.to_vec());
        let is_ours = move |silence: &Silence| silence.is_active() && silence.is_of(&node, &id, &labels);
        alerts.sources.silences(is_ours).await.map_err(|failure| failure.what)
    }

    /// Or finds the one that a process before us has created.
    async fn create(&self, alerts: &Alerts<'_>, matchers: Vec<SilenceMatcher>) -> Result<Silence, String> {
        let Silences { found, now } = self.ours(alerts).await?;
        let silence = match found.into_iter().next() {
            Some(silence) => silence.extended(now),
            None => Silence::new(&self.node.name, &self.id, self.actor, matchers, now),
        };
        self.put(alerts, silence).await
    }

    /// `None` if it is there no more.
    async fn lengthen(&self, alerts: &Alerts<'_>, silence: Silence) -> Result<Option<Silence>, String> {
        let Silences { found, now } = self.ours(alerts).await?;
        match found.into_iter().find(|found| found.id == silence.id) {
            Some(found) => self.put(alerts, found.extended(now)).await.map(Some),
            None => Ok(None),
        }
    }

    async fn put(&self, alerts: &Alerts<'_>, silence: Silence) -> Result<Silence, String> {
        let id = alerts.sources.put_silence(&silence).await.map_err(|failure| failure.what)?;
        Ok(silence.with_id(id))
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || format!("no answer within {}s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
}
