//! What a boot has changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Finding;

/// What was known at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Such as `kernel` → `6.12.9`, `Ready` → `True, KubeletReady`.
    pub values: BTreeMap<String, String>,
    pub findings: Vec<Finding>,
    /// The files that were there to be looked at.
    pub files: BTreeSet<String>,
}

/// One line for each fact that is another one now, and for each kind of finding that went, came or stayed. What is told about
/// the time before the boot by logs that were read after it is no news, and neither is what only one side looked at.
pub fn changes(before: &Facts, after: &Facts) -> Vec<String> {
    let names: BTreeSet<&String> = before.values.keys().chain(after.values.keys()).collect();
    let value =
        |facts: &Facts, name: &String| facts.values.get(name).cloned().unwrap_or_else(|| "-".to_owned());
    let mut lines: Vec<String> = names
        .into_iter()
        .filter(|name| before.values.get(*name) != after.values.get(*name))
        .map(|name| format!("{name}: {} → {}", value(before, name), value(after, name)))
        .collect();
    let (then, now) = (kinds(before, after), kinds(after, before));
    for (word, kinds) in [
        ("gone", then.difference(&now).collect::<Vec<_>>()),
        ("new", now.difference(&then).collect()),
        ("still there", now.intersection(&then).collect()),
    ] {
        lines.extend(kinds.into_iter().map(|kind| format!("{kind}: {word}")));
    }
    lines
}

/// Of what `other` looked at, too.
fn kinds<'f>(facts: &'f Facts, other: &Facts) -> BTreeSet<&'f str> {
    let is_of_this_boot = |finding: &&Finding| {
        // Events are of both sides of the boot.
        !finding.file.contains("previous-boot")
            && finding.file != "events.txt"
            && other.files.contains(&finding.file)
    };
    facts.findings.iter().filter(is_of_this_boot).map(|finding| &*finding.what).collect()
}
