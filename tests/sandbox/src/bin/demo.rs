//! `make demo`: the real binary against the doubles, over HTTP, in front of somebody who has no cluster at hand.

#![allow(clippy::print_stdout, clippy::expect_used)] // a script for people: what fails here should fail loudly

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sandbox::{Alertmanager, ApiServer, Kubelet, KubeletOptions, Machines};
use serde_json::{Value, json};

const RECEIVER: &str = "node-condition-k8s";

struct Demo {
    binary: PathBuf,
    kubeconfig: PathBuf,
    api: ApiServer,
    alertmanager: Alertmanager,
    machines: Machines,
}

#[tokio::main]
async fn main() {
    let directory = std::env::temp_dir().join(format!("kubectl-sciuro-demo-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let api = ApiServer::start().await;
    let alertmanager = Alertmanager::start().await;
    let kubeconfig = directory.join("kubeconfig");
    api.write_kubeconfig(&kubeconfig).expect("a kubeconfig");
    alertmanager.set_started(Timestamp::now() - SignedDuration::from_hours(1));
    // A kubelet renews its Lease every 10 s; nobody wants to watch that for long.
    let options = KubeletOptions { lease_period: Some(Duration::from_secs(1)), ..KubeletOptions::count(12) };
    let kubelets = Kubelet::start(api.config(), options).await.expect("kubelets");
    let machines = kubelets.machines();
    let binary = std::env::current_exe().expect("a path").with_file_name("kubectl-sciuro");
    let demo = Demo { binary, kubeconfig, api, alertmanager, machines };

    tokio::task::spawn_blocking(move || demo.run()).await.expect("the demo");
    kubelets.stop().await;
    std::fs::remove_dir_all(directory).expect("the directory is removed");
}

impl Demo {
    fn run(&self) {
        say("A sandbox with 12 nodes and an Alertmanager is up, on 127.0.0.1. Three alerts fire.");
        self.fire(
            "CalicoTooManyInterfacesEarly",
            "worker1a",
            "6",
            "Kubernetes node worker1a has too many Calico interfaces",
        );
        self.fire("DiskFailing", "worker3b", "1", "sda reallocated sectors 812");
        self.fire(
            "WorkerUptimeTooHigh",
            "worker5a",
            "9",
            "Kubernetes node worker5a has been up for more than 7 days",
        );
        say("What would a round change?");
        self.sync(&["--dry-run=client"], 0);
        say("It is written as conditions of the nodes, and status shows them, most urgent first:");
        self.sync(&[], 0);
        self.show();

        say("The disk gets worse, one alert ends, and another node is in trouble.");
        self.alertmanager.resolve(&[("alertname", "DiskFailing")]);
        self.fire("DiskFailing", "worker3b", "0", "sda has failed");
        self.alertmanager.resolve(&[("alertname", "CalicoTooManyInterfacesEarly")]);
        self.fire("KernelHung", "worker6b", "2", "tasks hang for 120 s");
        self.sync(&[], 0);
        self.show();

        say("Nothing has changed, so nothing is written:");
        let before = self.api.writes_by("kubectl-sciuro/").len();
        self.sync(&["--no-lease"], 0);
        let written = self.api.writes_by("kubectl-sciuro/").len() - before;
        println!("({written} requests that change something reached the API server)");
        assert_eq!(written, 0, "a round with nothing to change writes nothing");

        say(
            "The Alertmanager restarts and has forgotten its alerts. An empty list is no proof: nothing is cleared.",
        );
        self.alertmanager.clear();
        self.alertmanager.set_started(Timestamp::now());
        self.sync(&[], 0);

        say("A receiver that is mistyped would look the same. It is refused:");
        self.sync(&["--receiver", "node-condition-k8"], 11);

        say("Five minutes later the silence of the Alertmanager is believed.");
        self.alertmanager.set_started(Timestamp::now() - SignedDuration::from_mins(6));
        self.sync(&[], 0);
        say("Conditions that are no longer True go after --linger, 96 hours unless you say otherwise.");
        std::thread::sleep(std::time::Duration::from_secs(2)); // for one second is the least that a linger can be
        self.sync(&["--linger", "1s"], 0);
        self.show();
        self.remediate();
        say("That was the main job. The doubles are gone now, and nothing is left behind.");
    }

    /// A node with pods on it is rebooted. `sync --loop` runs beside it, as it would in a cluster: the machine is back
    /// as it should be when what it was rebooted for is over.
    fn remediate(&self) {
        let node = "worker1a";
        say(
            "A node is to be rebooted: it has too many interfaces. On it runs a pod that a disruption budget guards.",
        );
        self.api.store().put(deployment());
        self.api.store().put(budget());
        self.fire(
            "CalicoTooManyInterfacesEarly",
            node,
            "6",
            "Kubernetes node worker1a has too many Calico interfaces",
        );
        self.sync(&[], 0);
        say("What would be done? (Without --dry-run this plan is shown and asked about.)");
        self.sciuro("remediate", &[node, "--dry-run=server"], 0);

        say("A pod on the node reboots its machine; a new boot ID proves it. Sync runs in a loop meanwhile.");
        let mut sync = self
            .command("sync")
            .args(["--loop", "--interval=2s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // A machine that has just booted has few interfaces.
                while !done.load(Ordering::Relaxed) && self.reboots(node) == 0 {
                    std::thread::sleep(Duration::from_millis(50));
                }
                self.alertmanager.resolve(&[("alertname", "CalicoTooManyInterfacesEarly")]);
            });
            let bundles = self.kubeconfig.with_file_name("bundles").display().to_string();
            self.sciuro("remediate", &[node, "--yes", "--stable-for=3s", "--output-dir", &bundles], 0);
            done.store(true, Ordering::Relaxed);
        });
        if let Ok(sync) = &mut sync {
            let _ended_already = sync.kill();
            let _its_code_says_nothing = sync.wait();
        }
        assert_eq!(self.reboots(node), 1, "the machine has rebooted once");
        self.show();
    }

    fn reboots(&self, node: &str) -> u32 {
        self.machines.facts(node).expect("a machine").reboots
    }

    fn fire(&self, alertname: &str, node: &str, priority: &str, summary: &str) {
        let labels = [("alertname", alertname), ("node", node), ("priority", priority), ("notify", RECEIVER)];
        self.alertmanager.fire(&labels, &[("summary", summary)]);
    }

    fn sync(&self, more: &[&str], expected: i32) {
        self.sciuro("sync", more, expected);
    }

    fn show(&self) {
        println!();
        self.sciuro("status", &[], 0);
    }

    /// Runs the binary as a user would and shows what it prints.
    fn sciuro(&self, command: &str, more: &[&str], expected: i32) {
        let shown = if more.is_empty() { String::new() } else { format!(" {}", more.join(" ")) };
        println!("$ kubectl sciuro {command}{shown}");
        let status = self
            .command(command)
            .args(more)
            .status()
            .expect("the binary, which `make demo` builds beside this one");
        assert_eq!(status.code(), Some(expected), "the demo shows what the tool does not do");
    }

    fn command(&self, command: &str) -> Command {
        let mut process = Command::new(&self.binary);
        process
            .arg(command)
            .stdin(Stdio::null())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("SCIURO_ALERTMANAGER", self.alertmanager.url())
            .env("SCIURO_RECEIVER", RECEIVER)
            .env("SCIURO_CONFIG", empty_file(&self.kubeconfig));
        process
    }
}

/// One pod for each node, by the scheduler's choice.
fn deployment() -> Value {
    let labels = json!({"app": "web"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 12,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [{"name": "web", "image": "web"}]},
            },
        },
    })
}

fn budget() -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    })
}

/// A configuration of the user's own must not change what is shown.
fn empty_file(beside: &Path) -> PathBuf {
    let path = beside.with_file_name("config.yaml");
    std::fs::write(&path, "").expect("a file");
    path
}

fn say(text: &str) {
    println!("\n# {text}");
}
