//! Who acts on a node that another process has taken over from this one.

use std::time::Duration;

use jiff::Timestamp;

use super::Context;
use super::next::{Lines, Next};
use crate::cluster::LeaseKey;
use crate::core::remediation::RecordSeen;
use crate::core::report::human_duration;
use crate::error::{Error, Exit};
use crate::settings::DrainSettings;

/// How long to look for it: whoever lost the node may well be cut off.
const WITHIN: Duration = Duration::from_secs(5);

/// `last`: who held it when this process noticed.
pub(super) async fn explain(node: &str, last: &str, drain: &DrainSettings, context: &Context<'_>) -> Error {
    let key = LeaseKey::of_node(&context.settings.lease_namespace, node);
    let look =
        async { futures::join!(context.cluster.lease_state(&key), context.cluster.remediated_node(node)) };
    let (lease, seen) = tokio::time::timeout(WITHIN, look)
        .await
        .map_or((None, None), |(lease, seen)| (lease.ok().flatten(), seen.ok().flatten()));
    let holder = lease.and_then(|lease| Some((lease.holder?, lease.since)));
    let record = seen.map(|node| node.view.record);
    // What comes next is by the record that is there now.
    let theirs = match &record {
        Some(RecordSeen::Readable(record)) => Some((**record).clone()),
        _ => None,
    };
    let lines = Lines { record: theirs, forgets_until: true, ..Lines::of(context, drain) };
    let status = format!("kubectl sciuro status {node}");
    let busy = |now: &str| {
        Error::new(Exit::Busy, format!("node/{node}: another process took over{now}")).hint(&status)
    };
    match (holder, record) {
        (Some((holder, since)), _) if holder != context.holder => {
            let error = busy(&format!(": {} acts on it now{}", holder, said(since)));
            lines.hint(error, &[Next::Stop])
        }
        (_, Some(RecordSeen::Readable(record))) => {
            let ago = human_duration(context.cluster.now().duration_since(record.since));
            let error = busy(&format!("; idle now (last: {}, {ago} ago)", record.holder));
            lines.hint(error, &[Next::Continue])
        }
        (_, Some(_)) => busy(&format!("; the remediation is over (last: {last})")),
        (_, None) => busy(&format!(": {last}")),
    }
}

fn said(since: Option<Timestamp>) -> String {
    since.map(|since| format!(", since {}", since.strftime("%Y-%m-%dT%H:%M:%SZ"))).unwrap_or_default()
}
