//! A person reboots the machine; we wait for the proof.

pub(super) fn what_to_do(node: &str) -> String {
    format!(
        "reboot {node} now, by whatever means there are; this goes on once the node comes back with another boot id"
    )
}
