//! A world to run `kubectl sciuro` in, on the sandbox or on the real control plane.

mod behind_tls;
mod binary;
mod carrier;
mod cluster;
mod crash;
mod fleet;
mod forward;
mod generated;
mod machines;
mod proxy;
mod relay;
mod running;
mod screen;
mod session;
mod webhook;
mod witness;
mod world;

pub use behind_tls::{Behind, kubeconfig};
pub use binary::{Run, command, run};
pub use carrier::Carrier;
pub use cluster::Cluster;
pub use crash::{Boundary, CrashProxy, Moment};
pub use fleet::Fleet;
pub use generated::is_current;
pub use relay::Relay;
pub use running::Running;
pub use screen::screen;
pub use session::Session;
pub use webhook::Guard;
pub use witness::{Sent, Witness};
pub use world::{Refuses, World, seconds_ago};

/// Runs each scenario on the sandbox and on the real control plane.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        mod sandbox {
            $(#[test] fn $name() { super::$name(&crate::support::World::sandbox()); })+
        }
        mod control_plane {
            $(#[test] fn $name() { super::$name(&crate::support::World::control_plane()); })+
        }
    };
}
pub(crate) use scenarios;
