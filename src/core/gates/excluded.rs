//! Its owner has said: not this one.

use super::{Reason, Situation};

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    situation.target().filter(|target| target.excluded)?;
    Some(
        Reason::new("the node has the label sciuro.dev/exclude")
            .hint(format!("kubectl label node {} sciuro.dev/exclude-", situation.target)),
    )
}
