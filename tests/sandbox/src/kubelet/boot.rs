//! Power, boots and clocks of a machine.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::machine::{Machine, State};
use super::object;
use crate::http::lock;
use crate::random::uuid;
use crate::time;

/// How long what failed waits for another try.
const AGAIN: Duration = Duration::from_millis(200);

/// How a machine comes back when it reboots. By default as a real one whose reboot is short: Ready never leaves True, and
/// only the boot id and an Event tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Boot {
    /// Before that its kubelet takes so long to end all pods, says so on its way, and they are Failed; zero: it goes down with
    /// the rest, as without `shutdownGracePeriod`.
    pub shutdown: Duration,
    /// For so long it is silent.
    pub silence: Duration,
    /// Then for so long it says that it is not Ready; zero: at no time.
    pub not_ready: Duration,
    /// So long after the boot its Lease is renewed for the first time, later than Ready.
    pub lease_after: Duration,
    /// It does not come back, until it is powered on.
    pub never_back: bool,
    /// So often it then is Ready for a while and not Ready for a while.
    pub flaps: u32,
    /// How long such a while is, and after which while it reboots `again`.
    pub pace: Duration,
    /// So often it reboots once more by itself.
    pub again: u32,
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            shutdown: Duration::ZERO,
            silence: Duration::from_millis(200),
            not_ready: Duration::ZERO,
            lease_after: Duration::ZERO,
            never_back: false,
            flaps: 0,
            pace: Duration::from_secs(1),
            again: 0,
        }
    }
}

/// What there is to know of a machine without asking the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub boot_id: String,
    pub uptime: Duration,
    /// How often it went down to come up again, by an order or by itself.
    pub reboots: u32,
    /// How many orders to reboot its guard has let through.
    pub orders: u32,
    pub powered: bool,
}

/// The clock of one boot.
pub(super) struct Clock {
    pub(super) boot_id: String,
    up_since: Instant,
    /// What the uptime is more than that.
    ahead: Duration,
    reboots: u32,
    orders: u32,
}

impl Default for Clock {
    /// Up for ten days.
    fn default() -> Self {
        let ahead = Duration::from_secs(10 * 86_400);
        Self { boot_id: uuid(), up_since: Instant::now(), ahead, reboots: 0, orders: 0 }
    }
}

impl Machine {
    pub(super) fn facts(&self) -> Facts {
        let powered = self.power.borrow().on;
        let clock = lock(&self.clock);
        let uptime = clock.up_since.elapsed() + clock.ahead;
        Facts {
            boot_id: clock.boot_id.clone(),
            uptime,
            reboots: clock.reboots,
            orders: clock.orders,
            powered,
        }
    }

    /// So much time passes on the machine.
    pub(super) fn advance(&self, by: Duration) {
        lock(&self.clock).ahead += by;
    }

    /// What the guard of an order to reboot says, and with which exit code: only this boot, and not after this uptime.
    pub(super) fn guard(&self, boot_id: &str, not_after: &str) -> (i64, String) {
        let facts = self.facts();
        let uptime = facts.uptime.as_secs();
        if facts.boot_id != boot_id {
            (10, format!("other boot {}\n", facts.boot_id))
        } else if not_after.parse::<u64>().is_ok_and(|not_after| uptime <= not_after) {
            lock(&self.clock).orders += 1;
            (0, "issued\n".to_owned())
        } else {
            (11, format!("too late {uptime}\n"))
        }
    }

    /// Reboots after a while, whoever waits for it.
    pub(super) fn reboot_after(self: &Arc<Self>, delay: Duration) {
        let machine = Arc::clone(self);
        let reboot = async move {
            sleep(delay).await;
            machine.reboot().await;
        };
        lock(&self.tasks).spawn_on(reboot, &self.runtime);
    }

    /// Goes down and comes back as its [`Boot`] says.
    async fn reboot(&self) {
        let mut plan = lock(&self.boot).clone();
        loop {
            if !plan.shutdown.is_zero() {
                self.shut_down(plan.shutdown).await;
            }
            if !self.power_off() {
                return; // it was off already
            }
            lock(&self.clock).reboots += 1;
            if plan.never_back {
                return;
            }
            let before = self.power.borrow().boots;
            sleep(plan.silence).await;
            if self.power.borrow().boots != before {
                return; // somebody has pressed its button meanwhile
            }
            let boot = self.come_up(plan.not_ready).await;
            for _ in 0..plan.flaps {
                for ready in [false, true] {
                    sleep(plan.pace).await;
                    if self.is_in(boot) {
                        _ = self.set_ready(ready).await;
                    }
                }
            }
            if plan.again == 0 || !self.is_in(boot) {
                return;
            }
            plan.again -= 1;
            plan.flaps = 0;
            sleep(plan.pace).await;
        }
    }

    /// Its kubelet holds the shutdown until its pods have ended.
    async fn shut_down(&self, takes: Duration) {
        if !self.power.borrow().on {
            return;
        }
        self.power.send_modify(|power| power.shuts_down = true);
        {
            let mut state = self.state.lock().await;
            (state.health.ready, state.health.why) = (false, object::SHUTS_DOWN);
            state.health.since = self.now();
            _ = self.write_conditions(&mut state).await;
        }
        sleep(takes).await;
    }

    /// Pulls the plug. Whether it was on.
    pub(super) fn power_off(&self) -> bool {
        self.power.send_if_modified(|power| std::mem::take(&mut power.on))
    }

    /// Until nothing is being written any more, by a machine that is off.
    pub(super) async fn silence(&self) {
        drop(self.state.lock().await);
    }

