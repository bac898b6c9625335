//! Kubernetes I/O: the client, nodes and Leases; Services and the pods behind them.

mod access;
mod api;
mod budgets;
mod clock;
mod config;
mod error;
mod evictions;
mod follow;
mod lease_state;
mod leases;
mod names;
mod nodes;
mod pods;
mod port_forward;
mod services;
mod volumes;
mod watch;

pub use access::Permission;
pub use api::Cluster;
pub use clock::Clock;
pub use config::{KubeconfigNames, kubeconfig_names};
pub use error::{ApiError, Rule};
pub use evictions::Eviction;
pub use follow::{Change, Listed};
pub use lease_state::LeaseState;
pub use leases::{Candidate, Hold, LeaseError, LeaseKey, Waiting};
pub use nodes::Written;
pub use pods::PodSelection;
pub use port_forward::{PORT_FORWARD_VERBS, PortForward};
pub use services::{Endpoint, PodKey, ServiceKey};
pub use volumes::Attachment;
pub use watch::{NodeSelection, SeenNodes};
