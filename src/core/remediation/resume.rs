//! Goes on with what another process has begun. Its record is taken over by the first write: that is the fence.

use std::fmt;

use jiff::Timestamp;

use super::machine::Machine;
use super::options::Options;
use super::record::{Attempt, AttemptOutcome, Mark, Method, Record, State, VERSION};
use super::seen::NodeView;

/// What whoever resumes says.
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
    /// The silence that holds now, in place of what is recorded.
    pub silence: Option<Mark>,
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

/// Another attempt is asked for.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    method: Method,
    pub(super) confirmed_spent: bool,
    /// The record says that the last attempt did reboot the node: whoever asks knows.
    pub(super) known_rebooted: bool,
    ready_heartbeat: Option<String>,
}

impl Machine {
    pub fn resume(record: Record, resume: Resume) -> Result<Self, Refusal> {
        let before = record;
        let mut record = before.clone();
        record.state = state_to_resume(&record)?;
        record.failed_state = None;
        record.holder.clone_from(&resume.holder);
        if let Some(silence) = resume.silence {
            record.marks.retain(|mark| !matches!(mark, Mark::Silence { .. }));
            record.marks.push(silence);
        }

        let undoing = matches!(record.state, State::Uncordoning | State::Aborted);
        let other_method = resume.method.filter(|method| *method != record.method);
        if other_method.is_some() && !resume.retry_reboot && !undoing {
            return Err(Refusal::OtherMethod { recorded: record.method });
        }
        let last = record.attempts.last();
        // Before an intent there is nothing to repeat: the next attempt comes after the drain anyhow.
        let again = resume.retry_reboot && !undoing && record.state >= State::RebootIntent;
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
        } else if let Some(method) = other_method
            && !undoing
        {
            record.method = method;
        }
        if resume.options.until.is_some_and(|until| until < record.state) && !undoing {
            return Err(Refusal::PastStep { state: record.state });
        }

        let guarded = record.attempts.last().is_some_and(|attempt| attempt.method.is_guarded());
        let mut machine = Self::taking_over(before, record, resume.options);
        machine.may_issue = guarded;
        machine.retry = retry;
        Ok(machine)
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

fn state_to_resume(record: &Record) -> Result<State, Refusal> {
    let malformed = |why| Err(Refusal::Malformed { why });
    if record.v != VERSION {
        return malformed("another version");
    }
    if record.pre_boot_id.is_empty() {
        return malformed("no boot id from before");
    }
    let failed = record.state == State::NeedsHuman;
    let Some(state) = (if failed { record.failed_state } else { Some(record.state) }) else {
        return malformed("nothing had failed");
    };
    match state {
        State::NeedsHuman => malformed("nothing had failed"),
        // It failed before there was an intent: at the questions after the drain.
        // Or another attempt was to be the first.
        State::RebootIntent if record.attempts.last().is_none_or(Attempt::is_spent) => Ok(State::Draining),
        // Which boot is verified has to be proven first: it may be another one by now.
        State::Verifying if failed || record.proven_boot_id.is_none() => Ok(State::WaitBoot),
        state => Ok(state),
    }
}
