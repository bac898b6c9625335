//! Where ports of pods lead. On the real control plane the API server calls the node's kubelet.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sandbox::{Fault, Faults, KubeletServer, Machines};

use serde_json::json;

use super::World;

/// The kubelets' servers, by node.
pub struct KubeletServers {
    servers: Mutex<BTreeMap<String, KubeletServer>>,
    /// The authority of the API server's certificates.
    clients: PathBuf,
}

impl KubeletServers {
    /// Of the control plane that has this kubeconfig.
    pub(super) fn of(kubeconfig: &Path) -> Self {
        Self { servers: Mutex::default(), clients: kubeconfig.with_file_name("pki").join("ca.crt") }
    }

    fn clients(&self) -> String {
        std::fs::read_to_string(&self.clients).expect("an authority")
    }

    fn forward(&self, node: &str, pod: &str, port: u16, to: SocketAddr) {
        self.serve(node);
        if let Some(server) = self.servers.lock().expect("a lock").get(node) {
            server.forward(pod, port, to);
        }
    }

    /// Starts this node's server if it does not run.
    pub(super) fn serve(&self, node: &str) {
        let clients = self.clients();
        let mut servers = self.servers.lock().expect("a lock");
        let server = servers.entry(node.to_owned());
        server.or_insert_with(|| KubeletServer::start(node, &clients));
    }

    /// Lets this node's server be elsewhere, and says where.
    fn move_to(&self, node: &str, machines: &Machines, address: IpAddr) -> SocketAddr {
        let server = KubeletServer::start_at(node, &self.clients(), (address, 0).into());
        server.logs_of(machines);
        let address = server.address();
        self.servers.lock().expect("a lock").insert(node.to_owned(), server);
        address
    }

    /// The same, with what pods of these machines print.
    pub(super) fn serve_logs(&self, node: &str, machines: &Machines) {
        self.serve(node);
        if let Some(server) = self.servers.lock().expect("a lock").get(node) {
            server.logs_of(machines);
        }
    }

    fn faults(&self, node: &str) -> Faults {
        self.serve(node);
        self.servers.lock().expect("a lock").get(node).expect("a server").faults().clone()
    }

    fn drop_forwards(&self) {
        self.servers.lock().expect("a lock").values().for_each(KubeletServer::drop_forwards);
    }
}

/// This machine's address on the way out. Nothing is sent.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a socket");
    socket
        .connect(("192.0.2.1", 9))
        .expect("a machine with a network: the API server proxies to no loopback");
    socket.local_addr().expect("an address").ip()
}

impl World {
    /// Lets the API server's proxy reach a node's kubelet. It proxies to no address on loopback, where machines are.
    pub fn proxies(&self, node: &str, machines: &Machines) {
        if self.doubles.is_some() {
            return;
        }
        let address = self.kubelet_servers.move_to(node, machines, own_address());
        let status = json!({"status": {
            "addresses": [{"type": "ExternalIP", "address": address.ip().to_string()}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}},
        }});
        self.patch_status(node, "application/strategic-merge-patch+json", &status);
    }

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

    /// The same with logs that somebody follows, of pods whose name may end in `*`.
    pub fn log_fault(&self, node: &str, namespace: &str, pod: &str) -> Fault {
        let fault = match &self.doubles {
            Some((api, _)) => api.faults().on("GET", &format!("/api/v1/namespaces/{namespace}/pods/{pod}")),
            None => self.kubelet_servers.faults(node).on("GET", &format!("/containerLogs/{namespace}/{pod}")),
        };
        fault.query("follow=true")
    }

    /// Breaks the connections of all port-forwards.
    pub fn drop_forwards(&self) {
        match &self.doubles {
            Some((api, _)) => api.drop_watches(),
            None => self.kubelet_servers.drop_forwards(),
        }
    }

    /// What goes wrong when the log of a container is read.
    pub fn container_log_fault(&self, node: &str, namespace: &str, pod: &str, container: &str) -> Fault {
        if let Some((api, _)) = &self.doubles {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log");
            return api.faults().on("GET", &path).query(&format!("container={container}&"));
        }
        let path = format!("/containerLogs/{namespace}/{pod}/{container}");
        self.kubelet_servers.faults(node).on("GET", &path)
    }
}
