//! How a run ended: the line for the person, the exit code, the next command.

use super::{Context, takeover};
use crate::cluster::clear_command;
use crate::core::remediation::{End, State};
use crate::error::{Error, Exit, Result};
use crate::signal;

/// `Ok`: a line to say. The error has the exit code.
pub(super) async fn ending(node: &str, end: End, context: &Context<'_>) -> Result<String> {
    let resume = format!("to continue: kubectl sciuro remediate {node} --resume");
    let abort = format!("to undo: kubectl sciuro remediate {node} --abort");
    match end {
        End::Remediated { uncordoned: true, .. } => Ok(format!("node/{node} remediated")),
        End::Remediated { uncordoned: false, why: Some(why) } => {
            Ok(format!("node/{node} remediated; it stays cordoned: {why}"))
        }
        End::Remediated { uncordoned: false, why: None } => {
            Ok(format!("node/{node} remediated; somebody else had uncordoned it"))
        }
        End::Stopped { after } => {
            Ok(format!("node/{node}: stopped after {}, cordoned\n{resume}\n{abort}", step(after)))
        }
        End::Declined => Err(Error::new(Exit::Declined, format!("node/{node}: declined; it stays cordoned"))
            .hint(resume)
            .hint(abort)),
        End::NeedsHuman { failed, why } => {
            let (exit, what) = failure(failed);
            let error =
                Error::new(exit, format!("node/{node}: {what}: {why}; it stays cordoned")).hint(resume);
            let error = if matches!(failed, State::RebootIntent | State::WaitBoot) {
                error.hint(format!(
                    "to retry the reboot: kubectl sciuro remediate {node} --resume --retry-reboot"
                ))
            } else {
                error
            };
            Err(error.hint(abort))
        }
        End::Undone { failed, why, cordon_stays } => {
            let (exit, what) = failure(failed);
            let now = match cordon_stays {
                None => "it is uncordoned again, and nothing is left of the run".to_owned(),
                Some(why) => format!("nothing is left of the run, but it stays cordoned: {why}"),
            };
            Err(Error::new(exit, format!("node/{node}: {what}: {why}; {now}"))
                .hint(format!("to start over: kubectl sciuro remediate {node}")))
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
        End::Lost { holder } => Err(takeover::explain(node, &holder, context).await),
        End::Unreadable { why } => Err(Error::new(
            Exit::Refused,
            format!("node/{node}: the record of a remediation on it cannot be read: {why}"),
        )
        .hint(format!("if nobody is at work on the node: {}", clear_command(node)))),
        End::Interrupted { during } => {
            let exit = signal::came().map_or(Exit::Interrupted, signal::Signal::exit);
            let place = during
                .map_or("before the first change".to_owned(), |state| format!("during {}", step(state)));
            let error = Error::new(exit, format!("node/{node}: interrupted {place}"));
            Err(if during.is_some() {
                error.hint(resume).hint(abort)
            } else {
                error.hint("nothing was changed")
            })
        }
    }
}

fn failure(state: State) -> (Exit, &'static str) {
    match state {
        State::Draining => (Exit::NotDrained, "the drain failed"),
        State::RebootIntent => (Exit::NotRebooted, "it was not rebooted"),
        State::WaitBoot => (Exit::NotRebooted, "no reboot was proven"),
        State::Verifying => (Exit::NotVerified, "it is not as it was before"),
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