    /// Boots, if it is off.
    pub(super) async fn power_on(&self) {
        if !self.power.borrow().on {
            let not_ready = lock(&self.boot).not_ready;
            self.come_up(not_ready).await;
        }
    }

    /// The same, whoever waits for it.
    pub(super) fn press_power(self: &Arc<Self>) {
        let machine = Arc::clone(self);
        lock(&self.tasks).spawn_on(async move { machine.power_on().await }, &self.runtime);
    }

    /// Whether it is on, and still in this boot.
    fn is_in(&self, boot: u32) -> bool {
        let power = self.power.borrow();
        power.on && power.boots == boot
    }

    /// Returns which boot it is.
    async fn come_up(&self, not_ready: Duration) -> u32 {
        // No machine boots within the second of its last heartbeat, and heartbeats have whole seconds.
        let into_second = u64::try_from(self.now().subsec_nanosecond()).unwrap_or(0);
        sleep(Duration::from_secs(1).saturating_sub(Duration::from_nanos(into_second))).await;
        let mut state = self.state.lock().await;
        let boot_id = uuid();
        {
            let mut clock = lock(&self.clock);
            clock.boot_id.clone_from(&boot_id);
            clock.up_since = Instant::now();
            clock.ahead = Duration::ZERO;
        }
        let ready = not_ready.is_zero();
        state.health.why = object::NO_RUNTIME;
        if state.health.ready != ready {
            state.health.ready = ready;
            state.health.since = self.now();
        }
        self.power.send_modify(|power| {
            power.on = true;
            power.shuts_down = false;
            power.boots += 1;
        });
        let boot = self.power.borrow().boots;
        while self.is_in(boot) && self.write_boot(&mut state, &boot_id).await.is_err() {
            sleep(AGAIN).await;
        }
        let lease_after = lock(&self.boot).lease_after;
        state.lease_from = Instant::now() + lease_after;
        drop(state);
        if self.is_in(boot) {
            self.tell_rebooted(&boot_id).await;
        }
        sleep(lease_after).await;
        while self.is_in(boot) && self.renew(&mut *self.state.lock().await).await.is_err() {
            sleep(AGAIN).await;
        }
        if !ready {
            sleep(not_ready).await;
            while self.is_in(boot) && self.set_ready(true).await.is_err() {
                sleep(AGAIN).await;
            }
        }
        boot
    }

    /// The new boot id and fresh conditions, in one patch as a kubelet writes them.
    async fn write_boot(&self, state: &mut State, boot_id: &str) -> kube::Result<()> {
        if state.uid.is_none() {
            return Ok(()); // a restarted kubelet would register; see `KubeletOptions::register_again`
        }
        let mut patch = object::conditions_patch(&state.health.conditions(self.now()));
        patch["status"]["nodeInfo"] = json!({"bootID": boot_id});
        match self.patch_status(state, &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            written => written,
        }
    }

    async fn tell_rebooted(&self, boot_id: &str) {
        let (now, name) = (time::now(), self.name());
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("{name}.{}", &uuid()[..18].replace('-', "")), "namespace": "default"},
            "involvedObject": {"kind": "Node", "name": name, "uid": name},
            "reason": "Rebooted", "message": format!("Node {name} has been rebooted, boot id: {boot_id}"),
            "type": "Warning", "source": {"component": "kubelet", "host": name},
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "reportingComponent": "kubelet", "reportingInstance": name,
        });
        // Best effort, as a kubelet's.
        _ = self.send(Method::POST, "/api/v1/namespaces/default/events", &event).await;
    }

    /// Reports another boot id than its own: none, or one that another machine has, as containers on one kernel do.
    pub(super) async fn claim_boot_id(&self, boot_id: &str) -> kube::Result<()> {
        boot_id.clone_into(&mut lock(&self.clock).boot_id);
        let mut state = self.state.lock().await;
        self.patch_status(&mut state, &json!({"status": {"nodeInfo": {"bootID": boot_id}}})).await
    }

    /// Writes an annotation of its own Node, as the admission `NodeRestriction` lets it.
    pub(super) async fn annotate(&self, key: &str, value: Option<&str>) -> kube::Result<()> {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.send(Method::PATCH, &format!("/api/v1/nodes/{}", self.name()), &patch).await.map(drop)
    }

    /// Runs a static pod: its mirror is created, and created again when somebody deletes it.
    pub(super) async fn run_static(&self, namespace: &str, name: &str) -> kube::Result<()> {
        let uid = self.state.lock().await.uid.clone();
        let name = format!("{name}-{}", self.name());
        let hash = uuid().replace('-', "");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": namespace,
                "annotations": {
                    "kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash,
                    "kubernetes.io/config.source": "file", "kubernetes.io/config.seen": time::now(),
                },
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": self.name(), "uid": uid,
                    "controller": true}],
            },
            "spec": {
                "nodeName": self.name(), "hostNetwork": true, "priorityClassName": "system-node-critical",
                "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
                "containers": [{"name": "static", "image": "registry.example/static:1"}],
            },
        });
        let collection = format!("/api/v1/namespaces/{namespace}/pods");
        lock(&self.manifests).insert(name, pod.clone());
        self.send(Method::POST, &collection, &pod).await.map(drop)
    }

    /// Its mirror pod of this name was deleted.
    pub(super) async fn mirror(&self, name: &str) {
        let Some(pod) = lock(&self.manifests).get(name).cloned() else { return };
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        while self.send(Method::POST, &path, &pod).await.is_err_and(|error| !is_final(&error)) {
            sleep(AGAIN).await;
        }
    }
}

/// Whether another try could not help.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
}
