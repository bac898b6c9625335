//! Log lines, on stderr. Silent unless asked: what matters to a person goes through `ui`.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::LogFormat;
use crate::document::with_escapes;
use crate::ui::escape;

/// A loop tells what it does without being asked. `-v 1` tells what was decided, `-v 4` each request of ours, `-v 6` what the
/// libraries say.
pub(crate) fn install(verbosity: u8, format: LogFormat, loops: bool) {
    let (ours, theirs) = match verbosity {
        0 if loops => (Level::INFO, Level::ERROR),
        0 => return,
        1..=3 => (Level::INFO, Level::ERROR),
        4..=5 => (Level::DEBUG, Level::WARN),
        _ => (Level::TRACE, Level::DEBUG),
    };
    // kube logs a whole answer that it cannot parse at WARN, secrets and all.
    let filter = Targets::new()
        .with_default(theirs)
        .with_target("sciuro", ours)
        .with_target("kube_client", Level::ERROR);
    // Whose line it is matters only to who looks for faults.
    let lines = tracing_subscriber::fmt::layer().with_target(verbosity > 3);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            registry.with(lines.with_ansi(false).with_writer(|| Escaped { is_json: false })).init();
        }
        LogFormat::Json => registry.with(lines.json().with_writer(|| Escaped { is_json: true })).init(),
    }
}

/// stderr, for whole lines: nothing is in them that a terminal obeys, or that makes two of one.
struct Escaped {
    is_json: bool,
}

impl Write for Escaped {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\n');
        let safe = if self.is_json { Cow::Owned(with_escapes(text)) } else { escape(text) };
        io::stderr().write_all(format!("{safe}\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
