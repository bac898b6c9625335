//! Pods that look at their machine or reboot it. Their containers do not run, but what their scripts do is done here.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::life::send;
use super::status::{self, Ended};
use super::{Pod, collected};
use crate::kubelet::machine::Machine;

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
    let path = format!("{}/status", pod.path());
    let write = async |patch: &Value| send(&machine, Method::PATCH, &path, patch).await;
    let mut power = machine.power();
    // What holds it may end.
    loop {
        let helpers = power.borrow_and_update().helpers.clone();
        match &helpers {
            Helpers::Run => break,
            Helpers::Late(late) => {
                machine.advance(*late);
                break;
            }
            Helpers::Hang => write(&status::running(&pod, None)).await,
            Helpers::OnlyProbes if action(&pod) == Some("probe") => break,
            Helpers::NeverStart | Helpers::OnlyProbes => {}
            Helpers::NoImage(reason) => {
                let image = pod.containers().next().and_then(|container| container["image"].as_str());
                let message = format!("Back-off pulling image {:?}", image.unwrap_or_default());
                write(&status::waiting(&pod, reason, &message)).await;
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
    write(&status::running(&pod, None)).await;
    let (code, message) = match action(&pod) {
        Some("probe") => {
            let seen = machine.facts();
            (0, format!("boot_id={}\nuptime={}\n", seen.boot_id, seen.uptime.as_secs()))
        }
        Some(collected::CONTAINER) => (0, String::new()),
        _ => reboot(&machine, &pod),
    };
    if code == 0 && action(&pod) == Some("reboot") {
        machine.reboot_after(machine.options().reboot_delay);
    }
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    write(&status::ended(&pod, phase, &Ended { message: &message, ..Ended::of_code(code) })).await;
}

/// The guard: only in that boot, and not too late.
fn reboot(machine: &Machine, pod: &Pod) -> (i64, String) {
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
