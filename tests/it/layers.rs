//! The layout of design.md holds: imports point one way, and the core is pure.

use std::fs;
use std::path::{Path, PathBuf};

/// Files under `folder`, with their text up to the tests.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in the folder");
    found
}

#[track_caller]
fn refuses(folder: &str, words: &[&str]) {
    for (path, text) in sources(folder) {
        for word in words {
            assert!(!text.contains(word), "{} names `{word}`", path.display());
        }
    }
}

#[test]
fn the_core_knows_no_clock_network_or_environment() {
    refuses(
        "src/core",
        &[
            "tokio",
            "kube::",
            "k8s_openapi",
            "reqwest",
            "std::env",
            "std::fs",
            "std::net::Tcp",
            "std::process",
            "SystemTime::now",
            "Timestamp::now",
            "Instant::now",
            "Zoned::now",
            "serde_json",
        ],
    );
}

#[test]
fn the_core_imports_nothing_of_ours() {
    refuses(
        "src/core",
        &[
            "crate::cluster",
            "crate::source",
            "crate::ui",
            "crate::command",
            "crate::remedy",
            "crate::settings",
            "crate::cli",
            "crate::error",
        ],
    );
}

#[test]
fn the_edges_do_not_see_each_other() {
    refuses("src/cluster", &["crate::source", "crate::ui", "crate::command", "crate::remedy"]);
    refuses("src/source", &["crate::cluster", "crate::ui", "crate::command", "crate::remedy"]);
    refuses("src/ui", &["crate::cluster", "crate::source", "crate::command", "crate::remedy"]);
    refuses("src/remedy", &["crate::source", "crate::ui", "crate::command", "crate::settings", "crate::cli"]);
}

#[test]
fn main_stays_small() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    assert!(text.lines().count() <= 40);
}

/// Two TLS stacks in one process make kube panic at its first connection.
#[test]
fn there_is_one_tls_stack() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    for name in ["aws-lc-rs", "aws-lc-sys", "openssl", "native-tls"] {
        assert!(!lock.contains(&format!("name = \"{name}\"")), "{name} is in the tree");
    }
}
