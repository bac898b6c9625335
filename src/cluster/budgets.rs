//! Disruption budgets, of all namespaces at once.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::Sender;

use super::api::Cluster;
use super::error::ApiError;
use super::follow::{Change, Collection, Listed, Wire};
use super::nodes::null_is_default;
use crate::core::drain::{Allowance, Amount, Budget, Operator, Requirement, Selector};

fn collection() -> Collection {
    let path = "/apis/policy/v1/poddisruptionbudgets";
    Collection { path, labels: None, fields: None, chunk: None }
}

impl Cluster {
    pub async fn list_budgets(&self) -> Result<Listed<Budget>, ApiError> {
        self.list_slim::<WireBudget>(&collection()).await
    }

    /// Tells of every change after `version`, until nobody listens. Returns what makes that impossible.
    pub async fn follow_budgets(&self, version: String, to: &Sender<Change<Budget>>) -> Option<ApiError> {
        self.follow::<WireBudget>(&collection(), version, to).await
    }
}

#[derive(Deserialize)]
struct WireBudget {
    metadata: Meta,
    #[serde(default)]
    spec: BudgetSpec,
    #[serde(default)]
    status: BudgetStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    namespace: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    generation: i64,
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BudgetSpec {
    selector: Option<WireSelector>,
    max_unavailable: Option<Value>,
    min_available: Option<Value>,
    unhealthy_pod_eviction_policy: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WireSelector {
    #[serde(deserialize_with = "null_is_default")]
    match_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default")]
    match_expressions: Vec<Expression>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    #[serde(deserialize_with = "null_is_default")]
    values: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BudgetStatus {
    disruptions_allowed: i32,
    current_healthy: i32,
    desired_healthy: i32,
    expected_pods: i32,
    observed_generation: i64,
    #[serde(deserialize_with = "null_is_default")]
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    reason: String,
    message: String,
}

impl Meta {
    /// Whose the budget is, or says that it is: there it is to be changed.
    fn manager(&self) -> Option<String> {
        let owner = self.owner_references.first().map(|owner| format!("{}/{}", owner.kind, owner.name));
        owner.or_else(|| self.labels.get("app.kubernetes.io/managed-by").cloned())
    }
}

impl BudgetStatus {
    /// Why the pods could not be counted: such as pods of a controller without a scale.
    fn sync_failed(&self) -> Option<String> {
        let is_failure = |condition: &&Condition| {
            condition.r#type == "DisruptionAllowed" && condition.reason == "SyncFailed"
        };
        self.conditions.iter().find(is_failure).map(|condition| condition.message.clone())
    }
}

impl From<WireSelector> for Selector {
    fn from(selector: WireSelector) -> Self {
        let labels = selector
            .match_labels
            .into_iter()
            .map(|(key, value)| Requirement { key, operator: Operator::In(vec![value]) });
        let expressions = selector.match_expressions.into_iter().map(|expression| Requirement {
            key: expression.key,
            operator: match expression.operator.as_str() {
                "In" => Operator::In(expression.values),
                "NotIn" => Operator::NotIn(expression.values),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => Operator::Other,
            },
        });
        Self(labels.chain(expressions).collect())
    }
}

/// A number, or a percentage as text.
fn amount(value: &Value) -> Option<Amount> {
    match value {
        Value::Number(number) => number.as_i64()?.try_into().ok().map(Amount::Count),
        Value::String(text) => text.strip_suffix('%')?.parse().ok().map(Amount::Percent),
        _ => None,
    }
}

impl Wire for WireBudget {
    type Object = Budget;

    fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn into_object(self) -> Budget {
        let Self { metadata, spec, status } = self;
        let max = spec.max_unavailable.as_ref().and_then(amount).map(Allowance::MaxUnavailable);
        let min = spec.min_available.as_ref().and_then(amount).map(Allowance::MinAvailable);
        Budget {
            manager: metadata.manager(),
            counted: status.observed_generation >= metadata.generation,
            sync_failed: status.sync_failed(),
            namespace: metadata.namespace,
            name: metadata.name,
            selector: spec.selector.map(Selector::from),
            allowance: max.or(min).unwrap_or_default(),
            allowed: status.disruptions_allowed,
            healthy: status.current_healthy,
            desired: status.desired_healthy,
            expected: status.expected_pods,
            frees_unhealthy: spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow"),
        }
    }
}

#[cfg(test)]
#[path = "budgets_tests.rs"]
mod tests;
