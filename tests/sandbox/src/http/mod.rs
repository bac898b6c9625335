//! What both servers have in common: plain HTTP/1.1 on a free port of 127.0.0.1, a record of the requests, faults.

mod fault;
mod reply;
mod request;
mod server;

pub(crate) use fault::Target;
pub use fault::{Fault, Faults};
pub(crate) use reply::{Cut, Reply};
pub use request::Request;
pub(crate) use server::{Control, Double, Server};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks although somebody panicked while holding it: a test that fails should fail for its own reason.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
