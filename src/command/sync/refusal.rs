//! What the loop does while it is not allowed to write: it asks again, less and less often, by one request.

use std::time::Duration;

use crate::error::Error;

/// Whoever gives the permission back sees it used within this, or a round.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often the server has refused what we write, and when it is asked again.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    error: Option<Error>,
    in_a_row: u32,
    /// So many rounds write nothing.
    left: u32,
}

impl Refusal {
    /// What stands for an answer in this round, if nobody is asked.
    pub(super) fn skips_round(&mut self) -> Option<Error> {
        self.left = self.left.checked_sub(1)?;
        self.error.clone()
    }

    pub(super) fn is_in_force(&self) -> bool {
        self.error.is_some()
    }

    /// What the server said in this round.
    pub(super) fn heard(&mut self, refused: Option<Error>, interval: Duration) {
        let Some(error) = refused else { return *self = Self::default() };
        let rounds = |time: Duration| u32::try_from(time.as_secs() / interval.as_secs().max(1));
        let longest = rounds(LONGEST_WAIT).unwrap_or(u32::MAX).max(1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.left = 2_u32.saturating_pow(self.in_a_row).min(longest) - 1;
        self.error = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    /// The rounds, from 1, in which the server is asked.
    fn asked(interval: u64, rounds: u32) -> Vec<u32> {
        let mut refusal = Refusal::default();
        let interval = Duration::from_secs(interval);
        let is_asked = |_: &u32| {
            let asks = refusal.skips_round().is_none();
            if asks {
                refusal.heard(Some(Error::new(Exit::Failed, "forbidden")), interval);
            }
            asks
        };
        (1..=rounds).filter(is_asked).collect()
    }

    #[test]
    fn it_asks_less_and_less_often_but_within_a_minute() {
        assert_eq!(asked(1, 190), [1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(asked(15, 16), [1, 3, 7, 11, 15]);
        assert_eq!(asked(60, 4), [1, 2, 3, 4]);
        assert_eq!(asked(300, 4), [1, 2, 3, 4]);
    }

    #[test]
    fn who_may_again_goes_on_as_before() {
        let mut refusal = Refusal::default();
        refusal.heard(Some(Error::new(Exit::Failed, "forbidden")), Duration::from_secs(1));
        assert!(refusal.is_in_force() && refusal.skips_round().is_some() && refusal.skips_round().is_none());
        refusal.heard(None, Duration::from_secs(1));
        assert!(!refusal.is_in_force() && refusal.skips_round().is_none());
    }
}
