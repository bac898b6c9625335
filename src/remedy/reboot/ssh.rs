//! The user's own `ssh` runs the guard on the machine: its configuration, its agent, its known hosts. Host keys are never
//! waved through: whoever answers in the machine's place would be told to reboot, and would say that it did. And the machine may
//! be in the wrong hands: whatever the configuration gives to machines that are logged in to, this one does not get.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use super::{Address, Addresses, Issued, Probed, RebootError, guard, one_line};
use crate::cluster::RemediatedNode;
use crate::remedy::program::{Ended, run, run_without};

/// Connecting included. The guard itself answers at once.
const WITHIN: Duration = Duration::from_secs(60);

/// They come before what any configuration says. No agent, no display, no Kerberos ticket, no forwarded port, no tunnel, no
/// variable; nothing runs here; nobody is asked; and a connection of its own, whose host key is checked now.
pub const OPTIONS: [&str; 26] = [
    "-a",
    "-x",
    "-k",
    "-T",
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=yes",
    "-o",
    "NoHostAuthenticationForLocalhost=no",
    "-o",
    "ClearAllForwardings=yes",
    "-o",
    "Tunnel=no",
    "-o",
    "PermitLocalCommand=no",
    "-o",
    "RemoteCommand=none",
    "-o",
    "ControlMaster=no",
    "-o",
    "ControlPath=none",
    "-o",
    "ForwardX11Trusted=no",
    "-o",
    SET_NOTHING,
];
/// The first `SetEnv` counts, and one that is empty is none.
const SET_NOTHING: &str = "SetEnv=SCIURO=1";
/// Variables that ssh, and what it starts to reach a machine, cannot do without. Nobody learns a secret by them.
const NEEDED: [&str; 7] = ["HOME", "PATH", "USER", "LOGNAME", "TMPDIR", "SSH_AUTH_SOCK", "SYSTEMROOT"];

/// What ssh exits with if it failed itself.
const ITS_OWN_FAILURE: i32 = 255;

/// Where to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshOptions {
    /// An IP address or a DNS name. The user's configuration may say more about it: another port, another user, a jump host.
    pub address: Address,
    /// `ssh -F`: a configuration file instead of the user's.
    pub config: Option<PathBuf>,
}

impl SshOptions {
    pub fn new(
        node: &RemediatedNode,
        addresses: Addresses<'_>,
        config: Option<PathBuf>,
    ) -> Result<Self, RebootError> {
        Ok(Self { address: addresses.of(node)?, config })
    }

    /// What follows `ssh`. Its own login shell reads the last word on the machine, so that is quoted for one.
    fn arguments(&self, script: &str, arguments: &[&str]) -> Result<Vec<String>, RebootError> {
        let words = ["sh", "-c", script].into_iter().chain(arguments.iter().copied());
        let remote = shlex::try_join(words).map_err(|error| RebootError::new(error.to_string()))?;
        Ok(self.destination().into_iter().chain([remote]).collect())
    }

    /// What says where to, and how.
    fn destination(&self) -> Vec<String> {
        let config = self.config.iter().flat_map(|file| ["-F".to_owned(), file.display().to_string()]);
        config
            .chain([OPTIONS.as_slice(), &["--", &self.address.text]].concat().into_iter().map(str::to_owned))
            .collect()
    }

    /// The variables of our environment that the configuration would send (`SendEnv`). No option can keep ssh from it: of these,
    /// unlike all others, what the configuration says is added to what the command line says, and `SendEnv=-*` removes only
    /// what stands before it. So ssh does not get them.
    async fn sent(&self) -> Vec<OsString> {
        let asked: Vec<String> = ["-G".to_owned()].into_iter().chain(self.destination()).collect();
        let Ok(Some(ended)) = run("ssh", &asked, WITHIN).await else { return Vec::new() };
        let patterns = patterns(&ended.stdout);
        let is_sent = |name: &OsString| {
            let name = name.to_string_lossy();
            !NEEDED.contains(&&*name) && patterns.iter().any(|pattern| pattern.is_match(&name))
        };
        std::env::vars_os().map(|(name, _)| name).filter(is_sent).collect()
    }

    /// Exit code and what our own script said.
    async fn run(&self, script: &str, arguments: &[&str]) -> Result<(i32, String), RebootError> {
        let arguments = self.arguments(script, arguments)?;
        let ended = run_without(&self.sent().await, "ssh", &arguments, WITHIN)
            .await
            .map_err(|error| RebootError::new(format!("cannot run ssh: {error}")))?
            .ok_or_else(|| self.failed(&format!("no answer within {}s", WITHIN.as_secs())))?;
        let said = answers(&ended.stdout);
        match ended.status.code() {
            Some(ITS_OWN_FAILURE) => Err(self.explain(&ended.stderr)),
            Some(code) if said.is_empty() => Err(self.no_answer(code, &ended)),
            Some(code) => Ok((code, said)),
            None => Err(self.failed(&format!("ssh was ended by a signal ({})", ended.status))),
        }
    }

    fn failed(&self, why: &str) -> RebootError {
        RebootError::new(format!("ssh {}: {why}", self.address.text)).hint(self.by_hand())
    }

