//! Over plain HTTP nobody is told who we are: what goes on about credentials needs TLS.

use std::path::PathBuf;

use ::sandbox::{Authority, Front};

use super::World;

/// The world's API server behind TLS.
pub struct Behind<'w> {
    world: &'w World,
    front: Front,
}

impl<'w> Behind<'w> {
    /// With `clients`, only for who has a certificate of that authority.
    pub fn tls(world: &'w World, clients: Option<&Authority>) -> Self {
        let authority = Authority::new("servers");
        let front = Front::tls(&world.server_url(), &authority.issue(&["127.0.0.1"]), clients);
        world.file("ca.crt", &authority.certificate);
        Self { world, front }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.front.address())
    }

    /// The kubeconfig of a user, in the world's folder.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.world.file("behind-tls", &kubeconfig(&self.url(), "ca.crt", user))
    }
}

/// Of one user of one server.
pub fn kubeconfig(server: &str, authority: &str, user: &str) -> String {
    format!(
        "current-context: c\nclusters: [{{name: c, cluster: {{server: '{server}', certificate-authority: {authority}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    )
}
