//! What a person sees of a run: one line for each step, as the record says it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::remediation::State;
use crate::remedy::{News, Tell};
use crate::ui::{Progress, Step};

/// The step that is under way, and those that were.
pub(super) struct Steps {
    progress: Progress,
    /// With the state that it is for; before the first record there is none.
    current: Mutex<Option<(Option<State>, Step)>>,
}

impl Steps {
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress, current: Mutex::new(None) }
    }

    /// What comes before the first record.
    pub(super) fn begin(&self, name: &str) {
        *self.current() = Some((None, self.progress.step(name)));
    }

    /// The run is in this state now: what was before is done.
    pub(super) fn enter(&self, state: State) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|(which, _)| *which == Some(state)) {
            return;
        }
        if let Some((_, step)) = current.take() {
            step.done(None);
        }
        *current = name(state).map(|name| (Some(state), self.progress.step(name)));
    }

    /// The step is done, and nothing follows yet.
    pub(super) fn done(&self, note: Option<&str>) {
        if let Some((_, step)) = self.current().take() {
            step.done(note);
        }
    }

    pub(super) fn failed(&self, why: &str) {
        if let Some((_, step)) = self.current().take() {
            step.failed(why);
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<(Option<State>, Step)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tell for Steps {
    fn tell(&self, news: News<'_>) {
        if let Some((_, step)) = &*self.current() {
            step.tell(news);
        }
    }
}

fn name(state: State) -> Option<&'static str> {
    Some(match state {
        State::Cordoning => "cordon",
        State::Collecting => "collect",
        State::Draining => "drain",
        State::RebootIntent => "reboot",
        State::WaitBoot => "wait for the boot",
        State::Verifying => "verify",
        State::Uncordoning => "uncordon",
        State::Aborted => "undo",
        State::NeedsHuman => return None,
    })
}
