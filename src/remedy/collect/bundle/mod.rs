//! The archive: `.tar.gz`, readable by its owner alone, whole or not there.

mod earlier;
mod members;
mod names;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::core::invisible::marked;
use crate::core::short_name::fitting;
use crate::document;

use self::members::Members;
use self::names::Names;

pub use self::earlier::earlier;

/// A file's name has 255 bytes at most, and a node's may have 253: what stands before and behind it has 43.
const LONGEST_NODE: usize = 200;

const MANIFEST: &str = "manifest.json";
const ERRORS: &str = "errors.txt";

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

/// What became of it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    /// Of this run, that are there and that are not.
    pub(super) files: usize,
    pub(super) missing: usize,
    /// The first failure to write.
    pub(super) trouble: Option<String>,
}

/// An archive that is being written. It gets its name with [`finish`](Self::finish); dropped before, nothing stays.
pub(super) struct Bundle {
    archive: tar::Builder<Members>,
    partial: PathBuf,
    path: PathBuf,
    entries: Vec<Entry>,
    /// Of `entries`, those of the run before the boot.
    earlier: usize,
    names: Names,
    written: u64,
    max_size: u64,
    time: u64,
    /// The first failure to write.
    trouble: Option<String>,
    finished: bool,
}

impl Bundle {
    /// In a directory that is there. Whatever already has the name that it should get is left alone.
    pub(super) fn create(directory: &Path, node: &str, max_size: u64, now: Timestamp) -> io::Result<Self> {
        let (path, partial, file) = new_file(directory, node, now)?;
        let mut names = Names::default();
        for ours in [MANIFEST, ERRORS] {
            names.unique(ours);
        }
        Ok(Self {
            archive: tar::Builder::new(Members::new(file)),
            partial,
            path,
            entries: Vec::new(),
            earlier: 0,
            names,
            written: 0,
            max_size,
            time: u64::try_from(now.as_second()).unwrap_or(0),
            trouble: None,
            finished: false,
        })
    }

