//! The drain itself: a loop around the queue of pods, which decides; here is what it is told and what it orders.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lookups::Lookups;
use super::volumes::{Settled, Volumes};
use super::{DrainFailure, DrainFailureKind, DrainOptions, Drained, KeptPod, reach};
use crate::cluster::{ApiError, Change, Cluster, NodeSelection, Rule, SeenNodes};
use crate::core::drain::{
    Answer, Budget, Classified, Limits, Now, Order, Pod, Policy, Queue, Verdict, refusals, warnings,
};
use crate::core::report::ShownNode;
use crate::error::Error;
use crate::remedy::{News, Tell};

/// Changes that wait to be taken.
const BACKLOG: usize = 64;

pub(super) async fn drain(
    cluster: Arc<Cluster>,
    node: &str,
    options: &DrainOptions,
    tell: &dyn Tell,
) -> Result<Drained, DrainFailure> {
    let begun = Instant::now();
    let deadline = options.timeout.map(|limit| begun + limit);
    let Some(run) = before(deadline, Run::begin(cluster, node, options, tell, begun)).await else {
        let why = format!("node {node} was not drained: its pods could not be listed in time");
        return Err(DrainFailure {
            kind: DrainFailureKind::TimedOut,
            why,
            left: Vec::new(),
            hints: Vec::new(),
        });
    };
    let mut run = run?;
    match before(deadline, run.until_done()).await {
        Some(Ok(())) => Ok(run.done()),
        Some(Err(failure)) => Err(failure),
        None if !run.queue.left().is_empty() => Err(run.failure(DrainFailureKind::TimedOut)),
        None if run.volumes.gives_up() => Ok(run.done()),
        None => Err(run.volumes.failure()),
    }
}

/// `None` if the deadline comes first.
async fn before<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

struct Run<'r> {
    cluster: Arc<Cluster>,
    node: &'r str,
    options: &'r DrainOptions,
    tell: &'r dyn Tell,
    begun: Instant,
    policy: Policy,
    lookups: Lookups,
    queue: Queue,
    volumes: Volumes<'r>,
    pods: mpsc::Receiver<Change<Pod>>,
    following_pods: JoinSet<Option<ApiError>>,
    nodes: watch::Receiver<SeenNodes<ShownNode>>,
    budgets: Budgets,
    /// What follows node and budgets.
    following: JoinSet<Option<Error>>,
    evictions: JoinSet<(String, Answer)>,
    /// Pods whose eviction was announced.
    announced: BTreeSet<String>,
    progress: (usize, usize, Option<String>),
}

/// Budgets are followed once one of them refuses.
enum Budgets {
    /// From this version on.
    Listed(String),
    Followed(mpsc::Receiver<Change<Budget>>),
    /// They could not be listed.
    Unknown,
}

impl<'r> Run<'r> {
    /// Lists everything, and refuses before anything is done.
    async fn begin(
        cluster: Arc<Cluster>,
        node: &'r str,
        options: &'r DrainOptions,
        tell: &'r dyn Tell,
        begun: Instant,
    ) -> Result<Self, DrainFailure> {
        let mut following = JoinSet::new();
        let selection = options.selection(node);
        let (to_nodes, mut nodes) = watch::channel(SeenNodes::default());
        let (following_node, name) = (cluster.clone(), format!("metadata.name={node}"));
        following.spawn(async move {
            let selection = NodeSelection { labels: None, fields: Some(&name) };
            Some(following_node.follow_nodes(selection, &to_nodes).await)
        });
        let (listed, budgets, first) = tokio::join!(
            cluster.list_pods(&selection),
            async { if options.disable_eviction { None } else { Some(cluster.list_budgets().await) } },
            async { nodes.wait_for(|seen: &SeenNodes<ShownNode>| seen.listed).await.is_ok() },
        );
        let listed = listed.map_err(|error| DrainFailure::api(&error.explain("list", &Rule::PODS)))?;
        if !first && let Some(Ok(Some(error))) = following.join_next().await {
            return Err(DrainFailure::api(&error));
        }
        let (known, budgets) = match budgets {
            Some(Ok(listed)) => (listed.items, Budgets::Listed(listed.version)),
            Some(Err(error)) => {
                tell.tell(News::Warning(&format!(
                    "disruption budgets cannot be listed, so each eviction asks for itself: {error}"
                )));
                (Vec::new(), Budgets::Unknown)
            }
            None => (Vec::new(), Budgets::Unknown),
        };
        let (to_pods, pods) = mpsc::channel(BACKLOG);
        let follower = cluster.clone();
        let version = listed.version;
        let mut following_pods = JoinSet::new();
        following_pods.spawn(async move { follower.follow_pods(&selection, version, &to_pods).await });
        let limits = Limits {
            in_flight: options.max_concurrent_evictions.max(1),
            budgets: !options.disable_eviction,
            shortens: options.grace_period.is_some(),
        };
        let mut run = Self {
            lookups: Lookups::new(cluster.clone(), &options.helper_namespace),
            policy: options.policy,
            queue: Queue::new(limits, options.policy, known),
            volumes: Volumes::new(cluster.clone(), node, options, tell),
            evictions: JoinSet::new(),
            announced: BTreeSet::new(),
            progress: (0, 0, None),
            cluster,
            node,
            options,
            tell,
            begun,
            pods,
            following_pods,
            nodes,
            budgets,
            following,
        };
        run.look_at_node();
        let classified = run.lookups.classify(listed.items, run.policy).await;
        run.refuse(&classified)?;
        for warning in warnings(&classified).iter().filter(|warning| !options.said.contains(warning)) {
            tell.tell(News::Warning(warning));
        }
        run.volumes.saw(classified.iter().map(|classified| &classified.pod)).await;
        for Classified { pod, verdict } in classified {
            run.queue.add(pod, verdict, false);
        }
        Ok(run)
    }

