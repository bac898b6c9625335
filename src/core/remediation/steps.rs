//! What each state does once its record is stored.

use jiff::Timestamp;

use super::action::{Action, End};
use super::machine::{Machine, Progress};
use super::options::GUARD_SECONDS;
use super::record::{Attempt, AttemptOutcome, State};
use super::seen::{Failure, FailureKind, NodeView, Product, Recall, Work, WorkSeen};
use crate::core::boot;

impl Machine {
    /// The act of a state whose record is stored. `None`: the record has changed, store it.
    pub(super) fn act(&mut self, view: &NodeView, work: &WorkSeen, now: Timestamp) -> Option<Action> {
        match self.record.state {
            State::Cordoning => {
                let next = if self.options.skip_collect { State::Draining } else { State::Collecting };
                self.advance(next, now);
                None
            }
            State::Collecting => self.collect(work, now),
            State::Draining => self.drain(work, now),
            State::RebootIntent if self.retry.is_some() => self.retry(view, work, now),
            State::RebootIntent => self.reboot(view, work, now),
            State::WaitBoot => self.wait_for_boot(view, work, now),
            State::Verifying => self.verify(view, work, now),
            State::Uncordoning | State::Aborted => self.undo(view, work, now),
            State::NeedsHuman => self.stopped(work, now),
        }
    }

    fn stopped(&mut self, work: &WorkSeen, now: Timestamp) -> Option<Action> {
        let failed = self.record.failed_state.unwrap_or(State::NeedsHuman);
        let why = self.record.last_error.clone().unwrap_or_default();
        if failed == State::Verifying && self.options.asks_to_uncordon {
            match Progress::of(Work::Accept, work) {
                Progress::Done(_) => {
                    self.abort_with(format!("uncordoned all the same: {why}"), now);
                    self.failure = Some((failed, why));
                    return None;
                }
                Progress::Failed(_) => {}
                Progress::Idle | Progress::Underway => return Some(Action::Work(Work::Accept)),
            }
        }
        Some(Action::End(End::NeedsHuman { failed, why }))
    }

    /// Best effort: whatever becomes of it, the drain is next.
    fn collect(&mut self, work: &WorkSeen, now: Timestamp) -> Option<Action> {
        match Progress::of(Work::Collect, work) {
            // One that another process began may be skipped on a resume.
            _ if self.options.skip_collect => {}
            Progress::Done(product) => {
                if let Product::Bundle(Some(bundle)) = product {
                    self.record.bundle = Some(bundle.clone());
                }
            }
            Progress::Failed(_) => {}
            Progress::Underway if self.is_overdue(now) => {}
            Progress::Idle | Progress::Underway => return Some(Action::Work(Work::Collect)),
        }
        self.advance(State::Draining, now);
        None
    }

    fn drain(&mut self, work: &WorkSeen, now: Timestamp) -> Option<Action> {
        if !self.drained {
            match Progress::of(Work::Drain, work) {
                Progress::Done(_) => self.drained = true,
                Progress::Failed(failure) => return self.failed(failure, State::Draining, now),
                Progress::Underway if self.is_overdue(now) => {
                    self.fail(State::Draining, self.overdue("the node was not drained"), now);
                    return None;
                }
                Progress::Idle | Progress::Underway => return Some(Action::Work(Work::Drain)),
            }
        }
        if self.options.until.is_some_and(|until| until <= State::Draining) {
            self.stopping = true;
            return None;
        }
        // A person may take their time to answer: it has no deadline.
        match Progress::of(Work::Admit, work) {
            Progress::Done(product) => {
                let uptime = if let Product::Admitted { uptime } = product { *uptime } else { None };
                self.intend(uptime, now);
                None
            }
            // Of a request that may have been sent before, the proof says whether it was that.
            Progress::Failed(failure) if failure.kind == FailureKind::OtherBoot => {
                if self.record.open_attempt().is_none() {
                    self.note_new_boot();
                }
                self.advance(State::WaitBoot, now);
                None
            }
            Progress::Failed(failure) => self.failed(failure, State::RebootIntent, now),
            Progress::Idle | Progress::Underway => Some(Action::Work(Work::Admit)),
        }
    }

    fn intend(&mut self, uptime: Option<u64>, now: Timestamp) {
        // One of another process that may have been sent is sent again, with a limit of its own.
        let is_again = self.record.open_attempt().is_some();
        if is_again {
            self.record.attempts.pop();
        }
        let n = self.record.attempts.last().map_or(1, |attempt| attempt.n.saturating_add(1));
        self.record.attempts.push(Attempt {
            n,
            method: self.record.method,
            intent_at: now,
            not_after_uptime: uptime.map(|uptime| uptime.saturating_add(GUARD_SECONDS)),
            outcome: None,
        });
        self.may_issue = true;
        self.orders = u32::from(is_again);
        self.enter(State::RebootIntent, now);
    }

