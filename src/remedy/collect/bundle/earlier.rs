//! The bundle that the same run wrote before the boot: what is collected after it is put beside that.
//!
//! Its name comes from the record on the Node, which a kubelet can forge: it has to be a file of ours, where and as we write
//! them, and of this remediation.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::core::findings::Facts;

use super::{Bundle, ERRORS, Entry, MANIFEST, Manifest, hex, name_begins};

/// The record, by which a bundle is told to be of this remediation.
const RECORD: &str = "remediation.json";
/// What was known before the boot.
pub(super) const FINDINGS: &str = "findings.json";
/// A manifest or a record is not longer.
const LARGEST_INDEX: u64 = 16 << 20;

/// Where the bundle of this node would be that a record names: of what it says only the file's name counts.
pub fn earlier(directory: &Path, node: &str, recorded: &str) -> Option<PathBuf> {
    let name = Path::new(recorded).file_name()?.to_str()?;
    let time = name.strip_prefix(&name_begins(node))?.strip_suffix(".tar.gz")?;
    let is_digits =
        |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let (time, number) = time.split_once('-').unwrap_or((time, "2"));
    let (day, clock) = time.split_once('T')?;
    let is_time = is_digits(day, 8) && clock.strip_suffix('Z').is_some_and(|clock| is_digits(clock, 6));
    let path = directory.join(name);
    let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    (is_time && (1..=3).contains(&number.len()) && is_digits(number, number.len()) && is_file).then_some(path)
}

impl Bundle {
    /// Puts the files of an earlier bundle before those of this one, which takes its place then; gives what it says
    /// of the time before. On an error that bundle is as it was, and this one is empty.
    pub(in crate::remedy::collect) fn take_over(&mut self, path: &Path, id: &str) -> io::Result<Facts> {
        let taken = self.copy(path, id);
        match taken {
            Ok(facts) => {
                self.earlier = self.entries.len();
                path.clone_into(&mut self.path);
                Ok(facts)
            }
            Err(error) => {
                self.archive.get_mut().roll_back(0)?;
                self.entries.clear();
                self.written = 0;
                Err(error)
            }
        }
    }

    fn copy(&mut self, path: &Path, id: &str) -> io::Result<Facts> {
        let before = path.symlink_metadata()?;
        if !before.is_file() {
            return Err(refused("it is no plain file"));
        }
        let file = File::open(path)?;
        self.is_ours(&before, &file)?;
        let mut manifest = Vec::new();
        let (mut ours, mut facts) = (false, Facts::default());
        let limit = self.max_size.saturating_add(LARGEST_INDEX);
        // A small file can be unpacked to any size.
        let mut archive = tar::Archive::new(MultiGzDecoder::new(file).take(limit));
        for member in archive.entries()? {
            let mut member = member?;
            let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            if !member.header().entry_type().is_file() {
                return Err(refused("it has something else than files in it"));
            }
            let size = member.size();
            if name == MANIFEST {
                member.take(LARGEST_INDEX).read_to_end(&mut manifest)?;
                continue;
            }
            let mut hashing = Hashing { from: &mut member, sha256: Sha256::new(), seen: None };
            if [RECORD, FINDINGS].contains(&&*name) && size <= LARGEST_INDEX {
                hashing.seen = Some(Vec::new());
            }
            let name = if name == ERRORS { name } else { self.names.unique(&name) };
            self.append(&name, size, &mut hashing)?;
            match hashing.seen {
                Some(record) if name == RECORD => {
                    let record: Value = serde_json::from_slice(&record).unwrap_or_default();
                    ours = !id.is_empty() && record["id"] == id;
                }
                Some(findings) => facts = serde_json::from_slice(&findings).unwrap_or_default(),
                None => {}
            }
            let sha256 = Some(hex(&hashing.sha256.finalize()));
            self.entries.push(Entry { name, sha256, size, duration_ms: 0, error: None, redactions: 0 });
        }
        if !ours {
            return Err(refused("it is not of this remediation"));
        }
        self.remember(serde_json::from_slice::<Manifest>(&manifest)?.files);
        Ok(facts)
    }

    /// What the earlier manifest knew of its files, and which it had not.
    fn remember(&mut self, files: Vec<Entry>) {
        for file in files {
            match self.entries.iter_mut().find(|entry| entry.name == file.name) {
                Some(entry) if entry.sha256 == file.sha256 => *entry = file,
                Some(entry) => entry.error = Some("changed since it was collected".to_owned()),
                None if file.sha256.is_none() => self.entries.push(file),
                None => {}
            }
        }
    }

    /// The file that was opened is the one that was looked at, a plain one, and belongs to whoever we write files as.
    #[cfg(unix)]
    fn is_ours(&self, before: &std::fs::Metadata, file: &File) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let now = file.metadata()?;
        if (before.dev(), before.ino()) != (now.dev(), now.ino()) {
            return Err(refused("it was changed meanwhile"));
        }
        if now.uid() != self.archive.get_ref().file().metadata()?.uid() {
            return Err(refused("it is somebody else's"));
        }
        Ok(())
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Unix")]
    fn is_ours(&self, _: &std::fs::Metadata, _: &File) -> io::Result<()> {
        Ok(())
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What is read through it is hashed, and kept if it is wanted.
struct Hashing<'r, R> {
    from: &'r mut R,
    sha256: Sha256,
    seen: Option<Vec<u8>>,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.sha256.update(&buffer[..count]);
        if let Some(seen) = &mut self.seen {
            seen.extend_from_slice(&buffer[..count]);
        }
        Ok(count)
    }
}
