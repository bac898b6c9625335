//! Which pod is evicted when: at most so many requests at a time, as many under a budget as it allows, and after a refusal
//! one. What happens comes in as it happens; time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::answer::{Answer, Hint};
use super::budget::Budget;
use super::classify::{Policy, Skip, Verdict, is_skipped};
use super::pod::{Phase, Pod};
use super::queue::notices::{Notices, some};
use super::queue::pace::Pace;

#[path = "answered.rs"]
mod answered;
#[path = "left.rs"]
mod left;
#[path = "notices.rs"]
mod notices;
#[path = "pace.rs"]
mod pace;

pub use left::Left;

/// How often in a row a pod may come back to the node: twice, or once if it may be scheduled there all the same.
const COMEBACKS: usize = 2;
const COMEBACKS_TOLERATING: usize = 1;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests at the same time.
    pub in_flight: usize,
    /// Disruption budgets are asked. Not so if pods are deleted.
    pub budgets: bool,
    /// Pods that are being deleted already are evicted nevertheless, to shorten their grace.
    pub shortens: bool,
}

impl Limits {
    /// What is done with pods.
    fn words(self) -> (&'static str, &'static str) {
        if self.budgets { ("evict", "evicted") } else { ("delete", "deleted") }
    }
}

/// The time, by two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since the drain began.
    pub elapsed: Duration,
    /// What deletion times are compared with.
    pub wall: Timestamp,
}

/// A pod that is to be evicted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub uid: String,
    pub namespace: String,
    pub name: String,
}

/// Why a pod stays on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Skip(Skip),
    /// However often it is evicted, it comes back.
    Returns,
}

impl Kept {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Skip(skip) => skip.reason(),
            Self::Returns => "comes back whenever it is evicted",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// To be evicted when its turn comes.
    Due,
    InFlight,
    /// Being deleted.
    Ending {
        accepted: bool,
        namespace_ends: bool,
    },
    Failed {
        why: String,
        hint: Hint,
    },
    Blocked {
        why: String,
        flag: Option<&'static str>,
    },
    Kept(Kept),
}

/// Why a pod could not be evicted just now.
struct Waits {
    why: String,
    /// The webhook or policy that says so.
    by: Option<String>,
    hint: Hint,
}

impl Waits {
    /// Of whom a person is reminded.
    fn whose(&self) -> &str {
        self.by.as_ref().unwrap_or(&self.why)
    }
}

struct Entry {
    pod: Pod,
    stage: Stage,
    /// The budgets that cover it.
    budgets: Vec<String>,
    not_before: Duration,
    /// Answers in a row that may pass.
    failures: u32,
    /// The last of them.
    waits: Option<Waits>,
    /// The budgets under which its request counts.
    taken: Vec<String>,
    /// It went while its request was under way.
    is_gone: bool,
}

impl Entry {
    /// It is still to be evicted.
    fn is_to_go(&self) -> bool {
        matches!(self.stage, Stage::Due | Stage::InFlight)
    }

    /// The budgets of which its eviction takes an allowed disruption, as far as is known.
    fn counting<'e>(&'e self, budgets: &'e [Budget]) -> impl Iterator<Item = &'e String> {
        self.budgets.iter().filter(|key| {
            let known = budgets.iter().find(|budget| budget.key() == **key);
            known.is_none_or(|budget| budget.counts(&self.pod))
        })
    }
}

/// The pods of a node, by uid, and the budgets over them.
pub struct Queue {
    limits: Limits,
    policy: Policy,
    entries: BTreeMap<String, Entry>,
    budgets: Vec<Budget>,
    paces: BTreeMap<String, Pace>,
    /// By owner: pods of it that were here at first, and that came later.
    owners: BTreeMap<String, (usize, usize)>,
    /// The server takes no requests before that; when a person was told so last.
    not_before: Duration,
    throttled: Option<Duration>,
    evicted: usize,
    notices: Notices,
    /// Final refusals that a person was told.
    refusals: BTreeSet<String>,
    /// Lines for a person that nobody took yet.
    said: Vec<String>,
}