    fn reboot(&mut self, view: &NodeView, work: &WorkSeen, now: Timestamp) -> Option<Action> {
        match Progress::of(Work::Issue, work) {
            Progress::Done(_) => {
                self.outcome(AttemptOutcome::Issued);
                self.owed = true;
                self.advance(State::WaitBoot, now);
                None
            }
            Progress::Failed(failure) if failure.kind == FailureKind::OtherBoot => {
                self.outcome(AttemptOutcome::Rebooted);
                self.owed = true;
                self.advance(State::WaitBoot, now);
                None
            }
            Progress::Failed(failure) if failure.kind == FailureKind::Aborted => {
                self.withheld(work);
                self.abort_with(failure.why.clone(), now);
                None
            }
            // Whether it has reached the machine is not known, so the outcome stays open.
            Progress::Failed(failure) => {
                self.owed = true;
                self.failed(failure, State::RebootIntent, now)
            }
            Progress::Underway if self.is_overdue(now) => {
                self.fail(State::RebootIntent, self.overdue("the order to reboot was not acknowledged"), now);
                None
            }
            Progress::Underway => Some(Action::Work(Work::Issue)),
            Progress::Idle => self.issue(view, now),
        }
    }

    fn issue(&mut self, view: &NodeView, now: Timestamp) -> Option<Action> {
        let (guarded, open) = self.record.attempts.last().map_or((false, false), |attempt| {
            let open = matches!(attempt.outcome, None | Some(AttemptOutcome::NotIssued));
            (attempt.method.is_guarded(), open)
        });
        if !open || !self.may_issue {
            self.advance(State::WaitBoot, now);
            return None;
        }
        if !view.unschedulable {
            // It takes pods again, and was not told to reboot by us.
            self.abort_uncordoned(now);
            return None;
        }
        self.may_issue = guarded;
        self.orders = self.orders.saturating_add(1);
        Some(Action::Work(Work::Issue))
    }

    fn wait_for_boot(&mut self, view: &NodeView, work: &WorkSeen, now: Timestamp) -> Option<Action> {
        match Progress::of(Work::AwaitBoot, work) {
            Progress::Done(Product::Proven { boot_id }) => {
                self.credit_reboot();
                self.record.proven_boot_id = Some(boot_id.clone());
                self.advance(State::Verifying, now);
                return None;
            }
            Progress::Failed(failure) => {
                self.note_reboot(view);
                return self.failed(failure, State::WaitBoot, now);
            }
            Progress::Underway if self.is_overdue(now) => {
                self.note_reboot(view);
                self.fail(State::WaitBoot, self.overdue("the node did not prove a reboot"), now);
                return None;
            }
            _ => {}
        }
        Some(Action::Work(Work::AwaitBoot))
    }

    /// A failed wait that saw the new boot leaves that behind: its order is over.
    fn note_reboot(&mut self, view: &NodeView) {
        if self.has_rebooted(view) {
            self.credit_reboot();
        }
    }

    /// An attempt that was spent before was not it: the node rebooted by itself.
    fn credit_reboot(&mut self) {
        if !self.record.attempts.last().is_some_and(Attempt::is_spent) {
            self.outcome(AttemptOutcome::Rebooted);
        }
    }

    fn verify(&mut self, view: &NodeView, work: &WorkSeen, now: Timestamp) -> Option<Action> {
        let proven = self.record.proven_boot_id.as_deref().unwrap_or(&self.record.pre_boot_id);
        if boot::is_new(proven, &view.boot_id) {
            self.fail(State::Verifying, "the node rebooted again".to_owned(), now);
            return None;
        }
        match Progress::of(Work::Verify, work) {
            Progress::Done(_) => self.advance(State::Uncordoning, now),
            Progress::Failed(failure) => return self.failed(failure, State::Verifying, now),
            Progress::Underway if self.is_overdue(now) => {
                self.fail(State::Verifying, self.overdue("the checks did not hold"), now);
            }
            Progress::Idle | Progress::Underway => return Some(Action::Work(Work::Verify)),
        }
        None
    }

    fn failed(&mut self, failure: &Failure, state: State, now: Timestamp) -> Option<Action> {
        if failure.kind == FailureKind::Declined {
            return Some(Action::End(End::Declined));
        }
        self.fail(state, failure.why.clone(), now);
        None
    }

    /// `--retry-reboot`: another attempt, once the last one is provably spent.
    fn retry(&mut self, view: &NodeView, work: &WorkSeen, now: Timestamp) -> Option<Action> {
        let retry = self.retry.as_ref()?;
        if !retry.confirmed_spent {
            match Progress::of(Work::Recall, work) {
                Progress::Done(Product::Recalled(Recall::Spent)) => {}
                Progress::Done(Product::Recalled(Recall::Rebooted)) if retry.known_rebooted => {}
                Progress::Done(Product::Recalled(Recall::Rebooted)) => {
                    self.retry = None;
                    self.outcome(AttemptOutcome::Rebooted);
                    self.advance(State::WaitBoot, now);
                    return None;
                }
                Progress::Done(_) => {
                    let why = "the last order cannot be taken back: say that it is over with --confirm";
                    self.fail(State::RebootIntent, why.to_owned(), now);
                    return None;
                }
                Progress::Failed(failure) => return self.failed(failure, State::RebootIntent, now),
                Progress::Underway if self.is_overdue(now) => {
                    self.fail(State::RebootIntent, self.overdue("the last order was not taken back"), now);
                    return None;
                }
                Progress::Idle | Progress::Underway => return Some(Action::Work(Work::Recall)),
            }
        }
        self.begin_again(view, now);
        None
    }
}
