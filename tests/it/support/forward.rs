//! Where ports of pods lead. On the real control plane the API server calls the node's kubelet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use sandbox::{Fault, Faults, KubeletServer, Machines};

use super::World;

/// The kubelets' servers, by node.
#[derive(Default)]
pub struct KubeletServers(Mutex<BTreeMap<String, KubeletServer>>);

impl KubeletServers {
    fn forward(&self, node: &str, pod: &str, port: u16, to: SocketAddr) {
        self.serve(node);
        if let Some(server) = self.0.lock().expect("a lock").get(node) {
            server.forward(pod, port, to);
        }
    }

    /// Starts this node's server if it does not run.
    pub(super) fn serve(&self, node: &str) {
        let directory = std::env::var("SCIURO_CLUSTER_DIR").expect("the real control plane");
        let clients = Path::new(&directory).join("pki/ca.crt");
        let clients =
            std::fs::read_to_string(clients).expect("the authority of the API server's certificates");
        let mut servers = self.0.lock().expect("a lock");
        let server = servers.entry(node.to_owned());
        server.or_insert_with(|| KubeletServer::start(node, &clients));
    }

    /// The same, with what pods of these machines print.
    pub(super) fn serve_logs(&self, node: &str, machines: &Machines) {
        self.serve(node);
        if let Some(server) = self.0.lock().expect("a lock").get(node) {
            server.logs_of(machines);
        }
    }

    fn faults(&self, node: &str) -> Faults {
        self.serve(node);
        self.0.lock().expect("a lock").get(node).expect("a server").faults().clone()
    }

    fn drop_forwards(&self) {
        self.0.lock().expect("a lock").values().for_each(KubeletServer::drop_forwards);
    }
}

impl World {
    /// Lets a port of a pod lead somewhere.
    pub fn forward(&self, node: &str, pod: &str, port: u16, to: SocketAddr) {
        match &self.doubles {
            Some((api, _)) => api.forward(pod, port, to),
            None => self.kubelet_servers.forward(node, pod, port, to),
        }
    }

    /// What is to go wrong with what a node's kubelet serves below this path, which may end in `*`.
    pub fn kubelet_fault(&self, node: &str, path: &str) -> Fault {
        match &self.doubles {
            Some((api, _)) => api.faults().on("GET", &format!("/api/v1/nodes/{node}/proxy/{path}")),
            None => self.kubelet_servers.faults(node).on("GET", &format!("/{path}")),
        }
    }

    /// The same with the log of a pod, whose name may end in `*`.
    pub fn log_fault(&self, node: &str, namespace: &str, pod: &str) -> Fault {
        match &self.doubles {
            Some((api, _)) => api.faults().on("GET", &format!("/api/v1/namespaces/{namespace}/pods/{pod}")),
            None => self.kubelet_servers.faults(node).on("GET", &format!("/containerLogs/{namespace}/{pod}")),
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
