//! What a person decides about one run. None of it is in the record: a resume decides anew.

use std::time::Duration;

use super::record::State;

/// How long after the probe of its uptime a machine may still be told to reboot.
pub const GUARD_SECONDS: u64 = 120;

/// How much later than a step itself its deadline is kept here.
pub(super) const DEADLINE_SLACK: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Options {
    /// Stop once this state's work is done.
    pub until: Option<State>,
    pub skip_collect: bool,
    pub skip_drain: bool,
    pub keep_cordon: bool,
    /// Undo everything if a step fails before the first order to reboot.
    pub on_failure_uncordon: bool,
    /// A person can be asked whether to uncordon a node that did not verify.
    pub asks_to_uncordon: bool,
    // Each of these: zero = no limit.
    pub collect_timeout: Duration,
    pub drain_timeout: Duration,
    /// For sending the order, until it is acknowledged.
    pub issue_timeout: Duration,
    pub reboot_timeout: Duration,
    pub verify_timeout: Duration,
    /// For removing what we left behind.
    pub clean_up_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            until: None,
            skip_collect: false,
            skip_drain: false,
            keep_cordon: false,
            on_failure_uncordon: false,
            asks_to_uncordon: false,
            collect_timeout: Duration::from_secs(5 * 60),
            drain_timeout: Duration::from_secs(15 * 60),
            issue_timeout: Duration::from_secs(5 * 60),
            reboot_timeout: Duration::from_secs(15 * 60),
            verify_timeout: Duration::from_secs(10 * 60),
            clean_up_timeout: Duration::from_secs(5 * 60),
        }
    }
}

impl Options {
    /// In seconds, as the record has it.
    pub(super) fn timeout(&self, state: State) -> u64 {
        let timeout = match state {
            State::Cordoning | State::NeedsHuman => return 0,
            State::Collecting => self.collect_timeout,
            State::Draining => self.drain_timeout,
            State::RebootIntent => self.issue_timeout,
            // An order that is taken back may have to be waited for.
            State::WaitBoot | State::Aborted => self.reboot_timeout,
            State::Verifying => self.verify_timeout,
            State::Uncordoning => self.clean_up_timeout,
        };
        // Not rounded down to "no limit".
        timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)
    }
}

/// `15m`, `90s`.
pub(super) fn spelt(seconds: u64) -> String {
    if seconds >= 60 && seconds.is_multiple_of(60) {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}
