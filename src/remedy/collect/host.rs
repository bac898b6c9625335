//! What only the machine itself knows: its journals, its kernel, its disks and its network, asked by a helper pod.
//!
//! The output comes back as the pod's log. A helper that does not start, hangs or breaks off is a line in `errors.txt`.

mod commands;
mod frames;
#[cfg(all(test, unix))]
mod tests;

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use uuid::Uuid;

use self::commands::{Item, Keep};
use self::frames::{Frame, Reader};
use super::{Collecting, Moment, Subject};
use crate::cluster::{Cluster, HelperPod, whole_lines};
use crate::core::helper::Job;
use crate::remedy::reboot::helper::{self, HelperOptions, Removed};
use crate::remedy::reboot::{RebootError, Target, one_line};
use crate::remedy::{News, Tell};

/// More than all items together may take, as base64.
const LOG_READ: u64 = 64 << 20;
/// A log whose connection broke is read again from its beginning.
const TRIES: u32 = 3;
/// Kept of the step's time for deleting the helper.
const DELETES_WITHIN: Duration = Duration::from_secs(10);
/// What failed and said no more than this has only said why.
const SHORT: usize = 400;
/// journalctl, if there is nothing to be shown.
const NO_ENTRIES: &str = "-- No entries --";
/// The container's name.
const CONTAINER: &str = "collect";
/// What goes before each command: the machine's files, name and network are those of its first process. Its own env starts what
/// is asked: a busybox that prefers its applets to programs (Debian's busybox-static does) would run its own ps, df or grep there,
/// which know other flags. A path is never an applet.
const ENTER: [&str; 8] = ["nsenter", "-t", "1", "-m", "-u", "-n", "--", "/usr/bin/env"];
/// Where the helper keeps what is under way: in memory, since the machine's disk may be what is broken.
const SPOOL: &str = "/spool";

impl Moment {
    fn job(self) -> Job {
        match self {
            Self::BeforeTheDrain => Job::CollectBefore,
            Self::AfterTheBoot => Job::CollectAfter,
        }
    }
}

/// Deletes the helpers that a collection which was stopped has left.
pub async fn clean_up(target: &Target<'_>, options: &HelperOptions) {
    // The next start-up sweep takes what is left.
    let _swept_later =
        helper::remove(target, options, |job| matches!(job, Job::CollectBefore | Job::CollectAfter)).await;
}

impl Collecting<'_> {
    pub(super) async fn host(
        &mut self,
        subject: &Subject,
        options: &HelperOptions,
        tell: &dyn Tell,
    ) -> std::io::Result<()> {
        let began = Instant::now();
        let target = Target { cluster: self.cluster, node: &subject.node, id: &subject.id, tell };
        let job = subject.moment.job();
        let left = self.deadline.saturating_duration_since(began);
        let until = began + left.saturating_sub(DELETES_WITHIN.min(left / 4));
        let items = commands::items(subject.moment);
        let mark = Uuid::new_v4().to_string();
        let mut reading = Reading { items: &items, done: 0, mark: &mark };

        let asked = async {
            let pod = self.start(&target, options, job, &reading, until).await?;
            reading.log(self, options, &pod.name, until, tell).await
        };
        let asked = asked.await;
        if let Err(left) = helper::remove(&target, options, |other| other == job).await.and_then(Removed::all)
        {
            self.miss("host (the helper pod)", left.to_string(), began.elapsed());
        }
        match asked {
            Ok(()) => Ok(()),
            Err(Stopped::Disk(error)) => Err(error),
            Err(Stopped::Why(why)) => {
                let missing = items.len() - reading.done;
                let why = match reading.done {
                    0 => why,
                    _ => format!("{why}; {missing} of {} files are missing", items.len()),
                };
                self.miss("host", why, began.elapsed());
                Ok(())
            }
        }
    }

    /// Creates the helper, and waits until it has begun.
    async fn start(
        &self,
        target: &Target<'_>,
        options: &HelperOptions,
        job: Job,
        reading: &Reading<'_>,
        until: Instant,
    ) -> Result<HelperPod, Stopped> {
        let since = self.since.map(|since| since.as_secs().max(1));
        let script = commands::script(reading.items, since);
        let left = until.saturating_duration_since(Instant::now());
        let pod = |name: &str| manifest(name, &script, reading.mark, options, target.node, target.id, left);
        let why = |error: RebootError| Stopped::Why(error.to_string());
        helper::remove(target, options, |other| other == job).await.and_then(Removed::all).map_err(why)?;
        let pod = helper::create(target, options, job, pod).await.map_err(why)?;
        let options = HelperOptions { starts_within: options.starts_within.min(left), ..options.clone() };
        helper::until_started(target, &options, &pod).await.map_err(why)?;
        Ok(pod)
    }
}

