//! Volumes of pods that are gone: they are detached before the machine goes down, or their pods start elsewhere late.
//! Where they are not, nothing is lost: it is a reboot, after which the node has them as before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{DrainFailure, DrainFailureKind, DrainOptions, Warning};
use crate::cluster::{ApiError, Change, Cluster, PodSelection};
use crate::core::drain::{Attachment, Pod, Uses, standing};
use crate::remedy::{News, Tell};

/// Claims are asked for this many at a time.
const AT_ONCE: usize = 8;

/// Changes that wait to be taken.
const BACKLOG: usize = 64;

/// A claim, by namespace and name.
type Key = (String, String);

/// The volumes that pods use, each claim asked for until it is bound.
#[derive(Default)]
struct Claims {
    /// `None`: it cannot be read.
    known: BTreeMap<Key, Option<String>>,
    /// Why claims could not be read, until it is said.
    errors: Vec<String>,
    said: BTreeSet<Key>,
    /// That the permission is missing is the same for all of them.
    is_refused: bool,
}

impl Claims {
    async fn learn(&mut self, cluster: &Cluster, pods: &[&Pod]) {
        let missing: BTreeSet<Key> = keys(pods).filter(|key| !self.known.contains_key(key)).collect();
        let asked: Vec<_> = futures::stream::iter(missing)
            .map(|key| async move {
                let volume = cluster.volume_of_claim(&key.0, &key.1).await;
                (key, volume)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (key, volume) in asked {
            match volume {
                Ok(Some(volume)) => drop(self.known.insert(key, Some(volume))),
                Ok(None) => {}
                Err(error) => {
                    let refused = error.is_refusal() && std::mem::replace(&mut self.is_refused, true);
                    if self.said.insert(key.clone()) && !refused {
                        self.errors.push(format!("cannot read PVC {}/{}: {error}", key.0, key.1));
                    }
                    // One that is gone has no volume.
                    if !error.is_not_found() {
                        self.known.insert(key, None);
                    }
                }
            }
        }
    }

    fn uses(&self, pods: &[&Pod]) -> Uses {
        let mut uses = Uses::default();
        for pod in pods {
            for key in keys(&[pod]) {
                match self.known.get(&key) {
                    Some(Some(volume)) => drop(uses.volumes.insert(volume.clone(), pod.key())),
                    Some(None) => uses.unread += 1,
                    None => {}
                }
            }
        }
        uses
    }
}

fn keys(pods: &[&Pod]) -> impl Iterator<Item = Key> {
    pods.iter().flat_map(|pod| pod.claims.iter().map(|claim| (pod.namespace.clone(), claim.clone())))
}

/// The pods of the node, also those that the drain's selector leaves out.
fn all_pods(node: &str, options: &DrainOptions) -> PodSelection {
    PodSelection { labels: None, ..options.selection(node) }
}

/// What a person should know before the drain: attachments that perhaps nobody will ever detach.
pub(super) async fn warnings(
    cluster: &Cluster,
    node: &str,
    options: &DrainOptions,
    pods: &[Pod],
) -> Vec<Warning> {
    // What cannot be read here is said in the drain, and a permission that is missing is in the plan.
    let Ok(listed) = cluster.list_attachments().await else { return Vec::new() };
    let here: Vec<_> = listed.items.into_iter().filter(|attachment| attachment.node == node).collect();
    if here.is_empty() {
        return Vec::new();
    }
    let others = match &options.pod_selector {
        Some(_) => cluster.list_pods(&all_pods(node, options)).await.map(|listed| listed.items),
        None => Ok(Vec::new()),
    };
    let Ok(others) = others else { return Vec::new() };
    let pods: Vec<&Pod> = pods.iter().chain(&others).collect();
    let mut claims = Claims::default();
    claims.learn(cluster, &pods).await;
    let uses = claims.uses(&pods);
    let strangers = standing(&here, &uses, &uses).strangers;
    let warning = |attachment: &&Attachment| Warning {
        text: format!(
            "no pod on the node uses volume attachment {}; the drain waits {}s for it",
            attachment.shown(),
            options.strangers_within.as_secs()
        ),
        hint: Some(format!("kubectl get volumeattachment {} -o yaml", attachment.name)),
    };
    strangers.iter().map(warning).collect()
}

/// How things stand with the volumes once no pod is left to be evicted.
pub(super) enum Settled {
    Done,
    /// To be looked at again when something changes, and at this time at the latest.
    Waiting(Option<Instant>),
}

/// The volumes of a node while it is drained.
pub(super) struct Volumes<'r> {
    cluster: Arc<Cluster>,
    node: &'r str,
    options: &'r DrainOptions,
    tell: &'r dyn Tell,
    claims: Claims,
    /// The pods that were there since the drain began and use volumes.
    ever: Vec<Pod>,
    following: Option<Following>,
    said: BTreeSet<String>,
    /// What was awaited when it was looked at last, and whether it may be given up.
    awaited: Vec<String>,
    may_give_up: bool,
}

struct Following {
    since: Instant,
    attached: BTreeMap<String, Attachment>,
    changes: mpsc::Receiver<Change<Attachment>>,
    /// If a selector leaves some out: all pods, by uid.
    pods: BTreeMap<String, Pod>,
    pod_changes: Option<mpsc::Receiver<Change<Pod>>>,
    tasks: JoinSet<Option<ApiError>>,
    /// Why there is no more news.
    lost: Option<ApiError>,
}

impl<'r> Volumes<'r> {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        node: &'r str,
        options: &'r DrainOptions,
        tell: &'r dyn Tell,
    ) -> Self {
        Self {
            cluster,
            node,
            options,
            tell,
            claims: Claims::default(),
            ever: Vec::new(),
            following: None,
            said: BTreeSet::new(),
            awaited: Vec::new(),
            may_give_up: false,
        }
    }

