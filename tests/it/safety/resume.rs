//! Runs that go on, and the lines that say how.

mod consent;
mod forgeries;
mod lines;

use serde_json::{Value, json};

use crate::support::Fleet;

/// A pod on the first node that no controller starts again, under a budget that does not allow its eviction now: the other
/// pod that it counts has no place. Returns what lets it go.
fn hold<'f>(fleet: &'f Fleet<'_>, namespace: &str, app: &str, volumes: &Value) -> impl FnOnce() + use<'f> {
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    for (name, place) in [
        (app.to_owned(), json!({"nodeName": fleet.node})),
        (format!("{app}-waits"), json!({"nodeSelector": {"world": "another"}})),
    ] {
        let mut spec = json!({"automountServiceAccountToken": false, "volumes": volumes,
            "containers": [{"name": "c", "image": "registry.example/c:1"}]});
        spec.as_object_mut().expect("a spec").extend(place.as_object().expect("fields").clone());
        fleet.world.create(&pods, &json!({"metadata": {"name": name, "labels": {"app": app}}, "spec": spec}));
    }
    let budgets = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets");
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": app}}});
    fleet.world.create(&budgets, &json!({"metadata": {"name": app}, "spec": spec}));
    let budget = format!("{budgets}/{app}");
    fleet.until("a budget that has counted", || {
        let status = &fleet.world.request("GET", &budget, "application/json", &Value::Null)["status"];
        status["currentHealthy"] == 1 && status["expectedPods"] == 2
    });
    move || _ = fleet.world.request("DELETE", &budget, "application/json", &Value::Null)
}
