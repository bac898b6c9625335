//! The alert sources: do they answer, can their silence be believed, and do their alerts speak of nodes here.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join3;
use jiff::Timestamp;

use super::line::Line;
use crate::cluster::{Cluster, LeaseKey};
use crate::command::clusters;
use crate::command::reach::Reach;
use crate::command::render::count;
use crate::core::clusters::{Learning, Ours, Scope, ours};
use crate::core::matcher::Matcher;
use crate::core::memory::Memory;
use crate::core::node::Node;
use crate::core::report::human_duration;
use crate::core::source::{Canary, Gathered, Group, Member, gather};
use crate::error::Result;
use crate::settings::{CheckSettings, SourceSettings};
use crate::source::Sources;
use crate::ui::Ui;

const SOURCES: &str = "alert sources";
const MATCHING: &str = "matching";

pub(super) async fn check(settings: &CheckSettings, cluster: &Arc<Cluster>, ui: &Arc<Ui>) -> Vec<Line> {
    let Some(source) = &settings.source else {
        return vec![
            Line::warning(SOURCES, "not configured")
                .hint("add the flags that sync is given, such as --alertmanager URL --receiver NAME"),
        ];
    };
    let asked = tokio::time::timeout(super::PATIENCE, fetch(source, cluster, ui));
    let listed = tokio::time::timeout(super::PATIENCE, cluster.list_nodes());
    let known = tokio::time::timeout(super::PATIENCE, cluster.lease_annotations(&settings.lease));
    let (asked, listed, known) = join3(asked, listed, known).await;
    let known = known.ok().and_then(Result::ok).flatten().unwrap_or_default();
    let groups = match asked {
        Err(_) => {
            return vec![Line::failed(SOURCES, format!("no answer within {}s", super::PATIENCE.as_secs()))];
        }
        Ok(Err(error)) => return vec![Line::of(SOURCES, &error)],
        Ok(Ok(groups)) => groups,
    };
    let known = Memory::read(&known);
    let scope = Scope {
        policy: &settings.selection,
        cluster_label: &settings.cluster_label,
        filters: &source.filters,
        known: &known.clusters,
    };
    let doubts =
        source.filters.iter().filter_map(Matcher::doubt).map(|doubt| Line::warning("filters", doubt));
    let mut lines: Vec<Line> = doubts.collect();
    let LeaseKey { namespace, name } = &settings.lease;
    let remembered = clusters::remembered(&scope, namespace, name);
    let remembered = remembered.as_deref();
    lines.extend(groups.iter().flat_map(|group| group_lines(group, source, scope.own(), remembered)));
    if groups.iter().flat_map(|group| &group.members).all(|member| member.answer.is_err()) {
        lines.push(Line::warning(MATCHING, "no source answered"));
        return lines;
    }
    let gathered = gather(groups, &Canary::None, false, None);
    lines.push(match listed {
        Ok(Ok(nodes)) => matching(&gathered, &nodes, &scope),
        Ok(Err(error)) => Line::unreadable(MATCHING, &error).softened(),
        Err(_) => Line::warning(MATCHING, "the nodes cannot be listed in time"),
    });
    lines
}

/// `remembered` is where it is kept which cluster this is, if that alone says it.
fn group_lines(
    group: &Group,
    source: &SourceSettings,
    own: Option<&str>,
    remembered: Option<&str>,
) -> Vec<Line> {
    let mut lines: Vec<Line> = group.members.iter().map(member_line).collect();
    let answers = || group.members.iter().filter_map(|member| member.answer.as_ref().ok());
    let names: Vec<&str> = group.members.iter().map(|member| member.name.as_str()).collect();
    if group.has_unasked_members {
        lines.push(
            Line::warning(
                format!("peers of {}", names.join(", ")),
                "it has more cluster peers than are asked: what only those know is missing",
            )
            .hint("name all of them, or their headless Service: --alertmanager svc://NAMESPACE/SERVICE"),
        );
    }
    if let Some(canary) = source.canary.name() {
        let seen: Vec<bool> = answers().filter_map(|answer| answer.sees_canary(own)).collect();
        let name = format!("canary {canary}");
        if seen.contains(&true) {
            lines.push(Line::ok(name, format!("fires at {}", names.join(", "))));
        } else if !seen.is_empty() {
            let message =
                "does not fire: rules that are no longer evaluated would look like nodes that are fine";
            let of_others = answers().any(|answer| !answer.clusters.is_empty());
            let line = match source.canary {
                Canary::Named(_) => Line::failed(name, message),
                _ => Line::warning(name, message).hint(
                    "add an alert that always fires, `expr: vector(1)`, and name it by --require-alert",
                ),
            };
            lines.push(remembered.filter(|_| of_others).into_iter().fold(line, Line::hint));
        }
    }
    lines
}