/// Why there is no more.
enum Stopped {
    /// The bundle cannot be written.
    Disk(std::io::Error),
    Why(String),
}

/// How far the log has been read.
struct Reading<'r> {
    items: &'r [Item],
    done: usize,
    mark: &'r str,
}

impl Reading<'_> {
    /// Reads the helper's log while it is written, and once more from its beginning if the connection breaks.
    async fn log(
        &mut self,
        collecting: &mut Collecting<'_>,
        options: &HelperOptions,
        name: &str,
        until: Instant,
        tell: &dyn Tell,
    ) -> Result<(), Stopped> {
        let mut why = String::new();
        for _ in 0..TRIES {
            let left = until.saturating_duration_since(Instant::now());
            let once = self.log_once(collecting, &options.namespace, name, tell);
            match tokio::time::timeout(left, once).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Stopped::Why(broken))) => why = broken,
                Ok(Err(disk)) => return Err(disk),
                Err(_) => {
                    let at = self.items.get(self.done).map_or("its end", Item::program);
                    return Err(Stopped::Why(format!(
                        "the step's time was over at {at} (--collect-timeout)"
                    )));
                }
            }
        }
        Err(Stopped::Why(why))
    }

    async fn log_once(
        &mut self,
        collecting: &mut Collecting<'_>,
        namespace: &str,
        name: &str,
        tell: &dyn Tell,
    ) -> Result<(), Stopped> {
        let cluster: &Cluster = collecting.cluster;
        let mut reader = Reader::new(self.mark, self.items.iter().map(|item| item.most));
        let chunks = cluster.follow_log(namespace, name, CONTAINER, LOG_READ).await;
        let mut chunks = pin!(chunks.map_err(|error| Stopped::Why(error.to_string()))?);
        let mut read = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| Stopped::Why(crate::error::root_cause(&error).to_string()))?;
            read += chunk.len() as u64;
            for frame in reader.read(&chunk) {
                self.take(collecting, frame).map_err(Stopped::Disk)?;
                let facts = format!("{} of {} files of the host", self.done, self.items.len());
                tell.tell(News::Wait { elapsed: Duration::ZERO, facts: &facts });
            }
            if reader.is_done() {
                return Ok(());
            }
            if read >= LOG_READ {
                return Err(Stopped::Why("the helper's log is longer than it can be".to_owned()));
            }
        }
        let ended = cluster.helper_pod(namespace, name).await.ok().flatten();
        let (cut, stray) = reader.interrupted();
        // Another try may bring the whole of it.
        if let Some(cut) = cut.filter(|_| ended.as_ref().is_some_and(|pod| pod.ended.is_some())) {
            self.take(collecting, cut).map_err(Stopped::Disk)?;
        }
        Err(Stopped::Why(broke_off(ended.as_ref(), &stray)))
    }

    /// A frame becomes a file. Those that came before the connection broke come again.
    fn take(&mut self, collecting: &mut Collecting<'_>, frame: Frame) -> std::io::Result<()> {
        let Some(item) = self.items.get(frame.number - 1).filter(|_| frame.number > self.done) else {
            return Ok(());
        };
        self.done = frame.number;
        let took = Duration::from_secs(frame.seconds);
        let name = format!("host/{}", item.file);
        match judge(item, frame) {
            Judged::Missing(why) => {
                collecting.miss(&name, why, took);
                Ok(())
            }
            Judged::There { content, note } => {
                let text = String::from_utf8_lossy(&content);
                collecting.add_document(&name, &text, took, note)
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Judged {
    There { content: Vec<u8>, note: Option<String> },
    Missing(String),
}

/// What an item's frame amounts to.
fn judge(item: &Item, frame: Frame) -> Judged {
    let Frame { code, seconds, mut content, broken, .. } = frame;
    let most = item.most;
    let mut note = broken.map(str::to_owned);
    let is_longer = content.len() > most;
    let is_head = item.keep == Keep::Head;
    let whole = whole_lines(&content, is_longer && !is_head, broken.is_some() || (is_longer && is_head));
    content.truncate(whole.end);
    content.drain(..whole.start);
    if is_longer {
        note.get_or_insert(match item.keep {
            Keep::Head => format!("cut after {most} bytes"),
            Keep::Tail => format!("its last {most} bytes only"),
        });
    } else {
        let said = match code {
            Some(0) => None,
            Some(1 | 2) if item.may_be_empty && content.is_empty() => None,
            Some(126 | 127) => return Judged::Missing(format!("the machine has no {}", item.program())),
            Some(124 | 137) => Some(format!("{} was ended after {seconds}s", item.program())),
            Some(code) => Some(format!("{} failed with exit code {code}", item.program())),
            None => Some(format!("{} hung and could not be ended", item.program())),
        };
        note = said.or(note);
    }
    let last = last_line(&content);
    match note {
        Some(why) if last.is_empty() => Judged::Missing(why),
        // Such as that there is no journal of that boot: that is all that the file would say.
        Some(why) if content.len() <= SHORT => Judged::Missing(format!("{why}: {}", one_line(&last))),
        None if last == NO_ENTRIES => Judged::Missing("the journal has none".to_owned()),
        note => Judged::There { content, note },
    }
}

/// Of a text that is short enough to be nothing but a complaint.
fn last_line(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(&content[..content.len().min(SHORT)]);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

fn broke_off(pod: Option<&HelperPod>, stray: &str) -> String {
    let why = match pod {
        None => "the helper pod was deleted by somebody else".to_owned(),
        Some(HelperPod { ended: Some((code, _)), .. }) if *code != 0 => {
            format!("the helper ended with exit code {code}")
        }
        Some(HelperPod { failed: Some(why), .. }) => format!("the helper pod failed: {}", one_line(why)),
        Some(_) => "the helper's log was cut".to_owned(),
    };
    if stray.is_empty() { why } else { format!("{why}: {}", one_line(stray)) }
}

/// The helper: as the one that reboots, with memory for journals and for what it keeps.
fn manifest(
    name: &str,
    script: &str,
    mark: &str,
    options: &HelperOptions,
    node: &str,
    id: &str,
    left: Duration,
) -> Value {
    let words: Vec<&str> = [script, mark, SPOOL].into_iter().chain(ENTER).collect();
    let mut pod = helper::manifest(name, CONTAINER, &words, options, node, id);
    // If we are not there any more to delete it.
    pod["spec"]["activeDeadlineSeconds"] = (left.as_secs() + 60).into();
    pod["spec"]["volumes"] =
        json!([{"name": "spool", "emptyDir": {"medium": "Memory", "sizeLimit": "32Mi"}}]);
    let container = &mut pod["spec"]["containers"][0];
    container["volumeMounts"] = json!([{"name": "spool", "mountPath": SPOOL}]);
    container["resources"]["limits"]["memory"] = "256Mi".into();
    pod
}
