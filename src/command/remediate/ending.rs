//! How a run ended: the line for the person, the exit code, the next command.

use super::next::{Lines, Next};
use super::{Context, takeover};
use crate::cluster::clear_hint;
use crate::core::remediation::{End, State};
use crate::error::{Error, Exit, Result};
use crate::settings::DrainSettings;
use crate::signal;

/// `Ok`: a line to say. The error has the exit code. `drain`: with what a person has consented to.
pub(super) async fn ending(
    node: &str,
    end: End,
    drain: &DrainSettings,
    context: &Context<'_>,
) -> Result<String> {
    let lines = Lines::of(context, drain);
    let go_on = |error| Err(lines.hint(error, &[Next::Continue, Next::Undo]));
    match end {
        End::Remediated { uncordoned: true, .. } => Ok(format!("node/{node} remediated")),
        End::Remediated { uncordoned: false, why: Some(why) } => {
            Ok(format!("node/{node} remediated; it stays cordoned: {why}"))
        }
        End::Remediated { uncordoned: false, why: None } => {
            Ok(format!("node/{node} remediated; somebody else had uncordoned it"))
        }
        End::Stopped { after } => {
            let lines = Lines { forgets_until: true, ..lines }.say(&[Next::Continue, Next::Undo]);
            Ok(format!("node/{node}: stopped after {}, cordoned\n{}", step(after), lines.join("\n")))
        }
        End::Declined => {
            go_on(Error::new(Exit::Declined, format!("node/{node}: declined; it stays cordoned")))
        }
        End::NeedsHuman { failed, why } => {
            let (exit, what) = failure(failed);
            let error = Error::new(exit, format!("node/{node}: {what}: {why}; it stays cordoned"));
            if failed == State::WaitBoot || (failed == State::RebootIntent && lines.has_sent()) {
                Err(lines.hint(error, &[Next::Continue, Next::Retry, Next::Undo]))
            } else {
                go_on(error)
            }
        }
        End::Undone { failed, why, cordon_stays } => {
            let (exit, what) = failure(failed);
            let now = match cordon_stays {
                None => "it is uncordoned again, and nothing is left of the run".to_owned(),
                Some(why) => format!("nothing is left of the run, but it stays cordoned: {why}"),
            };
            let error = Error::new(exit, format!("node/{node}: {what}: {why}; {now}"));
            Err(lines.hint(error, &[Next::StartOver]))
        }
        End::Aborted { why, cordon_stays } => {
            let stays = cordon_stays.map(|why| format!("; it stays cordoned: {why}")).unwrap_or_default();
            Err(Error::new(Exit::Aborted, format!("node/{node}: aborted: {why}{stays}")))
        }
        End::Replaced => Err(Error::new(
            Exit::Aborted,
            format!("node/{node} was deleted or replaced; nothing is done to the new one"),
        )
        .hint("kubectl get nodes")),
        End::Lost { holder } => Err(takeover::explain(node, &holder, drain, context).await),
        End::Unreadable { why } => Err(Error::new(
            Exit::Refused,
            format!("node/{node}: the record of a remediation on it cannot be read: {why}"),
        )
        .hint(clear_hint(node))),
        End::Refused { during: None, why } => {
            let error = Error::new(Exit::Refused, format!("node/{node}: {why}; nothing was changed"));
            Err(lines.hint(error, &[Next::Check]))
        }
        End::Refused { during: Some(state), why } => go_on(Error::new(
            Exit::Failed,
            format!("node/{node}: stopped during {}: {why}; it stays cordoned", step(state)),
        )),
        End::Interrupted { during } => {
            let exit = signal::came().map_or(Exit::Interrupted, signal::Signal::exit);
            let place = during
                .map_or("before the first change".to_owned(), |state| format!("during {}", step(state)));
            let error = Error::new(exit, format!("node/{node}: interrupted {place}"));
            if during.is_some() { go_on(error) } else { Err(error.hint("nothing was changed")) }
        }
    }
}

fn failure(state: State) -> (Exit, &'static str) {
    match state {
        State::Cordoning => (Exit::Failed, "stopped before the drain"),
        State::Draining => (Exit::NotDrained, "the drain failed"),
        State::RebootIntent => (Exit::NotRebooted, "it was not rebooted"),
        State::WaitBoot => (Exit::NotRebooted, "no reboot was proven"),
        State::Verifying => (Exit::NotVerified, "it is not as it was before"),
        State::Uncordoning => (Exit::Failed, "rebooted and verified, but not returned to service"),
        State::Aborted => (Exit::Failed, "not undone completely"),
        _ => (Exit::Failed, "a person is needed"),
    }
}

fn step(state: State) -> &'static str {
    match state {
        State::Cordoning => "cordon",
        State::Collecting => "collect",
        State::Draining => "drain",
        State::RebootIntent | State::WaitBoot => "the reboot",
        State::Verifying => "verify",
        State::Uncordoning => "uncordon",
        State::NeedsHuman => "a failure",
        State::Aborted => "the abort",
    }
}
