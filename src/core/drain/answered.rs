//! What becomes of a pod with each answer to its eviction.

use std::time::Duration;

use super::super::answer::{Answer, Hint};
use super::notices::REMIND_EVERY;
use super::pace::Pace;
use super::{Entry, Now, Queue, Stage, Waits};

/// Pauses after errors that may pass, and after a webhook has said no; and the longest that a server may ask for.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
const SHORTEST_DENIAL: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
const LONGEST_ASKED: Duration = Duration::from_secs(60);

impl Queue {
    pub(super) fn take_answer(&mut self, uid: &str, answer: Answer, now: Now) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let (key, (evict, evicted)) = (entry.pod.key(), self.limits.words());
        let retry = |entry: &mut Entry, shortest: Duration, at_least: Option<Duration>| {
            let pause = shortest.saturating_mul(1 << entry.failures.min(5)).min(LONGEST_RETRY);
            entry.failures += 1;
            let pause = pause.max(at_least.unwrap_or_default().min(LONGEST_ASKED));
            entry.not_before = now.elapsed + pause;
            entry.stage = Stage::Due;
            pause
        };
        let accepted = matches!(answer, Answer::Accepted);
        let taken = std::mem::take(&mut entry.taken);
        for budget in &taken {
            if let Some(pace) = self.paces.get_mut(budget) {
                pace.answered(accepted);
            }
        }
        entry.waits = None;
        match answer {
            Answer::Accepted => entry.stage = Stage::Ending { accepted: true, namespace_ends: false },
            // That it is gone is for the watch to tell: it knows by uid.
            Answer::Gone => entry.stage = Stage::Ending { accepted: false, namespace_ends: false },
            Answer::NamespaceEnds => {
                entry.stage = Stage::Ending { accepted: false, namespace_ends: true };
            }
            Answer::Budget { name, why, retry_after } => {
                entry.stage = Stage::Due;
                let budget = match name {
                    Some(name) => format!("{}/{name}", entry.pod.namespace),
                    None => entry.budgets.first().cloned().unwrap_or_else(|| format!("{key} (unnamed)")),
                };
                if !entry.budgets.contains(&budget) {
                    entry.budgets = vec![budget.clone()];
                }
                if !taken.contains(&budget) {
                    retry(entry, SHORTEST_RETRY, None); // it was not expected to count
                }
                // The server may only say that it has not been counted yet.
                let failed = self.budgets.iter().find(|known| known.key() == budget);
                let failed = failed.and_then(|budget| budget.sync_failed.as_ref());
                let why = match failed.filter(|failed| !why.contains(failed.as_str())) {
                    Some(failed) => format!("{why} Its controller cannot count its pods: {failed}"),
                    None => why,
                };
                let pace = self.paces.entry(budget).or_insert_with(|| Pace::new(0));
                pace.refused(&why, retry_after, now.elapsed);
            }
            Answer::Throttled { retry_after } => {
                entry.stage = Stage::Due;
                let why = "the API server takes no more requests now (429 Too Many Requests)".to_owned();
                let pause = retry_after.unwrap_or(SHORTEST_RETRY).min(LONGEST_ASKED);
                self.not_before = self.not_before.max(now.elapsed + pause);
                if self.throttled.is_none_or(|said| now.elapsed >= said + REMIND_EVERY) {
                    self.throttled = Some(now.elapsed);
                    self.said.push(format!("{why}: no pod is {evicted} for {}s", pause.as_secs()));
                }
                entry.waits = Some(Waits { why, by: None, hint: Hint::Server });
            }
            Answer::Conflict(why) => {
                retry(entry, SHORTEST_RETRY, None);
                entry.waits = Some(Waits { why, by: None, hint: Hint::Pod });
            }
            Answer::Transient { why, retry_after, hint } => {
                if self.notices.is_new(&why, &why, now.elapsed) {
                    self.said.push(format!("cannot {evict} pod {key}, trying again: {why}"));
                }
                retry(entry, SHORTEST_RETRY, retry_after);
                entry.waits = Some(Waits { why, by: None, hint });
            }
            Answer::Denied { by, why, retry_after, hint } => {
                let pause = retry(entry, SHORTEST_DENIAL, retry_after).as_secs();
                if self.notices.is_new(&by, &why, now.elapsed) {
                    self.said.push(format!("cannot {evict} pod {key} yet, asking again in {pause}s: {why}"));
                }
                entry.waits = Some(Waits { why, by: Some(by), hint });
            }
            Answer::Refused { why, hint } => {
                if self.refusals.insert(why.clone()) {
                    self.said.push(format!("cannot {evict} pod {key}: {why}"));
                }
                entry.stage = Stage::Failed { why, hint };
            }
            Answer::NotRehearsed(why) => entry.stage = Stage::Failed { why, hint: Hint::Webhooks },
        }
    }
}
