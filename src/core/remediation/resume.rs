//! Goes on with what another process has begun. Its record is taken over by the first write: that is the fence.
//!
//! The record is input, not authority. Before a request to reboot is sent, this process has drained the node and asked all
//! questions itself, whatever state the record says; what another process may have sent is waited for.

use std::fmt;

use jiff::Timestamp;

use super::machine::{Machine, Retry};
use super::options::Options;
use super::record::{Attempt, AttemptOutcome, Mark, Method, Reason, Record, State};
use super::seen::NodeView;

/// What whoever resumes says, and what is seen at that time.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    pub holder: String,
    /// `None`: as recorded. Another one needs `retry_reboot`.
    pub method: Option<Method>,
    /// Another attempt, once the last one is provably spent.
    pub retry_reboot: bool,
    /// A person says that the last order (command, manual) is over.
    pub confirmed_spent: bool,
    /// The heartbeat of Ready as it is now: what a further reboot has to change.
    pub ready_heartbeat: Option<String>,
    /// Ready is not True: no pod on the node can be told anything now.
    pub not_ready: bool,
    /// The conditions that are True now.
    pub reasons: Vec<Reason>,
    pub options: Options,
}

/// Why a record is not resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It asks for `--retry-reboot`.
    OtherMethod { recorded: Method },
    /// `--until` names a step that is over.
    PastStep { state: State },
    /// No run of ours has written such a one.
    Malformed { why: &'static str },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherMethod { recorded } => {
                write!(
                    f,
                    "this remediation reboots by {}: another method is another attempt",
                    recorded.name()
                )
            }
            Self::PastStep { state } => write!(f, "this remediation is in {state:?} already"),
            Self::Malformed { why } => write!(f, "the record is not one of ours: {why}"),
        }
    }
}

impl Machine {
    /// `view`: the node as it is now.
    pub fn resume(record: Record, view: &NodeView, resume: Resume) -> Result<Self, Refusal> {
        if let Some(why) = record.fault() {
            return Err(Refusal::Malformed { why });
        }
        let before = record;
        let mut record = before.clone();
        record.state = state_to_resume(&record, resume.not_ready);
        record.failed_state = None;
        record.holder.clone_from(&resume.holder);

        let is_stated = |state| before.state == state || before.failed_state == Some(state);
        let undoing = matches!(record.state, State::Uncordoning | State::Aborted);
        let other_method = resume.method.filter(|method| *method != record.method);
        let no_matter = undoing || is_stated(State::Verifying);
        if let Some(method) = other_method
            && !no_matter
        {
            if !resume.retry_reboot {
                return Err(Refusal::OtherMethod { recorded: record.method });
            }
            if record.state <= State::Draining && record.open_attempt().is_none() {
                record.method = method;
            }
        }
        let last = record.attempts.last();
        // Before an intent there is nothing to repeat: the next attempt comes after the drain anyhow.
        let has_sent = record.state >= State::RebootIntent || record.open_attempt().is_some();
        let again = resume.retry_reboot && !undoing && has_sent;
        let retry = again.then(|| Retry {
            method: resume.method.unwrap_or(record.method),
            // A node that rebooted by itself was given no order.
            confirmed_spent: last
                .is_none_or(|last| resume.confirmed_spent && !last.method.is_guarded() || last.is_spent()),
            known_rebooted: last.is_some_and(|last| last.outcome == Some(AttemptOutcome::Rebooted)),
            ready_heartbeat: resume.ready_heartbeat,
        });
        if retry.is_some() {
            record.state = State::RebootIntent;
        }

        let mut machine = Self::taking_over(before, record, resume.options);
        machine.retry = retry;
        if machine.retry.is_none() && machine.record.state <= State::Draining {
            machine.see_what_happened(view);
        }
        let state = machine.record.state;
        let undoing = matches!(state, State::Uncordoning | State::Aborted);
        if machine.options.until.is_some_and(|until| until < state) && !undoing {
            return Err(Refusal::PastStep { state });
        }
        if machine.may_request() {
            machine.add_reasons(resume.reasons);
        }
        Ok(machine)
    }

    /// While nobody acted: then there is nothing to be sent.
    fn see_what_happened(&mut self, view: &NodeView) {
        let now = self.record.since; // it is stamped anew when it is stored
        if !view.unschedulable {
            self.abort_uncordoned(now);
        } else if self.has_rebooted(view) {
            self.note_new_boot();
            self.enter(State::WaitBoot, now);
        }
    }

