//! Several nodes: every one is looked at before the first is touched.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};

use super::{Context, planned};
use crate::cluster::Rule;
use crate::command::names;
use crate::error::{Error, Exit, Result};
use crate::settings::RemediateSettings;

/// Nodes are asked for this many at a time.
const AT_ONCE: usize = 8;

/// Fails if one of the names is no node's: whoever mistypes one may have mistyped others.
pub(super) async fn refuse_unknown(contexts: &[Context<'_>]) -> Result<()> {
    let asked = futures::stream::iter(contexts).map(|context| async move {
        let node = context.cluster.remediated_node(context.report.node()).await;
        node.map(|node| node.is_none().then_some(context))
    });
    let unknown = asked.buffered(AT_ONCE).try_filter_map(async |unknown| Ok(unknown)).try_collect();
    let unknown: Vec<&Context<'_>> = unknown.await.map_err(|error| error.explain("get", &Rule::NODES))?;
    let mut first = None;
    for context in unknown {
        let error = names::not_found(context.report.node(), context.cluster).await;
        context.report.is_unknown(&error);
        if first.is_some() {
            context.ui.error(&error);
        }
        first = first.or(Some(error));
    }
    first.map_or(Ok(()), Err)
}

/// Shows the plan of each node. The nodes that are refused, if the others go on without them.
pub(super) async fn plan_all<'c>(
    contexts: &'c [Context<'_>],
    settings: &RemediateSettings,
) -> Result<BTreeSet<&'c str>> {
    let mut refused = BTreeSet::new();
    let mut first = None;
    for context in contexts {
        let report = context.report;
        report.begins();
        let ended = planned(context, true).await.map(|_| String::new());
        let Err(error) = &ended else {
            report.waits();
            continue;
        };
        report.ends(&ended);
        if is_for_all(error) {
            return Err(error.clone());
        }
        refused.insert(report.node());
        if settings.continue_on_error || first.is_some() {
            context.ui.error(error);
        }
        first = first.or(Some(error.clone()));
    }
    match first {
        Some(error) if !settings.continue_on_error => Err(error),
        _ => Ok(refused),
    }
}

/// A signal ends the run over every node.
pub(super) fn is_for_all(error: &Error) -> bool {
    matches!(error.exit, Exit::Interrupted | Exit::Terminated)
}