impl Queue {
    pub fn new(limits: Limits, policy: Policy, budgets: Vec<Budget>) -> Self {
        let paces = budgets.iter().map(|budget| (budget.key(), Pace::new(budget.allowed))).collect();
        Self {
            limits,
            policy,
            entries: BTreeMap::new(),
            budgets,
            paces,
            owners: BTreeMap::new(),
            not_before: Duration::ZERO,
            throttled: None,
            evicted: 0,
            notices: Notices::default(),
            refusals: BTreeSet::new(),
            said: Vec::new(),
        }
    }

    /// Pods that are being deleted for longer than so are not waited for from now on (0 = all are).
    pub fn skip_wait_for_delete(&mut self, seconds: u32) {
        self.policy.skip_wait_for_delete = seconds;
    }

    pub fn knows(&self, uid: &str) -> bool {
        self.entries.contains_key(uid)
    }

    /// A pod that is on the node; `late` if it was not when the drain began.
    pub fn add(&mut self, pod: Pod, verdict: Verdict, late: bool) {
        let budgets = self.budgets.iter().filter(|budget| budget.covers(&pod)).map(Budget::key).collect();
        let stage = match verdict {
            Verdict::Skip(skip) => Stage::Kept(Kept::Skip(skip)),
            Verdict::Blocked(blocked) => {
                if late {
                    let key = pod.key();
                    self.said.push(format!(
                        "pod {key} arrived during the drain: cannot delete {}",
                        blocked.reason()
                    ));
                }
                Stage::Blocked { why: blocked.reason().to_owned(), flag: blocked.flag() }
            }
            Verdict::Evict(_) if self.comes_back(&pod, late) => {
                self.said.push(format!("pod {} {}: it stays", pod.key(), Kept::Returns.reason()));
                Stage::Kept(Kept::Returns)
            }
            Verdict::Evict(_) => Stage::Due,
        };
        let uid = pod.uid.clone();
        let entry = Entry {
            pod,
            stage,
            budgets,
            not_before: Duration::ZERO,
            failures: 0,
            waits: None,
            taken: Vec::new(),
            is_gone: false,
        };
        self.entries.insert(uid.clone(), entry);
        self.settle(&uid);
    }

    /// Counts the pods of an owner; whether this one came back too often.
    fn comes_back(&mut self, pod: &Pod, late: bool) -> bool {
        let owner = pod.owner.as_ref().map_or_else(|| pod.key(), |owner| owner.uid.clone());
        let (first, later) = self.owners.entry(owner).or_default();
        if !late {
            *first += 1;
            return false;
        }
        *later += 1;
        let times = if pod.tolerates_cordon { COMEBACKS_TOLERATING } else { COMEBACKS };
        *later > times * (*first).max(1)
    }

    /// A pod that is known has changed.
    pub fn changed(&mut self, pod: Pod) {
        let uid = pod.uid.clone();
        if let Some(entry) = self.entries.get_mut(&uid) {
            entry.pod = pod;
        }
        self.settle(&uid);
    }

    /// A pod that is being deleted needs no eviction.
    fn settle(&mut self, uid: &str) {
        if let Some(entry) = self.entries.get_mut(uid)
            && entry.stage == Stage::Due
            && entry.pod.deletion.is_some()
            && !self.limits.shortens
        {
            entry.stage = Stage::Ending { accepted: false, namespace_ends: false };
        }
    }

    /// A pod is gone from the API server. Whether it was one to be drained.
    pub fn gone(&mut self, uid: &str) -> Option<Pod> {
        let entry = self.entries.get_mut(uid)?;
        if entry.stage == Stage::InFlight {
            entry.is_gone = true; // its answer is still to come
            return None;
        }
        let entry = self.entries.remove(uid)?;
        let was_drained = matches!(entry.stage, Stage::Ending { .. } | Stage::Due);
        self.evicted += usize::from(was_drained);
        was_drained.then_some(entry.pod)
    }

