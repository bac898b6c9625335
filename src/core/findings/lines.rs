//! Lines of logs that stand out.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::Finding;

/// What the kernel says.
const KERNEL: &[(&str, &str)] = &[
    ("OOM kill", r"Killed process \d+|oom-kill:"),
    ("hung task", r"task .{1,80} blocked for more than \d+ seconds"),
    ("lockup or stall", r"soft lockup|hard LOCKUP|rcu.{0,40}(?:self-)?detected (?:expedited )?stall"),
    ("kernel bug", r"kernel BUG at|Oops: |Kernel panic|general protection fault|Unable to handle kernel"),
    ("tainted kernel", r"Tainted: [A-Z]"),
    ("machine check", r"mce: .*(?:Hardware Error|Machine check)|\[Hardware Error\]"),
    ("memory error (EDAC)", r"EDAC .*\b(?:CE|UE)\b"),
    ("overheating", r"temperature (?:is )?above threshold|throttled"),
    ("GPU error", r"NVRM: Xid"),
    (
        "disk error",
        r"I/O error|critical medium error|nvme.*(?:timeout|reset controller)|ata\d.*(?:failed command|hard resetting)",
    ),
    (
        "file system error",
        r"EXT4-fs error|XFS .*(?:orruption|metadata I/O|hutting down)|BTRFS.*(?:error|corrupt)|[Rr]emounting filesystem read-only",
    ),
    ("conntrack table full", r"nf_conntrack: .*table full"),
    ("network card", r"NETDEV WATCHDOG|transmit queue .* timed out"),
    ("unstable clock", r"[Mm]arking (?:TSC|clocksource) .*unstable|clocksource.* is unstable"),
];

/// What services say, the kubelet among them.
const SERVICES: &[(&str, &str)] = &[
    ("full disk", r"[Nn]o space left on device|ENOSPC"),
    (
        "image pull error",
        r"ErrImagePull|ImagePullBackOff|[Ff]ailed to pull image|PullImage from image service failed",
    ),
    ("node not ready", r#"Node became not ready|event="NodeNotReady"|status is now: NodeNotReady"#),
    ("eviction", r"eviction manager: (?:must evict|pod .* evicted|pods .* evicted|attempting to reclaim)"),
    (
        "container runtime down",
        r"PLEG is not healthy|[Cc]ontainer runtime is down|container runtime status check may not have completed",
    ),
    ("unit failed", r"Failed with result|entered failed state|Main process exited, code=(?:killed|dumped)"),
    ("certificate", r"x509: certificate (?:has expired|signed by unknown)"),
    (
        "clock not synchronised",
        r"(?:NTP|clock|time) .*(?:unsynchroni[sz]ed|not synchroni[sz]ed)|Can't synchronise",
    ),
    ("too many open files", r"[Tt]oo many open files"),
];

/// Events, by their reason, which is their third word.
const EVENTS: &[(&str, &str)] = &[
    ("OOM kill", r"^\S+ \S+ (?:OOMKilling|SystemOOM) "),
    ("hung task", r"^\S+ \S+ TaskHung "),
    ("node not ready", r"^\S+ \S+ NodeNotReady "),
    ("reboot", r"^\S+ \S+ Rebooted "),
    ("eviction", r"^\S+ \S+ (?:Evicted|EvictionThresholdMet|TaintManagerEviction) "),
    ("pressure", r"^\S+ \S+ NodeHas(?:DiskPressure|InsufficientMemory|InsufficientPID) "),
    ("full disk", r"^\S+ \S+ (?:FreeDiskSpaceFailed|ImageGCFailed) |[Nn]o space left on device"),
    ("image pull error", r"ErrImagePull|ImagePullBackOff|Failed to pull image"),
    ("restarts", r"^\S+ \S+ BackOff .*restarting failed container"),
    ("probe failed", r"^\S+ \S+ Unhealthy "),
    ("volume", r"^\S+ \S+ (?:FailedMount|FailedAttachVolume|FailedMapVolume) "),
    ("sandbox", r"^\S+ \S+ FailedCreatePodSandBox "),
    ("read-only file system", r"^\S+ \S+ (?:FilesystemIsReadOnly|Ext4Error) "),
];

/// Kinds and how their lines are told.
struct Rules {
    kinds: Vec<&'static str>,
    set: Option<RegexSet>,
}

impl Rules {
    fn new(tables: &[&[(&'static str, &str)]]) -> Self {
        let rules = || tables.iter().copied().flatten();
        Self {
            kinds: rules().map(|(kind, _)| *kind).collect(),
            set: RegexSet::new(rules().map(|(_, pattern)| *pattern)).ok(),
        }
    }

    /// One finding for each kind, in the order of the table.
    fn find(&self, file: &str, text: &str) -> Vec<Finding> {
        let Some(set) = &self.set else { return Vec::new() };
        let mut last: Vec<(usize, &str)> = vec![(0, ""); self.kinds.len()];
        for line in text.lines() {
            for rule in set.matches(line) {
                last[rule] = (last[rule].0 + 1, line);
            }
        }
        let found = self.kinds.iter().zip(last).filter(|(_, (count, _))| *count > 0);
        found.map(|(kind, (count, line))| Finding { count, ..Finding::new(*kind, line, file) }).collect()
    }
}

static OF_KERNEL: LazyLock<Rules> = LazyLock::new(|| Rules::new(&[KERNEL]));
static OF_JOURNAL: LazyLock<Rules> = LazyLock::new(|| Rules::new(&[KERNEL, SERVICES]));
static OF_EVENTS: LazyLock<Rules> = LazyLock::new(|| Rules::new(&[EVENTS]));
/// How often an Event was repeated.
static REPEATED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\S+ \S+ \S+ \S+ ×(\d{1,9}): ").ok());

pub(super) fn kernel(file: &str, text: &str) -> Vec<Finding> {
    OF_KERNEL.find(file, text)
}

pub(super) fn journal(file: &str, text: &str) -> Vec<Finding> {
    OF_JOURNAL.find(file, text)
}

pub(super) fn events(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = OF_EVENTS.find(file, text);
    for finding in &mut findings {
        let repeated =
            REPEATED.as_ref().and_then(|pattern| pattern.captures(&finding.evidence)?[1].parse().ok());
        finding.count = finding.count.max(repeated.unwrap_or(1));
    }
    findings
}
