//! What the script prints, read as it comes.
//!
//! `MARK begin`, then for each item `MARK N CODE SECONDS` and lines of base64, then `MARK end N`. The mark is a UUID of this
//! one run. What is between two marks is an item's output, gzipped: its end is checked by gzip itself, so that a log which was
//! cut is noticed, and that it is not the log's last item, by the last line.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::write::GzDecoder;

/// base64 writes 76 characters, and a runtime splits lines at 16 kB.
const LONGEST_LINE: usize = 64 << 10;

/// One item's output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// From 1.
    pub(super) number: usize,
    /// `None`: it hung, and nothing could end it.
    pub(super) code: Option<i32>,
    pub(super) seconds: u64,
    /// One byte more than may be kept if there was more.
    pub(super) content: Vec<u8>,
    /// Why `content` is not all of it.
    pub(super) broken: Option<&'static str>,
}

pub(super) struct Reader<'m> {
    mark: &'m str,
    /// How long each item's output may be, by its number.
    most: Vec<usize>,
    line: Vec<u8>,
    open: Option<Open>,
    done: bool,
    /// The last line that was none of ours: mostly why there are no more.
    stray: String,
}

/// A frame that has begun.
struct Open {
    number: usize,
    code: Option<i32>,
    seconds: u64,
    /// Base64 that waits for the rest of its group of four.
    rest: Vec<u8>,
    content: GzDecoder<Limited>,
    broken: Option<&'static str>,
}

/// Takes so much, and refuses what is more.
struct Limited {
    content: Vec<u8>,
    most: usize,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.content.len() + bytes.len() > self.most {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.content.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'m> Reader<'m> {
    /// `most`: how many bytes of each item are kept.
    pub(super) fn new(mark: &'m str, most: impl Iterator<Item = usize>) -> Self {
        let most = most.map(|most| most + 1).collect();
        Self { mark, most, line: Vec::new(), open: None, done: false, stray: String::new() }
    }

    /// Takes the next bytes, and gives the frames that end with them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") || room < part.len() {
                let line = std::mem::take(&mut self.line);
                frames.extend(self.line(line.trim_ascii()));
            }
        }
        frames
    }

    /// Everything that was asked for has come.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The frame that was under way when the log ended.
    pub(super) fn interrupted(self) -> (Option<Frame>, String) {
        let frame = self.open.map(|mut open| {
            open.broken.get_or_insert("cut: the helper's log ends here");
            open.close()
        });
        (frame, self.stray)
    }

    fn line(&mut self, line: &[u8]) -> Option<Frame> {
        let text = std::str::from_utf8(line).unwrap_or_default();
        let Some(words) = text.strip_prefix(self.mark).and_then(|rest| rest.strip_prefix(' ')) else {
            match &mut self.open {
                Some(open) => open.add(line),
                None if !text.is_empty() => self.stray = text.chars().take(200).collect(),
                None => {}
            }
            return None;
        };
        let before = self.open.take().map(Open::close);
        match *words.split(' ').collect::<Vec<_>>() {
            ["end", _] => self.done = true,
            [number, code, seconds] => {
                let number = number.parse().unwrap_or(0);
                // An item that was not asked for is none.
                let most = usize::checked_sub(number, 1).and_then(|place| self.most.get(place));
                self.open = most.map(|most| Open {
                    number,
                    code: code.parse().ok(),
                    seconds: seconds.parse().unwrap_or(0),
                    rest: Vec::new(),
                    content: GzDecoder::new(Limited { content: Vec::new(), most: *most }),
                    broken: None,
                });
            }
            _ => {}
        }
        before
    }
}

impl Open {
    fn add(&mut self, line: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        self.rest.extend_from_slice(line);
        let whole = self.rest.len() / 4 * 4;
        match STANDARD.decode(&self.rest[..whole]) {
            Err(_) => self.broken = Some("cut: the helper's log is not what it printed"),
            Ok(bytes) => {
                self.rest.drain(..whole);
                if self.content.write_all(&bytes).is_err() {
                    self.broken = Some("cut: what follows is too long or broken");
                }
            }
        }
    }

    fn close(mut self) -> Frame {
        let is_whole = self.rest.is_empty() && self.content.try_finish().is_ok();
        if !is_whole {
            self.broken.get_or_insert("cut: its end is missing");
        }
        Frame {
            number: self.number,
            code: self.code,
            seconds: self.seconds,
            content: std::mem::take(&mut self.content.get_mut().content),
            broken: self.broken,
        }
    }
}