    /// All pods there are now. What is not among them is gone; returns those that were to be drained.
    pub fn only(&mut self, uids: &BTreeSet<String>) -> Vec<Pod> {
        let gone: Vec<String> = self.entries.keys().filter(|uid| !uids.contains(*uid)).cloned().collect();
        gone.iter().filter_map(|uid| self.gone(uid)).collect()
    }

    /// A budget as it is now.
    pub fn budget_changed(&mut self, budget: &Budget, now: Now) {
        let key = budget.key();
        if let Some(pace) = self.paces.get_mut(&key) {
            pace.allows(budget.allowed, now.elapsed);
        }
        if !self.budgets.iter().any(|known| known.key() == key) {
            for entry in self.entries.values_mut().filter(|entry| budget.covers(&entry.pod)) {
                entry.budgets.push(key.clone());
            }
            self.paces.entry(key).or_insert_with(|| Pace::new(budget.allowed));
        }
        self.budgets.retain(|known| known.key() != budget.key());
        self.budgets.push(budget.clone());
    }

    /// All budgets there are now: what is not among them is gone.
    pub fn budgets_are(&mut self, budgets: &[Budget], now: Now) {
        let keys: BTreeSet<_> = budgets.iter().map(Budget::key).collect();
        let gone: Vec<_> =
            self.budgets.iter().filter(|known| !keys.contains(&known.key())).cloned().collect();
        for budget in gone {
            self.budget_gone(&budget.namespace, &budget.name);
        }
        for budget in budgets {
            self.budget_changed(budget, now);
        }
    }

    /// A budget that there is no more holds nothing.
    pub fn budget_gone(&mut self, namespace: &str, name: &str) {
        let key = format!("{namespace}/{name}");
        self.budgets.retain(|known| known.key() != key);
        self.paces.remove(&key);
        for entry in self.entries.values_mut() {
            entry.budgets.retain(|known| *known != key);
        }
    }

    /// The pods whose turn it is. Each of them is to be answered.
    pub fn due(&mut self, now: Now) -> Vec<Order> {
        if now.elapsed < self.not_before {
            return Vec::new();
        }
        let in_flight = self.entries.values().filter(|entry| entry.stage == Stage::InFlight).count();
        let mut free = self.limits.in_flight.saturating_sub(in_flight);
        let mut waiting: Vec<&mut Entry> = self
            .entries
            .values_mut()
            .filter(|entry| entry.stage == Stage::Due && entry.not_before <= now.elapsed)
            .collect();
        waiting.sort_by_cached_key(|entry| entry.pod.key());
        let mut orders = Vec::new();
        for entry in waiting {
            if free == 0 {
                break;
            }
            if self.limits.budgets {
                let budgets: Vec<_> = entry.counting(&self.budgets).cloned().collect();
                if !Pace::take(&mut self.paces, &budgets, now.elapsed) {
                    continue;
                }
                entry.taken = budgets;
            }
            entry.stage = Stage::InFlight;
            free -= 1;
            let Pod { uid, namespace, name, .. } = &entry.pod;
            orders.push(Order { uid: uid.clone(), namespace: namespace.clone(), name: name.clone() });
        }
        orders
    }

    /// What came of an order. The pod, if it is gone with that.
    pub fn answered(&mut self, uid: &str, answer: Answer, now: Now) -> Option<Pod> {
        self.take_answer(uid, answer, now);
        self.entries.get(uid).is_some_and(|entry| entry.is_gone).then(|| self.gone(uid)).flatten()
    }

