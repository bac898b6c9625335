//! `sync --loop`: a round each --interval while the Lease is ours. Whoever waits for the Lease knows the nodes already, and
//! asks nobody for alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::refusal::Refusal;
use super::report::{Report, failures, is_visible, print_changes, print_failures};
use super::trust::{down, say_held};
use super::write::{NodePlan, NodeResult, Outcome, Progress, refused, write};
use super::{Job, decide, fetch, lease, sources};
use crate::cluster::{Candidate, Cluster, Hold, LeaseKey, NodeSelection, SeenNodes, Waiting};
use crate::command::stop::{Stopped, until_stopped};
use crate::core::condition::{SourceState, apply};
use crate::core::memory::Memory;
use crate::core::node::{Condition, Node};
use crate::core::round::Notice;
use crate::core::source::{Gathered, Trust};
use crate::error::{Error, Exit, Result};
use crate::metrics::{Health, Metrics, Patched, Server};
use crate::settings::{SourceSettings, SyncSettings};
use crate::source::Sources;
use crate::ui::Ui;

/// Nodes that are added this close together are planned together.
const BURST: Duration = Duration::from_millis(200);

/// How long patches that were begun may take after a signal.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Nodes that cannot be followed are tried again after this long.
const FOLLOW_AGAIN: Duration = Duration::from_secs(10);

/// How often one who waits for the Lease says that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A round of 5,000 patches to a slow server is no sign of death.
const LONGEST_ROUND: Duration = Duration::from_secs(600);

pub(super) async fn run(
    source: &SourceSettings,
    settings: &SyncSettings,
    cluster: &Arc<Cluster>,
    ui: &Arc<Ui>,
) -> Result<Exit> {
    let interval = settings.interval.unsigned_abs();
    let who = cluster.clone();
    let health = Arc::new(Health::new(3 * interval + LONGEST_ROUND, move || who.is_known()));
    let metrics = Arc::new(Metrics::default());
    let server = match settings.metrics_addr {
        Some(address) => Some(Server::bind(address).await?),
        None => None,
    };
    let served = async {
        match server {
            Some(server) => server.run(metrics.clone(), health.clone()).await,
            None => std::future::pending().await,
        }
    };
    let sources = sources(source, cluster, ui)?;
    let seen = watch::Sender::new(SeenNodes::default());
    let candidate = lease::candidate(settings, cluster);
    let looping =
        Loop { source, sources, settings, cluster, ui, candidate, seen, metrics: &metrics, health: &health };
    tokio::select! {
        never = looping.follow() => match never {},
        exit = looping.work() => exit,
        () = served => Err(Error::new(Exit::Failed, "the metrics are served no more")),
    }
}

/// At once, whatever was said in a round.
fn log(error: &Error) {
    error.lines().for_each(|line| tracing::error!("{line}"));
}

struct Loop<'l> {
    source: &'l SourceSettings,
    sources: Sources,
    settings: &'l SyncSettings,
    cluster: &'l Arc<Cluster>,
    ui: &'l Ui,
    candidate: Option<(LeaseKey, Candidate)>,
    seen: watch::Sender<SeenNodes<Node>>,
    metrics: &'l Metrics,
    health: &'l Health,
}

/// What one round leaves for the next.
struct Left {
    /// The alerts of the last full round, for nodes that come before the next.
    last_full: Option<(Instant, Gathered)>,
    memory: Memory,
    refusal: Refusal,
}

/// Why there is something to do.
enum Due {
    Round,
    /// Nodes are new, or alerts find them by other names.
    News,
}

