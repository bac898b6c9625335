#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::names::safe;
use super::*;

const ID: &str = "5f1c7a52-4d5b-4f0e-9d6c-0a2f5c1e7b11";

fn entry(name: &str) -> Entry {
    Entry { name: name.to_owned(), sha256: None, size: 0, duration_ms: 0, error: None, redactions: 0 }
}

fn create(directory: &Path, max_size: u64) -> Bundle {
    Bundle::create(directory, "n1", max_size, Timestamp::UNIX_EPOCH).unwrap()
}

/// A bundle as a run leaves it before the drain.
fn first(directory: &Path) -> PathBuf {
    let mut bundle = create(directory, 1 << 20);
    bundle.add(entry("node/node.yaml"), b"one").unwrap();
    bundle.miss(Entry { error: Some("403".to_owned()), ..entry("node/lease.yaml") });
    bundle.add_last(entry("remediation.json"), format!(r#"{{"id":"{ID}"}}"#).as_bytes()).unwrap();
    bundle.finish("").unwrap().path
}

/// The members, of which each has to be in the manifest with its hash, and the manifest's in the archive.
#[track_caller]
fn members(path: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(File::open(path).unwrap()));
    let mut found = BTreeMap::new();
    for member in archive.entries().unwrap() {
        let mut member = member.unwrap();
        let name = member.path().unwrap().to_string_lossy().into_owned();
        let mut content = String::new();
        member.read_to_string(&mut content).unwrap();
        assert!(found.insert(name, content).is_none(), "twice the same name");
    }
    let manifest: Manifest = serde_json::from_str(&found[MANIFEST]).unwrap();
    let listed: BTreeMap<_, _> =
        manifest.files.iter().filter_map(|file| Some((file.name.clone(), file.sha256.clone()?))).collect();
    let hashed: BTreeMap<_, _> = found
        .iter()
        .filter(|(name, _)| *name != MANIFEST)
        .map(|(name, content)| (name.clone(), hex(&Sha256::digest(content))))
        .collect();
    assert_eq!(listed, hashed);
    found
}

fn names(path: &Path) -> Vec<String> {
    members(path).into_keys().collect()
}

#[test]
fn names_stay_inside() {
    let long = "x".repeat(5000);
    for (name, expected) in [
        ("pods/ns/../../etc/passwd", "pods/ns/etc/passwd"),
        ("/absolute", "absolute"),
        ("..", "_"),
        ("pods/a\nb/c\0.log", "pods/a_b/c_.log"),
        ("pods/ü\u{202e}/c", "pods/__/c"),
        (&format!("pods/{long}/c"), &format!("pods/{}/c", &long[..200])),
    ] {
        assert_eq!(safe(name), expected);
    }
}

#[test]
fn names_do_not_meet() {
    let mut names = Names::default();
    for (name, expected) in [
        ("pods/a/c.log", "pods/a/c.log"),
        ("pods/A/C.log", "pods/A/C.log.2"),
        ("pods/a/c.log/x", "pods_a_c.log_x.2"), // below a file
        ("pods/a", "pods/a.2"),                 // a folder
        ("pods/a", "pods/a.3"),
    ] {
        assert_eq!(names.unique(name), expected);
    }
}

/// No pod is called so, but a lying server's.
#[test]
fn a_file_that_is_called_as_ours_are_is_another() {
    let directory = tempfile::tempdir().unwrap();
    let mut bundle = create(directory.path(), 1 << 20);
    bundle.add(entry("MANIFEST.json"), b"{}").unwrap();
    bundle.add(entry("errors.txt"), b"none").unwrap();
    let written = bundle.finish("").unwrap();
    assert_eq!(names(&written.path), ["MANIFEST.json.2", "errors.txt", "errors.txt.2", "manifest.json"]);
}

#[test]
fn a_second_run_adds_to_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = first(directory.path());
    let found = earlier(directory.path(), "n1", "/elsewhere/sciuro-n1-19700101T000000Z.tar.gz").unwrap();
    assert_eq!(found, path);
    let mut bundle = create(directory.path(), 1 << 20);
    bundle.take_over(&path, ID).unwrap();
    bundle.add(entry("after/node/node.yaml"), b"two").unwrap();
    bundle.miss(Entry { error: Some("timed\nout".to_owned()), ..entry("after/pods") });
    let written = bundle.finish("after/").unwrap();
    assert_eq!((&written.path, written.files, written.missing), (&path, 2, 1));
    let members = members(&path);
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "after/errors.txt",
            "after/node/node.yaml",
            "errors.txt",
            MANIFEST,
            "node/node.yaml",
            "remediation.json"
        ]
    );
    assert_eq!(members["errors.txt"], "node/lease.yaml: 403\n");
    assert_eq!(members["after/errors.txt"], "after/pods: timed out\n");
    let manifest: Value = serde_json::from_str(&members[MANIFEST]).unwrap();
    assert!(manifest["files"].as_array().unwrap().iter().any(|file| file["name"] == "node/lease.yaml"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// The record on the Node is anybody's: it may name any file.
#[test]
fn what_is_not_ours_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = first(directory.path());
    std::fs::copy(&path, directory.path().join("sciuro-n1-x-19700101T000000Z.tar.gz")).unwrap();
    std::fs::copy(&path, directory.path().join("sciuro-n1-latest.tar.gz")).unwrap();
    for recorded in [
        "sciuro-n1-x-19700101T000000Z.tar.gz",
        "sciuro-n1-latest.tar.gz",
        "sciuro-n1-19700101T000001Z.tar.gz",
        "/etc/passwd",
        "..",
        "",
    ] {
        assert_eq!(earlier(directory.path(), "n1", recorded), None, "{recorded}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_its_place_is_neither_read_nor_written() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let real = first(elsewhere.path());
    let before = std::fs::read(&real).unwrap();
    let name = "sciuro-n1-19700101T000000Z.tar.gz";
    let link = directory.path().join(name);
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let victim = elsewhere.path().join("victim");
    std::os::unix::fs::symlink(&victim, directory.path().join("sciuro-n1-19700101T000000Z-2.tar.gz.partial"))
        .unwrap();
    assert_eq!(earlier(directory.path(), "n1", name), None);

    let mut bundle = create(directory.path(), 1 << 20);
    assert!(bundle.take_over(&link, ID).unwrap_err().to_string().contains("no plain file"));
    bundle.add(entry("a"), b"b").unwrap();
    let written = bundle.finish("after/").unwrap();
    assert!(written.path.ends_with("sciuro-n1-19700101T000000Z-3.tar.gz"), "{written:?}");
    assert_eq!(names(&written.path), ["a", "after/errors.txt", MANIFEST]);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(!victim.exists());
    assert_eq!(std::fs::read(&real).unwrap(), before);
}

#[test]
fn a_bundle_of_another_remediation_or_none_at_all_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = first(directory.path());
    let ours = std::fs::read(&path).unwrap();
    let truncated = &ours[..ours.len() / 2];
    for (content, id, why) in [
        (&ours[..], "another", "not of this remediation"),
        (&ours[..], "", "not of this remediation"),
        (truncated, ID, ""),
        (b"no archive", ID, ""),
    ] {
        std::fs::write(&path, content).unwrap();
        let mut bundle = create(directory.path(), 1 << 20);
        assert!(bundle.take_over(&path, id).unwrap_err().to_string().contains(why));
        bundle.add(entry("a"), b"b").unwrap();
        let written = bundle.finish("after/").unwrap();
        assert_eq!(names(&written.path), ["a", "after/errors.txt", MANIFEST]);
        assert_eq!(std::fs::read(&path).unwrap(), content);
        std::fs::remove_file(written.path).unwrap();
    }
}

/// Some kilobytes that unpack to more than anybody has.
#[test]
fn a_bomb_is_not_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let path = first(directory.path());
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
        File::create(&path).unwrap(),
        flate2::Compression::default(),
    ));
    let mut header = tar::Header::new_gnu();
    header.set_size(64 << 20);
    archive.append_data(&mut header, "zeros", io::repeat(0).take(64 << 20)).unwrap();
    archive.into_inner().unwrap().finish().unwrap();
    let mut bundle = create(directory.path(), 1 << 20);
    bundle.take_over(&path, ID).unwrap_err();
    assert!(bundle.archive.get_ref().place() == 0);
}

#[test]
fn nothing_stays_of_a_run_that_did_not_finish_and_files_are_private() {
    let directory = tempfile::tempdir().unwrap();
    drop(create(directory.path(), 1 << 20));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let path = create(directory.path(), 1 << 20).finish("").unwrap().path;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn the_size_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut bundle = create(directory.path(), 4);
    bundle.add(entry("a"), b"123456").unwrap();
    bundle.add(entry("a"), b"7").unwrap();
    bundle.add_last(entry("summary.md"), b"all of it").unwrap();
    assert_eq!(bundle.entries()[0].size, 4);
    assert_eq!(bundle.entries()[0].error.as_deref(), Some("cut from 6 bytes: --max-size"));
    assert_eq!((bundle.entries()[1].name.as_str(), bundle.entries()[1].size), ("a.2", 0));
    let members = members(&bundle.finish("").unwrap().path);
    assert_eq!(members["summary.md"], "all of it");
    assert_eq!(members["errors.txt"], "a: cut from 6 bytes: --max-size\na.2: cut from 1 bytes: --max-size\n");
}
