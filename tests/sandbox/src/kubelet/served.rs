//! What a kubelet serves beside logs and ports: its health, its configuration, what it measures, and journals of services.

use serde_json::json;

use crate::http::{Reply, Request};

/// `None` if a kubelet has no such path. The machine is the one whose kubelet this is.
pub(crate) fn answer(machine: &str, path: &str, request: &Request) -> Option<Reply> {
    Some(match path {
        "healthz" => Reply::text(200, "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n"),
        "configz" => Reply::json(
            200,
            &json!({"kubeletconfig": {"maxPods": 110, "enableSystemLogQuery": true,
                "staticPodURLHeader": {"X-Token": ["hunter2-of-the-kubelet"]}}}),
        ),
        "stats/summary" => Reply::json(
            200,
            &json!({"node": {"nodeName": machine, "memory": {"availableBytes": 1 << 30}}, "pods": []}),
        ),
        "metrics" => Reply::text(200, "# TYPE kubelet_running_pods gauge\nkubelet_running_pods 7\n"),
        "logs/" => {
            let said = |name: &str| request.parameter(name).unwrap_or_else(|| "-".to_owned());
            let (query, boot) = (said("query"), said("boot"));
            let (since, lines) = (said("sinceTime"), said("tailLines"));
            Reply::text(
                200,
                format!(
                    "journal of {query} on {machine}: boot {boot}, since {since}, at most {lines} lines\n"
                ),
            )
        }
        _ => return None,
    })
}
