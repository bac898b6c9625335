//! Kubernetes I/O: the client, nodes and Leases.

mod api;
mod config;
mod error;
mod leases;
mod names;
mod nodes;
mod watch;

pub use api::Cluster;
pub use config::{KubeconfigNames, kubeconfig_names};
pub use error::{ApiError, Rule};
pub use leases::{Hold, LeaseError, LeaseKey};
pub use nodes::Written;
pub use watch::{NodeSelection, SeenNodes};
