//! What an engineer wants to know first.

use std::fmt::Write;

use serde_json::Value;

use super::bundle::Entry;

/// `summary.md`: the node, what stands out among its pods and Events, and what is missing here.
pub(super) fn write(
    node: &str,
    object: Option<&Value>,
    pods: &[Value],
    events: &[Value],
    entries: &[Entry],
) -> String {
    let mut text = format!("# {node}\n\n");
    if let Some(object) = object {
        of_node(&mut text, object);
    }
    of_pods(&mut text, pods);
    let warnings = events.iter().filter(|event| event["type"] == "Warning").count();
    let _ = writeln!(text, "## Events\n\n{} in `events.txt`, {warnings} of them warnings.\n", events.len());
    let missing: Vec<&Entry> = entries.iter().filter(|entry| entry.error.is_some()).collect();
    if !missing.is_empty() {
        let _ = writeln!(text, "## Missing or cut\n");
        for entry in missing {
            let _ = writeln!(text, "- `{}`: {}", entry.name, entry.error.as_deref().unwrap_or_default());
        }
    }
    text
}

fn of_node(text: &mut String, node: &Value) {
    let info = &node["status"]["nodeInfo"];
    for (label, field) in [
        ("boot", "bootID"),
        ("kernel", "kernelVersion"),
        ("system", "osImage"),
        ("runtime", "containerRuntimeVersion"),
        ("kubelet", "kubeletVersion"),
    ] {
        let _ = writeln!(text, "- {label}: {}", word(&info[field]));
    }
    let _ = writeln!(text, "\n## Conditions\n");
    for condition in node["status"]["conditions"].as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "- {} = {}, {} since {}: {}",
            word(&condition["type"]),
            word(&condition["status"]),
            word(&condition["reason"]),
            word(&condition["lastTransitionTime"]),
            word(&condition["message"]),
        );
    }
    text.push('\n');
}

fn of_pods(text: &mut String, pods: &[Value]) {
    let _ = writeln!(text, "## Pods\n\n{} on the node.\n", pods.len());
    for pod in pods {
        let metadata = &pod["metadata"];
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            let restarts = status["restartCount"].as_u64().unwrap_or(0);
            let waits = word(&status["state"]["waiting"]["reason"]);
            let ended = &status["lastState"]["terminated"];
            if status["ready"] == true && restarts == 0 {
                continue;
            }
            let _ = write!(
                text,
                "- {}/{} {}: ready {}, {restarts} restarts",
                word(&metadata["namespace"]),
                word(&metadata["name"]),
                word(&status["name"]),
                status["ready"],
            );
            if waits != "-" {
                let _ = write!(text, ", waits: {waits}");
            }
            if !ended.is_null() {
                let _ =
                    write!(text, ", ended before: {} (exit {})", word(&ended["reason"]), ended["exitCode"]);
            }
            text.push('\n');
        }
    }
    text.push('\n');
}

/// `events.txt`: one line each, oldest first.
pub(super) fn events(list: &Value) -> String {
    let mut lines: Vec<(String, String)> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| {
            let when = ["lastTimestamp", "eventTime", "firstTimestamp"]
                .iter()
                .find_map(|field| event[field].as_str())
                .unwrap_or("-");
            let about = &event["involvedObject"];
            let line = format!(
                "{when} {} {} {}/{} {}: {}\n",
                word(&event["type"]),
                word(&event["reason"]),
                word(&about["kind"]),
                word(&about["name"]),
                event["count"].as_u64().map(|count| format!("×{count}")).unwrap_or_default(),
                word(&event["message"]),
            );
            (when.to_owned(), line)
        })
        .collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Text of a server, on one line; `-` if there is none.
fn word(value: &Value) -> String {
    match value.as_str() {
        Some(text) if !text.is_empty() => {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        }
        _ => "-".to_owned(),
    }
}
