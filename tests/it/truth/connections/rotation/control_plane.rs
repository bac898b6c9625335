//! Certificates that live for 25 seconds, on the real control plane, in every command that goes on.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::sandbox::{Authority, Identity};
use serde_json::json;

use crate::metrics::get;
use crate::remediate::scene::Scene;
use crate::support::{Running, World, kubeconfig};
use crate::watch::eventually;

const LIFE: Duration = Duration::from_secs(25);

/// How long it goes on: two lives of a certificate, and as long as somebody wants to watch it.
fn for_so_long() -> Duration {
    let seconds = std::env::var("SCIURO_TEST_ROTATION_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// Replaces a client's certificate and key, and the credential that a plugin gives, every few seconds.
struct Renewal {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Renewal {
    fn begin(authority: Authority, folder: PathBuf) -> Self {
        write(&folder, &authority.client("rotated", "system:masters", LIFE));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut written = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
                if written.elapsed() > LIFE * 3 / 5 {
                    write(&folder, &authority.client("rotated", "system:masters", LIFE));
                    written = Instant::now();
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// One after another, as most tools do it.
fn write(folder: &Path, identity: &Identity) {
    let credential = json!({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
        "status": {"clientCertificateData": identity.certificate, "clientKeyData": identity.key}});
    for (name, content) in
        [("c.crt", &identity.certificate), ("c.key", &identity.key), ("credential", &credential.to_string())]
    {
        let next = folder.join(format!("{name}.next"));
        std::fs::write(&next, content).expect("a file");
        std::fs::rename(next, folder.join(name)).expect("a file");
    }
}

#[test]
fn t15_e1_certificates_of_25_seconds() {
    let world = World::control_plane();
    let pki = PathBuf::from(std::env::var("SCIURO_CLUSTER_DIR").expect("a control plane")).join("pki");
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).expect("a file of the control plane's");
    let authority = Authority::of("kubectl-sciuro-cluster", &read("ca.crt"), &read("ca.key"));
    let folder = world.file("marker", "").parent().expect("a folder").to_owned();
    let renewal = Renewal::begin(authority, folder.clone());

    let server = world.server_url();
    let server = server.trim_end_matches('/');
    let ca = pki.join("ca.crt");
    let of =
        |name: &str, user: &str| world.file(name, &kubeconfig(server, ca.to_str().expect("UTF-8"), user));
    let by_files = of("by-files", "client-certificate: c.crt, client-key: c.key");
    let credential = folder.join("credential");
    let by_plugin = of(
        "by-plugin",
        &format!(
            "exec: {{command: cat, args: ['{}'], apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}}",
            credential.display()
        ),
    );

    let node = world.node("w1");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let address = format!("127.0.0.1:{port}");
    let mut command = world.sync_command(&["--loop", "--interval", "2s", "--metrics-addr", &address]);
    let mut looping = Running::start(command.env("KUBECONFIG", &by_plugin), str::to_owned);
    looping.says("leading");
    let mut command = world.command(&["status", "-w", "--no-headers", "--prefix", &world.prefix()]);
    let mut watch = Running::start(command.env("KUBECONFIG", &by_files), str::to_owned);
    let scene = Scene::new(&world);
    let before = scene.facts();
    let stable = format!("--stable-for={}s", for_so_long().as_secs());
    let mut command = scene.command(&["--yes", &stable]);
    let mut remediating = Running::start(command.env("KUBECONFIG", &by_plugin), str::to_owned);

    let began = Instant::now();
    let mut round = 0;
    while began.elapsed() < for_so_long() {
        // An alert comes, and is on the node and in the table before the next.
        round += 1;
        let alert = format!("Round{round}");
        world.alert(&[("alertname", &alert), ("node", &node)], "", true);
        eventually(&alert, || world.condition(&node, &alert).is_some());
        watch.prints(|line| line.contains(&alert));
        let health = get(&world, &format!("http://{address}/healthz")).expect("an answer");
        assert_eq!(health, (200, "ok\n".to_owned()));
        std::thread::sleep(Duration::from_secs(5));
    }
    let (_, remediated) = remediating.ends(0);
    scene.is_remediated(&before);
    let (_, looped) = looping.interrupt();
    let (_, watched) = watch.interrupt();
    drop(renewal);
    for said in [remediated, looped, watched] {
        let said = said.join("\n");
        assert!(!said.contains("Unauthorized") && !said.contains("credentials"), "{said}");
    }
}
