//! What a run sees: the node, its own Lease, and how far the work in hand has come.

use super::record::Record;

/// Everything the machine decides on. The executor fills it anew whenever one part changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub node: NodeSeen,
    pub lease: LeaseSeen,
    /// How far the work has come that the machine asked for last.
    pub work: WorkSeen,
    /// SIGINT or SIGTERM came.
    pub interrupted: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NodeSeen {
    /// As the API server has it.
    Here(Box<NodeView>),
    /// Nobody answers. The last view stands, and nothing irreversible is begun.
    Unknown,
    /// The API server refuses to show it, with this sentence.
    Denied(String),
    /// There is no node of this name.
    Gone,
}

/// What the machine knows of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeView {
    pub uid: String,
    pub boot_id: String,
    pub unschedulable: bool,
    /// `managedFields` gives `f:unschedulable` to our field manager, and to nobody else.
    pub cordon_is_ours: bool,
    /// The annotation `sciuro.dev/keep-cordoned` is there.
    pub keep_cordoned: bool,
    /// Who else claims the node, in words: kured's lock, a `NodeMaintenance` …
    pub claims: Vec<String>,
    /// The annotation `sciuro.dev/abort`.
    pub abort: Option<String>,
    pub record: RecordSeen,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub enum RecordSeen {
    #[default]
    None,
    Readable(Box<Record>),
    /// Not of ours, or of another version: why. Nobody acts on it.
    Unreadable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseSeen {
    Held,
    /// Renewals fail, but nobody else can have taken it yet: nothing may be begun.
    Unsure,
    /// The API server refuses to renew it, with this sentence: it will run out.
    Denied(String),
    /// Another holds it.
    Lost(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum WorkSeen {
    /// Nothing is in hand.
    Idle,
    Underway(Work),
    Done(Work, Product),
    Failed(Work, Failure),
}

/// What is to be done in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// Diagnostics before the drain.
    Collect,
    Drain,
    /// The last questions before a machine goes down: the person, the gates under the admission Lease, the probe.
    Admit,
    /// Sends the order of the attempt that the record carries. At most once a process; what was sent before is found again.
    Issue,
    /// Waits for the proof of the reboot.
    AwaitBoot,
    Verify,
    /// Asks the person whether to uncordon the node although it did not verify; anything but yes is a failure.
    Accept,
    /// Removes helper pods and silences of this run.
    CleanUp,
    /// Takes an order back as far as it can be: deletes the helper, then waits until it cannot happen any more or has.
    Recall,
}

/// What work came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Product {
    /// Of `Collect`: the file.
    Bundle(Option<String>),
    /// Of `Admit`: the machine's uptime in seconds at its probe, for guarded methods.
    Admitted { uptime: Option<u64> },
    /// Of `Issue`: acknowledged.
    Issued,
    /// Of `AwaitBoot`: proven, with this boot id.
    Proven { boot_id: String },
    /// Of `Recall`.
    Recalled(Recall),
    /// Of everything else.
    Done,
}

/// How taking an order back went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recall {
    /// It cannot happen any more.
    Spent,
    /// The machine rebooted meanwhile.
    Rebooted,
    /// It cannot be taken back (command, manual): the cordon stays.
    CannotBe,
}

/// Why work failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// One line: what, why.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A person said no; the state is kept (exit 4).
    Declined,
    /// The guard saw another boot, or the Node says one: the machine has rebooted already. Of `Admit` on the way to a request
    /// that may have been sent before: the machine says another boot than the record.
    OtherBoot,
    /// Of `Issue`: an abort was asked for in the last moment, and nothing was sent.
    Aborted,
    /// The step did not succeed.
    Failed,
    /// The step's time is over.
    TimedOut,
}
