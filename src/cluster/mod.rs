//! Kubernetes I/O: the client, nodes and Leases.

mod api;
mod config;
mod leases;
mod nodes;

pub use api::{ApiError, Cluster};
pub use leases::{Hold, LeaseError, LeaseKey};
pub use nodes::Written;
