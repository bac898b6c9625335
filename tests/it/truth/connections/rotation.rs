//! Credentials that end, are replaced or fail while a command goes on.

mod control_plane;

use std::net::TcpListener;
use std::time::Duration;

use ::sandbox::{Authority, Identity};

use crate::metrics::get;
use crate::remediate::scene::Scene;
use crate::support::{Behind, Running, World, kubeconfig};
use crate::watch::eventually;

/// A plugin that counts its runs in a file and gives `token-1`, then `token-2`; while there is a file `broken` it fails, while there is one
/// `slow` it takes as long as a person does.
fn counting_plugin(world: &World) -> String {
    let script = world.file(
        "plugin",
        "cd \"$(dirname \"$0\")\" && echo run >>runs && [ ! -e broken ] || { echo the ticket has run out >&2; exit 4; }\n\
         [ ! -e slow ] || sleep 4\n\
         echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\
         \"status\":{\"token\":\"token-'$(wc -l <runs)'\"}}'\n",
    );
    let script = script.display();
    format!(
        "exec: {{command: sh, args: ['{script}'], apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}}"
    )
}

fn runs(world: &World) -> usize {
    let runs = world.kubeconfig().with_file_name("runs");
    std::fs::read_to_string(runs).unwrap_or_default().lines().count()
}

/// The tokens that were shown, each once, in their order.
fn tokens(world: &World) -> Vec<String> {
    let requests = world.api().requests_by("kubectl-sciuro/");
    let mut tokens: Vec<_> =
        requests.iter().map(|request| request.header("authorization").to_owned()).collect();
    tokens.dedup();
    tokens
}

#[test]
fn t15_e3_a_plugin_runs_once() {
    let world = World::sandbox();
    let node = world.node("w1");
    let behind = Behind::tls(&world, None);
    let file = behind.kubeconfig(&counting_plugin(&world));
    for (times, command) in [
        &["version"][..],
        &["status"],
        &["check", "--alertmanager", world.alertmanager_url(), "--receiver", "node-condition-k8s"],
        &["remediate", &node, "--dry-run"],
    ]
    .iter()
    .enumerate()
    {
        world.run_with(command, |run| {
            run.env("KUBECONFIG", &file);
        });
        assert_eq!(runs(&world), times + 1, "{command:?}");
    }
    assert_eq!(tokens(&world), ["Bearer token-1", "Bearer token-2", "Bearer token-3", "Bearer token-4"]);
}

/// A renewal of the Lease waits for 2.5 s, and somebody may have to find their phone.
#[test]
fn t15_e3_a_plugin_that_takes_its_time_is_not_cut_off() {
    let world = World::sandbox();
    world.node("w1");
    let behind = Behind::tls(&world, None);
    let plugin = counting_plugin(&world);
    let file = behind.kubeconfig(&plugin);
    let mut command = world.sync_command(&["--loop", "--interval", "1s"]);
    let mut looping = Running::start(command.env("KUBECONFIG", &file), str::to_owned);
    looping.says("leading");
    world.file("slow", "");
    let refuses = world.api().faults().on("PUT", &world.lease_path()).times(1).status(401);
    eventually("a renewal that is refused", || refuses.hits() == 1);
    eventually("requests with the next token", || {
        tokens(&world).last().is_some_and(|last| last == "Bearer token-2")
    });
    assert_eq!(runs(&world), 2, "it ran to its end at once");
    let _output = looping.interrupt();
}

#[test]
fn t15_e1_what_the_server_refuses_is_renewed_once() {
    let world = World::sandbox();
    world.node("w1");
    let behind = Behind::tls(&world, None);
    let file = behind.kubeconfig(&counting_plugin(&world));
    let status = || {
        world.run_with(&["status", "--selector", "a!=b"], |run| {
            run.env("KUBECONFIG", &file);
        })
    };
    // No list of the kubelets'.
    let lists = world.api().faults().on("GET", "/api/v1/nodes").query("labelSelector");
    let refuses = lists.times(1).status(401);
    status().exits(0);
    assert_eq!((runs(&world), refuses.hits()), (2, 1));
    let refuses = world.api().faults().on("*", "/*").status(401);
    status().exits(1).says("error: You must be logged in to the server");
    assert_eq!(runs(&world), 4, "once, and once more");
    refuses.stop();
}

#[test]
fn t15_e1_files_that_are_replaced_are_read_again() {
    let world = World::sandbox();
    world.node("w1");
    let behind = Behind::tls(&world, None);
    let token = world.file("token", "first\n");
    let file = behind.kubeconfig("tokenFile: token");
    let mut command = world.sync_command(&["--loop", "--interval", "1s"]);
    let mut looping = Running::start(command.env("KUBECONFIG", &file), str::to_owned);
    looping.says("leading");
    // As the kubelet replaces them.
    let next = world.file("next", "second\n");
    std::fs::rename(next, &token).expect("a file");
    eventually("requests with the other token", || {
        tokens(&world).last().is_some_and(|last| last == "Bearer second")
    });
    std::fs::remove_file(&token).expect("a file");
    world.api().forget_requests();
    eventually("requests without the file", || !tokens(&world).is_empty());
    assert_eq!(tokens(&world), ["Bearer second"]);
    let (_, stderr) = looping.interrupt();
    assert!(!stderr.concat().contains("Unauthorized"), "{stderr:#?}");
}

/// The certificates of `identity`, where the kubeconfig says.
fn write_identity(world: &World, identity: &Identity) {
    world.file("c.crt", &identity.certificate);
    world.file("c.key", &identity.key);
}