    /// As kubectl: pods that need a flag keep all others from being evicted.
    fn refuse(&mut self, classified: &[Classified]) -> Result<(), DrainFailure> {
        let reasons = refusals(classified);
        if reasons.is_empty() {
            return Ok(());
        }
        for Classified { pod, verdict } in classified {
            if matches!(verdict, Verdict::Blocked(_)) {
                self.queue.add(pod.clone(), verdict.clone(), false);
            }
        }
        let node = self.node;
        Err(DrainFailure {
            kind: DrainFailureKind::Refused,
            why: format!("unable to drain node {node:?}: {}", reasons.join("; ")),
            left: self.queue.left(),
            hints: Vec::new(),
        })
    }

    fn now(&self) -> Now {
        Now { elapsed: self.begun.elapsed(), wall: Timestamp::now() }
    }

    fn is_unreachable(&self) -> bool {
        self.nodes.borrow().nodes.values().any(reach::is_given_up)
    }

    /// Takes note of whether the node is unreachable.
    fn look_at_node(&mut self) {
        self.nodes.mark_unchanged();
        let (node, unreachable) = (self.node, self.is_unreachable());
        let policy = reach::policy(self.options, unreachable);
        if policy == self.policy {
            return;
        }
        let text =
            if unreachable { reach::unreachable(node) } else { format!("node {node} is reachable again") };
        if !self.options.said.contains(&text) {
            self.tell.tell(News::Warning(&text));
        }
        self.policy = policy;
        self.queue.skip_wait_for_delete(policy.skip_wait_for_delete);
    }

    /// Until no pod is left to be evicted or waited for, nor a volume to be detached: while volumes are, pods may come.
    async fn until_done(&mut self) -> Result<(), DrainFailure> {
        loop {
            let now = self.now();
            self.queue.tick(now);
            self.order(now);
            self.report();
            let mut look_at = None;
            if self.queue.is_done() && self.evictions.is_empty() {
                if !self.queue.left().is_empty() {
                    return Err(self.failure(DrainFailureKind::Failed));
                }
                match self.settle_volumes().await {
                    Settled::Done => return Ok(()),
                    Settled::Waiting(until) => look_at = until,
                }
            }
            if self.queue.blocking().is_some() {
                self.follow_budgets();
            }
            let wake = self.queue.wakes_at(now).map(|at| self.begun + at);
            tokio::select! {
                change = self.pods.recv() => self.take_pods(change).await?,
                Some(change) = self.budgets.recv() => self.take_budgets(change),
                Some(answered) = self.evictions.join_next() => self.take_answer(answered),
                Ok(()) = self.nodes.changed() => self.look_at_node(),
                () = self.volumes.changed() => {}
                () = until(wake) => {}
                () = until(look_at) => {}
            }
        }
    }

    async fn settle_volumes(&mut self) -> Settled {
        if self.is_unreachable() {
            let line = "not waiting for volumes: nothing detaches them from an unreachable node";
            self.tell.tell(News::Line(line));
            return Settled::Done;
        }
        let staying: Vec<Pod> = self.queue.kept().map(|(pod, _)| pod.clone()).collect();
        self.volumes.settle(&staying).await
    }

    fn order(&mut self, now: Now) {
        for order in self.queue.due(now) {
            if self.announced.insert(order.uid.clone()) {
                let Order { namespace, name, .. } = &order;
                let doing = if self.options.disable_eviction { "deleting" } else { "evicting" };
                self.tell.tell(News::Line(&format!("{doing} pod {namespace}/{name}")));
            }
            let (cluster, how) = (self.cluster.clone(), self.options.eviction(false));
            self.evictions.spawn(async move {
                let answer = cluster.evict(&order, &how).await;
                (order.uid, answer)
            });
        }
    }

