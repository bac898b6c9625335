//! Orders to reboot, and what comes of them: from a pod, over ssh, by a command. No machine is ever rebooted here: what the
//! guard would run is not on its PATH, and doubles stand in its place.

mod addresses;
pub(crate) mod machine;
mod pod;

/// What needs more than cargo brings: `tests/all` tells by the name.
pub(crate) mod control_plane {
    pub(crate) mod peers;
    mod pod_security;
}

use sciuro::cluster::Cluster;
use sciuro::remedy::reboot::Target;
use sciuro::remedy::{News, Tell};

/// Of the remediation.
const ID: &str = "6f1c9f0e-8a2b-4c6d-9e1f-0a2b3c4d5e6f";
/// A boot that no machine here is in.
const OTHER_BOOT: &str = "aaaaaaaa-4d5b-4f0e-9d6c-0a2f5c1e7b11";

fn target<'t>(cluster: &'t Cluster, node: &'t str, id: &'t str) -> Target<'t> {
    Target { cluster, node, id, tell: &Silent }
}

struct Silent;
impl Tell for Silent {
    fn tell(&self, _: News<'_>) {}
}
