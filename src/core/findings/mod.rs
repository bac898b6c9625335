//! What stands out in the files of a bundle: what an engineer would look for first, each with its evidence.

mod changes;
mod lines;
mod tables;
#[cfg(test)]
mod tests;

pub use changes::{Facts, changes};

use serde::{Deserialize, Serialize};

use crate::core::invisible::marked;

/// Something that stands out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Of which kind, such as `OOM kill`.
    pub what: String,
    /// How often.
    pub count: usize,
    /// The line that says so, the last one of several, and from which file it is.
    pub evidence: String,
    pub file: String,
}

impl Finding {
    fn new(what: impl Into<String>, evidence: &str, file: &str) -> Self {
        Self { what: what.into(), count: 1, evidence: shown(evidence), file: file.to_owned() }
    }
}

/// What stands out in a file of this name. The text is a machine's: it may say anything.
pub fn in_file(file: &str, text: &str) -> Vec<Finding> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let is_of_the_machine = ["host/", "kubelet/"].iter().any(|folder| file.contains(folder));
    match name {
        "events.txt" => lines::events(file, text),
        _ if !is_of_the_machine || file.contains("pods/") => Vec::new(),
        "dmesg.txt" => lines::kernel(file, text),
        name if name.strip_suffix(".log").is_some() => lines::journal(file, text),
        _ => tables::in_file(name, file, text),
    }
}

/// The same thing is said by several files: the first that says it most exactly is kept.
pub fn once(findings: Vec<Finding>) -> Vec<Finding> {
    // What was found in this file is found in those, too, which it is a part of.
    let whole = |file: &str| -> &'static [&'static str] {
        match file {
            "dmesg.txt" => &["kernel.log"],
            "warnings.log" => &["kernel.log", "kubelet.log", "runtime.log", "dmesg.txt"],
            "previous-boot-end.log" => {
                &["kernel.previous-boot.log", "kubelet.previous-boot.log", "runtime.previous-boot.log"]
            }
            _ => &[],
        }
    };
    let is_repeated = |one: &Finding| {
        let (folder, name) = one.file.rsplit_once('/').unwrap_or(("", &one.file));
        findings.iter().any(|other| {
            other.what == one.what
                && other
                    .file
                    .rsplit_once('/')
                    .is_some_and(|(of, other)| of == folder && whole(name).contains(&other))
        })
    };
    let repeated: Vec<bool> = findings.iter().map(is_repeated).collect();
    findings.into_iter().zip(repeated).filter(|(_, repeated)| !repeated).map(|(finding, _)| finding).collect()
}

/// On one line, not too long, and as it stands in Markdown between backquotes.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let plain = |(c, is_hostile)| match c {
        '`' => '\'',
        _ if is_hostile => ' ',
        c => c,
    };
    let text = text.trim();
    let short: String = marked(text).take(LONGEST).map(plain).collect();
    if text.chars().count() > LONGEST { format!("{short}…") } else { short }
}