    fn report(&mut self) {
        for line in self.queue.said() {
            self.tell.tell(News::Warning(&line));
        }
        let blocked = self.queue.blocking().or_else(|| self.queue.denying());
        let (evicted, total) = self.queue.progress();
        if (self.progress.0, self.progress.1, self.progress.2.as_deref()) != (evicted, total, blocked) {
            self.tell.tell(News::Drain { evicted, total, blocked });
            self.progress = (evicted, total, blocked.map(str::to_owned));
        }
    }

    async fn take_pods(&mut self, change: Option<Change<Pod>>) -> Result<(), DrainFailure> {
        match change {
            Some(Change::Put(pod)) => self.put(pod).await,
            Some(Change::Gone(pod)) => {
                let gone = self.queue.gone(&pod.uid);
                self.evicted(gone);
            }
            Some(Change::All(pods)) => {
                let uids = pods.iter().map(|pod| pod.uid.clone()).collect();
                for gone in self.queue.only(&uids) {
                    self.evicted(Some(gone));
                }
                for pod in pods {
                    self.put(pod).await;
                }
            }
            Some(Change::Interrupted(why)) => {
                self.tell.tell(News::Warning(&format!("no news of pods, trying again: {why}")));
            }
            None => {
                if let Some(Ok(Some(error))) = self.following_pods.join_next().await {
                    let failure = DrainFailure::api(&error.explain("watch", &Rule::PODS));
                    return Err(DrainFailure { left: self.queue.left(), ..failure });
                }
            }
        }
        Ok(())
    }

    async fn put(&mut self, pod: Pod) {
        if self.queue.knows(&pod.uid) {
            self.queue.changed(pod);
            return;
        }
        self.volumes.saw(std::iter::once(&pod)).await;
        for Classified { pod, verdict } in self.lookups.classify(vec![pod], self.policy).await {
            self.queue.add(pod, verdict, true);
        }
    }

    fn evicted(&self, pod: Option<Pod>) {
        if let Some(pod) = pod {
            let how = if self.options.disable_eviction { "deleted" } else { "evicted" };
            self.tell.tell(News::PodGone { namespace: &pod.namespace, name: &pod.name, how });
        }
    }

    fn take_answer(&mut self, answered: Result<(String, Answer), tokio::task::JoinError>) {
        if let Ok((uid, answer)) = answered {
            let gone = self.queue.answered(&uid, answer, self.now());
            self.evicted(gone);
        }
    }

    fn take_budgets(&mut self, change: Change<Budget>) {
        let now = self.now();
        match change {
            Change::Put(budget) => self.queue.budget_changed(&budget, now),
            Change::Gone(budget) => self.queue.budget_gone(&budget.namespace, &budget.name),
            Change::All(budgets) => self.queue.budgets_are(&budgets, now),
            Change::Interrupted(why) => tracing::debug!("no news of disruption budgets: {why}"),
        }
    }

    /// From now on news of budgets shorten the wait. Without them it is a matter of asking again.
    fn follow_budgets(&mut self) {
        let Budgets::Listed(version) = &self.budgets else { return };
        let (version, cluster) = (version.clone(), self.cluster.clone());
        let (to_budgets, budgets) = mpsc::channel(BACKLOG);
        self.following.spawn(async move {
            if let Some(error) = cluster.follow_budgets(version, &to_budgets).await {
                tracing::debug!(%error, "cannot watch disruption budgets");
            }
            None
        });
        self.budgets = Budgets::Followed(budgets);
    }

    fn failure(&self, kind: DrainFailureKind) -> DrainFailure {
        let (left, node) = (self.queue.left(), self.node);
        let pods = format!("{} pod{}", left.len(), if left.len() == 1 { "" } else { "s" });
        let why = match kind {
            DrainFailureKind::TimedOut => {
                let limit = self.options.timeout.unwrap_or_default().as_secs();
                format!("node {node} was not drained within {limit}s: {pods} left")
            }
            _ => format!("node {node} was not drained: {pods} cannot be evicted"),
        };
        DrainFailure { kind, why, left, hints: Vec::new() }
    }

    fn done(&self) -> Drained {
        let kept = self.queue.kept().map(|(pod, kept)| KeptPod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            reason: kept.reason(),
        });
        Drained { evicted: self.queue.progress().0, kept: kept.collect() }
    }
}

impl Budgets {
    /// Never, unless they are followed.
    async fn recv(&mut self) -> Option<Change<Budget>> {
        match self {
            Self::Followed(budgets) => budgets.recv().await,
            Self::Listed(_) | Self::Unknown => None,
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
