//! Where ports of pods lead. On the real control plane the API server calls the node's kubelet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use sandbox::{Fault, KubeletServer};

use super::World;

/// The kubelets' servers, by node.
#[derive(Default)]
pub struct KubeletServers(Mutex<BTreeMap<String, KubeletServer>>);

impl KubeletServers {
    /// Lets something happen with this node's server, which is started if it does not run.
    fn with<T>(&self, node: &str, kubeconfig: &Path, act: impl FnOnce(&KubeletServer) -> T) -> T {
        let clients = kubeconfig.with_file_name("pki").join("ca.crt");
        let clients =
            std::fs::read_to_string(clients).expect("the authority of the API server's certificates");
        let mut servers = self.0.lock().expect("a lock");
        let server = servers.entry(node.to_owned());
        act(server.or_insert_with(|| KubeletServer::start(node, &clients)))
    }

    fn drop_forwards(&self) {
        self.0.lock().expect("a lock").values().for_each(KubeletServer::drop_forwards);
    }
}

impl World {
    /// Serves what a node's kubelet has to say, on the real control plane; the sandbox says it itself.
    pub(super) fn serve_kubelet(&self, node: &str) {
        if self.doubles.is_none() {
            self.kubelet_servers.with(node, self.kubeconfig(), |_| ());
        }
    }

    /// Something that happens to whoever wants a pod's logs.
    pub fn logs_fail(&self, node: &str, namespace: &str, pod: &str) -> Fault {
        match &self.doubles {
            Some((api, _)) => {
                api.faults().on("GET", &format!("/api/v1/namespaces/{namespace}/pods/{pod}/log"))
            }
            None => self.kubelet_servers.with(node, self.kubeconfig(), |server| {
                server.faults().on("GET", &format!("/containerLogs/{namespace}/{pod}/*"))
            }),
        }
    }

    /// Lets a port of a pod lead somewhere.
    pub fn forward(&self, node: &str, pod: &str, port: u16, to: SocketAddr) {
        match &self.doubles {
            Some((api, _)) => api.forward(pod, port, to),
            None => {
                self.kubelet_servers.with(node, self.kubeconfig(), |server| server.forward(pod, port, to))
            }
        }
    }

    /// Breaks the connections of all port-forwards.
    pub fn drop_forwards(&self) {
        match &self.doubles {
            Some((api, _)) => api.drop_watches(),
            None => self.kubelet_servers.drop_forwards(),
        }
    }
}
