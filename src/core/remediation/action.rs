//! What the machine wants done next.

use super::record::{LastRemediation, Record, State};
use super::seen::Work;

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Store this by one patch; only then look again.
    Write(Box<Write>),
    /// Begin this work, or go on with it. Work in hand that is not asked for again is dropped.
    Work(Work),
    /// Nothing can be done until something changes.
    Wait,
    /// The run is over: release the Lease and say so.
    End(End),
}

/// One patch of the Node, with its resourceVersion.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub record: RecordWrite,
    /// `spec.unschedulable` along with it; `None` leaves it alone.
    pub unschedulable: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RecordWrite {
    Put(Box<Record>),
    /// The record and an abort request go, this stays.
    Finish(LastRemediation),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All six steps. `uncordoned` is false if the cordon was not ours, or has to stay: `why`; without one, somebody else
    /// had uncordoned it.
    Remediated { uncordoned: bool, why: Option<String> },
    /// `--until`: the state is kept.
    Stopped { after: State },
    /// A person said no before the reboot; the state is kept.
    Declined,
    /// A person is needed: the record says `NeedsHuman`, the cordon stays.
    NeedsHuman { failed: State, why: String },
    /// It failed and was undone, and no record is left to resume; `cordon_stays` as in `Aborted`.
    Undone { failed: State, why: String, cordon_stays: Option<String> },
    /// Undone, as asked for by this process or another; `why` the cordon stays if it does.
    Aborted { why: String, cordon_stays: Option<String> },
    /// The node was deleted or replaced; nothing is done to the new one.
    Replaced,
    /// Another process has the Lease, or the record, now.
    Lost { holder: String },
    /// The record is not to be acted on.
    Unreadable { why: String },
    /// A signal: the state is kept.
    Interrupted { during: Option<State> },
    /// The API server refuses what a run cannot do without, and stays with it: the state is kept.
    Refused { during: Option<State>, why: String },
}
