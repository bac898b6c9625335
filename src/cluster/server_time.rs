//! What time it is by the API server. What is planned depends on times that others have written; one whose clock is an hour
//! ahead would take an outage that began a minute ago for one of an hour.

use std::sync::atomic::{AtomicI64, Ordering};

use http::header::{DATE, HeaderMap};
use jiff::{SignedDuration, Timestamp};

/// A difference that hurts nobody.
const TOLERATED: SignedDuration = SignedDuration::from_mins(1);

/// By how many seconds this machine's clock is ahead of the server's, by the server's last answer.
#[derive(Default)]
pub(super) struct ServerTime(AtomicI64);

impl ServerTime {
    /// The server wrote its date after the request was sent and before now, however long that took: the machine may have
    /// slept meanwhile.
    pub(super) fn learn(&self, headers: &HeaderMap, sent_at: Timestamp, now: Timestamp) {
        let date = headers.get(DATE).and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok());
        let Some(date) = date.map(|date| date.timestamp()) else { return };
        let ahead = if date < sent_at {
            sent_at.duration_since(date)
        } else if date > now {
            now.duration_since(date)
        } else {
            SignedDuration::ZERO
        };
        let counts = ahead.abs() > TOLERATED;
        self.0.store(if counts { ahead.as_secs() } else { 0 }, Ordering::Relaxed);
    }

    /// By how much this machine's clock is ahead, if that is more than a minute.
    pub(super) fn clock_ahead(&self) -> Option<SignedDuration> {
        let ahead = self.0.load(Ordering::Relaxed);
        (ahead != 0).then(|| SignedDuration::from_secs(ahead))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// What is learnt at 13:20:00 of an answer with this date to a request that was sent at 13:17:58.
    fn ahead(date: &'static str) -> i64 {
        let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
        let learnt = ServerTime(AtomicI64::new(7));
        learnt.learn(&headers, Timestamp::constant(1_584_537_478, 0), Timestamp::constant(1_584_537_600, 0));
        learnt.0.into_inner()
    }

    #[test]
    fn the_way_and_a_sleep_are_no_difference() {
        assert_eq!(ahead("Wed, 18 Mar 2020 13:16:58 GMT"), 0, "a minute before it was sent");
        assert_eq!(ahead("Wed, 18 Mar 2020 13:18:00 GMT"), 0);
        assert_eq!(ahead("Wed, 18 Mar 2020 13:21:00 GMT"), 0);
    }

    #[test]
    fn an_hour_is_one() {
        assert_eq!(ahead("Wed, 18 Mar 2020 12:17:58 GMT"), 3600);
        assert_eq!(ahead("Wed, 18 Mar 2020 14:20:00 GMT"), -3600);
        assert_eq!(ahead("yesterday"), 7, "nothing is learnt");
    }
}
