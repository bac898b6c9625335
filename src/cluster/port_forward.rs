//! A connection to a port of a pod through the API server and the kubelet, as `kubectl port-forward` makes it: it needs
//! no route to the pod, passes network policies and reaches what listens on the pod's loopback only.
//!
//! One WebSocket carries one connection: when it fails, its user opens another.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Portforwarder;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::api::{Cluster, Failure};
use super::error::{ApiError, Rule};
use super::services::PodKey;
use crate::error::{Error, Exit};
use crate::json;

/// What a WebSocket needs: it is a GET, and since 1.35 the API server asks for `create` besides
/// (gate `AuthorizePodWebsocketUpgradeCreatePermission`; seen with 1.36.3, which refuses without saying what is missing).
pub const PORT_FORWARD_VERBS: [&str; 2] = ["get", "create"];

/// The bytes to and from the pod. An error of the kubelet ends reading with its text.
pub struct PortForward {
    stream: DuplexStream,
    failure: Option<BoxFuture<'static, Option<String>>>,
    forwarder: Portforwarder,
    pod: PodKey,
    port: u16,
}

impl Cluster {
    /// Connects to a port of a pod. That the pod listens there is only known when something is read.
    pub async fn port_forward(&self, pod: &PodKey, port: u16) -> Result<PortForward, Error> {
        let forwarded = Box::pin(self.as_known(|client| self.forward(client, pod, port))).await;
        forwarded.map_err(|(error, _)| explain(&error, pod, port))
    }

    async fn forward(&self, client: kube::Client, pod: &PodKey, port: u16) -> Result<PortForward, Failure> {
        let pods: Api<Pod> = Api::namespaced(client, &pod.namespace);
        let opened = json::within(self.timeout(), pods.portforward(&pod.name, &[port])).await;
        let error = match opened {
            Some(Ok(mut forwarder)) => {
                let failure = forwarder.take_error(port).map(FutureExt::boxed);
                if let Some(stream) = forwarder.take_stream(port) {
                    return Ok(PortForward { stream, failure, forwarder, pod: pod.clone(), port });
                }
                ApiError::Unexpected("the port was not forwarded".to_owned())
            }
            Some(Err(kube::Error::Api(status))) => ApiError::Status(status),
            Some(Err(error @ kube::Error::UpgradeConnection(_))) => {
                let why = crate::error::root_cause(&error);
                ApiError::Unexpected(format!("{why}; does a proxy in between let WebSockets through?"))
            }
            Some(Err(error)) => self.transport(&error),
            None => ApiError::Broken(self.timed_out()),
        };
        Err((error, None))
    }
}

fn explain(error: &ApiError, pod: &PodKey, port: u16) -> Error {
    let rule = Rule { namespace: Some(&pod.namespace), ..Rule::PORT_FORWARD };
    let explained = error.explain_verbs(&PORT_FORWARD_VERBS, &rule);
    match error {
        ApiError::Status(status) if status.code == 404 => explained
            .hint("it is gone; its Service names another by now")
            .hint(format!("kubectl get pods -n {}", pod.namespace)),
        // The API server's own words, when no kubelet answers: they name no pod.
        ApiError::Status(status) if status.message.contains("error dialing backend") => {
            let why = &status.message;
            Error::new(Exit::Failed, format!("cannot reach port {port} of {pod} through its kubelet: {why}"))
                .hint(format!("kubectl get pod -n {} {} -o wide", pod.namespace, pod.name))
        }
        _ => explained,
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}/{}", self.namespace, self.name)
    }
}

impl PortForward {
    /// What the kubelet says, made short: it repeats container ids and network namespaces.
    fn failed(&self, said: &str) -> io::Error {
        tracing::debug!("port-forward to {}: {said}", self.pod);
        let Self { pod, port, .. } = self;
        if said.contains("connection refused") {
            let what = format!("{pod} refuses connections to port {port}");
            return io::Error::new(io::ErrorKind::ConnectionRefused, what);
        }
        let line: String = said.lines().next().unwrap_or_default().chars().take(300).collect();
        io::Error::other(format!("port-forward to port {port} of {pod}: {line}"))
    }
}

/// Nothing is left behind: the task that moves the bytes would otherwise wait for the server's answer to its farewell.
impl Drop for PortForward {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

impl AsyncRead for PortForward {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // The end. If the kubelet failed, it said so before.
        let said = self.failure.as_mut().map(|failure| failure.poll_unpin(context));
        match said {
            Some(Poll::Ready(said)) => {
                self.failure = None;
                Poll::Ready(said.map_or(Ok(()), |said| Err(self.failed(&said))))
            }
            Some(Poll::Pending) | None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for PortForward {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