    /// Whether a request to reboot may be sent from here on: then everything is asked that a new run asks.
    pub fn may_request(&self) -> bool {
        self.retry.is_some() || self.record.state <= State::Draining
    }

    /// The first state whose work is still to be done.
    pub fn goes_on_from(&self) -> State {
        if self.may_request() { self.record.state.min(State::Draining) } else { self.record.state }
    }

    /// The boot that a request would end. `view` is the node as it is now.
    pub fn boot_to_end<'s>(&'s self, view: &'s NodeView) -> &'s str {
        if self.retry.is_some() { &view.boot_id } else { &self.record.pre_boot_id }
    }

    /// The silence that holds now, in place of what is recorded.
    pub fn silenced(&mut self, silence: Option<Mark>) {
        if let Some(silence) = silence {
            self.record.marks.retain(|mark| !matches!(mark, Mark::Silence { .. }));
            self.record.marks.push(silence);
        }
    }

    /// These gates would refuse, and were overridden.
    pub fn overrides(&mut self, gates: impl Iterator<Item = String>) {
        for gate in gates {
            if !self.record.overrides.contains(&gate) {
                self.record.overrides.push(gate);
            }
        }
    }

    /// What began to fire since counts, too.
    fn add_reasons(&mut self, reasons: Vec<Reason>) {
        for reason in reasons {
            let known = &mut self.record.reason;
            if known.iter().all(|known| known.condition_type != reason.condition_type) {
                known.push(reason);
            }
        }
    }

    /// Undoes what the record says was done; `who` asks for it.
    pub fn abort(record: Record, holder: &str, who: &str, options: Options) -> Self {
        let before = record;
        let mut record = before.clone();
        holder.clone_into(&mut record.holder);
        record.state = State::Aborted;
        record.last_error = Some(format!("asked for by {who}"));
        Self::taking_over(before, record, options)
    }

    fn taking_over(before: Record, record: Record, options: Options) -> Self {
        let mut machine = Self::new(record, options);
        machine.on_node = Some(before.state);
        machine.before = Some(Box::new(before));
        // A state that is entered again has its whole time again: who resumes an hour later wants to see it tried.
        machine.restamp = true;
        // Whoever was before us may have sent it.
        machine.orders = 1;
        machine
    }

    /// The last attempt is spent: drained again, asked again, rebooted again.
    pub(super) fn begin_again(&mut self, view: &NodeView, now: Timestamp) {
        if view.boot_id.is_empty() {
            return self.fail(State::RebootIntent, "the node reports no boot id".to_owned(), now);
        }
        let Some(retry) = self.retry.take() else { return };
        self.outcome(AttemptOutcome::Spent);
        self.record.method = retry.method;
        self.record.pre_boot_id.clone_from(&view.boot_id);
        self.record.proven_boot_id = None;
        if retry.ready_heartbeat.is_some() {
            self.record.baseline.ready_heartbeat = retry.ready_heartbeat;
        }
        self.enter(State::Draining, now);
    }
}

impl Record {
    /// Whether whoever goes on with it may send a request to reboot, as far as the record says.
    pub fn may_request(&self) -> bool {
        state_to_resume(self, false) <= State::Draining
    }
}

/// Of a record without a fault.
fn state_to_resume(record: &Record, not_ready: bool) -> State {
    let failed = record.state == State::NeedsHuman;
    match record.failed_state.filter(|_| failed).unwrap_or(record.state) {
        State::RebootIntent => match record.open_attempt() {
            // Its guard makes a second one harmless. Everything is asked again first, and drained, which is soon done where
            // that was done before.
            Some(open) if open.method.is_guarded() => {
                // Nothing could be sent now; what was is waited for.
                if open.method.uses_pod() && not_ready { State::WaitBoot } else { State::Draining }
            }
            // It failed before there was an intent: at the questions after the drain. Or another attempt was to be the first.
            None if record.attempts.last().is_none_or(Attempt::is_spent) => State::Draining,
            // What nobody can send a second time, or was acknowledged.
            Some(_) | None => State::WaitBoot,
        },
        // Which boot is verified has to be proven first: it may be another one by now.
        State::Verifying if failed || record.proven_boot_id.is_none() => State::WaitBoot,
        state => state,
    }
}
