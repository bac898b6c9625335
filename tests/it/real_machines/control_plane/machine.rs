//! A machine that `tests/machines/up` has started, in the hands of one test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::remediate::ground::Ground;
use crate::support::{Boundary, CrashProxy, Moment, Run, World};

/// Machines that no test has. The first one is no test's: it takes the pods that have to go.
static FREE: Mutex<Option<BTreeSet<String>>> = Mutex::new(None);
static GIVEN_BACK: Condvar = Condvar::new();
const SPARE: &str = "m1";

pub struct Machine {
    pub name: String,
    address: String,
    boots_before: usize,
    /// What was done to it does not end with a reboot of its own.
    is_spoilt: bool,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: this test needs the machines of tests/machines, which `make test` starts")
    })
}

fn free() -> MutexGuard<'static, Option<BTreeSet<String>>> {
    let mut free = FREE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    free.get_or_insert_with(|| {
        let folders =
            std::fs::read_dir(Path::new(&variable("SCIURO_MACHINES_DIR")).join("machines")).unwrap();
        let names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != SPARE).collect()
    });
    free
}

/// Waits so long for something that machines and kubelets do in their own time.
#[track_caller]
pub fn within(seconds: u64, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Machine {
    /// Waits until one is free. It is on, and its node is Ready and nobody's.
    pub fn take(world: &World) -> Self {
        let mut free = free();
        let name = loop {
            match free.as_mut().and_then(BTreeSet::pop_first) {
                Some(name) => break name,
                None => free = GIVEN_BACK.wait(free).unwrap_or_else(std::sync::PoisonError::into_inner),
            }
        };
        drop(free);
        let folder = Path::new(&variable("SCIURO_MACHINES_DIR")).join("machines").join(&name);
        let address = std::fs::read_to_string(folder.join("address")).unwrap();
        let mut this = Self { name, address, boots_before: 0, is_spoilt: false };
        this.firmware("0.5");
        this.power("on");
        within(60, "a machine that is well", || this.is_ready(world));
        this.forget(world);
        this.boots_before = this.all_boots();
        this
    }

    /// Takes away what a run has left on the node that ended where a person has to look.
    fn forget(&self, world: &World) {
        let clean = json!({"spec": {"unschedulable": null}, "metadata": {"annotations": {"sciuro.dev/remediation": null}}});
        let node = format!("/api/v1/nodes/{}", self.name);
        world.request("PATCH", &node, "application/merge-patch+json", &clean);
        let condition =
            json!({"status": {"conditions": [{"type": "SciuroRemediation", "$patch": "delete"}]}});
        world.patch_status(&self.name, "application/strategic-merge-patch+json", &condition);
        let helpers = format!(
            "/api/v1/namespaces/kube-system/pods?labelSelector=sciuro.dev%2Fremediation&fieldSelector=spec.nodeName%3D{}",
            self.name
        );
        world.request("DELETE", &helpers, "application/json", &json!({"gracePeriodSeconds": 0}));
    }

    fn is_ready(&self, world: &World) -> bool {
        let node = world.get_node(&self.name);
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        conditions.iter().any(is_ready)
            && self
                .try_ssh("cat /proc/sys/kernel/random/boot_id")
                .is_ok_and(|id| node["status"]["nodeInfo"]["bootID"] == id.as_str())
    }

    /// The status of its node's Ready condition.
    pub fn ready(&self, world: &World) -> String {
        let node = world.get_node(&self.name);
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
        ready.map_or_else(String::new, |ready| ready["status"].as_str().unwrap().to_owned())
    }

    /// What runs a command on the machine.
    pub fn ssh_command(&self, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", &variable("SCIURO_SSH_CONFIG"), &self.address, "--", command]).stdin(Stdio::null());
        ssh
    }

    fn try_ssh(&self, command: &str) -> Result<String, String> {
        let output = self.ssh_command(command).output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
        } else {
            Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// What a command on the machine prints. Its sshd may start after its kubelet.
    #[track_caller]
    pub fn ssh(&self, command: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.try_ssh(command) {
                Ok(said) => return said,
                Err(why) if why.contains("ssh: connect to host") && Instant::now() < deadline => {}
                Err(why) => panic!("{why}"),
            }
        }
    }

    /// Where Prometheus finds what it measures of itself.
    pub fn node_exporter(&self) -> String {
        format!("{}:9100", self.address)
    }

    /// As the machine itself says it.
    pub fn boot_id(&self) -> String {
        self.ssh("cat /proc/sys/kernel/random/boot_id")
    }

    /// How often it has started since this test has it.
    pub fn boots(&self) -> usize {
        self.all_boots() - self.boots_before
    }

    fn all_boots(&self) -> usize {
        self.power("boots").trim().parse().unwrap()
    }

    /// `tests/machines/power`
    pub fn power(&self, what: &str) -> String {
        let mut power = Command::new(power_program());
        let output = power.arg(&self.name).args(what.split(' ')).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// How many seconds it is in its firmware at each start.
    pub fn firmware(&self, seconds: &str) {
        self.power(&format!("firmware {seconds}"));
    }

    /// The next test gets it as after a power cycle. All that tests change of it is below /run and ends with that.
    pub fn spoil(&mut self) {
        self.is_spoilt = true;
    }
}

pub fn power_program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines/power")
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.is_spoilt || std::thread::panicking() {
            let _best_effort = Command::new(power_program()).args([&self.name, "cycle"]).output();
        }
        if let Some(free) = free().as_mut() {
            free.insert(self.name.clone());
        }
        GIVEN_BACK.notify_one();
    }
}

