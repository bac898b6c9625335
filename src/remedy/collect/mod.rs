//! Diagnostics, before they are lost: what is in memory, in logs and in pods is gone after the reboot.
//!
//! A failing item is listed in `errors.txt` and never fails the step.

mod api;
mod bundle;
mod host;
mod kubelet;
mod redact;
mod summary;

pub use self::bundle::earlier;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;

use self::api::Found;
use self::bundle::{Bundle, Entry, Written};
pub use self::host::clean_up;
use self::redact::Redactor;
use super::reboot::helper::HelperOptions;
use super::{News, Tell};
use crate::cluster::Cluster;
use crate::core::findings::{self, Facts};
use crate::document;

/// One item may take so long.
const ITEM_WITHIN: Duration = Duration::from_secs(20);
/// The most that a document of JSON may take in memory.
const LARGEST_VALUE: usize = 40 << 20;
/// For an item that keeps to its time itself, and has something to show for it.
const SLACK: Duration = Duration::from_millis(500);

/// How a bundle is made.
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// The directory, which is made if it is not there; `None`: stdout.
    pub directory: Option<PathBuf>,
    /// Only log lines younger than this.
    pub since: Option<Duration>,
    /// Bytes before compression.
    pub max_size: u64,
    /// After this the bundle is closed with what there is.
    pub within: Duration,
    /// Patterns of the user's beside ours.
    pub redact: Vec<Regex>,
    /// Also what the kubelet serves.
    pub kubelet: bool,
    /// Also what a helper pod sees on the machine.
    pub host: Option<HelperOptions>,
}

/// Which remediation this is for.
#[derive(Debug, Clone)]
pub struct Subject {
    pub node: String,
    /// The remediation's id.
    pub id: String,
    /// The record, as JSON.
    pub record: String,
    /// The bundle of the same run that is there already.
    pub bundle: Option<PathBuf>,
    pub moment: Moment,
    /// What others have found and goes with the rest.
    pub attached: Vec<Attached>,
}

/// A file of JSON, or why there is none.
#[derive(Debug, Clone)]
pub struct Attached {
    pub name: String,
    pub content: Result<Value, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    BeforeTheDrain,
    AfterTheBoot,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// `None` if it went to stdout.
    pub path: Option<PathBuf>,
    pub files: usize,
    pub errors: usize,
}

/// Reads what there is and packs it. Fails only if nothing can be written.
pub async fn collect(
    cluster: &Cluster,
    subject: &Subject,
    options: &CollectOptions,
    tell: &dyn Tell,
) -> std::io::Result<Collected> {
    let now = Timestamp::now();
    let scratch = if options.directory.is_none() { Some(Scratch::new()?) } else { None };
    let directory = match (&options.directory, &scratch) {
        (Some(directory), _) => directory.as_path(),
        (None, Some(scratch)) => scratch.0.as_path(),
        (None, None) => Path::new("."),
    };
    make_private(directory)?;
    let prefix = if subject.moment == Moment::AfterTheBoot { "after/" } else { "" };
    let mut collecting = Collecting {
        cluster,
        prefix,
        redactor: Redactor::new(options.redact.clone()),
        bundle: Bundle::create(directory, &subject.node, options.max_size, now)?,
        deadline: Instant::now() + options.within,
        since: options.since,
        facts: Facts::default(),
        before: None,
    };
    collecting.take_over(subject);
    collecting.run(subject, options, tell).await?;
    let written = collecting.bundle.finish(prefix)?;
    if let Some(trouble) = &written.trouble {
        tell.tell(News::Warning(&format!("not all diagnostics can be written: {trouble}")));
    }
    let Written { path, files, missing: errors, .. } = written;
    if options.directory.is_none() {
        bundle::to_stdout(&path)?;
        return Ok(Collected { path: None, files, errors });
    }
    Ok(Collected { path: Some(std::path::absolute(&path).unwrap_or(path)), files, errors })
}

