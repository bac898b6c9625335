//! What is done to its end although nobody waits for it any more: Leases are taken and released so.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

#[derive(Default)]
pub(super) struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    pub(super) fn spawn(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {} // those that are done
        tasks.spawn_on(task, runtime);
    }

    /// Returns once all are done, those included that others begin meanwhile.
    pub(super) async fn done(&self) {
        let next = || {
            poll_fn(|context| self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_join_next(context))
        };
        while next().await.is_some() {}
    }
}