    /// Pods that are on the node: their claims may be gone when they are.
    pub(super) async fn saw<'p>(&mut self, pods: impl Iterator<Item = &'p Pod>) {
        let before = self.ever.len();
        self.ever.extend(pods.filter(|pod| !pod.claims.is_empty()).cloned());
        let new: Vec<_> = self.ever.iter().skip(before).collect();
        self.claims.learn(&self.cluster, &new).await;
    }

    /// Looks at the volumes, now that no pods are left but these.
    pub(super) async fn settle(&mut self, staying: &[Pod]) -> Settled {
        let following = match self.following.take() {
            Some(following) => Ok(following),
            None => Following::begin(&self.cluster, self.node, self.options).await,
        };
        let following = match following {
            Ok(Following { lost: Some(error), .. }) | Err(error) => {
                self.tell.tell(News::Warning(&format!("volumes are not waited for: {error}")));
                return Settled::Done;
            }
            Ok(following) => self.following.insert(following),
        };
        let staying: Vec<&Pod> = staying.iter().chain(following.pods.values()).collect();
        if !following.attached.is_empty() {
            self.claims.learn(&self.cluster, &staying).await;
            for error in self.claims.errors.drain(..) {
                self.tell.tell(News::Warning(&error));
            }
        }
        let ever: Vec<_> = self.ever.iter().collect();
        let (now, ever) = (self.claims.uses(&staying), self.claims.uses(&ever));
        let standing = standing(following.attached.values(), &now, &ever);
        for (attachment, pod) in &standing.kept {
            if self.said.insert(format!("{} stays", attachment.name)) {
                let line =
                    format!("volume attachment {} is not waited for: pod {pod} stays", attachment.shown());
                self.tell.tell(News::Line(&line));
            }
        }
        if standing.is_done() {
            return Settled::Done;
        }
        let awaited: Vec<_> = standing.left.iter().chain(&standing.strangers).collect();
        self.awaited = awaited.iter().map(|attachment| attachment.shown()).collect();
        self.may_give_up = standing.has_strangers_alone();
        let new: Vec<_> = awaited
            .iter()
            .filter(|attachment| self.said.insert(attachment.name.clone()))
            .map(|attachment| attachment.name.as_str())
            .collect();
        if !new.is_empty() {
            self.tell.tell(News::Line(&format!("waiting for volumes to be detached: {}", new.join(", "))));
        }
        let give_up_at = following.since + self.options.strangers_within;
        match self.may_give_up {
            true if Instant::now() >= give_up_at && self.gives_up() => Settled::Done,
            true => Settled::Waiting(Some(give_up_at)),
            false => Settled::Waiting(None),
        }
    }

    /// Whether nobody may ever detach what is awaited: no pod used it since the drain began.
    pub(super) fn gives_up(&self) -> bool {
        if self.may_give_up {
            let awaited = self.awaited.join(", ");
            self.tell.tell(News::Warning(&format!(
                "not waiting longer for volumes that no pod has used since the drain began: {awaited}"
            )));
        }
        self.may_give_up
    }

    /// Takes news as it comes.
    pub(super) async fn changed(&mut self) {
        match &mut self.following {
            Some(following) => following.changed(self.node, self.tell).await,
            None => std::future::pending().await,
        }
    }

    /// The deadline has come.
    pub(super) fn failure(&self) -> DrainFailure {
        let (node, awaited) = (self.node, self.awaited.join(", "));
        DrainFailure {
            kind: DrainFailureKind::Volumes,
            why: format!("volumes are still attached to node {node}: {awaited}"),
            left: Vec::new(),
            hints: vec!["kubectl get volumeattachments".to_owned()],
        }
    }
}