#[test]
fn t15_e1_a_watch_outlives_its_certificate() {
    const LIFE: Duration = Duration::from_secs(8);
    let world = World::sandbox();
    let node = world.node("w1");
    let clients = Authority::new("clients");
    let behind = Behind::tls(&world, Some(&clients));
    write_identity(&world, &clients.client("me", "us", LIFE));
    let file = behind.kubeconfig("client-certificate: c.crt, client-key: c.key");
    let mut command = world.command(&["status", "-w", "--no-headers", "--prefix", &world.prefix()]);
    let mut watch = Running::start(command.env("KUBECONFIG", &file), str::to_owned);
    world.api().bookmark_every(Duration::from_secs(1));
    for round in 0..4 {
        // A connection that is made from now on needs the one that is there then.
        write_identity(&world, &clients.client("me", "us", LIFE));
        world.api().drop_watches();
        world.seed(&node, "X", "True", &format!("[P1] round {round}"), jiff::SignedDuration::from_mins(1));
        watch.prints(|line| line.contains(&format!("round {round}")));
        std::thread::sleep(LIFE / 2);
    }
    let lists = world
        .api()
        .requests_by("kubectl-sciuro/")
        .into_iter()
        .filter(|request| request.path == "/api/v1/nodes" && request.parameter("watch").is_none());
    assert_eq!(lists.count(), 1, "it goes on where it was");
    let (_, stderr) = watch.interrupt();
    assert!(!stderr.concat().contains("no news"), "{stderr:#?}");
}

/// What a file names by now is no reason to go on elsewhere.
#[test]
fn t15_e1_the_server_stays_the_same() {
    let world = World::sandbox();
    world.node("w1");
    let behind = Behind::tls(&world, None);
    let file = behind.kubeconfig("token: first");
    let mut command = world.sync_command(&["--loop", "--interval", "1s"]);
    let mut looping = Running::start(command.env("KUBECONFIG", &file), str::to_owned);
    looping.says("leading");
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("a socket");
    let address = format!("https://{}", elsewhere.local_addr().expect("an address"));
    std::fs::write(&file, kubeconfig(&address, "ca.crt", "token: elsewhere")).expect("a file");
    let seen = world.api().requests().len();
    eventually("further requests", || world.api().requests().len() > seen + 5);
    let here = kubeconfig(&behind.url(), "ca.crt", "token: second");
    // The current context may become another.
    std::fs::write(&file, here.replace("current-context: c", "current-context: x")).expect("a file");
    eventually("the token that is there now", || {
        tokens(&world).last().is_some_and(|last| last == "Bearer second")
    });
    assert_eq!(tokens(&world), ["Bearer first", "Bearer second"]);
    assert!(elsewhere.accept().is_err(), "nobody came");
    let _output = looping.interrupt();
}

/// A pipe is empty once it was read.
#[test]
fn t15_e1_a_kubeconfig_that_is_a_pipe_is_read_once() {
    let world = World::sandbox();
    world.node("w1");
    let behind = Behind::tls(&world, None);
    let file = behind.kubeconfig("token: first");
    // Its folder is not that of the pipe.
    let ca = file.with_file_name("ca.crt").display().to_string();
    let text = std::fs::read_to_string(&file).expect("a file").replace("ca.crt", &ca);
    std::fs::write(&file, text).expect("a file");
    let command = world.sync_command(&["--loop", "--interval", "1s"]);
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", "exec \"$@\" --kubeconfig <(cat \"$0\")"]).arg(&file);
    shell.arg(command.get_program()).args(command.get_args()).stdin(std::process::Stdio::null());
    shell.env_remove("KUBECONFIG");
    let mut looping = Running::start(&mut shell, str::to_owned);
    looping.says("leading");
    let seen = world.api().requests().len();
    eventually("further requests", || world.api().requests().len() > seen + 5);
    let _output = looping.interrupt();
}

#[test]
fn t15_e1_health_says_that_credentials_fail() {
    let world = World::sandbox();
    world.node("w1");
    let behind = Behind::tls(&world, None);
    let file = behind.kubeconfig(&counting_plugin(&world));
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let address = format!("127.0.0.1:{port}");
    let mut command = world.sync_command(&["--loop", "--interval", "1s", "--metrics-addr", &address]);
    let mut looping = Running::start(command.env("KUBECONFIG", &file), str::to_owned);
    looping.says("leading");
    let health = || get(&world, &format!("http://{address}/healthz")).expect("an answer");
    assert_eq!(health().0, 200);
    let broken = world.file("broken", "");
    let refuses = world.api().faults().on("*", "/*").status(401);
    world.api().drop_watches();
    eventually("a sign", || health().0 == 503);
    assert_eq!(health().1, "the API server does not accept our credentials; the log says why\n");
    looping.says("getting credentials: sh failed with exit code 4: the ticket has run out");
    std::fs::remove_file(broken).expect("a file");
    refuses.stop();
    eventually("the other sign", || health().0 == 200);
    let _output = looping.interrupt();
}

#[test]
fn t15_e1_a_verification_names_what_keeps_it() {
    let world = World::sandbox();
    let scene = Scene::new(&world);
    let before = scene.facts();
    let behind = Behind::tls(&world, None);
    let file = behind.kubeconfig(&counting_plugin(&world));
    let mut command = scene.command(&["--yes", "--stable-for=5s"]);
    let mut running = Running::start(command.env("KUBECONFIG", &file), str::to_owned);
    scene.until_state("Verifying");
    let broken = world.file("broken", "");
    let refuses = world.api().faults().on("*", "/*").status(401);
    world.api().drop_watches();
    running.says("the node is not visible: Unable to connect to the server https://");
    running.says("getting credentials: sh failed with exit code 4: the ticket has run out");
    std::fs::remove_file(broken).expect("a file");
    refuses.stop();
    running.ends(0);
    scene.is_remediated(&before);
}
