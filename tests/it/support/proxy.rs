//! Stands before the API server, and passes on what comes.

use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio::net::TcpListener;

use super::World;

/// What is done with each request.
pub(super) trait Passes: Send + Sync + 'static {
    fn pass(
        &self,
        head: Parts,
        body: Vec<u8>,
    ) -> impl Future<Output = std::io::Result<Response<Body>>> + Send;
}

/// Serves until the world ends; returns what `--server` takes.
pub(super) fn serve(world: &World, proxy: &Arc<impl Passes>) -> String {
    let listener = world.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let accepting = proxy.clone();
    world.runtime().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let proxy = accepting.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let proxy = proxy.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
                    proxy.pass(head, body.to_vec()).await
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    url
}

/// As whoever `client` is.
pub(super) async fn forward(
    client: &kube::Client,
    head: Parts,
    body: Vec<u8>,
) -> std::io::Result<Response<Body>> {
    let mut passed = Request::builder().method(head.method).uri(head.uri);
    for (name, value) in &head.headers {
        if name != http::header::HOST && name != http::header::AUTHORIZATION {
            passed = passed.header(name, value);
        }
    }
    let passed = passed.body(Body::from(body)).map_err(std::io::Error::other)?;
    client.send(passed).await.map_err(std::io::Error::other)
}
