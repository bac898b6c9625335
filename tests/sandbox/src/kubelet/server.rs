//! What a kubelet serves. The API server calls it for `kubectl port-forward` and `kubectl logs`: over TLS, with a client
//! certificate, at the `ExternalIP` and the port that the Node names.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::machines::Machines;
use super::names::served_ip;
use super::object::PORT;
use super::pods::collected;
use super::port_forward::{self, Targets};
use super::served;
use crate::front::{Authority, acceptor};
use crate::http::{Control, Double, Faults, Reply, Request, Server, lock};

/// The server of one machine's kubelet. It stops when dropped.
pub struct KubeletServer {
    double: Arc<Serving>,
    control: Arc<Control>,
    server: Server,
}

impl KubeletServer {
    /// For who has a client certificate of this authority (PEM).
    pub fn start(machine: &str, clients: &str) -> Self {
        Self::start_at(machine, clients, (served_ip(machine), PORT).into())
    }

    /// Elsewhere than where the machine registers it.
    pub fn start_at(machine: &str, clients: &str, address: SocketAddr) -> Self {
        let identity = Authority::new("kubelet").issue(&[&address.ip().to_string()]);
        let control = Arc::new(Control::default());
        let double = Arc::new(Serving {
            machine: machine.to_owned(),
            forwards: Targets::default(),
            machines: Mutex::default(),
            control: Arc::clone(&control),
        });
        let tls = acceptor(&identity, Some(clients));
        let server = Server::start_at(address, Some(tls), double.clone(), control.clone());
        Self { double, control, server }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What listens on a port of a pod. A port that nobody set is closed.
    pub fn forward(&self, pod: &str, port: u16, to: SocketAddr) {
        lock(&self.double.forwards).insert((pod.to_owned(), port), to);
    }

    /// Whose pods' logs it serves.
    pub fn logs_of(&self, machines: &Machines) {
        *lock(&self.double.machines) = Some(machines.clone());
    }

    /// What is to go wrong.
    pub fn faults(&self) -> &Faults {
        &self.control.faults
    }

    /// Cuts all forwarded connections.
    pub fn drop_forwards(&self) {
        self.control.cut.send_replace(());
    }
}

struct Serving {
    machine: String,
    forwards: Targets,
    machines: Mutex<Option<Machines>>,
    control: Arc<Control>,
}

impl Double for Serving {
    fn answer(&self, request: &Request) -> Reply {
        let segments: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match segments[..] {
            ["portForward", namespace, pod] => {
                let (port, cut) = (request.parameter("port"), self.control.cut.subscribe());
                port_forward::start(request, namespace, pod, port, &self.forwards, cut)
                    .unwrap_or_else(|why| self.error(request, 400, Some(&why)))
            }
            ["containerLogs", namespace, pod, container] => {
                let machines = lock(&self.machines);
                let log = machines.as_ref().and_then(|machines| machines.log(&self.machine, namespace, pod));
                if let Some(log) = log.filter(|_| container == collected::CONTAINER) {
                    return Reply::text(200, log);
                }
                let is_previous = request.parameter("previous").as_deref() == Some("true");
                let which = if is_previous { "previous log" } else { "log" };
                Reply::text(200, format!("{which} of {container} in {namespace}/{pod}\n"))
            }
            _ => served::answer(&self.machine, request.path.trim_start_matches('/'), request)
                .unwrap_or_else(|| self.error(request, 404, Some("404 page not found"))),
        }
    }

    fn error(&self, _: &Request, code: u16, message: Option<&str>) -> Reply {
        Reply::text(code, message.unwrap_or("a fault that was asked for"))
    }
}
