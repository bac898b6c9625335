//! Spec §3, paragraphs 1 to 5, word by word and node by node.

use super::*;

fn naming(alert: &Alert) -> Vec<(String, String)> {
    let values = |labels: &[&str]| -> Vec<(String, String)> {
        labels
            .iter()
            .filter(|label| {
                let exported = format!("exported_{label}");
                !labels.contains(&exported.as_str()) || alert.labels.get(&exported).is_none_or(str::is_empty)
            })
            .filter_map(|label| Some(((*label).to_owned(), alert.labels.get(label)?.to_owned())))
            .filter(|(_, value)| !value.is_empty())
            .collect()
    };
    let explicit = explicit();
    let explicit = values(&explicit.iter().map(String::as_str).collect::<Vec<_>>());
    if explicit.is_empty() { values(&["exported_instance", "instance"]) } else { explicit }
}

/// The nodes that are found by the first part of a full name alone, and that name.
pub(super) fn by_first_part(nodes: &[Node], alert: &Alert) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (label, value) in naming(alert) {
        let Resolved { own, claimed, by_first_part } = resolve(nodes, &label, &value);
        found.extend(by_first_part.into_iter().map(|place| (place, normalised(&value))));
        if !own.is_empty() && claimed.iter().all(|place| own.contains(place)) {
            break;
        }
    }
    found
}

pub(super) fn find(nodes: &[Node], alert: &Alert) -> Match {
    let mut places = std::collections::BTreeSet::new();
    for (label, value) in &naming(alert) {
        let Resolved { own, claimed, .. } = resolve(nodes, label, value);
        let is_settled = !own.is_empty() && claimed.iter().all(|place| own.contains(place));
        places.extend(own.into_iter().chain(claimed));
        if is_settled {
            break;
        }
    }
    match Vec::from_iter(places)[..] {
        [] => Match::Unmatched,
        [place] => Match::Node(place),
        ref places => Match::Ambiguous(places.to_vec()),
    }
}

struct Resolved {
    own: Vec<usize>,
    claimed: Vec<usize>,
    /// Of those that are claimed.
    by_first_part: Vec<usize>,
}

/// The nodes of that name, and those whose kubelets say that it is theirs.
fn resolve(nodes: &[Node], label: &str, value: &str) -> Resolved {
    let may_be_anything = ["host", "Hostname", "exported_host", "exported_Hostname"].contains(&label)
        || value.contains("://")
        || value.contains('/');
    let (whole, host) = (value.trim().to_lowercase(), normalised(value));
    let those = |is_one: &dyn Fn(&Node) -> bool| -> Vec<usize> {
        (0..nodes.len()).filter(|place| is_one(&nodes[*place])).collect()
    };
    let mut own = those(&|node| normalised(&node.name) == host);
    if own.is_empty() {
        own = those(&|node| !is_ip(&normalised(&node.name)) && first_label(&normalised(&node.name)) == host);
    }
    let is_by_first_part = |node: &Node| {
        let has_short_name_only =
            !is_full(&normalised(&node.name)) && !claims(node).iter().any(|name| is_full(name));
        own.is_empty()
            && !may_be_anything
            && is_full(&host)
            && has_short_name_only
            && normalised(&node.name) == first_label(&host)
    };
    let by_first_part = those(&is_by_first_part);
    let claimed = those(&|node| {
        let by_id = whole != host && (claims(node).contains(&whole) || provider_ids(node).contains(&whole));
        let by_name = claims(node).contains(&host) || provider_ids(node).contains(&host);
        by_id || own.is_empty() && by_name || is_by_first_part(node)
    });
    Resolved { own, claimed, by_first_part }
}

fn claims(node: &Node) -> Vec<String> {
    node.hostname.iter().chain(&node.addresses).map(|name| normalised(name)).collect()
}

fn is_full(name: &str) -> bool {
    name.contains('.') && !is_ip(name)
}

fn provider_ids(node: &Node) -> Vec<String> {
    let Some(id) = node.provider_id.as_ref().map(|id| id.to_lowercase()) else { return Vec::new() };
    let segment = id.split('/').next_back().unwrap().to_owned();
    if segment.is_empty() || segment.parse::<u128>().is_ok() { vec![id] } else { vec![id, segment] }
}

fn is_ip(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

fn first_label(name: &str) -> String {
    name.chars().take_while(|c| *c != '.').collect()
}

fn normalised(value: &str) -> String {
    let mut text = value.trim().to_lowercase();
    if let Some(scheme) = text.find("://") {
        text.drain(..scheme + 3);
    }
    if let Some(path) = text.find('/') {
        text.truncate(path);
    }
    if text.starts_with('[') {
        text = text[1..text.find(']').unwrap()].to_owned();
    } else if text.matches(':').count() == 1 {
        text.truncate(text.find(':').unwrap());
    }
    let text = text.strip_suffix('.').unwrap_or(&text);
    text.parse::<IpAddr>().map_or(text.to_owned(), |address| address.to_canonical().to_string())
}