fn make_private(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(()); // the user's own
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// A directory for a bundle that goes to stdout.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("kubectl-sciuro-{}", uuid::Uuid::new_v4()));
        make_private(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Collecting<'c> {
    cluster: &'c Cluster,
    prefix: &'static str,
    redactor: Redactor,
    bundle: Bundle,
    deadline: Instant,
    since: Option<Duration>,
    /// What is known now, and what was before the boot.
    facts: Facts,
    before: Option<Facts>,
}

impl Collecting<'_> {
    async fn run(
        &mut self,
        subject: &Subject,
        options: &CollectOptions,
        tell: &dyn Tell,
    ) -> std::io::Result<()> {
        let found = self.api(subject, tell).await?;
        if options.kubelet {
            self.kubelet(subject, found.node.as_ref()).await?;
        }
        if let Some(helper) = &options.host {
            self.host(subject, helper, tell).await?;
        }
        for Attached { name, content } in subject.attached.clone() {
            match content {
                Ok(content) => self.add_json(&name, content)?,
                Err(why) => self.miss(&name, why, Duration::ZERO),
            }
        }
        self.close(subject, &found)
    }

    /// A bundle that cannot be had any more is a failing item.
    fn take_over(&mut self, subject: &Subject) {
        let Some(path) = &subject.bundle else { return };
        match self.bundle.take_over(path, &subject.id) {
            Ok(before) => self.before = Some(before),
            Err(error) => {
                self.miss("before", format!("{} is left as it is: {error}", path.display()), Duration::ZERO);
            }
        }
    }

    /// What is made of the rest.
    fn close(&mut self, subject: &Subject, found: &Found) -> std::io::Result<()> {
        self.add_last("remediation.json", &document::with_escapes(&subject.record))?;
        self.facts.values = summary::values(found.node.as_ref(), &found.pods);
        self.facts.findings = findings::once(std::mem::take(&mut self.facts.findings));
        let text = summary::Summary {
            node: &subject.node,
            object: found.node.as_ref(),
            pods: &found.pods,
            events: &found.events,
            facts: &self.facts,
            before: self.before.as_ref(),
            prefix: self.prefix,
            entries: self.bundle.entries(),
        };
        self.add_last("summary.md", &text.to_string())?;
        let facts = document::json(&self.facts);
        self.add_last("findings.json", &facts)
    }

    fn add_last(&mut self, name: &str, text: &str) -> std::io::Result<()> {
        let (text, redactions) = self.redactor.text(text);
        let entry = self.entry(name, Duration::ZERO, None, redactions);
        self.bundle.add_last(entry, text.as_bytes())
    }

    async fn object<E: std::fmt::Display>(
        &mut self,
        name: &str,
        request: impl Future<Output = Result<Value, E>>,
    ) -> std::io::Result<Option<Value>> {
        let Some((object, took)) = self.fetch(name, request).await else { return Ok(None) };
        self.add_object(name, object.clone(), took)?;
        Ok(Some(object))
    }

    /// `None`, and noted, if it fails or takes too long.
    async fn fetch<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        request: impl Future<Output = Result<T, E>>,
    ) -> Option<(T, Duration)> {
        let began = Instant::now();
        match within(self.deadline, request).await {
            Ok(value) => Some((value, began.elapsed())),
            Err(why) => {
                self.miss(name, why, began.elapsed());
                None
            }
        }
    }

    fn add_object(&mut self, name: &str, mut object: Value, took: Duration) -> std::io::Result<()> {
        let redactions = self.redactor.object(&mut object);
        let text = document::yaml(&object);
        self.add(name, text.as_bytes(), took, None, redactions)
    }

    fn add_json(&mut self, name: &str, mut content: Value) -> std::io::Result<()> {
        let redactions = self.redactor.object(&mut content);
        let text = document::json(&content);
        self.add(name, text.as_bytes(), Duration::ZERO, None, redactions)
    }

    /// What may be JSON: a secret is known by its field's name there.
    fn add_document(
        &mut self,
        name: &str,
        text: &str,
        took: Duration,
        error: Option<String>,
    ) -> std::io::Result<()> {
        if !is_json(name) {
            return self.add_text(name, text, took, error);
        }
        if size_as_value(text) > LARGEST_VALUE {
            let why = "too large to be read as JSON".to_owned();
            let why = error.map_or(why.clone(), |error| format!("{error}; {why}"));
            return self.add_text(name, text, took, Some(why));
        }
        let Ok(mut value) = serde_json::from_str::<Value>(text) else {
            return self.add_text(name, text, took, error.or_else(|| Some("this is not JSON".to_owned())));
        };
        let redactions = self.redactor.object(&mut value);
        let text = document::json(&value);
        self.add(name, text.as_bytes(), took, error, redactions)
    }

    fn add_text(
        &mut self,
        name: &str,
        text: &str,
        took: Duration,
        error: Option<String>,
    ) -> std::io::Result<()> {
        let (text, redactions) = self.redactor.text(text);
        self.add(name, text.as_bytes(), took, error, redactions)
    }

    fn add(
        &mut self,
        name: &str,
        content: &[u8],
        took: Duration,
        error: Option<String>,
        redactions: usize,
    ) -> std::io::Result<()> {
        if let Ok(text) = std::str::from_utf8(content) {
            self.facts.findings.extend(findings::in_file(name, text));
            self.facts.files.insert(name.to_owned());
        }
        let entry = self.entry(name, took, error, redactions);
        self.bundle.add(entry, content)
    }

    fn miss(&mut self, name: &str, why: String, took: Duration) {
        let entry = self.entry(name, took, Some(why), 0);
        self.bundle.miss(entry);
    }

    fn entry(&self, name: &str, took: Duration, error: Option<String>, redactions: usize) -> Entry {
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Entry {
            // A lying server names pods and errors as it likes.
            name: self.redactor.text(&format!("{}{name}", self.prefix)).0,
            sha256: None,
            size: 0,
            duration_ms,
            error: error.map(|error| self.redactor.text(&error).0),
            redactions,
        }
    }
}

/// About the bytes that JSON takes in memory, by what it is made of: an object has room for eleven fields, and so much for
/// each. Documents of 2 MiB stay below [`LARGEST_VALUE`] unless they consist of brackets.
fn size_as_value(text: &str) -> usize {
    let each = |byte: u8| match byte {
        b'{' => 660,
        b'[' | b',' => 64,
        _ => 1,
    };
    text.bytes().map(each).sum()
}

fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

/// Of one item.
fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).min(ITEM_WITHIN)
}

async fn within<T, E: std::fmt::Display>(
    deadline: Instant,
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    let limit = time_left(deadline) + SLACK;
    if limit == SLACK {
        return Err("the step's time was over (--collect-timeout)".to_owned());
    }
    match tokio::time::timeout(limit, request).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {}s", limit.as_secs())),
    }
}
