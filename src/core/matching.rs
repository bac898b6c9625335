//! Which node does an alert speak of? Nodes are indexed once, then each alert costs a few look-ups.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::address;
use super::alert::Alert;
use super::node::Node;

/// Labels that name a node on purpose. Each has its `exported_` form before it: with `honor_labels` off, that is what the
/// exporter said, and the plain one is where it runs.
pub const NODE_LABELS: [&str; 14] = [
    "exported_node",
    "node",
    "exported_nodename",
    "nodename",
    "exported_kubernetes_node",
    "kubernetes_node",
    "exported_node_name",
    "node_name",
    "exported_hostname",
    "hostname",
    "exported_Hostname",
    "Hostname",
    "exported_host",
    "host",
];

/// Labels that name the scraped target, which is the node for node-level exporters only.
const INSTANCE_LABELS: [&str; 2] = ["exported_instance", "instance"];

/// What matching found for one alert. The numbers are nodes' places in the slice that was indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    Node(usize),
    Unmatched,
    /// Each of these answers to the name: acting on any of them would be a guess. So it is with one alone, if its short name is all
    /// that is known of it and machines of several domains have that.
    Ambiguous(Vec<usize>),
}

/// Nodes by every name they answer to, in two ranks: no kubelet can forge its node's `metadata.name`, all else it says itself.
#[derive(Debug)]
pub struct NodeIndex<'a> {
    node_labels: &'a [String],
    own: Names,
    /// The first DNS label of each node's own name.
    own_short: Names,
    /// The label `kubernetes.io/hostname`, addresses and provider IDs.
    claimed: Names,
    /// Own names of nodes that are known by no full name at all.
    only_short: Names,
    /// The full names by which alerts speak of those, as far as they were [heard](Self::hear).
    heard: BTreeMap<usize, BTreeSet<String>>,
    /// Which of them are of several domains.
    doubted: BTreeSet<usize>,
    #[cfg(test)]
    pub(super) resolved: std::cell::Cell<usize>,
}

type Names = HashMap<String, Vec<usize>>;

/// What the labels of one alert lead to.
#[derive(Default)]
struct Found {
    places: Vec<usize>,
    /// Those of them that are known by the first part of a full name alone, and that name.
    by_short_name: Vec<(usize, String)>,
}

impl<'a> NodeIndex<'a> {
    /// Indexes `nodes`; `node_labels` are the labels that name a node, in order ([`NODE_LABELS`]).
    pub fn new(nodes: &[Node], node_labels: &'a [String]) -> Self {
        let mut index = Self {
            node_labels,
            own: HashMap::with_capacity(nodes.len()),
            own_short: HashMap::with_capacity(nodes.len()),
            claimed: HashMap::with_capacity(nodes.len() * 3),
            only_short: HashMap::new(),
            heard: BTreeMap::new(),
            doubted: BTreeSet::new(),
            #[cfg(test)]
            resolved: std::cell::Cell::default(),
        };
        for (place, node) in nodes.iter().enumerate() {
            index.insert(place, node);
        }
        index
    }

    fn insert(&mut self, place: usize, node: &Node) {
        let own = normalise(&node.name);
        let claimed: Vec<String> =
            node.hostname.iter().chain(&node.addresses).map(|name| normalise(name)).collect();
        for name in &claimed {
            add(&mut self.claimed, name, place);
        }
        if let Some(provider_id) = &node.provider_id {
            let provider_id = provider_id.trim().to_lowercase();
            if let Some((_, segment)) = provider_id.rsplit_once('/')
                && !segment.bytes().all(|byte| byte.is_ascii_digit())
            {
                add(&mut self.claimed, segment, place);
            }
            add(&mut self.claimed, &provider_id, place);
        }
        add(&mut self.own, &own, place);
        if let Some(short) = first_dns_label(&own) {
            add(&mut self.own_short, short, place);
        }
        let is_full = |name: &String| name.contains('.') && !is_ip_address(name);
        if !is_full(&own) && !claimed.iter().any(is_full) {
            add(&mut self.only_short, &own, place);
        }
    }

