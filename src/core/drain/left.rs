//! The pods that a drain could not get off the node, each with why and with the next command.

use super::super::answer::Hint;
use super::{Entry, Queue, Stage};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub namespace: String,
    pub name: String,
    pub reason: String,
    /// The disruption budget that holds it.
    pub budget: Option<String>,
    pub hint: String,
}

impl Queue {
    pub(super) fn left_of(&self, entry: &Entry) -> Option<Left> {
        let refusal =
            entry.budgets.iter().find_map(|budget| Some((budget, self.paces.get(budget)?.why()?.to_owned())));
        let (namespace, name) = (&entry.pod.namespace, &entry.pod.name);
        let describe = Hint::Pod.command(namespace, name);
        let (reason, budget, hint) = match (&entry.stage, refusal) {
            (Stage::Kept(_), _) => return None,
            (Stage::Due | Stage::InFlight, Some((budget, why))) => {
                let name = budget.rsplit('/').next().unwrap_or_default();
                let hint = format!("kubectl describe poddisruptionbudget {name} -n {namespace}");
                (why, Some(budget.clone()), hint)
            }
            (Stage::Due | Stage::InFlight, None) => match &entry.waits {
                Some(waits) => (waits.why.clone(), None, waits.hint.command(namespace, name)),
                None => ("it was not its turn yet".to_owned(), None, describe),
            },
            (Stage::Ending { .. }, _) if !entry.pod.finalizers.is_empty() => {
                let finalizers = entry.pod.finalizers.join(", ");
                (format!("it is being deleted, and these finalizers hold it: {finalizers}"), None, describe)
            }
            (Stage::Ending { namespace_ends: true, .. }, _) => {
                let hint = format!("kubectl get namespace {namespace} -o yaml");
                ("its namespace is being deleted, and it has not ended yet".to_owned(), None, hint)
            }
            (Stage::Ending { accepted, .. }, _) => {
                let what = if *accepted { self.limits.words().1 } else { "being deleted" };
                let grace =
                    entry.pod.grace_seconds.map_or(String::new(), |grace| format!(" (grace {grace}s)"));
                (format!("{what}, but it has not ended yet{grace}"), None, describe)
            }
            (Stage::Failed { why, hint }, _) => (why.clone(), None, hint.command(namespace, name)),
            (Stage::Blocked { why, flag }, _) => {
                let hint = flag.map_or(describe, |flag| format!("add {flag}"));
                (why.clone(), None, hint)
            }
        };
        Some(Left { namespace: namespace.clone(), name: name.clone(), reason, budget, hint })
    }
}
