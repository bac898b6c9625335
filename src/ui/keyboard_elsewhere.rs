//! What is typed, on consoles that edit lines but cannot be made to forget one.

use std::io;

pub(crate) struct Quiet(());

impl Quiet {
    pub(super) fn begin() -> Self {
        Self(())
    }
}

pub(super) struct Question(());

impl Question {
    pub(super) fn begin() -> io::Result<Self> {
        Ok(Self(()))
    }

    pub(super) async fn line(&self) -> io::Result<Option<String>> {
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|length| (length > 0).then_some(line))
        });
        line.await?
    }
}

pub(super) fn restore() {}
