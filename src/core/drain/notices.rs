//! What a person is told of pods that cannot be evicted now: each sentence of the server's once, at once; and every 30 s
//! what they wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A person is reminded of what holds the drain up this often.
pub(super) const REMIND_EVERY: Duration = Duration::from_secs(30);

/// By whoever says so: a webhook, or the sentence itself.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeMap<String, Notice>);

#[derive(Debug)]
struct Notice {
    said: BTreeSet<String>,
    latest: String,
    speaks_at: Duration,
}

impl Notices {
    /// Whether nobody was told this yet.
    pub(super) fn is_new(&mut self, by: &str, why: &str, now: Duration) -> bool {
        let notice = self.0.entry(by.to_owned()).or_insert_with(|| Notice {
            said: BTreeSet::new(),
            latest: String::new(),
            speaks_at: now + REMIND_EVERY,
        });
        why.clone_into(&mut notice.latest);
        notice.said.insert(why.to_owned())
    }

    /// The reminders that are due; `waiting` knows the pods that wait for one, and when the first of them is asked for again.
    pub(super) fn remind(
        &mut self,
        now: Duration,
        waiting: impl Fn(&str) -> Option<(String, Duration)>,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        self.0.retain(|by, notice| {
            let Some((pods, next)) = waiting(by) else { return false };
            if now >= notice.speaks_at {
                notice.speaks_at = now + REMIND_EVERY;
                lines.push(reminder(&notice.latest, &pods, next.saturating_sub(now)));
            }
            true
        });
        lines
    }

    pub(super) fn speaks_at(&self) -> impl Iterator<Item = Duration> {
        self.0.values().map(|notice| notice.speaks_at)
    }
}

pub(super) fn reminder(why: &str, pods: &str, next: Duration) -> String {
    format!("{why}; waiting: {pods}; asking again in {}s", next.as_secs())
}

/// The first few by name.
pub(super) fn some<'p>(pods: impl IntoIterator<Item = &'p str>) -> Option<String> {
    let pods: Vec<_> = pods.into_iter().collect();
    let more = if pods.len() > 3 { format!(" and {} more", pods.len() - 3) } else { String::new() };
    let first = pods.get(..3).unwrap_or(&pods).join(", ");
    (!pods.is_empty()).then(|| first + &more)
}