    /// Lets go of pods that have been ending for too long, and speaks of budgets that hold the drain up.
    pub fn tick(&mut self, now: Now) {
        for entry in self.entries.values_mut() {
            let ends = matches!(entry.stage, Stage::Ending { .. });
            if ends && is_skipped(&entry.pod, self.policy, now.wall) {
                let key = entry.pod.key();
                self.said.push(format!("pod {key} {}: it is not waited for", Skip::Ending.reason()));
                entry.stage = Stage::Kept(Kept::Skip(Skip::Ending));
            }
        }
        for (budget, pace) in &mut self.paces {
            let waiting =
                self.entries.values().filter(|entry| entry.is_to_go() && entry.budgets.contains(budget));
            let waiting = some(waiting.map(|entry| entry.pod.name.as_str()));
            self.said.extend(pace.say(budget, waiting.as_deref(), now.elapsed));
        }
        let entries = &self.entries;
        self.said.extend(self.notices.remind(now.elapsed, |by| {
            let is_meant = |entry: &&Entry| entry.waits.as_ref().is_some_and(|waits| waits.whose() == by);
            let waiting = || entries.values().filter(|entry| entry.is_to_go()).filter(is_meant);
            let pods: Vec<_> = waiting().map(|entry| entry.pod.key()).collect();
            let next = waiting().map(|entry| entry.not_before).min()?;
            Some((some(pods.iter().map(String::as_str))?, next))
        }));
    }

    /// When to look again if nothing happens before.
    pub fn wakes_at(&self, now: Now) -> Option<Duration> {
        let entries = self.entries.values().filter_map(|entry| match entry.stage {
            Stage::Due if self.limits.budgets => {
                let paces = entry.counting(&self.budgets).filter_map(|budget| self.paces.get(budget));
                paces.map(Pace::wakes_at).chain([entry.not_before, self.not_before]).max()
            }
            Stage::Due => Some(entry.not_before.max(self.not_before)),
            Stage::Ending { .. } if self.policy.skip_wait_for_delete > 0 => {
                let limit = jiff::SignedDuration::from_secs(i64::from(self.policy.skip_wait_for_delete) + 1);
                let rest = (entry.pod.deletion? + limit).duration_since(now.wall);
                Some(now.elapsed + rest.try_into().unwrap_or(Duration::ZERO))
            }
            _ => None,
        });
        let reminders = self.paces.values().filter_map(Pace::speaks_at).chain(self.notices.speaks_at());
        entries.filter(|at| *at > now.elapsed).chain(reminders).min()
    }

    /// Lines for a person, each once.
    pub fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    /// Pods that are gone, and how many that makes of all that are to be.
    pub fn progress(&self) -> (usize, usize) {
        let rest = self.entries.values().filter(|entry| !matches!(entry.stage, Stage::Kept(_))).count();
        (self.evicted, self.evicted + rest)
    }

    /// The first webhook or policy that denies.
    pub fn denying(&self) -> Option<&str> {
        let mut waits =
            self.entries.values().filter(|entry| entry.is_to_go()).filter_map(|entry| entry.waits.as_ref());
        waits.find_map(|waits| waits.by.as_deref())
    }

    /// The first budget that refuses.
    pub fn blocking(&self) -> Option<&str> {
        self.paces.iter().find(|(_, pace)| pace.refuses()).map(|(budget, _)| budget.as_str())
    }

    /// Nothing more is to be evicted or waited for; some may have failed.
    pub fn is_done(&self) -> bool {
        self.entries
            .values()
            .all(|entry| matches!(entry.stage, Stage::Failed { .. } | Stage::Blocked { .. } | Stage::Kept(_)))
    }

    /// The pods that stay, and why.
    pub fn kept(&self) -> impl Iterator<Item = (&Pod, Kept)> {
        self.entries.values().filter_map(|entry| match entry.stage {
            Stage::Kept(kept) => Some((&entry.pod, kept)),
            _ => None,
        })
    }

    /// The pods that were to be drained and are still there.
    pub fn left(&self) -> Vec<Left> {
        let mut left: Vec<_> = self.entries.values().filter_map(|entry| self.left_of(entry)).collect();
        left.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
        left
    }
}

/// Whether a pod that is being evicted may come back to the cordoned node at once.
pub fn returns(pod: &Pod) -> bool {
    pod.tolerates_cordon && pod.phase != Phase::Succeeded && pod.owner.is_some()
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
