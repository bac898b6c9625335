//! What the core knows of a node.

use jiff::Timestamp;

/// A node, reduced to what matching and planning need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub uid: String,
    /// The label `kubernetes.io/hostname`.
    pub hostname: Option<String>,
    /// Every `status.addresses[].address`.
    pub addresses: Vec<String>,
    pub provider_id: Option<String>,
    pub conditions: Vec<Condition>,
}

impl Node {
    /// Whether alerts find both by the same names.
    pub fn answers_to_the_same_names(&self, other: &Self) -> bool {
        (&self.name, &self.hostname, &self.addresses, &self.provider_id)
            == (&other.name, &other.hostname, &other.addresses, &other.provider_id)
    }
}

/// One entry of `status.conditions`, as stored: `status` may be anything, and types may repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub last_heartbeat: Option<Timestamp>,
    pub last_transition: Option<Timestamp>,
}

impl Condition {
    /// Whether its status is exactly `True`.
    pub fn is_true(&self) -> bool {
        self.status == TRUE
    }
}

pub const TRUE: &str = "True";
pub const FALSE: &str = "False";
pub const UNKNOWN: &str = "Unknown";
