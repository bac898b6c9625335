//! Tells a machine to reboot, once; and finds out first whether it is the right one.

mod addresses;
pub mod command;
pub mod guard;
pub mod helper;
mod manual;
mod os;
pub mod pod;
mod recall;
mod signal;
pub mod ssh;

use std::fmt;

use uuid::Uuid;

use super::Tell;
use crate::cluster::Cluster;

pub use addresses::{Address, Addresses, look};
pub use os::unsupported;
pub use pod::{clean_up, end_probe};
pub use recall::recall;

/// Which machine, for which remediation.
#[derive(Clone, Copy)]
pub struct Target<'t> {
    pub cluster: &'t Cluster,
    pub node: &'t str,
    /// The remediation's id.
    pub id: &'t str,
    /// Who is told of what takes long.
    pub tell: &'t dyn Tell,
}

/// How it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reboot {
    /// By what it enters, or by a signal.
    Pod(helper::HelperOptions),
    Ssh(ssh::SshOptions),
    Command(command::CommandOptions),
    Manual,
}

impl Reboot {
    /// The address and the provider ID that it takes.
    pub fn takes(&self) -> (Option<&Address>, Option<&str>) {
        match self {
            Self::Ssh(options) => (Some(&options.address), None),
            Self::Command(options) => options.takes(),
            Self::Pod(_) | Self::Manual => (None, None),
        }
    }
}

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub boot_id: String,
    /// Seconds.
    pub uptime: u64,
}

/// The machine, or the command, has acknowledged the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// For the person: what a command printed, or what is to be done by hand.
    pub output: String,
}

/// Why a machine was not told, or not probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootError {
    pub why: String,
    pub hints: Vec<String>,
    /// The guard saw another boot: the machine has rebooted already.
    pub other_boot: bool,
    /// What a command printed.
    pub output: String,
}

impl RebootError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hints: Vec::new(), other_boot: false, output: String::new() }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for RebootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Asks the machine what it is; `None` for methods that cannot ask.
pub async fn probe(reboot: &Reboot, target: &Target<'_>) -> Result<Option<Probed>, RebootError> {
    match reboot {
        Reboot::Pod(options) => pod::probe(target, options).await.map(Some),
        Reboot::Ssh(options) => ssh::probe(options).await.map(Some),
        Reboot::Command(_) | Reboot::Manual => Ok(None),
    }
}

/// Sends the order of attempt `n`. For guarded methods it may be sent again.
pub async fn issue(
    reboot: &Reboot,
    target: &Target<'_>,
    n: u32,
    pre_boot_id: &str,
    not_after_uptime: Option<u64>,
) -> Result<Issued, RebootError> {
    // The record is anybody's to write, and these go into a command line on the node.
    if pre_boot_id.parse::<Uuid>().is_err() {
        return Err(RebootError::new("the boot id in the record is no UUID"));
    }
    let limit = || not_after_uptime.ok_or_else(|| RebootError::new("the attempt has no limit of uptime"));
    match reboot {
        Reboot::Pod(options) => pod::issue(target, options, n, pre_boot_id, limit()?).await,
        Reboot::Ssh(options) => ssh::issue(options, pre_boot_id, limit()?).await,
        Reboot::Command(options) => command::issue(options).await,
        Reboot::Manual => Ok(Issued { output: manual::what_to_do(target.node) }),
    }
}

/// `boot_id=…` and `uptime=…`, each on a line.
fn read_probe(code: i32, said: &str) -> Result<Probed, RebootError> {
    if code != 0 {
        return Err(RebootError::new(format!(
            "the probe on the node failed (exit {code}): {}",
            one_line(said)
        )));
    }
    let value = |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    let boot_id = value("boot_id").and_then(|id| id.parse::<Uuid>().ok());
    let uptime = value("uptime").and_then(|uptime| uptime.parse().ok());
    match (boot_id, uptime) {
        (Some(boot_id), Some(uptime)) => Ok(Probed { boot_id: boot_id.to_string(), uptime }),
        _ => Err(RebootError::new("the machine's answer to the probe names no boot id and uptime")),
    }
}

/// The guard's answer: exit code and words have to agree.
fn read_answer(code: i32, said: &str) -> Result<Issued, RebootError> {
    let says = |words: &str| said.lines().any(|line| line.trim().starts_with(words));
    // A pod needs no mark; one is no harm.
    let is_issued = |line: &str| line.strip_prefix(guard::MARK).unwrap_or(line) == guard::ISSUED;
    match code {
        0 if said.lines().any(|line| is_issued(line.trim())) => Ok(Issued { output: String::new() }),
        guard::OTHER_BOOT if says("other boot ") => Err(RebootError {
            other_boot: true,
            ..RebootError::new(format!("the machine has rebooted already ({})", one_line(said)))
        }),
        guard::TOO_LATE if says("too late ") => {
            Err(RebootError::new(format!("the order came too late and was refused ({})", one_line(said)))
                .hint("--resume --retry-reboot makes another attempt"))
        }
        _ => Err(RebootError::new(format!(
            "the guard on the machine failed (exit {code}): {}",
            one_line(said)
        ))),
    }
}

/// What a server or a machine said, for one line.
pub(in crate::remedy) fn one_line(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    if line.is_empty() { "it said nothing".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn answers_of_a_probe() {
        let id = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11";
        let probed = read_probe(0, &format!("boot_id={id}\nuptime=12\n")).unwrap();
        assert_eq!(probed, Probed { boot_id: id.into(), uptime: 12 });
        for bad in
            ["", "boot_id=x\nuptime=1", "uptime=1", "boot_id=\nuptime=1", &format!("boot_id={id}\nuptime=-1")]
        {
            assert!(read_probe(0, bad).is_err(), "{bad}");
        }
        let failed = read_probe(12, &format!("boot_id={id}\nuptime=1\nno systemd-run")).unwrap_err();
        assert!(failed.why.contains("exit 12") && failed.why.contains("no systemd-run"));
    }

    #[test]
    fn answers_of_the_guard() {
        assert!(read_answer(0, "issued\n").is_ok() && read_answer(0, "sciuro-issued\n").is_ok());
        assert!(read_answer(0, "").is_err(), "only what is said counts");
        assert!(read_answer(0, "not issued").is_err());
        assert!(read_answer(1, "issued").is_err());
        assert!(read_answer(10, "other boot x").unwrap_err().other_boot);
        assert!(!read_answer(10, "").unwrap_err().other_boot, "another program's exit code");
        assert!(!read_answer(11, "too late 5").unwrap_err().other_boot);
        assert!(read_answer(127, "nsenter: not found").unwrap_err().why.contains("nsenter: not found"));
    }
}