impl Loop<'_> {
    /// Keeps the nodes up to date, whoever leads.
    async fn follow(&self) -> Infallible {
        loop {
            let error = self.cluster.follow_nodes(NodeSelection::default(), &self.seen).await;
            log(&error);
            tokio::time::sleep(FOLLOW_AGAIN).await;
        }
    }

    async fn work(&self) -> Result<Exit> {
        match until_stopped(None, self.alive_while(self.nodes_listed())).await {
            Ok(()) => {}
            Err(Stopped::Signal(signal)) => return Ok(signal.exit()),
            Err(stopped) => return Err(stopped.into()),
        }
        loop {
            let hold = match until_stopped(None, self.alive_while(self.elected())).await {
                Ok(hold) => hold,
                Err(Stopped::Signal(signal)) => return Ok(signal.exit()),
                Err(stopped) => return Err(stopped.into()),
            };
            self.metrics.leader(true);
            self.health.ready(true);
            let stopped = self.lead(hold.as_ref()).await;
            self.metrics.leader(false);
            match stopped {
                Stopped::Signal(signal) => {
                    lease::release(hold, None, self.settings, self.ui).await;
                    tracing::info!("stopped");
                    return Ok(signal.exit());
                }
                Stopped::LeaseLost => tracing::warn!("the Lease was lost: another may write now"),
            }
        }
    }

    async fn nodes_listed(&self) {
        // The sender is ours, and lives as long as this.
        let _ = self.seen.subscribe().wait_for(|seen| seen.listed).await;
    }

    /// Waits until we may write. Without a Lease that is always.
    async fn elected(&self) -> Option<Hold> {
        let (key, candidate) = self.candidate.as_ref()?;
        lease::warn_of_upstream(key, self.cluster, self.ui).await;
        let mut failure = None;
        let hold = candidate
            .wait(|waiting| match waiting {
                Waiting::Behind(holder) => {
                    self.health.ready(true);
                    failure = None;
                    tracing::info!(
                        "standing by: the Lease {}/{} is held by {}",
                        key.namespace,
                        key.name,
                        holder
                    );
                }
                Waiting::Failed(error) => {
                    let error = Error::from(error);
                    if failure.as_ref() != Some(&error) {
                        log(&error);
                    }
                    failure = Some(error);
                }
            })
            .await;
        tracing::info!("leading: the Lease {}/{} is ours", key.namespace, key.name);
        Some(hold)
    }

    async fn alive_while<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut signs = tokio::time::interval(SIGN_OF_LIFE);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = signs.tick() => self.health.alive(),
            }
        }
    }

    /// The first round at once, the others on a fixed schedule, which what takes too long does not shift.
    async fn lead(&self, hold: Option<&Hold>) -> Stopped {
        let mut ticks = tokio::time::interval(self.period());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // What the leader before us left, and from then on our own.
        let memory = hold.map(|hold| Memory::read(&hold.annotations())).unwrap_or_default();
        let mut left = Left { last_full: None, memory, refusal: Refusal::default() };
        loop {
            let due = async {
                tokio::select! {
                    biased;
                    _ = ticks.tick() => Due::Round,
                    () = self.news() => Due::News,
                }
            };
            let due = match until_stopped(hold, due).await {
                Ok(due) => due,
                Err(stopped) => return stopped,
            };
            self.health.alive();
            let done = match due {
                Due::Round => Box::pin(self.round(hold, &mut left)).await,
                Due::News => Box::pin(self.plan_news(hold, &mut left)).await,
            };
            if let Err(stopped) = done {
                return stopped;
            }
        }
    }

    /// The interval, ±10 % by who we are, so that the loops of many clusters do not ask one source at the same time.
    fn period(&self) -> Duration {
        let mut hasher = DefaultHasher::new();
        (lease::holder(), std::process::id()).hash(&mut hasher);
        let per_mille = 900 + u32::try_from(hasher.finish() % 201).unwrap_or(100);
        self.settings.interval.unsigned_abs() * per_mille / 1000
    }

    fn job(&self) -> Job<'_> {
        let Self { source, settings, cluster, ui, .. } = *self;
        Job { source, settings, cluster, ui }
    }

    async fn news(&self) {
        // The sender is ours, and lives as long as this.
        let _ = self.seen.subscribe().wait_for(|seen| !seen.news.is_empty()).await;
        tokio::time::sleep(BURST).await;
    }

    /// The nodes as they are known now, with our conditions only, and which of them are news: if that is taken, they are
    /// none any more.
    fn take_nodes(&self, takes_news: bool) -> (Vec<Node>, BTreeSet<String>) {
        let mut taken = None;
        self.seen.send_if_modified(|seen| {
            let nodes = seen.nodes.values().map(|node| Node {
                name: node.name.clone(),
                uid: node.uid.clone(),
                hostname: node.hostname.clone(),
                addresses: node.addresses.clone(),
                provider_id: node.provider_id.clone(),
                conditions: self.owned(node),
            });
            let news = if takes_news { std::mem::take(&mut seen.news) } else { BTreeSet::new() };
            taken = Some((nodes.collect(), news));
            false
        });
        taken.unwrap_or_default()
    }

    fn owned(&self, node: &Node) -> Vec<Condition> {
        let prefix = &self.settings.round.conditions.prefix;
        node.conditions.iter().filter(|condition| prefix.owns(&condition.type_)).cloned().collect()
    }

    /// One round. What goes wrong in it is said, and is over with it.
    async fn round(&self, hold: Option<&Hold>, left: &mut Left) -> Result<(), Stopped> {
        let started = Instant::now();
        self.ui.next_round();
        let interruption = self.seen.borrow().interrupted.clone();
        if let Some((since, why)) = interruption {
            self.ui.warning(&format!("no news of nodes since {}: {why}", since.strftime("%H:%M:%SZ")));
        }
        let fetched = until_stopped(hold, Box::pin(fetch(&self.job(), &self.sources, &left.memory))).await?;
        self.tell_sources(&fetched.trust);
        // Unless all is known now, what is new may need what fired before.
        let (nodes, _) = self.take_nodes(fetched.trust.state == SourceState::Full);
        let (plans, mut report) = decide(&fetched, &left.memory, &nodes, |_| true, &self.job());
        let (written, stopped) = match left.refusal.skips_round().filter(|_| !plans.is_empty()) {
            Some(error) => (refused(&plans, error), None),
            None => self.write(hold, &plans, &mut left.refusal).await,
        };
        report.written = written;
        self.tell(&report, started.elapsed());
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        let annotations = lease::annotations(&report, self.settings);
        left.memory = Memory::read(&annotations);
        if let Some(hold) = hold {
            hold.annotate(annotations);
        }
        if fetched.trust.state == SourceState::Full {
            // For what comes until the next round it is an addition only.
            let trust = Trust { state: SourceState::Partial, ..fetched.trust };
            left.last_full = Some((Instant::now(), Gathered { trust, ..fetched }));
        }
        Ok(())
    }

    /// A node that came since the last round, or is found by other names now, gets what fires. Nothing is cleared.
    async fn plan_news(&self, hold: Option<&Hold>, left: &mut Left) -> Result<(), Stopped> {
        let (nodes, news) = self.take_nodes(true);
        let is_fresh = |at: &Instant| at.elapsed() < 2 * self.settings.interval.unsigned_abs();
        let may_write = !left.refusal.is_in_force();
        let fresh = left.last_full.as_ref().filter(|(at, _)| may_write && is_fresh(at));
        let Some((_, fetched)) = fresh else { return Ok(()) };
        let is_news = |node: &Node| news.contains(&node.name);
        let known = Memory { clusters: left.memory.clusters.clone(), ..Memory::default() };
        let (plans, _) = decide(fetched, &known, &nodes, is_news, &self.job());
        let (written, stopped) = self.write(hold, &plans, &mut left.refusal).await;
        print_failures(failures(&written), self.ui);
        stopped.map_or(Ok(()), Err)
    }

    /// Writes, while we may. After a signal no further node is begun, and those that were are finished.
    async fn write(
        &self,
        hold: Option<&Hold>,
        plans: &[NodePlan<'_>],
        refusal: &mut Refusal,
    ) -> (Vec<NodeResult>, Option<Stopped>) {
        let progress = Progress::default();
        // Whether we may again, one node can tell.
        let (first, rest) = plans.split_at(usize::from(refusal.is_in_force()).min(plans.len()));
        let stopped = {
            let mut writing = Box::pin(async {
                write(self.cluster, first, self.settings, &progress).await;
                write(self.cluster, rest, self.settings, &progress).await;
            });
            match until_stopped(hold, writing.as_mut()).await {
                Ok(()) => None,
                Err(Stopped::Signal(signal)) => {
                    progress.stop();
                    let finish = tokio::time::timeout(FINISH_WITHIN, writing);
                    let _in_time = match hold {
                        Some(hold) => hold.while_held(finish).await.is_some(),
                        None => finish.await.is_ok(),
                    };
                    Some(Stopped::Signal(signal))
                }
                Err(lost) => Some(lost),
            }
        };
        if !plans.is_empty() {
            refusal.heard(progress.refused(), self.settings.interval.unsigned_abs());
        }
        let written = progress.take();
        self.remember(plans, &written);
        print_changes(&written, self.settings, self.ui);
        for result in &written {
            let patched = match result.outcome {
                Outcome::Written => Patched::Written,
                Outcome::Gone => Patched::Gone,
                Outcome::Failed(_) => Patched::Failed,
                Outcome::Planned | Outcome::Skipped => continue,
            };
            self.metrics.patch(&result.changes, patched, result.took);
        }
        (written, stopped)
    }

    /// What we wrote we know before the watch tells it, unless it has told something else meanwhile.
    fn remember(&self, plans: &[NodePlan<'_>], written: &[NodeResult]) {
        let plans: BTreeMap<&str, &NodePlan<'_>> =
            plans.iter().map(|plan| (plan.node.name.as_str(), plan)).collect();
        self.seen.send_if_modified(|seen| {
            for result in written.iter().filter(|result| matches!(result.outcome, Outcome::Written)) {
                let Some(plan) = plans.get(result.node.as_str()) else { continue };
                let Some(node) = seen.nodes.get_mut(&result.node) else { continue };
                if node.uid == plan.node.uid && self.owned(node) == plan.node.conditions {
                    node.conditions = apply(&plan.changes, &node.conditions);
                }
            }
            false
        });
    }

    fn tell_sources(&self, trust: &Trust) {
        self.metrics.forget_members();
        for (place, (group, members)) in self.source.groups.iter().zip(&trust.groups).enumerate() {
            let source = format!("{}-{place}", group.api.name());
            for member in members {
                self.metrics.member(&source, member);
            }
        }
    }

    fn tell(&self, report: &Report, took: Duration) {
        print_failures(report.failures(), self.ui);
        say_held(report, self.settings, self.ui);
        if report.round.state == SourceState::Down {
            self.ui.error(&down(&report.trust));
        }
        let summary = report.summary(self.settings);
        // A round that changed nothing is told when the one before did not tell the same.
        if report.written.iter().any(|result| result.changes.iter().any(is_visible)) {
            tracing::info!("{summary}");
        } else {
            self.ui.note(&summary);
        }
        let is_success = report.round.state == SourceState::Full && report.failures().next().is_none();
        self.metrics.selection(&report.counts);
        let holds_clears =
            report.round.notices.iter().any(|notice| matches!(notice, Notice::ClearsHeld { .. }));
        self.metrics.round(report.round.state, took, is_success.then_some(report.finished), holds_clears);
        let seen = self.seen.borrow();
        let statuses = seen.nodes.values().flat_map(|node| &node.conditions);
        let owned = statuses.filter(|condition| self.settings.round.conditions.prefix.owns(&condition.type_));
        self.metrics.conditions(owned.map(|condition| condition.status.as_str()));
    }
}