    /// Adds a file. What does not fit any more is cut, or left out if the disk is full, and the manifest says so.
    pub(super) fn add(&mut self, mut entry: Entry, content: &[u8]) -> io::Result<()> {
        entry.name = self.names.unique(&entry.name);
        let room = usize::try_from(self.max_size.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let kept = &content[..content.len().min(room)];
        if kept.len() < content.len() {
            entry.error.get_or_insert_with(|| format!("cut from {} bytes: --max-size", content.len()));
        }
        self.store(&mut entry, kept)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Adds what is made of the rest: others go if there is no room for it.
    pub(super) fn add_last(&mut self, mut entry: Entry, content: &[u8]) -> io::Result<()> {
        entry.name = self.names.unique(&entry.name);
        while !self.store(&mut entry, content)? {
            entry.error = None;
            self.take_back()?;
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Whether it is in the archive now.
    fn store(&mut self, entry: &mut Entry, content: &[u8]) -> io::Result<bool> {
        let begin = self.archive.get_ref().place();
        match self.append(&entry.name, content.len() as u64, content) {
            Ok(()) => {
                entry.size = content.len() as u64;
                entry.sha256 = Some(hex(&Sha256::digest(content)));
                Ok(true)
            }
            Err(error) => {
                self.archive.get_mut().roll_back(begin)?;
                entry.error = Some(format!("not written: {error}"));
                self.trouble.get_or_insert_with(|| error.to_string());
                Ok(false)
            }
        }
    }

    /// Notes what could not be had.
    pub(super) fn miss(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// With those of an earlier run.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Writes what failed (`errors.txt`, below `prefix`) and the manifest, and gives the archive its name.
    pub(super) fn finish(mut self, prefix: &str) -> io::Result<Written> {
        // Room that is made for them is an error more.
        while self.write_the_end(prefix).is_err() {
            self.take_back()?;
        }
        self.archive.get_mut().sync()?;
        std::fs::rename(&self.partial, &self.path)?;
        self.finished = true;
        let this_run = &self.entries[self.earlier..];
        let missing = this_run.iter().filter(|entry| entry.sha256.is_none()).count();
        Ok(Written {
            path: self.path.clone(),
            files: this_run.len() - missing + 1,
            missing,
            trouble: self.trouble.clone(),
        })
    }

    fn write_the_end(&mut self, prefix: &str) -> io::Result<()> {
        let begin = self.archive.get_ref().place();
        let this_run = &self.entries[self.earlier..];
        let lines = this_run.iter().filter_map(|entry| {
            let error = entry.error.as_ref()?;
            Some(format!("{}: {}\n", entry.name, one_line(error)))
        });
        let errors = lines.collect::<String>();
        let own = Entry {
            name: format!("{prefix}{ERRORS}"),
            sha256: Some(hex(&Sha256::digest(&errors))),
            size: errors.len() as u64,
            duration_ms: 0,
            error: None,
            redactions: 0,
        };
        let mut files = self.entries.clone();
        files.push(own.clone());
        let manifest = document::json(&Manifest { files });
        let written = self
            .append(&own.name, errors.len() as u64, errors.as_bytes())
            .and_then(|()| self.append(MANIFEST, manifest.len() as u64, manifest.as_bytes()))
            .and_then(|()| self.archive.get_mut().end());
        if let Err(error) = &written {
            self.trouble.get_or_insert_with(|| error.to_string());
            self.archive.get_mut().roll_back(begin)?;
        }
        written
    }

    /// Makes room: the last file of this run that is in the archive is not any more.
    fn take_back(&mut self) -> io::Result<()> {
        let why = self.trouble.clone().unwrap_or_else(|| "no room".to_owned());
        let last = self.entries[self.earlier..].iter_mut().rev().find(|entry| entry.sha256.is_some());
        let Some(last) = last else { return Err(io::Error::other(why)) };
        last.sha256 = None;
        last.size = 0;
        last.error = Some(format!("not written: {why}"));
        self.archive.get_mut().roll_back_one()
    }

    fn append(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(self.time);
        self.archive.append_data(&mut header, name, content)?;
        self.archive.get_mut().close_member()?;
        self.written += size;
        Ok(())
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Manifest {
    files: Vec<Entry>,
}

/// `sciuro-<node>-<UTC>.tar.gz`; the API allows no slash in a node's name, and a hostile server must not either.
fn file_name(node: &str, now: Timestamp, number: u32) -> String {
    let again = if number == 1 { String::new() } else { format!("-{number}") };
    format!("{}{}{again}.tar.gz", name_begins(node), now.strftime("%Y%m%dT%H%M%SZ"))
}

fn name_begins(node: &str) -> String {
    let name: String =
        node.chars().map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect();
    format!("sciuro-{}-", fitting(name, node, LONGEST_NODE))
}

/// The archive's path, the file that becomes it, and its path until then. Neither was there, not as a link either.
fn new_file(directory: &Path, node: &str, now: Timestamp) -> io::Result<(PathBuf, PathBuf, File)> {
    const ENOUGH: u32 = 100;
    let mut number = 1;
    loop {
        let name = file_name(node, now, number);
        let path = directory.join(&name);
        let partial = directory.join(format!("{name}.partial"));
        if path.symlink_metadata().is_err() {
            match private(&partial) {
                Ok(file) => return Ok((path, partial, file)),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists || number == ENOUGH => {
                    return Err(error);
                }
                Err(_) => {}
            }
        } else if number == ENOUGH {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        number += 1;
    }
}

#[cfg_attr(not(unix), expect(unused_mut, reason = "modes are Unix's"))]
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn one_line(text: &str) -> String {
    marked(text).map(|(c, is_hostile)| if is_hostile { ' ' } else { c }).collect()
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
