//! Alert sources. Each gives the alerts that fire, and says how far that can be trusted.

mod alertmanager;

use crate::core::source::{Failure, FailureReason, Group, Member};
use crate::error::Error;
use crate::settings::SourceSettings;

use alertmanager::Alertmanager;

/// All sources.
pub struct Sources(Result<Alertmanager, Failure>);

impl Sources {
    /// Contacts nothing yet.
    pub fn new(settings: &SourceSettings) -> Self {
        Self(Alertmanager::new(settings))
    }

    /// What each member says; `canary` is the alert that always fires.
    pub async fn fetch(&self, canary: Option<&str>) -> Result<Vec<Group>, Error> {
        let mut peers = 0;
        let (name, answer) = match &self.0 {
            Ok(source) => (source.shown(), source.fetch(canary, &mut peers).await),
            Err(failure) => (String::new(), Err(failure.clone())),
        };
        Ok(vec![Group { members: vec![Member { name, answer }], has_unasked_members: peers > 1 }])
    }
}

fn unavailable(what: impl std::fmt::Display) -> Failure {
    Failure {
        reason: FailureReason::Http,
        is_misconfigured: false,
        what: what.to_string(),
        hints: Vec::new(),
    }
}

fn misconfigured(what: impl std::fmt::Display) -> Failure {
    Failure { is_misconfigured: true, ..unavailable(what) }
}
