//! What a person sees of a run: one line for each step, as the record says it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::report::{Report, StepResult};
use crate::core::remediation::State;
use crate::remedy::{News, Tell};
use crate::ui::{Progress, Step};

/// The step that is under way, and those that were.
pub(super) struct Steps<'r> {
    progress: Progress,
    report: &'r Report,
    /// With the state that it is for; before the first record there is none.
    current: Mutex<Option<(Option<State>, Step)>>,
}

impl<'r> Steps<'r> {
    pub(super) fn new(progress: Progress, report: &'r Report) -> Self {
        Self { progress, report, current: Mutex::new(None) }
    }

    /// What comes before the first record.
    pub(super) fn begin(&self, name: &'static str) {
        self.report.step_begins(name);
        *self.current() = Some((None, self.progress.step(name)));
    }

    /// The run is in this state now: what was before is done.
    pub(super) fn enter(&self, state: State) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|(which, _)| *which == Some(state)) {
            return;
        }
        if let Some((_, step)) = current.take() {
            self.report.step_ends(StepResult::Done, None);
            step.done(None);
        }
        *current = state.step().map(|name| {
            self.report.step_begins(name);
            (Some(state), self.progress.step(name))
        });
    }

    /// The step is done, and nothing follows yet.
    pub(super) fn done(&self, note: Option<&str>) {
        if let Some((_, step)) = self.current().take() {
            self.report.step_ends(StepResult::Done, note);
            step.done(note);
        }
    }

    pub(super) fn failed(&self, why: &str) {
        if let Some((_, step)) = self.current().take() {
            self.report.step_ends(StepResult::Failed, Some(why));
            step.failed(why);
        }
    }

    /// The run ends in the middle of it.
    pub(super) fn stopped(&self) {
        if let Some((_, step)) = self.current().take() {
            self.report.step_ends(StepResult::Stopped, None);
            step.failed("stopped");
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<(Option<State>, Step)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tell for Steps<'_> {
    fn tell(&self, news: News<'_>) {
        match news {
            News::PodGone { namespace, name, .. } => self.report.evicted(namespace, name),
            News::Hint(hint) => self.report.hint(hint),
            _ => {}
        }
        if let Some((_, step)) = &*self.current() {
            step.tell(news);
        }
    }
}
