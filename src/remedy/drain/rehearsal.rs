//! The drain, without doing anything: what would become of each pod, and what its budgets say.

use std::sync::Arc;

use futures::StreamExt;

use super::lookups::Lookups;
use super::{DrainOptions, reach, volumes};
use crate::cluster::{Cluster, Rule};
use crate::core::drain::{
    Answer, Blocked, Budget, Classified, Finding, Hint, Order, Pod, Verdict, findings, returns, warnings,
};
use crate::error::Error;

#[derive(Debug, Clone)]
pub struct DrainPlan {
    /// By namespace and name.
    pub pods: Vec<PlannedPod>,
    pub findings: Vec<Finding>,
    /// Of volumes that perhaps nobody will detach.
    pub volumes: Vec<Warning>,
    /// The node's kubelet does not speak any more.
    pub unreachable: bool,
}

#[derive(Debug, Clone)]
pub struct PlannedPod {
    pub pod: Pod,
    /// What a person has to allow first.
    pub needs: Vec<Blocked>,
    /// Once that is allowed: what no flag allows is found out before anybody is asked for one.
    pub verdict: Verdict,
    /// The disruption budgets that cover it.
    pub budgets: Vec<Budget>,
    /// What the server said to its eviction as a dry run. It knows nothing of the others' evictions.
    pub rehearsed: Option<Answer>,
    /// It may come back to the cordoned node; then it is evicted twice at most.
    pub returns: bool,
}

/// What a person should know, though it may be as they want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub text: String,
    /// The next command.
    pub hint: Option<String>,
}

impl Warning {
    pub fn parts(&self) -> (&str, Option<&str>) {
        (&self.text, self.hint.as_deref())
    }
}

impl From<String> for Warning {
    fn from(text: String) -> Self {
        Self { text, hint: None }
    }
}

/// Why the drain should not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub gate: &'static str,
    pub text: String,
    pub hint: String,
    /// The flag that lifts it, if one does, and which pods that lets go.
    pub consent: Option<(&'static str, String)>,
}

impl DrainPlan {
    /// What keeps the drain from succeeding as things are.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut blocked = self.blocked();
        blocked.extend(self.findings.iter().filter(|finding| finding.refuses()).map(|finding| Refusal {
            gate: finding.gate(),
            text: finding.to_string(),
            hint: finding.hint(),
            consent: None,
        }));
        blocked
    }

    /// Pods that need a flag, one refusal for each reason.
    fn blocked(&self) -> Vec<Refusal> {
        let mut reasons: Vec<(&Blocked, Vec<&Pod>)> = Vec::new();
        for planned in &self.pods {
            for blocked in planned.blocked() {
                match reasons.iter_mut().find(|(reason, _)| *reason == blocked) {
                    Some((_, pods)) => pods.push(&planned.pod),
                    None => reasons.push((blocked, vec![&planned.pod])),
                }
            }
        }
        let refusal = |(blocked, pods): (&Blocked, Vec<&Pod>)| {
            let keys = pods.iter().map(|pod| pod.key()).collect::<Vec<_>>().join(", ");
            let first =
                pods.first().map(|pod| format!("kubectl describe pod {} -n {}", pod.name, pod.namespace));
            Refusal {
                gate: blocked.gate(),
                text: format!("cannot delete {}: {keys}", blocked.reason()),
                hint: blocked.flag().map(|flag| format!("add {flag}")).or(first).unwrap_or_default(),
                consent: blocked.flag().map(|flag| (flag, format!("{}: {keys}", blocked.pods()))),
            }
        };
        reasons.into_iter().map(refusal).collect()
    }

    /// What a person should know, though it may be as they want it.
    pub fn warnings(&self) -> Vec<Warning> {
        let classified: Vec<_> = self
            .pods
            .iter()
            .map(|planned| Classified {
                pod: planned.pod.clone(),
                verdict: match planned.blocked().next() {
                    Some(blocked) => Verdict::Blocked(blocked.clone()),
                    None => planned.verdict.clone(),
                },
            })
            .collect();
        let of_budgets = self.findings.iter().filter(|finding| !finding.refuses());
        let of_pods = warnings(&classified).into_iter().map(Warning::from);
        of_pods
            .chain(
                of_budgets.map(|finding| Warning { text: finding.to_string(), hint: Some(finding.hint()) }),
            )
            .chain(self.of_answers())
            .chain(self.volumes.iter().cloned())
            .collect()
    }

    /// What the server said to evictions, where no budget is the reason: each sentence once.
    fn of_answers(&self) -> Vec<Warning> {
        let mut sentences: Vec<(String, Hint, Vec<&Pod>)> = Vec::new();
        for planned in &self.pods {
            let (what, why, hint) = match &planned.rehearsed {
                Some(Answer::Refused { why, hint }) => ("eviction would be refused", why, *hint),
                Some(Answer::Denied { why, hint, .. }) => {
                    ("eviction is denied now, and would be asked for again", why, *hint)
                }
                Some(Answer::Transient { why, hint, .. }) => ("eviction could not be rehearsed", why, *hint),
                _ => continue,
            };
            let text = format!("{what}: {why}");
            match sentences.iter_mut().find(|sentence| sentence.0 == text) {
                Some((.., pods)) => pods.push(&planned.pod),
                None => sentences.push((text, hint, vec![&planned.pod])),
            }
        }
        let warning = |(text, hint, pods): (String, Hint, Vec<&Pod>)| {
            let names: Vec<_> = pods.iter().map(|pod| pod.key()).collect();
            let text = match &names[..] {
                [one] => format!("pod {one}: its {text}"),
                all => format!("pods {}: their {text}", all.join(", ")),
            };
            Warning { text, hint: pods.first().map(|pod| hint.command(&pod.namespace, &pod.name)) }
        };
        sentences.into_iter().map(warning).collect()
    }
}

