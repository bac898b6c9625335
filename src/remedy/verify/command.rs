//! A command of the user's that has the last word on a node: run once all else is as it was, and again while it fails.

use std::time::{Duration, Instant};

use crate::core::verify::Check;
use crate::remedy::program::run;
use crate::remedy::reboot::command::CommandOptions;
use crate::remedy::reboot::one_line;

const NAME: &str = "verify command";
/// After a failure it is left alone for so long.
const PAUSE: Duration = Duration::from_secs(5);
/// Without a limit of the user's.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

pub(super) struct LastWord<'c> {
    command: &'c CommandOptions,
    /// `None`: no limit.
    deadline: Option<Instant>,
    ended: Option<Instant>,
    /// What it said; nothing while other checks fail.
    said: Option<Result<(), String>>,
}

impl<'c> LastWord<'c> {
    /// `within`: what is left of the verification's time.
    pub(super) fn new(command: &'c CommandOptions, within: Option<Duration>) -> Self {
        let deadline = within.map(|within| Instant::now() + within);
        Self { command, deadline, ended: None, said: None }
    }

    fn left(&self) -> Duration {
        self.deadline.map_or(LONGEST, |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether it is to be run now, the other checks being as they are.
    pub(super) fn is_due(&mut self, others_pass: bool) -> bool {
        if !others_pass {
            self.said = None;
        }
        let has_rested = self.ended.is_none_or(|ended| ended.elapsed() >= PAUSE);
        others_pass && self.said != Some(Ok(())) && has_rested && !self.left().is_zero()
    }

    pub(super) async fn run(&mut self) {
        self.said = Some(self.ask().await);
        self.ended = Some(Instant::now());
    }

    async fn ask(&self) -> Result<(), String> {
        let left = self.left();
        let Some((program, arguments)) = self.command.argv().split_first() else {
            return Err("the command is empty".to_owned());
        };
        match run(program, arguments, left).await {
            Ok(Some(ended)) if ended.status.success() => Ok(()),
            Ok(Some(ended)) => {
                let last = ended.stderr.lines().rfind(|line| !line.trim().is_empty());
                let why = last.map(|line| format!(": {}", one_line(line))).unwrap_or_default();
                Err(format!("{program} failed ({}){why}", ended.status))
            }
            Ok(None) => {
                Err(format!("{program} did not end within {}s and was killed", left.as_secs().max(1)))
            }
            Err(error) => Err(format!("cannot run {program}: {error}")),
        }
    }

    pub(super) fn check(&self) -> Check {
        let (passed, why) = match &self.said {
            Some(Ok(())) => (true, "exit 0".to_owned()),
            Some(Err(why)) => (false, why.clone()),
            None => (false, "is run once the other checks hold".to_owned()),
        };
        Check { name: NAME.to_owned(), passed, why }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn command(script: &str) -> CommandOptions {
        CommandOptions::of(&["sh", "-c", script])
    }

    async fn asked(script: &str, within: Option<Duration>) -> Check {
        let command = command(script);
        let mut word = LastWord::new(&command, within);
        assert!(word.is_due(true));
        word.run().await;
        word.check()
    }

    #[tokio::test]
    async fn exit_0_passes_and_all_else_says_why() {
        let passed = asked("echo good >&2", None).await;
        assert!(passed.passed, "{passed:?}");
        for (script, why) in [
            ("exit 3", "sh failed (exit status: 3)"),
            (
                "echo first >&2; printf 'no   route \\n\\n' >&2; exit 1",
                "sh failed (exit status: 1): no route",
            ),
            ("kill -9 $$", "sh failed (signal: 9 (SIGKILL))"),
        ] {
            let check = asked(script, None).await;
            assert_eq!((check.passed, check.why.as_str()), (false, why));
        }
        let late = asked("exec sleep 600", Some(Duration::from_millis(300))).await;
        assert_eq!(late.why, "sh did not end within 1s and was killed");
    }

    #[tokio::test]
    async fn it_is_run_after_the_others_and_rests_after_a_failure() {
        let command = command("exit 1");
        let mut word = LastWord::new(&command, None);
        assert!(!word.is_due(false));
        assert!(!word.check().passed);
        assert!(word.is_due(true));
        word.run().await;
        assert!(!word.is_due(true), "it rests");
        word.ended = Instant::now().checked_sub(PAUSE);
        assert!(word.is_due(true));
        word.said = Some(Ok(()));
        assert!(!word.is_due(true) && word.check().passed, "once is enough");
        assert!(!word.is_due(false) && !word.check().passed, "but not after a flap");
        assert!(word.is_due(true));
        let mut late = LastWord::new(&command, Some(Duration::ZERO));
        assert!(!late.is_due(true));
    }
}
