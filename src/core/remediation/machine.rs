//! Decides what a remediation does next.
//!
//! Level-triggered: every decision is made anew from the record that is on the Node, from what is seen, and from the
//! little that this process remembers. Write, then act: a state's work begins only once its record is seen on the Node
//! with our holder in it.

use std::time::Duration;

use jiff::Timestamp;

use super::action::{Action, End, RecordWrite, Write};
use super::options::{DEADLINE_SLACK, Options, spelt};
use super::record::{Attempt, AttemptOutcome, Mark, Method, Record, State};
use super::seen::{
    Failure, FailureKind, LeaseSeen, NodeSeen, NodeView, Product, RecordSeen, Seen, Work, WorkSeen,
};
use crate::core::boot;

/// One run over one node.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Machine {
    /// As it should be on the Node.
    pub(super) record: Record,
    pub(super) options: Options,
    /// What is on the Node until we have taken it over.
    pub(super) before: Option<Box<Record>>,
    /// `record` has been seen on the Node since it last changed.
    pub(super) confirmed: bool,
    /// The last state that is known to be on the Node; `None` before the first write.
    pub(super) on_node: Option<State>,
    /// `since` is still that of the process before us.
    pub(super) restamp: bool,
    /// The record carries what became of an order, and nobody else knows it.
    pub(super) owed: bool,
    /// `--until`: end once the record is stored.
    pub(super) stopping: bool,
    /// Nothing is left to evict.
    pub(super) drained: bool,
    /// The order of this attempt may be given by us: we have asked all questions, and its intent is ours.
    pub(super) may_issue: bool,
    /// How often the order of this attempt may have been sent, the one in hand included.
    pub(super) orders: u32,
    /// `--retry-reboot`: the last attempt has to be over first.
    pub(super) retry: Option<Retry>,
    /// What is undone although or because a step failed: `--on-failure uncordon`, or a person said so.
    pub(super) failure: Option<(State, String)>,
    /// The order cannot be taken back, so the cordon has to stay.
    pub(super) unrecallable: bool,
    /// The last patch is asked for: what it does with the cordon.
    pub(super) finishing: Option<Cordon>,
    ended: Option<End>,
}

/// Another attempt is asked for.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    pub(super) method: Method,
    pub(super) confirmed_spent: bool,
    /// The record says that the last attempt did reboot the node: whoever asks knows.
    pub(super) known_rebooted: bool,
    pub(super) ready_heartbeat: Option<String>,
}

/// What the last patch does with the cordon.
#[derive(Debug, Clone)]
pub(super) enum Cordon {
    Lifted,
    /// Not lifted by us: why.
    Stays(String),
    /// It was lifted by someone else.
    Gone,
}

/// How far the work of a state has come.
pub(super) enum Progress<'s> {
    Idle,
    Underway,
    Done(&'s Product),
    Failed(&'s Failure),
}

impl Progress<'_> {
    pub(super) fn of(work: Work, seen: &WorkSeen) -> Progress<'_> {
        match seen {
            WorkSeen::Underway(which) if *which == work => Progress::Underway,
            WorkSeen::Done(which, product) if *which == work => Progress::Done(product),
            WorkSeen::Failed(which, failure) if *which == work => Progress::Failed(failure),
            _ => Progress::Idle,
        }
    }
}

impl Machine {
    /// A new remediation: everything that can be known before the first change is known. The record is given its first
    /// state and, if the cordon will be ours, its mark.
    pub fn start(mut record: Record, options: Options) -> Self {
        record.state = State::Cordoning;
        record.timeout = options.timeout(State::Cordoning);
        record.attempts.clear();
        Self::new(record, options)
    }

    pub(super) fn new(record: Record, options: Options) -> Self {
        Self {
            record,
            drained: options.skip_drain,
            options,
            before: None,
            confirmed: false,
            on_node: None,
            restamp: false,
            owed: false,
            stopping: false,
            may_issue: false,
            orders: 0,
            retry: None,
            failure: None,
            unrecallable: false,
            finishing: None,
            ended: None,
        }
    }

    /// The record as it should be on the Node.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// No record of it was on the Node yet, as far as is known.
    pub fn is_new(&self) -> bool {
        self.on_node.is_none()
    }

