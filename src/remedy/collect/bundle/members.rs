//! Compression in parts. Each file of the archive is a gzip member of its own, so that it can be taken back when the disk
//! has no room for what is more important: why files are missing.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

pub(super) struct Members {
    file: File,
    open: Option<GzEncoder<File>>,
    /// Where each member ends.
    ends: Vec<u64>,
}

impl Members {
    pub(super) fn new(file: File) -> Self {
        Self { file, open: None, ends: Vec::new() }
    }

    /// How many members there are.
    pub(super) fn place(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn close_member(&mut self) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            open.try_finish()?;
        }
        self.open = None;
        self.ends.push(self.file.stream_position()?);
        Ok(())
    }

    /// Two blocks of zeros.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.write_all(&[0; 1024])?;
        self.close_member()
    }

    pub(super) fn roll_back_one(&mut self) -> io::Result<()> {
        self.roll_back(self.ends.len().saturating_sub(1))
    }

    /// Only so many members, and nothing of one that was under way.
    pub(super) fn roll_back(&mut self, members: usize) -> io::Result<()> {
        self.open = None; // writes what it still has, which goes too
        self.ends.truncate(members);
        let end = self.ends.last().copied().unwrap_or(0);
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(end)).map(|_| ())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// The file, to see whose it is.
    #[cfg(unix)]
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Write for Members {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.is_none() {
            self.open = Some(GzEncoder::new(self.file.try_clone()?, Compression::default()));
        }
        self.open.as_mut().map_or(Ok(0), |open| open.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // when the member is closed
    }
}
