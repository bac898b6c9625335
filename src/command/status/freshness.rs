//! Can what is not shown be taken as not firing? The sync Lease says when all was last seen.

use jiff::Timestamp;

use crate::cluster::{ApiError, Cluster};
use crate::core::memory::Memory;
use crate::core::prefix::Prefix;
use crate::core::report::{LastFull, human_duration};
use crate::settings::StatusSettings;

/// What is known of the last sync.
#[derive(Debug)]
pub(super) enum LastSync {
    /// Nobody asked: the conditions shown are not sync's.
    NotConsulted,
    Recorded(Box<Memory>),
    /// There is no Lease of this name.
    NotRecorded(String),
    /// With the server's reason.
    NotReadable(String),
}

impl LastSync {
    pub(super) async fn read(settings: &StatusSettings, cluster: &Cluster) -> Self {
        if settings.condition.is_some() {
            return Self::NotConsulted;
        }
        let key = &settings.lease;
        match cluster.lease_annotations(key).await {
            Ok(Some(annotations)) => Self::Recorded(Box::new(Memory::read(&annotations))),
            Ok(None) => Self::NotRecorded(format!("{}/{}", key.namespace, key.name)),
            Err(ApiError::Status(status)) if !status.reason.is_empty() => {
                Self::NotReadable(status.reason.clone())
            }
            Err(error) => Self::NotReadable(error.to_string()),
        }
    }

    fn memory(&self) -> Option<&Memory> {
        match self {
            Self::Recorded(memory) => Some(memory),
            _ => None,
        }
    }

    pub(super) fn prefix(&self) -> Option<&Prefix> {
        self.memory()?.prefix.as_ref()
    }

    /// Who synced last.
    pub(super) fn by(&self) -> Option<&str> {
        self.memory()?.last_by.as_deref()
    }

    pub(super) fn last_full(&self) -> Option<LastFull> {
        LastFull::of(self.memory()?)
    }

    /// Why it cannot be told what fires, if it cannot.
    pub(super) fn doubt(&self, now: Timestamp) -> Option<String> {
        match self {
            Self::NotConsulted => None,
            Self::NotRecorded(lease) => Some(format!("no sync recorded in {lease}")),
            Self::NotReadable(reason) => Some(format!("Lease not readable ({reason})")),
            Self::Recorded(_) => match self.last_full() {
                None => Some("no full sync recorded".to_owned()),
                Some(full) if full.is_fresh(now) => None,
                Some(full) => {
                    Some(format!("last full sync {} ago", human_duration(now.duration_since(full.at))))
                }
            },
        }
    }
}
