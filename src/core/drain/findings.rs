//! What the budgets of a node's pods will say to a drain, added up over all of them: a dry run asks for one pod at a time.

use std::fmt;

use super::super::gates::Gate;
use super::budget::Budget;
use super::pod::Pod;

/// Something about budgets that a person should know before the drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The server evicts no pod that two budgets cover.
    Overlap { pod: String, budgets: Vec<String> },
    /// The budget never allows a disruption as it is. Who manages it may change it.
    Misconfigured { budget: String, why: String, pods: usize, manager: Option<String> },
    /// It allows none now.
    Exhausted { budget: String, pods: usize, healthy: i32, desired: i32 },
    /// Pods that are not Ready themselves keep the budget from allowing their eviction.
    UnhealthyHold { budget: String, pods: Vec<String>, manager: Option<String> },
    /// It allows fewer disruptions than the node has pods under it.
    Fewer { budget: String, pods: usize, allowed: i32 },
}

impl Finding {
    pub fn gate(&self) -> &'static str {
        match self {
            Self::Overlap { .. } => "budget-overlap",
            Self::Misconfigured { .. } => Gate::BudgetMisconfigured.name(),
            Self::Exhausted { .. } => "budget-exhausted",
            Self::UnhealthyHold { .. } => "unhealthy-pods-hold-budget",
            Self::Fewer { .. } => "budget-allows-fewer",
        }
    }

    /// Whether the drain cannot succeed as things are; otherwise it may take a while.
    pub fn refuses(&self) -> bool {
        matches!(self, Self::Overlap { .. } | Self::Misconfigured { .. })
    }

    /// The next command.
    pub fn hint(&self) -> String {
        let at = |key: &str| {
            let (namespace, name) = key.split_once('/').unwrap_or(("", key));
            format!("{name} -n {namespace}")
        };
        match self {
            Self::Overlap { budgets, .. } => {
                let namespace = budgets.first().and_then(|key| key.split_once('/')).map_or("", |key| key.0);
                let names: Vec<_> =
                    budgets.iter().map(|key| key.split_once('/').map_or(key.as_str(), |key| key.1)).collect();
                format!("kubectl get poddisruptionbudgets {} -n {namespace}", names.join(" "))
            }
            Self::Misconfigured { budget, manager: None, .. } => {
                format!("kubectl edit poddisruptionbudget {}", at(budget))
            }
            Self::UnhealthyHold { budget, manager: None, .. } => format!(
                r#"kubectl patch poddisruptionbudget {} --type merge -p '{{"spec":{{"unhealthyPodEvictionPolicy":"AlwaysAllow"}}}}'"#,
                at(budget)
            ),
            // What its manager has made is not to be edited: it would be made again.
            Self::Misconfigured { budget, .. }
            | Self::Exhausted { budget, .. }
            | Self::UnhealthyHold { budget, .. }
            | Self::Fewer { budget, .. } => {
                format!("kubectl describe poddisruptionbudget {}", at(budget))
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { pod, budgets } => {
                write!(f, "pod {pod} is covered by several disruption budgets ({})", budgets.join(", "))?;
                f.write_str(": the server refuses to evict it")
            }
            Self::Misconfigured { budget, why, pods, manager } => {
                write!(f, "disruption budget {budget} never allows an eviction: {why} ({})", count(*pods))?;
                manager.as_ref().map_or(Ok(()), |manager| write!(f, "; it is managed by {manager}"))
            }
            Self::Exhausted { budget, pods, healthy, desired } => write!(
                f,
                "disruption budget {budget} allows no eviction now: {healthy} of {desired} pods that it needs are healthy ({})",
                count(*pods)
            ),
            Self::UnhealthyHold { budget, pods, .. } => write!(
                f,
                "disruption budget {budget} allows no eviction, and pods that are not Ready hold it: {}",
                pods.join(", ")
            ),
            Self::Fewer { budget, pods, allowed } => {
                write!(f, "disruption budget {budget} allows {allowed} now, and covers {}", count(*pods))
            }
        }
    }
}

fn count(pods: usize) -> String {
    format!("{pods} pod{} here", if pods == 1 { "" } else { "s" })
}

/// What the budgets say about evicting all these pods.
pub fn findings<'p>(pods: impl IntoIterator<Item = &'p Pod>, budgets: &[Budget]) -> Vec<Finding> {
    let pods: Vec<&Pod> = pods.into_iter().filter(|pod| pod.is_guarded()).collect();
    let overlaps = pods.iter().filter_map(|pod| {
        let covering: Vec<_> = budgets.iter().filter(|budget| budget.covers(pod)).map(Budget::key).collect();
        (covering.len() > 1).then(|| Finding::Overlap { pod: pod.key(), budgets: covering })
    });
    overlaps.chain(budgets.iter().filter_map(|budget| of_one(budget, &pods))).collect()
}

fn of_one(budget: &Budget, pods: &[&Pod]) -> Option<Finding> {
    let (name, counted): (_, Vec<_>) = (budget.key(), pods.iter().filter(|pod| budget.counts(pod)).collect());
    let pods = counted.len();
    if pods == 0 {
        return None;
    }
    if let Some(why) = budget.never() {
        return Some(Finding::Misconfigured { budget: name, why, pods, manager: budget.manager.clone() });
    }
    let unhealthy: Vec<_> = counted.iter().filter(|pod| !pod.ready).map(|pod| pod.key()).collect();
    let allowed = usize::try_from(budget.allowed).unwrap_or(0);
    if allowed == 0 && !unhealthy.is_empty() {
        let manager = budget.manager.clone();
        return Some(Finding::UnhealthyHold { budget: name, pods: unhealthy, manager });
    }
    if allowed == 0 {
        let (healthy, desired) = (budget.healthy, budget.desired);
        return Some(Finding::Exhausted { budget: name, pods, healthy, desired });
    }
    (pods > allowed).then_some(Finding::Fewer { budget: name, pods, allowed: budget.allowed })
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
