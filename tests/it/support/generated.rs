//! Files that are made of the program and committed. `make generate` writes them again.

use std::path::Path;

/// The committed file says `text`; with `UPDATE` in the environment it is written instead.
#[track_caller]
pub fn is_current(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().chain([""]).zip(text.lines().chain([""])).find(|(was, is)| was != is);
    assert!(committed == text, "{file} is stale: make generate\n{differs:#?}");
}
