//! How fast pods under one disruption budget are evicted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::notices::{REMIND_EVERY, reminder};

const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Pace {
    /// Evictions that it allows, as far as is known.
    allowed: usize,
    in_flight: usize,
    pause: Duration,
    not_before: Duration,
    /// The server has asked for this much patience.
    retry_after: Duration,
    refusal: Option<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    why: String,
    /// When a person is told next.
    speaks_at: Duration,
}

impl Pace {
    pub(super) fn new(allowed: i32) -> Self {
        Self {
            allowed: usize::try_from(allowed).unwrap_or(0),
            in_flight: 0,
            pause: Duration::ZERO,
            not_before: Duration::ZERO,
            retry_after: Duration::ZERO,
            refusal: None,
        }
    }

    fn has_room(&self, now: Duration) -> bool {
        now >= self.not_before && self.in_flight < self.allowed.max(1)
    }

    /// Takes a turn under every one of these budgets, or under none.
    pub(super) fn take(paces: &mut BTreeMap<String, Self>, budgets: &[String], now: Duration) -> bool {
        if !budgets.iter().filter_map(|budget| paces.get(budget)).all(|pace| pace.has_room(now)) {
            return false;
        }
        for budget in budgets {
            if let Some(pace) = paces.get_mut(budget) {
                pace.in_flight += 1;
            }
        }
        true
    }

    pub(super) fn answered(&mut self, accepted: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if accepted {
            self.allowed = self.allowed.saturating_sub(1);
            self.pause = Duration::ZERO;
            self.refusal = None;
        }
    }

    pub(super) fn refused(&mut self, why: &str, retry_after: Option<Duration>, now: Duration) {
        self.allowed = 0;
        // Several answers may come of one wave: they are one refusal.
        if now >= self.not_before {
            self.pause = self.pause.saturating_mul(2).clamp(SHORTEST, LONGEST);
        }
        self.retry_after = self.retry_after.max(now + retry_after.unwrap_or_default().min(LONGEST));
        self.not_before = self.not_before.max(now + self.pause).max(self.retry_after);
        let speaks_at = self.refusal.as_ref().map_or(now, |refusal| refusal.speaks_at);
        self.refusal = Some(Refusal { why: why.to_owned(), speaks_at });
    }

    /// The budget has changed: if it allows an eviction, there is nothing to wait for.
    pub(super) fn allows(&mut self, allowed: i32, now: Duration) {
        if self.refusal.is_some() && allowed > 0 {
            self.not_before = now.max(self.retry_after);
            self.pause = Duration::ZERO;
        }
    }

    pub(super) fn refuses(&self) -> bool {
        self.refusal.is_some()
    }

    pub(super) fn why(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.why.as_str())
    }

    pub(super) fn wakes_at(&self) -> Duration {
        self.not_before
    }

    pub(super) fn speaks_at(&self) -> Option<Duration> {
        self.refusal.as_ref().map(|refusal| refusal.speaks_at)
    }

    /// What a person is to be told now; `None` of `waiting`: nobody asks any more.
    pub(super) fn say(&mut self, budget: &str, waiting: Option<&str>, now: Duration) -> Option<String> {
        let refusal = self.refusal.as_mut()?;
        let Some(waiting) = waiting else {
            self.refusal = None;
            return None;
        };
        if now < refusal.speaks_at {
            return None;
        }
        refusal.speaks_at = now + REMIND_EVERY;
        let (why, namespace) = (&refusal.why, budget.split('/').next().unwrap_or_default());
        let why = format!("{why} (namespace {namespace})");
        Some(reminder(&why, waiting, self.not_before.saturating_sub(now)))
    }
}