    /// How much of the state's time is left; `None` = no limit.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        self.record.remaining(now)
    }

    /// What to do now. Whoever calls it
    /// - never goes back to an older view of the Node than one it has shown before,
    /// - begins the work that is asked for (an order that was asked for counts as sent), and drops what is not asked for again,
    /// - keeps the result of work in `seen.work` until other work is asked for.
    pub fn next(&mut self, seen: &Seen, now: Timestamp) -> Action {
        if let Some(end) = &self.ended {
            return Action::End(end.clone());
        }
        let action = self.look(seen, now);
        if let Action::End(end) = &action {
            self.ended = Some(end.clone());
        }
        action
    }

    /// The API server refuses to store this, with this sentence, and stays with it.
    pub fn refused(&mut self, write: &Write, sentence: &str, now: Timestamp) {
        match &write.record {
            // Everything else is done. A person has to know, and finds it on the Node, too.
            RecordWrite::Finish(_) => {
                self.finishing = None;
                let failed = self.failure.take().map(|(_, why)| format!("{why}; ")).unwrap_or_default();
                let what = match write.unschedulable {
                    Some(false) => "the node could not be uncordoned",
                    _ => "the record could not be removed",
                };
                self.cannot_undo(format!("{failed}{what}: {sentence}"), now);
            }
            RecordWrite::Put(record) if record.state == State::NeedsHuman => {
                let failed = record.failed_state.unwrap_or(State::NeedsHuman);
                let why = record.last_error.as_deref().unwrap_or_default();
                let why = if why.contains(sentence) {
                    format!("{why}; this could not be recorded either")
                } else {
                    format!("{why}; this could not be recorded: {sentence}")
                };
                self.ended = Some(End::NeedsHuman { failed, why });
            }
            RecordWrite::Put(_) if self.on_node.is_none() => {
                self.give_up(format!("the API server refused the cordon: {sentence}"));
            }
            RecordWrite::Put(_) => {
                self.give_up(format!("the API server refused the next record: {sentence}"));
            }
        }
    }

    /// What the run cannot do without is not to be had, and asking again is no use: the state is kept.
    pub fn give_up(&mut self, why: String) {
        self.ended = Some(End::Refused { during: self.on_node, why });
    }

    /// It has ended, and its first record may be on the Node nevertheless: nobody knows better.
    pub fn may_be_recorded(&mut self) {
        if let Some(End::Interrupted { during } | End::Refused { during, .. }) = &mut self.ended {
            during.get_or_insert(State::Cordoning);
        }
    }

    /// The API server would refuse the last patch, with this sentence. While all pods are there, that is better than later.
    pub fn would_be_refused(&mut self, sentence: &str, now: Timestamp) {
        let why = format!("the API server would refuse the uncordon: {sentence}");
        self.fail(self.record.state, why, now);
    }

    fn look(&mut self, seen: &Seen, now: Timestamp) -> Action {
        if let LeaseSeen::Lost(holder) = &seen.lease {
            return Action::End(End::Lost { holder: holder.clone() });
        }
        let denied = match (&seen.lease, &seen.node) {
            (LeaseSeen::Denied(why), _) => Some(format!("the node's Lease could not be renewed: {why}")),
            (_, NodeSeen::Denied(why)) => Some(format!("the node could not be read: {why}")),
            _ => None,
        };
        match denied {
            // What an order in hand comes to is waited for.
            Some(_) if seen.work == WorkSeen::Underway(Work::Issue) => return Action::Work(Work::Issue),
            Some(why) => return Action::End(End::Refused { during: self.on_node, why }),
            None => {}
        }
        let view = match &seen.node {
            NodeSeen::Gone => return Action::End(End::Replaced),
            NodeSeen::Unknown | NodeSeen::Denied(_) => return self.blind(seen),
            NodeSeen::Here(view) => view,
        };
        if view.uid != self.record.node_uid {
            return Action::End(End::Replaced);
        }
        if seen.lease == LeaseSeen::Unsure && self.was_taken_away(view) {
            // Another may have brought it to its end while we slept: the Lease will say.
            return if seen.interrupted {
                Action::End(End::Interrupted { during: self.on_node })
            } else {
                Action::Wait
            };
        }
        if let Some(end) = self.compare(view) {
            return Action::End(end);
        }
        if seen.interrupted && !self.owes_an_outcome(seen) {
            return Action::End(End::Interrupted { during: self.on_node });
        }
        if seen.lease == LeaseSeen::Unsure {
            return self.blind(seen);
        }
        if self.restamp {
            self.restamp = false;
            self.enter(self.record.state, now);
        }
        self.overtaken(view, &seen.work, now);
        // What runs may go on even if somebody has written over our record; nothing begins on such a one.
        let goes_on = self.confirmed && matches!(seen.work, WorkSeen::Underway(_));
        if !goes_on && !self.is_stored(view) {
            return self.put(view);
        }
        if self.stopping {
            return Action::End(End::Stopped { after: self.record.state });
        }
        match self.act(view, &seen.work, now) {
            Some(action) => action,
            None if self.stopping && self.is_stored(view) => {
                Action::End(End::Stopped { after: self.record.state })
            }
            None => self.put(view),
        }
    }

    /// Nothing is written or begun; what is under way goes on.
    fn blind(&self, seen: &Seen) -> Action {
        match seen.work {
            WorkSeen::Underway(work) if work == Work::Issue || !seen.interrupted => Action::Work(work),
            _ if seen.interrupted => Action::End(End::Interrupted { during: self.on_node }),
            _ => Action::Wait,
        }
    }

    fn is_stored(&self, view: &NodeView) -> bool {
        matches!(&view.record, RecordSeen::Readable(record) if **record == self.record)
    }

    /// Our record was on the Node, and is there no more.
    fn was_taken_away(&self, view: &NodeView) -> bool {
        view.record == RecordSeen::None && self.on_node.is_some() && self.finishing.is_none()
    }

    /// Whose record is on the Node.
    fn compare(&mut self, view: &NodeView) -> Option<End> {
        match &view.record {
            RecordSeen::Unreadable(why) => Some(End::Unreadable { why: why.clone() }),
            RecordSeen::None if self.finishing.is_some() => Some(self.finished()),
            RecordSeen::None if self.was_taken_away(view) => {
                // Whoever did it does not want us to go on, and what it said of the cordon is gone.
                Some(End::Aborted {
                    why: "the record was taken off the node".to_owned(),
                    cordon_stays: Some("nothing on the node says any more whose it is".to_owned()),
                })
            }
            RecordSeen::None => None,
            RecordSeen::Readable(record) if **record == self.record => {
                self.confirmed = true;
                self.owed = false;
                self.on_node = Some(record.state);
                self.before = None;
                None
            }
            RecordSeen::Readable(record) if self.before.as_ref() == Some(record) => None,
            RecordSeen::Readable(record)
                if record.id == self.record.id && record.holder == self.record.holder =>
            {
                // Our first patch was stored, whatever has become of it since: the node is not cordoned again.
                self.on_node.get_or_insert(State::Cordoning);
                None
            }
            RecordSeen::Readable(record) => Some(End::Lost { holder: record.holder.clone() }),
        }
    }

    /// A signal ends a run at once, but for an order in hand: its outcome is awaited and stored first. Were that lost as
    /// well, the intent is on the Node, and a resume never sends an unguarded order twice.
    fn owes_an_outcome(&self, seen: &Seen) -> bool {
        let issuing = self.confirmed && self.record.state == State::RebootIntent;
        match seen.work {
            WorkSeen::Underway(Work::Issue) => issuing,
            WorkSeen::Done(Work::Issue, _) | WorkSeen::Failed(Work::Issue, _) if issuing => true,
            _ => self.owed && seen.lease == LeaseSeen::Held,
        }
    }

    fn put(&mut self, view: &NodeView) -> Action {
        let first = self.on_node.is_none();
        if first {
            // Decided on the very view that the patch is conditional on.
            self.record.was_unschedulable = view.unschedulable;
            self.record.marks.retain(|mark| *mark != Mark::Cordon);
            if !view.unschedulable {
                self.record.marks.push(Mark::Cordon);
            }
        }
        Action::Write(Box::new(Write {
            record: RecordWrite::Put(Box::new(self.record.clone())),
            unschedulable: (first && !view.unschedulable).then_some(true),
        }))
    }

    pub(super) fn enter(&mut self, state: State, now: Timestamp) {
        self.record.state = state;
        self.record.since = now;
        self.record.timeout = self.options.timeout(state);
        self.confirmed = false;
    }

    /// On to the next state, or to the end of what was asked for.
    pub(super) fn advance(&mut self, next: State, now: Timestamp) {
        if self.options.until.is_some_and(|until| until < next) {
            self.stopping = true;
        } else {
            self.enter(next, now);
        }
    }

    /// A person is needed, or (`--on-failure uncordon`, before any order) nobody is: then it is undone.
    pub(super) fn fail(&mut self, failed: State, why: String, now: Timestamp) {
        self.record.failed_state = Some(failed);
        if self.options.on_failure_uncordon
            && failed <= State::RebootIntent
            && self.record.attempts.is_empty()
        {
            self.failure = Some((failed, why.clone()));
            self.abort_with(why, now);
            return;
        }
        self.enter(State::NeedsHuman, now);
        self.record.last_error = Some(why);
    }

    pub(super) fn is_overdue(&self, now: Timestamp) -> bool {
        // A step that keeps its own time says better what is left: it is given the time to say so.
        let since = now.duration_since(self.record.since);
        self.remaining(now) == Some(Duration::ZERO)
            && since.unsigned_abs() >= Duration::from_secs(self.record.timeout).saturating_add(DEADLINE_SLACK)
    }

    pub(super) fn overdue(&self, what: &str) -> String {
        format!("{what} within {}", spelt(self.record.timeout))
    }

    pub(super) fn has_rebooted(&self, view: &NodeView) -> bool {
        boot::is_new(&self.record.pre_boot_id, &view.boot_id)
    }

    fn attempt(&mut self) -> Option<&mut Attempt> {
        self.record.attempts.last_mut()
    }

    pub(super) fn outcome(&mut self, outcome: AttemptOutcome) {
        if let Some(attempt) = self.attempt() {
            attempt.outcome = Some(outcome);
            self.confirmed = false;
        }
    }

    /// What happened behind our back and comes before anything that we wanted.
    fn overtaken(&mut self, view: &NodeView, work: &WorkSeen, now: Timestamp) {
        if self.record.state == State::Aborted {
            return;
        }
        // One that failed is not tried again before somebody resumes it.
        let tried = self.record.failed_state == Some(State::Aborted);
        if view.abort.as_deref() == Some(self.record.id.as_str()) && self.on_node.is_some() && !tried {
            self.withdraw_intent();
            self.withheld(work);
            self.abort_with("asked for with --abort".to_owned(), now);
            return;
        }
        if matches!(self.record.state, State::Uncordoning | State::NeedsHuman) {
            return;
        }
        if self.on_node.is_some_and(|state| state <= State::Draining)
            && self.record.state <= State::RebootIntent
        {
            if !view.unschedulable {
                self.withdraw_intent();
                self.abort_uncordoned(now);
            } else if self.has_rebooted(view) && !self.stopping {
                self.withdraw_intent();
                self.note_new_boot();
                self.advance(State::WaitBoot, now);
            }
        } else if self.record.state == State::RebootIntent && self.retry.is_none() && self.has_rebooted(view)
        {
            self.outcome(AttemptOutcome::Rebooted);
            self.advance(State::WaitBoot, now);
        }
    }

    /// A boot that no proof was asked for.
    pub(super) fn note_new_boot(&mut self) {
        if self.record.open_attempt().is_some() {
            self.outcome(AttemptOutcome::Rebooted);
        } else {
            self.record.last_error = Some("the node rebooted by itself: our reboot was skipped".to_owned());
        }
    }

    /// The only order of this attempt was never sent, so there is none to take back.
    pub(super) fn withheld(&mut self, work: &WorkSeen) {
        let was_not_sent = matches!(work, WorkSeen::Failed(Work::Issue, failure)
            if failure.kind == FailureKind::Aborted);
        if was_not_sent && self.record.state == State::RebootIntent && self.orders == 1 {
            self.outcome(AttemptOutcome::Spent);
        }
    }

    /// An intent that is not on the Node was never acted on; one that was admitted again may have been before.
    fn withdraw_intent(&mut self) {
        if self.record.state == State::RebootIntent
            && self.on_node.is_some_and(|state| state <= State::Draining)
        {
            if self.orders == 0 {
                self.record.attempts.pop();
            }
            self.enter(State::Draining, self.record.since);
        }
    }
}
