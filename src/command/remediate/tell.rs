//! What a step tells goes to its line on the screen.

use crate::remedy::{News, Tell};
use crate::ui::Step;

impl Tell for Step {
    fn tell(&self, news: News<'_>) {
        match news {
            News::Line(text) => self.line(text),
            News::Hint(text) => self.line(&format!("hint: {text}")),
            News::PodGone { namespace, name, how } => self.line(&format!("pod {namespace}/{name} {how}")),
            News::Warning(text) => self.warn(text),
            News::Drain { evicted, total, blocked } => self.bar(evicted, total, blocked),
            News::Wait { elapsed, facts } => self.wait(elapsed, facts),
        }
    }
}
