//! The end of a run, good or not: what was left behind goes, and a cordon of ours with it.

use jiff::Timestamp;

use super::action::{Action, End, RecordWrite, Write};
use super::machine::{Cordon, Machine, Progress};
use super::record::{AttemptOutcome, LastOutcome, LastRemediation, Mark, State};
use super::seen::{NodeView, Product, Recall, Work, WorkSeen};
use crate::core::boot;

impl Machine {
    /// The node takes pods again: a reboot would be a surprise.
    pub(super) fn abort_uncordoned(&mut self, now: Timestamp) {
        self.abort_with("someone else uncordoned the node".to_owned(), now);
    }

    pub(super) fn abort_with(&mut self, why: String, now: Timestamp) {
        self.enter(State::Aborted, now);
        self.record.last_error = Some(why);
        self.retry = None;
        self.stopping = false;
    }

    pub(super) fn undo(&mut self, view: &NodeView, work: &WorkSeen, now: Timestamp) -> Option<Action> {
        if self.record.state == State::Aborted
            && self.may_still_reboot(view)
            && let Some(action) = self.recall(work, now)
        {
            return action;
        }
        match Progress::of(Work::CleanUp, work) {
            Progress::Done(_) => Some(self.finish(view, now)),
            Progress::Failed(failure) => {
                self.cannot_undo(failure.why.clone(), now);
                None
            }
            Progress::Underway if self.is_overdue(now) => {
                self.cannot_undo("what was left behind could not be removed in time".to_owned(), now);
                None
            }
            Progress::Idle | Progress::Underway => Some(Action::Work(Work::CleanUp)),
        }
    }

    /// An order was recorded, and nothing says that it is over.
    fn may_still_reboot(&self, view: &NodeView) -> bool {
        !self.unrecallable
            && !boot::is_new(&self.record.pre_boot_id, &view.boot_id)
            && self.record.attempts.last().is_some_and(|attempt| {
                !matches!(attempt.outcome, Some(AttemptOutcome::Rebooted | AttemptOutcome::Spent))
            })
    }

    /// `None`: it is over, or will never be. `Some(None)`: the record has changed.
    #[expect(clippy::option_option, reason = "the inner one is what an act returns")]
    fn recall(&mut self, work: &WorkSeen, now: Timestamp) -> Option<Option<Action>> {
        match Progress::of(Work::Recall, work) {
            Progress::Done(Product::Recalled(Recall::Spent)) => self.outcome(AttemptOutcome::Spent),
            Progress::Done(Product::Recalled(Recall::Rebooted)) => self.outcome(AttemptOutcome::Rebooted),
            Progress::Done(_) => {
                self.unrecallable = true;
                return None;
            }
            Progress::Failed(failure) => self.cannot_undo(failure.why.clone(), now),
            Progress::Underway if self.is_overdue(now) => {
                self.cannot_undo("the order to reboot was not taken back in time".to_owned(), now);
            }
            Progress::Idle | Progress::Underway => return Some(Some(Action::Work(Work::Recall))),
        }
        Some(None)
    }

    /// The record is kept: what it names is still there.
    pub(super) fn cannot_undo(&mut self, why: String, now: Timestamp) {
        let failed = self.record.state;
        self.failure = None;
        self.enter(State::NeedsHuman, now);
        self.record.failed_state = Some(failed);
        self.record.last_error = Some(why);
    }

    /// The patch that the run is to end with, as it would be now.
    pub fn last_write(&self, view: &NodeView, now: Timestamp) -> Option<Box<Write>> {
        match self.clone().finish(view, now) {
            Action::Write(write) => Some(write),
            _ => None,
        }
    }

    fn finish(&mut self, view: &NodeView, now: Timestamp) -> Action {
        let stays = self.why_the_cordon_stays(view);
        let lift = stays.is_none() && view.unschedulable;
        self.finishing = Some(match stays {
            _ if !view.unschedulable => Cordon::Gone,
            Some(why) => Cordon::Stays(why),
            None => Cordon::Lifted,
        });
        let outcome =
            if self.record.state == State::Aborted { LastOutcome::Aborted } else { LastOutcome::Remediated };
        Action::Write(Box::new(Write {
            record: RecordWrite::Finish(LastRemediation {
                id: self.record.id.clone(),
                outcome,
                actor: self.record.actor.clone(),
                finished: now,
                method: self.record.method,
                attempts: u32::try_from(self.record.attempts.len()).unwrap_or(u32::MAX),
                boot_id: self.record.proven_boot_id.clone(),
                reason: self.record.reason.clone(),
            }),
            unschedulable: lift.then_some(false),
        }))
    }

    fn why_the_cordon_stays(&self, view: &NodeView) -> Option<String> {
        if self.unrecallable {
            Some("the order to reboot cannot be taken back".to_owned())
        } else if self.record.was_unschedulable || !self.record.marks.contains(&Mark::Cordon) {
            Some("it had been cordoned before".to_owned())
        } else if !view.cordon_is_ours {
            Some("somebody else has cordoned it".to_owned())
        } else if view.keep_cordoned {
            Some("the annotation sciuro.dev/keep-cordoned asks for it".to_owned())
        } else if self.options.keep_cordon {
            Some("--keep-cordon asks for it".to_owned())
        } else if !view.claims.is_empty() {
            Some(view.claims.join(", "))
        } else {
            None
        }
    }

    /// The record is off the Node.
    pub(super) fn finished(&self) -> End {
        let stays = match &self.finishing {
            Some(Cordon::Stays(why)) => Some(why.clone()),
            _ => None,
        };
        match (&self.failure, self.record.state) {
            (Some((failed, why)), _) => {
                End::Undone { failed: *failed, why: why.clone(), cordon_stays: stays }
            }
            (None, State::Aborted) => {
                End::Aborted { why: self.record.last_error.clone().unwrap_or_default(), cordon_stays: stays }
            }
            (None, _) => {
                let uncordoned = matches!(self.finishing, Some(Cordon::Lifted));
                End::Remediated { uncordoned, why: stays }
            }
        }
    }
}
