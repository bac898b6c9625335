//! Takes an order back, as far as it can be.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::helper::HelperOptions;
use super::pod;
use super::{RebootError, Target};
use crate::cluster::WatchedNode;
use crate::core::boot::is_new;
use crate::core::remediation::{Attempt, Method, Recall};
use crate::remedy::{News, Tell};

/// After its probe an order is good for 120 s, then the guard refuses; the machine goes down 3 s later. The rest is slack.
const WINDOW: Duration = Duration::from_secs(150);

/// Removes the helper of the order, if it has one, and waits until the order cannot be carried out any more or has been.
/// `helpers`: as whoever sent it made them.
pub async fn recall(
    helpers: &HelperOptions,
    target: &Target<'_>,
    attempt: &Attempt,
    pre_boot_id: &str,
    mut views: watch::Receiver<WatchedNode>,
    tell: &dyn Tell,
) -> Result<Recall, RebootError> {
    match attempt.method {
        Method::Pod | Method::Signal => pod::clean_up(helpers, target).await?,
        Method::Ssh => {}
        // Nobody knows what a command has set in motion, nor what a person has.
        Method::Command | Method::Manual => return Ok(Recall::CannotBe),
    }
    let ends = Instant::now() + remaining(attempt.intent_at, target.cluster.now());
    loop {
        if let WatchedNode::Here(node) = &*views.borrow_and_update()
            && is_new(pre_boot_id, &node.info.boot_id)
        {
            return Ok(Recall::Rebooted);
        }
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Recall::Spent);
        }
        let facts = format!("an order that is on its way could still arrive for {}s", left.as_secs());
        tell.tell(News::Wait { elapsed: WINDOW.saturating_sub(left), facts: &facts });
        tokio::select! {
            Ok(()) = views.changed() => {}
            () = tokio::time::sleep(left.min(Duration::from_secs(1))) => {}
        }
    }
}

/// What is left of an order's window. Whoever wrote `intent_at` may have had another clock: no more than all of it, and a
/// time to come counts as now.
fn remaining(intent_at: Timestamp, now: Timestamp) -> Duration {
    let passed = Duration::try_from(now.duration_since(intent_at)).unwrap_or_default();
    WINDOW.saturating_sub(passed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_window_is_clamped() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(remaining(at(1000), at(1000)), WINDOW);
        assert_eq!(remaining(at(1000), at(1100)), Duration::from_secs(50));
        assert_eq!(remaining(at(1000), at(9000)), Duration::ZERO);
        assert_eq!(remaining(at(9000), at(1000)), WINDOW, "a clock that is behind");
    }
}
