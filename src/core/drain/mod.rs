//! What a drain does with each pod of a node, what disruption budgets allow, and in which order pods are evicted.

mod answer;
mod budget;
mod classify;
mod findings;
mod pod;
mod queue;
mod selector;
mod volumes;

pub use answer::{Answer, Hint};
pub use budget::{Allowance, Amount, Budget};
pub use classify::{
    Blocked, Classified, DaemonSet, Policy, Skip, Verdict, classify, consents, needs_daemon_set, refusals,
    warnings,
};
pub use findings::{Finding, findings};
pub use pod::{Owner, Phase, Pod};
pub use queue::{Kept, Left, Limits, Now, Order, Queue, returns};
pub use selector::{Operator, Requirement, Selector};
pub use volumes::{Attachment, Standing, Uses, standing};
