//! The drain, without doing anything: what would become of each pod, and what its budgets say.

use std::sync::Arc;

use futures::StreamExt;

use super::lookups::Lookups;
use super::{DrainOptions, reach};
use crate::cluster::{Cluster, Rule};
use crate::core::drain::{
    Answer, Budget, Classified, Finding, Order, Pod, Verdict, findings, returns, warnings,
};
use crate::error::Error;

#[derive(Debug, Clone)]
pub struct DrainPlan {
    /// By namespace and name.
    pub pods: Vec<PlannedPod>,
    pub findings: Vec<Finding>,
    /// The node's kubelet does not speak any more.
    pub unreachable: bool,
}

#[derive(Debug, Clone)]
pub struct PlannedPod {
    pub pod: Pod,
    pub verdict: Verdict,
    /// The disruption budgets that cover it.
    pub budgets: Vec<Budget>,
    /// What the server said to its eviction as a dry run. It knows nothing of the others' evictions.
    pub rehearsed: Option<Answer>,
    /// It may come back to the cordoned node; then it is evicted twice at most.
    pub returns: bool,
}

/// Why the drain should not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub gate: &'static str,
    pub text: String,
    pub hint: String,
}

impl DrainPlan {
    /// What keeps the drain from succeeding as things are.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut blocked = self.blocked();
        blocked.extend(self.findings.iter().filter(|finding| finding.refuses()).map(|finding| Refusal {
            gate: finding.gate(),
            text: finding.to_string(),
            hint: finding.hint(),
        }));
        blocked
    }

    /// Pods that need a flag, one refusal for each reason.
    fn blocked(&self) -> Vec<Refusal> {
        let mut refusals: Vec<Refusal> = Vec::new();
        for PlannedPod { pod, verdict, .. } in &self.pods {
            let Verdict::Blocked(blocked) = verdict else { continue };
            let what = format!("cannot delete {}: ", blocked.reason());
            match refusals.iter_mut().find(|refusal| refusal.text.starts_with(&what)) {
                Some(refusal) => refusal.text.extend([", ", &pod.key()]),
                None => refusals.push(Refusal {
                    gate: blocked.gate(),
                    text: format!("{what}{}", pod.key()),
                    hint: blocked.flag().map_or_else(
                        || format!("kubectl describe pod {} -n {}", pod.name, pod.namespace),
                        |flag| format!("add {flag}"),
                    ),
                }),
            }
        }
        refusals
    }

    /// What a person should know, though it may be as they want it.
    pub fn warnings(&self) -> Vec<String> {
        let classified: Vec<_> = self
            .pods
            .iter()
            .map(|planned| Classified { pod: planned.pod.clone(), verdict: planned.verdict.clone() })
            .collect();
        let of_budgets = self.findings.iter().filter(|finding| !finding.refuses()).map(Finding::to_string);
        warnings(&classified).into_iter().chain(of_budgets).collect()
    }
}

pub(super) async fn rehearse(
    cluster: &Arc<Cluster>,
    node: &str,
    options: &DrainOptions,
) -> Result<DrainPlan, Error> {
    let selection = options.selection(node);
    let pods =
        async { cluster.list_pods(&selection).await.map_err(|error| error.explain("list", &Rule::PODS)) };
    let budgets =
        async { cluster.list_budgets().await.map_err(|error| error.explain("list", &Rule::BUDGETS)) };
    let (pods, budgets, unreachable) = tokio::try_join!(pods, budgets, reach::is_unreachable(cluster, node))?;
    let policy = reach::policy(options, unreachable);
    let mut classified =
        Lookups::new(cluster.clone(), &options.helper_namespace).classify(pods.items, policy).await;
    classified.sort_by_cached_key(|classified| classified.pod.key());
    let evicted = classified.iter().filter(|classified| matches!(classified.verdict, Verdict::Evict(_)));
    let findings = if options.disable_eviction {
        Vec::new()
    } else {
        findings(evicted.map(|classified| &classified.pod), &budgets.items)
    };
    let budgets = &budgets.items;
    let pods = futures::stream::iter(classified)
        .map(|Classified { pod, verdict }| async move {
            let rehearsed = match &verdict {
                Verdict::Evict(_) if options.asks_server => Some(rehearse_one(cluster, &pod, options).await),
                Verdict::Evict(_) | Verdict::Skip(_) | Verdict::Blocked(_) => None,
            };
            PlannedPod {
                returns: matches!(verdict, Verdict::Evict(_)) && returns(&pod),
                budgets: budgets.iter().filter(|budget| budget.covers(&pod)).cloned().collect(),
                pod,
                verdict,
                rehearsed,
            }
        })
        .buffered(options.max_concurrent_evictions.max(1))
        .collect()
        .await;
    Ok(DrainPlan { pods, findings, unreachable })
}

async fn rehearse_one(cluster: &Cluster, pod: &Pod, options: &DrainOptions) -> Answer {
    let Pod { uid, namespace, name, .. } = pod;
    let order = Order { uid: uid.clone(), namespace: namespace.clone(), name: name.clone() };
    cluster.evict(&order, &options.eviction(true)).await
}