impl Following {
    async fn begin(cluster: &Arc<Cluster>, node: &str, options: &DrainOptions) -> Result<Self, ApiError> {
        let listed = cluster.list_attachments().await?;
        let here = listed.items.into_iter().filter(|attachment| attachment.node == node);
        let attached: BTreeMap<_, _> = here.map(|attachment| (attachment.name.clone(), attachment)).collect();
        let mut tasks = JoinSet::new();
        let (to, changes) = mpsc::channel(BACKLOG);
        let (mut pods, mut pod_changes) = (BTreeMap::new(), None);
        if !attached.is_empty() {
            let (follower, version) = (cluster.clone(), listed.version);
            tasks.spawn(async move { follower.follow_attachments(version, &to).await });
            if options.pod_selector.is_some() {
                let selection = all_pods(node, options);
                let listed = cluster.list_pods(&selection).await?;
                pods = listed.items.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
                let (to, news) = mpsc::channel(BACKLOG);
                let (follower, version) = (cluster.clone(), listed.version);
                tasks.spawn(async move { follower.follow_pods(&selection, version, &to).await });
                pod_changes = Some(news);
            }
        }
        Ok(Self { since: Instant::now(), attached, changes, pods, pod_changes, tasks, lost: None })
    }

    async fn changed(&mut self, node: &str, tell: &dyn Tell) {
        let pod_change = async {
            match &mut self.pod_changes {
                Some(changes) => changes.recv().await,
                None => std::future::pending().await,
            }
        };
        let interrupted = tokio::select! {
            change = self.changes.recv() => match change {
                Some(Change::Interrupted(why)) => Some(why),
                Some(change) => {
                    let key = |attachment: &Attachment| attachment.name.clone();
                    apply(&mut self.attached, change, key, |attachment| attachment.node == node);
                    None
                }
                None => return self.ends().await,
            },
            change = pod_change => match change {
                Some(Change::Interrupted(why)) => Some(why),
                Some(change) => {
                    apply(&mut self.pods, change, |pod| pod.uid.clone(), |_| true);
                    None
                }
                None => return self.ends().await,
            },
        };
        if let Some(why) = interrupted {
            tell.tell(News::Warning(&format!("no news of volumes, trying again: {why}")));
        }
    }

    /// One of those that tell has ended.
    async fn ends(&mut self) {
        let ended = self.tasks.join_next().await;
        let error = ended.and_then(Result::ok).flatten();
        self.lost =
            Some(error.unwrap_or_else(|| ApiError::Broken("there is no more news of them".to_owned())));
    }
}

fn apply<T>(
    all: &mut BTreeMap<String, T>,
    change: Change<T>,
    key: impl Fn(&T) -> String,
    is_meant: impl Fn(&T) -> bool,
) {
    match change {
        Change::All(now) => {
            *all = now.into_iter().filter(is_meant).map(|one| (key(&one), one)).collect();
        }
        Change::Put(one) if is_meant(&one) => drop(all.insert(key(&one), one)),
        Change::Gone(one) => drop(all.remove(&key(&one))),
        Change::Put(_) | Change::Interrupted(_) => {}
    }
}