impl PlannedPod {
    /// What keeps it, as things are.
    pub fn blocked(&self) -> impl Iterator<Item = &Blocked> {
        let for_good = match &self.verdict {
            Verdict::Blocked(blocked) => Some(blocked),
            Verdict::Evict(_) | Verdict::Skip(_) => None,
        };
        self.needs.iter().chain(for_good)
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
    // Of a node that is unreachable they are not waited for.
    let volumes =
        if unreachable { Vec::new() } else { volumes::warnings(cluster, node, options, &pods.items).await };
    let mut pods = pods.items;
    pods.sort_by_cached_key(Pod::key);
    let consents = Lookups::new(cluster.clone(), &options.helper_namespace).consents(&pods, policy).await;
    let evicted = pods.iter().zip(&consents).filter(|(_, (_, verdict))| matches!(verdict, Verdict::Evict(_)));
    let findings = if options.disable_eviction {
        Vec::new()
    } else {
        findings(evicted.map(|(pod, _)| pod), &budgets.items)
    };
    let budgets = &budgets.items;
    let pods = futures::stream::iter(pods.into_iter().zip(consents))
        .map(|(pod, (needs, verdict))| async move {
            let rehearsed = match &verdict {
                Verdict::Evict(_) if options.asks_server => Some(rehearse_one(cluster, &pod, options).await),
                Verdict::Evict(_) | Verdict::Skip(_) | Verdict::Blocked(_) => None,
            };
            PlannedPod {
                returns: matches!(verdict, Verdict::Evict(_)) && returns(&pod),
                budgets: budgets.iter().filter(|budget| budget.covers(&pod)).cloned().collect(),
                pod,
                needs,
                verdict,
                rehearsed,
            }
        })
        .buffered(options.max_concurrent_evictions.max(1))
        .collect()
        .await;
    Ok(DrainPlan { pods, findings, volumes, unreachable })
}

async fn rehearse_one(cluster: &Cluster, pod: &Pod, options: &DrainOptions) -> Answer {
    let Pod { uid, namespace, name, .. } = pod;
    let order = Order { uid: uid.clone(), namespace: namespace.clone(), name: name.clone() };
    cluster.evict(&order, &options.eviction(true)).await
}
