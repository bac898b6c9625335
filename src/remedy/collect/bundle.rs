//! The archive: `.tar.gz`, readable by its owner alone, whole or not there.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "manifest.json";

/// One line of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    pub(super) size: u64,
    pub(super) duration_ms: u64,
    /// Why it is not there, or not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) redactions: usize,
}

/// An archive that is being written. It gets its name with [`finish`](Self::finish); dropped before, nothing stays.
pub(super) struct Bundle {
    archive: Option<tar::Builder<GzEncoder<File>>>,
    partial: PathBuf,
    path: PathBuf,
    entries: Vec<Entry>,
    names: BTreeSet<String>,
    written: u64,
    max_size: u64,
    time: u64,
}

impl Bundle {
    /// `path` must be in a directory that is there. What an earlier run stored under it is kept: its files come first.
    pub(super) fn create(path: &Path, max_size: u64, now: Timestamp) -> io::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // What a killed run left; `create_new` follows no symbolic link that somebody put there.
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let archive = tar::Builder::new(GzEncoder::new(private(&partial)?, Compression::default()));
        let mut bundle = Self {
            archive: Some(archive),
            partial,
            path: path.to_owned(),
            entries: Vec::new(),
            names: BTreeSet::new(),
            written: 0,
            max_size,
            time: u64::try_from(now.as_second()).unwrap_or(0),
        };
        if path.exists() {
            bundle.take_over(path)?;
        }
        Ok(bundle)
    }

    fn take_over(&mut self, path: &Path) -> io::Result<()> {
        let mut before = tar::Archive::new(GzDecoder::new(File::open(path)?));
        for member in before.entries()? {
            let mut member = member?;
            let name = member.path()?.to_string_lossy().into_owned();
            let mut content = Vec::new();
            member.by_ref().take(self.max_size).read_to_end(&mut content)?;
            if name == MANIFEST {
                self.entries = serde_json::from_slice::<Manifest>(&content).unwrap_or_default().files;
            } else {
                self.append(&name, &content)?;
            }
        }
        Ok(())
    }

    /// Adds a file. What does not fit any more is cut, and the manifest says so.
    pub(super) fn add(&mut self, mut entry: Entry, content: &[u8]) -> io::Result<()> {
        entry.name = self.unique(&entry.name);
        let room = usize::try_from(self.max_size.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let content = if content.len() > room {
            entry.error.get_or_insert_with(|| format!("cut from {} bytes: --max-size", content.len()));
            &content[..room]
        } else {
            content
        };
        entry.size = content.len() as u64;
        entry.sha256 = Some(hex(&Sha256::digest(content)));
        self.append(&entry.name.clone(), content)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Notes what could not be had.
    pub(super) fn miss(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Writes the manifest and gives the archive its name.
    pub(super) fn finish(mut self) -> io::Result<PathBuf> {
        let manifest = Manifest { files: std::mem::take(&mut self.entries) };
        let text = serde_json::to_vec_pretty(&manifest)?;
        self.append(MANIFEST, &text)?;
        if let Some(archive) = self.archive.take() {
            archive.into_inner()?.finish()?.sync_all()?;
        }
        std::fs::rename(&self.partial, &self.path)?;
        Ok(self.path.clone())
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let Some(archive) = &mut self.archive else { return Ok(()) };
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.time);
        self.written += content.len() as u64;
        archive.append_data(&mut header, safe(name), content)
    }

    fn unique(&mut self, name: &str) -> String {
        let name = safe(name);
        let mut candidate = name.clone();
        let mut count = 1;
        while !self.names.insert(candidate.clone()) {
            count += 1;
            candidate = format!("{name}.{count}");
        }
        candidate
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.archive.take().is_some() {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Manifest {
    files: Vec<Entry>,
}

/// A name that stays below where the archive is unpacked, whatever pods and files are called.
fn safe(name: &str) -> String {
    let parts: Vec<String> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != "." && *part != "..")
        .map(|part| {
            let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '_' };
            part.chars().map(plain).take(200).collect()
        })
        .collect();
    if parts.is_empty() { "_".to_owned() } else { parts.join("/") }
}

#[cfg_attr(not(unix), expect(unused_mut, reason = "modes are Unix's"))]
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Copies the finished archive to stdout, for `--output-dir -`.
pub(super) fn to_stdout(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut out = io::stdout().lock();
    io::copy(&mut file, &mut out)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn entry(name: &str) -> Entry {
        Entry { name: name.into(), sha256: None, size: 0, duration_ms: 1, error: None, redactions: 0 }
    }

    fn names(path: &Path) -> Vec<String> {
        let mut archive = tar::Archive::new(GzDecoder::new(File::open(path).unwrap()));
        archive
            .entries()
            .unwrap()
            .map(|member| member.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn names_stay_inside() {
        for (name, expected) in [
            ("pods/ns/../../etc/passwd", "pods/ns/etc/passwd"),
            ("/absolute", "absolute"),
            ("..", "_"),
            ("pods/a\nb/c.log", "pods/a_b/c.log"),
        ] {
            assert_eq!(safe(name), expected);
        }
    }

    #[test]
    fn a_second_run_adds_to_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b.tar.gz");
        let mut bundle = Bundle::create(&path, 1 << 20, Timestamp::UNIX_EPOCH).unwrap();
        bundle.add(entry("node/node.yaml"), b"one").unwrap();
        bundle.finish().unwrap();
        let mut bundle = Bundle::create(&path, 1 << 20, Timestamp::UNIX_EPOCH).unwrap();
        bundle.add(entry("after/node/node.yaml"), b"two").unwrap();
        bundle.finish().unwrap();
        assert_eq!(names(&path), ["node/node.yaml", "after/node/node.yaml", MANIFEST]);
    }

    #[test]
    fn nothing_stays_of_a_run_that_did_not_finish_and_files_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b.tar.gz");
        drop(Bundle::create(&path, 1 << 20, Timestamp::UNIX_EPOCH).unwrap());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        Bundle::create(&path, 1 << 20, Timestamp::UNIX_EPOCH).unwrap().finish().unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn the_size_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b.tar.gz");
        let mut bundle = Bundle::create(&path, 4, Timestamp::UNIX_EPOCH).unwrap();
        bundle.add(entry("a"), b"123456").unwrap();
        bundle.add(entry("a"), b"7").unwrap();
        assert_eq!(bundle.entries()[0].size, 4);
        assert_eq!(bundle.entries()[0].error.as_deref(), Some("cut from 6 bytes: --max-size"));
        assert_eq!((bundle.entries()[1].name.as_str(), bundle.entries()[1].size), ("a.2", 0));
        bundle.finish().unwrap();
    }
}
