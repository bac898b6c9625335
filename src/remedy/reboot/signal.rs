//! A pod that reboots its node by a signal to systemd. It enters nothing of the machine's and is not privileged: it sees the
//! machine's processes, and may send signals.
//!
//! systemd begins as soon as it has the signal (systemd(1), SIGRTMIN+5), and ends the kubelet with the rest: there is no
//! timer that lets an answer out first. So there are two containers. The first is the guard, and answers. Then the second
//! waits for three seconds, asks the guard again and sends the signal.

use std::time::Duration;

use serde_json::{Value, json};

use super::helper::{HelperOptions, gone, manifest};
use super::{RebootError, guard};
use crate::cluster::{Cluster, HelperPod};

/// Where the machine's boot id is, as its kubelet sees it: a container's own /proc may show another. The file alone cannot be
/// mounted where it has no name, as in systemd-nspawn: its folder can.
const FOLDER: &str = "/proc/sys/kernel/random";
/// Where the pod has it. A container runtime mounts nothing over files of /proc.
const FOLDER_IN_THE_POD: &str = "/machine";

/// After the guard has answered: three seconds, and the start of a container whose image is there.
const SENDS_WITHIN: Duration = Duration::from_secs(15);
/// Exit codes of a container that could not be started: the shell's two (POSIX) and the container runtime's.
const NOT_STARTED: [i32; 3] = [126, 127, 128];

const SAY: &str = r#"set -eu
say() { printf '%s\n' "$1" >> /dev/termination-log; }"#;

const READ: &str = "
boot_id=$(cat /machine/boot_id)
uptime=$(cat /proc/uptime)
uptime=${uptime%%.*}";

/// Signal 0 is never sent, but whether it may be is looked at: capabilities, `AppArmor`, `SELinux` (kill(2)). In a pod that a
/// webhook has taken `hostPID` from, PID 1 is its own shell.
const CAN_REBOOT: &str = r#"
init=$(cat /proc/1/comm)
[ "$init" = systemd ] || { say "PID 1 is $init, not systemd"; exit 12; }
why=$(env kill -0 1 2>&1) || { say "systemd cannot be sent a signal: $why"; exit 12; }"#;

const ANSWER: &str = "
say issued
";

const WAIT: &str = "
sleep 3";

/// SIGRTMIN+5 by its number: systemd counts from glibc's SIGRTMIN, which is 34, and the image's libc may have another
/// (musl: 35). `env`, because a shell's own `kill` need not take any number.
const SEND: &str = r#"
why=$(env kill -39 1 2>&1) || { say "systemd was not sent the signal: $why"; exit 12; }
say issued
"#;

fn probe() -> String {
    [SAY, READ, CAN_REBOOT, guard::FACTS, "\n"].concat()
}

fn guarded() -> String {
    [SAY, READ, guard::ONLY_THIS_BOOT, CAN_REBOOT, ANSWER].concat()
}

fn send() -> String {
    [SAY, WAIT, READ, guard::ONLY_THIS_BOOT, CAN_REBOOT, SEND].concat()
}

pub(super) fn probing(name: &str, options: &HelperOptions, node: &str, id: &str) -> Value {
    unprivileged(manifest(name, "probe", &[&probe()], options, node, id))
}

pub(super) fn rebooting(
    name: &str,
    [boot_id, not_after_uptime]: [&str; 2],
    options: &HelperOptions,
    node: &str,
    id: &str,
) -> Value {
    let mut pod = manifest(name, "reboot", &[&send(), boot_id, not_after_uptime], options, node, id);
    pod = unprivileged(pod);
    let mut first = pod["spec"]["containers"][0].clone();
    first["name"] = "guard".into();
    first["args"][0] = guarded().into();
    pod["spec"]["initContainers"] = json!([first]);
    pod
}

/// Root among the machine's processes, with one capability. The profiles that container runtimes give to containers let them
/// send signals to each other only, so it has none (`AppArmor`), or that of administration (`SELinux`). A change of type needs
/// rules of its own under `no_new_privs`, and with no other capability to be had that would keep nothing out.
fn unprivileged(mut pod: Value) -> Value {
    let spec = &mut pod["spec"];
    spec["securityContext"] = json!({
        "runAsUser": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
        "appArmorProfile": {"type": "Unconfined"},
        "seLinuxOptions": {"type": "spc_t"},
    });
    spec["volumes"] = json!([{"name": "boot-id", "hostPath": {"path": FOLDER, "type": "Directory"}}]);
    let container = &mut spec["containers"][0];
    container["securityContext"] = json!({
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"], "add": ["KILL"]},
    });
    container["volumeMounts"] =
        json!([{"name": "boot-id", "mountPath": FOLDER_IN_THE_POD, "readOnly": true}]);
    pod
}

/// What does without systemd, or without signals to it.
pub(super) fn instead(options: &HelperOptions) -> &'static str {
    if options.by_signal {
        "--reboot-method pod runs systemd's programs instead; without systemd: --reboot-method command or manual"
    } else {
        "without systemd: --reboot-method command or manual"
    }
}

/// Waits for what the second container says. It need not: the machine may go down first, and then it has no exit code, or
/// one that a kubelet makes up after the boot.
pub(super) async fn sent(cluster: &Cluster, pod: &HelperPod) -> Result<(), RebootError> {
    let ended = cluster.follow_pod(pod, |seen| match seen {
        None => Some(None),
        Some(seen) => seen.then_ended.clone().map(Some),
    });
    match tokio::time::timeout(SENDS_WITHIN, ended).await {
        Ok(Ok(None)) => Err(gone(pod)),
        Ok(Ok(Some((code, message)))) if is_refusal(code) => super::read_answer(code, &message).map(drop),
        Ok(Ok(Some(_)) | Err(_)) | Err(_) => Ok(()),
    }
}

fn is_refusal(code: i32) -> bool {
    [guard::OTHER_BOOT, guard::TOO_LATE, guard::CANNOT].contains(&code) || NOT_STARTED.contains(&code)
}

#[cfg(all(test, unix))]
#[path = "signal_tests.rs"]
mod tests;
