//! Tests of the binary and of the parts that speak to servers.
//!
//! A scenario is written once and runs twice: `…::sandbox::name` needs cargo alone, `…::control_plane::name` needs the real
//! control plane of `tests/cluster` (`make test` starts it).

#![allow(unreachable_pub)] // a test binary has no outside
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

mod bad_input;
mod chain;
mod check;
mod clock;
mod collect_faults;
mod collect_secrets;
mod complete;
mod crash;
mod crash_orders;
mod deploy;
mod docs;
mod drain;
mod expressions;
mod flags;
mod formats;
mod fuzz;
mod jsonpath;
mod layers;
mod leadership;
mod leases;
mod looping;
mod machines;
mod man;
mod matchers;
mod medik8s;
mod members;
mod metrics;
mod nodes;
mod permissions;
mod plan;
mod prompts;
mod real_machines;
mod reboot;
mod record_format;
mod records;
mod remediate;
mod remediate_actors;
mod remediate_alerts;
mod remediate_late;
mod remediate_leftovers;
mod remediate_outages;
mod remediate_proof;
mod remediate_refusals;
mod remediate_report;
mod restart;
mod safety;
mod schemas;
mod services;
mod sources;
mod status;
mod sync;
mod transcripts;
mod trust;
mod truth;
mod upstream;
mod watch;
