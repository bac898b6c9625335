//! `pods/NAME/portforward` over a WebSocket, as a kubelet speaks it (`kubelet/pkg/cri/streaming/portforward/websocket.go`):
//! two channels for the port, data and error, each begun with the port's number; the first byte of a message says which.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::resource::Resource;
use super::route::Info;
use super::status::{Result, Status};
use super::store::Store;
use crate::http::{Reply, Request, lock};

const PROTOCOL: &str = "v4.channel.k8s.io";
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// By pod and port, what listens there.
pub(super) type Targets = Mutex<HashMap<(String, u16), SocketAddr>>;

pub(super) fn start(
    store: &Store,
    info: &Info,
    request: &Request,
    targets: &Targets,
    cut: watch::Receiver<()>,
) -> Result<Reply> {
    let namespace = info.namespace.clone().unwrap_or_default();
    let Some(pod) = store.get("pods", &namespace, &info.name) else {
        return Err(match Resource::of_plural("pods") {
            Some(pods) => Status::not_found(pods, &info.name),
            None => Status::no_such_resource(),
        });
    };
    if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", info.name)));
    }
    if !request.header("upgrade").eq_ignore_ascii_case("websocket") {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let offered = request.header("sec-websocket-protocol");
    if !offered.split(',').any(|one| one.trim() == PROTOCOL) {
        return Err(Status::bad_request(format!("no protocol of {offered:?} is spoken here")));
    }
    let Some(port) = request.parameter("ports").and_then(|ports| ports.parse::<u16>().ok()) else {
        return Err(Status::bad_request("one port can be forwarded here"));
    };
    let target = lock(targets).get(&(info.name.clone(), port)).copied();
    let accept = derive_accept_key(request.header("sec-websocket-key").as_bytes());
    let pod = format!("{}_{namespace}", info.name);
    Ok(Reply::upgrade(Box::new(move |upgraded| forward(upgraded, pod, port, target, cut).boxed()))
        .with(CONNECTION, "Upgrade")
        .with(UPGRADE, "websocket")
        .with(SEC_WEBSOCKET_ACCEPT, &accept)
        .with(SEC_WEBSOCKET_PROTOCOL, PROTOCOL))
}

async fn forward(
    upgraded: TokioIo<Upgraded>,
    pod: String,
    port: u16,
    target: Option<SocketAddr>,
    mut cut: watch::Receiver<()>,
) {
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
    let [low, high] = port.to_le_bytes();
    for channel in [DATA, ERROR] {
        if socket.send(Message::binary(vec![channel, low, high])).await.is_err() {
            return;
        }
    }
    tokio::select! {
        () = pipe(&mut socket, &pod, port, target) => { _ = socket.close(None).await; }
        _ = cut.changed() => {} // the connection is dropped as it is
    }
}

/// Until one of the two has had enough.
async fn pipe(
    socket: &mut WebSocketStream<TokioIo<Upgraded>>,
    pod: &str,
    port: u16,
    target: Option<SocketAddr>,
) {
    let connected = match target {
        Some(target) => TcpStream::connect(target).await.ok(),
        None => None,
    };
    let Some(mut stream) = connected else {
        let why = format!(
            "error forwarding port {port} to pod {pod}, uid : failed to execute portforward in network namespace \
             \"/var/run/netns/cni-0\": failed to connect to localhost:{port} inside namespace \"0\", IPv4: dial tcp4 \
             127.0.0.1:{port}: connect: connection refused"
        );
        _ = socket.send(Message::binary([&[ERROR], why.as_bytes()].concat())).await;
        return;
    };
    let mut buffer = vec![0; 32 << 10];
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) if bytes.first() == Some(&DATA) => {
                    if stream.write_all(&bytes[1..]).await.is_err() {
                        return;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    let message = Bytes::from([&[DATA], &buffer[..length]].concat());
                    if socket.send(Message::Binary(message)).await.is_err() {
                        return;
                    }
                }
            },
        }
    }
}