/// A machine with pods on it, and the spare one beside it.
pub struct Yard<'w> {
    pub ground: Ground<'w>,
    pub machine: Machine,
}

impl<'w> Yard<'w> {
    pub fn new(world: &'w World) -> Self {
        let machine = Machine::take(world);
        let ground = Ground::new(world, machine.name.clone(), SPARE.to_owned());
        ground.opens(&ground.node);
        Self { ground, machine }
    }

    /// With a Deployment and its budget, a `StatefulSet`, a `DaemonSet`, a pod with an emptyDir, one with a folder of the machine, a
    /// bare pod, and one that ignores SIGTERM.
    pub fn with_everything(world: &'w World) -> Self {
        let this = Self::new(world);
        let ground = &this.ground;
        ground.workload("deployments", "Deployment", "web", 2, &json!({}));
        ground.workload("statefulsets", "StatefulSet", "db", 1, &json!({}));
        let scratch = json!({"volumes": [{"name": "scratch", "emptyDir": {}}]});
        ground.workload("deployments", "Deployment", "cache", 1, &scratch);
        let folder =
            json!({"name": "disk", "hostPath": {"path": "/var/lib/disk", "type": "DirectoryOrCreate"}});
        ground.workload("deployments", "Deployment", "disk", 1, &json!({"volumes": [folder]}));
        ground.workload("daemonsets", "DaemonSet", "agent", 0, &json!({}));
        ground.workload("deployments", "Deployment", "deaf", 1, &deaf(3));
        ground.bare_pod("shell");
        ground.until_running(8);
        ground.budget("web", &json!({"maxUnavailable": 1}));
        this.open_spare();
        this
    }

    /// From now on pods may go to the spare machine.
    pub fn open_spare(&self) {
        self.ground.opens(SPARE);
    }

    /// A pod that only goes when its budget does.
    pub fn stubborn_pod(&self) {
        self.ground.bare_pod("stubborn");
        // One more that starts nowhere: with it the budget is exhausted, and not one that never allows anything.
        let waits = json!({"metadata": {"name": "waits", "labels": {"app": "stubborn"}}, "spec": {
            "nodeSelector": {"no-such-label": "here"}, "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
        self.ground.world.create(&format!("/api/v1/namespaces/{}/pods", self.ground.namespace), &waits);
        self.ground.until_running(1);
        self.ground.budget("stubborn", &json!({"minAvailable": 1}));
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut flags = vec!["--yes", "--force", "--delete-emptydir-data"];
        if !more.iter().any(|flag| flag.starts_with("--reboot-timeout")) {
            flags.push("--reboot-timeout=4m");
        }
        flags.extend(more);
        self.ground.command(&flags)
    }

    pub fn begin(&self, more: &[&str]) -> Begun {
        let mut command = self.command(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Begun(Some(command.spawn().unwrap()))
    }

    /// A run that is killed at one of its changes. A Lease whose holder was killed holds for a few seconds.
    #[track_caller]
    pub fn killed_at(&self, proxy: &CrashProxy, moment: Moment, boundary: &Boundary, more: &[&str]) {
        self.is_killed(proxy, &format!("{moment:?} {boundary}"), more, |child| {
            proxy.run(child, Some((boundary.clone(), moment)))
        });
    }

    /// As [`Self::killed_at`]: before the change the machine has run a command.
    #[track_caller]
    pub fn killed_after(&self, first: &str, boundary: &Boundary) {
        let proxy = CrashProxy::start(self.ground.world);
        self.is_killed(&proxy, &boundary.to_string(), &[], |child| {
            proxy.run_after(self.machine.ssh_command(first), child, (boundary.clone(), Moment::After))
        });
    }

    #[track_caller]
    fn is_killed(
        &self,
        proxy: &CrashProxy,
        what: &str,
        more: &[&str],
        run: impl FnOnce(Child) -> (bool, Option<i32>),
    ) {
        let server = format!("--server={}", proxy.url());
        let mut command = self.command(&[&[server.as_str(), "--lease-duration=3s"], more].concat());
        let log = self.ground.world.file("killed.log", "");
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let (killed, code) = run(command.spawn().unwrap());
        assert!(killed, "{what}: {code:?} {}", std::fs::read_to_string(log).unwrap());
    }

    pub fn remediate(&self, more: &[&str]) -> Run {
        self.begin(more).end()
    }

    /// By the machine's own word it has started once more, the API server knows that boot, and all is as before.
    #[track_caller]
    pub fn is_remediated(&self) {
        assert_eq!(self.machine.boots(), 1);
        let boots = self.machine.ssh("journalctl --list-boots --no-pager --quiet | tail -n 1");
        let boot_id = self.machine.boot_id();
        assert!(boots.contains(&boot_id.replace('-', "")), "{boots}: no {boot_id}");
        self.ground.is_remediated_by(&boot_id);
    }
}

/// A pod's specification: it ends when it is killed, so many seconds after it was asked to.
pub fn deaf(seconds: u32) -> Value {
    json!({"terminationGracePeriodSeconds": seconds, "containers": [{"name": "c", "image": "registry.example/c:1",
        "command": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]}]})
}

/// A run that goes on.
pub struct Begun(Option<std::process::Child>);

impl Begun {
    /// Waits for its end.
    pub fn end(mut self) -> Run {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        let run = Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        #[allow(clippy::print_stdout)] // a transcript, with --nocapture
        {
            println!("{}", run.stderr);
        }
        run
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}
