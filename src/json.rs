//! Reads a JSON answer while it arrives: a list of 5,000 nodes is 65 MB on the wire and a few in memory.

use std::fmt;
use std::io::{BufReader, Read};
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use serde::de::{DeserializeOwned, DeserializeSeed};
use tokio::sync::mpsc;

use crate::core::labels::TOO_LARGE;

/// Bytes. A configuration that an Alertmanager shows is the longest there is.
const LONGEST_TEXT: usize = 16 << 20;

/// Why an answer could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The connection broke.
    Transport(String),
    /// Nothing came for this long.
    Stalled(Duration),
    /// It is longer than this many bytes.
    TooLarge(u64),
    /// There is too much in it, as this says in full.
    TooMuch(String),
    /// It is not the JSON that was expected.
    Json(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(why) => write!(f, "the answer broke off: {why}"),
            Self::Stalled(limit) => write!(f, "the answer stalled for {}s", limit.as_secs()),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {} MiB", limit >> 20),
            Self::TooMuch(why) => f.write_str(why),
            Self::Json(why) => write!(f, "the answer is not the expected JSON: {why}"),
        }
    }
}

/// Parses `chunks` as they come, at most `max_bytes` of them, waiting at most `stall` for each (zero = for ever).
pub(crate) async fn read<T, C, E>(
    chunks: impl Stream<Item = Result<C, E>>,
    max_bytes: u64,
    stall: Duration,
) -> Result<T, ReadError>
where
    T: DeserializeOwned + Send + 'static,
    C: AsRef<[u8]> + Send + 'static,
    E: std::error::Error + 'static,
{
    read_by(std::marker::PhantomData, chunks, max_bytes, stall).await
}

/// The same by a seed, which can choose what it keeps.
pub(crate) async fn read_by<S, T, C, E>(
    seed: S,
    chunks: impl Stream<Item = Result<C, E>>,
    max_bytes: u64,
    stall: Duration,
) -> Result<T, ReadError>
where
    S: for<'de> DeserializeSeed<'de, Value = T> + Send + 'static,
    T: Send + 'static,
    C: AsRef<[u8]> + Send + 'static,
    E: std::error::Error + 'static,
{
    let (sender, receiver) = mpsc::channel(8);
    let parser = tokio::task::spawn_blocking(move || {
        let chunks = Chunks { receiver, current: None, read: 0, last: 0, in_text: None };
        let reader = BufReader::with_capacity(64 << 10, chunks);
        let mut json = serde_json::Deserializer::from_reader(reader);
        seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value))
    });
    let fed = feed(chunks, sender, max_bytes, stall).await;
    let parsed = parser.await.map_err(|panic| ReadError::Json(panic.to_string()))?;
    // A connection that broke explains a text that ends too early, so it comes first.
    fed?;
    parsed.map_err(|error| {
        let why = error.to_string();
        if !why.starts_with(TOO_LARGE) {
            return ReadError::Json(why);
        }
        // Where it was given up is not where anything is wrong.
        ReadError::TooMuch(why.rsplit_once(" at line ").map_or(why.clone(), |(why, _)| why.to_owned()))
    })
}

async fn feed<C, E: std::error::Error + 'static>(
    chunks: impl Stream<Item = Result<C, E>>,
    sender: mpsc::Sender<C>,
    max_bytes: u64,
    stall: Duration,
) -> Result<(), ReadError>
where
    C: AsRef<[u8]>,
{
    let mut chunks = pin!(chunks);
    let mut total = 0;
    while let Some(chunk) = within(stall, chunks.next()).await.ok_or(ReadError::Stalled(stall))? {
        let chunk =
            chunk.map_err(|error| ReadError::Transport(crate::error::root_cause(&error).to_string()))?;
        total += chunk.as_ref().len() as u64;
        if total > max_bytes {
            return Err(ReadError::TooLarge(max_bytes));
        }
        if sender.send(chunk).await.is_err() {
            break; // the parser has given up, and says why
        }
    }
    Ok(())
}

/// `None` if `future` takes longer than `limit`; a limit of zero is none.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    if limit.is_zero() {
        return Some(future.await);
    }
    tokio::time::timeout(limit, future).await.ok()
}

/// The chunks of a channel as one reader, for a thread that may block.
struct Chunks<C> {
    receiver: mpsc::Receiver<C>,
    current: Option<C>,
    read: usize,
    /// The byte before.
    last: u8,
    /// Bytes since a text may have begun or ended.
    in_text: Option<usize>,
}

impl<C> Chunks<C> {
    /// The parser keeps a text until its end, three times at worst. Within one, a backslash stands before every quote.
    fn look_at(&mut self, piece: &[u8]) -> std::io::Result<()> {
        let before = [self.last].into_iter().chain(piece.iter().copied());
        let mut pairs = before.zip(piece);
        let may_end = pairs.any(|(before, byte)| *byte == b'"' && before != b'\\');
        self.last = piece.last().copied().unwrap_or(self.last);
        self.in_text = if may_end { Some(0) } else { self.in_text.map(|length| length + piece.len()) };
        if self.in_text.is_some_and(|length| length > LONGEST_TEXT) {
            let most = LONGEST_TEXT >> 20;
            let what = format!("{TOO_LARGE}a text in it is longer than {most} MiB, which is the limit");
            return Err(std::io::Error::other(what));
        }
        Ok(())
    }
}

impl<C: AsRef<[u8]>> Read for Chunks<C> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let rest = self.current.as_ref().map_or(&[][..], |chunk| &chunk.as_ref()[self.read..]);
            if !rest.is_empty() {
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                self.read += length;
                self.look_at(&buffer[..length])?;
                return Ok(length);
            }
            self.current = self.receiver.blocking_recv();
            self.read = 0;
            if self.current.is_none() {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks() -> Chunks<Vec<u8>> {
        Chunks { receiver: mpsc::channel(1).1, current: None, read: 0, last: 0, in_text: None }
    }

    #[test]
    fn t15_d12_a_text_that_does_not_end_is_given_up() {
        for within_one in [r#"\"é"#, r"\\"] {
            let mut chunks = chunks();
            assert!(chunks.look_at(b"[\"").is_ok());
            let piece = within_one.repeat(16 << 10);
            let read = (0..1_000).take_while(|_| chunks.look_at(piece.as_bytes()).is_ok()).count();
            assert_eq!(read, LONGEST_TEXT / piece.len(), "{within_one}");
        }
        for no_long_one in [r#""a":"\"","#, r#"{"labels":{}},"#, " "] {
            let mut chunks = chunks();
            let piece = no_long_one.repeat(16 << 10);
            let read = (0..=LONGEST_TEXT / piece.len()).all(|_| chunks.look_at(piece.as_bytes()).is_ok());
            assert!(read, "{no_long_one}");
        }
    }
}
