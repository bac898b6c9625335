//! What a person is told when alerts may be another cluster's.

use std::collections::BTreeSet;

use crate::core::clusters::{CLUSTER, Doubt, Learning, Scope};
use crate::core::matcher::Matcher;
use crate::core::source::{FailureReason, Gathered, Verdict};

/// What is wrong, and what to type.
pub(super) fn explain(doubt: &Doubt, label: &str) -> (String, Vec<String>) {
    let filter = |value: &str| {
        let matcher = Matcher::equal(label, value).to_string();
        format!("--filter {}", shlex::try_quote(&matcher).map_or(matcher.clone(), Into::into))
    };
    match doubt {
        Doubt::Several { seen, matched } => {
            let effect = if matched.is_empty() { "are listed" } else { "match nodes here" };
            let example = matched.first().or(seen.first()).map_or("a.k8s", String::as_str);
            (
                format!("alerts of several clusters ({label} {}) {effect}", quoted(seen)),
                vec![format!("choose this cluster's: {}", filter(example))],
            )
        }
        Doubt::Others { own, others } => {
            let verb = if others.len() == 1 { "matches" } else { "match" };
            let what = format!(
                "alerts of several clusters: {label} {} {verb} nodes here, and this cluster is {own:?}",
                quoted(others)
            );
            let renamed = others.first().filter(|_| others.len() == 1);
            let renamed = renamed.map(|other| format!("if it is called so now: {}", filter(other)));
            (what, [format!("this cluster's alone: {}", filter(own))].into_iter().chain(renamed).collect())
        }
        Doubt::Unproven { value, why } => {
            let why = match why {
                Learning::Forgetful => ", and without a Lease nothing remembers whose they are",
                _ => "; none is applied until a complete round shows no other cluster",
            };
            (
                format!("alerts of {label} {value:?} match nodes here{why}"),
                vec![format!("if they are this cluster's: {}", filter(value))],
            )
        }
    }
}

/// Where it is kept which cluster this is, and how to correct it, if that alone says it.
pub(super) fn remembered(scope: &Scope<'_>, namespace: &str, lease: &str) -> Option<String> {
    let own = scope.remembered()?;
    Some(format!(
        "that this cluster is {own:?} is remembered in the annotation {CLUSTER} of Lease {namespace}/{lease}; to correct it: \
         kubectl annotate -n {namespace} lease/{lease} {CLUSTER}-"
    ))
}

/// A watchdog that fires for other clusters only may be this one's: what is remembered may be wrong.
pub(super) fn doubt_remembered(gathered: &mut Gathered, hint: &str) {
    if gathered.watchdogs.is_empty() {
        return;
    }
    for member in gathered.trust.groups.iter_mut().flatten() {
        if let Verdict::Failed(failure) = &mut member.verdict
            && failure.reason == FailureReason::CanaryMissing
        {
            failure.hints.insert(0, hint.to_owned());
        }
    }
}

fn quoted(values: &BTreeSet<String>) -> String {
    values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ")
}
