//! How the steps of a long task go, on stderr: for a person on a terminal, as plain lines, or as JSON for a program.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::verdict::{self, Verdict};
use super::{Ui, escape};
use crate::cli::ProgressForm;
use crate::core::report::human_duration;
use crate::document::with_escapes;

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(120);

/// Shows one step after another.
#[derive(Clone)]
pub struct Progress {
    ui: Arc<Ui>,
    form: Form,
    /// What all steps are about, such as a node.
    subject: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Drawn,
    Plain,
    Json,
    Nothing,
}

impl Progress {
    pub fn new(ui: Arc<Ui>, form: ProgressForm, subject: &str) -> Self {
        let can_draw =
            || std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let form = match form {
            ProgressForm::Auto if can_draw() => Form::Drawn,
            ProgressForm::Auto | ProgressForm::Plain => Form::Plain,
            ProgressForm::Json => Form::Json,
            ProgressForm::None => Form::Nothing,
        };
        Self { ui, form, subject: subject.to_owned() }
    }

    /// Begins a step, and says so.
    pub fn step(&self, name: &str) -> Step {
        let step = Step {
            progress: self.clone(),
            name: name.to_owned(),
            began: Instant::now(),
            said: Mutex::default(),
            bar: (self.form == Form::Drawn).then(|| self.ui.bars.add(ProgressBar::new_spinner())),
        };
        match &step.bar {
            Some(bar) => {
                bar.set_style(style(&format!("{} {name} … {{spinner}} {{wide_msg}}", begin_mark())));
                bar.enable_steady_tick(TICK);
            }
            None => step.say("started", &json!({}), || format!("{} {name} …", begin_mark())),
        }
        step
    }
}

/// A step under way. Text for it is hostile, and escaped here. Dropped without an end, it leaves nothing drawn.
pub struct Step {
    progress: Progress,
    name: String,
    began: Instant,
    /// What was said last of the wait, without the numbers.
    said: Mutex<String>,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Something happened that is worth a line.
    pub fn line(&self, text: &str) {
        self.say("line", &json!({"text": text}), || format!("  {text}"));
    }

    /// Something is not as it should be; the step goes on.
    pub fn warn(&self, text: &str) {
        match self.progress.form {
            Form::Json => self.say("warning", &json!({"text": text}), String::new),
            Form::Drawn | Form::Plain | Form::Nothing => self.progress.ui.warning(text),
        }
    }

    /// How much of the step is done, and what keeps it.
    pub fn bar(&self, done: usize, total: usize, blocked: Option<&str>) {
        let blocked_by = blocked.map(|by| format!("waits for {by}"));
        if let Some(bar) = &self.bar {
            let counts = format!("{} {} … {{bar:24}} {{pos}}/{{len}} {{wide_msg}}", begin_mark(), self.name);
            bar.set_style(style(&counts));
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message(escape(blocked_by.as_deref().unwrap_or_default()).into_owned());
            return;
        }
        // What was done has had its line; what keeps it has not.
        if self.progress.form == Form::Json || blocked_by.as_deref().is_some_and(|by| self.is_new(by)) {
            let event = json!({"done": done, "total": total, "blocked": blocked});
            self.say("progress", &event, || {
                format!("  {done}/{total}, {}", blocked_by.as_deref().unwrap_or_default())
            });
        }
    }

    /// What is known while waiting; said again only if more than its numbers is different.
    pub fn wait(&self, elapsed: Duration, facts: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} {}", shown(elapsed), escape(facts)));
        } else if self.is_new(facts) {
            let event = json!({"elapsedSeconds": elapsed.as_secs(), "text": facts});
            self.say("waiting", &event, || format!("  {} {facts}", shown(elapsed)));
        }
    }

    /// The step is done; `note` says what came of it.
    pub fn done(self, note: Option<&str>) {
        self.end(Verdict::Good, "done", note);
    }

    /// The step has failed.
    pub fn failed(self, why: &str) {
        self.end(Verdict::Bad, "failed", Some(why));
    }

    fn end(self, verdict: Verdict, event: &str, note: Option<&str>) {
        let elapsed = self.began.elapsed();
        self.clear();
        let note_after = note.map(|note| format!(": {note}")).unwrap_or_default();
        let mut what = json!({"seconds": (elapsed.as_secs_f64() * 10.0).round() / 10.0});
        if let Some(note) = note {
            what["text"] = note.into();
        }
        let mark = verdict.mark(verdict::speaks_utf8(), false);
        self.say(event, &what, || format!("{mark} {} ({}){note_after}", self.name, shown(elapsed)));
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.progress.ui.bars.remove(bar);
        }
    }

    fn is_new(&self, text: &str) -> bool {
        let essence: String = text.chars().filter(|character| !character.is_ascii_digit()).collect();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *said, essence.clone()) != essence
    }

    fn say(&self, event: &str, what: &Value, line: impl FnOnce() -> String) {
        match self.progress.form {
            Form::Drawn | Form::Plain => self.progress.ui.note(&line()),
            Form::Json => {
                let object = json!({"time": Timestamp::now(), "node": self.progress.subject,
                    "step": self.name, "event": event});
                self.progress.ui.note(&line_of(object, what));
            }
            Form::Nothing => {}
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.clear();
    }
}

/// JSON, in which nothing is that a note would escape once more.
fn line_of(mut object: Value, what: &Value) -> String {
    if let (Some(object), Some(what)) = (object.as_object_mut(), what.as_object()) {
        object.extend(what.clone());
    }
    with_escapes(&object.to_string())
}

fn begin_mark() -> &'static str {
    if verdict::speaks_utf8() { "►" } else { ">" }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; one that is wrong shows a spinner alone.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// `0.2s`, `45s`, `3m10s`.
fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    human_duration(SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::Color;

    fn step(form: ProgressForm) -> Step {
        Progress::new(Arc::new(Ui::terminal(Color::Never)), form, "w1").step("reboot")
    }

    #[test]
    fn a_wait_is_told_again_only_if_more_than_its_numbers_changes() {
        let step = step(ProgressForm::None);
        let facts = [
            ("Ready=True, heartbeat 5s ago", true),
            ("Ready=True, heartbeat 7s ago", false),
            ("Ready=Unknown, heartbeat 41s ago", true),
            ("Ready=True, heartbeat 1s ago", true),
        ];
        for (facts, is_new) in facts {
            assert_eq!(step.is_new(facts), is_new, "{facts}");
        }
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(shown(Duration::from_millis(217)), "0.2s");
        assert_eq!(shown(Duration::from_secs(45)), "45s");
        assert_eq!(shown(Duration::from_secs(190)), "3m10s");
        assert_eq!(shown(Duration::MAX), human_duration(SignedDuration::MAX));
    }

    #[test]
    fn t15_f_an_event_is_json_of_the_text() {
        let text = "a\u{1b}[2J\u{9b}\u{202e}\u{e0041}\nb";
        let line = line_of(json!({"event": "line"}), &json!({"text": text}));
        assert_eq!(escape(&line), line);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["text"], text);
    }

    /// A step's name goes into a template, and no text does.
    #[test]
    fn the_templates_are_right() {
        for name in ["cordon", "drain"] {
            let spinner = format!("{} {name} … {{spinner}} {{wide_msg}}", begin_mark());
            let bar = format!("{} {name} … {{bar:24}} {{pos}}/{{len}} {{wide_msg}}", begin_mark());
            assert!(
                ProgressStyle::with_template(&spinner).is_ok() && ProgressStyle::with_template(&bar).is_ok()
            );
        }
    }
}
