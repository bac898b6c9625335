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

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "11111111-1111-4111-8111-111111111111";
    const NEW: &str = "22222222-2222-4222-8222-222222222222";
    const OTHER: &str = "33333333-3333-4333-8333-333333333333";

    /// Boot id, Ready, its heartbeat, the Lease's renewTime.
    type Sight = (&'static str, &'static str, &'static str, &'static str);

    /// After which sight it is proven, and which boot.
    fn proven(sights: &[Sight]) -> Option<(usize, String)> {
        let mut proof = Proof::new(OLD.to_owned(), Some("h0".to_owned()));
        sights.iter().enumerate().find_map(|(at, (boot_id, ready, heartbeat, lease))| {
            let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
            let seen =
                BootSeen { boot_id, ready, ready_heartbeat: some(heartbeat), lease_renew: some(lease) };
            match proof.observe(&seen) {
                ProofState::Proven { boot_id } => Some((at, boot_id)),
                ProofState::NotYet(_) => None,
            }
        })
    }

    #[test]
    fn a_reboot_is_proven() {
        let cases: [(&str, &[Sight], usize); 7] = [
            (
                "a usual one",
                &[(OLD, "Unknown", "h0", "1"), (NEW, "False", "h1", "2"), (NEW, "True", "h2", "3")],
                2,
            ),
            (
                "NotReady was never seen",
                &[(OLD, "True", "h0", "1"), (NEW, "True", "h1", "2"), (NEW, "True", "h1", "3")],
                2,
            ),
            (
                "its clock is an hour slow",
                &[(OLD, "True", "h0", "12:00"), (NEW, "True", "h-1", "11:00"), (NEW, "True", "h-1", "11:10")],
                2,
            ),
            (
                "its clock is an hour fast, then set right",
                &[(NEW, "True", "h9", "13:00"), (NEW, "True", "h9", "12:00")],
                1,
            ),
            ("already rebooted at the first look", &[(NEW, "True", "h1", "2"), (NEW, "True", "h1", "3")], 1),
            (
                "the Lease came later",
                &[(NEW, "True", "h1", ""), (NEW, "True", "h1", "2"), (NEW, "True", "h1", "3")],
                2,
            ),
            (
                "Ready, then not, then again",
                &[(NEW, "True", "h1", "2"), (NEW, "False", "h2", "3"), (NEW, "True", "h3", "3")],
                2,
            ),
        ];
        for (name, sights, at) in cases {
            assert_eq!(proven(sights), Some((at, NEW.to_owned())), "{name}");
        }
    }

    #[test]
    fn the_proof_is_not_fooled() {
        let cases: [(&str, &[Sight]); 11] = [
            (
                "Ready never leaves True, no reboot",
                &[(OLD, "True", "h0", "1"), (OLD, "True", "h1", "2"), (OLD, "True", "h2", "3")],
            ),
            (
                "NotReady and back, no reboot",
                &[(OLD, "Unknown", "h0", "1"), (OLD, "True", "h1", "2"), (OLD, "True", "h2", "3")],
            ),
            ("Ready is of before the boot", &[(NEW, "True", "h0", "2"), (NEW, "True", "h0", "3")]),
            ("without a heartbeat", &[(NEW, "True", "", "2"), (NEW, "True", "", "3")]),
            ("not Ready", &[(NEW, "False", "h1", "2"), (NEW, "Unknown", "h1", "3"), (NEW, "", "h1", "4")]),
            (
                "the Lease is of before the boot",
                &[(OLD, "True", "h0", "1"), (NEW, "True", "h1", "1"), (NEW, "True", "h2", "1")],
            ),
            ("no Lease", &[(NEW, "True", "h1", ""), (NEW, "True", "h2", "")]),
            ("an empty boot id", &[("", "True", "h1", "2"), ("", "True", "h2", "3")]),
            ("no boot id at all", &[("rebooted", "True", "h1", "2"), ("rebooted", "True", "h2", "3")]),
            (
                "a nil boot id",
                &[
                    ("00000000-0000-0000-0000-000000000000", "True", "h1", "2"),
                    ("00000000-0000-0000-0000-000000000000", "True", "h1", "3"),
                ],
            ),
            (
                "another reboot starts anew",
                &[
                    (NEW, "False", "h1", "2"),
                    (NEW, "False", "h1", "3"),
                    (OTHER, "True", "h2", "3"),
                    (NEW, "True", "h3", "4"),
                ],
            ),
        ];
        for (name, sights) in cases {
            assert_eq!(proven(sights), None, "{name}");
        }
    }

    #[test]
    fn a_second_reboot_is_proven_by_itself() {
        let sights = [(NEW, "False", "h1", "2"), (OTHER, "True", "h2", "3"), (OTHER, "True", "h2", "4")];
        assert_eq!(proven(&sights), Some((2, OTHER.to_owned())));
    }

    #[test]
    fn the_same_boot_in_another_spelling_is_not_new() {
        assert!(is_new(OLD, NEW));
        for same in [OLD.to_owned(), OLD.replace('-', ""), format!("urn:uuid:{OLD}")] {
            assert!(!is_new(OLD, &same), "{same}");
        }
    }

    #[test]
    fn what_is_known_is_said() {
        let mut proof = Proof::new(OLD.to_owned(), Some("h0".to_owned()));
        let mut say = |boot_id, ready| {
            let seen = BootSeen { boot_id, ready, ready_heartbeat: Some("h0"), lease_renew: Some("1") };
            match proof.observe(&seen) {
                ProofState::NotYet(facts) => facts.to_string(),
                ProofState::Proven { .. } => "proven".to_owned(),
            }
        };
        assert_eq!(say(OLD, "Unknown"), "boot id unchanged, Ready=Unknown");
        assert_eq!(say(NEW, "True"), "rebooted, Ready=True from before, its Lease not renewed yet");
    }
}
