//! What an engineer wants to know first.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde_json::Value;

use super::bundle::Entry;
use crate::core::findings::{self, Facts};
use crate::core::invisible::marked;

/// `summary.md`: what the boot has changed, what stands out, the node, its pods and Events, and what is missing here.
pub(super) struct Summary<'s> {
    pub(super) node: &'s str,
    pub(super) object: Option<&'s Value>,
    pub(super) pods: &'s [Value],
    pub(super) events: &'s [Value],
    pub(super) facts: &'s Facts,
    /// What was known before the boot.
    pub(super) before: Option<&'s Facts>,
    /// Where the files of this moment are.
    pub(super) prefix: &'s str,
    pub(super) entries: &'s [Entry],
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}\n", self.node)?;
        if let Some(before) = self.before {
            list(f, "Changed by the boot", findings::changes(before, self.facts).iter())?;
        }
        let found = self.facts.findings.iter().map(|finding| {
            let times = if finding.count > 1 { format!(" ({} times)", finding.count) } else { String::new() };
            format!("{}{times}: `{}` in `{}{}`", finding.what, finding.evidence, self.prefix, finding.file)
        });
        list(f, "What stands out", found)?;
        if let Some(object) = self.object {
            of_node(f, object)?;
        }
        of_pods(f, self.pods)?;
        let warnings = self.events.iter().filter(|event| event["type"] == "Warning").count();
        let events = self.events.len();
        writeln!(f, "## Events\n\n{events} in `{}events.txt`, {warnings} of them warnings.\n", self.prefix)?;
        let missing = self.entries.iter().filter_map(|entry| Some((&entry.name, entry.error.as_ref()?)));
        list(f, "Missing or cut", missing.map(|(name, error)| format!("`{name}`: {}", plain(error))))
    }
}

/// Nothing if there is nothing to list.
fn list(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    lines: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    writeln!(f, "## {title}\n")?;
    lines.try_for_each(|line| writeln!(f, "- {line}"))?;
    f.write_char('\n')
}

