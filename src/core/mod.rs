//! The pure core: alerts and nodes go in, plans come out.
//!
//! It knows no clock, no network, no environment and no Kubernetes client: `now` is an argument, and a
//! test (`tests/it/layers.rs`) greps this folder for anything else.

pub mod address;
pub mod alert;
pub mod alerts_gone;
pub mod boot;
mod brake;
pub mod clusters;
pub mod condition;
pub mod drain;
pub mod expression;
pub mod findings;
pub mod gates;
pub mod helper;
pub mod hosts;
pub mod invisible;
pub mod labels;
pub mod matcher;
pub mod matching;
pub mod memory;
pub mod node;
pub mod null;
pub mod prefix;
pub mod remediation;
pub mod report;
pub mod round;
pub mod secrets;
pub mod selection;
pub mod short_name;
pub mod silence;
pub mod source;
pub mod standing;
mod unsure;
pub mod verify;
