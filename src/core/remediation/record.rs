//! What is written on the Node about a remediation: one JSON object in the annotation `sciuro.dev/remediation`.
//!
//! It is input, not authority: any kubelet can write its own Node. Commands, addresses and images never come from it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::core::boot::is_new;

/// The version of the format that we write, and the only one that we act on.
pub const VERSION: u32 = 1;

/// Where a remediation stands. Each state is stored before its work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    Cordoning,
    Collecting,
    Draining,
    RebootIntent,
    WaitBoot,
    Verifying,
    Uncordoning,
    NeedsHuman,
    Aborted,
}

impl State {
    /// What a person sees the step called; one that failed has none of its own.
    pub fn step(self) -> Option<&'static str> {
        Some(match self {
            Self::Cordoning => "cordon",
            Self::Collecting => "collect",
            Self::Draining => "drain",
            Self::RebootIntent => "reboot",
            Self::WaitBoot => "wait for the boot",
            Self::Verifying => "verify",
            Self::Uncordoning => "uncordon",
            Self::Aborted => "undo",
            Self::NeedsHuman => return None,
        })
    }
}

/// How a machine is told to reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Pod,
    Signal,
    Ssh,
    Command,
    Manual,
}

impl Method {
    /// Whether the order carries its own expiry (boot id and uptime), so that sending it again is harmless.
    pub fn is_guarded(self) -> bool {
        matches!(self, Self::Pod | Self::Signal | Self::Ssh)
    }

    /// As the flag and the record spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Signal => "signal",
            Self::Ssh => "ssh",
            Self::Command => "command",
            Self::Manual => "manual",
        }
    }

    /// Whether a pod on the node carries it out.
    pub fn uses_pod(self) -> bool {
        matches!(self, Self::Pod | Self::Signal)
    }
}

/// One remediation of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub v: u32,
    /// A UUID; helper pods and silences carry it.
    pub id: String,
    pub state: State,
    /// What had failed when a person was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_state: Option<State>,
    /// When this state was entered, by the clock of whoever wrote it.
    pub since: Timestamp,
    /// How long this state may last, in seconds; 0 = no limit.
    pub timeout: u64,
    /// `user@host` or `controller/pod`: who began it.
    pub actor: String,
    /// Which process acts on it now: the holder of the node's Lease.
    pub holder: String,
    pub method: Method,
    /// The firing conditions at the start.
    #[serde(default)]
    pub reason: Vec<Reason>,
    /// The gates that would have refused, and were overridden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    #[serde(rename = "nodeUID")]
    pub node_uid: String,
    #[serde(rename = "preBootID")]
    pub pre_boot_id: String,
    #[serde(rename = "provenBootID", default, skip_serializing_if = "Option::is_none")]
    pub proven_boot_id: Option<String>,
    #[serde(default)]
    pub baseline: Baseline,
    /// Somebody had cordoned the node before us: that cordon stays.
    pub was_unschedulable: bool,
    /// What we left on the node or elsewhere, each with its undo.
    #[serde(default)]
    pub marks: Vec<Mark>,
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// The file with the diagnostics, as its writer names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Record {
    /// The state that it is in, or that failed.
    pub fn stands(&self) -> State {
        self.failed_state.filter(|_| self.state == State::NeedsHuman).unwrap_or(self.state)
    }

    /// The step that it is at, or that failed.
    pub fn step(&self) -> &'static str {
        self.stands().step().unwrap_or("remediation")
    }

    /// How much of the state's time is left; `None` = no limit. Clocks differ and jump: never more than all of it.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        if self.timeout == 0 {
            return None;
        }
        let passed = u64::try_from(now.duration_since(self.since).as_secs()).unwrap_or(0);
        Some(Duration::from_secs(self.timeout.saturating_sub(passed)))
    }

    /// The last attempt, if its request may still be sent, and may have been.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        let is_open = |attempt: &&Attempt| matches!(attempt.outcome, None | Some(AttemptOutcome::NotIssued));
        self.attempts.last().filter(is_open)
    }

    /// Why no run of ours can have written this, if that is so.
    pub fn fault(&self) -> Option<&'static str> {
        let is_boot_id = |text: &str| Uuid::parse_str(text).is_ok_and(|id| !id.is_nil());
        let last = self.attempts.last().filter(|last| !last.is_spent());
        let stands = self.stands();
        if self.v != VERSION {
            Some("another version")
        } else if !is_boot_id(&self.pre_boot_id) {
            Some("its boot ID from before is none")
        } else if self.proven_boot_id.as_ref().is_some_and(|proven| !is_new(&self.pre_boot_id, proven)) {
            Some("the boot that it proves is none after the one from before")
        } else if stands == State::NeedsHuman {
            Some("nothing had failed")
        } else if (1..).zip(&self.attempts).any(|(n, attempt)| attempt.n != n) {
            Some("its attempts are not numbered from 1 on")
        } else if last.is_some_and(|last| last.method != self.method) {
            Some("its last attempt was by another method")
        } else if stands <= State::Draining
            && last.is_some()
            && !self.open_attempt().is_some_and(|open| open.method.is_guarded())
        {
            Some("its last attempt may have rebooted the machine, and another one comes next")
        } else {
            None
        }
    }
}

/// A condition that was firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    #[serde(rename = "type")]
    pub condition_type: String,
    #[serde(default)]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition: Option<Timestamp>,
}

/// How the node was before, for the verification after its boot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// `namespace/name` of the `DaemonSets` whose pod here was Ready.
    #[serde(default)]
    pub daemonsets: Vec<String>,
    /// Quantities as the kubelet spelt them.
    #[serde(default)]
    pub allocatable: BTreeMap<String, String>,
    /// Names of the drivers in its `CSINode`.
    #[serde(default)]
    pub csi_drivers: Vec<String>,
    /// The heartbeat of its Ready condition, as spelt: after the boot it must be another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_heartbeat: Option<String>,
}

/// Something of ours that has to be undone. An unknown one makes the record unreadable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Mark {
    /// `spec.unschedulable` is ours: set it back.
    Cordon,
    /// A helper pod, by name in `namespace`: delete it.
    Helper { namespace: String, name: String },
    /// A silence at an Alertmanager: expire it.
    Silence { id: String },
}

/// One order to reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// 1, 2, …
    pub n: u32,
    pub method: Method,
    pub intent_at: Timestamp,
    /// The node's uptime in seconds from which on the guard refuses; guarded methods only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_uptime: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
}

impl Attempt {
    /// It cannot happen any more.
    pub fn is_spent(&self) -> bool {
        self.outcome == Some(AttemptOutcome::Spent)
    }
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttemptOutcome {
    /// The machine, or the command, acknowledged it.
    Issued,
    /// The guard refused, or it never reached the machine.
    NotIssued,
    /// The machine has rebooted since.
    Rebooted,
    /// It cannot happen any more: its window has passed, or a person said so.
    Spent,
}

/// What stays on the Node after a remediation, in the annotation `sciuro.dev/last-remediation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRemediation {
    pub id: String,
    pub outcome: LastOutcome,
    pub actor: String,
    pub finished: Timestamp,
    pub method: Method,
    pub attempts: u32,
    #[serde(rename = "bootID", default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    #[serde(default)]
    pub reason: Vec<Reason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LastOutcome {
    Remediated,
    Aborted,
}
