//! The life of one pod.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

use super::status::{self, Ended};
use super::{Pod, STOPS_AFTER, helper};
use crate::kubelet::machine::{Machine, Power};

/// How long what failed waits for another try.
const AGAIN: Duration = Duration::from_millis(200);

/// From its binding to its end, or until aborted. When the machine goes down, whatever went on there is over.
pub(super) async fn run(machine: Arc<Machine>, seen: Receiver<Pod>) {
    let mut life = Life { ran_in: None, machine: Arc::clone(&machine), seen };
    let (mut power, mut shutdown) = (machine.power(), machine.power());
    loop {
        let Ok(boot) = power.wait_for(|power| power.on).await.map(|power| power.boots) else { return };
        let is_over = |power: &Power| !power.on || power.boots != boot;
        tokio::select! {
            () = life.go_on(boot) => return,
            () = until(&mut shutdown, |power| is_over(power) || power.shuts_down) => {}
        }
        if !is_over(&shutdown.borrow().clone()) {
            tokio::select! {
                () = life.terminate() => {}
                () = until(&mut power, is_over) => {}
            }
        }
        until(&mut power, is_over).await;
    }
}

/// Until the machine is so; never if there is none any more.
async fn until(power: &mut Receiver<Power>, so: impl FnMut(&Power) -> bool) {
    if power.wait_for(so).await.is_err() {
        std::future::pending::<()>().await;
    }
}

pub(super) struct Life {
    /// Of which boot its containers are.
    ran_in: Option<u32>,
    pub(super) machine: Arc<Machine>,
    seen: Receiver<Pod>,
}

impl Life {
    pub(super) fn pod(&mut self) -> Pod {
        self.seen.borrow_and_update().clone()
    }

    async fn go_on(&mut self, boot: u32) {
        let pod = self.pod();
        let before = self.ran_in.replace(boot);
        match pod.phase() {
            _ if pod.is_ending() => {
                // After a reboot there is nothing left to be waited for.
                return self.end(before.is_none_or(|before| before == boot)).await;
            }
            "Succeeded" | "Failed" => {}
            "Running" if before.is_none_or(|before| before == boot) => {}
            "Running" => self.after_reboot(&pod).await,
            _ if helper::is_helper(&pod) => {
                tokio::select! {
                    () = helper::run(self.machine.clone(), pod) => {}
                    () = ending(self.seen.clone()) => {}
                }
            }
            _ => {
                sleep(self.machine.options().pod_start).await;
                self.write(&status::running(&pod, None)).await;
            }
        }
        ending(self.seen.clone()).await;
        self.end(true).await;
    }

    /// Its kubelet shuts down gracefully (`pkg/kubelet/nodeshutdown`, `nodeshutdown_manager.go`).
    async fn terminate(&mut self) {
        let pod = self.pod();
        if pod.is_mirror() || matches!(pod.phase(), "Succeeded" | "Failed") {
            return;
        }
        let mut patch = status::ended(&pod, "Failed", &Ended::of_code(143));
        patch["status"]["reason"] = "Terminated".into();
        patch["status"]["message"] = "Pod was terminated in response to imminent node shutdown.".into();
        self.write(&patch).await;
    }

    /// For a moment the pod still shows what it was; then its containers have ended, then they run again.
    async fn after_reboot(&mut self, pod: &Pod) {
        sleep(self.machine.options().pod_start).await;
        let lost = Ended { code: 255, reason: "Unknown", message: "" };
        if pod.text("/spec/restartPolicy") == "Never" {
            self.write(&status::ended(pod, "Failed", &lost)).await;
            return;
        }
        self.write(&status::ended(pod, "Running", &lost)).await;
        sleep(self.machine.options().pod_start).await;
        self.write(&status::running(pod, Some(&lost))).await;
    }

    /// It is told to end, has its grace for it, and then it is taken out of the API.
    async fn end(&mut self, runs: bool) {
        let told = Instant::now();
        let mut pod = self.pod();
        if runs && !pod.is_mirror() {
            let needs = pod.annotation(STOPS_AFTER).and_then(|needs| needs.parse().ok()).unwrap_or(0);
            let needs = Duration::from_millis(needs);
            let killed = loop {
                // A later deletion may have shortened it.
                let grace = pod.0["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
                let grace = Duration::from_secs(grace);
                tokio::select! {
                    () = sleep_until(told + grace.min(needs)) => break grace < needs,
                    changed = self.seen.changed() => if changed.is_err() { return },
                }
                pod = self.pod();
            };
            if !matches!(pod.phase(), "Succeeded" | "Failed") {
                let (phase, code) = if killed { ("Failed", 137) } else { ("Succeeded", 0) };
                self.write(&status::ended(&pod, phase, &Ended::of_code(code))).await;
            }
        }
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": {"uid": pod.uid()}});
        send(&self.machine, Method::DELETE, &pod.path(), &options).await;
    }

    async fn write(&self, patch: &Value) {
        let path = format!("{}/status", self.seen.borrow().path());
        send(&self.machine, Method::PATCH, &path, patch).await;
    }
}

/// Until the pod is told to end.
async fn ending(mut seen: Receiver<Pod>) {
    if seen.wait_for(Pod::is_ending).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Until the server has taken it or said that there is no such pod any more.
pub(super) async fn send(machine: &Machine, method: Method, path: &str, body: &Value) {
    loop {
        match machine.send(method.clone(), path, body).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => return,
            Err(_) => sleep(AGAIN).await,
        }
    }
}
