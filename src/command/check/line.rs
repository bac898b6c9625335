//! One line of the result: a mark, what was looked at, what was found, and what to do about it.

use std::time::Duration;

use serde::Serialize;

use crate::cluster::{ApiError, Rule};
use crate::error::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Mark {
    Ok,
    /// It works, but not as well as it could, or nobody knows.
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
pub(super) struct Line {
    #[serde(rename = "status")]
    pub(super) mark: Mark,
    pub(super) name: String,
    pub(super) message: String,
    pub(super) hints: Vec<String>,
    /// It failed because the API server does not answer.
    #[serde(skip)]
    is_unreachable: bool,
}

impl Line {
    fn new(mark: Mark, name: impl Into<String>, message: impl Into<String>) -> Self {
        let (name, message) = (name.into(), message.into());
        Self { mark, name, message, hints: Vec::new(), is_unreachable: false }
    }

    pub(super) fn ok(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Mark::Ok, name, message)
    }

    pub(super) fn warning(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Mark::Warning, name, message)
    }

    pub(super) fn failed(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Mark::Failed, name, message)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// An error with its hints.
    pub(super) fn of(name: impl Into<String>, error: &Error) -> Self {
        Self { hints: error.hints().to_vec(), ..Self::failed(name, error.why()) }
    }

    pub(super) fn of_api(name: impl Into<String>, error: &ApiError, verb: &str, rule: &Rule<'_>) -> Self {
        Self { is_unreachable: error.is_unreachable(), ..Self::of(name, &error.explain(verb, rule)) }
    }

    /// For what another line explains: just why it cannot be told.
    pub(super) fn unreadable(name: impl Into<String>, error: &ApiError) -> Self {
        let why = match error {
            ApiError::Status(status) if !status.reason.is_empty() => {
                format!("not readable ({})", status.reason)
            }
            error => error.to_string(),
        };
        Self { is_unreachable: error.is_unreachable(), ..Self::failed(name, why) }
    }

    /// What failed is only a pity.
    pub(super) fn softened(mut self) -> Self {
        if self.mark == Mark::Failed {
            self.mark = Mark::Warning;
        }
        self
    }
}

/// What `work` says, or that it took too long.
pub(super) async fn within(patience: Duration, name: &str, work: impl Future<Output = Line>) -> Line {
    tokio::time::timeout(patience, work)
        .await
        .unwrap_or_else(|_| Line::failed(name, format!("no answer within {}s", patience.as_secs())))
}

/// If the API server does not answer, the first line says so, and one such line is enough.
pub(super) fn blame_the_server(lines: &mut [Line]) {
    let Some((server, others)) = lines.split_first_mut() else { return };
    if !server.is_unreachable {
        return;
    }
    for line in others.iter_mut().filter(|line| line.is_unreachable) {
        *line = Line::warning(std::mem::take(&mut line.name), "not checked: the API server does not answer");
    }
}
