use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use super::reply::Body;
use super::{Cut, Faults, Reply, Request, lock};

/// The largest request body that is read at all.
const MAX_BODY: usize = 64 << 20;

/// A server's own part: answers to requests, all from memory.
pub(crate) trait Double: Send + Sync + 'static {
    /// What a test wanted done before this request is answered.
    fn prepare(&self, _request: &Request) {}

    fn answer(&self, request: &Request) -> Reply;

    /// An error of this server's make.
    fn error(&self, request: &Request, code: u16, message: Option<&str>) -> Reply;
}

/// The part of a server that tests reach into.
pub(crate) struct Control {
    pub(crate) faults: Faults,
    requests: Mutex<Vec<Request>>,
    recording: AtomicBool,
    /// Changes when all running streams shall be cut.
    pub(crate) cut: watch::Sender<()>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            faults: Faults::default(),
            requests: Mutex::default(),
            recording: AtomicBool::new(true),
            cut: watch::Sender::new(()),
        }
    }
}

impl Control {
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }

    pub(crate) fn forget_requests(&self) {
        lock(&self.requests).clear();
    }

    pub(crate) fn record(&self, on: bool) {
        self.recording.store(on, Ordering::Relaxed);
    }
}

/// A running server. It has threads of its own, so that a test may block on a child process; dropped, it is gone with
/// all connections and its port is closed.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(double: Arc<dyn Double>, control: Arc<Control>) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), None, double, control)
    }

    #[expect(clippy::expect_used, reason = "without a loopback port and a thread no test can run")]
    pub(crate) fn start_at(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        double: Arc<dyn Double>,
        control: Arc<Control>,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free port on loopback");
        listener.set_nonblocking(true).expect("a non-blocking socket");
        let address = listener.local_addr().expect("the address of the socket");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("sandbox-server")
            .enable_all()
            .build()
            .expect("a runtime");
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, tls, double, control) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    double: Arc<dyn Double>,
    control: Arc<Control>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        _ = stream.set_nodelay(true);
        let (tls, double, control) = (tls.clone(), Arc::clone(&double), Arc::clone(&control));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, &*double, &control).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &*double, &control).await;
                    }
                }
            }
        });
    }
}

async fn serve<S>(stream: S, double: &dyn Double, control: &Control)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| exchange(double, control, request));
    // An error is a connection that ended early: the client's doing, or a fault's.
    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// One request and its answer; an error closes the connection without one.
async fn exchange(
    double: &dyn Double,
    control: &Control,
    mut request: hyper::Request<Incoming>,
) -> Result<http::Response<Body>, Cut> {
    let upgraded = hyper::upgrade::on(&mut request);
    let mut reply = reply(double, control, request).await?;
    tokio::time::sleep(reply.late).await;
    if let Some(upgrade) = reply.upgrade.take() {
        tokio::spawn(async move {
            if let Ok(upgraded) = upgraded.await {
                upgrade(TokioIo::new(upgraded)).await;
            }
        });
    }
    Ok(reply.into_response())
}

async fn reply(
    double: &dyn Double,
    control: &Control,
    request: hyper::Request<Incoming>,
) -> Result<Reply, Cut> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else { return Err(Cut) };
    let request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: body.to_bytes(),
    };
    if control.recording.load(Ordering::Relaxed) {
        lock(&control.requests).push(request.clone());
    }
    double.prepare(&request);
    let Some(effect) = control.faults.take(&request) else {
        return Ok(double.answer(&request));
    };
    if let Some(delay) = effect.delay {
        tokio::time::sleep(delay).await;
    }
    if effect.drop {
        return Err(Cut);
    }
    let reply = if let Some(reply) = effect.answer() {
        reply
    } else if effect.forbid {
        double.error(&request, 403, effect.message.as_deref())
    } else if let Some(code) = effect.status {
        double.error(&request, code, effect.message.as_deref())
    } else {
        double.answer(&request)
    };
    if let Some(late) = effect.late {
        tokio::time::sleep(late).await;
    }
    Ok(effect.finish(reply))
}
