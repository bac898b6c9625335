//! Lines to type next, with the flags again that this command line was given.

use std::collections::BTreeSet;

use crate::cli::TypedFlag;
use crate::core::secrets;

/// What was left out of lines because it may hold a secret.
#[derive(Default)]
pub(super) struct Hidden(BTreeSet<String>);

impl Hidden {
    /// The line with these flags, as a shell takes them.
    pub(super) fn line<'f>(
        &mut self,
        line: String,
        flags: impl IntoIterator<Item = &'f TypedFlag>,
    ) -> String {
        flags.into_iter().fold(line, |line, flag| {
            if holds_secret(flag) {
                self.0.insert(format!("--{}", flag.name));
                return line;
            }
            flag.words.iter().fold(line, |line, word| format!("{line} {}", quoted(word)))
        })
    }

    /// What a person has to add, if anything.
    pub(super) fn advice(self) -> Option<String> {
        let hidden = self.0.into_iter().collect::<Vec<_>>().join(" and ");
        (!hidden.is_empty()).then(|| format!("add {hidden} again: what may hold a secret is not shown"))
    }
}

fn holds_secret(flag: &TypedFlag) -> bool {
    let value = flag.words.get(1).map_or("", String::as_str);
    match flag.name.as_str() {
        "token" => true,
        "reboot-command" | "verify-command" => secrets::in_command(value),
        _ => secrets::in_url(value),
    }
}

fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| format!("{word:?}"), std::borrow::Cow::into_owned)
}