    fn by_hand(&self) -> String {
        let config = self.config.as_ref().map(|file| format!("-F {} ", file.display())).unwrap_or_default();
        format!("ssh {config}{} true", self.address.text)
    }

    fn explain(&self, stderr: &str) -> RebootError {
        let said = |words: &str| stderr.contains(words);
        let last = one_line(stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default());
        if said("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            self.failed("its host key is not the one that is known").hint(
                "another machine may answer in its place; compare the key on its console before you change known_hosts",
            )
        } else if said("Host key verification failed") {
            self.failed("its host key is not known")
                .hint("connect once by hand and compare the key, or put it into known_hosts")
        } else if said("Permission denied") {
            self.failed(&last)
                .hint("nobody is there to type a password: ssh-add -l lists the keys of your agent")
        } else {
            self.failed(&last)
        }
    }

    fn no_answer(&self, code: i32, ended: &Ended) -> RebootError {
        let text = [ended.stderr.as_str(), ended.stdout.as_str()].join("\n");
        let error = self.failed(&format!("the guard did not answer (exit {code}): {}", one_line(&text)));
        if ended.stderr.contains("sudo:") {
            return error.hint("log in as root, or let the user run systemd-run by sudo without a password");
        }
        error
    }
}

/// Of the variables that are sent, from what `ssh -G` prints: `*` and `?` stand for other characters.
fn patterns(printed: &str) -> Vec<Regex> {
    let sent = printed.lines().filter_map(|line| line.trim_end().strip_prefix("sendenv "));
    let pattern = |text: &str| regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
    sent.filter_map(|text| Regex::new(&format!("^(?s:{})$", pattern(text))).ok()).collect()
}

/// What has our mark, without it.
fn answers(stdout: &str) -> String {
    let marked = stdout.lines().filter_map(|line| line.trim_end().strip_prefix(guard::MARK));
    marked.collect::<Vec<_>>().join("\n")
}

pub(super) async fn probe(options: &SshOptions) -> Result<Probed, RebootError> {
    let (code, said) = options.run(&guard::over_ssh(guard::PROBE), &[]).await?;
    super::read_probe(code, &said)
}

/// What was not said to be issued may have been nevertheless, if the connection broke; the guard allows to send it again.
pub(super) async fn issue(
    options: &SshOptions,
    pre_boot_id: &str,
    not_after_uptime: u64,
) -> Result<Issued, RebootError> {
    let limit = not_after_uptime.to_string();
    let (code, said) = options.run(&guard::over_ssh(guard::REBOOT), &[pre_boot_id, &limit]).await?;
    super::read_answer(code, &said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn options() -> SshOptions {
        let address = Address { text: "10.0.0.7".into(), is_told: true };
        SshOptions { address, config: Some("/tmp/a b/config".into()) }
    }

    #[test]
    fn the_command_line_of_ssh() {
        let arguments = options().arguments("say 'it'\nand go", &["5f1c", "86400"]).unwrap();
        let expected = [&["-F", "/tmp/a b/config"], OPTIONS.as_slice(), &["--", "10.0.0.7"]].concat();
        assert_eq!(arguments[..expected.len()], expected);
        let remote = shlex::split(&arguments[expected.len()]).unwrap();
        assert_eq!(remote, ["sh", "-c", "say 'it'\nand go", "5f1c", "86400"]);
        assert_eq!(arguments.len(), expected.len() + 1, "one word for the machine's shell");
    }

    #[test]
    fn f9_b8_which_variables_a_configuration_sends() {
        let printed = "user me\nsendenv LANG\nsendenv AWS_*\r\nsendenv A?C\nsetenv X=1\nsendenv [a]\n";
        let is_sent = |name: &str| patterns(printed).iter().any(|pattern| pattern.is_match(name));
        for sent in ["LANG", "AWS_", "AWS_SECRET_ACCESS_KEY", "ABC", "[a]"] {
            assert!(is_sent(sent), "{sent}");
        }
        for kept in ["LANGUAGE", "MY_AWS_KEY", "AC", "a", "X", ""] {
            assert!(!is_sent(kept), "{kept}");
        }
    }

    #[test]
    fn only_what_has_our_mark_is_an_answer() {
        assert_eq!(
            answers("Welcome!\nissued\nsciuro-boot_id=x\r\n sciuro-no\nsciuro-uptime=1\n"),
            "boot_id=x\nuptime=1"
        );
    }

    #[test]
    fn failures_of_ssh_itself_are_named() {
        for (stderr, why) in [
            ("Host key verification failed.\r\n", "its host key is not known"),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n",
                "its host key is not the one that is known",
            ),
            (
                "root@10.0.0.7: Permission denied (publickey).\n",
                "root@10.0.0.7: Permission denied (publickey).",
            ),
            (
                "banner\nssh: connect to host 10.0.0.7 port 22: No route to host\n\n",
                "ssh: connect to host 10.0.0.7 port 22: No route to host",
            ),
            ("", "it said nothing"),
        ] {
            let error = options().explain(stderr);
            assert_eq!(error.why, format!("ssh 10.0.0.7: {why}"));
            assert_eq!(error.hints[0], "ssh -F /tmp/a b/config 10.0.0.7 true");
        }
    }
}
