//! The proof that a machine has rebooted and is back.
//!
//! Inequality and the order of what was seen, nothing else: its clock may be wrong, a fast reboot is never seen as
//! `NotReady`, and a kubelet writes an unchanged status only every five minutes.

use std::fmt;

use uuid::Uuid;

/// Whether `boot_id` is one, and not that of before. An empty one is none.
pub fn is_new(before: &str, boot_id: &str) -> bool {
    Uuid::parse_str(boot_id).is_ok_and(|id| !id.is_nil() && Uuid::parse_str(before) != Ok(id))
        && boot_id != before
}

/// One sight of a node and of its Lease in `kube-node-lease`. Times are as spelt: they are only compared for equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootSeen<'s> {
    pub boot_id: &'s str,
    /// The status of its Ready condition, in the same object.
    pub ready: &'s str,
    pub ready_heartbeat: Option<&'s str>,
    pub lease_renew: Option<&'s str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofState {
    NotYet(Facts),
    Proven { boot_id: String },
}

/// What holds already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub new_boot: bool,
    pub ready: String,
    pub heartbeat_moved: bool,
    pub lease_renewed: bool,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let boot = if self.new_boot { "rebooted" } else { "boot id unchanged" };
        let ready = if self.ready.is_empty() { "missing" } else { &self.ready };
        write!(f, "{boot}, Ready={ready}")?;
        if self.new_boot && !self.heartbeat_moved {
            write!(f, " from before")?;
        }
        if self.new_boot && !self.lease_renewed {
            write!(f, ", its Lease not renewed yet")?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub struct Proof {
    pre_boot_id: String,
    pre_ready_heartbeat: Option<String>,
    /// The new boot, as long as no other is seen.
    boot: Option<Boot>,
}

#[derive(Debug, Clone)]
struct Boot {
    id: String,
    /// At the first sight of it, or the first that was seen since.
    lease: Option<String>,
    renewed: bool,
}

impl Proof {
    pub fn new(pre_boot_id: String, pre_ready_heartbeat: Option<String>) -> Self {
        Self { pre_boot_id, pre_ready_heartbeat, boot: None }
    }

    pub fn observe(&mut self, seen: &BootSeen<'_>) -> ProofState {
        let lease = || seen.lease_renew.map(ToOwned::to_owned);
        if !is_new(&self.pre_boot_id, seen.boot_id) {
            self.boot = None;
        } else if self.boot.as_ref().is_none_or(|boot| boot.id != seen.boot_id) {
            self.boot = Some(Boot { id: seen.boot_id.to_owned(), lease: lease(), renewed: false });
        } else if let Some(boot) = &mut self.boot {
            match (&boot.lease, seen.lease_renew) {
                (Some(first), Some(renew)) if first != renew => boot.renewed = true,
                (None, Some(_)) => boot.lease = lease(),
                _ => {}
            }
        }
        let facts = Facts {
            new_boot: self.boot.is_some(),
            ready: seen.ready.to_owned(),
            heartbeat_moved: seen.ready_heartbeat.is_some()
                && seen.ready_heartbeat != self.pre_ready_heartbeat.as_deref(),
            lease_renewed: self.boot.as_ref().is_some_and(|boot| boot.renewed),
        };
        match &self.boot {
            Some(boot) if facts.ready == "True" && facts.heartbeat_moved && facts.lease_renewed => {
                ProofState::Proven { boot_id: boot.id.clone() }
            }
            _ => ProofState::NotYet(facts),
        }
    }
}