fn member_line(member: &Member) -> Line {
    let name = format!("alert source {}", member.name);
    let answer = match &member.answer {
        Ok(answer) => answer,
        Err(failure) => {
            let line = Line::failed(name, &failure.what);
            return failure.hints.iter().fold(line, Line::hint);
        }
    };
    let alerts = count(answer.alerts.len(), "alert");
    if let Some(warming) = &answer.warming {
        return Line::warning(
            name,
            format!(
                "{alerts}; started {}s ago, its silence is believed from {} (--warmup)",
                warming.up_for.as_secs(),
                warming.until.strftime("%H:%M:%SZ")
            ),
        );
    }
    if let Some(warning) = answer.warnings.first() {
        return Line::warning(name, format!("{alerts}, and something is missing: {warning}"));
    }
    if let Some(note) = answer.notes.first() {
        return Line::warning(name, format!("{alerts}; it {note}"));
    }
    if let Some((rule, why)) = answer.unevaluated.iter().flatten().next() {
        let rules = answer.unevaluated.as_ref().map_or(0, BTreeMap::len);
        let line =
            Line::warning(name, format!("{alerts}; {} not evaluated: {rule}: {why}", count(rules, "rule")));
        return line.hint("sync clears no condition of their names until they are");
    }
    let up = match answer.started {
        Some(started) => format!(", up for {}", human_duration(Timestamp::now().duration_since(started))),
        None => String::new(),
    };
    Line::ok(name, format!("{alerts}{up}"))
}

fn matching(Gathered { alerts, watchdogs, .. }: &Gathered, nodes: &[Node], scope: &Scope<'_>) -> Line {
    let Ours { selection, doubt, .. } = ours(alerts, watchdogs, nodes, scope, Learning::Allowed);
    if let Some(doubt) = doubt {
        let (what, hints) = clusters::explain(&doubt, scope.cluster_label);
        let line = if doubt.matters() { Line::failed } else { Line::warning };
        return hints.iter().fold(line(MATCHING, &what), Line::hint);
    }
    let counts = &selection.counts;
    let names = count(nodes.len(), "node");
    let considered = counts.matched + counts.unmatched + counts.ambiguous;
    if considered == 0 {
        return Line::ok(MATCHING, format!("nothing fires that could speak of one of {names}"));
    }
    let message = format!("{} of {} matched, over {names}", counts.matched, count(considered, "alert"));
    if counts.ambiguous > 0 {
        let line = Line::warning(MATCHING, format!("{message}, {} ambiguous", counts.ambiguous));
        let examples = selection.ambiguous_examples.iter();
        return examples.fold(line, |line, alert| {
            line.hint(format!("more than one node or machine answers to {alert}"))
        });
    }
    if counts.matched == 0 {
        let line = Line::warning(MATCHING, message);
        let line = selection
            .unmatched_examples
            .iter()
            .fold(line, |line, alert| line.hint(format!("one of them is {alert}")));
        return line.hint("which label names the node? --node-label, --filter or --match-expr");
    }
    Line::ok(MATCHING, message)
}

async fn fetch(source: &SourceSettings, cluster: &Arc<Cluster>, ui: &Arc<Ui>) -> Result<Vec<Group>> {
    let reach = Reach::new(cluster.clone(), ui.clone(), source.via);
    let sources = Sources::new(source, Arc::new(reach))?;
    Ok(sources.fetch(source.canary.name()).await)
}