    /// Learns by which full names the alerts of a round, all of them, speak of nodes that are known by their short names alone: if two
    /// lead to one node, then one is another machine's, and nothing says which. In doubt is also what `known` names, as long as any
    /// leads there: one of the two has fallen silent.
    pub fn hear<'s>(&mut self, alerts: impl IntoIterator<Item = &'s Alert>, known: &BTreeSet<String>) {
        if self.only_short.is_empty() {
            return;
        }
        for alert in alerts {
            for (place, full) in self.look_up(alert).by_short_name {
                let names = self.heard.entry(place).or_default();
                // Two are several; a third is for people.
                if names.len() < 3 {
                    names.insert(full);
                }
            }
        }
        let was_known: BTreeSet<usize> =
            known.iter().filter_map(|name| self.only_short.get(name)).flatten().copied().collect();
        let is_doubted = |(place, names): (&usize, &BTreeSet<String>)| {
            (names.len() > 1 || was_known.contains(place)).then_some(*place)
        };
        self.doubted = self.heard.iter().filter_map(is_doubted).collect();
    }

    /// The nodes that machines of several domains have the short name of, each with the full names that were heard.
    pub fn doubted(&self) -> impl Iterator<Item = (usize, &BTreeSet<String>)> {
        self.doubted.iter().filter_map(|place| Some((*place, self.heard.get(place)?)))
    }

    /// The node that `alert` speaks of.
    ///
    /// The first label that has a node's own name decides, unless one before it is what another node says of itself:
    /// whatever a kubelet claims, it takes no alert away from another node.
    pub fn find(&self, alert: &Alert) -> Match {
        let Found { mut places, by_short_name } = self.look_up(alert);
        places.sort_unstable();
        places.dedup();
        let is_doubted = by_short_name.iter().any(|(place, _)| self.doubted.contains(place));
        match places[..] {
            [] => Match::Unmatched,
            [place] if !is_doubted => Match::Node(place),
            _ => Match::Ambiguous(places),
        }
    }

    fn look_up(&self, alert: &Alert) -> Found {
        let mut found = Found::default();
        for (label, value) in self.naming(alert) {
            let is_own = self.resolve(label, value, &mut found);
            if is_own {
                break;
            }
        }
        found
    }

    /// The labels by which `alert` names a node, in order, with their values.
    ///
    /// If it has one that names a node on purpose, `instance` does not count, even if that one resolves to nothing: it is
    /// the exporter's own address then (kube-state-metrics), and would condemn the wrong machine. For the same reason an
    /// `exported_node` hides `node`.
    pub fn naming<'s>(&'s self, alert: &'s Alert) -> Vec<(&'s str, &'s str)> {
        let of = |labels: &[&'s str]| -> Vec<(&'s str, &'s str)> {
            let is_hidden = |label: &str| {
                labels.iter().any(|other| {
                    other.strip_prefix("exported_") == Some(label) && alert.label(other).is_some()
                })
            };
            let shown = labels.iter().filter(|label| !is_hidden(label));
            shown.filter_map(|label| Some((*label, alert.label(label)?))).collect()
        };
        let explicit: Vec<&str> = self.node_labels.iter().map(String::as_str).collect();
        let explicit = of(&explicit);
        if explicit.is_empty() { of(&INSTANCE_LABELS) } else { explicit }
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

    /// Adds the nodes that answer to `value`; `true` if that is settled by a node's own name.
    fn resolve(&self, label: &str, value: &str, all: &mut Found) -> bool {
        #[cfg(test)]
        self.resolved.set(self.resolved.get() + 1);
        let (whole, name) = (value.trim().to_lowercase(), normalise(value));
        // What normalising leaves of a provider ID may be another node's name.
        let by_id = self.claimed.get(&whole).filter(|_| whole != name);
        let mut found: Vec<&Vec<usize>> = by_id.into_iter().collect();
        if let Some(own) = self.own.get(&name).or_else(|| self.own_short.get(&name)) {
            let is_settled = by_id.is_none_or(|claimed| claimed == own);
            all.places.extend(own.iter().chain(found.into_iter().flatten()));
            return is_settled;
        }
        found.extend(self.claimed.get(&name));
        let full = Some(&name).filter(|name| is_of_a_node(label, value) && !is_ip_address(name));
        let short =
            full.and_then(|name| name.split_once('.')).and_then(|(short, _)| self.only_short.get(short));
        if let Some(places) = short {
            all.by_short_name.extend(places.iter().map(|place| (*place, name.clone())));
            found.push(places);
        }
        all.places.extend(found.into_iter().flatten());
        false
    }
}

/// Whether a full name in it may be that of a node which is known by its first part alone. What `host` and URLs name may be
/// anything: `host="web.example.com"` is not about a node `web`.
fn is_of_a_node(label: &str, value: &str) -> bool {
    let label = label.strip_prefix("exported_").unwrap_or(label);
    label != "host" && !label.starts_with("Host") && !value.contains('/')
}

/// Whether `value` is the name of the node `name`, in full or its first part: nothing that its kubelet could have chosen.
pub fn is_own_name(name: &str, value: &str) -> bool {
    let (name, value) = (normalise(name), normalise(value));
    let first = |name: &str| first_dns_label(name).map(str::to_owned);
    name == value || first(&name).as_ref() == Some(&value) || first(&value).as_ref() == Some(&name)
}

fn add(map: &mut Names, name: &str, place: usize) {
    if name.is_empty() || address::is_loopback(name) {
        return; // names nobody, or whoever reads it
    }
    let places = map.entry(name.to_owned()).or_default();
    if places.last() != Some(&place) {
        places.push(place);
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
    match address::ip(host) {
        Some(address) => address.to_string(),
        None => host.to_lowercase(),
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
