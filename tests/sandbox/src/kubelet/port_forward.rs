//! A port of a pod over a WebSocket, as a kubelet speaks it (`kubelet/pkg/cri/streaming/portforward/websocket.go`): two
//! channels for the port, data and error, each begun with the port's number; the first byte of a message says which. The
//! API server hands a WebSocket with this protocol on to the kubelet as it is.

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

use crate::http::{Reply, Request, lock};

const PROTOCOL: &str = "v4.channel.k8s.io";
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// By pod and port, what listens there.
pub(crate) type Targets = Mutex<HashMap<(String, u16), SocketAddr>>;

/// Hands the connection over to the pod, or says what is wrong with the request.
pub(crate) fn start(
    request: &Request,
    namespace: &str,
    pod: &str,
    port: Option<String>,
    targets: &Targets,
    cut: watch::Receiver<()>,
) -> Result<Reply, String> {
    if !request.header("upgrade").eq_ignore_ascii_case("websocket") {
        return Err("Upgrade request required".to_owned());
    }
    let offered = request.header("sec-websocket-protocol");
    if !offered.split(',').any(|one| one.trim() == PROTOCOL) {
        return Err(format!("no protocol of {offered:?} is spoken here"));
    }
    let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else {
        return Err("one port can be forwarded here".to_owned());
    };
    let target = lock(targets).get(&(pod.to_owned(), port)).copied();
    let accept = derive_accept_key(request.header("sec-websocket-key").as_bytes());
    let pod = format!("{pod}_{namespace}");
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
