//! Kubernetes I/O: the client, nodes and Leases; Services and the pods behind them.

mod access;
mod api;
mod claims;
mod clock;
mod config;
mod diagnostics;
mod error;
mod events;
mod fleet;
mod helpers;
mod lease_state;
mod leases;
mod names;
mod nodes;
mod port_forward;
mod record;
mod remediated;
mod server_time;
mod services;
mod watch;

pub use access::Permission;
pub use api::Cluster;
pub use claims::ClaimsElsewhere;
pub use clock::Clock;
pub use config::{KubeconfigNames, kubeconfig_names};
pub use diagnostics::{LogOf, LogTail};
pub use error::{ApiError, Rule};
pub use helpers::HelperPod;
pub use lease_state::LeaseState;
pub use leases::{Candidate, Hold, LeaseError, LeaseKey, Pace, Waiting, holder_identity};
pub use nodes::Written;
pub use port_forward::{PORT_FORWARD_VERBS, PortForward};
pub use record::{RecordError, clear_command};
pub use remediated::{NodeInfo, RemediatedNode, SpeltCondition, Taint, TypedAddress, WatchedNode};
pub use services::{Endpoint, PodKey, ServiceKey};
pub use watch::{NodeSelection, SeenNodes};
