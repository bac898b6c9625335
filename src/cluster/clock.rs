//! A clock that goes on while the machine sleeps. `Instant` does not on Linux: a laptop that slept while it held a Lease
//! would go on writing as if nobody else could have taken it.

use std::sync::Arc;
use std::time::Duration;

/// Tells how long it has been since some fixed moment.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The machine's own.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn machine() -> Clock {
    use rustix::time::{ClockId, clock_gettime};

    Arc::new(|| {
        let time = clock_gettime(ClockId::Boottime);
        // Neither is ever negative.
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    })
}

/// Elsewhere `Instant` may stand still during a suspend, and the time of day does not: the one that moved more counts. If
/// somebody sets the time of day forward, a Lease is given up for nothing, which is safe.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn machine() -> Clock {
    use std::sync::{Mutex, PoisonError};
    use std::time::{Instant, SystemTime};

    let last = Mutex::new((Duration::ZERO, Instant::now(), SystemTime::now()));
    Arc::new(move || {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let (steady, day) = (Instant::now(), SystemTime::now());
        let moved = day.duration_since(last.2).unwrap_or_default().max(steady.duration_since(last.1));
        *last = (last.0 + moved, steady, day);
        last.0
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_never_goes_back() {
        let clock = super::machine();
        let (first, second) = (clock(), clock());
        assert!(first <= second && !first.is_zero());
    }
}
