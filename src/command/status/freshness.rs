//! Can what is not shown be taken as not firing? The sync Lease says when all was last seen.

use jiff::Timestamp;

use crate::cluster::{ApiError, Cluster, LeaseKey};
use crate::core::memory::Memory;
use crate::core::prefix::Prefix;
use crate::core::report::{LastFull, human_duration};
use crate::settings::StatusSettings;

/// What is known of the last sync.
#[derive(Debug)]
pub(super) enum LastSync {
    /// Nobody asked: the conditions shown are not sync's.
    NotConsulted,
    Recorded(Box<Memory>, LeaseKey),
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
            Ok(Some(annotations)) => Self::Recorded(Box::new(Memory::read(&annotations)), key.clone()),
            Ok(None) => Self::NotRecorded(format!("{}/{}", key.namespace, key.name)),
            Err(ApiError::Status(status)) if !status.reason.is_empty() => {
                Self::NotReadable(status.reason.clone())
            }
            Err(error) => Self::NotReadable(error.to_string()),
        }
    }

    fn memory(&self) -> Option<&Memory> {
        match self {
            Self::Recorded(memory, _) => Some(memory),
            _ => None,
        }
    }

    pub(super) fn prefix(&self) -> Option<&Prefix> {
        self.memory()?.prefix.as_ref()
    }

    /// The prefix, if it is not the default and the Lease alone names it.
    pub(super) fn other_prefix(&self, settings: &StatusSettings) -> Option<&Prefix> {
        self.prefix().filter(|prefix| settings.prefix.is_none() && **prefix != Prefix::default())
    }

    /// Who synced last.
    pub(super) fn by(&self) -> Option<&str> {
        self.memory()?.last_by.as_deref()
    }

    pub(super) fn last_full(&self, now: Timestamp) -> Option<LastFull> {
        LastFull::of(self.memory()?, now)
    }

    /// What else the picture hangs on that the Lease says: anyone who may write it could say it.
    pub(super) fn says(&self, settings: &StatusSettings, now: Timestamp) -> Vec<String> {
        let Self::Recorded(_, LeaseKey { namespace, name }) = self else { return Vec::new() };
        let prefix = self.other_prefix(settings);
        let prefix = prefix.map(|prefix| format!("prefix {prefix} from Lease {namespace}/{name}"));
        let unconfirmed = self.last_full(now).filter(|full| full.heartbeat.is_zero());
        let unconfirmed =
            unconfirmed.map(|_| "conditions are not confirmed (--heartbeat-interval 0)".to_owned());
        prefix.into_iter().chain(unconfirmed).collect()
    }

    /// Why it cannot be told what fires, if it cannot.
    pub(super) fn doubt(&self, now: Timestamp) -> Option<String> {
        match self {
            Self::NotConsulted => None,
            Self::NotRecorded(lease) => Some(format!("no sync recorded in {lease}")),
            Self::NotReadable(reason) => Some(format!("Lease not readable ({reason})")),
            Self::Recorded(memory, _) => match (self.last_full(now), memory.last_full) {
                (None, None) => Some("no full sync recorded".to_owned()),
                (None, Some(at)) => Some(format!("the last full sync is recorded for the future ({at})")),
                (Some(full), _) if full.is_fresh(now) => None,
                (Some(full), _) => {
                    Some(format!("last full sync {} ago", human_duration(now.duration_since(full.at))))
                }
            },
        }
    }
}
