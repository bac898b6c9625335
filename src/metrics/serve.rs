//! `/metrics`, `/healthz` and `/readyz`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Metrics;
use crate::error::{Error, Exit, Result};

/// Prometheus and the kubelet need a few; whoever opens more has to wait.
const CONNECTIONS: usize = 32;

/// Who opens a connection has to ask within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the loop goes on, and has begun to work.
pub struct Health {
    /// Without a sign of life for so long it hangs.
    patience: Duration,
    last_sign: Mutex<Instant>,
    ready: AtomicBool,
    is_known: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Health {
    /// `is_known`: whether the API server has accepted our credentials last.
    pub fn new(patience: Duration, is_known: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            patience,
            last_sign: Mutex::new(Instant::now()),
            ready: AtomicBool::new(false),
            is_known: Box::new(is_known),
        }
    }

    /// To be called again within the patience, whether this process writes or stands by.
    pub fn alive(&self) {
        *self.last_sign.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The nodes are known, and this process writes or knows who does.
    pub fn ready(&self, is_ready: bool) {
        self.ready.store(is_ready, Ordering::Relaxed);
    }

    /// Why it is of no use, if it is not.
    fn fails(&self) -> Option<&'static str> {
        let last_sign = *self.last_sign.lock().unwrap_or_else(PoisonError::into_inner);
        if last_sign.elapsed() > self.patience {
            return Some("no sign of life from the loop\n");
        }
        // Everybody may ask here, and the reason may be what a credential plugin said.
        (!(self.is_known)()).then_some("the API server does not accept our credentials; the log says why\n")
    }
}

/// A bound socket: that the port is taken is known before anything else is done.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self { listener }),
            Err(error) => {
                Err(Error::new(Exit::Usage, format!("--metrics-addr: cannot listen on {address}: {error}"))
                    .hint(format!("ss -ltnp 'sport = :{}' shows who listens there", address.port())))
            }
        }
    }

    /// Where it listens, which the system chose if the port was 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until it is dropped.
    pub async fn run(self, metrics: Arc<Metrics>, health: Arc<Health>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let connection = match self.listener.accept().await {
                Ok((connection, _)) => connection,
                Err(error) => {
                    // Too many open files, or the like: it passes.
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (metrics, health) = (metrics.clone(), health.clone());
            tokio::spawn(async move {
                let answer = service_fn(|request| {
                    let answer = answer(&request, &metrics, &health);
                    async { Ok::<_, Infallible>(answer) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 << 10);
                if let Err(error) = server.serve_connection(TokioIo::new(connection), answer).await {
                    tracing::debug!(%error, "a connection to the metrics ended");
                }
                drop(place);
            });
        }
    }
}

fn answer<B>(request: &Request<B>, metrics: &Metrics, health: &Health) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, text) = match request.uri().path() {
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".to_owned()),
        "/metrics" => (StatusCode::OK, OPEN_METRICS, metrics.encode()),
        "/healthz" => match health.fails() {
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, why.to_owned()),
            None => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        },
        "/readyz" if health.ready.load(Ordering::Relaxed) => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "not ready\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /healthz and /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

const PLAIN: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
