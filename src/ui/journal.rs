//! Log lines of a loop: what each round would say again is said once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    Info,
    Warning,
    Error,
}

/// What was said in this round and in the one before, without the numbers: counts and ages differ each time.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<[HashSet<String>; 2]>);

impl Journal {
    pub(super) fn next_round(&self) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said[1] = std::mem::take(&mut said[0]);
    }

    pub(super) fn write(&self, level: Level, line: &str) {
        if !self.is_new(line) {
            return;
        }
        match level {
            Level::Info => tracing::info!("{line}"),
            Level::Warning => tracing::warn!("{line}"),
            Level::Error => tracing::error!("{line}"),
        }
    }

    fn is_new(&self, line: &str) -> bool {
        let essence: String = line.chars().filter(|character| !character.is_ascii_digit()).collect();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_said = said[1].contains(&essence);
        said[0].insert(essence) && !was_said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_again_only_after_a_round_without_it() {
        let journal = Journal::default();
        let rounds = [
            (vec!["started 40s ago", "started 41s ago", "2 alerts"], vec![true, false, true]),
            (vec!["started 100s ago"], vec![false]),
            (vec!["2 alerts", "started 160s ago"], vec![true, false]),
            (vec![], vec![]),
            (vec!["started 5s ago"], vec![true]),
        ];
        for (lines, new) in rounds {
            journal.next_round();
            assert_eq!(lines.iter().map(|line| journal.is_new(line)).collect::<Vec<_>>(), new, "{lines:?}");
        }
    }
}
