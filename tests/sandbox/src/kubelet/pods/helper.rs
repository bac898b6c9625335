//! Pods that look at their machine or reboot it. Their containers do not run, but what their scripts do is done here.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::life::send;
use super::status::{self, Ended};
use super::{Pod, collected};
use crate::kubelet::machine::Machine;
use crate::time;

/// What pods with this label do.
const LABEL: &str = "sciuro.dev/remediation";

/// How helper pods fare on a machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Helpers {
    Run,
    /// Their image cannot be had, and the container waits with this reason: `ImagePullBackOff`, `ErrImageNeverPull`.
    NoImage(String),
    /// The kubelet does not get to them.
    NeverStart,
    /// Those that reboot do not start; probes do.
    OnlyProbes,
    /// They start, but their containers never end.
    Hang,
    /// PID 1 of the machine is no systemd.
    NoSystemd,
    /// Before they start, so much time has passed on the machine.
    Late(Duration),
}

pub(super) fn is_helper(pod: &Pod) -> bool {
    let labels = &pod.0["metadata"]["labels"];
    labels[LABEL].is_string() && action(pod).is_some()
}

/// What its container is called, which is what it does.
fn action(pod: &Pod) -> Option<&str> {
    pod.containers()
        .filter_map(|container| container["name"].as_str())
        .find(|name| ["probe", "reboot", collected::CONTAINER].contains(name))
}

/// Until it has ended.
pub(super) async fn run(machine: Arc<Machine>, pod: Pod) {
    let write = async |patch: &Value| write(&machine, &pod, patch).await;
    let mut power = machine.power();
    // What holds it may end.
    loop {
        let helpers = power.borrow_and_update().helpers.clone();
        match &helpers {
            Helpers::Run | Helpers::NoSystemd => break,
            Helpers::Late(late) => {
                machine.advance(*late);
                break;
            }
            Helpers::Hang => write(&started(&pod)).await,
            Helpers::OnlyProbes if action(&pod) == Some("probe") => break,
            Helpers::NeverStart | Helpers::OnlyProbes => {}
            Helpers::NoImage(reason) => {
                let image = pod.containers().next().and_then(|container| container["image"].as_str());
                let message = format!("Back-off pulling image {:?}", image.unwrap_or_default());
                let waits = json!({"waiting": {"reason": reason, "message": message}});
                write(&if pod.is_initialized_first() {
                    status::initializing(&pod, "Pending", &waits)
                } else {
                    status::waiting(&pod, reason, &message)
                })
                .await;
            }
        }
        if power.wait_for(|power| power.helpers != helpers).await.is_err() {
            return;
        }
    }
    sleep(machine.options().pod_start).await;
    if let Some(log) = collected::log(&pod.0) {
        machine.keep_log(pod.text("/metadata/namespace"), pod.text("/metadata/name"), log);
    }
    write(&started(&pod)).await;
    let (code, message) = match action(&pod) {
        Some(collected::CONTAINER) => (0, String::new()),
        _ if machine.power().borrow().helpers == Helpers::NoSystemd => (12, no_systemd(&pod).to_owned()),
        Some("probe") => {
            let seen = machine.facts();
            (0, format!("boot_id={}\nuptime={}\n", seen.boot_id, seen.uptime.as_secs()))
        }
        _ => guard(&machine, &pod),
    };
    let ended = Ended { message: &message, ..Ended::of_code(code) };
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    if pod.is_initialized_first() {
        let phase = if code == 0 { "Pending" } else { phase };
        write(&status::initializing(&pod, phase, &ended.state("containerd://guard"))).await;
        if code == 0 {
            send_signal(&machine, &pod).await;
        }
        return;
    }
    if code == 0 && action(&pod) == Some("reboot") {
        machine.reboot_after(machine.options().reboot_delay);
    }
    write(&status::ended(&pod, phase, &ended)).await;
}

async fn write(machine: &Machine, pod: &Pod, patch: &Value) {
    send(machine, Method::PATCH, &format!("{}/status", pod.path()), patch).await;
}

/// The second container of a pod that reboots by a signal: it waits, asks the guard again, and its end is no more seen than
/// that of the kubelet.
async fn send_signal(machine: &Arc<Machine>, pod: &Pod) {
    write(machine, pod, &status::running(pod, None)).await;
    sleep(machine.options().reboot_delay).await;
    let (code, message) = guard(machine, pod);
    if code == 0 {
        machine.reboot_after(Duration::ZERO);
    } else {
        write(
            machine,
            pod,
            &status::ended(pod, "Failed", &Ended { message: &message, ..Ended::of_code(code) }),
        )
        .await;
    }
}

/// The first of its containers has started.
fn started(pod: &Pod) -> Value {
    if pod.is_initialized_first() {
        status::initializing(pod, "Pending", &json!({"running": {"startedAt": time::now()}}))
    } else {
        status::running(pod, None)
    }
}

/// What the two kinds of pods say of it: one would send systemd a signal, the other run its programs.
fn no_systemd(pod: &Pod) -> &'static str {
    let mut containers = pod.containers();
    if containers.any(|container| container["securityContext"]["privileged"] == true) {
        "no systemd-run, or no right to use it\n"
    } else {
        "PID 1 is init, not systemd\n"
    }
}

/// The guard: only in that boot, and not too late.
fn guard(machine: &Machine, pod: &Pod) -> (i64, String) {
    let container = pod.containers().find(|container| container["name"] == "reboot");
    let words: Vec<&str> = ["command", "args"]
        .into_iter()
        .filter_map(|field| container?[field].as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let [.., boot_id, not_after] = words[..] else { return (2, "usage".to_owned()) };
    machine.guard(boot_id, not_after)
}
