//! The test doubles as a command: see `sandbox --help`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use sandbox::{
    Alertmanager, ApiServer, Error, Kubelet, KubeletOptions, KubeletServer, MachineControl, Machines, Result,
};
use tokio::signal::unix::{SignalKind, signal};

/// Test doubles of kubectl-sciuro: what it meets in a cluster, on this machine
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an API server, an Alertmanager and N machines until SIGTERM or SIGINT, and print how to reach them
    Serve(ServeArgs),
    /// Play the kubelets of N machines against an API server, until SIGTERM or SIGINT. The Nodes stay
    Kubelet(KubeletArgs),
}

#[derive(Args)]
struct ServeArgs {
    /// Where the kubeconfig is written
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir().join("kubectl-sciuro-sandbox"))]
    dir: PathBuf,
    #[command(flatten)]
    machines: MachineArgs,
}

#[derive(Args)]
struct KubeletArgs {
    /// The API server and who to be there
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Created when all machines are registered and Ready, with the URL under which they are rebooted and switched off in it
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Serve logs of pods, a MiB each, to who has a client certificate of this authority
    #[arg(long, value_name = "FILE")]
    logs_for: Option<PathBuf>,
    #[command(flatten)]
    machines: MachineArgs,
}

#[derive(Args)]
struct MachineArgs {
    /// How many machines, named worker1a, worker1b, worker2a, …
    #[arg(long, value_name = "N", default_value_t = 12)]
    nodes: usize,
    /// Machines of these names instead
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    names: Vec<String>,
    /// Images on each machine; 50 make a Node of 13 kB
    #[arg(long, value_name = "N", default_value_t = 50)]
    images: usize,
    /// The kubelets also own images and resources in managedFields, not only leaves of their conditions
    #[arg(long)]
    owns_images: bool,
    /// `spec.providerID` of each Node is this and its name
    #[arg(long, value_name = "PREFIX")]
    provider_id: Option<String>,
    /// How often each Lease is renewed; by default 10 s, and up to 25 s from 2,000 machines on
    #[arg(long, value_name = "SECONDS")]
    lease_period: Option<u64>,
    /// A machine whose Node was deleted registers again
    #[arg(long)]
    register_again: bool,
}

impl MachineArgs {
    fn options(self) -> KubeletOptions {
        let options = if self.names.is_empty() {
            KubeletOptions::count(self.nodes)
        } else {
            KubeletOptions::names(self.names)
        };
        KubeletOptions {
            images: self.images,
            owns_images: self.owns_images,
            provider_id: self.provider_id,
            lease_period: self.lease_period.map(Duration::from_secs),
            register_again: self.register_again,
            ..options
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve(args).await,
        Command::Kubelet(args) => kubelet(args).await,
    };
    if let Err(error) = done {
        #[expect(clippy::print_stderr, reason = "this is where a command tells")]
        {
            eprintln!("error: {error}");
        }
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn serve(args: ServeArgs) -> Result<()> {
    let told_to_stop = told_to_stop()?;
    let (api, alertmanager) = (ApiServer::start().await, Alertmanager::start().await);
    api.record(false);
    alertmanager.record(false);
    let kubelet = Kubelet::start(api.config(), args.machines.options()).await?;

    let file = args.dir.join("kubeconfig");
    let written = std::fs::create_dir_all(&args.dir).and_then(|()| api.write_kubeconfig(&file));
    written.map_err(|error| Error::new(format!("cannot write {}: {error}", file.display())))?;
    let line = format!(
        "export KUBECONFIG={} ALERTMANAGER_URL={}\n",
        quoted(&file.to_string_lossy()),
        alertmanager.url()
    );
    let mut stdout = std::io::stdout();
    // Who closed our output does not want to know; the sandbox runs on.
    _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());

    told_to_stop.await;
    kubelet.stop().await;
    Ok(())
}

/// As a word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

async fn kubelet(args: KubeletArgs) -> Result<()> {
    let told_to_stop = told_to_stop()?;
    let config = Kubelet::config(&args.kubeconfig).await?;
    tokio::pin!(told_to_stop);
    let kubelet = tokio::select! {
        kubelet = Kubelet::start(config, args.machines.options()) => kubelet?,
        () = &mut told_to_stop => return Ok(()),
    };
    let control = MachineControl::start(&kubelet.machines());
    let _servers = args.logs_for.map(|file| serve_logs(&kubelet.machines(), &file)).transpose()?;
    if let Some(file) = args.ready_file {
        std::fs::write(&file, control.url())
            .map_err(|error| Error::new(format!("cannot write {}: {error}", file.display())))?;
    }
    told_to_stop.await;
    kubelet.stop().await;
    Ok(())
}

fn serve_logs(machines: &Machines, clients: &Path) -> Result<Vec<KubeletServer>> {
    const LINE: &str = "2026-11-23T00:00:00.000000000Z GET /cart?user=4711 200 17ms upstream=10.244.1.17:8080 trace=0a1b2c3d";
    let clients = std::fs::read_to_string(clients)
        .map_err(|error| Error::new(format!("cannot read {}: {error}", clients.display())))?;
    let servers = machines.names().map(|name| {
        let server = KubeletServer::start(name, &clients);
        server.logs_of(machines);
        // Not those of helpers, which say what they are asked.
        server.faults().on("GET", "/containerLogs/bench/*").lines(LINE, 1);
        server
    });
    Ok(servers.collect())
}

/// Ready when SIGTERM or SIGINT has come. The signals are caught from the call on.
fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let catch = |kind| signal(kind).map_err(|error| Error::new(format!("cannot catch signals: {error}")));
    let (mut terminate, mut interrupt) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
