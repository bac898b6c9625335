//! How often a Lease is renewed, and how long its holder may be silent.

use std::time::Duration;

/// A Lease may say that its holder keeps it for a year; nobody waits that long, and we never say so.
pub(super) const LONGEST: Duration = Duration::from_secs(3_600);

const SHORTEST: Duration = Duration::from_secs(3);

/// Derived from one duration, except for those of `sync`, which are client-go's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a holder that says nothing keeps the Lease. Whole seconds: the Lease says so, too.
    pub(super) duration: Duration,
    pub(super) renew_every: Duration,
    /// Without a renewal for this long we stop writing, well before another may take over.
    pub(super) deadline: Duration,
}

impl Pace {
    pub const SYNC: Self = Self {
        duration: Duration::from_secs(15),
        renew_every: Duration::from_secs(5),
        deadline: Duration::from_secs(10),
    };

    /// A quarter of it between two renewals, two thirds of it without one. Shorter than 3 s is 3 s, longer than an hour is an
    /// hour.
    pub fn of(duration: Duration) -> Self {
        let duration = Duration::from_secs(duration.as_secs()).clamp(SHORTEST, LONGEST);
        Self { duration, renew_every: duration / 4, deadline: duration * 2 / 3 }
    }

    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// A renewal that hangs is tried again, once, before the deadline.
    pub(super) fn try_for(&self) -> Duration {
        self.deadline.saturating_sub(self.renew_every) / 2
    }

    /// After one that failed.
    pub(super) fn pause(&self) -> Duration {
        self.renew_every / 10
    }

    /// How often a Lease that is held is looked at.
    pub(super) fn look_every(&self) -> Duration {
        const SELDOM: Duration = Duration::from_secs(2);
        self.renew_every.min(SELDOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_tried_twice_before_the_deadline_and_the_deadline_is_before_the_end() {
        for pace in
            [Pace::SYNC, Pace::of(Duration::from_secs(60)), Pace::of(Duration::ZERO), Pace::of(Duration::MAX)]
        {
            assert!(pace.renew_every + 2 * pace.try_for() <= pace.deadline, "{pace:?}");
            assert!(
                pace.deadline < pace.duration && (SHORTEST..=LONGEST).contains(&pace.duration),
                "{pace:?}"
            );
        }
        assert_eq!(Pace::SYNC.try_for(), Duration::from_millis(2_500));
        assert_eq!(Pace::SYNC.pause(), Duration::from_millis(500));
        assert_eq!(Pace::of(Duration::from_secs(60)).renew_every, Duration::from_secs(15));
        assert_eq!(Pace::of(Duration::from_secs(60)).deadline, Duration::from_secs(40));
    }
}
