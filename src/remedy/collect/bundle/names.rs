//! Names that stay below where the archive is unpacked and do not meet there, whatever pods and files are called.

use std::collections::BTreeSet;

/// The names in use, as a file system sees them that knows no upper case.
#[derive(Default)]
pub(super) struct Names {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Names {
    /// A safe name that no other file has, and that is no other file's folder.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let name = safe(name);
        let mut candidate = name.clone();
        let mut count = 1;
        while !self.take(&candidate.to_ascii_lowercase()) {
            count += 1;
            candidate = format!("{name}.{count}");
            if self.folder_is_a_file(&name.to_ascii_lowercase()) {
                candidate = candidate.replace('/', "_");
            }
        }
        candidate
    }

    fn take(&mut self, name: &str) -> bool {
        if self.files.contains(name) || self.folders.contains(name) || self.folder_is_a_file(name) {
            return false;
        }
        self.folders.extend(folders(name).map(str::to_owned));
        self.files.insert(name.to_owned())
    }

    fn folder_is_a_file(&self, name: &str) -> bool {
        folders(name).any(|folder| self.files.contains(folder))
    }
}

fn folders(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

pub(super) fn safe(name: &str) -> String {
    const LONGEST: usize = 200;
    const DEEPEST: usize = 12;
    let parts: Vec<String> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != "." && *part != "..")
        .take(DEEPEST)
        .map(|part| {
            let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '_' };
            part.chars().map(plain).take(LONGEST).collect()
        })
        .collect();
    if parts.is_empty() { "_".to_owned() } else { parts.join("/") }
}
