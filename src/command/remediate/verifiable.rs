//! Whether it can be verified at the end of a run that what caused it is over: better known before the reboot than ten
//! minutes after it.

use jiff::{SignedDuration, Timestamp};

use super::alerts::SYNC_LEASE;
use crate::cluster::{Cluster, LeaseKey, RemediatedNode};
use crate::core::memory::Memory;
use crate::core::remediation::{Reason, State};
use crate::core::report::{LastFull, human_duration};
use crate::remedy::drain::Warning;
use crate::settings::RemediateSettings;

/// Somebody else than sync, or a sync whose Lease is elsewhere, may have written a condition with such a heartbeat, and still run.
const REFRESHED_WITHIN: SignedDuration = SignedDuration::from_mins(15);

const HINT: &str = "run kubectl sciuro sync, or name the source of the alerts: --alertmanager URL";

/// `asks_sources`: the alerts themselves are asked for.
pub(super) async fn doubts(
    node: &RemediatedNode,
    reasons: &[Reason],
    settings: &RemediateSettings,
    cluster: &Cluster,
    asks_sources: bool,
) -> Option<Warning> {
    let is_verified = settings.until.is_none_or(|until| until >= State::Verifying);
    if reasons.is_empty() {
        let prefix = &settings.selection.prefix;
        let text = format!("nothing fires on node/{}: no condition {prefix}* is True", node.name);
        return Some(Warning { text, hint: Some("kubectl sciuro status".to_owned()) });
    }
    if asks_sources || !is_verified {
        return None;
    }
    let now = cluster.now();
    let key = LeaseKey { namespace: settings.lease_namespace.clone(), name: SYNC_LEASE.to_owned() };
    let lease = format!("{}/{}", key.namespace, key.name);
    let why = match cluster.lease_annotations(&key).await {
        Ok(Some(annotations)) => match LastFull::of(&Memory::read(&annotations), now) {
            Some(last) if last.is_fresh(now) => return None,
            Some(last) => {
                format!("the last complete sync was {} ago", human_duration(now.duration_since(last.at)))
            }
            None => format!("Lease {lease} records no complete sync"),
        },
        Ok(None) if are_refreshed(node, reasons, now) => {
            let text = format!(
                "whether a sync runs is not known (there is no Lease {lease}): unless it clears {}, the verification will fail",
                types(reasons)
            );
            return Some(Warning { text, hint: Some(HINT.to_owned()) });
        }
        Ok(None) => format!("there is no Lease {lease}"),
        Err(error) => format!("Lease {lease} cannot be read: {error}"),
    };
    Some(Warning {
        text: format!(
            "the verification will fail: sync does not seem to run ({why}), no alert source is given, and so {} stays True",
            types(reasons)
        ),
        hint: Some(HINT.to_owned()),
    })
}

fn types(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.condition_type.as_str()).collect::<Vec<_>>().join(", ")
}

fn are_refreshed(node: &RemediatedNode, reasons: &[Reason], now: Timestamp) -> bool {
    reasons.iter().all(|reason| {
        let condition = node.condition(&reason.condition_type);
        let heartbeat = condition.and_then(|condition| condition.last_heartbeat_time.as_ref());
        let heartbeat = heartbeat.and_then(|time| time.parse::<Timestamp>().ok());
        heartbeat.is_some_and(|time| now.duration_since(time) < REFRESHED_WITHIN)
    })
}