/// What a boot may change.
pub(super) fn values(node: Option<&Value>, pods: &[Value]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    if let Some(node) = node {
        values.extend(info(node).map(|(label, value)| (label.to_owned(), value)));
        for condition in node["status"]["conditions"].as_array().into_iter().flatten() {
            let is = format!("{}, {}", word(&condition["status"]), word(&condition["reason"]));
            values.insert(word(&condition["type"]), is);
        }
        for (resource, amount) in node["status"]["allocatable"].as_object().into_iter().flatten() {
            values.insert(format!("allocatable {}", plain(resource)), word(amount));
        }
    }
    let is_ready = |pod: &&Value| {
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    values
        .insert("pods".to_owned(), format!("{}, {} Ready", pods.len(), pods.iter().filter(is_ready).count()));
    values
}

fn info(node: &Value) -> impl Iterator<Item = (&'static str, String)> {
    let fields = [
        ("boot", "bootID"),
        ("kernel", "kernelVersion"),
        ("system", "osImage"),
        ("runtime", "containerRuntimeVersion"),
        ("kubelet", "kubeletVersion"),
    ];
    fields.into_iter().map(|(label, field)| (label, word(&node["status"]["nodeInfo"][field])))
}

fn of_node(f: &mut fmt::Formatter<'_>, node: &Value) -> fmt::Result {
    list(f, "Node", info(node).map(|(label, value)| format!("{label}: {value}")))?;
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    let told = conditions.map(|condition| {
        format!(
            "{} = {}, {} since {}: {}",
            word(&condition["type"]),
            word(&condition["status"]),
            word(&condition["reason"]),
            word(&condition["lastTransitionTime"]),
            word(&condition["message"]),
        )
    });
    list(f, "Conditions", told)
}

/// All of them counted, and those that are not well.
fn of_pods(f: &mut fmt::Formatter<'_>, pods: &[Value]) -> fmt::Result {
    writeln!(f, "## Pods\n\n{} on the node.\n", pods.len())?;
    for pod in pods {
        let name = format!("{}/{}", word(&pod["metadata"]["namespace"]), word(&pod["metadata"]["name"]));
        let status = &pod["status"];
        if status["phase"] == "Failed" {
            writeln!(f, "- {name}: {}, {}", word(&status["reason"]), word(&status["message"]))?;
        }
        for status in status["containerStatuses"].as_array().into_iter().flatten() {
            let restarts = status["restartCount"].as_u64().unwrap_or(0);
            if status["ready"] != true || restarts > 0 {
                of_container(f, &name, status, restarts)?;
            }
        }
    }
    f.write_char('\n')
}

fn of_container(f: &mut fmt::Formatter<'_>, pod: &str, status: &Value, restarts: u64) -> fmt::Result {
    write!(f, "- {pod} {}: ready {}, {restarts} restarts", word(&status["name"]), status["ready"] == true)?;
    let waits = word(&status["state"]["waiting"]["reason"]);
    if waits != "-" {
        write!(f, ", waits: {waits}")?;
    }
    let ended = &status["lastState"]["terminated"];
    if !ended.is_null() {
        let code = ended["exitCode"].as_i64().unwrap_or_default();
        write!(
            f,
            ", ended before: {} (exit {code}) at {}",
            word(&ended["reason"]),
            word(&ended["finishedAt"])
        )?;
    }
    f.write_char('\n')
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
    match value {
        Value::String(text) if !text.is_empty() => plain(text),
        Value::Number(number) => number.to_string(),
        _ => "-".to_owned(),
    }
}

fn plain(text: &str) -> String {
    marked(text).map(|(c, is_hostile)| if is_hostile { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn node(boot: &str, kernel: &str, ready: &str) -> Value {
        json!({"status": {
            "nodeInfo": {"bootID": boot, "kernelVersion": kernel, "osImage": "Debian 13",
                "containerRuntimeVersion": "containerd://2.1.4", "kubeletVersion": "v1.36.3"},
            "allocatable": {"cpu": "8", "nvidia.com/gpu": "1"},
            "conditions": [{"type": "Ready", "status": ready, "reason": if ready == "True" { "KubeletReady" } else { "KubeletNotReady" },
                "lastTransitionTime": "2026-11-23T03:00:00Z", "message": "as\nit is"}],
        }})
    }

    fn facts(node: &Value, pods: &[Value], files: &[(&str, &str)]) -> Facts {
        Facts {
            values: values(Some(node), pods),
            findings: files.iter().flat_map(|(file, text)| findings::in_file(file, text)).collect(),
            files: files.iter().map(|(file, _)| (*file).to_owned()).collect(),
        }
    }

    #[test]
    fn after_a_boot() {
        let (before, after) = (node("0a0b", "6.12.8", "False"), node("1c1d", "6.12.9", "True"));
        let kernel = "2026-11-23T02:59:12+0000 n1 kernel: Out of memory: Killed process 812 (java)\n";
        let web = json!({"metadata": {"namespace": "shop", "name": "web-0"}, "status": {
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "c", "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "ImagePullBackOff"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-11-23T02:59:12Z"}}}]}});
        let evicted = json!({"metadata": {"namespace": "shop", "name": "db-0"}, "status": {"phase": "Failed", "reason": "Evicted",
            "message": "The node was low on resource: memory."}});
        let before = facts(&before, &[], &[("host/kernel.log", kernel)]);
        let now = facts(
            &after,
            std::slice::from_ref(&web),
            &[
                ("host/kernel.log", ""),
                ("host/kernel.previous-boot.log", kernel),
                (
                    "events.txt",
                    "2026-11-23T03:01:00Z Warning Failed Pod/web-0 ×2: Failed to pull image \"web:9\": not found\n",
                ),
            ],
        );
        let entry = Entry {
            name: "after/node/lease.yaml".to_owned(),
            sha256: None,
            size: 0,
            duration_ms: 1,
            error: Some("403\nForbidden".to_owned()),
            redactions: 0,
        };
        let summary = Summary {
            node: "n1",
            object: Some(&after),
            pods: &[web, evicted],
            events: &[json!({"type": "Warning"})],
            facts: &now,
            before: Some(&before),
            prefix: "after/",
            entries: &[entry],
        };
        insta::assert_snapshot!(summary.to_string());
    }
}
