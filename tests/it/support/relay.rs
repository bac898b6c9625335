//! A network between a client and a server that can be cut.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Passes on what comes, until it is cut: then nothing arrives any more, in either direction, and nobody is told.
pub struct Relay {
    url: String,
    cut: Arc<(Mutex<bool>, Condvar)>,
}

impl Relay {
    /// In front of the server at this URL.
    pub fn to(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let server = rest.trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let cut = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = cut.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let other = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                for (from, to) in [(other(&client), other(&server)), (server, client)] {
                    let cut = shared.clone();
                    std::thread::spawn(move || pass(from, to, &cut));
                }
            }
        });
        Self { url: format!("{scheme}://{address}"), cut }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What is sent meanwhile is lost, and its connection is closed when the network is mended.
    pub fn cut(&self) {
        *self.cut.0.lock().expect("a lock") = true;
    }

    pub fn mend(&self) {
        *self.cut.0.lock().expect("a lock") = false;
        self.cut.1.notify_all();
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, (cut, mended): &(Mutex<bool>, Condvar)) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let is_cut = cut.lock().expect("a lock");
        if *is_cut {
            drop(mended.wait_while(is_cut, |cut| *cut).expect("a lock"));
            break;
        }
        drop(is_cut);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ended = to.shutdown(std::net::Shutdown::Both);
}
