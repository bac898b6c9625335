//! A network between a client and a server that can be cut.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Passes on what comes, until it is cut: then nothing arrives any more, in either direction, and nobody is told.
pub struct Relay {
    url: String,
    network: Arc<Network>,
}

struct Network {
    state: Mutex<State>,
    mended: Condvar,
    /// As a firewall does that has been restarted: what was cut is never passed on again, and never closed.
    forgets: bool,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    /// So often it was cut or mended.
    turns: u32,
}

impl Relay {
    /// In front of the server at this URL. What is sent while it is cut is lost, and its connection is closed when the
    /// network is mended.
    pub fn to(url: &str) -> Self {
        Self::new(url, false)
    }

    /// The same, but nobody ever hears again of a connection that was cut, nor of one that was opened meanwhile.
    pub fn that_forgets(url: &str) -> Self {
        Self::new(url, true)
    }

    fn new(url: &str, forgets: bool) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let server = rest.trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let network = Arc::new(Network { state: Mutex::default(), mended: Condvar::new(), forgets });
        let shared = network.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let other = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                let opened = shared.state.lock().expect("a lock").turns;
                for (from, to) in [(other(&client), other(&server)), (server, client)] {
                    let network = shared.clone();
                    std::thread::spawn(move || network.pass(from, to, opened));
                }
            }
        });
        Self { url: format!("{scheme}://{address}"), network }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn cut(&self) {
        let mut state = self.network.state.lock().expect("a lock");
        (state.is_cut, state.turns) = (true, state.turns + 1);
    }

    pub fn mend(&self) {
        let mut state = self.network.state.lock().expect("a lock");
        // What was opened while it was cut is not known to anybody either.
        (state.is_cut, state.turns) = (false, state.turns + 1);
        self.network.mended.notify_all();
    }
}

impl Network {
    /// `opened`: what `turns` was then.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream, opened: u32) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let state = self.state.lock().expect("a lock");
            if self.forgets && (state.is_cut || state.turns != opened) {
                drop(state);
                loop {
                    std::thread::park(); // and keep both ends open
                }
            }
            if state.is_cut {
                drop(self.mended.wait_while(state, |state| state.is_cut).expect("a lock"));
                break;
            }
            drop(state);
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ended = to.shutdown(std::net::Shutdown::Both);
    }
}
