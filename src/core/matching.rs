//! Which node does an alert speak of? Nodes are indexed once, then each alert costs a few look-ups.

use std::collections::HashMap;
use std::net::IpAddr;

use super::alert::Alert;
use super::node::Node;

/// Labels that name a node on purpose. `exported_node` comes first: with `honor_labels` off, `node` is where
/// the exporter runs.
pub const NODE_LABELS: [&str; 8] =
    ["exported_node", "node", "nodename", "kubernetes_node", "node_name", "hostname", "Hostname", "host"];

/// Labels that name the scraped target, which is the node for node-level exporters only.
const INSTANCE_LABELS: [&str; 2] = ["exported_instance", "instance"];

/// What matching found for one alert. The number is the node's place in the slice that was indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    Node(usize),
    Unmatched,
    /// More than one node answers to the name: acting on any of them would be a guess.
    Ambiguous,
}

/// Nodes by every name they answer to.
#[derive(Debug)]
pub struct NodeIndex<'a> {
    node_labels: &'a [String],
    exact: HashMap<String, Match>,
    /// The first DNS label of each node's name.
    short: HashMap<String, Match>,
    /// Names of nodes that are known by no full name at all.
    only_short: HashMap<String, Match>,
    #[cfg(test)]
    pub(super) resolved: std::cell::Cell<usize>,
}

impl<'a> NodeIndex<'a> {
    /// Indexes `nodes`; `node_labels` are the labels that name a node, in order ([`NODE_LABELS`]).
    pub fn new(nodes: &[Node], node_labels: &'a [String]) -> Self {
        let mut index = Self {
            node_labels,
            exact: HashMap::with_capacity(nodes.len() * 4),
            short: HashMap::with_capacity(nodes.len()),
            only_short: HashMap::new(),
            #[cfg(test)]
            resolved: std::cell::Cell::default(),
        };
        for (place, node) in nodes.iter().enumerate() {
            index.insert(place, node);
        }
        index
    }

    fn insert(&mut self, place: usize, node: &Node) {
        let names: Vec<String> = [&node.name]
            .into_iter()
            .chain(&node.hostname)
            .chain(&node.addresses)
            .map(|name| normalise(name))
            .collect();
        for name in &names {
            add(&mut self.exact, name, place);
        }
        if let Some(provider_id) = &node.provider_id {
            let provider_id = provider_id.trim().to_lowercase();
            if let Some((_, segment)) = provider_id.rsplit_once('/')
                && !segment.bytes().all(|byte| byte.is_ascii_digit())
            {
                add(&mut self.exact, segment, place);
            }
            add(&mut self.exact, &provider_id, place);
        }
        let name = normalise(&node.name);
        if let Some(short) = first_dns_label(&name) {
            add(&mut self.short, short, place);
        }
        let has_full_name = names.iter().any(|name| name.contains('.') && !is_ip_address(name));
        if !has_full_name {
            add(&mut self.only_short, &name, place);
        }
    }

    /// The node that `alert` speaks of.
    ///
    /// A label that names a node and resolves to none leaves the alert unmatched: `instance` is then the
    /// exporter's own address (kube-state-metrics), and falling through to it would condemn the wrong machine.
    pub fn find(&self, alert: &Alert) -> Match {
        let explicit: Vec<&str> = self.node_labels.iter().map(String::as_str).collect();
        self.first_resolved(alert, &explicit)
            .or_else(|| self.first_resolved(alert, &INSTANCE_LABELS))
            .unwrap_or(Match::Unmatched)
    }

    /// The labels that name a node, those that count first coming first.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.node_labels.iter().map(String::as_str).chain(INSTANCE_LABELS)
    }

    /// The labels that, if an alert has one, may name another node than `label` does.
    pub fn before<'s>(&'s self, label: &'s str) -> impl Iterator<Item = &'s str> {
        let own = self.labels().position(|other| other == label).unwrap_or_default();
        self.labels().enumerate().filter_map(move |(place, other)| {
            (place < own || other.strip_prefix("exported_") == Some(label)).then_some(other)
        })
    }

    /// `None` if the alert has none of the labels. An `exported_node` hides `node`, even if it resolves to nothing:
    /// `node` is then where the exporter runs, and a condition there would be on the wrong machine.
    fn first_resolved(&self, alert: &Alert, labels: &[&str]) -> Option<Match> {
        let is_hidden = |label: &str| {
            labels
                .iter()
                .any(|other| other.strip_prefix("exported_") == Some(label) && alert.label(other).is_some())
        };
        let mut present = None;
        labels
            .iter()
            .filter(|label| !is_hidden(label))
            .find_map(|label| {
                let found = self.resolve(alert.label(label)?);
                present = Some(Match::Unmatched);
                (found != Match::Unmatched).then_some(found)
            })
            .or(present)
    }

    fn resolve(&self, value: &str) -> Match {
        #[cfg(test)]
        self.resolved.set(self.resolved.get() + 1);
        let name = normalise(value);
        self.exact
            .get(&value.trim().to_lowercase()) // a providerID; what normalising leaves of one may name another node
            .or_else(|| self.exact.get(&name))
            .or_else(|| self.short.get(&name))
            .or_else(|| {
                let (short, _) = name.split_once('.').filter(|_| !is_ip_address(&name))?;
                self.only_short.get(short)
            })
            .copied()
            .unwrap_or(Match::Unmatched)
    }
}

fn add(map: &mut HashMap<String, Match>, name: &str, place: usize) {
    if name.is_empty() {
        return;
    }
    if let Some(known) = map.get_mut(name) {
        if *known != Match::Node(place) {
            *known = Match::Ambiguous;
        }
    } else {
        map.insert(name.to_owned(), Match::Node(place));
    }
}

fn is_ip_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

fn first_dns_label(name: &str) -> Option<&str> {
    (!is_ip_address(name)).then(|| name.split_once('.').map_or(name, |(short, _)| short))
}

/// `https://10.0.1.23:10250/x` → `10.0.1.23`, `W1.` → `w1`, `[2001:db8:0:0::12]:9100` → `2001:db8::12`.
fn normalise(value: &str) -> String {
    let value = value.trim();
    let value = value.split_once("://").map_or(value, |(_, rest)| rest);
    let value = value.split('/').next().unwrap_or(value);
    let host = without_port(value).trim_end_matches('.');
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => host.to_lowercase(),
    }
}

fn without_port(value: &str) -> &str {
    if let Some((address, _)) = value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match value.split_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => value, // no port, or a bare IPv6 address
    }
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
