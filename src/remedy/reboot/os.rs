//! Systems that have no systemd to be told by, and what they are rebooted with instead.

use super::RebootError;
use crate::cluster::NodeInfo;
use crate::core::remediation::Method;

/// Why this method cannot reboot the node, for its system, with the command that can; `None` if nothing is known against it.
pub fn unsupported(node: &str, info: &NodeInfo, method: Method) -> Option<RebootError> {
    if !method.is_guarded() {
        return None;
    }
    let (system, instead) = if info.operating_system.eq_ignore_ascii_case("windows") {
        ("Windows", "command --reboot-command 'ssh -o BatchMode=yes {address} shutdown /r /t 3'")
    } else if info.os_image.starts_with("Talos") {
        // Neither a shell, nor systemd, nor ssh: its API is the only way in.
        ("Talos", "command --reboot-command 'talosctl --nodes {address} reboot --wait=false'")
    } else if info.os_image.starts_with("Bottlerocket") {
        // SELinux keeps even privileged pods from its systemd; `apiclient` is for its own containers.
        ("Bottlerocket", "manual # and `apiclient reboot` in its control container, once you are asked to")
    } else {
        return None;
    };
    Some(
        RebootError::new(format!(
            "{system} cannot be rebooted by a pod, by a signal or over ssh with systemd"
        ))
        .hint(format!("kubectl sciuro remediate {node} --reboot-method {instead}")),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reason(os_image: &str, operating_system: &str, method: Method) -> Option<String> {
        let info = NodeInfo {
            os_image: os_image.into(),
            operating_system: operating_system.into(),
            ..NodeInfo::default()
        };
        unsupported("w1", &info, method).map(|error| format!("{} | {}", error.why, error.hints.join(" ")))
    }

    #[test]
    fn systems_without_a_systemd_of_ours_are_known() {
        for (image, system, hint) in [
            ("Talos (v1.11.2)", "linux", "talosctl"),
            ("Bottlerocket OS 1.45.0 (aws-k8s-1.33)", "linux", "apiclient reboot"),
            ("Windows Server 2022 Datacenter", "windows", "shutdown /r"),
        ] {
            for method in [Method::Pod, Method::Signal, Method::Ssh] {
                assert!(reason(image, system, method).unwrap().contains(hint), "{image}");
            }
            assert_eq!(reason(image, system, Method::Command), None);
            assert_eq!(reason(image, system, Method::Manual), None);
        }
        for image in
            ["Debian GNU/Linux 12 (bookworm)", "Flatcar Container Linux by Kinvolk 4230.2.0 (Oklo)", ""]
        {
            assert_eq!(reason(image, "linux", Method::Signal), None, "{image}");
        }
    }
}
