//! Tells a machine to reboot, once; and finds out first whether it is the right one.

pub mod guard;
pub mod pod;

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::{News, Tell};
use crate::cluster::{Cluster, WatchedNode};
use crate::core::boot;
use crate::core::remediation::{Attempt, Recall};

/// Which machine, for which remediation.
#[derive(Clone, Copy)]
pub struct Target<'t> {
    pub cluster: &'t Cluster,
    pub node: &'t str,
    /// The remediation's id.
    pub id: &'t str,
}

/// How it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reboot {
    Pod(pod::HelperOptions),
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
    /// What a command printed.
    pub output: String,
}

/// Why a machine was not told, or not probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootError {
    pub why: String,
    pub hints: Vec<String>,
    /// The guard saw another boot: the machine has rebooted already.
    pub other_boot: bool,
}

impl RebootError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hints: Vec::new(), other_boot: false }
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
    match reboot {
        Reboot::Pod(options) => {
            let limit =
                not_after_uptime.ok_or_else(|| RebootError::new("the attempt has no limit of uptime"))?;
            pod::issue(target, options, n, pre_boot_id, limit).await
        }
    }
}

/// Removes what this run left for its orders.
pub async fn clean_up(reboot: &Reboot, target: &Target<'_>, attempts: u32) -> Result<(), RebootError> {
    match reboot {
        Reboot::Pod(options) => pod::clean_up(target, options, attempts).await,
    }
}

/// Takes an order back: its helper goes, and then its time has to pass, or the machine to reboot.
pub async fn recall(
    reboot: &Reboot,
    target: &Target<'_>,
    attempt: &Attempt,
    pre_boot_id: &str,
    mut views: watch::Receiver<WatchedNode>,
    tell: &dyn Tell,
) -> Result<Recall, RebootError> {
    match reboot {
        Reboot::Pod(options) => pod::clean_up(target, options, attempt.n).await?,
    }
    let since = target.cluster.now().duration_since(attempt.intent_at);
    let passed = Duration::from_secs(u64::try_from(since.as_secs()).unwrap_or(0)).min(WINDOW);
    let ends = tokio::time::Instant::now() + (WINDOW - passed);
    loop {
        if let WatchedNode::Here(node) = &*views.borrow_and_update()
            && boot::is_new(pre_boot_id, &node.info.boot_id)
        {
            return Ok(Recall::Rebooted);
        }
        let left = ends.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return Ok(Recall::Spent);
        }
        let facts = format!("an order that is on its way could still arrive for {}s", left.as_secs());
        tell.tell(News::Wait { elapsed: WINDOW - left.min(WINDOW), facts: &facts });
        tokio::select! {
            Ok(()) = views.changed() => {}
            () = tokio::time::sleep(left.min(Duration::from_secs(1))) => {}
        }
    }
}

/// After its probe an order is good for 120 s, then the guard refuses; it reboots 3 s later. The rest is slack.
const WINDOW: Duration = Duration::from_secs(150);

/// `boot_id=…` and `uptime=…`, each on a line.
fn read_probe(text: &str) -> Result<Probed, RebootError> {
    let value = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    let boot_id = value("boot_id").and_then(|id| id.parse::<Uuid>().ok());
    let uptime = value("uptime").and_then(|uptime| uptime.parse().ok());
    match (boot_id, uptime) {
        (Some(boot_id), Some(uptime)) => Ok(Probed { boot_id: boot_id.to_string(), uptime }),
        _ => Err(RebootError::new("the machine's answer to the probe names no boot id and uptime")),
    }
}

/// The guard's answer.
fn read_answer(code: i32, message: &str) -> Result<Issued, RebootError> {
    let message: String =
        message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    match code {
        0 if message.contains("issued") => Ok(Issued { output: String::new() }),
        guard::OTHER_BOOT => Err(RebootError {
            other_boot: true,
            ..RebootError::new(format!("the machine has rebooted already ({message})"))
        }),
        guard::TOO_LATE => {
            Err(RebootError::new(format!("the order came too late and was refused ({message})"))
                .hint("--resume --retry-reboot makes another attempt"))
        }
        _ => Err(RebootError::new(format!("the guard on the machine failed (exit {code}): {message}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_probe() {
        let id = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11";
        let probed = read_probe(&format!("boot_id={id}\nuptime=12\n")).unwrap();
        assert_eq!(probed, Probed { boot_id: id.into(), uptime: 12 });
        for bad in
            ["", "boot_id=x\nuptime=1", "uptime=1", "boot_id=\nuptime=1", &format!("boot_id={id}\nuptime=-1")]
        {
            assert!(read_probe(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_of_the_guard() {
        assert!(read_answer(0, "sciuro-issued\n").is_ok());
        assert!(read_answer(0, "").is_err(), "only what is said counts");
        assert!(read_answer(10, "other boot x").unwrap_err().other_boot);
        assert!(!read_answer(11, "too late 5").unwrap_err().other_boot);
        assert!(read_answer(127, "nsenter: not found").unwrap_err().why.contains("nsenter: not found"));
    }
}
