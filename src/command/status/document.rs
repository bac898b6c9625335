//! `kind: StatusReport`: what `-o json` prints, and what templates and paths are applied to.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::freshness::LastSync;
use super::remediations::has_failed;
use crate::core::alert::Priority;
use crate::core::prefix::Prefix;
use crate::core::remediation::{Method, RecordSeen};
use crate::core::report::{Row, ShownNode};
use crate::core::standing::Standing;
use crate::settings::StatusSettings;

/// `kind: StatusReport`; its schema is `schemas/status-report.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'r> {
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_full_sync: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sync_by: Option<&'r str>,
    /// The Lease names it, not the caller; conditions with the default prefix are among the items, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_prefix: Option<&'r str>,
    /// Why it cannot be told what else fires.
    #[serde(skip_serializing_if = "Option::is_none")]
    cannot_tell: Option<String>,
    items: Vec<Item<'r>>,
    remediations: Vec<Remediation<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'r> {
    node: &'r str,
    r#type: &'r str,
    status: &'r str,
    firing: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u16>,
    reason: &'r str,
    message: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_transition_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heartbeat_time: Option<Timestamp>,
    stale: bool,
    node_status: String,
    roles: Vec<&'r str>,
}

/// One that has not come to its end.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", untagged)]
enum Remediation<'r> {
    #[serde(rename_all = "camelCase")]
    Readable {
        node: &'r str,
        id: &'r str,
        step: &'r str,
        failed: bool,
        since: Timestamp,
        by: &'r str,
        holder: &'r str,
        method: Method,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'r str>,
    },
    Unreadable {
        node: &'r str,
        unreadable: &'r str,
    },
}

impl<'r> Remediation<'r> {
    fn new(node: &'r ShownNode) -> Option<Self> {
        let name = &node.node.name;
        match &node.remediation {
            RecordSeen::None => None,
            RecordSeen::Unreadable(why) => Some(Self::Unreadable { node: name, unreadable: why }),
            RecordSeen::Readable(record) => Some(Self::Readable {
                node: name,
                id: &record.id,
                step: record.step(),
                failed: has_failed(record),
                since: record.since,
                by: &record.actor,
                holder: &record.holder,
                method: record.method,
                error: record.last_error.as_deref(),
            }),
        }
    }
}

impl<'r> Document<'r> {
    pub(super) fn new(
        rows: &'r [Row<'_>],
        unfinished: &'r [&ShownNode],
        settings: &StatusSettings,
        last_sync: &'r LastSync,
        now: Timestamp,
    ) -> Self {
        Self {
            time: now,
            last_full_sync: last_sync.last_full(now).map(|full| full.at),
            last_sync_by: last_sync.by(),
            lease_prefix: last_sync.other_prefix(settings).map(Prefix::as_str),
            cannot_tell: last_sync.doubt(now),
            items: rows.iter().map(Item::new).collect(),
            remediations: unfinished.iter().filter_map(|node| Remediation::new(node)).collect(),
        }
    }
}

/// One of the document's items.
pub(super) fn item(row: &Row<'_>) -> Value {
    // Plain values: nothing in them can fail to serialise.
    serde_json::to_value(Item::new(row)).unwrap_or_default()
}

impl<'r> Item<'r> {
    fn new(row: &'r Row<'_>) -> Self {
        Self {
            node: &row.node.node.name,
            r#type: &row.condition.type_,
            status: &row.condition.status,
            firing: row.standing == Standing::Firing,
            priority: row.priority.map(Priority::number),
            reason: &row.condition.reason,
            message: row.message,
            last_transition_time: row.condition.last_transition,
            last_heartbeat_time: row.condition.last_heartbeat,
            stale: row.stale.is_some(),
            node_status: row.node.status(),
            roles: row.node.roles(),
        }
    }
}
