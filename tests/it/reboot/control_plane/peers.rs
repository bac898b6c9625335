//! Over ssh to a real sshd, by ipmitool to a BMC that is simulated, by curl to a Redfish service.

pub(crate) mod bmc;
mod sshd;

use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where `tests/machines-peers` put a program.
fn program(name: &str) -> PathBuf {
    let folder = std::env::var("SCIURO_PEERS").unwrap_or_else(|_| {
        panic!("SCIURO_PEERS is not set: this test needs what tests/machines-peers unpacks; `make test` does")
    });
    PathBuf::from(folder).join(name)
}

/// Ends with the test.
pub(crate) struct Peer(Child);

impl Peer {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let log = std::fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// Waits until it is there; `false` if it has ended instead.
    fn becomes(&mut self, ready: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ready() {
            if self.0.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "it does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Starts a peer on a port that is free; another process may have taken it until the peer asks for it.
fn on_a_free_port(start: impl Fn(u16) -> Peer, ready: impl Fn(u16) -> bool) -> (Peer, u16) {
    for _ in 0..10 {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut peer = start(port);
        if peer.becomes(|| ready(port)) {
            return (peer, port);
        }
    }
    panic!("it does not start")
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
