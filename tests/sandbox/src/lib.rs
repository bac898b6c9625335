//! Test doubles: the servers and machines that `kubectl sciuro` meets, in this process and on 127.0.0.1.
//!
//! A scenario is written once and runs on the real control plane and on these doubles. Where they differ, the doubles
//! are wrong: they have what the flows need and no more, and what they have answers like the real thing.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alertmanager;
mod api;
mod error;
mod fnv;
mod front;
mod http;
pub mod kubelet;
mod prometheus;
mod random;
mod time;
mod webhook;

pub use alertmanager::{Alertmanager, Route};
pub use api::{ApiServer, Store, node};
pub use error::{Error, Result};
pub use front::{Authority, Front, Identity};
pub use http::{Fault, Faults, Request};
pub use kubelet::{Boot, Facts, Helpers, Kubelet, KubeletOptions, KubeletServer, MachineControl, Machines};
pub use prometheus::Prometheus;
pub use webhook::{Verdict, Webhook};
